//! Volumes: what containers keep outlives them, the server, and a kill; it is filled from the image once, exactly; nothing that a
//! container put into one leads out of it.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use belljar_testbed::server::rows;
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

use crate::{belljar, belljar_output};

fn data(server: &Server, volume: &str) -> PathBuf {
    server.data_dir().join("volumes").join(volume).join("data")
}

fn body(name: &str, mounts: Value, script: &str) -> Value {
    json!({"image": "host", "name": name, "command": ["sh", "-c", script], "mounts": mounts})
}

fn volume(source: &str, target: &str) -> Value {
    json!({"type": "volume", "source": source, "target": target})
}

fn volumes(server: &Server) -> Vec<Value> {
    rows(&server.api().get("/api/v1/volumes").expect(200).json())
}

fn finished(server: &Server, body: &Value) -> String {
    server.create(body);
    let name = body["name"].as_str().expect("a name");
    server.wait_for_state(name, "stopped");
    let log = server.logs(name);
    server.api().delete(&format!("/api/v1/containers/{name}")).expect(204);
    log
}

#[test]
fn what_a_container_kept_is_there_for_the_next_one_whatever_happened_to_the_server() {
    let Some(mut server) = crate::server() else { return };
    let before = server.traces();
    let write = "id -u; echo first > /data/row; mkdir /data/sub; chown 33:44 /data/sub; sync; echo done; exec sleep 1d";
    server.create(&body("db", json!([volume("pg", "/data")]), write));
    server.wait_for_log("db", "done");
    let owners = |path: &str| fs::metadata(data(&server, "pg").join(path)).map(|stat| (stat.uid(), stat.gid())).unwrap();
    assert_eq!((owners("row"), owners("sub")), ((0, 0), (33, 44)), "what is on disk reads naturally");
    server.kill_hard();
    server.start_again();
    assert_eq!(server.container("db")["state"], "running");
    let kept = server.api().get("/api/v1/volumes/pg").expect(200).json();
    assert_eq!(kept["used_by"], json!([{"container": "db", "target": "/data", "readonly": false}]));
    assert_eq!((&kept["anonymous"], &kept["entries"], &kept["complete"]), (&json!(false), &json!(2), &json!(true)));

    let refused = server.api().delete("/api/v1/volumes/pg").expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("used by db"), "{refused}");
    server.api().delete("/api/v1/containers/db?force=true").expect(204);
    let log = finished(&server, &body("db", json!([volume("pg", "/data")]), "cat /data/row; stat -c %u:%g /data/sub"));
    assert_eq!(log, "first\n33:44\n");
    assert!(server.stop().success());
    server.start_again();
    let other =
        body("other", json!([{"type": "volume", "source": "pg", "target": "/x/y", "readonly": true}]), "cat /x/y/row; echo no > /x/y/row");
    assert!(finished(&server, &other).starts_with("first\n"));
    assert_eq!(fs::read_to_string(data(&server, "pg").join("row")).unwrap(), "first\n", "read-only is read-only");

    server.api().delete("/api/v1/volumes/pg").expect(204);
    server.api().delete("/api/v1/volumes/pg").expect(404);
    server.assert_nothing_left(&before);
}

