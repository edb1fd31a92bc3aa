//! The filter of system calls, seen from inside: programs that people run do run, and what is refused can be counted without
//! being let through.

use std::fs;
use std::path::Path;

use belljar_monitor::Spawner;
use belljar_testbed::{Server, skip, wait_until};
use serde_json::{Value, json};

/// Programs with what they need of the kernel that a filter could take away; each prints `fine` at its end.
const PROGRAMS: [(&str, &str); 9] = [
    (
        "python3",
        "python3 -c 'import threading, subprocess, multiprocessing as m, socket, tempfile, mmap, select, asyncio
t = threading.Thread(target=lambda: None); t.start(); t.join(); subprocess.check_call([\"true\"])
p = m.get_context(\"spawn\").Process(target=print); p.start(); p.join(); assert p.exitcode == 0
a, b = socket.socketpair(); a.send(b\"x\"); assert b.recv(1) == b\"x\"; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); s.listen()
mmap.mmap(-1, 4096); select.epoll(); asyncio.run(asyncio.sleep(0)); print(\"fine\")'",
    ),
    (
        "git",
        "cd /tmp && git init -q g && cd g && echo a > a && git add a && git -c user.name=n -c user.email=e@x commit -qm m && git gc -q && echo fine",
    ),
    (
        "node",
        "node -e 'require(\"child_process\").execSync(\"true\"); new (require(\"worker_threads\").Worker)(\"0\", {eval: true}).on(\"exit\", () => console.log(\"fine\"))'",
    ),
    ("perl", "perl -e 'my $p = fork; exit 0 unless $p; waitpid $p, 0; print \"fine\\n\"'"),
    (
        "busybox",
        "busybox sh -c 'busybox dd if=/dev/zero of=/tmp/z bs=4k count=4 2>/dev/null && busybox tar cf /tmp/t.tar -C /tmp z && busybox ps >/dev/null && echo fine'",
    ),
    (
        "dpkg-deb",
        "mkdir -p /tmp/d/DEBIAN && printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: m\\nDescription: d\\n' > /tmp/d/DEBIAN/control && dpkg-deb -b /tmp/d /tmp/p.deb >/dev/null && mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers && touch /var/lib/dpkg/status && dpkg --force-all -i /tmp/p.deb >/dev/null && echo fine",
    ),
    (
        "apt-get",
        "mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/lib/dpkg && touch /var/lib/dpkg/status && apt-get -o APT::Sandbox::Seccomp=false --print-uris check >/dev/null && echo fine",
    ),
    ("gcc", "printf 'int main(void){return 0;}' > /tmp/m.c && gcc -o /tmp/m /tmp/m.c && /tmp/m && echo fine"),
    ("setpriv", "setpriv --reuid 1000 --regid 1000 --clear-groups true && echo fine"),
];

#[test]
fn programs_that_people_run_run_under_the_default_filter() {
    let Some(server) = crate::server() else { return };
    for (program, script) in PROGRAMS {
        let script = format!("command -v {program} >/dev/null || {{ echo absent; exit 0; }}; {script}");
        server.create(&json!({"image": "host", "name": program, "command": ["sh", "-c", script]}));
        server.wait_for_state(program, "stopped");
        let log = server.logs(program);
        if log.trim() == "absent" {
            skip(program);
            continue;
        }
        // Errors and output come through two pipes, so that what was warned of first may be read last.
        assert!(log.lines().any(|line| line == "fine"), "{program}: {log}");
    }
}

/// Starts a container again as its monitor would, with a filter that counts, and returns what was counted.
fn counted(server: &Server, name: &str, record: &str) -> Value {
    let folder = server.data_dir().join("containers").join(server.container(name)["id"].as_str().unwrap());
    let path = folder.join("spec.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let attempt = spec["attempt"].as_u64().unwrap() + 1;
    spec["attempt"] = attempt.into();
    spec["process"]["seccomp"]["record"] = record.into();
    fs::write(&path, spec.to_string()).unwrap();
    // An end is on disk before its monitor has cleared up, and a folder has one monitor at a time.
    wait_until("the earlier monitor is gone", || fs::File::open(&folder).ok()?.try_lock().ok());
    let spawner = Spawner::launch(Path::new(crate::EXECUTABLE)).unwrap();
    drop(spawner.start(&path).unwrap());
    let read = |file: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(file)).ok()?).ok();
    let exit = wait_until("it ends", || read("exit.json").filter(|exit| exit["attempt"] == attempt));
    assert_eq!(exit["exit"]["cause"]["kind"], "exited", "{exit}");
    read("denied.json").filter(|denied| denied["attempt"] == attempt).unwrap_or_else(|| panic!("nothing was written: {exit}"))
}

#[test]
fn what_the_filter_refuses_is_counted_and_still_refused() {
    let Some(server) = crate::server() else { return };
    if cfg!(not(target_arch = "x86_64")) {
        return skip("x86-64's numbers");
    }
    // mount three times, unshare once, and a call that no kernel has; each prints its errno.
    let calls = ["165,0,0,0,0,0", "165,0,0,0,0,0", "165,0,0,0,0,0", "272,0x10000000", "999"];
    let calls = calls.map(|call| format!("$! = 0; syscall({call}); print $!+0, chr(10);")).concat();
    server.create(&json!({"image": "host", "name": "asker", "command": ["perl", "-e", calls]}));
    server.wait_for_state("asker", "stopped");
    let before = server.logs("asker");
    let denied = counted(&server, "asker", "Refuse");
    let log = server.logs("asker");
    let call = |denied: &Value, name: &str| {
        let calls = denied["calls"].as_array().unwrap().clone();
        calls.into_iter().find(|call| call["name"] == name).map(|call| (call["count"].clone(), call["errno"].clone(), call["arch"].clone()))
    };
    assert_eq!(call(&denied, "mount"), Some((3.into(), 1.into(), "amd64".into())), "{denied} {log:?}");
    assert_eq!(call(&denied, "unshare"), Some((1.into(), 1.into(), "amd64".into())), "{denied}");
    assert_eq!(call(&denied, "#999"), Some((1.into(), 38.into(), "amd64".into())), "{denied}");
    assert_eq!(log, before.repeat(2), "the same answers as without counting");
    let denied = counted(&server, "asker", "LetThrough");
    assert_eq!((call(&denied, "mount").map(|(count, ..)| count), &denied["let_through"]), (Some(3.into()), &Value::Bool(true)));
    let through = server.logs("asker").lines().skip(10).map(str::to_owned).collect::<Vec<_>>();
    // The kernel's own answers now: no such address, a new namespace, no such call.
    assert_eq!(through.get(3).map(String::as_str), Some("0"), "unshare was made: {through:?}");
}

#[test]
fn an_exec_takes_the_filter_that_was_compiled_for_its_container() {
    let Some(server) = crate::server() else { return };
    // Not the default, which nobody has to keep.
    let security = json!({"capabilities": {"add": ["SYS_ADMIN"]}});
    server.create(&json!({"image": "host", "name": "busy", "command": ["sleep", "1d"], "security": security}));
    let folder = server.run_dir().join("filters");
    let kept = || fs::read_dir(&folder).map(|files| files.flatten().map(|file| file.path()).collect::<Vec<_>>()).unwrap_or_default();
    let [first] = &kept()[..] else { panic!("one filter is kept, not {:?}", kept()) };
    let modified = || fs::metadata(first).unwrap().modified().unwrap();
    let before = modified();
    let run = || server.api().post_json("/api/v1/containers/busy/exec", &json!({"command": ["true"]})).expect(200).json()["code"].clone();
    assert_eq!((run(), modified(), kept().len()), (json!(0), before, 1), "it was there");
    fs::remove_file(first).unwrap();
    assert_eq!((run(), kept()), (json!(0), vec![first.clone()]), "where it is gone, it is compiled and kept again");
}
