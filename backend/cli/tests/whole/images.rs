//! Images as a person has them: out of a registry, out of a container, out of an archive, with a program in them that runs.

use std::fs;
use std::path::PathBuf;

use belljar_testbed::fake::{Content, Fake, Layer};
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

use crate::{belljar, belljar_output};

/// An archive of a root file system with a shell, and a word of its own in `/etc/where`.
pub(crate) fn rootfs(server: &Server, word: &str) -> PathBuf {
    let folder = server.scratch(word);
    let script = format!(
        "mkdir -p bin etc tmp; cp /bin/sh /bin/sleep bin/; for l in $(ldd /bin/sh /bin/sleep | grep -o '/[^ :]*'); do mkdir -p .${{l%/*}}; cp $l .$l; done; \
         echo {word} > etc/where; echo 'ann:x:1234:1234::/:/bin/sh' > etc/passwd; tar -cf ../{word}.tar ."
    );
    let made = std::process::Command::new("sh").args(["-c", &script]).current_dir(&folder).status().unwrap();
    assert!(made.success());
    folder.with_file_name(format!("{word}.tar"))
}

/// A registry with one image, `1`, whose configuration is `config`.
pub(crate) fn registry(archive: &[u8], config: &Value) -> Fake {
    let own = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    registry_for(archive, config, own)
}

/// The same for another processor.
fn registry_for(archive: &[u8], config: &Value, architecture: &str) -> Fake {
    let layer = Layer::new(archive, archive, "application/vnd.oci.image.layer.v1.tar");
    let mut content = Content::default();
    content.blob(&layer.blob);
    let config = content.config(&json!({
        "os": "linux", "architecture": architecture, "config": config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }));
    content.manifest(
        "1",
        &json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer.descriptor()],
        }),
    );
    Fake::start(move |request| content.reply(request))
}

#[test]
fn run_pulls_what_is_missing_and_does_what_the_image_says() {
    let Some(server) = crate::server() else { return };
    let archive = fs::read(rootfs(&server, "pulled")).unwrap();
    let config = json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["read w < /etc/where; while read k v r; do [ $k = Uid: ] && \
            echo it is $w $MODE in $PWD as $v; done < /proc/self/status; exec sleep 1d"],
        "Env": ["MODE=image", "PATH=/bin"], "User": "ann", "WorkingDir": "/srv", "StopSignal": "SIGRTMIN+3",
        "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "image"},
    });
    let fake = registry(&archive, &config);
    let name = format!("{}/some/tiny:1", fake.host());
    let refused = belljar_output(&server, &["run", "--pull", "never", &name]);
    assert!(!refused.status.success() && fake.requests().is_empty());
    belljar(&server, &["run", "-d", "--name", "web", "-l", "b=asked", &name]);
    server.wait_for_log("web", "it is pulled image in /srv as 1234");
    let web = server.container("web");
    assert_eq!((&web["user"], &web["stop_signal"], &web["exposed_ports"]), (&json!("ann"), &json!("SIG37"), &json!(["80/tcp"])));
    assert_eq!((&web["labels"], web["image"].as_str()), (&json!({"a": "image", "b": "asked"}), Some(name.as_str())));
    let again = belljar(&server, &["pull", &name]);
    assert!(again.ends_with(&format!("{name}\n")) && again.contains("present"), "{again}");
    // Plain and escaped paths are one image.
    let plain: Value = server.api().get(&format!("/api/v1/images/{name}")).expect(200).json();
    let escaped = server.api().get(&format!("/api/v1/images/{}", name.replace('/', "%2F").replace(':', "%3A"))).expect(200).json();
    assert_eq!(plain, escaped);
    assert_eq!((&plain["containers"], plain["digest"] == web["image_digest"]), (&json!(["web"]), true));
    let missing = belljar_output(&server, &["pull", &format!("{}/some/tiny:2", fake.host())]);
    let told = String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && told.contains("there is no 2 in some/tiny"), "{told}");
}

