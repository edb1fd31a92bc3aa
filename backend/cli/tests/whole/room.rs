//! The data folder's file system: whether it can carry containers' own layers, and how full it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use belljar_testbed::server::rows;
use belljar_testbed::{Client, skip, wait_until};
use serde_json::json;

use crate::EXECUTABLE;

/// A server whose data folder is a file system of its own, in a mount namespace of its own: nothing has to be unmounted.
struct Small {
    folder: PathBuf,
    child: Child,
    instance: String,
}

impl Small {
    /// `mount` is a shell command that mounts something at `$DATA`; it may make what it needs in `$FOLDER`.
    fn start(name: &str, mount: &str) -> Option<Self> {
        if !crate::is_root() {
            return None;
        }
        let instance = format!("room-{name}-{}", std::process::id());
        let folder = Path::new("/var/tmp").join(format!("belljar-{instance}"));
        for sub in ["data", "run"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        let script = format!(
            "mount --make-rprivate / && {mount} || exit 99; exec \"$0\" serve --instance {instance} --listen 127.0.0.1:0 --data-dir $DATA --run-dir $FOLDER/run"
        );
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, EXECUTABLE])
            .env("FOLDER", &folder)
            .env("DATA", folder.join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare runs");
        let mut small = Self { folder, child, instance };
        let answers = wait_until("the server answers, or cannot be", || {
            if let Some(status) = small.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(99), "{}", small.log());
                return Some(false);
            }
            small.api().try_send("GET", "/api/v1/healthz", Vec::new()).ok().filter(|answer| answer.status == 200).map(|_| true)
        });
        if answers {
            return Some(small);
        }
        skip(&format!("a file system of its own ({name}): {}", small.log().trim()));
        None
    }

    fn api(&self) -> Client {
        Client::on_socket(&self.folder.join("run/belljar.sock"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A path of the data folder, as the server sees it.
    fn data(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.child.id())).join(self.folder.join("data").join(path).strip_prefix("/").unwrap())
    }

    fn events(&self, kind: &str) -> Vec<String> {
        let events = rows(&self.api().get("/api/v1/events").expect(200).json());
        events.iter().filter(|event| event["kind"] == kind).map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = Command::new("kill").arg(self.child.id().to_string()).status();
        let _reaped = self.child.wait();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _gone = fs::remove_dir(hierarchy.path().join(&self.instance));
        }
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_data_folder_that_cannot_carry_a_layer_is_told_at_the_start_on_the_host_page_and_by_the_container() {
    // What is known to be none (FAT, NFS, an overlay) is refused when the server starts; this one has to be tried.
    let Some(small) = Small::start("ramfs", "mount -t ramfs belljar $DATA") else { return };
    let host = small.api().get("/api/v1/host").expect(200).json();
    assert_eq!(host["own_layers"]["supported"], false, "{host}");
    let because = host["own_layers"]["because"].as_str().unwrap();
    assert!(because.contains("(ramfs) that cannot carry") && because.contains("--data-dir"), "{because}");
    assert!(small.log().contains("no container will start"), "{}", small.log());
    assert!(small.api().get("/host").expect(200).text().contains("cannot carry"));
    let body = json!({"image": "host", "name": "web", "command": ["true"]});
    let made = small.api().post_json("/api/v1/containers", &body);
    assert!(made.text().contains("cannot carry"), "{}", made.text());
}

#[test]
fn a_disk_that_becomes_full_is_told_once_until_there_was_room_again() {
    let make = "truncate -s 64M $FOLDER/disk && mkfs.ext4 -q -N 4096 -m 0 $FOLDER/disk && mount -o loop $FOLDER/disk $DATA";
    let Some(small) = Small::start("ext4", make) else { return };
    let host = small.api().get("/api/v1/host").expect(200).json();
    assert_eq!(host["own_layers"]["supported"], true, "{host}");
    let space = &host["space"];
    assert!(space["free_bytes"].as_u64().unwrap() < 64 << 20 && space["inodes_total"].as_u64() == Some(4096), "{space}");
    assert_eq!(small.events("space_low"), Vec::<String>::new());
    let free = usize::try_from(space["free_bytes"].as_u64().unwrap()).unwrap();
    for round in 1..=2 {
        fs::write(small.data("big"), vec![1; free - free / 50]).unwrap();
        wait_until("it is told", || (small.events("space_low").len() == round).then_some(()));
        assert!(small.events("space_low")[0].contains("% of the disk is used"));
        assert!(small.api().get("/host").expect(200).text().contains("almost full"));
        assert!(small.api().get("/volumes").expect(200).text().contains("almost full"));
        fs::remove_file(small.data("big")).unwrap();
        // The next round begins once the server has seen room: a volume page that says so is asked of the same file system, so the
        // watch is given as long as it takes to tell again.
        wait_until("there is room", || (!small.api().get("/host").expect(200).text().contains("almost full")).then_some(()));
        let seen = std::time::Instant::now();
        wait_until("the watch has looked", || (seen.elapsed() > std::time::Duration::from_secs(7)).then_some(()));
    }
    let mut number = 0;
    while small.events("space_low").len() < 3 && number < 5000 {
        number += 1;
        if fs::write(small.data(&format!("file-{number}")), "").is_err() {
            break;
        }
    }
    wait_until("that no more files can be made is told", || (small.events("space_low").len() == 3).then_some(()));
    assert!(small.events("space_low")[0].contains("inodes are used"), "{:?}", small.events("space_low"));
}

/// A root file system with a shell, as an archive.
fn rootfs(folder: &Path) -> Vec<u8> {
    let script = "mkdir -p root/bin && cd root && cp /bin/sh /bin/sleep bin/ && \
        for l in $(ldd /bin/sh /bin/sleep | grep -o '/[^ :]*'); do mkdir -p .${l%/*}; cp $l .$l; done; tar -cf ../root.tar .";
    assert!(Command::new("sh").args(["-c", script]).current_dir(folder).status().unwrap().success());
    fs::read(folder.join("root.tar")).unwrap()
}

#[test]
fn a_commit_on_a_full_disk_leaves_the_container_running_and_nothing_of_itself() {
    let make = "truncate -s 64M $FOLDER/disk && mkfs.ext4 -q -m 0 $FOLDER/disk && mount -o loop $FOLDER/disk $DATA";
    let Some(small) = Small::start("commit", make) else { return };
    let archive = rootfs(&small.folder);
    small.api().post("/api/v1/images/import?name=base", archive).expect(201);
    let script = "while :; do echo more; done | while read w && [ $((i+=1)) -lt 900000 ]; do echo $w; done > /big; exec /bin/sleep 1d";
    let body = json!({"image": "base", "name": "work", "command": ["/bin/sh", "-c", script]});
    small.api().post_json("/api/v1/containers", &body).expect(201);
    let state = || small.api().get("/api/v1/containers/work").expect(200).json();
    let id = state()["id"].as_str().unwrap().to_owned();
    let big = small.data(&format!("containers/{id}/upper/big"));
    wait_until("it has changed enough", || fs::metadata(&big).is_ok_and(|big| big.len() > 4 << 20).then_some(()));
    let free = usize::try_from(small.api().get("/api/v1/host").expect(200).json()["space"]["free_bytes"].as_u64().unwrap()).unwrap();
    fs::write(small.data("filler"), vec![1; free - (2 << 20)]).unwrap();
    let commit = || small.api().post_json("/api/v1/containers/work/commit", &json!({"name": "made:1"}));
    let refused = commit();
    assert!(refused.status >= 500 && refused.text().contains("No space left"), "{} {}", refused.status, refused.text());
    assert_eq!(state()["state"], "running");
    let names = |folder: &str| fs::read_dir(small.data(folder)).unwrap().count();
    assert_eq!((names("images/tmp"), names("images/layers"), names("images/skeletons")), (0, 1, 1), "nothing of it is left");
    fs::remove_file(small.data("filler")).unwrap();
    commit().expect(201);
    assert_eq!(state()["state"], "running");
    let verified = small.api().post_json("/api/v1/images/verify", &json!({})).expect(200).json();
    assert_eq!((&verified["layers"], &verified["damages"]), (&json!(2), &json!([])));
    small.api().delete("/api/v1/containers/work?force=true").expect(204);
}

/// What a server says that refuses to serve a data folder with this mounted on it; `None` after saying that it cannot be mounted here.
fn refusal(name: &str, mount: &str) -> Option<String> {
    if !crate::is_root() {
        return None;
    }
    let folder = tempfile::Builder::new().prefix(&format!("belljar-{name}-")).tempdir_in("/var/tmp").unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let script = format!(
        "mount --make-rprivate / && {mount} || exit 99; exec \"$0\" serve --instance $NAME --listen 127.0.0.1:0 --data-dir $DATA --run-dir $FOLDER/run"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, EXECUTABLE]).env("FOLDER", folder.path()).env("DATA", folder.path().join("data"));
    let output = command.env("NAME", format!("room-{name}-{}", std::process::id())).stdin(Stdio::null()).output().expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(99) {
        skip(&format!("a file system of its own ({name}): {}", said.trim()));
        return None;
    }
    assert!(!output.status.success(), "it serves: {said}");
    Some(said)
}

