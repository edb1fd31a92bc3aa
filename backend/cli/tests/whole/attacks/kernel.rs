//! Attacks on the host's kernel: its files, its system calls, devices, keys, and files by their handles. Where a person has
//! loosened something, what was not loosened still holds.

use std::fs;
use std::process::Command;

use belljar_testbed::{Server, skip};
use serde_json::{Value, json};

use super::{Attempts, Canary, arena, attack, attack_by_exec};

/// Every capability that a person could add to reach the kernel, without the filter of system calls.
fn mighty() -> Value {
    json!({"seccomp": "unconfined", "capabilities": {"add": ["SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "SYSLOG"]}})
}

/// Who writes to these asks to be woken when the machine is short of something: any user of the host may (mode 0666).
fn is_everybodys(path: &str) -> bool {
    path.starts_with("/proc/pressure/")
}

#[test]
fn no_file_of_the_kernels_opens_for_writing_whatever_is_shared() {
    let Some(server) = arena() else { return };
    let canary = Canary::look();
    let choices = [
        ("default", json!({})),
        ("net", json!({"namespaces": {"net": "host"}})),
        ("pid", json!({"namespaces": {"pid": "host"}})),
        ("user", json!({"namespaces": {"user": "host"}})),
        ("mighty", json!({"security": mighty()})),
    ];
    for (name, options) in choices {
        let attempts = attack(&server, name, "opened_below('/proc', '/sys')", &options);
        let tried: u32 = attempts.result("files tried").parse().unwrap();
        assert!(tried > 1000, "{name}: {tried} files only");
        let opened: Vec<_> = attempts.results("opens").into_iter().filter(|path| !is_everybodys(path)).collect();
        assert_eq!(opened, [""; 0], "{name}");
    }
    canary.assert_unchanged();
}

/// What opens when nothing is masked belongs to a namespace of the container's own.
#[test]
fn without_masks_only_files_of_ones_own_namespaces_open() {
    let Some(server) = arena() else { return };
    let canary = Canary::look();
    let options = json!({"security": {"system_paths": "unconfined"}});
    let attempts = attack(&server, "bare", "opened_below('/proc', '/sys')", &options);
    let own = [
        "net/",
        "kernel/shm",
        "kernel/msg",
        "kernel/sem",
        "kernel/auto_msgmni",
        "kernel/pid_max",
        "kernel/ns_last_pid",
        "fs/mqueue/",
        "user/",
    ]
    .map(|name| format!("/proc/sys/{name}"));
    let foreign = |path: &&str| !own.iter().any(|own| path.starts_with(own)) && !path.starts_with("/proc/net/") && !is_everybodys(path);
    let opened = attempts.results("opens");
    assert_eq!(opened.iter().copied().filter(|path| foreign(path)).collect::<Vec<_>>(), [""; 0]);
    assert!(opened.len() > 5, "its own do open: {opened:?}");
    canary.assert_unchanged();
}

/// Unmounts what is over the kernel's files, mounts them anew, and writes to what runs programs as the host's root.
const UNCOVER: &str = r#"
for path in [line.split()[4] for line in open("/proc/self/mountinfo")][::-1]:
    if path.startswith(("/proc/", "/sys/")):
        try: call("umount2", path.encode(), 2)
        except OSError: pass
def remount(path): call("mount", b"none", path.encode(), 0, 32 | 4096, 0)
tried("remount /sys", remount, "/sys")
tried("remount /proc/sys", remount, "/proc/sys")
os.makedirs("/tmp/proc"); os.makedirs("/tmp/sys"); os.makedirs("/tmp/misc"); os.makedirs("/tmp/debug")
tried("mount proc", call, "mount", b"proc", b"/tmp/proc", b"proc", 0, 0)
tried("mount sysfs", call, "mount", b"sysfs", b"/tmp/sys", b"sysfs", 0, 0)
tried("mount debugfs", call, "mount", b"debugfs", b"/tmp/debug", b"debugfs", 0, 0)
tried("mount securityfs", call, "mount", b"securityfs", b"/tmp/debug", b"securityfs", 0, 0)
tried("mount ext4", call, "mount", b"/dev/vda", b"/tmp/debug", b"ext4", 0, 0)
for proc in "/proc", "/tmp/proc":
    for file in "sys/kernel/core_pattern", "sys/kernel/modprobe", "sysrq-trigger", "sys/kernel/sysrq", "sys/vm/overcommit_memory", "kcore", "sys/fs/binfmt_misc/register":
        tried("write %s/%s" % (proc, file), written, proc + "/" + file, b"0")
for sys_ in "/sys", "/tmp/sys":
    tried("write %s/kernel/uevent_helper" % sys_, written, sys_ + "/kernel/uevent_helper", b"/evil")
tried("read kcore", os.open, "/proc/kcore", os.O_RDONLY)
tried("read kmsg", os.open, "/proc/kmsg", os.O_RDONLY | os.O_NONBLOCK)
tried("syslog", call, "syslog", 3, 0, 0)
tried("init_module", call, "init_module", 0, 0, b"")
tried("quotactl", call, "quotactl", 0, 0, 0, 0)
tried("swapon", call, "swapon", b"/tmp/swap", 0)
tried("reboot", call, "reboot", 0xfee1dead, 672274793, 0, 0)
tried("clock_settime", call, "clock_settime", 0, (ctypes.c_long * 2)(time.time_ns() // 10**9, 0))
"#;

#[test]
fn a_container_that_takes_its_masks_away_still_cannot_write_what_runs_programs_on_the_host() {
    let Some(server) = arena() else { return };
    let canary = Canary::look();
    let attempts = attack(&server, "uncoverer", UNCOVER, &json!({"security": mighty()}));
    attempts.ended("remount /sys", &["EPERM", "EBUSY", "EINVAL", "done"]);
    for proc in ["/proc", "/tmp/proc"] {
        for file in
            ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sysrq-trigger", "sys/kernel/sysrq", "sys/vm/overcommit_memory", "kcore"]
        {
            attempts.ended(&format!("write {proc}/{file}"), &["EACCES", "EPERM", "EROFS", "ENOENT"]);
        }
    }
    for sys in ["/sys", "/tmp/sys"] {
        attempts.ended(&format!("write {sys}/kernel/uevent_helper"), &["EACCES", "EPERM", "EROFS", "ENOENT"]);
    }
    attempts.all_ended(&["mount debugfs", "mount securityfs", "mount ext4"], &["EPERM", "ENODEV", "ENOENT"]);
    attempts.all_ended(&["read kcore", "read kmsg", "syslog", "swapon", "clock_settime"], &["EACCES", "EPERM", "ENOENT"]);
    attempts.ended("init_module", &["EPERM", "ENOSYS"]);
    attempts.ended("quotactl", &["EPERM", "ENODEV", "ENOENT", "EFAULT", "ENOSYS", "ENOTBLK"]);
    attempts.ended("reboot", &["EPERM", "EINVAL"]);
    canary.assert_unchanged();
}

/// CVE-2022-0492: every way to a `release_agent` that could be written.
const AGENTS: &str = r#"
os.makedirs("/tmp/cgroup")
found = 0
def search(root):
    global found
    for folder, folders, files in os.walk(root):
        if "release_agent" in files:
            found += 1
            tried("agent of the %s" % root.strip("/").replace("/", " "), written, folder + "/release_agent", b"/evil")
for controller in "memory", "rdma", "pids", "cpuset", "none,name=attack":
    tried("mount cgroup " + controller, call, "mount", b"cgroup", b"/tmp/cgroup", b"cgroup", 0, controller.encode())
    search("/tmp/cgroup")
tried("mount cgroup2", call, "mount", b"cgroup2", b"/tmp/cgroup", b"cgroup2", 0, 0)
search("/tmp/cgroup")
tried("fsopen", call, "fsopen", b"cgroup", 0)
search("/sys/fs/cgroup")
for root, folders, files in os.walk("/sys/fs/cgroup"):
    for name in files:
        try: os.close(os.open(root + "/" + name, os.O_WRONLY))
        except OSError: continue
        said("writable", root + "/" + name)
    try: os.mkdir(root + "/evil")
    except OSError: continue
    said("writable", root)
def nested():
    call("unshare", 0x10000000 | 0x00020000 | 0x02000000)
    open("/proc/self/setgroups", "w").write("deny"); open("/proc/self/uid_map", "w").write("0 0 1"); open("/proc/self/gid_map", "w").write("0 0 1")
    said("nested", "in")
    tried("nested mount", call, "mount", b"cgroup", b"/tmp/cgroup", b"cgroup", 0, b"memory")
    search("/tmp/cgroup")
apart("nested", nested)
said("agents found", found)
"#;

#[test]
fn no_release_agent_can_be_written() {
    let Some(server) = arena() else { return };
    let canary = Canary::look();
    let attempts = attack(&server, "agent", AGENTS, &json!({}));
    let mounts = [
        "mount cgroup memory",
        "mount cgroup rdma",
        "mount cgroup pids",
        "mount cgroup cpuset",
        "mount cgroup none,name=attack",
        "mount cgroup2",
    ];
    attempts.all_ended(&mounts, &["EPERM"]);
    attempts.all_ended(&["fsopen", "nested"], &["EPERM"]);
    assert_eq!((attempts.result("agents found"), attempts.results("writable")), ("0", vec![]));
    canary.assert_unchanged();
    // With every right that its own user namespace can give.
    let attempts = attack(&server, "mighty-agent", AGENTS, &json!({"security": mighty()}));
    attempts.ended("nested", &["in"]);
    for line in attempts.0.lines().filter(|line| line.starts_with("agent of the")) {
        assert!(["EPERM", "EACCES", "EROFS"].iter().any(|way| line.ends_with(way)), "{line}");
    }
    canary.assert_unchanged();
}

/// Calls that nobody needs who is only a program, each as it would be used.
const CALLS: &str = r#"
tried("keyctl", call, "keyctl", 0, -3, 1)
tried("add_key", call, "add_key", b"user", b"name", b"value", 5, -3)
tried("request_key", call, "request_key", b"user", b"name", 0, -3)
tried("io_uring_setup", call, "io_uring_setup", 4, (ctypes.c_char * 120)())
tried("userfaultfd", call, "userfaultfd", 0o2000000)
tried("userfaultfd for user mode", call, "userfaultfd", 0o2000000 | 1)
tried("bpf", call, "bpf", 0, struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100), 120)
tried("perf_event_open", call, "perf_event_open", struct.pack("IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)
tried("open_by_handle_at", call, "open_by_handle_at", 3, struct.pack("Ii", 8, 1) + struct.pack("Q", 2), 0)
tried("mount", call, "mount", b"none", b"/mnt", b"tmpfs", 0, 0)
tried("fsopen", call, "fsopen", b"tmpfs", 0)
tried("open_tree", call, "open_tree", -100, b"/", 1)
tried("move_mount", call, "move_mount", -100, b"/tmp", -100, b"/mnt", 0)
tried("mount_setattr", call, "mount_setattr", -100, b"/", 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)
tried("pivot_root", call, "pivot_root", b"/tmp", b"/tmp")
tried("umount2", call, "umount2", b"/proc/kcore", 2)
tried("unshare user", call, "unshare", 0x10000000)
tried("unshare mount", call, "unshare", 0x00020000)
tried("unshare net", call, "unshare", 0x40000000)
tried("clone user", call, "clone", 0x10000000 | 17, 0, 0, 0, 0)
tried("clone pid", call, "clone", 0x20000000 | 17, 0, 0, 0, 0)
tried("clone3", call, "clone3", struct.pack("Q", 0x10000000) + bytes(80), 88)
tried("setns", call, "setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)
tried("init_module", call, "init_module", b"", 0, b"")
tried("finit_module", call, "finit_module", 0, b"", 0)
tried("delete_module", call, "delete_module", b"x", 0)
tried("kexec_load", call, "kexec_load", 0, 0, 0, 0)
tried("reboot", call, "reboot", 0xfee1dead, 672274793, 0, 0)
tried("swapon", call, "swapon", b"/tmp/x", 0)
tried("clock_settime", call, "clock_settime", 0, struct.pack("qq", 0, 0))
tried("quotactl", call, "quotactl", 0x800000 << 8, b"/dev/vda", 0, 0)
tried("acct", call, "acct", b"/tmp/acct")
tried("syslog", call, "syslog", 3, ctypes.create_string_buffer(64), 64)
tried("vhangup", call, "vhangup")
tried("sethostname", call, "sethostname", b"evil", 4)
tried("setdomainname", call, "setdomainname", b"evil", 4)
tried("fanotify_init", call, "fanotify_init", 0, 0)
tried("personality", call, "personality", 0x0400000)
tried("pidfd_getfd", call, "pidfd_getfd", call("pidfd_open", os.getpid(), 0), 0, 0)
tried("AF_ALG", call, "socket", 38, 5, 0)
tried("AF_VSOCK", call, "socket", 40, 1, 0)
tried("packet", call, "socket", 17, 3, 768)
def old_door():
    import mmap
    # int 0x80 with eax, ebx from the arguments and 0 in ecx, edx, esi.
    code = bytes.fromhex("5389f889f331c931d231f6cd80" "5bc3")
    page = mmap.mmap(-1, 4096, prot=7); page.write(code)
    door = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    if door(20, 0) != os.getpid(): return said("old door", "closed")
    said("old door", "open")
    for name, number, argument in ("unshare", 310, 0x10000000), ("keyctl", 288, 0), ("mount", 21, 0), ("bpf", 357, 0), ("io_uring_setup", 425, 4), ("setns", 346, 0), ("userfaultfd", 374, 0), ("iopl", 110, 3):
        result = door(number, argument)
        said("old " + name, "done" if result >= 0 else named(-result))
if platform.machine() == "x86_64": apart("old door", old_door)
"#;

#[track_caller]
fn refused_all(attempts: &Attempts) {
    let others = ["clone3", "AF_ALG", "AF_VSOCK", "packet", "old door"];
    let names = CALLS.lines().filter_map(|line| line.strip_prefix("tried(\"")?.split_once('"')).map(|(name, _)| name);
    let names: Vec<&str> = names.filter(|name| !others.contains(name)).collect();
    assert!(names.len() > 35);
    attempts.all_ended(&names, &["EPERM"]);
    attempts.ended("clone3", &["ENOSYS"]);
    attempts.all_ended(&["AF_ALG", "AF_VSOCK"], &["EPERM"]);
    if cfg!(target_arch = "x86_64") && attempts.result("old door") == "open" {
        for name in ["unshare", "keyctl", "mount", "bpf", "io_uring_setup", "setns", "userfaultfd", "iopl"] {
            attempts.ended(&format!("old {name}"), &["EPERM", "ENOSYS"]);
        }
    }
}

#[test]
fn dangerous_calls_are_refused_to_the_first_program_and_to_every_further_one() {
    let Some(server) = arena() else { return };
    let canary = Canary::look();
    refused_all(&attack(&server, "caller", CALLS, &json!({})));
    server.run_script("host", "exec sleep 1d");
    refused_all(&attack_by_exec(&server, "host", CALLS));
    canary.assert_unchanged();
}

const DEVICES: &str = r#"
NODES = [("vda", "b", 254, 0), ("sda", "b", 8, 0), ("loop", "b", 7, 0), ("mem", "c", 1, 1), ("port", "c", 1, 4), ("kmsg", "c", 1, 11), ("console", "c", 5, 1),
         ("tty0", "c", 4, 0), ("ttyS0", "c", 4, 64), ("fuse", "c", 10, 229), ("kvm", "c", 10, 232), ("loop-control", "c", 10, 237), ("vhost", "c", 10, 238), ("msr", "c", 202, 0)]
for name, kind, major, minor in NODES:
    path = "/srv/" + name
    if making:
        tried("make " + name, os.mknod, path, (stat.S_IFBLK if kind == "b" else stat.S_IFCHR) | 0o666, os.makedev(major, minor))
    for mode, flags in ("read", os.O_RDONLY), ("write", os.O_WRONLY):
        tried("%s %s" % (mode, name), os.open, path, flags | os.O_NONBLOCK | os.O_NOCTTY)
whole = [name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat("/dev/" + name).st_mode) or name in ("mem", "kmsg", "kvm", "fuse", "vda", "sda", "console")]
said("of the host in /dev", whole)
"#;
const NODES: [&str; 14] =
    ["vda", "sda", "loop", "mem", "port", "kmsg", "console", "tty0", "ttyS0", "fuse", "kvm", "loop-control", "vhost", "msr"];

fn devices(making: &str) -> String {
    format!("making = {making}\n{DEVICES}")
}

#[test]
fn a_device_node_is_not_made_or_not_opened() {
    let Some(server) = arena() else { return };
    let volume = server.scratch("nodes");
    let attempts = attack(&server, "own-ids", &devices("True"), &json!({}));
    attempts.all_ended(&NODES.map(|name| format!("make {name}")).each_ref().map(String::as_str), &["EPERM"]);
    assert_eq!(attempts.result("of the host in /dev"), "[]");
    // With the host's user ids a node can be made; its device cannot be opened, in its own tree or in a volume.
    let mounts = json!([{"type": "bind", "source": volume, "target": "/srv"}]);
    for (name, mounts) in [("host-ids", json!([])), ("host-ids-volume", mounts.clone())] {
        let attempts = attack(&server, name, &devices("True"), &json!({"namespaces": {"user": "host"}, "mounts": mounts}));
        for node in NODES {
            attempts.ended(&format!("make {node}"), &["done"]);
            attempts.ended(&format!("read {node}"), &["EPERM", "EACCES"]);
            attempts.ended(&format!("write {node}"), &["EPERM", "EACCES"]);
        }
        assert_eq!(attempts.result("of the host in /dev"), "[]");
    }
    // What one container left in a volume is no device for another.
    assert!(fs::metadata(volume.join("mem")).is_ok());
    let attempts = attack(&server, "finder", &devices("False"), &json!({"mounts": mounts}));
    for node in NODES {
        attempts.ended(&format!("read {node}"), &["EPERM", "EACCES"]);
        attempts.ended(&format!("write {node}"), &["EPERM", "EACCES"]);
    }
}

/// The file handle of a path, as the host's root sees it: type and bytes, in hexadecimal.
fn handle(path: &std::path::Path) -> Option<String> {
    let script = format!(
        "{}
h = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128), 136); m = ctypes.c_int()
call('name_to_handle_at', -100, sys.argv[1].encode(), h, ctypes.byref(m) and ctypes.addressof(m), 0)
n, kind = struct.unpack('Ii', h.raw[:8]); print(h.raw[:8 + n].hex())",
        super::ATTACKER
    );
    let output = Command::new("/usr/bin/python3").args(["-c", &script]).arg(path).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// "Shocker": a file of the host's by its handle, through any folder on the same file system.
#[test]
fn files_of_the_host_are_not_opened_by_their_handles() {
    let Some(server) = arena() else { return };
    let secret = server.scratch("secrets").join("secret");
    fs::write(&secret, "the host's secret").unwrap();
    let volume = server.scratch("volume");
    let Some(handle) = handle(&secret) else { return skip("file handles") };
    let script = format!(
        r#"
handle = bytes.fromhex("{handle}")
for folder in "/srv", "/", "/etc/hostname", "/usr", "/dev", "/proc":
    def shock():
        found = call("open_by_handle_at", os.open(folder, os.O_RDONLY), handle, 0)
        said("read through " + folder, os.read(found, 100))
    tried("open through " + folder, shock)
"#
    );
    let mounts = json!([{"type": "bind", "source": volume, "target": "/srv"}]);
    let all = |attempts: &Attempts| {
        for folder in ["/srv", "/", "/usr", "/dev", "/proc"] {
            attempts.ended(&format!("open through {folder}"), &["EPERM", "ESTALE", "EINVAL", "EOPNOTSUPP"]);
        }
        assert!(!attempts.0.contains("secret"), "{attempts:?}");
    };
    all(&attack(&server, "shocker", &script, &json!({"mounts": mounts})));
    all(&attack(&server, "shocker-host-ids", &script, &json!({"mounts": mounts, "namespaces": {"user": "host"}})));
    all(&attack(&server, "mighty-shocker", &script, &json!({"mounts": mounts, "security": mighty()})));
    // It is a real attack: who was given the host's user ids and this right reads the file.
    let given = attack(&server, "allowed", &script, &json!({"mounts": mounts, "security": mighty(), "namespaces": {"user": "host"}}));
    assert_eq!(given.result("read through /srv"), "b\"the host's secret\"");
}

/// A key of the host's root, made by the test and taken away at its end.
struct Key(&'static str);

impl Key {
    fn make(name: &'static str) -> Option<Self> {
        let script = format!("{}tried('add', call, 'add_key', b'user', sys.argv[1].encode(), b'secret', 6, -4)", super::ATTACKER);
        let output = Command::new("/usr/bin/python3").args(["-c", &script, name]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).contains("add: done").then_some(Self(name))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let script = format!("{}key = call('keyctl', 10, -4, b'user', sys.argv[1].encode(), 0); call('keyctl', 21, key)", super::ATTACKER);
        let _gone_with_the_session = Command::new("/usr/bin/python3").args(["-c", &script, self.0]).output();
    }
}

#[test]
fn keys_of_the_host_are_neither_seen_nor_found() {
    let Some(server) = arena() else { return };
    let Some(key) = Key::make("belljar-attack-key") else { return skip("keyrings") };
    let script = r#"
tried("request", call, "request_key", b"user", b"belljar-attack-key", 0, 0)
for ring, name in (-1, "thread"), (-2, "process"), (-3, "session"), (-4, "user"), (-5, "user session"):
    tried("search " + name, call, "keyctl", 10, ring, b"user", b"belljar-attack-key", 0)
seen = open("/proc/keys").read()
said("keys seen", seen.count("\n")); said("host's key seen", "belljar-attack-key" in seen)
for line in seen.splitlines():
    number = int(line.split()[0], 16)
    buffer = ctypes.create_string_buffer(100)
    try: call("keyctl", 11, number, buffer, 100); said("read", buffer.value)
    except OSError: pass
"#;
    let by_default = attack(&server, "keys", script, &json!({}));
    assert_eq!((by_default.result("keys seen"), by_default.result("request")), ("0", "EPERM"));
    let options = json!({"security": {"seccomp": "unconfined", "system_paths": "unconfined"}});
    let unfiltered = attack(&server, "unfiltered-keys", script, &options);
    assert_eq!(unfiltered.result("host's key seen"), "False", "{}", unfiltered.0);
    for ring in ["request", "search session", "search user", "search user session"] {
        unfiltered.ended(ring, &["ENOKEY", "EACCES", "EPERM"]);
    }
    assert!(!unfiltered.0.contains("secret"), "{}", unfiltered.0);
    drop(key);
}

/// TIOCSTI and its like: a container has no terminal, finds none, and what it is given is none.
#[test]
fn there_is_no_terminal_to_type_into() {
    let Some(server) = arena() else { return };
    let script = r#"
import fcntl
for number in 0, 1, 2:
    tried("type into %d" % number, fcntl.ioctl, number, 0x5412, b"x")
    tried("take %d" % number, fcntl.ioctl, number, 0x540E, 1)
for name in "tty", "console", "tty0", "tty1", "ttyS0", "pts/0", "pts/1", "pts/2", "vcs", "vcsa", "hvc0":
    def inject():
        descriptor = os.open("/dev/" + name, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, 0x5412, b"x")
    tried("inject " + name, inject)
master, slave = os.openpty()
tried("own terminal", fcntl.ioctl, slave, 0x541C, b"\x0b")
said("terminals", sorted(os.listdir("/dev/pts")))
"#;
    let check = |attempts: &Attempts| {
        for number in ["0", "1", "2"] {
            attempts.ended(&format!("type into {number}"), &["ENOTTY", "EINVAL", "EPERM"]);
            attempts.ended(&format!("take {number}"), &["ENOTTY", "EINVAL", "EPERM"]);
        }
        for name in ["tty", "console", "tty0", "ttyS0", "pts/0", "vcs", "hvc0"] {
            attempts.ended(&format!("inject {name}"), &["ENXIO", "ENOENT"]);
        }
        assert_eq!(attempts.result("terminals"), "['0', 'ptmx']", "its own alone");
    };
    check(&attack(&server, "typist", script, &json!({})));
    server.run_script("host", "exec sleep 1d");
    check(&attack_by_exec(&server, "host", script));
}

/// Whoever can make a user namespace within is no mightier towards what is outside.
#[test]
fn a_user_namespace_within_reaches_no_further() {
    let Some(server) = arena() else { return };
    let canary = Canary::look();
    let script = format!(
        r#"
def nested():
    call("unshare", 0x10000000 | 0x00020000 | 0x20000000)
    open("/proc/self/setgroups", "w").write("deny"); open("/proc/self/uid_map", "w").write("0 0 1"); open("/proc/self/gid_map", "w").write("0 0 1")
    said("nested", "in")
    if os.fork() == 0:
{}
        os._exit(0)
    os.wait()
apart("nested", nested)
"#,
        UNCOVER.lines().map(|line| format!("        {line}\n")).collect::<String>()
    );
    attack(&server, "refused", &script, &json!({})).ended("nested", &["EPERM"]);
    let attempts = attack(&server, "nested", &script, &json!({"security": {"seccomp": "unconfined"}}));
    attempts.ended("nested", &["in"]);
    // What covers the kernel's files is locked for whoever inherited it, and a new instance would show them uncovered.
    attempts.all_ended(&["mount proc", "mount sysfs", "remount /sys", "remount /proc/sys"], &["EPERM"]);
    attempts.all_ended(
        &["write /proc/sys/kernel/core_pattern", "write /proc/sysrq-trigger", "write /sys/kernel/uevent_helper"],
        &["EROFS", "EACCES", "ENOENT"],
    );
    canary.assert_unchanged();
}

/// A program that belongs to root and carries the bit, in the container's own tree and in a volume.
#[test]
fn a_set_user_id_program_gains_nothing_unless_that_was_allowed_and_then_only_inside() {
    let Some(server) = arena() else { return };
    let volume = server.scratch("programs");
    let script = r#"
import shutil, subprocess
for folder in "/opt", "/srv":
    shutil.copy("/usr/bin/python3", folder + "/rooted"); os.chmod(folder + "/rooted", 0o6755)
    ask = "import os; print(os.geteuid(), os.getegid(), [line for line in open('/proc/self/status') if line.startswith('CapEff')][0].split()[1])"
    said("in " + folder, subprocess.run([folder + "/rooted", "-c", ask], user=1000, group=1000, extra_groups=[], capture_output=True, text=True).stdout.strip())
"#;
    let with = |security: Value| json!({"mounts": [{"type": "bind", "source": volume, "target": "/srv"}], "security": security});
    let attempts = attack(&server, "rooted", script, &with(json!({})));
    for folder in ["/opt", "/srv"] {
        assert_eq!(attempts.result(&format!("in {folder}")), "1000 1000 0000000000000000");
    }
    let allowed = attack(&server, "allowed", script, &with(json!({"new_privileges": "allowed"})));
    assert_eq!(allowed.result("in /opt"), "0 0 00000000a80425fb", "the attack is real");
    assert_eq!(allowed.result("in /srv"), "1000 1000 0000000000000000", "a volume carries no such programs");
    let upper = |server: &Server| {
        server.data_dir().join("containers").join(server.container("rooted")["id"].as_str().unwrap()).join("upper/opt/rooted")
    };
    assert!(upper(&server).exists(), "it is on disk");
    // By a shell in between: setpriv itself keeps rights until its program begins.
    let mut run = Command::new("setpriv");
    run.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "sh", "-c", "exec \"$0\" -c 0"]).arg(upper(&server));
    let run = run.output();
    assert!(!run.unwrap().status.success(), "a user of the host cannot reach it");
}
