//! Devices: the nodes that are there, and which of all nodes may be opened; masked and read-only paths.

use std::fs;

use serde_json::json;

use crate::bed::{Bed, Runtime};
use crate::differences::Difference;

sentences! {
    the_standard_nodes_are_there, the_links_of_dev_are_there, a_listed_device_is_made, a_device_of_an_unknown_type_is_refused,
    other_devices_are_not_opened, an_allowed_device_is_opened, rules_are_applied_in_order, exec_is_bound_by_the_same_rules,
    disks_are_not_opened_even_with_mknod, masked_paths_are_empty, readonly_paths_are_not_written, readonly_paths_are_seen,
    missing_masked_and_readonly_paths_are_fine, what_is_not_masked_is_seen, a_mask_over_a_link_stays_in_the_root,
}

fn the_standard_nodes_are_there(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let said = bed.run("cd /dev; stat -c '%n %a %t:%T %F' null zero full random urandom tty | tr -d '\\t'").ok();
    let nodes = [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")];
    let expected: String = nodes.iter().map(|(name, number)| format!("{name} 666 {number} character special file\n")).collect();
    assert_eq!(said, expected);
    bed.run("echo x > /dev/null && head -c 1 /dev/zero > /dev/null && head -c 1 /dev/urandom > /dev/null && ! echo x > /dev/full").ok();
}

fn the_links_of_dev_are_there(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let said = bed.run("cd /dev; for i in fd stdin stdout stderr ptmx; do echo $i $(readlink $i); done").ok();
    assert_eq!(said, "fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\n");
}

fn a_listed_device_is_made(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev/own/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/disk", "type": "b", "major": 7, "minor": 99},
            {"path": "/dev/pipe", "type": "p"},
        ]);
    });
    let said = bed.run("cd /dev; stat -c '%a %u %g %t:%T %F' own/kmsg disk pipe").ok();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("640 5 6 1:b character special file"));
    assert!(lines.next().is_some_and(|line| line.ends_with("7:63 block special file")), "{said}");
    assert!(lines.next().is_some_and(|line| line.ends_with("fifo")), "{said}");
}

fn a_device_of_an_unknown_type_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["devices"] = json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]));
    let said = bed.run("true");
    assert!(!said.status.success() || bed.differs(Difference::LooseDevice), "{said:?}");
    bed.configure(|config| config["linux"]["devices"] = json!([{"type": "c", "major": 1, "minor": 3}]));
    let said = bed.run("true");
    assert!(!said.status.success() || bed.differs(Difference::PathlessDevice), "{said:?}");
    bed.assert_nothing_left();
}

/// A node that a test makes for itself in the container: FUSE, which opens for anybody whom the cgroup lets.
const FUSE: &str = "mknod /tmp/fuse c 10 229 && (: < /tmp/fuse) 2> /dev/null && echo opened || echo refused";

fn other_devices_are_not_opened(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.run(FUSE).line(), "refused");
}

fn allow(access: &str) -> serde_json::Value {
    json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": access})
}

fn an_allowed_device_is_opened(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}, allow("rm")]));
    assert_eq!(bed.run(FUSE).line(), "opened");
    assert_eq!(bed.run("mknod /tmp/other c 10 229; (: > /tmp/other) 2> /dev/null && echo wrote || echo refused").line(), "refused");
}

fn rules_are_applied_in_order(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let deny = json!({"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
    bed.configure(|config| config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}, allow("rwm"), deny]));
    assert_eq!(bed.run(FUSE).line(), "refused");
    fs::remove_file(bed.root("tmp/fuse")).unwrap();
    bed.configure(|config| config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(bed.run(FUSE).line(), "opened", "everything is allowed");
}

fn exec_is_bound_by_the_same_rules(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    assert_eq!(bed.exec(FUSE).line(), "refused");
}

fn disks_are_not_opened_even_with_mknod(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let table = fs::read_to_string("/proc/partitions").unwrap();
    let disk: Vec<&str> = table.lines().nth(2).expect("the host has a disk").split_whitespace().collect();
    let script = format!("mknod /tmp/disk b {} {}; head -c 1 /tmp/disk > /dev/null 2>&1 && echo opened || echo refused", disk[0], disk[1]);
    assert_eq!(bed.run(&script).out.lines().next_back(), Some("refused"));
}

fn masked_paths_are_empty(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::create_dir(bed.root("secret")).unwrap();
    fs::write(bed.root("secret/file"), "secret").unwrap();
    fs::write(bed.root("etc/secret"), "secret").unwrap();
    bed.configure(|config| config["linux"]["maskedPaths"] = json!(["/secret", "/etc/secret", "/proc/keys"]));
    let said = bed
        .run("ls /secret | wc -l; cat /etc/secret | wc -c; cat /proc/keys | wc -c; (echo x > /secret/new) 2>/dev/null && echo wrote; true")
        .ok();
    assert_eq!(said, "0\n0\n0\n");
    assert_eq!(fs::read_to_string(bed.root("etc/secret")).unwrap(), "secret");
}

fn readonly_paths_are_not_written(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::create_dir(bed.root("fixed")).unwrap();
    bed.configure(|config| config["linux"]["readonlyPaths"] = json!(["/fixed", "/proc/sys"]));
    let said = bed.run("touch /fixed/x; echo x > /proc/sys/kernel/hostname; true");
    assert_eq!(said.err.matches("Read-only file system").count(), 2, "{said:?}");
}

fn readonly_paths_are_seen(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::create_dir(bed.root("fixed")).unwrap();
    fs::write(bed.root("fixed/file"), "seen").unwrap();
    bed.configure(|config| config["linux"]["readonlyPaths"] = json!(["/fixed"]));
    assert_eq!(bed.run("cat /fixed/file").line(), "seen");
    assert_eq!(bed.run("echo changed > /proc/sys/kernel/hostname && hostname").line(), "changed", "what is not listed is left as it is");
}

fn missing_masked_and_readonly_paths_are_fine(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["maskedPaths"] = json!(["/no/such", "/proc/no-such"]);
        config["linux"]["readonlyPaths"] = json!(["/no/such", "/proc/no-such"]);
    });
    bed.run("true").ok();
    assert!(!bed.root("no").exists(), "nothing is made for it");
}

fn what_is_not_masked_is_seen(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["maskedPaths"] = json!([]));
    assert!(!bed.run("cat /proc/timer_list | head -n 1").line().is_empty());
}

fn a_mask_over_a_link_stays_in_the_root(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::write(bed.path("canary"), "canary").unwrap();
    std::os::unix::fs::symlink(bed.path("canary"), bed.root("link")).unwrap();
    std::os::unix::fs::symlink("../../../canary", bed.root("up")).unwrap();
    bed.configure(|config| {
        config["linux"]["maskedPaths"] = json!(["/link", "/up"]);
        config["linux"]["readonlyPaths"] = json!(["/link", "/up"]);
    });
    let said = bed.run("true");
    assert!(said.status.success(), "{said:?}");
    assert_eq!(fs::read_to_string(bed.path("canary")).unwrap(), "canary");
}