#[test]
fn a_data_folder_on_fat_or_on_another_overlay_is_refused_with_what_to_do() {
    let fat = "truncate -s 64M $FOLDER/disk && mkfs.vfat $FOLDER/disk > $FOLDER/made && mount -o loop $FOLDER/disk $DATA";
    let overlay =
        "mkdir $FOLDER/l $FOLDER/u $FOLDER/w && mount -t overlay -o lowerdir=$FOLDER/l,upperdir=$FOLDER/u,workdir=$FOLDER/w none $DATA";
    for (name, mount) in [("vfat", fat), ("overlay", overlay)] {
        let Some(said) = refusal(name, mount) else { continue };
        assert!(said.contains(name) && said.contains("--data-dir") && said.contains("ext4"), "{name}: {said}");
    }
}

#[test]
fn a_data_folder_on_a_tmpfs_carries_containers() {
    let Some(small) = Small::start("tmpfs", "mount -t tmpfs -o size=64M belljar $DATA") else { return };
    assert_eq!(small.api().get("/api/v1/host").expect(200).json()["own_layers"]["supported"], true);
    let body = json!({"image": "host", "name": "web", "command": ["sh", "-c", "echo own > /etc/hostname; rm -r /srv; exec sleep 1d"]});
    let made = small.api().post_json("/api/v1/containers", &body).expect(201).json();
    assert_eq!(made["state"], "running", "{made}");
    small.api().delete("/api/v1/containers/web?force=true").expect(204);
}

