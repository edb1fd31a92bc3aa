//! Steps of a container's cgroup: made and limited outside before there is a process, joined inside before anything else.

use std::path::PathBuf;

use belljar_model::plan::Place;

use crate::cgroup::Write;

/// One step of the cgroup.
#[derive(Debug, Clone, PartialEq)]
pub enum CgroupStep {
    /// Makes the container's folder in each hierarchy.
    Make {
        /// Name from each hierarchy's root.
        name: String,
        /// The folders.
        folders: Vec<PathBuf>,
    },
    /// Sets one limit.
    Limit(Write),
    /// The first process moves itself into the v1 cgroups.
    Join {
        /// The `tasks` files.
        files: Vec<PathBuf>,
    },
    /// Makes the cgroup that it is in the root of what it sees.
    Unshare,
}

impl CgroupStep {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            CgroupStep::Make { .. } | CgroupStep::Limit(_) => Place::Outside,
            CgroupStep::Join { .. } | CgroupStep::Unshare => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            CgroupStep::Make { .. } => "make",
            CgroupStep::Limit(_) => "set",
            CgroupStep::Join { .. } => "join",
            CgroupStep::Unshare => "unshare",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            CgroupStep::Make { name, folders } => format!("cgroup {name} in {} hierarchies", folders.len()),
            CgroupStep::Limit(write) => format!("{} to {}", write.file, write.value),
            CgroupStep::Join { files } => format!("{} cgroups", files.len()),
            CgroupStep::Unshare => "cgroup namespace".into(),
        }
    }
}
