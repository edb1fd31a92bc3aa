//! Attacks by using things up: processes, memory, files, descriptors, the log, mounts, time. The attacker may ruin itself; the
//! server, the monitors, the host and the others go on, and the attacker can be stopped and deleted.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use belljar_testbed::server::rows;
use belljar_testbed::wait::patience;
use belljar_testbed::{Server, process, wait_until};
use serde_json::{Value, json};

use super::{Attempts, arena, attack, attack_by_exec, attacker};

/// An answer that takes longer than this, while somebody attacks, is none.
const RESPONSIVE: Duration = Duration::from_secs(10);
/// Memory that a monitor may have of its own, whatever its container writes.
const MONITOR_BYTES_MAX: u64 = 8 << 20;
/// What two log files may take, with the line that made them full.
const LOG_BYTES_MAX: u64 = 2 * ((10 << 20) + (64 << 10));

fn pid(server: &Server, name: &str) -> i32 {
    i32::try_from(server.container(name)["pid"].as_i64().expect("it runs")).expect("a pid")
}

#[track_caller]
fn promptly<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    assert!(begun.elapsed() < RESPONSIVE * patience(), "{what} took {:?}", begun.elapsed());
    done
}

#[track_caller]
fn is_well(server: &Server) {
    promptly("the page", || server.api().get("/containers").expect(200));
    promptly("the host's own process", || assert!(std::process::Command::new("true").status().unwrap().success()));
}

fn log_bytes(server: &Server, name: &str) -> u64 {
    let id = server.container(name)["id"].as_str().expect("an id").to_owned();
    let files = fs::read_dir(server.data_dir().join("containers").join(id).join("log")).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn a_flood_of_output_is_bounded_in_memory_on_disk_and_in_time() {
    let Some(server) = arena() else { return };
    let floods = [
        ("lines", "exec yes 'a line that says nothing, again and again and again'"),
        ("no-line-end", "exec cat /dev/zero"),
        ("not-text", "cat /dev/urandom & exec cat /dev/urandom >&2"),
        ("empty-lines", "exec yes ''"),
    ];
    for (name, script) in floods {
        server.run_script(name, script);
    }
    let monitors = floods.map(|(name, _)| process::parent(pid(&server, name)).unwrap());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        is_well(&server);
        for ((name, _), monitor) in floods.iter().zip(monitors) {
            let bytes = process::pss_bytes(monitor).unwrap();
            assert!(bytes < MONITOR_BYTES_MAX, "the monitor of {name} holds {bytes} bytes");
            promptly("the log", || server.api().get(&format!("/api/v1/containers/{name}/logs?tail=10")).expect(200));
            assert!(log_bytes(&server, name) < LOG_BYTES_MAX, "{name}: {} bytes on disk", log_bytes(&server, name));
        }
    }
    for (name, _) in floods {
        assert!(log_bytes(&server, name) > 1 << 20, "{name} did flood: {} bytes", log_bytes(&server, name));
        promptly("the end", || server.act(name, "kill"));
        server.wait_for_state(name, "stopped");
    }
}

/// Somebody asks for a stream and never reads it; meanwhile the container writes as much as it can.
#[test]
fn who_does_not_read_blocks_neither_the_container_nor_the_server() {
    let Some(server) = arena() else { return };
    server.run_script("talker", "exec yes 'a line that nobody reads'");
    let mut idle = Vec::new();
    for path in [
        "/containers/talker/logs/stream",
        "/api/v1/containers/talker/logs?follow=true",
        "/api/v1/containers/talker/logs?tail=10000",
        "/containers",
    ] {
        for _ in 0..8 {
            let mut stream = UnixStream::connect(server.socket()).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").unwrap();
            idle.push(stream);
        }
    }
    // One byte shows that there was an answer; the rest stays where it is.
    for stream in &mut idle {
        stream.set_read_timeout(Some(RESPONSIVE * patience())).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(1)), "there is an answer");
    }
    let before = process::pss_bytes(server.pid()).unwrap();
    let begun = Instant::now();
    let mut seen = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        is_well(&server);
        seen = seen.max(log_bytes(&server, "talker"));
    }
    let after = process::pss_bytes(server.pid()).unwrap();
    assert!(after < before + (64 << 20), "the server grew from {before} to {after} bytes");
    assert!(seen > 1 << 20, "it went on writing: {seen}");
    promptly("the end", || server.act("talker", "kill"));
}