#[test]
fn a_volume_that_could_not_be_filled_on_a_full_disk_is_filled_whole_by_the_next_container() {
    let make = "truncate -s 96M $FOLDER/disk && mkfs.ext4 -q -m 0 $FOLDER/disk && mount -o loop $FOLDER/disk $DATA";
    let Some(small) = Small::start("fill", make) else { return };
    rootfs(&small.folder);
    let script = "mkdir -p root/srv/app/deep && cd root && echo first > srv/app/a && head -c 12000000 /dev/urandom > srv/app/deep/big && \
        echo last > srv/app/z && chmod 750 srv/app && chown 7:8 srv/app && tar -cf ../root.tar .";
    assert!(Command::new("sh").args(["-c", script]).current_dir(&small.folder).status().unwrap().success());
    let archive = fs::read(small.folder.join("root.tar")).unwrap();
    small.api().post("/api/v1/images/import?name=base", archive).expect(201);
    let free = usize::try_from(small.api().get("/api/v1/host").expect(200).json()["space"]["free_bytes"].as_u64().unwrap()).unwrap();
    fs::write(small.data("filler"), vec![1; free - (5 << 20)]).unwrap();
    let mounts = json!([{"type": "volume", "source": "app", "target": "/srv/app"}]);
    let create = || {
        let body = json!({"image": "base", "name": "web", "command": ["/bin/sleep", "1d"], "mounts": mounts});
        small.api().post_json("/api/v1/containers", &body)
    };
    let refused = create();
    assert!(refused.status >= 500 && refused.text().contains("no space left"), "{} {}", refused.status, refused.text());
    small.api().get("/api/v1/containers/web").expect(404);
    let files = || fs::read_dir(small.data("volumes/app/data")).map_or(0, Iterator::count);
    let halves =
        || fs::read_dir(small.data("volumes/app")).into_iter().flatten().flatten().filter(|entry| entry.file_name() != "data").count();
    assert_eq!((files(), halves()), (0, 0), "nothing of half a copy is left");
    fs::remove_file(small.data("filler")).unwrap();
    create().expect(201);
    assert_eq!(files(), 3);
    assert_eq!(fs::metadata(small.data("volumes/app/data/deep/big")).unwrap().len(), 12_000_000);
    assert_eq!(fs::read_to_string(small.data("volumes/app/data/z")).unwrap(), "last\n");
    small.api().delete("/api/v1/containers/web?force=true").expect(204);
}
