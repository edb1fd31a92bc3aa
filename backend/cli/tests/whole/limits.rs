//! Limits: what is asked stands in the kernel's files, changes while the container is alive, and is refused with the reason where
//! the kernel says no. Written for whichever version a controller has here.

use std::path::PathBuf;
use std::process::Command;

use belljar_testbed::server::rows;
use belljar_testbed::{Server, skip};
use serde_json::{Value, json};

/// A container that sleeps, with these limits.
fn sleeper(server: &Server, name: &str, limits: &Value) {
    server.create(&json!({"image": "host", "name": name, "command": ["sleep", "1d"], "limits": limits}));
}

fn change(server: &Server, name: &str, change: &Value) -> belljar_testbed::client::Response {
    let body = serde_json::to_vec(change).expect("JSON");
    let api = server.api().with("content-type", "application/merge-patch+json");
    api.send("PATCH", &format!("/api/v1/containers/{name}"), body)
}

fn enforced(server: &Server, name: &str) -> Value {
    server.api().get(&format!("/api/v1/containers/{name}/limits")).expect(200).json()["enforced"].clone()
}

/// Whether this host can enforce a limit; told where it cannot.
fn can(server: &Server, limit: &str) -> bool {
    let host = server.api().get("/api/v1/host").expect(200).json();
    let limits = rows(&host["limits"]);
    let told = limits.iter().find(|one| one["name"] == limit).unwrap_or_else(|| panic!("{limit} is told of"));
    if told["supported"] != true {
        skip(&format!("{limit} ({})", told["because"].as_str().unwrap_or_default()));
    }
    told["supported"] == true
}

/// The kernel's file of a limit, below the container's own folder.
fn file(server: &Server, name: &str, controller: &str, file: &str) -> String {
    let cgroup = server.api().get(&format!("/api/v1/containers/{name}/cgroup")).expect(200).json();
    let controllers = rows(&cgroup["controllers"]);
    let folder = controllers.iter().find(|one| one["name"] == controller).and_then(|one| one["path"].as_str()).expect("it is there");
    std::fs::read_to_string(PathBuf::from(folder).join(file)).unwrap_or_default().trim().to_owned()
}

#[test]
fn every_limit_of_a_request_is_enforced_and_read_back() {
    let Some(server) = crate::server() else { return };
    let wanted = [
        ("memory_bytes", json!(64 << 20)),
        ("memory_swap_bytes", json!(32 << 20)),
        ("memory_reservation_bytes", json!(16 << 20)),
        ("memory_high_bytes", json!(48 << 20)),
        ("memory_swappiness", json!(7)),
        ("oom_group", json!(true)),
        ("cpus", json!(0.5)),
        ("cpu_weight", json!(250)),
        ("cpu_burst_usec", json!(20_000)),
        ("cpuset", json!("0")),
        ("cpuset_mems", json!("0")),
        ("pids", json!(32)),
        ("io_weight", json!(300)),
    ];
    let mut limits = json!({});
    for (name, value) in wanted {
        if can(&server, &format!("limits.{name}")) {
            limits[name] = value;
        }
    }
    if can(&server, "limits.hugetlb.2MB") {
        limits["hugetlb"] = json!({"2MB": 4 << 20});
    }
    sleeper(&server, "full", &limits);
    let kernel = enforced(&server, "full");
    for (name, value) in limits.as_object().expect("an object") {
        assert_eq!(&kernel[name], value, "{name} of {kernel}");
    }
    change(&server, "full", &json!({"limits": null})).expect(200);
    let kernel = enforced(&server, "full");
    for name in ["memory_bytes", "memory_swap_bytes", "memory_reservation_bytes", "memory_high_bytes", "cpus", "cpu_burst_usec", "pids"] {
        assert_eq!(kernel[name], Value::Null, "{name} of {kernel}");
    }
    assert_eq!((&kernel["cpu_weight"], &kernel["hugetlb"]), (&json!(100), &Value::Null));
    assert_ne!(kernel["oom_group"], json!(true));
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("the kernel tells").trim().to_owned();
    assert_eq!(kernel["cpuset"], json!(online), "it has every processor again");
}

