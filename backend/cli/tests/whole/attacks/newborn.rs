//! What a program is born with, seen by itself in every way that the kernel offers: the first one, and every further one. A
//! single descriptor, group or signal too many is where an escape began more than once (CVE-2024-21626, CVE-2022-24769,
//! CVE-2022-36109).

use belljar_testbed::Server;
use serde_json::json;

use super::{Attempts, arena, attack, attack_by_exec, attacker};

const SELF: &str = r#"
import resource
status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
for key in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigBlk", "SigPnd", "ShdPnd", "Umask", "Groups", "Uid", "Gid", "TracerPid", "Seccomp_filters":
    said(key, " ".join(status[key].split()))
# What Python itself ignores is left out: SIGPIPE and SIGXFSZ.
said("ignored", hex(int(status["SigIgn"], 16) & ~(1 << 12 | 1 << 24)))
descriptors = {}
for name in os.listdir("/proc/self/fd"):
    try: descriptors[int(name)] = os.readlink("/proc/self/fd/" + name)
    except OSError: pass
said("descriptors", sorted(descriptors)); said("behind them", sorted(set(path.split(":")[0] for path in descriptors.values())))
said("folders behind them", [path for number, path in descriptors.items() if stat.S_ISDIR(os.fstat(number).st_mode)])
said("environment", sorted(os.environ))
said("initial environment", sorted(entry.split(b"=")[0].decode() for entry in open("/proc/self/environ", "rb").read().split(b"\0") if entry))
said("root", os.readlink("/proc/self/root")); said("first root", os.readlink("/proc/1/root")); said("folder", os.getcwd()); said("folder by link", os.readlink("/proc/self/cwd"))
said("first executable", os.readlink("/proc/1/exe").startswith("/usr/bin/"))
said("same root", os.stat("/").st_ino == os.stat("/proc/1/root").st_ino and os.stat("/").st_dev == os.stat("/proc/1/root").st_dev)
said("session", os.getsid(0) in (0, os.getpid())); said("parent inside", os.getppid())
said("terminal", os.popen("ps -o tty= -p $PPID 2>/dev/null").read().strip() or "?")
death = ctypes.c_int(); libc.prctl(2, ctypes.byref(death)); said("dies with", death.value)
said("subreaper", libc.prctl(37, ctypes.byref(death)) or death.value); said("keeps capabilities", libc.prctl(7)); said("securebits", libc.prctl(27)); said("dumpable", libc.prctl(3))
said("personality", libc.personality(ctypes.c_ulong(0xffffffff))); said("nice", os.nice(0)); said("policy", os.sched_getscheduler(0)); said("oom", open("/proc/self/oom_score_adj").read().strip())
timers = [signal.getitimer(which) for which in (0, 1, 2)]; said("timers", timers == [(0.0, 0.0)] * 3)
said("keys", len(open("/proc/keys").read())); said("loginuid", open("/proc/self/loginuid").read().strip() if os.path.exists("/proc/self/loginuid") else "4294967295")
said("mapped files", [line.split()[-1] for line in open("/proc/self/maps") if "belljar" in line])
said("cgroup", all(line.rstrip().endswith(":/") for line in open("/proc/self/cgroup")))
said("mounts of the host", [line for line in open("/proc/self/mountinfo") if "/var/tmp/belljar-" in line.split(" - ")[0]])
tried("dmesg", os.open, "/dev/kmsg", os.O_RDONLY)
tried("syslog", call, "syslog", 3, ctypes.create_string_buffer(64), 64)
tried("lower oom", written, "/proc/self/oom_score_adj", b"-1000")
tried("raise descriptors", resource.setrlimit, resource.RLIMIT_NOFILE, (1 << 30, 1 << 30))
tried("back to nice", os.setpriority, os.PRIO_PROCESS, 0, -10)
tried("real time", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(10))
def inherit(): 
    if libc.prctl(47, 2, 21, 0, 0) != 0: raise OSError(ctypes.get_errno(), "")
tried("ambient admin", inherit)
"#;

#[track_caller]
fn is_clean(attempts: &Attempts) {
    for (what, expected) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Seccomp_filters", "1"),
        ("SigBlk", "0000000000000000"),
        ("SigPnd", "0000000000000000"),
        ("ShdPnd", "0000000000000000"),
        ("ignored", "0x0"),
        ("Umask", "0022"),
        ("Groups", ""),
        ("Uid", "0 0 0 0"),
        ("Gid", "0 0 0 0"),
        ("TracerPid", "0"),
        ("folders behind them", "[]"),
        ("environment", "['HOME', 'HOSTNAME', 'LC_CTYPE', 'PATH']"),
        ("initial environment", "['HOME', 'HOSTNAME', 'PATH']"),
        ("root", "/"),
        ("first root", "/"),
        ("same root", "True"),
        ("folder", "/"),
        ("folder by link", "/"),
        ("session", "True"),
        ("parent inside", "0"),
        ("terminal", "?"),
        ("dies with", "0"),
        ("subreaper", "0"),
        ("keeps capabilities", "0"),
        ("securebits", "0"),
        ("personality", "0"),
        ("nice", "0"),
        ("policy", "0"),
        ("oom", "0"),
        ("timers", "True"),
        ("keys", "0"),
        ("loginuid", "4294967295"),
        ("mapped files", "[]"),
        ("cgroup", "True"),
        ("mounts of the host", "[]"),
        ("first executable", "True"),
    ] {
        assert_eq!(attempts.result(what), expected, "{what}:\n{}", attempts.0);
    }
    assert!(["[0, 1, 2]", "[0, 1, 2, 3]"].contains(&attempts.result("descriptors")), "{}", attempts.0);
    attempts.ended("dmesg", &["ENOENT"]);
    attempts.all_ended(&["syslog", "ambient admin", "back to nice", "real time"], &["EPERM", "EACCES"]);
    attempts.ended("raise descriptors", &["EPERM", "4"]);
    attempts.ended("lower oom", &["EACCES", "EPERM"]);
}