#[test]
fn memory_runs_out_inside_only() {
    let Some(server) = arena() else { return };
    server.run_script("bystander", "exec sleep 1d");
    let limits = json!({"memory_bytes": 96 << 20, "memory_swap_bytes": 0});
    server.create(&json!({"image": "host", "name": "greedy", "command": ["sleep", "1d"], "limits": limits}));
    let (monitor, first) = (process::parent(pid(&server, "greedy")).unwrap(), pid(&server, "greedy"));
    let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse::<i32>().unwrap();
    assert!(score(server.pid()) <= score(first) && score(monitor) <= score(first), "the host kills a container before its monitor");
    // By one big program, by many small ones, and by files in memory.
    let bombs = [
        ("exec python3 -c 'x = bytearray(1 << 30)'", json!({"signal": "SIGKILL"})),
        ("for i in 1 2 3 4 5 6 7 8; do python3 -c 'import time; x = bytearray(30 << 20); time.sleep(2)' & done; wait", json!({"code": 0})),
        (
            "cat /dev/zero > /dev/shm/one; cat /dev/zero > /dev/shm/two; exec python3 -c 'x = bytearray(90 << 20)'",
            json!({"signal": "SIGKILL"}),
        ),
    ];
    let told = || rows(&server.api().get("/api/v1/containers/greedy/events").expect(200).json());
    let kills_told = || told().into_iter().filter(|event| event["kind"] == "out_of_memory").collect::<Vec<_>>();
    for (bomb, end) in bombs {
        let (killed, before) = (oom_kills(first), kills_told().len());
        let body = json!({"command": ["sh", "-c", bomb], "time_limit_ms": 20_000});
        let answer = server.api().post_json("/api/v1/containers/greedy/exec", &body).expect(200).json();
        for (field, value) in end.as_object().unwrap() {
            assert_eq!(&answer[field], value, "{bomb}: {answer}");
        }
        assert!(oom_kills(first) > killed, "{bomb}: the kernel killed nobody");
        is_well(&server);
        assert!(
            process::is_alive(monitor) && process::is_alive(first),
            "{bomb}: neither the monitor nor the first process is taken for it"
        );
        assert_eq!(server.container("greedy")["state"], "running", "{bomb}");
        let events = wait_until("the kill is an event", || Some(kills_told()).filter(|events| events.len() > before));
        let words: Vec<&str> = events.iter().filter_map(|event| event["message"].as_str()).collect();
        assert!(words.iter().all(|words| words.contains("killed by OOM at 96 MiB")), "{words:?}");
    }
    // "3 processes of it were killed", or "a process of it was".
    let number = |event: &Value| event["message"].as_str()?.split(' ').next().map(|word| word.parse::<u64>().unwrap_or(1));
    let all_told = || Some(kills_told().iter().filter_map(number).sum::<u64>()).filter(|told| *told == oom_kills(first));
    wait_until("each kill is told of once", all_told);
    let usage = || server.api().get("/api/v1/containers/greedy/usage").expect(200).json()["oom_kills_total"].as_u64();
    wait_until("all of them are counted", || (usage() == Some(oom_kills(first))).then_some(()));
    let reasons = rows(&server.api().get("/api/v1/containers/greedy/diagnosis").expect(200).json());
    assert!(reasons.iter().any(|reason| reason["kind"] == "out_of_memory"), "{reasons:?}");
    let fill = "
written_bytes = 0
def fill(path):
    global written_bytes
    with open(path, 'wb', buffering=0) as file:
        while True: written_bytes += file.write(bytes(1 << 20))
tried('fill', fill, '/dev/shm/full'); said('bytes', written_bytes)";
    let filled = attack(&server, "filler", fill, &json!({}));
    assert_eq!((filled.result("fill"), filled.result("bytes")), ("ENOSPC", "67108864"));
    assert_eq!(server.container("bystander")["state"], "running");
    assert_eq!(oom_kills(pid(&server, "bystander")), 0);
}

/// How many processes of this one's cgroup the kernel has killed for memory.
fn oom_kills(pid: i32) -> u64 {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let version1 = cgroups.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| format!("memory{path}/memory.oom_control"));
    let version2 = || cgroups.lines().find_map(|line| line.strip_prefix("0::")).map(|path| format!("{path}/memory.events"));
    let file = version1.or_else(version2).expect("it is in a cgroup");
    let text = fs::read_to_string(format!("/sys/fs/cgroup/{file}")).unwrap_or_else(|error| panic!("{file}: {error}"));
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{file}: {text}"))
}