#[test]
fn limits_change_while_it_runs_and_back_and_are_told_from_old_to_new() {
    let Some(server) = crate::server() else { return };
    sleeper(&server, "web", &json!({"memory_bytes": 64 << 20, "memory_swap_bytes": 0, "pids": 16}));
    for (memory, swap) in [(128_u64, 64_u64), (16, 0), (256, 512), (8, 8)] {
        let limits = json!({"memory_bytes": memory << 20, "memory_swap_bytes": swap << 20});
        change(&server, "web", &json!({"limits": limits})).expect(200);
        let kernel = enforced(&server, "web");
        assert_eq!((&kernel["memory_bytes"], &kernel["memory_swap_bytes"]), (&limits["memory_bytes"], &limits["memory_swap_bytes"]));
    }
    for (cpus, burst) in [(0.5, 50_000), (2.0, 1), (0.01, 1000), (1.0, 100_000)] {
        if cpus > std::thread::available_parallelism().map_or(1.0, |number| number.get() as f64) {
            continue;
        }
        change(&server, "web", &json!({"limits": {"cpus": cpus, "cpu_burst_usec": burst}})).expect(200);
        let kernel = enforced(&server, "web");
        assert_eq!((&kernel["cpus"], &kernel["cpu_burst_usec"]), (&json!(cpus), &json!(burst)));
    }
    assert_eq!(enforced(&server, "web")["pids"], 16, "what is not named stays");
    let events = rows(&server.api().get("/api/v1/containers/web/events").expect(200).json());
    let told: Vec<&str> =
        events.iter().filter(|event| event["kind"] == "limits_changed").filter_map(|event| event["message"].as_str()).collect();
    assert!(told.contains(&"memory from 64 MiB to 128 MiB; swap on top from 0 B to 64 MiB"), "{told:?}");
    assert_eq!(server.container("web")["limits"]["cpu_burst_usec"], 100_000);
}

#[test]
fn less_memory_than_is_used_is_a_conflict_at_its_field_and_everything_stays() {
    let Some(server) = crate::server() else { return };
    let script = "x=$(head -c 25165824 /dev/zero | tr '\\0' x); echo held; sleep 1d";
    let limits = json!({"memory_bytes": 128 << 20, "memory_swap_bytes": 0, "pids": 16});
    server.create(&json!({"image": "host", "name": "fat", "command": ["sh", "-c", script], "limits": limits}));
    server.wait_for_log("fat", "held");
    let problem = change(&server, "fat", &json!({"limits": {"memory_bytes": 8 << 20, "pids": 99}})).expect(409).json();
    let detail = problem["detail"].as_str().expect("it is told");
    assert!(detail.contains("bytes are used") && detail.contains("EBUSY"), "{detail}");
    assert_eq!(problem["field"], "limits.memory_bytes");
    let kernel = enforced(&server, "fat");
    assert_eq!((&kernel["memory_bytes"], &kernel["pids"]), (&limits["memory_bytes"], &limits["pids"]));
    let kept = &server.container("fat")["limits"];
    for (name, value) in limits.as_object().expect("an object") {
        assert_eq!(&kept[name], value, "{name} of {kept}");
    }
    assert_eq!(server.container("fat")["state"], "running");
    assert!(!server.event_kinds("fat").iter().any(|kind| kind == "limits_changed"));
}

#[test]
fn a_container_at_rest_gets_its_new_limits_at_its_next_start() {
    let Some(server) = crate::server() else { return };
    sleeper(&server, "rests", &json!({"memory_bytes": 64 << 20}));
    server.act("rests", "stop");
    change(&server, "rests", &json!({"limits": {"memory_bytes": 32 << 20, "pids": 9}, "restart": "on-failure"})).expect(200);
    assert_eq!(enforced(&server, "rests"), Value::Null);
    server.act("rests", "start");
    let kernel = enforced(&server, "rests");
    assert_eq!((&kernel["memory_bytes"], &kernel["pids"]), (&json!(32 << 20), &json!(9)));
    assert_eq!(server.container("rests")["restart"], "on-failure");
}

