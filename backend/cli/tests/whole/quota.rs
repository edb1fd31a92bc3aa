//! What a container's own layer may take of the disk: refused by name where its file system has no project quotas, and on one that has
//! them the real thing, in a file system of its own in a mount namespace of its own. Most hosts lack the kernel's part of it; the
//! virtual machine of `cargo xtask vm` has it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use belljar_linux::quota;
use belljar_testbed::client::Response;
use belljar_testbed::server::rows;
use belljar_testbed::{Client, skip, wait_until};
use serde_json::{Value, json};

use crate::EXECUTABLE;

const MIB: u64 = 1 << 20;

/// A file system in a file, mounted in a mount namespace that a process holds.
struct Disk {
    folder: PathBuf,
    holder: Child,
}

/// Sleeps for as long as somebody holds its input, and then lets everything go.
const HOLD: &str =
    "mount --make-rprivate / && mount -o loop,$OPTION $FOLDER/disk $FOLDER/data || exit 99; echo mounted; cat; umount -l $FOLDER/data";

impl Disk {
    /// `kind` is a file system with the options that its quotas need; `None` after saying what is missing here.
    fn mount((kind, make, option): (&str, &[&str], &str)) -> Option<Self> {
        if !crate::is_root() {
            return None;
        }
        let folder = Path::new("/var/tmp").join(format!("belljar-quota-{kind}-{option}-{}", std::process::id()));
        fs::create_dir_all(folder.join("data")).unwrap();
        // XFS is made no smaller since xfsprogs 5.19; the file takes what is written.
        File::create(folder.join("disk")).unwrap().set_len(400 * MIB).unwrap();
        let mkfs = format!("mkfs.{kind}");
        let made = Command::new(&mkfs).args(make).arg("-q").arg(folder.join("disk")).output();
        let unmade = match made {
            Ok(output) if output.status.success() => String::new(),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let log = File::create(folder.join("log")).unwrap();
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", HOLD])
            .env("FOLDER", &folder)
            .env("OPTION", option)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare runs");
        let mut disk = Self { folder, holder };
        let said = |disk: &Self| fs::read_to_string(disk.folder.join("log")).unwrap_or_default();
        let mounted = wait_until("it is mounted, or cannot be", || match disk.holder.try_wait().unwrap() {
            Some(_) => Some(false),
            None => said(&disk).contains("mounted\n").then_some(true),
        });
        if !mounted {
            let why = format!("{unmade} {}", said(&disk));
            skip(&format!("{mkfs}, loop devices and {kind} with {option}: {}", why.trim().replace('\n', " ")));
            return None;
        }
        Some(disk)
    }

    /// A path of the file system, from outside of the namespace that it is mounted in.
    fn path(&self, name: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root{}/data", self.holder.id(), self.folder.display())).join(name)
    }

    /// What a project takes of it.
    fn quota(&self, project: u64) -> quota::Quota {
        let opened = File::open(self.path("")).expect("it is mounted");
        quota::read(opened, u32::try_from(project).expect("a project")).expect("it is counted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _reaped = self.holder.wait();
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

/// A server that has its data folder there.
struct Server<'a> {
    disk: &'a Disk,
    name: &'static str,
    child: Option<Child>,
}

impl<'a> Server<'a> {
    fn start(disk: &'a Disk, name: &'static str) -> Self {
        let mut server = Self { disk, name, child: None };
        server.start_again();
        server
    }

    fn start_again(&mut self) {
        let log = File::create(self.disk.folder.join(format!("{}.log", self.name))).unwrap();
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.disk.holder.id())).args([EXECUTABLE, "serve", "--listen", "127.0.0.1:0"]);
        command.args(["--instance", &self.instance()]).arg("--data-dir").arg(self.disk.folder.join("data").join(self.name));
        command.arg("--run-dir").arg(self.run_dir()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("nsenter runs"));
        wait_until("the server answers", || {
            let child = self.child.as_mut().expect("it was started");
            let log = || fs::read_to_string(self.disk.folder.join(format!("{}.log", self.name))).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", log());
            self.api().try_send("GET", "/api/v1/healthz", Vec::new()).ok().filter(|answer| answer.status == 200)
        });
    }

    fn instance(&self) -> String {
        format!("quota-{}-{}", self.name, std::process::id())
    }

    fn run_dir(&self) -> PathBuf {
        self.disk.folder.join(format!("run-{}", self.name))
    }

    fn api(&self) -> Client {
        Client::on_socket(&self.run_dir().join("belljar.sock"))
    }

    fn kill_hard(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn get(&self, path: &str) -> Value {
        self.api().get(&format!("/api/v1/containers/{path}")).expect(200).json()
    }

    /// A container that sleeps, with these limits.
    fn sleeper(&self, name: &str, limits: &Value) -> Value {
        let body = json!({"image": "host", "name": name, "command": ["sleep", "1d"], "limits": limits, "stop_grace_ms": 0});
        self.api().post_json("/api/v1/containers", &body).expect(201).json()
    }

    fn change(&self, name: &str, limits: &Value) -> Response {
        let body = serde_json::to_vec(&json!({"limits": limits})).unwrap();
        let api = self.api().with("content-type", "application/merge-patch+json");
        api.send("PATCH", &format!("/api/v1/containers/{name}"), body)
    }

    /// Whether a shell script in it succeeded, and what it said.
    fn sh(&self, name: &str, script: &str) -> (bool, String) {
        let body = json!({"command": ["sh", "-c", script]});
        let done = self.api().post_json(&format!("/api/v1/containers/{name}/exec"), &body).expect(200).json();
        (done["code"] == 0, format!("{}{}", done["stdout"].as_str().unwrap(), done["stderr"].as_str().unwrap()))
    }

    /// Writes so many MiB to a file of its root.
    fn write(&self, name: &str, file: &str, mib: u64) -> (bool, String) {
        self.sh(name, &format!("dd if=/dev/zero of=/{file} bs=1048576 count={mib} conv=fsync"))
    }

    /// What the kernel counts of its layer: the project, bytes, and what these may reach.
    fn quota_of(&self, name: &str) -> Value {
        self.get(&format!("{name}/overlay"))["quota"].clone()
    }

    fn told(&self, name: &str, words: &str) -> Vec<String> {
        let events = rows(&self.get(&format!("{name}/events")));
        let messages = events.iter().filter_map(|event| event["message"].as_str().map(str::to_owned));
        messages.filter(|message| message.contains(words)).collect()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            for container in rows(&self.api().get("/api/v1/containers").json()) {
                let id = container["id"].as_str().unwrap_or_default();
                let _gone = self.api().try_send("DELETE", &format!("/api/v1/containers/{id}?force=true"), Vec::new());
            }
            let _told = Command::new("kill").arg(child.id().to_string()).status();
            let _reaped = child.wait();
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _gone = fs::remove_dir(hierarchy.path().join(self.instance()));
        }
        let _gone = fs::remove_dir(Path::new("/sys/fs/cgroup").join(self.instance()));
    }
}

const EXT4: (&str, &[&str], &str) = ("ext4", &["-O", "quota,project", "-I", "256", "-N", "8192"], "prjquota");
const XFS: (&str, &[&str], &str) = ("xfs", &[], "pquota");

/// Whether a write failed because there was no room: ext4 says that a quota is exceeded, XFS that the disk is full.
fn is_full((succeeded, said): &(bool, String)) -> bool {
    !succeeded && (said.contains("quota exceeded") || said.contains("No space left"))
}

fn a_limit_holds_and_changes(disk: &Disk) {
    let mut server = Server::start(disk, "one");
    let host = server.api().get("/api/v1/host").expect(200).json();
    for name in ["limits.disk_bytes", "limits.disk_inodes"] {
        let told = rows(&host["limits"]).into_iter().find(|one| one["name"] == name).expect("it is told of");
        assert_eq!((&told["supported"], &told["file"]), (&json!(true), &json!("quotactl(PRJQUOTA)")), "{told}");
    }
    server.sleeper("web", &json!({"disk_bytes": 20 * MIB}));
    let plan = server.get("web/plan").to_string();
    assert!(plan.contains("limit own layer to 20 MiB (project "), "{plan}");

    let filled = server.write("web", "big", 30);
    assert!(is_full(&filled), "{filled:?}");
    let usage = server.get("web/usage");
    let taken = usage["disk_bytes"].as_u64().unwrap();
    assert!((19 * MIB..=20 * MIB).contains(&taken), "{usage}");
    assert_eq!((&usage["disk_bytes_max"], &usage["disk_inodes_max"]), (&json!(20 * MIB), &Value::Null));
    assert_eq!(usage["sources"]["disk_bytes"], "quotactl(PRJQUOTA)");
    let project = server.quota_of("web")["project"].as_u64().unwrap();
    assert_eq!(disk.quota(project).bytes_max, Some(20 * MIB), "as the kernel says to whoever asks");
    assert_eq!(server.get("web")["upper_bytes"], json!(taken), "counted, not walked");
    let page = |path: &str| server.api().get(path).expect(200).text();
    assert!(page("/containers").contains("of 20 MiB"), "the list shows both");
    assert!(page("/containers/web/overlay").contains("of 20 MiB") && page("/containers/web/limits").contains("quotactl(PRJQUOTA)"));

    // Why, in words; and once as an event.
    let findings = server.get("web/diagnosis").to_string();
    assert!(findings.contains("its layer is full: 20 MiB of 20 MiB") && findings.contains("limits.disk_bytes above 20 MiB"), "{findings}");
    // Whoever measured while it was written may have told that it was almost full, and then does not tell again.
    wait_until("the full layer is told", || (server.told("web", "its layer is ").len() == 1).then_some(()));

    // Less than it takes would be a limit that nothing can be written under.
    let refused = server.change("web", &json!({"disk_bytes": 10 * MIB})).expect(409).json();
    assert_eq!(refused["field"], "limits.disk_bytes", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("cannot be less than what its own layer takes now, 20 MiB"), "{refused}");
    server.change("web", &json!({"disk_bytes": 40 * MIB})).expect(200);
    assert_eq!(server.get("web/limits")["enforced"]["disk_bytes"], json!(40 * MIB));
    assert!(server.write("web", "big", 30).0, "there is room while it runs");

    // Another server comes, and finds it as it was.
    server.kill_hard();
    server.start_again();
    assert_eq!(server.quota_of("web")["bytes_max"], json!(40 * MIB));
    assert_eq!(server.get("web")["limits"]["disk_bytes"], json!(40 * MIB));
    assert!(is_full(&server.write("web", "more", 20)), "it still holds");
    wait_until("that is news, as there was room in between", || (server.told("web", "its layer is ").len() == 2).then_some(()));
    assert!(server.sh("web", "rm /more /big && mkdir -p /a/b && mv /a/b /c && ln -s x /l && mv /l /c/l && mv /etc/hosts /h").0, "renamed");
}

impl Server<'_> {
    fn act(&self, name: &str, action: &str) {
        self.api().post(&format!("/api/v1/containers/{name}/{action}"), Vec::new()).expect(204);
    }

