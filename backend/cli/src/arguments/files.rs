//! Flags of the commands that work on a container's files.

use clap::Args;

use super::{Containers, Format};

/// `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// Its name, id, or the first digits of its id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// A file: how its lines differ from what its image has
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArguments {
    /// Its name, id, or the first digits of its id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// What is put back: files, folders with all in them, what was deleted
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,
}

/// `reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArguments {
    #[command(flatten)]
    pub(crate) containers: Containers,
}

/// `cp`.
#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    /// Keep owners by number; without it files become the container's root's, or yours
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Copy what a link of SOURCE leads to, instead of the link
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    #[arg(short, long, hide = true)]
    pub(crate) quiet: bool,
    /// A path of this machine, CONTAINER:PATH, or `-` for a tar archive from standard input
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    pub(crate) source: String,
    /// A path of this machine, CONTAINER:PATH, or `-` for a tar archive to standard output
    #[arg(value_name = "DESTINATION", allow_hyphen_values = true)]
    pub(crate) destination: String,
}