#[test]
fn what_this_host_cannot_enforce_is_refused_by_name_and_the_host_says_the_same() {
    let Some(server) = crate::server() else { return };
    let host = server.api().get("/api/v1/host").expect(200).json();
    let values = [
        ("memory_high_bytes", json!(8 << 20)),
        ("oom_group", json!(true)),
        ("memory_swappiness", json!(5)),
        ("io_weight", json!(5)),
        ("cpu_idle", json!(true)),
    ];
    let mut seen = 0;
    for limit in rows(&host["limits"]).iter().filter(|limit| limit["supported"] != true) {
        let (name, because) = (limit["name"].as_str().expect("a name"), limit["because"].as_str().expect("a reason"));
        let Some((field, value)) = values.iter().find(|(field, _)| name == format!("limits.{field}")) else { continue };
        let body = json!({"image": "host", "command": ["true"], "limits": {*field: value}});
        let problem = server.api().post_json("/api/v1/containers", &body).expect(422).json();
        assert_eq!(problem["field"], name);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with(because)), "{problem} says why: {because}");
        seen += 1;
    }
    assert!(seen > 0, "each version lacks what the other has: {host}");
    for name in ["ulimits, ", "oom_score_adj, "] {
        let part = rows(&host["limits"]).into_iter().find(|limit| limit["name"].as_str().is_some_and(|own| own.starts_with(name)));
        assert_eq!(part.expect(name)["supported"], has_sys_resource(), "{host}");
    }
    if !has_sys_resource() {
        sleeper(&server, "one", &json!({}));
        for body in [json!({"oom_score_adj": -999}), json!({"ulimits": {"nofile": {"soft": 9, "hard": 9}}})] {
            let problem = change(&server, "one", &body).expect(409).json();
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("needs CAP_SYS_RESOURCE")), "{problem}");
        }
        server.api().delete("/api/v1/containers/one?force=true").expect(204);
    }
    assert!(server.api().get("/api/v1/containers").expect(200).json().as_array().is_some_and(Vec::is_empty));
}

fn has_sys_resource() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel tells");
    u64::from_str_radix(line.trim(), 16).expect("a hexadecimal number") & (1 << 24) != 0
}

#[test]
fn ulimits_and_who_is_killed_first_change_for_everybody_inside_and_for_whoever_comes() {
    let Some(server) = crate::server() else { return };
    let script = "sleep 1d & while :; do ulimit -n; cat /proc/self/oom_score_adj; sleep 0.1; done";
    server.create(&json!({"image": "host", "name": "many", "command": ["sh", "-c", script]}));
    // A process of another user namespace is limited by who may in the host's (`prlimit(2)`), and some hosts keep that from root.
    if !has_sys_resource() {
        skip("CAP_SYS_RESOURCE");
        let problem = change(&server, "many", &json!({"ulimits": {"nofile": {"soft": 77, "hard": 88}}})).expect(409).json();
        assert_eq!(problem["field"], "ulimits");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("CAP_SYS_RESOURCE")), "{problem}");
        return;
    }
    let body = json!({"ulimits": {"nofile": {"soft": 77, "hard": 88}}, "oom_score_adj": 321});
    change(&server, "many", &body).expect(200);
    server.wait_for_log("many", "77");
    server.wait_for_log("many", "321");
    let processes = rows(&server.api().get("/api/v1/containers/many/processes").expect(200).json());
    assert!(processes.len() >= 2);
    for process in processes {
        let pid = process["pid"].as_i64().expect("a pid");
        // One that has ended since is no less right.
        let Ok(limits) = std::fs::read_to_string(format!("/proc/{pid}/limits")) else { continue };
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default().to_owned();
        assert!(line.split_whitespace().skip(3).take(2).eq(["77", "88"]), "{line}");
    }
    let inside = crate::belljar(&server, &["exec", "many", "sh", "-c", "ulimit -n; cat /proc/self/oom_score_adj"]);
    assert_eq!(inside.split_whitespace().collect::<Vec<_>>(), ["77", "321"]);
    let refused = change(&server, "many", &json!({"ulimits": {"nofile": {"soft": 5, "hard": 1_u64 << 40}}})).expect(409).json();
    assert_eq!(refused["field"], "ulimits");
    assert_eq!(server.container("many")["ulimits"], json!({"nofile": {"soft": 77, "hard": 88}}));
}