/// What only the host's own signal can do to a first process, and what it can do to itself among the host's processes.
#[test]
fn a_stopped_first_process_is_stopped_and_deleted_like_any_other() {
    let Some(server) = arena() else { return };
    let own = "tried('stop', os.kill, os.getpid(), signal.SIGSTOP); said('still', 'here'); signal.pause()";
    server.create(&attacker("inside", own, &json!({})));
    server.wait_for_log("inside", "still: here");
    nix_kill(pid(&server, "inside"), nix::sys::signal::Signal::SIGSTOP);
    server.create(&attacker("among", "said('up', 1); os.kill(os.getpid(), signal.SIGSTOP)", &json!({"namespaces": {"pid": "host"}})));
    for name in ["inside", "among"] {
        wait_until("it is stopped", || process::status_field(pid(&server, name), "State").filter(|state| state.starts_with('T')));
        assert_eq!(server.container(name)["state"], "running");
        let body = json!({"command": ["true"], "time_limit_ms": 2000});
        promptly("an exec", || server.api().post_json(&format!("/api/v1/containers/{name}/exec"), &body));
        promptly("a stop", || server.act(name, "stop?grace_ms=200"));
        assert_eq!(server.wait_for_state(name, "stopped")["exit"]["signal"], "SIGKILL", "{name}");
        server.act(name, "start");
    }
    nix_kill(pid(&server, "inside"), nix::sys::signal::Signal::SIGSTOP);
    for name in ["inside", "among"] {
        promptly("a delete", || server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204));
    }
}

fn nix_kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it lives");
}

#[test]
fn a_first_process_that_reaps_nobody_leaves_nothing() {
    let Some(server) = arena() else { return };
    let before = server.traces();
    let script = "
for number in range(400):
    if os.fork() == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
said('zombies', 'made'); signal.pause()";
    server.create(&attacker("grave", script, &json!({"limits": {"pids": 1000}})));
    server.wait_for_log("grave", "zombies: made");
    let first = pid(&server, "grave");
    let zombies = || process::pids().into_iter().filter(|pid| process::parent(*pid) == Some(first) && !process::is_alive(*pid)).count();
    wait_until("there are zombies", || (zombies() > 400).then_some(()));
    is_well(&server);
    promptly("the list", || server.api().get("/api/v1/containers/grave/processes").expect(200));
    let ran = attack_by_exec(&server, "grave", "said('exec', 'runs')");
    assert_eq!(ran.result("exec"), "runs");
    promptly("the end", || server.act("grave", "stop?grace_ms=100"));
    promptly("the delete", || server.api().delete("/api/v1/containers/grave").expect(204));
    server.assert_nothing_left(&before);
}

/// Without a limit of its own, and so held back here by the attacker itself.
#[test]
fn a_thousand_processes_without_a_limit_end_with_their_container() {
    let Some(server) = arena() else { return };
    server.run_script("crowd", "i=0; while [ $i -lt 1200 ]; do sleep 1d & i=$((i+1)); done; echo all; exec sleep 1d");
    server.wait_for_log("crowd", "all");
    is_well(&server);
    let first = pid(&server, "crowd");
    let ours = || process::pids().into_iter().filter(|pid| process::parent(*pid) == Some(first)).count();
    assert!(ours() > 1100);
    promptly("a start beside it", || server.run_script("late", "exec sleep 1d"));
    let begun = Instant::now();
    server.act("crowd", "kill");
    server.wait_for_state("crowd", "stopped");
    assert!(begun.elapsed() < RESPONSIVE * patience(), "{:?}", begun.elapsed());
    wait_until("nobody is left", || (ours() == 0).then_some(()));
}

