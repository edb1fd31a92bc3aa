//! Steps of a container's cgroup: made, guarded and limited outside, joined inside before anything else.

use std::path::PathBuf;

use belljar_model::plan::Place;

use crate::cgroup::devices::Guard;
use crate::cgroup::systemd::manager::Scope;
use crate::cgroup::{Cgroup, Write};

/// One step of the cgroup.
#[derive(Debug, Clone, PartialEq)]
pub enum CgroupStep {
    /// Makes the container's folder in each hierarchy.
    Make {
        /// The folders.
        cgroup: Cgroup,
        /// v2 controllers without which a limit would not hold.
        needed: Vec<String>,
    },
    /// Has systemd make it, around the first process.
    Scope(Scope),
    /// Says which devices may be made and opened.
    Guard(Guard),
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
            CgroupStep::Make { .. } | CgroupStep::Scope(_) | CgroupStep::Guard(_) | CgroupStep::Limit(_) => Place::Outside,
            CgroupStep::Join { .. } | CgroupStep::Unshare => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            CgroupStep::Make { .. } => "make",
            CgroupStep::Scope(_) => "start",
            CgroupStep::Guard(_) => "guard",
            CgroupStep::Limit(_) => "set",
            CgroupStep::Join { .. } => "join",
            CgroupStep::Unshare => "unshare",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            CgroupStep::Make { cgroup, .. } => {
                let hierarchies = if cgroup.parts().len() == 1 { "hierarchy" } else { "hierarchies" };
                format!("cgroup {} in {} {hierarchies}", cgroup.kernel_path().trim_start_matches('/'), cgroup.parts().len())
            }
            CgroupStep::Scope(scope) => format!("{} in {} by systemd", scope.unit, scope.slice),
            CgroupStep::Guard(guard) => guard.to_string(),
            CgroupStep::Limit(write) => format!("{} to {}", write.file, write.value),
            CgroupStep::Join { files } => counted(files.len()),
            CgroupStep::Unshare => "cgroup namespace".into(),
        }
    }
}

/// So many cgroups, in words.
pub(super) fn counted(cgroups: usize) -> String {
    format!("{cgroups} cgroup{}", if cgroups == 1 { "" } else { "s" })
}