#[test]
fn a_device_is_taken_from_a_container_that_runs_and_given_back() {
    let Some(server) = crate::server() else { return };
    if !std::path::Path::new("/dev/fuse").exists() {
        return skip("/dev/fuse");
    }
    let fuse = json!([{"source": "/dev/fuse", "access": "rw"}]);
    let body = json!({"image": "host", "name": "dev", "command": ["sleep", "1d"], "devices": fuse, "namespaces": {"user": "host"}});
    server.create(&body);
    let open = || crate::belljar_output(&server, &["exec", "dev", "sh", "-c", "exec 3<>/dev/fuse"]).status.success();
    assert!(open());
    change(&server, "dev", &json!({"devices": []})).expect(200);
    assert!(!open(), "it is taken");
    change(&server, "dev", &json!({"devices": fuse})).expect(200);
    assert!(open(), "it is given back");
    let kvm = json!({"devices": [{"source": "/dev/null", "path": "/dev/other"}]});
    let problem = change(&server, "dev", &kvm).expect(422).json();
    assert_eq!(problem["field"], "devices[0].path");
}

#[test]
fn what_no_host_could_keep_is_refused_at_its_field_and_changes_nothing() {
    let Some(server) = crate::server() else { return };
    let limits = json!({"memory_bytes": 64 << 20, "memory_swap_bytes": 0, "pids": 16});
    sleeper(&server, "firm", &limits);
    let device = |device: &str| json!({"limits": {"io": [{"device": device, "read_bytes_per_second": 1 << 20}]}});
    let read = |rate: u64| json!({"limits": {"io": [{"device": "/", "read_operations_per_second": rate}]}});
    let cases = [
        (json!({"limits": {"cpuset": "4000"}}), 422, "limits.cpuset"),
        (json!({"limits": {"cpuset": "0-4000"}}), 422, "limits.cpuset"),
        (json!({"limits": {"cpuset_mems": "900"}}), 422, "limits.cpuset_mems"),
        (device("/proc"), 422, "limits.io[0].device"),
        (device("/dev/null"), 422, "limits.io[0].device"),
        (device("/no/such"), 422, "limits.io[0].device"),
        (device(""), 422, "limits.io[0].device"),
        (device("sda"), 422, "limits.io[0].device"),
        (json!({"limits": {"io": [{"device": "/"}]}}), 422, "limits.io[0]"),
        (read(0), 422, "limits.io[0].read_operations_per_second"),
        (read(1 << 32), 422, "limits.io[0].read_operations_per_second"),
        (read(u64::MAX), 422, "limits.io[0].read_operations_per_second"),
        (json!({"limits": {"hugetlb": {"2MB": 3}}}), 422, "limits.hugetlb.2MB"),
        (json!({"limits": {"hugetlb": {"3MB": 3 << 20}}}), 422, "limits.hugetlb"),
        (json!({"limits": {"pids": -1}}), 400, "limits.pids"),
        (json!({"limits": {"memory_bytes": "64m"}}), 400, "limits.memory_bytes"),
        (json!({"limits": {"memory": 5}}), 400, "limits.memory"),
        (json!({"limits": {"pids": 17, "cpus": 1e9}}), 422, "limits.cpus"),
        (json!({"id": "aa", "name": "other"}), 400, "id"),
    ];
    for (body, status, field) in cases {
        let problem = change(&server, "firm", &body).expect(status).json();
        assert!(problem["field"].as_str().is_some_and(|named| named.starts_with(field)), "{body}: {problem}");
        if body["limits"]["cpuset"].is_string() {
            let create = json!({"image": "host", "command": ["true"], "limits": body["limits"]});
            assert_eq!(server.api().post_json("/api/v1/containers", &create).expect(422).json()["field"], field);
        }
    }
    let kernel = enforced(&server, "firm");
    for (name, value) in limits.as_object().expect("an object") {
        assert_eq!((&kernel[name], &server.container("firm")["limits"][name]), (value, value), "{name}");
    }
    assert!(!server.event_kinds("firm").iter().any(|kind| kind == "limits_changed"));
}