/// A tree that no careless program could walk, list or remove.
#[test]
fn a_tree_that_is_made_to_harm_whoever_walks_it_is_told_of_and_removed() {
    let Some(server) = arena() else { return };
    let before = server.traces();
    let script = r#"
os.chdir("/srv")
for number in range(3000):
    os.mkdir("d"); os.chdir("d")
said("deep", 3000)
os.makedirs("/opt/wide"); os.chdir("/opt/wide")
for number in range(6000): os.close(os.open("%d" % number, os.O_CREAT | os.O_WRONLY))
said("wide", 6000)
os.makedirs("/opt/odd"); os.chdir(b"/opt/odd")
for name in b"\xff\xfe", b"new\nline", b"\x1b]0;evil\x07", b"<img src=x onerror=alert(1)>", b"a" * 255, b"..hidden", b" ", b"%2e%2e%2f", b"\xe2\x80\xaegpj":
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
os.mkfifo("fifo"); socket.socket(socket.AF_UNIX).bind("socket"); os.symlink("odd", "self"); os.symlink("/" + "x" * 4000, "long"); os.symlink("../../../../../../../etc/shadow", "out")
sparse = os.open("sparse", os.O_CREAT | os.O_WRONLY); os.ftruncate(sparse, 1 << 42)
os.mkdir("closed"); os.mkdir("closed/in"); os.chmod("closed", 0)
said("all", "made"); time.sleep(1000)"#;
    server.create(&attacker("maze", script, &json!({})));
    let made = wait_until("the maze is made or not", || {
        Some(server.logs("maze")).filter(|log| log.contains("all: made") || log.contains("Error"))
    });
    assert!(made.contains("all: made"), "{made}");
    for path in [
        "overlay",
        "overlay/changes",
        "overlay/files?path=/opt/odd",
        "overlay/files?path=/opt/odd/fifo",
        "overlay/files?path=/opt/odd/out",
        "overlay/files?path=/opt/odd/self/self/self",
    ] {
        let answer = promptly(path, || server.api().get(&format!("/api/v1/containers/maze/{path}")));
        assert!(answer.status < 500, "{path}: {}", answer.text());
        assert!(!answer.text().contains("root:"), "{path}");
    }
    let changes = server.api().get("/api/v1/containers/maze/overlay/changes").expect(200).text();
    assert!(changes.contains("/opt/odd/fifo"), "what it did elsewhere is told all the same");
    for page in ["/containers/maze", "/containers/maze/overlay"] {
        let page = promptly(page, || server.api().get(page)).text();
        assert!(!page.contains("<img src=x") && !page.contains('\u{1b}'), "what it named is shown as text");
    }
    let shown = crate::belljar_output(&server, &["diff", "maze"]);
    assert!(!shown.stdout.contains(&0x1b), "the terminal of whoever looks is not written to");
    server.api().delete("/api/v1/containers/maze?force=true").expect(204);
    server.assert_nothing_left(&before);
}

#[test]
fn mounts_without_end_are_the_containers_own_and_end_with_it() {
    let Some(server) = arena() else { return };
    let lines = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains("belljar-attack")).count();
    let script = r#"
count = 0
def mount():
    global count
    while count < 3000: call("mount", b"belljar-attack", b"/mnt", b"tmpfs", 0, 0); count += 1
tried("mounts", mount); said("count", count); time.sleep(1000)"#;
    let security = json!({"seccomp": "unconfined", "capabilities": {"add": ["SYS_ADMIN"]}});
    server.create(&attacker("stacker", script, &json!({"security": security})));
    let log = Attempts(server.wait_for_log("stacker", "count: "));
    assert_eq!(log.result("count"), "3000", "{}", log.0);
    assert_eq!(lines(), 0, "the host's table has none of them");
    is_well(&server);
    promptly("the namespaces", || server.api().get("/api/v1/containers/stacker").expect(200));
    promptly("the delete", || server.api().delete("/api/v1/containers/stacker?force=true").expect(204));
}

/// Every descriptor that its limit allows, in many processes: others still open files, and so does the server.
#[test]
fn descriptors_used_up_inside_are_there_for_everybody_else() {
    let Some(server) = arena() else { return };
    let script = r#"
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
for child in range(8):
    if os.fork() == 0:
        count = 0
        try:
            while count < 20000: os.pipe(); count += 2
        except OSError as error: said("child", named(error.errno))
        else: said("child", "enough")
        time.sleep(1000)
time.sleep(1000)"#;
    server.create(&attacker("hoarder", script, &json!({})));
    wait_until("all have taken what they get", || (Attempts(server.logs("hoarder")).results("child").len() == 8).then_some(()));
    is_well(&server);
    assert_eq!(
        attack(&server, "modest", "tried('open', os.open, '/dev/null', 0); tried('pipe', os.pipe)", &json!({})).result("pipe"),
        "done"
    );
    promptly("the end", || server.api().delete("/api/v1/containers/hoarder?force=true").expect(204));
}
