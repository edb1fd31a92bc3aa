//! The cgroup's steps: folders and limits outside, joining inside.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use belljar_linux::Result;
use belljar_linux::error::Context;

use crate::step::CgroupStep;

/// Takes an outer step.
pub(super) fn take(step: &CgroupStep) -> Result<()> {
    match step {
        CgroupStep::Make { name, folders } => folders.iter().try_for_each(|folder| make(name, folder)),
        CgroupStep::Limit(write) => write.apply(),
        _ => Err(super::misplaced(step.verb(), &step.object())),
    }
}

/// Takes back what outlasts processes.
pub(super) fn undo(step: &CgroupStep) {
    if let CgroupStep::Make { folders, .. } = step {
        for folder in folders {
            // A folder that could not be removed is found, and told, by the next look.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn make(name: &str, folder: &Path) -> Result<()> {
    let made = match std::fs::create_dir(folder) {
        // Another engine mounted this hierarchy after the server had made its own folder in every other.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = name.rsplit_once('/').map_or(name, |(parent, _)| parent);
            crate::cgroup::Hierarchies::probe()?.prepare(parent)?;
            std::fs::create_dir(folder)
        }
        made => made,
    };
    match made {
        // Left by a start that was cut off; it has no processes, or the join would have found the container alive.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.context("make", || folder.display().to_string()),
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
