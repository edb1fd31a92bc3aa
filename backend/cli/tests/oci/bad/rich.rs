//! Descriptions in which, together, every field of the specification is said: [`rich`], which every runtime here takes, and
//! [`apart`], what cannot stand beside it, or what not every host has. [`super::whole`] proves that nothing is missing.

use std::path::Path;

use serde_json::{Value, json};

use crate::bed::{Bed, Kind};

/// Adds to the usual description of `bed` everything that can be said together.
pub(crate) fn rich(bed: &Bed) -> Value {
    filled(bed.config(), bed.kind())
}

/// The same of any usual description, for a runtime of that kind.
pub(crate) fn filled(mut config: Value, kind: Kind) -> Value {
    config["annotations"] = json!({"org.example.note": "text"});
    config["domainname"] = json!("example.org");
    config["hooks"] = hooks();
    process(&mut config["process"]);
    linux(&mut config["linux"], kind);
    let bind = json!({"destination": "/host-file", "type": "bind", "source": "/etc/hostname", "options": ["rbind", "ro", "nosuid"]});
    let own = json!({"destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=700", "rprivate"]});
    config["mounts"].as_array_mut().expect("mounts are a list").extend([bind, own]);
    config
}

fn hooks() -> Value {
    let outside = json!([{"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 10}]);
    json!({
        "prestart": outside, "createRuntime": outside, "createContainer": outside, "poststart": outside, "poststop": outside,
        "startContainer": [{"path": "/bin/true", "args": ["true"], "env": ["PATH=/bin"], "timeout": 10}],
    })
}

fn process(process: &mut Value) {
    process["args"] = json!(["true", "argument"]);
    process["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7], "umask": 18});
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 256, "hard": 512}]);
    process["oomScoreAdj"] = json!(100);
    process["consoleSize"] = json!({"height": 24, "width": 80});
    process["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 1});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4});
    process["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    let own = json!(["CAP_KILL", "CAP_CHOWN"]);
    process["capabilities"] = json!({"bounding": own, "permitted": own, "effective": own, "inheritable": own, "ambient": ["CAP_KILL"]});
}

fn linux(linux: &mut Value, kind: Kind) {
    linux["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    linux["devices"] = json!([{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 384, "uid": 0, "gid": 0}]);
    linux["rootfsPropagation"] = json!("private");
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{
            "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        }],
    });
    linux["resources"] = json!({
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}],
        "memory": {"limit": 134_217_728, "reservation": 67_108_864, "useHierarchy": true, "checkBeforeUpdate": true},
        "cpu": {"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 100},
    });
    if kind == Kind::Ours {
        linux["namespaces"].as_array_mut().expect("namespaces are a list").push(json!({"type": "time"}));
        linux["timeOffsets"] = json!({"monotonic": {"secs": 10, "nanosecs": 0}});
        linux["personality"] = json!({"domain": "LINUX"});
    }
}

/// What is said apart: a name, and how the description differs from [`rich`].
pub(crate) type Apart = (&'static str, fn(&mut Value, &Place));

/// What the descriptions that stand apart need of the host.
pub(crate) struct Place<'a> {
    /// Where a listener of a filter waits.
    pub(crate) listener: &'a Path,
    /// A disk, by its two numbers.
    pub(crate) disk: (u32, u32),
}

/// Every description that stands apart.
pub(crate) const APART: &[Apart] = &[
    ("ids", ids),
    ("ids of a mount", ids_of_a_mount),
    ("another's namespace", anothers_namespace),
    ("profile of AppArmor", |config, _| config["process"]["apparmorProfile"] = json!("belljar-suite")),
    ("label of SELinux", |config, _| config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0")),
    ("label of mounts", |config, _| config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0")),
    ("personality with flags", |config, _| config["linux"]["personality"] = json!({"domain": "LINUX32", "flags": ["NO_SUCH_FLAG"]})),
    ("scheduler in real time", |config, _| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 1});
        config["linux"]["resources"]["cpu"]["realtimeRuntime"] = json!(1000);
    }),
    ("scheduler with flags", |config, _| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    }),
    ("scheduler with a deadline", scheduler_with_a_deadline),
    ("filter that denies", filter_that_denies),
    ("filter of a profile file", filter_of_a_file),
    ("filter with a listener", filter_with_a_listener),
    ("memory of the kernel", |config, _| config["linux"]["resources"]["memory"]["kernel"] = json!(50_000_000)),
    ("memory and swap", |config, _| config["linux"]["resources"]["memory"]["swap"] = json!(134_217_728)),
    ("memory of version 1", |config, _| {
        let memory = &mut config["linux"]["resources"]["memory"];
        (memory["kernelTCP"], memory["swappiness"], memory["disableOOMKiller"]) = (json!(50_000_000), json!(60), json!(true));
    }),
    ("processors that save up", |config, _| config["linux"]["resources"]["cpu"]["burst"] = json!(10_000)),
    ("processors in idle time", |config, _| config["linux"]["resources"]["cpu"]["idle"] = json!(1)),
    ("processors in real time", |config, _| {
        let cpu = &mut config["linux"]["resources"]["cpu"];
        (cpu["realtimeRuntime"], cpu["realtimePeriod"]) = (json!(1000), json!(100_000));
    }),
    ("rates of disks", rates_of_disks),
    ("weights of disks", weights_of_disks),
    ("weights of leaves", weights_of_leaves),
    ("huge pages", |config, _| {
        config["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
    }),
    ("classes of packets", |config, _| {
        config["linux"]["resources"]["network"] = json!({"classID": 1_048_577, "priorities": [{"name": "lo", "priority": 5}]});
    }),
    ("remote memory", |config, _| config["linux"]["resources"]["rdma"] = json!({"mlx5_0": {"hcaHandles": 3, "hcaObjects": 100}})),
    ("files of version 2", |config, _| config["linux"]["resources"]["unified"] = json!({"cgroup.max.depth": "5"})),
    ("shares of caches", |config, _| {
        config["linux"]["intelRdt"] = json!({"closID": "one", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50"});
    }),
];

/// [`rich`] and what is said apart, each with its name.
pub(crate) fn all(rich: &Value, place: &Place) -> Vec<(&'static str, Value)> {
    let apart = APART.iter().map(|(name, change)| {
        let mut config = rich.clone();
        change(&mut config, place);
        (*name, config)
    });
    std::iter::once(("everything together", rich.clone())).chain(apart).collect()
}

/// The host's ids, in a namespace of its own: the root need not change hands.
fn ids(config: &mut Value, _: &Place) {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().expect("namespaces are a list").push(json!({"type": "user"}));
    (linux["uidMappings"], linux["gidMappings"]) = (map.clone(), map);
}

fn ids_of_a_mount(config: &mut Value, _: &Place) {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 65_536}]);
    let mount = json!({
        "destination": "/own-ids", "type": "bind", "source": "rootfs/home", "options": ["bind"], "uidMappings": map, "gidMappings": map,
    });
    config["mounts"].as_array_mut().expect("mounts are a list").push(mount);
}