#[test]
fn a_container_becomes_an_image_goes_out_as_an_archive_and_comes_back() {
    let Some(server) = crate::server() else { return };
    let archive = rootfs(&server, "base");
    belljar(&server, &["images", "import", "base", &archive.to_string_lossy()]);
    server.create(&json!({"image": "base", "name": "work", "command": ["/bin/sh", "-c", "echo made here > /etc/where; exec sleep 1d"]}));
    wait_until("the file is written", || belljar(&server, &["diff", "work"]).contains("/etc/where").then_some(()));
    let digest = belljar(
        &server,
        &["commit", "-m", "a note", "-a", "ann", "-c", r#"CMD ["/bin/sh","-c","read w < /etc/where; echo it was $w"]"#, "work", "made:1"],
    );
    assert_eq!(server.container("work")["state"], "running", "it goes on");
    let history = belljar(&server, &["images", "history", "made:1", "--json"]);
    assert!(history.contains("a note") && history.contains("ann"), "{history}");
    let verified = belljar(&server, &["images", "verify"]);
    assert!(verified.contains("2 images, 2 layers: all is as it was"), "{verified}");
    let list: Value = server.api().get("/api/v1/images/made:1").expect(200).json();
    assert_eq!((list["layers"].as_array().map(Vec::len), list["digest"].as_str()), (Some(2), Some(digest.trim())));
    assert!(list["shared_bytes"].as_u64() > list["own_bytes"].as_u64(), "{list}");

    let out = archive.with_file_name("made.tar");
    belljar(&server, &["images", "export", "-o", &out.to_string_lossy(), "made:1"]);
    let streamed = belljar_output(&server, &["images", "export", "-o", "-", "made:1"]);
    assert!(streamed.status.success() && streamed.stdout == fs::read(&out).unwrap(), "{} bytes", streamed.stdout.len());
    belljar(&server, &["images", "delete", "made:1"]);
    server.api().get("/api/v1/images/made:1").expect(404);
    let back = belljar(&server, &["images", "import", &out.to_string_lossy()]);
    assert!(back.starts_with("made:1 ") && back.contains(digest.trim()), "the same image: {back}");
    server.create(&json!({"image": "made:1", "name": "again"}));
    server.wait_for_log("again", "it was made here");

    let pruned = belljar(&server, &["images", "prune", "--all", "--dry-run"]);
    assert!(pruned.contains("0 images"), "all are used: {pruned}");
    for name in ["again", "work"] {
        server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
    }
    let pruned = belljar(&server, &["images", "prune", "--all", "--force"]);
    assert!(pruned.contains("made:1") && pruned.contains("base:latest") && pruned.contains("deleted 2 images"), "{pruned}");
    assert_eq!(fs::read_dir(server.data_dir().join("images/layers")).unwrap().count(), 0);
}

#[test]
fn wrong_requests_about_images_are_refused_by_their_field() {
    let Some(server) = crate::server() else { return };
    let api = || server.api().with("content-type", "application/json");
    for (path, body, status, field) in [
        ("/api/v1/images/pull", json!({"image": "A B"}), 422, Some("image")),
        ("/api/v1/images/pull", json!({"image": "host"}), 422, Some("image")),
        ("/api/v1/images/pull", json!({"image": "a", "platform": "x"}), 422, Some("platform")),
        ("/api/v1/images/pull", json!({"name": "a"}), 400, Some("name")),
        ("/api/v1/images/host/tag", json!({"name": "a"}), 422, Some("image")),
        ("/api/v1/images/nothing/tag", json!({"name": "a"}), 404, None),
        ("/api/v1/images/prune", json!({"everything": true}), 400, Some("everything")),
    ] {
        let answer = api().post(path, body.to_string().into_bytes()).expect(status).json();
        assert_eq!(answer["field"].as_str(), field, "{path} {body}: {answer}");
    }
    for (name, status) in [("nothing", 404), ("host", 422)] {
        server.api().delete(&format!("/api/v1/images/{name}")).expect(status);
    }
}

#[test]
fn images_and_volumes_that_are_called_as_what_can_be_asked_are_like_any_other() {
    let Some(server) = crate::server() else { return };
    let archive = fs::read(rootfs(&server, "base")).unwrap();
    for name in ["pull", "import", "prune", "verify", "pull/history", "a/export", "tag"] {
        let named = server.api().post(&format!("/api/v1/images/import?name={name}"), archive.as_slice()).expect(201);
        let path = named.header("location").to_owned();
        assert_eq!(path, format!("/api/v1/images/{name}:latest"));
        for path in [path, format!("/api/v1/images/{}", name.replace('/', "%2F"))] {
            let image = server.api().get(&path).expect(200).json();
            assert_eq!(image["name"], format!("{name}:latest"), "{path}");
            assert_eq!(server.api().get(&format!("{path}/history")).expect(200).json().as_array().map(Vec::len), Some(1), "{path}");
            assert_eq!(server.api().get(&format!("{path}/export")).expect(200).header("content-type"), "application/x-tar", "{path}");
        }
        let tagged = server.api().post_json(&format!("/api/v1/images/{name}:latest/tag"), &json!({"name": format!("{name}:2")}));
        assert_eq!(tagged.expect(201).header("location"), format!("/api/v1/images/{name}:2"));
        assert!(belljar(&server, &["images", "inspect", name]).contains(&format!("{name}:latest")), "{name}");
        server.create(&json!({"image": name, "name": "one", "command": ["/bin/sh", "-c", ":"]}));
        server.api().delete("/api/v1/containers/one?force=true").expect(204);
        belljar(&server, &["images", "delete", &format!("{name}:2")]);
        server.api().delete(&format!("/api/v1/images/{}", name.replace('/', "%2F"))).expect(204);
        server.api().get(&format!("/api/v1/images/{name}:latest")).expect(404);
    }
    server.api().post_json("/api/v1/images/verify", &json!({})).expect(200);
    belljar(&server, &["volume", "create", "prune"]);
    assert_eq!(server.api().get("/api/v1/volumes/prune").expect(200).json()["name"], "prune");
    server.api().get("/api/v1/volumes/prune/files").expect(200);
    server.api().delete("/api/v1/volumes/prune").expect(204);
}

#[test]
fn an_image_for_another_processor_is_refused_in_words_before_anything_is_made_of_it() {
    let Some(server) = crate::server() else { return };
    let archive = fs::read(rootfs(&server, "foreign")).unwrap();
    // Nobody has an emulator of this one.
    let fake = registry_for(&archive, &json!({"Cmd": ["/bin/sh"]}), "loong64");
    let name = format!("{}/some/tiny:1", fake.host());
    belljar(&server, &["pull", "--platform", "linux/loong64", &name]);
    assert_eq!(server.api().get(&format!("/api/v1/images/{name}")).expect(200).json()["platform"], "linux/loong64");
    for command in [&["run", &name][..], &["create", "--name", "one", &name], &["run", "--pull", "never", &name, "/bin/sh"]] {
        let refused = belljar_output(&server, command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("is made for linux/loong64, and this machine is linux/"), "{said}");
        assert!(said.contains("belljar pull --platform linux/"), "{said}");
    }
    let answer = server.api().post_json("/api/v1/containers", &json!({"image": name, "command": ["/bin/sh"]})).expect(422).json();
    assert_eq!(answer["field"], "image", "{answer}");
    assert_eq!(server.api().get("/api/v1/containers").expect(200).json(), json!([]));
    // It can be kept, and handed on.
    belljar(&server, &["images", "verify", &name]);
    server.api().get(&format!("/api/v1/images/{name}/export")).expect(200);
}