    /// Whether a file of this size could be copied in. Whoever refuses half-way need not read the rest.
    fn upload(&self, name: &str, mib: u64) -> bool {
        let body = vec![1_u8; usize::try_from(mib * MIB).unwrap()];
        let sent = self.api().try_send("PUT", &format!("/api/v1/containers/{name}/archive?path=/"), tar(&body));
        sent.is_ok_and(|answer| answer.status < 300)
    }
}

/// An archive of one file.
fn tar(content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..6].copy_from_slice(b"copied");
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// What is copied in from outside is counted as what it writes itself, also while it rests; a reset leaves project and limit.
fn a_limit_holds_at_rest_and_goes(disk: &Disk) {
    let server = Server::start(disk, "one");
    server.sleeper("web", &json!({"disk_bytes": 8 * MIB}));
    assert!(!server.upload("web", 10), "a copy into a container that runs is counted");
    assert!(server.upload("web", 3));
    server.act("web", "stop");
    let before = server.quota_of("web");
    assert!(before["bytes"].as_u64() >= Some(3 * MIB), "{before}");
    assert_eq!(server.get("web/usage")["disk_bytes"], before["bytes"], "what a layer takes is known at rest");
    assert!(!server.upload("web", 10), "and one into a container that rests");
    server.change("web", &json!({"disk_bytes": 16 * MIB})).expect(200);
    assert_eq!(server.quota_of("web")["bytes_max"], json!(16 * MIB), "at once, not with its next start");
    assert!(server.upload("web", 10));
    server.act("web", "reset");
    let after = server.quota_of("web");
    assert_eq!((&after["project"], &after["bytes_max"]), (&before["project"], &json!(16 * MIB)));
    assert!(after["bytes"].as_u64() < Some(MIB), "{after}");

    let project = before["project"].as_u64().unwrap();
    server.change("web", &json!({"disk_bytes": null})).expect(200);
    assert_eq!(server.quota_of("web")["bytes_max"], Value::Null);
    server.act("web", "start");
    assert!(server.write("web", "big", 20).0, "nothing limits it any more");
    server.change("web", &json!({"disk_bytes": 60 * MIB})).expect(200);
    server.api().delete("/api/v1/containers/web?force=true").expect(204);
    let left = wait_until("its project is nobody's", || Some(disk.quota(project)).filter(|quota| quota.inodes == 0));
    assert_eq!(left, quota::Quota::default(), "nor limited");
}

