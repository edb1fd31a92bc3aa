//! A description in which every field of the specification is said once, and that every runtime here takes.

use serde_json::{Value, json};

use crate::bed::{Bed, Kind};

/// Adds to the usual description of `bed` everything else that can be said.
pub(crate) fn rich(bed: &Bed) -> Value {
    let mut config = bed.config();
    config["annotations"] = json!({"org.example.note": "text"});
    config["domainname"] = json!("example.org");
    config["hooks"] = hooks();
    process(&mut config["process"]);
    linux(&mut config["linux"], bed.kind());
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
    process["apparmorProfile"] = json!("");
    process["selinuxLabel"] = json!("");
    let own = json!(["CAP_KILL", "CAP_CHOWN"]);
    process["capabilities"] = json!({"bounding": own, "permitted": own, "effective": own, "inheritable": own, "ambient": ["CAP_KILL"]});
}

fn linux(linux: &mut Value, kind: Kind) {
    linux["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    linux["devices"] = json!([{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 384, "uid": 0, "gid": 0}]);
    linux["rootfsPropagation"] = json!("private");
    linux["mountLabel"] = json!("");
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{
            "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        }],
    });
    linux["resources"] = json!({
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}],
        "memory": {"limit": 134_217_728, "reservation": 67_108_864},
        "cpu": {"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 100},
    });
    if kind == Kind::Ours {
        linux["namespaces"].as_array_mut().expect("namespaces are a list").push(json!({"type": "time"}));
        linux["timeOffsets"] = json!({"monotonic": {"secs": 10, "nanosecs": 0}});
        linux["personality"] = json!({"domain": "LINUX"});
    }
}
