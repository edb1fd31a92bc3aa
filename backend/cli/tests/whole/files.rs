//! Files of a container: put back, copied in and out, running, paused and stopped; and containers that do their worst meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use belljar_testbed::server::rows;
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

use crate::{belljar, belljar_output};

/// A layer with something of every kind, below a container.
fn layer(server: &Server) -> PathBuf {
    let layer = server.scratch("layer");
    if layer.join("srv").exists() {
        return layer;
    }
    fs::create_dir_all(layer.join("srv/folder/deep")).unwrap();
    fs::write(layer.join("srv/file"), "one\ntwo\nthree\n").unwrap();
    fs::write(layer.join("srv/doomed"), "below\n").unwrap();
    fs::write(layer.join("srv/folder/deep/inner"), "inner\n").unwrap();
    fs::set_permissions(layer.join("srv/file"), fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("file", layer.join("srv/link")).unwrap();
    layer
}

pub(crate) fn start(server: &Server, script: &str, more: Value) {
    let mounts = json!([{"type": "layer", "source": layer(server)}]);
    let mut body = json!({"image": "host", "name": "box", "command": ["sh", "-c", script], "mounts": mounts});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.create(&body);
    server.wait_for_log("box", "ready");
}

const CHANGE: &str =
    "cd /srv; sed -i s/two/TWO/ file; rm doomed link; echo x > added; rm -r folder; mkdir folder; echo y > folder/new; ln -s /etc link
    mkdir -p tree/deep; echo z > tree/deep/z; echo ready; exec sleep 1d";

fn changes(server: &Server) -> Vec<(String, String)> {
    let changes = rows(&server.api().get("/api/v1/containers/box/overlay/changes").expect(200).json());
    let word = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
    changes.iter().map(|change| (word(change, "path"), word(change, "status"))).filter(|(path, _)| path.starts_with("/srv")).collect()
}

/// What a program in the container sees.
pub(crate) fn inside(server: &Server, script: &str) -> String {
    belljar(server, &["exec", "box", "sh", "-c", script])
}

pub(crate) fn undo(server: &Server, path: &str) -> belljar_testbed::client::Response {
    server.api().post_json("/api/v1/containers/box/overlay/undo", &json!({"path": path}))
}

#[test]
fn each_kind_of_change_is_undone_while_the_container_runs_and_its_processes_see_it() {
    let Some(server) = crate::server() else { return };
    start(&server, CHANGE, json!({}));
    assert_eq!(changes(&server).len(), 9, "{:?}", changes(&server));
    // A file that a program holds open stays what it was to that program.
    assert_eq!(inside(&server, "stat -c '%U:%G %a' /srv/added"), "root:root 644\n");
    for path in ["/srv/file", "/srv/doomed", "/srv/link", "/srv/added", "/srv/folder", "/srv/tree"] {
        undo(&server, path).expect(200);
        assert!(changes(&server).iter().all(|(changed, _)| !changed.starts_with(path)), "{path}: {:?}", changes(&server));
    }
    assert_eq!(changes(&server), []);
    let seen = "cd /srv; cat file doomed folder/deep/inner; stat -c '%a %U:%G' file; readlink link; ls; ls folder";
    let expected = "one\ntwo\nthree\nbelow\ninner\n4750 root:root\nfile\ndoomed\nfile\nfolder\nlink\ndeep\n";
    assert_eq!(inside(&server, seen), expected);
    undo(&server, "/srv/none").expect(404);
    let refused = undo(&server, "/").expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("reset it"), "{refused}");
    assert!(server.event_kinds("box").contains(&"files_changed".to_owned()));
}

#[test]
fn each_kind_of_change_is_undone_in_a_paused_and_in_a_stopped_container() {
    let Some(server) = crate::server() else { return };
    for state in ["paused", "stopped"] {
        start(&server, CHANGE, json!({}));
        server.act("box", if state == "paused" { "pause" } else { "stop" });
        assert_eq!(server.container("box")["state"], state);
        for path in ["/srv/file", "/srv/doomed", "/srv/link", "/srv/added", "/srv/folder", "/srv/tree"] {
            belljar(&server, &["undo", "box", path]);
        }
        assert_eq!(changes(&server), [], "{state}");
        if state == "paused" {
            server.act("box", "resume");
            assert_eq!(inside(&server, "cat /srv/file /srv/doomed; ls /srv"), "one\ntwo\nthree\nbelow\ndoomed\nfile\nfolder\nlink\n");
        }
        server.api().delete("/api/v1/containers/box?force=true").expect(204);
    }
}

