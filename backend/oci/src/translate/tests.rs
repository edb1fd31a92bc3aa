//! What a document comes to mean, and which ones are refused by which field.

use serde_json::{Value, json};

use super::*;
use crate::document::parse;
use belljar_runtime::spec::{Access, CgroupPlace, Clock, User};

/// A document that is fine, changed at one place by `change`.
fn translated(change: impl FnOnce(&mut Value)) -> Result<Translation, String> {
    let bundle = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(bundle.path().join("rootfs")).expect("a root");
    let mut document = json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]},
    });
    change(&mut document);
    let document: Document = parse(document.to_string().as_bytes())?;
    let request = Request {
        id: "one",
        bundle: bundle.path(),
        state_dir: Path::new("/run/one"),
        driver: Driver::Folders,
        start: Start::WhenTold,
        keyring: Keyring::New,
        preserved_descriptors: 0,
    };
    translate(&document, &request).map_err(|invalid| invalid.to_string())
}

/// The field that a change makes wrong.
fn wrong(change: impl FnOnce(&mut Value)) -> String {
    let told = translated(change).expect_err("it is wrong");
    told.split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn a_plain_document_becomes_a_spec() {
    let Translation { spec, warnings, .. } = translated(|_| {}).expect("it is fine");
    assert!(warnings.is_empty());
    assert_eq!((spec.id.as_str(), spec.start, spec.root.access), ("one", Start::WhenTold, Access::ReadWrite));
    assert_eq!(spec.process.user, User::Ids { uid: 0, gid: 0, groups: Vec::new() });
    assert_eq!(spec.cgroup, CgroupPlace::Below("one".into()));
    assert_eq!((spec.namespaces.len(), spec.ids, spec.hostname), (5, None, None));
}

#[test]
fn what_is_missing_is_named() {
    for (field, pointer) in [("root", "/root"), ("process", "/process")] {
        assert_eq!(wrong(|document| *document.pointer_mut(pointer).expect("it is there") = Value::Null), field);
    }
    assert_eq!(wrong(|document| document["root"]["path"] = json!("")), "root.path");
    assert_eq!(wrong(|document| document["root"]["path"] = json!("nowhere")), "root.path");
    assert_eq!(wrong(|document| document["process"]["args"] = json!([])), "process.args");
    assert_eq!(wrong(|document| document["process"]["args"] = json!([""])), "process.args[0]");
    assert_eq!(wrong(|document| document["process"]["cwd"] = json!("tmp")), "process.cwd");
}

#[test]
fn without_a_mount_namespace_of_its_own_nothing_is_mounted() {
    let changed = |path: &'static str, pointer: &'static str, value: Value| {
        translated(move |document| {
            let mount = if path.is_empty() { json!([]) } else { json!([{"type": "mount", "path": path}]) };
            document["linux"]["namespaces"] = mount;
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            document.pointer_mut(parent).expect("a parent")[name] = value;
        })
    };
    let asked = [
        ("/mounts", "mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}])),
        ("/linux/maskedPaths", "linux.maskedPaths", json!(["/proc/kcore"])),
        ("/linux/readonlyPaths", "linux.readonlyPaths", json!(["/proc/sys"])),
        ("/root/readonly", "root.readonly", json!(true)),
        ("/linux/rootfsPropagation", "linux.rootfsPropagation", json!("shared")),
        ("/linux/devices", "linux.devices", json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}])),
    ];
    for (pointer, field, value) in asked {
        let refused = changed("", pointer, value.clone()).expect_err("the host's tree");
        assert_eq!(refused, format!("{field}: linux.namespaces: without a mount namespace of its own it would be mounted on the host"));
        let Translation { spec, warnings } = changed("/proc/1/ns/mnt", pointer, value).expect("somebody else's tree");
        assert!(warnings.len() == 1 && warnings[0].ends_with(&format!("without {field}")), "{warnings:?}");
        assert!(spec.mounts.is_empty() && spec.masked_paths.is_empty() && spec.readonly_paths.is_empty() && spec.devices.is_empty());
        assert_eq!((spec.root.access, spec.root.propagation), (Access::ReadWrite, None));
    }
    assert!(translated(|document| document["linux"]["namespaces"] = json!([])).is_ok(), "nothing is mounted");
}

