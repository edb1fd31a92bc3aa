//! Tests that are left out where QEMU executes every instruction itself, by the beginning of their names; a filter that
//! names one runs it all the same.

use super::report::Orders;

/// Those that count what happens within a time, that walk trees of thousands of folders, and what no version of cgroups
/// touches: attacks, refusals, files, images, volumes, overlays, what a program is given and sees. Some of these also ask for GNU's
/// tools, where the machine's userland is busybox.
const OF_PRODUCT: [&str; 45] = [
    "linux/lib: removal::",
    "runtime/lib: bundle::tests::a_container_that_dug_deeper",
    "runtime/lib: overlay::",
    "runtime/lib: seccomp::",
    "runtime/containers: exec::nothing_of_the_maker",
    "runtime/containers: hooks::",
    "runtime/containers: namespaces::",
    "runtime/containers: process::",
    "runtime/containers: tree::",
    "supervisor/lib: history::",
    "supervisor/lib: image::",
    "supervisor/lib: tests::",
    "cli/whole: access::",
    "cli/whole: attacks::",
    "cli/whole: bad_input::",
    "cli/whole: crash::",
    "cli/whole: crowd::",
    "cli/whole: damage::",
    "cli/whole: database::",
    "cli/whole: exec::",
    "cli/whole: files::",
    "cli/whole: files_attacked::",
    "cli/whole: filter::",
    "cli/whole: health::a_check_whose_program",
    "cli/whole: health::a_flood",
    "cli/whole: health::a_server_that_was_killed",
    "cli/whole: health::each_start",
    "cli/whole: health::failures_in_the_start",
    "cli/whole: health::flags_are",
    "cli/whole: health::many_are_checked",
    "cli/whole: health::what_is_not_said",
    "cli/whole: image_pages::",
    "cli/whole: images::",
    "cli/whole: isolation::",
    "cli/whole: lifecycle::a_rootfs_archive",
    "cli/whole: memory::",
    "cli/whole: mounts::",
    "cli/whole: names::",
    "cli/whole: options::",
    "cli/whole: overlay::",
    "cli/whole: past::",
    "cli/whole: refusals::",
    "cli/whole: room::",
    "cli/whole: tour::",
    "cli/whole: volumes::",
];

/// Of the suite that runs against runc and crun as well: attacks, bad bundles, faults and races, which take hours there, and
/// what a program is given and sees, which is the same on every version of cgroups. systemd is not on the machine's disk.
const OF_RUNTIMES: [&str; 20] = [
    "cli/oci: attacks::",
    "cli/oci: bad::",
    "cli/oci: cuts::",
    "cli/oci: exec::",
    "cli/oci: face::",
    "cli/oci: faults::",
    "cli/oci: hooks::",
    "cli/oci: lifecycle::",
    "cli/oci: limits::crun::",
    // Where tests of runc ran, nsdelegate was gone from the machine, which is one option for all mounts; which of them was not found.
    "cli/oci: limits::runc::cgroups_are_removed",
    "cli/oci: listener::",
    "cli/oci: mounts::",
    "cli/oci: namespaces::",
    "cli/oci: process::",
    "cli/oci: seccomp::",
    "cli/oci: systemd::",
    "cli/oci: terminal::",
    "cli/oci: unified::crun::",
    "cli/oci: userns::",
    "cli/oci: ways::",
];

/// Sentences that are proven on the peers elsewhere, and are given the machine's time for ours alone: a test takes it two seconds
/// and more. What limits say in version 2's own words is proven on runc.
const OF_PEERS: [&str; 3] = ["apparmor", "devices", "watch"];

/// Of those above, what is asked of cgroups all the same.
const KEPT: [&str; 21] = [
    "supervisor/lib: tests::a_change_that",
    "supervisor/lib: tests::a_killed_monitor",
    "supervisor/lib: tests::a_life_from",
    "supervisor/lib: tests::a_new_server",
    "supervisor/lib: tests::a_process_that",
    "cli/whole: exec::it_is_as_strict",
    "cli/whole: exec::one_whose_time",
    "cli/whole: exec::whoever_goes_away",
    "cli/oci: exec::ours::exec_into_a_",
    "cli/oci: exec::ours::exec_joins_",
    "cli/oci: exec::ours::many_execs",
    "cli/oci: lifecycle::ours::a_failed_create_leaves",
    "cli/oci: lifecycle::ours::delete_",
    "cli/oci: lifecycle::ours::deletion_",
    "cli/oci: lifecycle::ours::kill_all",
    "cli/oci: lifecycle::ours::run_removes",
    "cli/oci: lifecycle::ours::what_somebody_else_froze",
    "cli/oci: mounts::ours::the_cgroup_mount",
    "cli/oci: watch::runc::every_limit",
    "cli/oci: ways::ours::cgroups_",
    "cli/oci: ways::ours::processors_",
];

/// The beginnings of all that is left out.
pub(super) fn in_software() -> Vec<String> {
    let of_peers = OF_PEERS.into_iter().flat_map(|part| ["runc", "crun"].map(|peer| format!("cli/oci: {part}::{peer}::")));
    OF_PRODUCT.into_iter().chain(OF_RUNTIMES).map(str::to_owned).chain(of_peers).collect()
}

/// The beginnings of what runs there all the same.
pub(super) fn kept() -> Vec<String> {
    KEPT.map(str::to_owned).to_vec()
}

impl Orders {
    /// Whether a test of this name does not run where QEMU executes the machine.
    pub(super) fn leave_out(&self, name: &str) -> bool {
        let begins = |list: &[String]| list.iter().any(|beginning| name.starts_with(beginning));
        begins(&self.left_out_in_software) && !begins(&self.kept_in_software)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_left_out() {
        let orders = Orders {
            suites: Vec::new(),
            filters: Vec::new(),
            left_out_in_software: in_software(),
            kept_in_software: kept(),
            side_by_side: 1,
            test_limit_seconds: 1,
        };
        assert!(orders.leave_out("cli/oci: lifecycle::ours::an_id_is_used_once"));
        assert!(!orders.leave_out("cli/oci: lifecycle::ours::deletion_leaves_nothing"));
        assert!(orders.leave_out("cli/oci: devices::crun::masked_paths_are_empty"));
        assert!(!orders.leave_out("cli/oci: devices::ours::masked_paths_are_empty"));
    }
}