#[test]
fn a_layer_on_ext4_gets_no_more_than_its_limit_until_that_is_raised() {
    let Some(disk) = Disk::mount(EXT4) else { return };
    a_limit_holds_and_changes(&disk);
}

#[test]
fn a_layer_on_ext4_is_limited_at_rest_and_through_a_reset_and_its_project_goes_with_it() {
    let Some(disk) = Disk::mount(EXT4) else { return };
    a_limit_holds_at_rest_and_goes(&disk);
}

#[test]
fn a_layer_on_xfs_gets_no_more_than_its_limit_until_that_is_raised() {
    let Some(disk) = Disk::mount(XFS) else { return };
    a_limit_holds_and_changes(&disk);
}

#[test]
fn a_layer_on_xfs_is_limited_at_rest_and_through_a_reset_and_its_project_goes_with_it() {
    let Some(disk) = Disk::mount(XFS) else { return };
    a_limit_holds_at_rest_and_goes(&disk);
}

#[test]
fn files_are_limited_by_their_number_and_two_servers_on_one_disk_share_no_project() {
    let Some(disk) = Disk::mount(EXT4) else { return };
    let (one, two) = (Server::start(&disk, "one"), Server::start(&disk, "two"));
    one.sleeper("web", &json!({"disk_inodes": 60}));
    two.sleeper("free", &json!({}));
    let made = one.sh("web", "for i in $(seq 100); do : > /file-$i || exit 1; done");
    assert!(is_full(&made), "{made:?}");
    let quota = one.quota_of("web");
    assert_eq!((&quota["inodes"], &quota["inodes_max"]), (&json!(60), &json!(60)));
    assert!(one.get("web/diagnosis").to_string().contains("its layer is full: 60 files of 60 files"));
    assert!(two.sh("free", "for i in $(seq 100); do : > /file-$i || exit 1; done").0, "the other one's are its own");
    assert_ne!(two.quota_of("free")["project"], quota["project"]);
    let refused = one.change("web", &json!({"disk_inodes": 59})).expect(409).json();
    assert_eq!(refused["field"], "limits.disk_inodes");
    one.change("web", &json!({"disk_inodes": 70})).expect(200);
    assert!(one.sh("web", "for i in $(seq 5); do : > /other-$i || exit 1; done").0);
    // One that ended before anybody measured it tells, too.
    let script = "dd if=/dev/zero of=/big bs=1048576 count=5";
    let body = json!({"image": "host", "name": "short", "command": ["sh", "-c", script], "limits": {"disk_bytes": 2 * MIB}});
    two.api().post_json("/api/v1/containers", &body).expect(201);
    wait_until("it has ended", || (two.get("short")["state"] == "stopped").then_some(()));
    assert_eq!(two.told("short", "its layer is full").len(), 1);
    assert!(two.get("short/diagnosis").to_string().contains("its layer is full"));
}

