//! Attacks on what enters a running container: by tracing it, by reading what it has open, by lying about the root, the
//! folder and the users that it finds there.

use std::fs;
use std::time::{Duration, Instant};

use belljar_testbed::Server;
use belljar_testbed::wait::patience;
use serde_json::{Value, json};

use super::{Attempts, arena, attacker};

/// How long an entry into a hostile container may take, whatever it does.
const PATIENCE: Duration = Duration::from_secs(10);

fn exec(server: &Server, name: &str, body: &Value) -> (u16, Value) {
    let begun = Instant::now();
    let answer = server.api().post_json(&format!("/api/v1/containers/{name}/exec"), body);
    assert!(begun.elapsed() < PATIENCE * patience(), "{body} took {:?}", begun.elapsed());
    (answer.status, answer.json())
}

/// CVE-2016-9962: looks into each process that appears, and traces it, from the first moment on.
const HUNTER: &str = r#"
libc.ptrace.argtypes = [ctypes.c_long] * 4
known = {os.getpid()}
root = os.stat("/")
said("hunting", "begun")
while not os.path.exists("/tmp/enough"):
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if pid in known: continue
        proc = "/proc/%d/" % pid
        for link in "exe", "cwd", "root":
            try: said("link " + link, os.readlink(proc + link))
            except OSError as error: said("denied " + link, named(error.errno))
        try:
            for number in os.listdir(proc + "fd"):
                link = os.readlink(proc + "fd/" + number)
                said("descriptor", number + " " + link)
                try:
                    behind = os.stat(proc + "fd/" + number)
                    if stat.S_ISDIR(behind.st_mode) and (behind.st_dev, behind.st_ino) != (root.st_dev, root.st_ino): said("folder outside", link + " " + str(os.listdir(proc + "fd/" + number)))
                except OSError as error: said("denied descriptor", named(error.errno))
        except OSError as error: said("denied fd", named(error.errno))
        for name in "environ", "maps", "cmdline":
            try:
                text = open(proc + name, "rb").read()
                said("tells of us", name) if b"CARGO" in text or b"belljar-" in text or b"/var/tmp" in text or (b"belljar" in text and b"/" in text) else None
            except OSError as error: said("denied " + name, named(error.errno))
        try:
            os.close(os.open(proc + "exe", os.O_WRONLY)); said("overwrites", os.readlink(proc + "exe"))
        except OSError as error: said("not overwritten", named(error.errno))
        try: status = dict(line.rstrip("\n").split(":\t", 1) for line in open(proc + "status") if ":\t" in line)
        except OSError: continue
        if libc.ptrace(0x4206, pid, 0, 0) == 0:
            said("traced with", status["CapPrm"]); libc.ptrace(0x4207, pid, 0, 0); os.waitpid(pid, 0x40000000); libc.ptrace(17, pid, 0, 0)
        else: said("not traced", named(ctypes.get_errno()))
        known.add(pid)
said("seen", len(known) - 1)
"#;

#[test]
fn what_enters_shows_nothing_of_the_hosts_to_whoever_traces_it() {
    let Some(server) = arena() else { return };
    let before = fs::read(crate::EXECUTABLE).unwrap();
    let security = json!({"seccomp": "unconfined", "capabilities": {"add": ["SYS_PTRACE"]}});
    for (name, options) in
        [("hunter", json!({"security": security})), ("host-root", json!({"namespaces": {"user": "host"}, "security": security}))]
    {
        server.create(&attacker(name, HUNTER, &options));
        server.wait_for_log(name, "hunting");
        for _ in 0..40 {
            exec(&server, name, &json!({"command": ["true"], "time_limit_ms": 5000}));
        }
        belljar_testbed::wait_until("the hunter has had enough", || {
            let told = exec(&server, name, &json!({"command": ["touch", "/tmp/enough"], "time_limit_ms": 1000}));
            (told.0 != 200 || told.1["code"] == 0).then_some(())
        });
        server.wait_for_state(name, "stopped");
        let attempts = Attempts(server.logs(name));
        let seen: u32 = attempts.result("seen").parse().unwrap();
        assert!(seen > 5, "{seen} were seen: {}", attempts.0);
        assert!(
            ["tells of us", "overwrites", "folder outside"].iter().all(|breach| attempts.results(breach).is_empty()),
            "{name}: {}",
            attempts.0
        );
        let links = ["exe", "cwd", "root"].map(|link| attempts.results(&format!("link {link}"))).concat();
        let is_ours = |path: &&str| ["/", "/usr/bin/true", "/usr/bin/touch"].contains(path);
        assert_eq!(links.into_iter().filter(|path| !is_ours(path)).collect::<Vec<_>>(), [""; 0], "{name}");
        // A folder that is not the container's own root was told as one that is outside. What the program's loader reads is its own.
        let is_safe = |entry: &&str| {
            entry.ends_with(" /")
                || entry.contains("pipe:[")
                || entry.contains("/dev/null")
                || entry.contains("/lib/")
                || entry.ends_with(" /etc/ld.so.cache")
                || entry.contains("socket:[")
        };
        let descriptors = attempts.results("descriptor");
        assert_eq!(descriptors.into_iter().filter(|entry| !is_safe(entry)).collect::<Vec<_>>(), [""; 0], "{name}");
        for capabilities in attempts.results("traced with") {
            assert!(["00000000a80c25fb", "0000000000000000"].contains(&capabilities), "{name}: traced with {capabilities}");
        }
    }
    assert!(fs::read(crate::EXECUTABLE).unwrap() == before, "the executable is unchanged");
}