#[test]
fn many_changes_at_once_leave_the_kernel_and_the_record_at_one_of_them() {
    let Some(server) = crate::server() else { return };
    sleeper(&server, "busy", &json!({"memory_bytes": 64 << 20, "memory_swap_bytes": 0, "pids": 16}));
    let limits = |index: u64| {
        let (memory, swap) = ((64 + index) << 20, ((index * 37) % 50) << 20);
        json!({"memory_bytes": memory, "memory_swap_bytes": swap, "pids": 20 + index})
    };
    std::thread::scope(|scope| {
        for index in 0..50 {
            let (server, limits) = (&server, limits(index));
            scope.spawn(move || change(server, "busy", &json!({"limits": limits})).expect(200));
        }
    });
    let (kernel, kept) = (enforced(&server, "busy"), server.container("busy")["limits"].clone());
    let index = kept["pids"].as_u64().expect("a number") - 20;
    for (name, value) in limits(index).as_object().expect("an object") {
        assert_eq!((&kernel[name], &kept[name]), (value, value), "{name}");
    }
    assert_eq!(server.event_kinds("busy").iter().filter(|kind| *kind == "limits_changed").count(), 50);
}

#[test]
fn limits_change_while_it_is_paused_and_it_stays_so() {
    let Some(server) = crate::server() else { return };
    sleeper(&server, "still", &json!({"memory_bytes": 64 << 20}));
    server.act("still", "pause");
    change(&server, "still", &json!({"limits": {"memory_bytes": 32 << 20, "pids": 5}, "oom_score_adj": 300})).expect(200);
    let kernel = enforced(&server, "still");
    assert_eq!((&kernel["memory_bytes"], &kernel["pids"]), (&json!(32 << 20), &json!(5)));
    assert_eq!(server.container("still")["state"], "paused");
    server.act("still", "resume");
}

/// A disk of the test's own: a file, as a block device, with a file system that is mounted. All of it goes with it.
struct OwnDisk {
    device: String,
    folder: PathBuf,
}