/// A layer that makes the image look as one with content at `/srv/app` would.
fn content(server: &Server) -> PathBuf {
    let layer = server.scratch("content");
    let app = layer.join("srv/app");
    fs::create_dir_all(app.join("sub")).unwrap();
    fs::write(app.join("sub/file"), "hello").unwrap();
    fs::hard_link(app.join("sub/file"), app.join("again")).unwrap();
    symlink("/etc/shadow", app.join("link")).unwrap();
    let made = Command::new("mknod").arg(app.join("null")).args(["c", "1", "3"]).status().expect("mknod");
    assert!(made.success() && Command::new("mkfifo").arg(app.join("pipe")).status().expect("mkfifo").success());
    fs::File::create(app.join("sparse")).unwrap().set_len(1 << 40).unwrap();
    for (path, owner, mode) in [("sub/file", 1000, 0o4750), ("sub", 33, 0o2775), ("", 999, 0o750)] {
        std::os::unix::fs::chown(app.join(path), Some(owner), Some(owner + 1)).unwrap();
        fs::set_permissions(app.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::File::open(app.join("sub/file"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_234_567_890_123))
        .unwrap();
    layer
}

#[test]
fn an_empty_volume_is_filled_once_with_what_the_image_has_there() {
    let Some(server) = crate::server() else { return };
    let layer = content(&server);
    let mounts = |volume: Value| json!([{"type": "layer", "source": layer}, volume]);
    let look = "stat -c '%n %u:%g %a %h %Y' /data/. sub/file sub again; readlink link; cat again; wc -c < sparse; ls | wc -l";
    let at = |target: &str, script: &str| format!("cd {target}; {}", script.replace("/data", target));
    let log = finished(&server, &body("first", mounts(volume("app", "/srv/app")), &at("/srv/app", look)));
    let expected = "/srv/app/. 999:1000 750 3 ";
    assert!(log.starts_with(expected), "{log}");
    for line in
        ["sub/file 1000:1001 4750 2 1234567890", "sub 33:34 2775", "again 1000:1001 4750 2", "/etc/shadow", "hello", "1099511627776"]
    {
        assert!(log.contains(line), "{line} in {log}");
    }
    let filled = data(&server, "app");
    assert_eq!(fs::metadata(filled.join("again")).unwrap().ino(), fs::metadata(filled.join("sub/file")).unwrap().ino());
    assert!(fs::symlink_metadata(filled.join("pipe")).unwrap().file_type().is_fifo());
    assert!(!filled.join("null").exists(), "no device works in a volume");
    assert!(fs::metadata(filled.join("sparse")).unwrap().blocks() < 1000, "holes stay holes");
    let events = rows(&server.api().get("/api/v1/events").expect(200).json());
    let told = events.iter().find(|event| event["kind"] == "volume_filled").expect("it is told");
    assert!(told["message"].as_str().unwrap().contains("1 devices and sockets were left out"), "{told}");

    // What is in it stays, also where the container says otherwise by then.
    fs::write(filled.join("mine"), "kept").unwrap();
    let log = finished(&server, &body("second", mounts(volume("app", "/srv/app")), "cat /srv/app/mine; ls /srv/app | wc -l"));
    assert_eq!(log, "kept6\n");
    // One that was emptied on purpose is filled anew by a new container, as in Docker; and not where that is not wanted.
    let nocopy = json!({"type": "volume", "source": "bare", "target": "/srv/app", "nocopy": true});
    assert_eq!(finished(&server, &body("third", mounts(nocopy), "ls /srv/app | wc -l")), "0\n");
    // What the image has not, or has as something else, is nothing to fill with.
    assert_eq!(finished(&server, &body("fourth", mounts(volume("none", "/no/such")), "ls /no/such | wc -l")), "0\n");
    // At the end of a link of the image's.
    symlink("/srv/app", layer.join("linked")).unwrap();
    assert_eq!(finished(&server, &body("fifth", mounts(volume("linked", "/linked")), "cat /linked/again")), "hello\n");
}

#[test]
fn a_volume_that_somebody_has_mounted_is_not_filled_under_them() {
    let Some(server) = crate::server() else { return };
    let layer = content(&server);
    server.create(&body("has", json!([volume("app", "/empty")]), "until test -e /empty/go; do sleep 0.02; done; echo seen; exec sleep 1d"));
    server.wait_for_state("has", "running");
    let mounts = json!([{"type": "layer", "source": layer}, volume("app", "/srv/app")]);
    assert_eq!(finished(&server, &body("new", mounts, "ls /srv/app | wc -l; touch /srv/app/go")), "0\n");
    server.wait_for_log("has", "seen");
}

#[test]
fn a_volume_without_a_name_goes_with_its_container() {
    let Some(mut server) = crate::server() else { return };
    let before = server.traces();
    belljar(&server, &["create", "--name", "own", "-v", "/data", "host", "sh", "-c", "echo x > /data/x"]);
    let all = volumes(&server);
    assert_eq!((all.len(), &all[0]["anonymous"]), (1, &json!(true)), "{all:?}");
    let name = all[0]["name"].as_str().unwrap().to_owned();
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let mount = &server.container("own")["mounts"][0];
    assert_eq!((&mount["source"], &mount["anonymous"]), (&json!(name), &json!(true)));
    assert!(server.stop().success());
    server.start_again();
    belljar(&server, &["start", "own"]);
    server.wait_for_state("own", "stopped");
    belljar(&server, &["start", "own"]);
    assert!(data(&server, &name).join("x").exists(), "it outlives a stop and the server");
    server.wait_for_state("own", "stopped");
    belljar(&server, &["delete", "own"]);
    assert_eq!(belljar(&server, &["run", "--rm", "-v", "/data", "host", "sh", "-c", "touch /data/a; ls /data"]), "a\n");
    assert_eq!(volumes(&server), Vec::<Value>::new());
    server.assert_nothing_left(&before);
}

#[test]
fn nothing_that_a_container_put_into_a_volume_leads_out_of_it() {
    let Some(server) = crate::server() else { return };
    let secret = server.scratch("secret");
    fs::write(secret.join("key"), "secret of the host").unwrap();
    let script = format!(
        "ln -s {0} /v/out; ln -s {0}/key /v/key; ln -s / /v/root; mkdir -p /v/a; ln -s ../../.. /v/a/up; mkfifo /v/pipe; mkdir -p '/v/<b>x'; echo ok",
        secret.display()
    );
    assert_eq!(finished(&server, &body("evil", json!([volume("v", "/v")]), &script)), "ok\n");
    let api = server.api();
    let path = |path: &str| path.replace('/', "%2F").replace('<', "%3C").replace('>', "%3E").replace('.', "%2E");
    for hostile in ["out", "root", "a/up", "key", "out/key", "../../belljar.db", "/etc", "pipe"] {
        let listed = api.get(&format!("/api/v1/volumes/v/files?path={}", path(hostile)));
        assert!(matches!(listed.status, 404 | 422 | 400), "{hostile}: {}", listed.text());
        let read = api.get(&format!("/api/v1/volumes/v/file?path={}", path(hostile)));
        assert!(matches!(read.status, 404 | 422 | 400) && !read.text().contains("secret of"), "{hostile}: {}", read.text());
    }
    // A part of a volume is looked up in the volume, whatever stands there.
    for (number, subpath) in ["out", "root/etc", "a/up/up"].into_iter().enumerate() {
        let mount = json!({"type": "volume", "source": "v", "target": "/m", "subpath": subpath});
        let answer = api.post_json("/api/v1/containers", &body(&format!("sub{number}"), json!([mount]), "cat /m/key /m/shadow; ls /m"));
        assert_eq!(answer.status, 201);
        let log = server.logs(&format!("sub{number}"));
        assert!(!log.contains("secret of") && !log.contains("root:"), "{subpath}: {log}");
    }
    let page = api.get("/volumes/v").expect(200).text();
    assert!(page.contains("&#60;b&#62;x/") || page.contains("&lt;b&gt;x/"), "{page}");
    assert!(!page.contains("<b>x"), "names are text");
}

#[test]
fn a_part_of_a_volume_is_mounted_and_must_be_there() {
    let Some(server) = crate::server() else { return };
    finished(&server, &body("make", json!([volume("v", "/v")]), "mkdir -p /v/a/b; echo deep > /v/a/b/c"));
    let part = |subpath: &str| json!([{"type": "volume", "source": "v", "target": "/m", "subpath": subpath}]);
    assert_eq!(finished(&server, &body("part", part("a/b"), "cat /m/c")), "deep\n");
    let missing = server.api().post_json("/api/v1/containers", &body("missing", part("a/none"), "true")).expect(201).json();
    let failure = &missing["exit"];
    assert_eq!((&failure["kind"], &failure["step"]), (&json!("never_started"), &json!("take")), "{missing}");
    assert!(missing.to_string().contains("a/none"), "{missing}");
}

#[test]
fn files_of_a_volume_are_listed_and_downloaded() {
    let Some(server) = crate::server() else { return };
    let script = "mkdir /v/sub; printf 'a\\0b' > /v/sub/bytes; ln -s sub /v/link; chmod 640 /v/sub/bytes; chown 7:8 /v/sub/bytes";
    finished(&server, &body("make", json!([volume("v", "/v")]), script));
    let listed = rows(&server.api().get("/api/v1/volumes/v/files").expect(200).json());
    let facts: Vec<_> = listed.iter().map(|file| (file["name"].clone(), file["type"].clone(), file["link_target"].clone())).collect();
    assert_eq!(facts, [(json!("sub"), json!("directory"), json!(null)), (json!("link"), json!("symlink"), json!("sub"))]);
    let file = &rows(&server.api().get("/api/v1/volumes/v/files?path=sub").expect(200).json())[0];
    assert_eq!((&file["mode"], &file["uid"], &file["gid"], &file["size_bytes"]), (&json!(0o640), &json!(7), &json!(8), &json!(3)));
    for path in ["/api/v1/volumes/v/file?path=sub/bytes", "/volumes/v/file?path=sub/bytes"] {
        let answer = server.api().get(path).expect(200);
        assert_eq!((answer.body.as_slice(), answer.header("content-type")), (&b"a\0b"[..], "application/octet-stream"));
        assert!(answer.header("content-disposition").starts_with("attachment"), "a browser never shows it as a page");
    }
    assert!(belljar(&server, &["volumes", "browse", "v", "sub"]).contains("bytes"));
    assert!(belljar(&server, &["volumes", "browse", "v"]).contains("link -> sub"));
}

#[test]
fn volumes_are_made_told_of_and_pruned_from_the_command_line() {
    let Some(server) = crate::server() else { return };
    let before = server.traces();
    assert_eq!(belljar(&server, &["volumes", "create", "kept", "--label", "for=tests"]), "kept\n");
    let taken = belljar_output(&server, &["volumes", "create", "kept"]);
    assert!(String::from_utf8_lossy(&taken.stderr).contains("there is already a volume kept"), "{taken:?}");
    let told: Value = serde_json::from_str(&belljar(&server, &["volumes", "inspect", "kept"])).unwrap();
    assert_eq!((&told[0]["labels"]["for"], &told[0]["path"]), (&json!("tests"), &json!(data(&server, "kept"))));
    let made = belljar(&server, &["volumes", "create"]);
    assert_eq!(made.trim().len(), 64, "a name is made up");
    belljar(&server, &["run", "--name", "user", "-v", "used:/v:ro", "host", "true"]);
    let list = belljar(&server, &["volumes"]);
    assert!(list.contains("kept") && list.lines().any(|line| line.starts_with("used") && line.contains("user")), "{list}");
    fs::write(data(&server, "kept").join("big"), vec![1; 1 << 20]).unwrap();

    let preview = belljar(&server, &["volumes", "prune", "--all"]);
    assert!(preview.contains("kept 1") && preview.contains("would be freed") && !preview.contains("used "), "{preview}");
    assert!(data(&server, "kept").join("big").exists(), "nobody said yes");
    assert!(belljar(&server, &["volumes", "prune", "--force"]).contains("0 volumes"), "those with a name only with --all");
    let pruned = belljar(&server, &["volumes", "prune", "--all", "--force"]);
    assert!(pruned.contains("2 volumes") && pruned.contains(" freed"), "{pruned}");
    assert_eq!(volumes(&server).len(), 1);
    belljar(&server, &["delete", "user"]);
    belljar(&server, &["volumes", "delete", "used"]);
    server.assert_nothing_left(&before);
}

#[test]
fn a_folder_without_a_row_is_kept_and_a_row_without_a_folder_is_told() {
    let Some(mut server) = crate::server() else { return };
    server.api().post_json("/api/v1/volumes", &json!({"name": "lost"})).expect(201);
    assert!(server.stop().success());
    let stranger = server.data_dir().join("volumes/found/data");
    fs::create_dir_all(&stranger).unwrap();
    fs::write(stranger.join("row"), "kept").unwrap();
    fs::remove_dir_all(server.data_dir().join("volumes/lost")).unwrap();
    server.start_again();
    let names: Vec<_> = volumes(&server).iter().map(|volume| volume["name"].clone()).collect();
    assert_eq!(names, ["found", "lost"]);
    assert_eq!(fs::read_to_string(stranger.join("row")).unwrap(), "kept");
    let events = rows(&server.api().get("/api/v1/events").expect(200).json());
    let told = |subject: &str| events.iter().find(|event| event["kind"] == "volume_found" && event["subject"] == subject).cloned();
    assert!(told("found").expect("told")["message"].as_str().unwrap().contains("is kept"));
    assert!(told("lost").expect("told")["message"].as_str().unwrap().contains("is missing"));
}

#[test]
fn what_cannot_be_a_volume_is_refused_by_its_field() {
    let Some(server) = crate::server() else { return };
    let cases = [
        (json!({"type": "volume", "source": "../x", "target": "/v"}), "mounts[0].source"),
        (json!({"type": "volume", "source": "v"}), "mounts[0].target"),
        (json!({"type": "volume", "source": "v", "target": "/proc/x"}), "mounts[0].target"),
        (json!({"type": "volume", "source": "v", "target": "/v", "subpath": "../x"}), "mounts[0].subpath"),
        (json!({"type": "volume", "source": "v", "target": "/v", "idmap": "1000"}), "mounts[0].idmap"),
    ];
    for (mount, field) in cases {
        let problem = server.api().post_json("/api/v1/containers", &body("x", json!([mount]), "true")).expect(422).json();
        assert_eq!(problem["field"], field, "{problem}");
    }
    for name in ["", "..", "a/b", ".hidden", &"x".repeat(129)] {
        server.api().post_json("/api/v1/volumes", &json!({"name": name})).expect(422);
    }
    server.api().get("/api/v1/volumes/..%2Fx").expect(404);
    // A name that another container has: what would have been made for this one is not.
    server.create(&body("taken", json!([]), "exec sleep 1d"));
    server.api().post_json("/api/v1/containers", &body("taken", json!([volume("never", "/v")]), "true")).expect(409);
    assert_eq!(volumes(&server), Vec::<Value>::new());
    assert!(!Path::new(&server.data_dir()).join("volumes/never").exists());
}

#[test]
fn a_mount_says_who_of_the_host_is_who_inside() {
    let Some(server) = crate::server() else { return };
    let folder = server.scratch("home");
    for (name, owner) in [("mine", 1000), ("other", 1001), ("roots", 0)] {
        fs::write(folder.join(name), name).unwrap();
        std::os::unix::fs::chown(folder.join(name), Some(owner), Some(owner)).unwrap();
    }
    std::os::unix::fs::chown(&folder, Some(1000), Some(1000)).unwrap();
    let look = "cd /m; stat -c '%n %u:%g' mine other roots; touch new && stat -c '%n %u:%g' new; chown 34 new || echo not 34";
    let cases = [
        // As itself, and as somebody else; nobody is 65534.
        ("private", "1000:1000", "1000:1000", ["mine 1000:1000", "other 65534:65534", "new 1000:1000"]),
        ("private", "1000:33,1001:5", "33:33", ["mine 33:33", "other 5:5", "new 33:33"]),
        ("private", "1000:0:2", "0", ["mine 0:0", "other 1:1", "new 0:0"]),
        ("private", "u:1000:33,g:1000:44,g:1001:45", "33:44", ["mine 33:44", "other 65534:45", "new 33:44"]),
        ("host", "1000:33", "33:33", ["mine 33:33", "other 65534:65534", "new 33:33"]),
    ];
    for (userns, idmap, user, expected) in cases {
        let mount = format!("{}:/m:idmap={idmap}", folder.display());
        let log = belljar_output(&server, &["run", "--rm", "--userns", userns, "--user", user, "-v", &mount, "host", "sh", "-c", look]);
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        for line in expected.iter().chain(&["not 34"]) {
            assert!(log.contains(line), "{userns} {idmap}: {line} in {log}");
        }
        let made = fs::metadata(folder.join("new")).unwrap();
        assert_eq!((made.uid(), made.gid()), (1000, 1000), "{userns} {idmap}: new files come out as who they are on the host");
        fs::remove_file(folder.join("new")).unwrap();
    }
    // Whom nobody named can make nothing, its root included.
    let mount = format!("{}:/m:idmap=1000:1000", folder.display());
    let refused = belljar_output(&server, &["run", "--rm", "-v", &mount, "host", "touch", "/m/new"]);
    assert!(!refused.status.success() && !folder.join("new").exists(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("too large for defined data type"), "{refused:?}");
    // It is told: in the plan, in inspect, on the page.
    belljar(&server, &["run", "-d", "--name", "mapped", "-v", &mount, "-v", "vol:/v:idmap=7:1000", "host", "sleep", "1d"]);
    assert!(belljar(&server, &["plan", "mapped"]).contains("owners mapped: users 1000 to"), "{}", belljar(&server, &["plan", "mapped"]));
    assert_eq!(server.container("mapped")["mounts"][0]["idmap"], "1000:1000");
    assert!(server.api().get("/containers/mapped").expect(200).text().contains("1000:1000"));
    // A file system that cannot map is refused by name before anything is made.
    let mount = json!({"type": "bind", "source": "/proc", "target": "/p", "idmap": "0:0"});
    let problem = server.api().post_json("/api/v1/containers", &body("x", json!([mount]), "true")).expect(422).json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(problem["field"] == "mounts[0].idmap" && detail.contains("(proc) that cannot map owners"), "{problem}");
    let foreign = json!({"image": "host", "command": ["true"], "namespaces": {"user": "path:/proc/self/ns/user"},
        "mounts": [{"type": "volume", "source": "v", "target": "/v", "idmap": "0:0"}]});
    assert_eq!(server.api().post_json("/api/v1/containers", &foreign).expect(422).json()["field"], "mounts[0].idmap");
}

/// Imports an image of these files.
fn import(server: &Server, name: &str, files: &[(&str, &str)]) {
    let tree = server.scratch(name);
    for (path, text) in files {
        fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        fs::write(tree.join(path), text).unwrap();
    }
    let archive = server.scratch("archives").join(format!("{name}.tar"));
    assert!(Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&archive).arg(".").status().expect("tar").success());
    belljar(server, &["images", "import", &format!("{name}:1"), archive.to_str().unwrap()]);
}

#[test]
fn the_layers_of_another_image_lie_over_the_images_own_and_are_kept_while_a_container_has_them() {
    let Some(server) = crate::server() else { return };
    import(&server, "conf", &[("srv/conf/app", "of the image"), ("srv/both", "image"), ("usr/share/belljar-test", "below usr")]);
    let folder = server.scratch("folder");
    fs::create_dir_all(folder.join("srv")).unwrap();
    fs::write(folder.join("srv/both"), "folder").unwrap();
    let look = "cat /srv/conf/app /srv/both /usr/share/belljar-test; echo mine > /srv/conf/app; cat /srv/conf/app; exec sleep 1d";
    let layer = folder.to_str().unwrap();
    belljar(&server, &["run", "-d", "--name", "app", "--layer", "image=conf:1", "--layer", layer, "host", "sh", "-c", look]);
    let log = server.wait_for_log("app", "mine");
    assert!(log.contains("of the imagefolderbelow usrmine") || log.replace('\n', "") == "of the imagefolderbelow usrmine", "{log}");
    let mount = &server.container("app")["mounts"][0];
    assert_eq!((&mount["type"], &mount["image"]), (&json!("layer"), &json!("conf:1")), "{mount}");
    assert!(mount["digest"].as_str().unwrap().starts_with("sha256:"));
    let stack = server.api().get("/api/v1/containers/app/overlay").expect(200).json();
    assert_eq!(stack["layers"].as_array().unwrap().iter().filter(|layer| layer["role"] == "extra").count(), 2, "{stack}");

    let refused = belljar_output(&server, &["images", "delete", "conf:1"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("app"), "{refused:?}");
    server.act("app", "stop?grace_ms=100");
    server.act("app", "start");
    belljar(&server, &["delete", "--force", "app"]);
    belljar(&server, &["images", "delete", "conf:1"]);
    for (mount, field) in [
        (json!({"type": "layer", "image": "conf:1"}), "mounts[0].image"),
        (json!({"type": "layer", "image": "host"}), "mounts[0].image"),
        (json!({"type": "layer", "image": "a b"}), "mounts[0].image"),
        (json!({"type": "layer", "image": "a", "source": "/srv"}), "mounts[0].image"),
    ] {
        let problem = server.api().post_json("/api/v1/containers", &body("x", json!([mount]), "true")).expect(422).json();
        assert_eq!(problem["field"], field, "{problem}");
    }
}

/// Makes a file one that nobody can remove, or takes that back; whether the file system knows such a thing.
fn immutable(path: &std::path::Path, sign: &str) -> bool {
    std::process::Command::new("chattr").arg(format!("{sign}i")).arg(path).status().is_ok_and(|status| status.success())
}

#[test]
fn a_prune_removes_what_was_made_for_a_container_whose_removal_broke() {
    let Some(server) = crate::server() else { return };
    let own = json!([{"type": "volume", "target": "/own"}]);
    let create = |name: &str| {
        let command = ["sh", "-c", "echo row > /own/row; echo kept > /kept; exec sleep 1d"];
        let made = server.create(&json!({"image": "host", "name": name, "command": command, "mounts": own}));
        let volume = made["mounts"][0]["source"].as_str().unwrap().to_owned();
        let id = made["id"].as_str().unwrap().to_owned();
        let upper = server.data_dir().join("containers").join(id).join("upper");
        wait_until("it has written", || upper.join("kept").exists().then_some(()));
        server.act(name, "kill");
        (server.data_dir().join("volumes").join(volume), upper)
    };
    let before = server.traces();
    // Its own folder cannot be removed: the volume is still there, with its row.
    let (volume, upper) = create("folder");
    if !immutable(&upper.join("kept"), "+") {
        server.api().delete("/api/v1/containers/folder").expect(204);
        return belljar_testbed::skip("a file system with attributes of chattr");
    }
    server.api().delete("/api/v1/containers/folder?force=true").expect(500);
    assert!(volume.join("data/row").exists());
    let pruned = server.api().post_json("/api/v1/volumes/prune", &json!({})).expect(200).json();
    assert_eq!(pruned["volumes"].as_array().map(Vec::len), Some(1), "{pruned}");
    assert!(!volume.exists());
    assert!(immutable(&upper.join("kept"), "-"));
    server.api().delete("/api/v1/containers/folder").expect(204);
    server.assert_nothing_left(&before);

    // The volume cannot be: its row is gone, and its folder is nobody's.
    let (volume, _) = create("volume");
    assert!(immutable(&volume.join("data/row"), "+"));
    server.api().delete("/api/v1/containers/volume?force=true").expect(500);
    let gone = volume.with_file_name(format!(".gone-{}", volume.file_name().unwrap().to_string_lossy()));
    let left = if gone.exists() { gone } else { volume };
    assert!(immutable(&left.join("data/row"), "-"));
    server.api().post_json("/api/v1/volumes/prune", &json!({})).expect(200);
    assert!(!left.exists());
    server.api().delete("/api/v1/containers/volume").expect(204);
    server.assert_nothing_left(&before);
}