/// Each covers or replaces something that an entry could believe in; then the container waits.
const LIES: [(&str, &str); 7] = [
    ("tmpfs over the root", r#"call("mount", b"none", b"/", b"tmpfs", 0, 0)"#),
    ("volume over the root", r#"call("mount", b"/srv", b"/", 0, 4096, 0)"#),
    ("chroot of the first process", r#"os.makedirs("/jail"); os.chroot("/jail"); os.chdir("/")"#),
    ("tmpfs over /proc", r#"call("mount", b"none", b"/proc", b"tmpfs", 0, 0)"#),
    ("volume over /proc", r#"call("mount", b"/srv", b"/proc", 0, 4096, 0)"#),
    ("volume over /dev", r#"call("mount", b"/srv", b"/dev", 0, 4096, 0)"#),
    (
        "everything shared and moved",
        r#"call("mount", b"/proc", b"/mnt", 0, 8192, 0); call("mount", b"none", b"/", 0, 16384 | (1 << 20), 0)"#,
    ),
];

#[test]
fn a_container_that_lies_about_its_root_is_entered_as_strictly_or_not_at_all() {
    let Some(server) = arena() else { return };
    let volume = server.scratch("lies");
    let canary = server.scratch("canary");
    for folder in ["self/attr", "self/fd", "1/ns", "sys/kernel", "pts", "shm"] {
        fs::create_dir_all(volume.join(folder)).unwrap();
    }
    fs::write(volume.join("self/status"), "CapEff: all\n").unwrap();
    std::os::unix::fs::symlink(&canary, volume.join("self/attr/apparmor")).unwrap();
    for (number, (lie, script)) in LIES.into_iter().enumerate() {
        let name = format!("liar-{number}");
        let options = json!({"mounts": [{"type": "bind", "source": volume, "target": "/srv"}],
            "security": {"seccomp": "unconfined", "capabilities": {"add": ["SYS_ADMIN"]}}});
        server.create(&attacker(&name, &format!("def lie(): {script}\ntried('lie', lie)\ntime.sleep(1000)"), &options));
        let log = server.wait_for_log(&name, "lie: ");
        assert_eq!(Attempts(log).result("lie"), "done", "{lie}");
        let pid = i32::try_from(server.container(&name)["pid"].as_i64().unwrap()).unwrap();
        let marker = format!("exec sleep 999{number}");
        let command =
            json!(["/bin/sh", "-c", format!("echo inside; ls / > /dev/null; test -e {} && echo BREACH; {marker}", canary.display())]);
        std::thread::scope(|scope| {
            let entry = scope.spawn(|| exec(&server, &name, &json!({"command": command, "time_limit_ms": 1500})));
            let mut looked = 0;
            let sleeper = || {
                belljar_testbed::process::pids()
                    .into_iter()
                    .find(|pid| belljar_testbed::process::command_line(*pid) == format!("sleep 999{number}"))
            };
            while !entry.is_finished() {
                let Some(entered) = sleeper() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                for kind in ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"] {
                    let inode = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
                    assert!(inode(entered) == inode(pid) || inode(entered).is_none(), "{lie}: {kind}");
                }
                if let Some(capabilities) = belljar_testbed::process::status_field(entered, "CapEff") {
                    assert_eq!(capabilities, "00000000a82425fb", "{lie}");
                    looked += 1;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let (status, answer) = entry.join().unwrap();
            assert!(!answer.to_string().contains("BREACH"), "{lie}: {answer}");
            println!("{lie}: {status}, looked at {looked} times, {answer}");
        });
        let begun = Instant::now();
        server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
        assert!(begun.elapsed() < PATIENCE * patience(), "{lie}: its end took {:?}", begun.elapsed());
    }
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "the canary is as it was");
}

/// CVE-2024-9341, CVE-2024-9676: the files by which users are looked up are the container's to make.
#[test]
fn the_users_of_a_hostile_image_neither_block_nor_show_a_file_of_the_hosts() {
    let Some(server) = arena() else { return };
    let secret = server.scratch("secret").join("passwd");
    fs::write(&secret, "sly:x:0:0:the-secret-of-the-host:/:/bin/sh\n").unwrap();
    let forms = [
        format!("ln -s {} /etc/passwd", secret.display()),
        "mkfifo /etc/passwd".to_owned(),
        "ln -s /dev/zero /etc/passwd".to_owned(),
        "ln -s /proc/self/fd/0 /etc/passwd".to_owned(),
        "truncate -s 1G /etc/passwd".to_owned(),
        "mkdir /etc/passwd".to_owned(),
        "ln -s passwd /etc/passwd".to_owned(),
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/etc/passwd\")'".to_owned(),
        "head -c 900000 /dev/urandom > /etc/passwd".to_owned(),
        "python3 -c 'print(\"sly:x:\" + \"9\" * 500000 + \":0::/:\")' > /etc/passwd".to_owned(),
    ];
    for (number, form) in forms.iter().enumerate() {
        let name = format!("users-{number}");
        server.run_script(&name, &format!("rm -f /etc/passwd; {form} && echo up; exec sleep 1d"));
        server.wait_for_log(&name, "up");
        for user in ["sly", "1000", "root"] {
            let (status, answer) = exec(&server, &name, &json!({"command": ["id", "-u"], "user": user}));
            assert!(!answer.to_string().contains("the-secret"), "{form}: {answer}");
            match (user, status) {
                ("1000", 200) => assert_eq!(answer["stdout"], "1000\n", "{form}"),
                (_, 200) => panic!("{form}: {user} was found: {answer}"),
                (_, status) => assert_eq!(status, 422, "{form} {user}: {answer}"),
            }
        }
        // The same files when it is started anew, as an image would bring them.
        server.act(&name, "kill");
        server.wait_for_state(&name, "stopped");
        let begun = Instant::now();
        let _started_or_refused = server.api().post(&format!("/api/v1/containers/{name}/start"), Vec::new());
        assert!(begun.elapsed() < PATIENCE * patience(), "{form}: a start took {:?}", begun.elapsed());
        server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
    }
}

/// CVE-2024-21626, CVE-2026-55686: folders that lead out, for the first program and for what enters.
#[test]
fn a_working_folder_is_inside_or_refused() {
    let Some(server) = arena() else { return };
    let canary = server.scratch("canary");
    fs::write(canary.join("mark"), "outside").unwrap();
    let volume = server.scratch("volume");
    std::os::unix::fs::symlink(&canary, volume.join("out")).unwrap();
    std::os::unix::fs::symlink("../../../../../../../../../..", volume.join("up")).unwrap();
    std::os::unix::fs::symlink("/proc/1/root", volume.join("first")).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd/7", volume.join("leak")).unwrap();
    let mounts = json!([{"type": "bind", "source": volume, "target": "/srv"}]);
    let descriptors = (0..24).map(|number| format!("/proc/self/fd/{number}"));
    let others = [
        "/proc/1/cwd",
        "/proc/1/root/proc/1/cwd",
        "/proc/self/root",
        "/srv/out",
        "/srv/out/made",
        "/srv/up",
        "/srv/up/made-up",
        "/srv/first",
        "/srv/leak",
        "/srv/leak/..",
        "/proc/self/fd/7/../..",
    ];
    let folders: Vec<String> = descriptors.chain(others.map(str::to_owned)).collect();
    let ask = format!(
        "pwd -P; readlink /proc/self/cwd; test -e mark && echo BREACH; test -e {}/mark && echo BREACH; stat -c %d:%i /; true",
        canary.display()
    );
    server.create(&json!({"image": "host", "name": "host", "mounts": mounts, "command": ["sleep", "1d"]}));
    for folder in &folders {
        let (status, answer) = exec(&server, "host", &json!({"command": ["sh", "-c", ask], "workdir": folder}));
        assert!([200, 422].contains(&status), "exec {folder}: {answer}");
        let said = answer["stdout"].as_str().unwrap_or_default();
        assert!(!said.contains("BREACH") && !said.contains("unreachable") && !said.contains("data/"), "exec {folder}: {answer}");
    }
    for (number, folder) in folders.iter().enumerate() {
        let name = format!("folder-{number}");
        let body = json!({"image": "host", "name": name, "mounts": mounts, "workdir": folder, "command": ["sh", "-c", ask]});
        let answer = server.api().post_json("/api/v1/containers", &body);
        if answer.status == 422 {
            continue;
        }
        answer.expect(201);
        server.wait_for_state(&name, "stopped");
        let said = server.logs(&name);
        assert!(!said.contains("BREACH") && !said.contains("unreachable") && !said.contains("data/"), "run {folder}: {said}");
    }
    let names: Vec<_> = fs::read_dir(&canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["mark"], "nothing was made outside");
}