impl OwnDisk {
    fn make(server: &Server) -> Option<Self> {
        let (image, folder) = (server.scratch("disk").join("image"), server.scratch("mounted"));
        std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("a file");
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let text = |path: &std::path::Path| path.display().to_string();
        run("mkfs.ext4", &["-q", "-F", &text(&image)])?;
        let device = run("losetup", &["--find", "--show", &text(&image)])?;
        let disk = Self { device, folder };
        run("mount", &[&disk.device, &text(&disk.folder)])?;
        Some(disk)
    }
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

#[test]
fn a_disk_is_limited_by_its_device_or_by_what_lies_on_it() {
    let Some(server) = crate::server() else { return };
    if !can(&server, "limits.io.write_bytes_per_second") {
        return;
    }
    let Some(disk) = OwnDisk::make(&server) else { return skip("a loop device and mkfs.ext4") };
    let folder = disk.folder.display().to_string();
    let io = |device: &str, rate: u64| json!([{"device": device, "write_bytes_per_second": rate}]);
    // The limit is the host's rate for the container's own direct writes: one that is slow enough to be seen in a second.
    let script = "cd /data; echo ready; while [ ! -e go ]; do sleep 0.05; done; rm go; t=$(date +%s%N); \
        dd if=/dev/zero of=x bs=64k count=16 oflag=direct 2>/dev/null || exit 9; echo took $(( ($(date +%s%N) - t) / 1000000 )) ms; sleep 1d";
    let body = json!({"image": "host", "name": "io", "command": ["sh", "-c", script], "limits": {"io": io(&folder, 512 << 10)},
        "mounts": [{"type": "bind", "source": folder, "target": "/data"}], "namespaces": {"user": "host"}});
    server.create(&body);
    server.wait_for_log("io", "ready");
    let kernel = enforced(&server, "io")["io"].clone();
    assert_eq!((&kernel[0]["device"], &kernel[0]["write_bytes_per_second"]), (&json!(disk.device), &json!(512 << 10)));
    std::fs::write(disk.folder.join("go"), "").expect("a file");
    let log = server.wait_for_log("io", "took");
    let took: u64 = log.split_whitespace().skip_while(|word| *word != "took").nth(1).and_then(|text| text.parse().ok()).expect("a time");
    assert!(took > 1000, "1 MiB at 512 KiB/s takes two seconds, not {took} ms");
    change(&server, "io", &json!({"limits": {"io": io(&disk.device, 1 << 20)}})).expect(200);
    assert_eq!(enforced(&server, "io")["io"][0]["write_bytes_per_second"], 1 << 20);
    let twice = json!({"limits": {"io": [{"device": disk.device, "weight": 5}, {"device": folder, "read_bytes_per_second": 1}]}});
    let problem = change(&server, "io", &twice).expect(422).json();
    assert!(problem["field"].as_str().is_some_and(|field| field.starts_with("limits.io[")), "{problem}");
    change(&server, "io", &json!({"limits": {"io": []}})).expect(200);
    assert_eq!(enforced(&server, "io")["io"], Value::Null, "no limit is left");
    server.api().delete("/api/v1/containers/io?force").expect(204);
}

#[test]
fn a_path_that_named_a_disk_and_is_gone_stands_in_nobodys_way() {
    let Some(server) = crate::server() else { return };
    if !can(&server, "limits.io.read_bytes_per_second") {
        return;
    }
    let Some(disk) = OwnDisk::make(&server) else { return skip("a loop device and mkfs.ext4") };
    let folder = disk.folder.join("named");
    std::fs::create_dir(&folder).expect("a folder");
    sleeper(&server, "gone", &json!({"io": [{"device": folder, "read_bytes_per_second": 1 << 20}]}));
    assert_eq!(enforced(&server, "gone")["io"][0]["device"], json!(disk.device));
    std::fs::remove_dir(&folder).expect("it is removed");
    change(&server, "gone", &json!({"limits": {"pids": 40}})).expect(200);
    assert_eq!(enforced(&server, "gone")["pids"], 40);
    change(&server, "gone", &json!({"limits": {"io": null}})).expect(200);
    assert_eq!(enforced(&server, "gone")["io"], Value::Null, "the disk that it named is free again");
    server.api().delete("/api/v1/containers/gone?force").expect(204);
}

#[test]
fn update_changes_by_dockers_flags_and_says_the_kernels_no() {
    let Some(server) = crate::server() else { return };
    let run = [
        "run",
        "-d",
        "--name",
        "cli",
        "-m",
        "64m",
        "--memory-swap",
        "64m",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
        "host",
        "sleep",
        "1d",
    ];
    crate::belljar(&server, &run);
    assert_eq!(file(&server, "cli", "cpuset", "cpuset.cpus"), "0");
    let kernel = enforced(&server, "cli");
    assert_eq!((&kernel["memory_swap_bytes"], &kernel["cpu_weight"]), (&json!(0), &json!(59)));
    let update = ["update", "-m", "96m", "--memory-swap", "128m", "--pids-limit", "50", "--restart", "always", "--cpuset-cpus=", "cli"];
    assert_eq!(crate::belljar(&server, &update).trim(), "cli");
    let kernel = enforced(&server, "cli");
    assert_eq!((&kernel["memory_bytes"], &kernel["memory_swap_bytes"]), (&json!(96 << 20), &json!(32 << 20)));
    assert_eq!((&kernel["pids"], &server.container("cli")["restart"]), (&json!(50), &json!("always")));
    crate::belljar(&server, &["update", "--pids-limit=-1", "--memory=-1", "cli"]);
    let kernel = enforced(&server, "cli");
    assert_eq!((&kernel["pids"], &kernel["memory_bytes"]), (&Value::Null, &Value::Null));
    let refused = crate::belljar_output(&server, &["update", "--cpuset-cpus", "4000", "cli"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("cpuset"), "{said}");
    assert!(!crate::belljar_output(&server, &["update", "cli"]).status.success(), "it needs something to change");
    assert!(crate::belljar(&server, &["host"]).contains("limits.memory_bytes"));
}