#[test]
fn the_first_program_and_every_further_one_are_born_with_nothing_of_the_hosts() {
    let Some(server) = arena() else { return };
    is_clean(&attack(&server, "first", SELF, &json!({})));
    server.create(&attacker("host", "time.sleep(1000)", &json!({})));
    is_clean(&attack_by_exec(&server, "host", SELF));
}

/// What the server itself has in its environment, its groups and its descriptors is nobody's.
#[test]
fn what_the_server_was_started_with_does_not_come_through() {
    let Some(server) = arena() else { return };
    let environment = std::fs::read(format!("/proc/{}/environ", server.pid())).unwrap();
    assert!(environment.windows(6).any(|word| word == b"CARGO_"), "there is something that could leak");
    let groups = |server: &Server, name: &str| server.logs(name).trim().to_owned();
    for (name, user, expected) in [("numbers", "1000:1000", "1000"), ("root", "0", "0"), ("named", "nobody:0", "0")] {
        server.create(&json!({"image": "host", "name": name, "user": user, "command": ["sh", "-c", "id -G; exec sleep 0"]}));
        server.wait_for_state(name, "stopped");
        assert_eq!(groups(&server, name), expected, "{user}");
    }
    server.run_script("host", "exec sleep 1d");
    for (user, expected) in [("1000:1000", "1000\n"), ("1000", "1000 0\n"), ("nobody:0", "0\n")] {
        let body = json!({"command": ["id", "-G"], "user": user});
        let answer = server.api().post_json("/api/v1/containers/host/exec", &body).expect(200).json();
        let given = answer["stdout"].as_str().unwrap();
        assert!(given == expected || (user == "1000" && given == "0\n"), "{user}: {given}");
    }
}

/// CVE-2024-40635, CVE-2026-30892, CVE-2016-3697: a user that is not the one that was meant.
#[test]
fn a_user_is_exactly_who_was_asked_for_or_is_refused() {
    let Some(server) = arena() else { return };
    let ask = "echo $(id -u):$(id -g):$(grep CapEff /proc/self/status | cut -f2)";
    // A name that is a number leads to nobody else.
    let prepare = "printf '1:x:0:0::/root:/bin/sh\\n2147483648:x:0:0::/:/bin/sh\\nsly:x:0:0::/:/bin/sh\\nplain:x:77:78::/:/bin/sh\\n' >> /etc/passwd; printf '1:x:0:\\n' >> /etc/group; echo up; exec sleep 1d";
    server.run_script("host", prepare);
    server.wait_for_log("host", "up");
    let none = "0000000000000000";
    for (user, ids) in [
        ("1", "1:1"),
        ("1:", "1:1"),
        ("1:1", "1:1"),
        ("65535:65535", "65535:65535"),
        ("plain", "77:78"),
        ("plain:1", "77:1"),
        ("01:01", "1:1"),
    ] {
        let body = json!({"command": ["sh", "-c", ask], "user": user});
        let answer = server.api().post_json("/api/v1/containers/host/exec", &body).expect(200).json();
        let expected = format!("{ids}:{none}\n");
        // Without a group it is that of the entry in /etc/passwd whose id is 1: `daemon` of Debian.
        assert_eq!(answer["stdout"], expected, "exec {user}: {answer}");
        let by_cli = crate::belljar(&server, &["exec", "-u", user, "host", "sh", "-c", ask]);
        assert_eq!(by_cli, expected, "belljar exec -u {user}");
        if user.starts_with("plain") {
            continue;
        }
        let name = format!("user-{}", user.replace(':', "-"));
        server.create(&json!({"image": "host", "name": name, "user": user, "command": ["sh", "-c", ask]}));
        server.wait_for_state(&name, "stopped");
        assert_eq!(server.logs(&name), expected, "run {user}");
    }
    let wrong = [
        "4294967296",
        "4294967295",
        "2147483648",
        "65536",
        "-1",
        ":1",
        "",
        ":",
        "1:-1",
        "1:4294967296",
        "1:1:1",
        " 1",
        "+1",
        "1\n",
        "١",
        "root\u{0}",
        "../root",
        "1:65536",
    ];
    for user in wrong {
        let body = json!({"command": ["id"], "user": user});
        let problem = server.api().post_json("/api/v1/containers/host/exec", &body).expect(422).json();
        assert!(problem["field"].as_str().is_some_and(|field| field.contains("user")), "exec {user:?}: {problem}");
        let body = json!({"image": "host", "command": ["id"], "user": user});
        let problem = server.api().post_json("/api/v1/containers", &body).expect(422).json();
        assert!(problem["field"].as_str().is_some_and(|field| field.contains("user")), "run {user:?}: {problem}");
    }
    let unknown = server.api().post_json("/api/v1/containers/host/exec", &json!({"command": ["id"], "user": "no-such-user"}));
    assert!(unknown.status >= 400, "{}", unknown.text());
}
