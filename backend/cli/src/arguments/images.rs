//! What is said about images and registries: `images …`, `pull`, `commit`, `login`, with Docker's words and flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// `images`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// List images
    #[command(visible_alias = "ls")]
    List(Format),
    /// Pull an image from its registry
    Pull(PullArguments),
    /// Give an image a further name
    Tag {
        /// Name or id of the image
        #[arg(value_name = "IMAGE")]
        image: String,
        /// The further name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show all that is known about images, as JSON
    Inspect {
        /// Names or ids
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
    /// Show what was done to make an image, the newest step first
    History {
        /// Name or id
        #[arg(value_name = "IMAGE")]
        image: String,
        #[command(flatten)]
        format: Format,
    },
    /// Import an archive: a root file system, an OCI layout, or what `docker save` wrote (.tar, .tar.gz, .tar.zst)
    #[command(visible_alias = "load")]
    Import {
        /// Name of the image, and the archive; the archive alone where it has a name for it. `-` reads from standard input
        #[arg(value_names = ["NAME", "FILE"], num_args = 1..=2, required = true)]
        words: Vec<PathBuf>,
    },
    /// Write an image as an archive that other tools read
    #[command(visible_alias = "save")]
    Export {
        /// Name or id
        #[arg(value_name = "IMAGE")]
        image: String,
        /// The file; standard output where not given, and for `-`
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Delete images that no container uses
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(value_name = "IMAGE", required = true)]
        names: Vec<String>,
    },
    /// Delete images without a name that no container uses, after showing which
    Prune(PruneArguments),
    /// Compare images with their digests, every byte of them
    Verify {
        /// Names or ids; all where none is given
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
        /// Fetch what is damaged anew, from the registry that it came from
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        format: Format,
    },
}

/// `pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// For which platform, where not this host's: linux/arm64/v8
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// Print the image's name only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, in any form of its name
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// `images prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Also images with a name
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only show what would be deleted
    #[arg(long, conflicts_with = "force")]
    pub(crate) dry_run: bool,
}

/// `commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArguments {
    /// What is written about it into its history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) author: Option<String>,
    /// What it says otherwise than the container, as a line of a Dockerfile: 'CMD ["nginx"]' (may be repeated)
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(crate) changes: Vec<String>,
    /// Leave a running container running meanwhile; its files may then not fit together
    #[arg(long)]
    pub(crate) no_pause: bool,
    /// Name or id of the container, or the first digits of its id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Name of the new image; only its id where not given
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// Name of the user
    #[arg(short, long, value_name = "USER", required_unless_present = "docker_config")]
    pub(crate) username: Option<String>,
    /// Read the password, or an access token, from standard input
    #[arg(long, required_unless_present = "docker_config")]
    pub(crate) password_stdin: bool,
    /// Leave the login where it is: a file of the server's machine in the form of Docker's config.json, read at each pull
    #[arg(long, value_name = "FILE", conflicts_with_all = ["username", "password_stdin"])]
    pub(crate) docker_config: Option<PathBuf>,
    /// Its host, with its port where it has one; Docker's own where not given
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    pub(crate) registry: String,
}