#[test]
fn what_is_hidden_by_a_folder_made_anew_comes_back_by_itself_stopped_or_running() {
    let Some(server) = crate::server() else { return };
    start(&server, CHANGE, json!({}));
    undo(&server, "/srv/folder/deep").expect(200);
    assert_eq!(inside(&server, "cat /srv/folder/deep/inner /srv/folder/new"), "inner\ny\n");
    server.act("box", "stop");
    undo(&server, "/srv/folder/new").expect(200);
    assert!(changes(&server).iter().all(|(path, _)| !path.starts_with("/srv/folder")), "{:?}", changes(&server));
}

/// What an undo brings back is what the layer has: names of one file are one again, and holes are holes.
#[test]
fn a_folder_that_is_put_back_has_its_links_and_its_holes() {
    let Some(server) = crate::server() else { return };
    let folder = layer(&server).join("srv/folder");
    fs::hard_link(folder.join("deep/inner"), folder.join("again")).unwrap();
    fs::File::create(folder.join("sparse")).unwrap().set_len(1 << 30).unwrap();
    symlink("/etc/passwd", folder.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg("-m").arg("640").arg(folder.join("pipe")).status().unwrap().success());
    start(&server, "rm -r /srv/folder; echo ready; exec sleep 1d", json!({}));
    undo(&server, "/srv/folder").expect(200);
    let seen = "cd /srv/folder; stat -c '%h %s' again deep/inner sparse; test again -ef deep/inner && echo one; \
        test $(stat -c %b sparse) -lt 1000 && echo holes; readlink link; stat -c '%F %a' pipe; cat again";
    assert_eq!(inside(&server, seen), "2 6\n2 6\n1 1073741824\none\nholes\n/etc/passwd\nfifo 640\ninner\n");
}

#[test]
fn a_reset_empties_the_layer_of_one_that_rests_and_refuses_one_that_runs() {
    let Some(server) = crate::server() else { return };
    let kept = server.scratch("kept");
    let mounts = json!([{"type": "bind", "source": kept, "target": "/kept"}]);
    let body = json!({"image": "host", "name": "box", "command": ["sh", "-c", "echo a > /root/a; echo b > /kept/b; echo ready; exec sleep 1d"], "mounts": mounts});
    server.create(&body);
    server.wait_for_log("box", "ready");
    let refused = server.api().post("/api/v1/containers/box/reset", "").expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("stop it first"), "{refused}");
    server.act("box", "stop");
    assert_eq!(belljar(&server, &["reset", "box"]), "box\n");
    let all = rows(&server.api().get("/api/v1/containers/box/overlay/changes").expect(200).json());
    assert_eq!((all, fs::read_to_string(kept.join("b")).unwrap().as_str()), (Vec::new(), "b\n"));
    server.act("box", "start");
    server.wait_for_state("box", "running");
}

#[test]
fn files_are_copied_in_and_out_whatever_the_state_and_belong_to_the_containers_root() {
    let Some(server) = crate::server() else { return };
    let here = server.scratch("here");
    fs::create_dir_all(here.join("tree/deep")).unwrap();
    fs::write(here.join("tree/deep/file"), "content").unwrap();
    fs::write(here.join("file"), "file").unwrap();
    std::os::unix::fs::chown(here.join("file"), Some(1234), Some(1234)).unwrap();
    let path = |name: &str| here.join(name).display().to_string();
    let volume = server.scratch("volume");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    let mounts = json!([{"type": "bind", "source": volume, "target": "/mnt"}]);
    server.create(
        &json!({"image": "host", "name": "box", "command": ["sh", "-c", "echo ready; exec sleep 1d"], "mounts": mounts, "start": false}),
    );
    for state in ["created", "running", "paused", "stopped"] {
        match state {
            "created" => {}
            "running" => drop(server.act("box", "start")),
            "paused" => drop(server.act("box", "pause")),
            _ => drop(server.act("box", "stop")),
        }
        let name = format!("in-{state}");
        belljar(&server, &["cp", &path("tree"), &format!("box:/root/{name}")]);
        belljar(&server, &["cp", &path("file"), &format!("box:/root/{name}/deep")]);
        belljar(&server, &["cp", &format!("box:/root/{name}"), &path(&format!("out-{state}"))]);
        let out = here.join(format!("out-{state}"));
        assert_eq!(fs::read_to_string(out.join("deep/file")).unwrap(), "file", "{state}: it took the place of the other");
        assert_eq!(fs::metadata(out.join("deep/file")).unwrap().uid(), 0, "{state}");
    }
    server.act("box", "start");
    assert_eq!(inside(&server, "stat -c %u:%g /root/in-created /root/in-running/deep/file /root/in-stopped/deep/file"), "0:0\n0:0\n0:0\n");
    belljar(&server, &["cp", "-a", &path("file"), "box:/root/owned"]);
    assert_eq!(inside(&server, "stat -c %u:%g /root/owned"), "1234:1234\n");
    belljar(&server, &["cp", "-a", "box:/root/owned", &path("back")]);
    assert_eq!(fs::metadata(here.join("back")).unwrap().uid(), 1234);
    // A mount of one that runs is seen.
    belljar(&server, &["cp", &path("file"), "box:/mnt/"]);
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "file");
}