#[test]
fn a_version_of_the_specification_is_1_and_anything() {
    for version in ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0", "1.0.0-rc5-dev", "1.2.0+dev"] {
        assert!(translated(|document| document["ociVersion"] = json!(version)).is_ok(), "{version}");
    }
    for version in ["", "1", "1.2", "2.0.0", "0.9.0", "x", "1.a.0", "1.2.0.0"] {
        assert_eq!(wrong(|document| document["ociVersion"] = json!(version)), "ociVersion", "{version}");
    }
}

#[test]
fn what_makes_sense_only_in_a_namespace_needs_it() {
    let without = |document: &mut Value, kind: &str| {
        let list = document["linux"]["namespaces"].as_array_mut().expect("a list");
        list.retain(|entry| entry["type"] != kind);
    };
    assert_eq!(
        wrong(|document| {
            without(document, "uts");
            document["hostname"] = json!("a")
        }),
        "hostname"
    );
    assert_eq!(
        wrong(|document| {
            without(document, "uts");
            document["domainname"] = json!("a")
        }),
        "domainname"
    );
    let net = json!({"net.ipv4.ip_forward": "1"});
    assert!(translated(|document| document["linux"]["sysctl"] = net.clone()).is_ok());
    assert_eq!(
        wrong(|document| {
            without(document, "network");
            document["linux"]["sysctl"] = net.clone()
        }),
        "linux.sysctl[net.ipv4.ip_forward]"
    );
    for key in ["vm.swappiness", "kernel.hostname", "kernel.core_pattern", "fs.file-max", ""] {
        assert_eq!(wrong(|document| document["linux"]["sysctl"] = json!({key: "1"})), format!("linux.sysctl[{key}]"));
    }
    assert_eq!(wrong(|document| document["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1}})), "linux.timeOffsets");
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    assert_eq!(wrong(|document| document["linux"]["uidMappings"] = map.clone()), "linux.uidMappings");
}

#[test]
fn a_user_namespace_has_ids_and_a_time_namespace_has_clocks() {
    let with =
        |document: &mut Value, kind: &str| document["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": kind}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    assert_eq!(wrong(|document| with(document, "user")), "linux.uidMappings");
    assert_eq!(
        wrong(|document| {
            with(document, "user");
            document["linux"]["uidMappings"] = map.clone()
        }),
        "linux.gidMappings"
    );
    let spec = translated(|document| {
        with(document, "user");
        document["linux"]["uidMappings"] = map.clone();
        document["linux"]["gidMappings"] = map.clone();
        with(document, "time");
        document["linux"]["timeOffsets"] = json!({"boottime": {"secs": -5, "nanosecs": 7}});
    });
    let spec = spec.expect("it is fine").spec;
    assert_eq!(spec.ids.and_then(|ids| ids.root_uid()), Some(100_000));
    assert_eq!((spec.time_offsets[0].clock, spec.time_offsets[0].seconds), (Clock::Boottime, -5));
}

#[test]
fn what_is_given_twice_is_named() {
    let limit = json!({"type": "RLIMIT_NOFILE", "hard": 9, "soft": 9});
    assert_eq!(wrong(|document| document["process"]["rlimits"] = json!([limit, limit])), "process.rlimits[1].type");
    assert_eq!(
        wrong(|document| document["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "mount"}])),
        "linux.namespaces[1].type"
    );
}

#[test]
fn a_capability_that_nobody_can_have_is_dropped_with_a_word() {
    let sets = json!({"bounding": ["CAP_KILL", "CAP_FOO", "KILL"], "ambient": ["CAP_CHOWN"]});
    let Translation { spec, warnings, .. } = translated(|document| document["process"]["capabilities"] = sets).expect("it is fine");
    assert_eq!(spec.process.capabilities.bounding, ["KILL"]);
    assert!(spec.process.capabilities.ambient.is_empty(), "the kernel gives nobody what is not inheritable");
    assert_eq!(
        warnings,
        [
            "process.capabilities.ambient: ignoring what is not permitted and inheritable too: CAP_CHOWN",
            "process.capabilities: ignoring unknown or unavailable capabilities: CAP_FOO, KILL",
        ]
    );
}

#[test]
fn numbers_out_of_range_and_paths_that_are_none_are_named() {
    let changes: [(&str, &str, Value); 11] = [
        ("process.oomScoreAdj", "/process/oomScoreAdj", json!(1001)),
        ("process.user.umask", "/process/user/umask", json!(0o1000)),
        ("process.ioPriority.priority", "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
        ("process.scheduler.nice", "/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20})),
        ("process.scheduler.priority", "/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 1})),
        ("process.scheduler.policy", "/process/scheduler", json!({"policy": "SCHED_ISO"})),
        ("process.env[0]", "/process/env", json!(["A"])),
        ("linux.maskedPaths[0]", "/linux/maskedPaths", json!(["proc/kcore"])),
        ("linux.devices[0].path", "/linux/devices", json!([{"path": "x", "type": "c", "major": 1, "minor": 3}])),
        ("linux.devices[0].major", "/linux/devices", json!([{"path": "/x", "type": "c", "major": -1, "minor": 3}])),
        ("linux.intelRdt", "/linux/intelRdt", json!({"closID": "a"})),
    ];
    for (field, pointer, value) in changes {
        let place = |document: &mut Value| {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let mut at = document;
            for step in parent.split('/').skip(1) {
                at = &mut at[step];
            }
            at[name] = value.clone();
        };
        assert_eq!(wrong(place), field);
    }
}

#[test]
fn hooks_have_a_path_and_time() {
    let hooks = |hook: Value| move |document: &mut Value| document["hooks"] = json!({"poststop": [hook]});
    assert_eq!(wrong(hooks(json!({"path": "true"}))), "hooks.poststop[0].path");
    assert_eq!(wrong(hooks(json!({"path": "/bin/true", "timeout": 0}))), "hooks.poststop[0].timeout");
    let both = json!({"prestart": [{"path": "/a"}], "createRuntime": [{"path": "/b"}]});
    let spec = translated(|document| document["hooks"] = both).expect("it is fine").spec;
    let paths = |hooks: &[belljar_runtime::spec::Hook]| hooks.iter().map(|hook| hook.path.clone()).collect::<Vec<_>>();
    assert_eq!((paths(&spec.hooks.prestart), paths(&spec.hooks.create_runtime)), (vec!["/a".into()], vec!["/b".into()]));
}

#[test]
fn an_amount_of_memory_below_none_is_refused_by_its_field() {
    for name in ["limit", "reservation", "swap", "kernel", "kernelTCP"] {
        let with = |amount: i64| move |document: &mut Value| document["linux"]["resources"] = json!({"memory": {name: amount}});
        assert_eq!(wrong(with(-2)), format!("linux.resources.memory.{name}"));
        assert!(translated(with(-1)).is_ok());
    }
}

#[test]
fn what_no_kernel_of_today_can_do_is_told_by_its_field() {
    let warnings = |memory: Value| {
        translated(move |document| document["linux"]["resources"] = json!({"memory": memory})).expect("it is fine").warnings
    };
    for (memory, field) in [(json!({"kernel": 12_345_678}), "kernel"), (json!({"useHierarchy": false}), "useHierarchy")] {
        let told = warnings(memory);
        assert!(told.len() == 1 && told[0].starts_with(&format!("linux.resources.memory.{field}: ")), "{told:?}");
    }
    for what_holds in [json!({"kernel": -1}), json!({"kernel": 0}), json!({"useHierarchy": true}), json!({"limit": 5})] {
        assert!(warnings(what_holds.clone()).is_empty(), "{what_holds}");
    }
}

#[test]
fn an_option_that_nobody_hears_is_told_by_its_place() {
    let warnings = |mount: Value| translated(move |document| document["mounts"] = json!([mount])).expect("it is fine").warnings;
    for (kind, source) in [("bind", "/b"), ("cgroup", "cgroup")] {
        let mount = |options: Value| json!({"destination": "/a", "type": kind, "source": source, "options": options});
        let told = warnings(mount(json!(["ro", "no-such-thing", "rprivate"])));
        assert!(told.len() == 1 && told[0].starts_with("mounts[0].options[1]: \"no-such-thing\""), "{told:?}");
        assert!(warnings(mount(json!(["", "ro", "nosuid", "relatime", "rslave", "defaults"]))).is_empty());
    }
    assert!(warnings(json!({"destination": "/a", "type": "tmpfs", "options": ["no-such-thing"]})).is_empty(), "the kernel answers");
}

#[test]
fn a_zero_byte_is_no_part_of_a_name_a_word_or_a_path() {
    assert_eq!(wrong(|document| document["hostname"] = json!("a\u{0}b")), "hostname");
    assert_eq!(wrong(|document| document["domainname"] = json!("a\u{0}b")), "domainname");
    let mount = |field: &'static str| {
        wrong(move |document| {
            let mut mount = json!({"destination": "/a", "type": "bind", "source": "/b", "options": ["bind"]});
            mount[field] = json!("a\u{0}b");
            document["mounts"] = json!([mount]);
        })
    };
    assert_eq!(["destination", "type", "source"].map(mount), ["destination", "type", "source"].map(|field| format!("mounts[0].{field}")));
    let hook = |field: &'static str, word: &'static str| {
        wrong(move |document| document["hooks"] = json!({"poststop": [{"path": "/bin/true", field: ["A=1", word]}]}))
    };
    assert_eq!(hook("args", "a\u{0}b"), "hooks.poststop[0].args[1]");
    assert_eq!(hook("env", "A=a\u{0}b"), "hooks.poststop[0].env[1]");
    assert_eq!(hook("env", "A"), "hooks.poststop[0].env[1]");
}

#[test]
fn the_mode_of_a_device_has_room_for_the_kind_of_file_and_no_more() {
    let with = |mode: u32| {
        move |document: &mut Value| {
            document["linux"]["devices"] = json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": mode}]);
        }
    };
    for mode in [0o200_000, 0o4_200_666, 1 << 31] {
        assert_eq!(wrong(with(mode)), "linux.devices[0].fileMode");
    }
    assert_eq!(translated(with(0o020_640)).expect("it is fine").spec.devices[0].mode, 0o640);
}

#[test]
fn an_annotation_may_be_null() {
    let spec = translated(|document| document["annotations"] = json!({"a": null, "b": "c"})).expect("it is fine").spec;
    assert_eq!(spec.hooks.state.annotations, [("a", ""), ("b", "c")].map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}

#[test]
fn a_mount_is_named_by_its_place() {
    assert_eq!(wrong(|document| document["mounts"] = json!([{"destination": "/a", "type": "bind"}])), "mounts[0].source");
    let relative =
        translated(|document| document["mounts"] = json!([{"destination": "a", "type": "bind", "source": "data"}])).expect("it is fine");
    assert_eq!(relative.warnings.len(), 1);
    assert_eq!(relative.spec.mounts[0].target, "/a");
    let half = json!([{"destination": "/a", "type": "bind", "source": "/b", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}]);
    assert_eq!(wrong(|document| document["mounts"] = half), "mounts[0].gidMappings");
}

#[test]
fn the_id_that_would_leave_a_program_root_is_refused() {
    let user = |user: Value| wrong(|document| document["process"]["user"] = user);
    assert_eq!(user(json!({"uid": u32::MAX})), "process.user.uid");
    assert_eq!(user(json!({"gid": u32::MAX})), "process.user.gid");
    assert_eq!(user(json!({"additionalGids": [5, u32::MAX]})), "process.user.additionalGids[1]");
    assert!(translated(|document| document["process"]["user"] = json!({"uid": u32::MAX - 1})).is_ok());
}

#[test]
fn a_variable_given_twice_has_its_last_value() {
    let variables = json!(["PATH=/nowhere", "A=1", "PATH=/bin", "A=2=3", "B="]);
    let Translation { spec, .. } = translated(|document| document["process"]["env"] = variables).expect("it is fine");
    assert_eq!(spec.process.environment, ["PATH=/bin", "A=2=3", "B="]);
}
