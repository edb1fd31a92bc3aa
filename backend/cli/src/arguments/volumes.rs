//! What `volumes` takes.

use clap::Subcommand;

use super::Format;

/// `volumes`.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumesCommand {
    /// List volumes
    #[command(visible_alias = "ls")]
    List(Format),
    /// Make a volume, and print its name
    Create {
        /// Its name; made up where not given
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// A label for people and tools (may be repeated)
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
    },
    /// Show all that is known about volumes, as JSON
    Inspect {
        /// Names of volumes
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Delete volumes that no container has, with everything in them
    #[command(visible_alias = "rm")]
    Delete {
        /// Names of volumes
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Show which volumes nobody has any more and what they take, ask, and delete them
    Prune {
        /// Also those that somebody gave a name; otherwise only those that were made for a container alone
        #[arg(short, long)]
        all: bool,
        /// Delete at once, without asking
        #[arg(short, long)]
        force: bool,
    },
    /// List what is in a folder of a volume
    Browse {
        /// Name of the volume
        #[arg(value_name = "NAME")]
        name: String,
        /// Folder in it; its top where not given
        #[arg(value_name = "PATH", default_value = "")]
        path: String,
        #[command(flatten)]
        format: Format,
    },
}
