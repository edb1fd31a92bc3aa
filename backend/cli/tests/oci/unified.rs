//! What the version 2 of cgroups alone has: files by their names, weights of disks, and a border around the container's own
//! cgroup. What both versions have is in `limits`.

use std::fs;

use belljar_testbed::skip;
use serde_json::{Value, json};

use crate::bed::{Bed, Runtime, is_version_2};

sentences! {
    files_are_written_by_their_names, a_file_of_no_controller_is_refused, weights_of_disks_stand_in_the_cgroup,
    a_container_makes_cgroups_below_its_own, a_container_does_not_raise_its_own_limits,
}

/// Runs `sentence` with a bed, or says that this host has both versions.
fn on_version_2(runtime: &Runtime, sentence: impl FnOnce(&Bed)) {
    if is_version_2() { sentence(&Bed::new(runtime)) } else { skip("the version 2 of cgroups alone") }
}

fn resources(bed: &Bed, kind: &str, value: Value) {
    bed.configure(|config| config["linux"]["resources"][kind] = value);
}

fn files_are_written_by_their_names(runtime: &Runtime) {
    on_version_2(runtime, |bed| {
        let files = [("memory.high", "50331648"), ("memory.min", "1048576"), ("pids.max", "88"), ("cpu.weight", "250")];
        let asked: serde_json::Map<String, Value> = files.iter().map(|(file, value)| ((*file).to_owned(), json!(value))).collect();
        resources(bed, "unified", asked.into());
        bed.sleeping();
        for (file, value) in files {
            assert_eq!(bed.limit(("", ""), file), value, "{file}");
        }
    });
}

fn a_file_of_no_controller_is_refused(runtime: &Runtime) {
    on_version_2(runtime, |bed| {
        for file in ["nonsense.max", "memory.nonsense", "memory/../../memory.high"] {
            resources(bed, "unified", json!({ file: "1048576" }));
            bed.run("true").refused();
            bed.call(&["delete", "--force", bed.id()]);
        }
    });
}

fn weights_of_disks_stand_in_the_cgroup(runtime: &Runtime) {
    on_version_2(runtime, |bed| {
        resources(bed, "blockIO", json!({"weight": 500}));
        bed.sleeping();
        // 10 to 1000 in the specification, 1 to 10000 in the file.
        assert_eq!(bed.limit(("", ""), "io.weight").lines().next(), Some("default 4950"));
    });
}

/// The mount of cgroups, for reading and writing.
fn writable(bed: &Bed) {
    bed.configure(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
        let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").expect("cgroups are mounted");
        cgroup["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
    });
}

fn a_container_makes_cgroups_below_its_own(runtime: &Runtime) {
    on_version_2(runtime, |bed| {
        writable(bed);
        // Nobody may be where controllers are given on (cgroup-v2.rst, *No Internal Process Constraint*).
        let script = "cd /sys/fs/cgroup; mkdir own child; echo 0 > own/cgroup.procs; cat /proc/self/cgroup; \
                      echo +memory +pids > cgroup.subtree_control; echo 5 > child/pids.max; cat child/pids.max child/cgroup.controllers";
        assert_eq!(bed.run(script).ok(), "0::/own\n5\nmemory pids\n");
        bed.assert_nothing_left();
    });
}

fn a_container_does_not_raise_its_own_limits(runtime: &Runtime) {
    on_version_2(runtime, |bed| {
        writable(bed);
        resources(bed, "pids", json!({"limit": 77}));
        let is_border = || fs::read_to_string("/proc/self/mountinfo").unwrap().contains("nsdelegate");
        let was_border = is_border();
        let said = bed.run("cd /sys/fs/cgroup; (echo 99 > pids.max) 2>&1; cat pids.max");
        // It is an option of all mounts together, and was seen to go where peers ran at the same time; ours binds what is mounted.
        if !was_border || !is_border() {
            return skip("cgroups whose namespaces are borders (nsdelegate)");
        }
        assert!(said.out.contains("Operation not permitted") && said.out.ends_with("\n77\n"), "{said:?}");
    });
}