/// Asks the kernel to put paths into another project; says for each whether it did.
const ESCAPE: &str = "import fcntl, os, struct, sys
for path in sys.argv[1:]:
    opened, attributes = os.open(path, os.O_RDONLY), bytearray(28)
    fcntl.ioctl(opened, 0x801c581f, attributes)
    struct.pack_into('I', attributes, 12, 7)
    try:
        fcntl.ioctl(opened, 0x401c5820, attributes)
        print('moved')
    except OSError:
        print('refused')
";

#[test]
fn nothing_inside_gets_out_of_the_quota_but_a_root_that_is_the_hosts_which_is_warned_of() {
    let Some(disk) = Disk::mount(EXT4) else { return };
    let server = Server::start(&disk, "one");
    let limits = json!({"disk_bytes": 20 * MIB});
    server.sleeper("web", &limits);
    let escape = |name: &str| server.sh(name, &format!(": > /file; python3 -c \"{ESCAPE}\" / /file"));
    if !server.sh("web", "python3 -c ''").0 {
        skip("python3");
        return;
    }
    assert_eq!(escape("web"), (true, "refused\nrefused\n".to_owned()));
    assert_eq!(server.get("web")["warnings"], json!([]));
    // Whoever may use what is reserved for root is limited all the same.
    let mut body = json!({"image": "host", "name": "root", "command": ["sleep", "1d"], "limits": limits, "stop_grace_ms": 0});
    body["namespaces"] = json!({"user": "host"});
    body["security"] = json!({"capabilities": {"add": ["SYS_RESOURCE"]}});
    server.api().post_json("/api/v1/containers", &body).expect(201);
    assert!(is_full(&server.write("root", "big", 30)));
    assert!(server.get("root")["warnings"].to_string().contains("could take its files out of its quota"), "{}", server.get("root"));
    assert_eq!(escape("root"), (true, "moved\nmoved\n".to_owned()), "which is why it is warned of");
    server.act("root", "restart");
    assert!(server.sh("root", "rm /big").0 && is_full(&server.write("root", "bigger", 30)), "its root folder is back");
}