/// The table of `docker cp`, row by row.
#[test]
fn the_rules_of_folders_are_those_of_docker() {
    let Some(server) = crate::server() else { return };
    let here = server.scratch("here");
    fs::create_dir_all(here.join("dir/sub")).unwrap();
    fs::write(here.join("dir/sub/f"), "f").unwrap();
    fs::write(here.join("file"), "file").unwrap();
    start(
        &server,
        "mkdir -p /t/dir/sub; echo -n in > /t/dir/sub/f; echo -n old > /t/file; ln -s dir /t/link; echo ready; exec sleep 1d",
        json!({}),
    );
    let path = |name: &str| here.join(name).display().to_string();
    let into = |source: &str, target: &str| belljar_output(&server, &["cp", &path(source), &format!("box:{target}")]).status.success();
    assert!(into("file", "/t/new") && into("file", "/t/file") && into("file", "/t/dir") && into("file", "/t/link/"));
    assert!(!into("file", "/t/none/") && !into("dir", "/t/file") && !into("file", "/none/x") && !into("none", "/t/x"));
    assert!(into("dir", "/t/made") && into("dir", "/t/dir") && into("dir/.", "/t/plain") && into("dir/.", "/t/plain"));
    let tree = inside(&server, "cd /t; find . -type f -printf '%P ' | tr ' ' '\\n' | sort; cat new file dir/file");
    let expected = "dir/dir/sub/f\ndir/file\ndir/sub/f\nfile\nmade/sub/f\nnew\nplain/sub/f\nfilefilefile";
    assert_eq!(tree, expected);

    let out = |source: &str, target: &str| belljar_output(&server, &["cp", &format!("box:{source}"), &path(target)]).status.success();
    fs::create_dir(here.join("out")).unwrap();
    assert!(
        out("/t/file", "out")
            && out("/t/file", "out/renamed")
            && out("/t/dir", "out")
            && out("/t/dir/.", "out/plain")
            && out("t/dir/.", "out/plain")
    );
    assert!(!out("/t/dir", "file") && !out("/t/none", "out") && !out("/t/file", "out/none/") && out("/t/link", "out/a-link"));
    for (name, content) in [("file", "file"), ("renamed", "file"), ("dir/sub/f", "in"), ("plain/sub/f", "in")] {
        assert_eq!(fs::read_to_string(here.join("out").join(name)).unwrap(), content, "{name}");
    }
    assert_eq!(fs::read_link(here.join("out/a-link")).unwrap(), Path::new("dir"), "a link is copied itself");
    belljar(&server, &["cp", "-L", "box:/t/link", &path("out/followed")]);
    assert_eq!(fs::read_to_string(here.join("out/followed/sub/f")).unwrap(), "in");
    let left: Vec<_> = fs::read_dir(here.join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".belljar")), "{left:?}");
}

pub(crate) fn tar(arguments: &[&str], folder: &Path, input: Option<Vec<u8>>) -> Output {
    let mut command = Command::new("tar");
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tar runs");
    let mut pipe = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut pipe, &input.unwrap_or_default()));
    let output = child.wait_with_output().unwrap();
    drop(writer.join());
    output
}

