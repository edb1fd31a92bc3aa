//! Who is in a container: every process of its cgroup and of those below, which the container may have made itself.

use std::path::Path;

use belljar_runtime::cgroup::Cgroup;

/// How deep cgroups are followed; a container could nest them without end.
const DEPTH_MAX: usize = 32;

/// Pids as this process sees them, in order.
pub(crate) fn pids(cgroup: &Cgroup) -> Vec<i32> {
    let mut found = Vec::new();
    // Every process is in every hierarchy, so one that exists will do.
    if let Some(part) = cgroup.parts().iter().find(|part| part.path.exists()) {
        collect(&part.path, DEPTH_MAX, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<i32>) {
    let list = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // Processes of other pid namespaces are listed as 0.
    found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    let Some(left) = depth.checked_sub(1) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), left, found);
        }
    }
}