#[test]
fn a_disk_that_counts_and_does_not_enforce_is_refused_by_name() {
    let Some(disk) = Disk::mount((EXT4.0, EXT4.1, "noatime")) else { return };
    let server = Server::start(&disk, "one");
    let body = json!({"image": "host", "name": "web", "command": ["true"], "limits": {"disk_bytes": 20 * MIB}});
    let refused = server.api().post_json("/api/v1/containers", &body).expect(422).json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("lies on ext4, mounted at ") && detail.contains("prjquota"), "{detail}");
}

#[test]
fn without_project_quotas_a_limit_is_refused_with_file_system_mount_point_and_what_to_do() {
    let Some(server) = crate::server() else { return };
    let host = server.api().get("/api/v1/host").expect(200).json();
    let told = rows(&host["limits"]).into_iter().find(|one| one["name"] == "limits.disk_bytes").expect("it is told of");
    if told["supported"] == true {
        skip("a disk without project quotas");
        return;
    }
    let because = told["because"].as_str().unwrap().to_owned();
    assert!(because.contains(&server.data_dir().display().to_string()) && because.contains(", mounted at /"), "{because}");
    assert!(server.api().get("/host").expect(200).text().contains("limits.disk_bytes"));
    server.run_script("plain", "sleep 1d");
    let before = server.traces();
    for (field, limits) in [("limits.disk_bytes", json!({"disk_bytes": 20 * MIB})), ("limits.disk_inodes", json!({"disk_inodes": 100}))] {
        let body = json!({"image": "host", "name": "web", "command": ["true"], "limits": limits});
        let refused = server.api().post_json("/api/v1/containers", &body).expect(422).json();
        assert_eq!(refused["field"], field);
        assert!(refused["detail"].as_str().unwrap().contains(&because), "{refused}");
    }
    let said = |arguments: &[&str]| {
        let output = crate::belljar_output(&server, arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for arguments in [&["create", "--storage-opt", "size=10G", "host", "true"][..], &["update", "--disk", "1g", "plain"]] {
        assert!(said(arguments).contains(&because), "{}", said(arguments));
    }
    server.assert_nothing_left(&before);
    assert_eq!(server.container("plain")["limits"]["disk_bytes"], Value::Null);
    let overlay = server.api().get("/api/v1/containers/plain/overlay").expect(200).json();
    assert_eq!(overlay["quota"], Value::Null, "unknown, not zero");
    assert_eq!(server.api().get("/api/v1/containers/plain/usage").expect(200).json()["disk_bytes"], Value::Null);
}