#[test]
fn an_archive_of_the_api_is_one_that_tar_reads_and_one_of_tar_is_taken() {
    let Some(server) = crate::server() else { return };
    start(
        &server,
        "mkdir /t; for i in $(seq 300); do echo $i > /t/$i; done; ln /t/1 /t/again; ln -s 1 /t/link; mkfifo /t/pipe; echo ready; exec sleep 1d",
        json!({}),
    );
    let answer = server.api().get("/api/v1/containers/box/archive?path=/t").expect(200);
    let stat: Value = serde_json::from_str(answer.header("belljar-path-stat")).expect("a header of JSON");
    assert_eq!((&stat["name"], &stat["kind"], &stat["mode"]), (&json!("t"), &json!("directory"), &json!(0o755)));
    let here = server.scratch("here");
    let listed = tar(&["-x", "-v", "-f", "-"], &here, Some(answer.body.clone()));
    assert!(listed.status.success() && listed.stderr.is_empty(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert_eq!(fs::read_to_string(here.join("t/77")).unwrap(), "77\n");
    assert_eq!(fs::metadata(here.join("t/again")).unwrap().nlink(), 2);
    let archive = tar(&["-c", "-z", "-f", "-", "t"], &here, None).stdout;
    let put = server.api().send("PUT", "/api/v1/containers/box/archive?path=/root", archive).expect(200).json();
    assert_eq!(put["entries"], 304);
    assert_eq!(inside(&server, "cat /root/t/300; ls /root/t | wc -l"), "300\n303\n");
    let head = server.api().send("HEAD", "/api/v1/containers/box/archive?path=/root/t/link", Vec::new()).expect(200);
    assert!(head.header("belljar-path-stat").contains("\"link_target\":\"1\""));
    for (method, path, status) in [
        ("GET", "/none", 404),
        ("GET", "/t/1/x", 409),
        ("GET", "/proc/version", 409),
        ("GET", "relative", 422),
        ("GET", "/a/../b", 422),
        ("PUT", "/t/1", 409),
        ("PUT", "/none", 404),
        ("PUT", "/proc", 409),
    ] {
        let answer = server.api().send(method, &format!("/api/v1/containers/box/archive?path={path}"), Vec::new());
        assert!(
            answer.status == status || (status == 422 && answer.status == 400) || method == "PUT",
            "{method} {path}: {}",
            answer.status
        );
        assert!(answer.status >= 400, "{method} {path}");
    }
}

#[test]
fn a_difference_is_told_by_rows_and_printed_as_patch_takes_it() {
    let Some(server) = crate::server() else { return };
    start(&server, "sed -i s/two/TWO/ /srv/file; rm /srv/doomed; chmod 600 /srv/folder/deep/inner; echo ready; exec sleep 1d", json!({}));
    let difference = server.api().get("/api/v1/containers/box/overlay/difference?path=/srv/file").expect(200).json();
    let kinds: Vec<&str> = difference["rows"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, difference["status"].as_str()), (vec!["same", "removed", "added", "same"], Some("modified")));
    let text = belljar(&server, &["diff", "box", "/srv/file"]);
    assert_eq!(text, "--- a/srv/file\n+++ b/srv/file\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n");
    let inner = changes(&server).into_iter().find(|(path, _)| path == "/srv/folder/deep/inner");
    assert_eq!(inner, Some(("/srv/folder/deep/inner".into(), "metadata".into())));
    let told = belljar_output(&server, &["diff", "box", "/srv/folder/deep/inner"]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("mode was 0644 and is 0600 now"), "{told:?}");
    server.api().get("/api/v1/containers/box/overlay/difference?path=/none").expect(404);
}

#[test]
fn the_size_of_the_own_layer_is_on_its_page_and_after_a_while_in_the_list() {
    let Some(server) = crate::server() else { return };
    start(&server, "head -c 3000000 /dev/urandom > /big; echo ready; exec sleep 1d", json!({}));
    let overlay = server.api().get("/api/v1/containers/box/overlay").expect(200).json();
    let bytes = overlay["upper_bytes"].as_u64().unwrap();
    assert!((3_000_000..4_000_000).contains(&bytes), "{bytes}");
    assert_eq!(overlay["layers"][0]["size_bytes"], overlay["upper_bytes"]);
    wait_until("the list knows it", || {
        let listed = rows(&server.api().get("/api/v1/containers").expect(200).json());
        (listed[0]["upper_bytes"].as_u64()? >= 3_000_000).then_some(())
    });
    assert!(belljar(&server, &["list", "--size"]).contains("MiB"));
}

#[test]
fn an_archive_that_climbs_is_refused_by_its_entry_and_a_start_ends_a_copy() {
    let Some(server) = crate::server() else { return };
    start(&server, "echo ready; exec sleep 1d", json!({}));
    let here = server.scratch("here");
    fs::write(here.join("x"), "evil").unwrap();
    let archive = tar(&["-c", "-P", "-f", "-", "--transform=s,x,../../x,", "x"], &here, None).stdout;
    let refused = server.api().send("PUT", "/api/v1/containers/box/archive?path=/root", archive).json();
    assert!(refused["detail"].as_str().unwrap().contains("`..`"), "{refused}");
    // An upload into one that rests, which never ends: the start does not wait for it.
    server.act("box", "stop");
    let mut child = Command::new(crate::EXECUTABLE)
        .args(["cp", "-", "box:/root"])
        .env("BELLJAR_SOCKET", server.socket())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let helper = || {
        belljar_testbed::process::pids().into_iter().any(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name == "belljar-files\n" && belljar_testbed::process::parent(pid).is_some_and(|parent| is_of(parent, server.pid()))
        })
    };
    wait_until("it is under way", || helper().then_some(()));
    server.act("box", "start");
    server.wait_for_state("box", "running");
    assert!(!child.wait().unwrap().success());
    wait_until("its process is gone", || (!helper()).then_some(()));
}

/// Whether a process is, or comes from, a server.
fn is_of(mut pid: i32, server: i32) -> bool {
    for _generation in 0..4 {
        if pid == server {
            return true;
        }
        let Some(parent) = belljar_testbed::process::parent(pid) else { return false };
        pid = parent;
    }
    false
}