/// One in which nothing of the host can be changed.
fn anothers_namespace(config: &mut Value, _: &Place) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces are a list");
    let own = namespaces.iter_mut().find(|namespace| namespace["type"] == "cgroup").expect("it has one of cgroups");
    own["path"] = json!("/proc/1/ns/cgroup");
}

/// Deadlines are refused to whom may not run on every processor.
fn scheduler_with_a_deadline(config: &mut Value, _: &Place) {
    let process = &mut config["process"];
    process["scheduler"] = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000});
    process.as_object_mut().expect("the process is an object").remove("execCPUAffinity");
    config["linux"]["resources"]["cpu"].as_object_mut().expect("limits are an object").remove("cpus");
}

/// What a static `true` calls, and what is called on the way to it.
fn allowed() -> Value {
    json!([
        "access",
        "arch_prctl",
        "brk",
        "capget",
        "capset",
        "close",
        "execve",
        "exit",
        "exit_group",
        "fcntl",
        "fstat",
        "futex",
        "getpid",
        "getrandom",
        "getuid",
        "mmap",
        "mprotect",
        "munmap",
        "newfstatat",
        "openat",
        "prctl",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "set_robust_list",
        "set_tid_address",
        "write",
    ])
}

fn filter_that_denies(config: &mut Value, _: &Place) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": allowed(), "action": "SCMP_ACT_ALLOW"}],
    });
}

/// What engines' profile files say and the specification does not: our runtime reads both with one reader.
fn filter_of_a_file(config: &mut Value, _: &Place) {
    let counts = json!({"caps": ["CAP_KILL"], "arches": ["amd64"], "minKernel": "4.8"});
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPERM",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": allowed(), "action": "SCMP_ACT_ALLOW"},
            {
                "name": "personality", "action": "SCMP_ACT_ERRNO", "errno": "ENOSYS", "comment": "for people",
                "includes": counts, "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["arm64"], "minKernel": "99.0"},
            },
        ],
    });
}

fn filter_with_a_listener(config: &mut Value, place: &Place) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": place.listener, "listenerMetadata": "one",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_NOTIFY"}],
    });
}

fn rates_of_disks(config: &mut Value, place: &Place) {
    let rate = |rate: u64| json!([{"major": place.disk.0, "minor": place.disk.1, "rate": rate}]);
    config["linux"]["resources"]["blockIO"] = json!({
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
    });
}

fn weights_of_disks(config: &mut Value, place: &Place) {
    let device = json!([{"major": place.disk.0, "minor": place.disk.1, "weight": 500}]);
    config["linux"]["resources"]["blockIO"] = json!({"weight": 100, "weightDevice": device});
}

/// No kernel since Linux 5.0 has them.
fn weights_of_leaves(config: &mut Value, place: &Place) {
    let device = json!([{"major": place.disk.0, "minor": place.disk.1, "leafWeight": 300}]);
    config["linux"]["resources"]["blockIO"] = json!({"leafWeight": 200, "weightDevice": device});
}
