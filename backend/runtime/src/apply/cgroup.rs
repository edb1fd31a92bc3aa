//! The cgroup's steps: folders and limits outside, joining inside.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use rustix::io::Errno;

use super::Started;
use crate::cgroup::{Claim, systemd};
use crate::step::CgroupStep;

/// Takes an outer step. `child` is the container's first process, where there is one yet; `claims` keep the cgroup for it.
pub(super) fn take(step: &CgroupStep, child: Option<&Started>, claims: &mut Vec<Claim>) -> Result<()> {
    match step {
        CgroupStep::Make { cgroup, needed } => cgroup.make(needed).map(|claim| claims.extend(claim)),
        CgroupStep::Guard(guard) => guard.begin(),
        CgroupStep::Limit(write) => write.apply(),
        CgroupStep::Scope(scope) => {
            let child = child.ok_or_else(|| Error::new("find", "first process", Errno::CHILD))?;
            systemd::begin(scope, child.pid.cast_unsigned())
        }
        _ => Err(super::misplaced(step.verb(), &step.object())),
    }
}

/// Takes back what outlasts processes. What could not be is found, and told, by the next look.
pub(super) fn undo(step: &CgroupStep) {
    match step {
        CgroupStep::Make { cgroup, .. } => drop(cgroup.remove()),
        CgroupStep::Scope(scope) => drop(systemd::end(&scope.unit)),
        _ => {}
    }
}

/// Opens what the first process joins by, with the host's rights.
pub(super) fn open_for_joining(path: &Path) -> Result<File> {
    File::options().write(true).open(path).context("open", || path.display().to_string())
}

/// `0` means the writer; and since it is one thread that moves itself, the kernel need not stop the world for it.
pub(super) fn join(tasks: &mut Vec<File>) -> Result<()> {
    let all = tasks.len();
    for (index, file) in tasks.iter_mut().enumerate() {
        file.write_all(b"0").context("join", || format!("cgroup {} of {all}", index + 1))?;
    }
    tasks.clear();
    Ok(())
}
