//! The same for images: whatever a server was doing to them when it was gone, the next one has each image whole or not at all, the
//! folder holds nothing that no image has, and no container stays frozen.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use belljar_testbed::fake::{Content, Fake, Layer, digest};
use belljar_testbed::server::rows;
use belljar_testbed::{Server, Traces, wait_until};
use serde_json::{Value, json};

use super::{CRASHED, Doomed};

/// Kind of a layer that is not compressed.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A program that shows whether it goes on, by a number that grows.
const COUNTING: &str = "i=0; while :; do i=$((i+1)); echo $i > /count; /bin/sleep 0.01; done";

/// A root file system with a shell, and a file of this content.
fn rootfs(server: &Server, word: &str) -> Vec<u8> {
    let folder = server.scratch(word);
    let script = format!(
        "mkdir -p bin etc; cp /bin/sh /bin/sleep bin/; for l in $(ldd /bin/sh /bin/sleep | grep -o '/[^ :]*'); do mkdir -p .${{l%/*}}; cp $l .$l; done; \
         echo {word} > etc/where; tar -cf ../{word}.tar ."
    );
    assert!(Command::new("sh").args(["-c", &script]).current_dir(&folder).status().unwrap().success());
    fs::read(folder.with_file_name(format!("{word}.tar"))).unwrap()
}

fn import(server: &Server, name: &str, archive: &[u8]) {
    server.api().post(&format!("/api/v1/images/import?name={name}"), archive).expect(201);
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Names of all images but the host's, as they are listed.
fn listed(server: &Server) -> Vec<String> {
    let images = rows(&server.api().get("/api/v1/images").expect(200).json());
    images.iter().map(|image| image["name"].as_str().unwrap().to_owned()).filter(|name| name != "host").collect()
}

/// What the folder holds is what the images have, every byte of it is right, and nothing half-done lies there.
#[track_caller]
fn assert_whole(server: &Server, place: &str) {
    let folder = server.data_dir().join("images");
    let mut layers = BTreeSet::new();
    for name in listed(server) {
        let image = server.api().get(&format!("/api/v1/images/{name}")).expect(200).json();
        layers.extend(
            image["layers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|layer| layer["diff_id"].as_str().unwrap().trim_start_matches("sha256:").to_owned()),
        );
    }
    assert_eq!(names(&folder.join("layers")), layers, "{place}: the layers of the images, and no other");
    assert_eq!(names(&folder.join("skeletons")), layers, "{place}: and what is known of each");
    assert_eq!(names(&folder.join("tmp")), BTreeSet::new(), "{place}");
    let verified = server.api().post_json("/api/v1/images/verify", &json!({})).expect(200).json();
    assert_eq!(verified["damages"], json!([]), "{place}: {verified}");
}

/// What is asked of a server that is gone before it answers.
struct Asked<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a [u8],
}

/// Crashes at each place while something is asked of a server that `prepare` made ready, looks at what is left, and then does the same
/// without a crash: whatever was left does not stand in the way.
fn crash_at_each(places: &[&str], asked: &Asked<'_>, prepare: &dyn Fn(&Server), check: &dyn Fn(&Server, &str)) {
    let Some(mut server) = super::server() else { return };
    let before = server.traces();
    for place in places {
        prepare(&server);
        assert!(server.stop().success());
        let status = Doomed::start(&server, place).ask_with(asked.method, asked.path, asked.body.to_vec());
        assert_eq!(status.code(), Some(CRASHED), "{place} was not passed");
        server.start_again();
        assert_whole(&server, place);
        check(&server, place);
        remove_all(&server, &before);
    }
}

fn remove_all(server: &Server, before: &Traces) {
    for container in rows(&server.api().get("/api/v1/containers").expect(200).json()) {
        server.api().delete(&format!("/api/v1/containers/{}?force=true", container["id"].as_str().unwrap())).expect(204);
    }
    server.api().post_json("/api/v1/images/prune", &json!({"all": true})).expect(200);
    server.assert_nothing_left(before);
}

/// Places that everything passes that brings a layer, in order; a row is there from the last one on.
const COMING: [&str; 6] = ["layer.half", "layer.staged", "layer.skeleton_placed", "layer.placed", "image.layers", "image.row"];

/// An image is listed from the moment on at which its row is written, and what is listed is a whole image.
fn is_there_from_its_row_on(server: &Server, place: &str, expected: &str) {
    let expected = if place == "image.row" { vec![expected.to_owned()] } else { Vec::new() };
    assert_eq!(listed(server), expected, "{place}");
}

#[test]
fn a_crash_while_an_archive_comes_in_leaves_an_image_or_nothing() {
    let Some(scratch) = super::server() else { return };
    let archive = rootfs(&scratch, "base");
    let asked = Asked { method: "POST", path: "/api/v1/images/import?name=base", body: &archive };
    crash_at_each(&COMING, &asked, &|_| (), &|server, place| {
        is_there_from_its_row_on(server, place, "base:latest");
        if place != "image.row" {
            import(server, "base", &archive);
        }
        server.create(&json!({"image": "base", "name": "one", "command": ["/bin/sh", "-c", "read w < /etc/where; echo it is $w"]}));
        server.wait_for_log("one", "it is base");
    });
}

#[test]
fn a_crash_while_an_image_is_pulled_leaves_an_image_or_nothing() {
    let Some(scratch) = super::server() else { return };
    let layers = ["lower", "upper"].map(|word| {
        let archive = rootfs(&scratch, word);
        Layer::new(&archive, archive.as_slice(), LAYER)
    });
    let content = Content::of("1", &layers);
    let fake = Fake::start(move |request| content.reply(request));
    let name = format!("{}/some/image:1", fake.host());
    let body = json!({"image": name}).to_string().into_bytes();
    let asked = Asked { method: "POST", path: "/api/v1/images/pull", body: &body };
    crash_at_each(&COMING, &asked, &|_| (), &|server, place| {
        is_there_from_its_row_on(server, place, &name);
        server.create(
            &json!({"image": name, "pull": "missing", "name": "one", "command": ["/bin/sh", "-c", "read w < /etc/where; echo it is $w"]}),
        );
        server.wait_for_log("one", "it is upper");
    });
}

#[test]
fn a_server_killed_in_the_middle_of_a_layer_leaves_nothing_of_it_and_the_next_pull_is_whole() {
    let Some(mut server) = super::server() else { return };
    let archive = rootfs(&server, "big");
    let layer = Layer::new(&archive, archive.as_slice(), LAYER);
    let (content, half) = (Content::of("1", std::slice::from_ref(&layer)), archive.len() / 2);
    let blob = format!("/blobs/{}", digest(&archive));
    let fake = Fake::start(move |request| {
        let reply = content.reply(request);
        if request.path.ends_with(&blob) && request.earlier == 0 { reply.stall_after(half) } else { reply }
    });
    let name = format!("{}/some/image:1", fake.host());
    let before = server.traces();
    let api = server.api().with("content-type", "application/json");
    let body = json!({"image": name}).to_string().into_bytes();
    let pull = std::thread::spawn(move || drop(api.try_send("POST", "/api/v1/images/pull", body)));
    wait_until("half of it is unpacked", || {
        let unpacked = names(&server.data_dir().join("images/tmp"));
        (unpacked.len() >= 2).then_some(())
    });
    server.kill_hard();
    pull.join().unwrap();
    server.start_again();
    assert_whole(&server, "the middle of a layer");
    server.assert_nothing_left(&before);
    server.api().post_json("/api/v1/images/pull", &json!({"image": name})).expect(200);
    assert_eq!(listed(&server), [name]);
    assert_whole(&server, "the second pull");
}

/// A container that counts, made of an image.
fn counting(server: &Server, archive: &[u8]) {
    import(server, "base", archive);
    server.create(&json!({"image": "base", "name": "work", "command": ["/bin/sh", "-c", COUNTING]}));
}

/// The number that it has come to.
fn count(server: &Server) -> u64 {
    let id = server.container("work")["id"].as_str().unwrap().to_owned();
    let text = fs::read_to_string(server.data_dir().join("containers").join(id).join("upper/count")).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

#[track_caller]
fn assert_goes_on(server: &Server, place: &str) {
    assert_eq!(server.container("work")["state"], "running", "{place}");
    let seen = count(server);
    wait_until(&format!("it goes on ({place})"), || (count(server) > seen).then_some(()));
}

#[test]
fn a_crash_in_the_middle_of_a_commit_leaves_no_container_frozen_and_an_image_or_nothing() {
    let Some(scratch) = super::server() else { return };
    let archive = rootfs(&scratch, "base");
    let body = json!({"name": "made:1"}).to_string().into_bytes();
    let asked = Asked { method: "POST", path: "/api/v1/containers/work/commit", body: &body };
    let own = ["commit.marked", "commit.frozen", "commit.packed", "commit.let_go"];
    let places = [&own[..], &COMING[1..]].concat();
    crash_at_each(&places, &asked, &|server| counting(server, &archive), &|server, place| {
        assert_goes_on(server, place);
        let told = server.event_kinds("work").last().map(String::as_str) == Some("resumed");
        let was_frozen = matches!(place, "commit.frozen" | "commit.packed" | "layer.staged");
        assert_eq!(told, was_frozen, "{place}: {:?}", server.event_kinds("work"));
        let mut expected = vec!["base:latest"];
        if place == "image.row" {
            expected.push("made:1");
        }
        assert_eq!(listed(server), expected, "{place}");
        server.api().post_json("/api/v1/containers/work/commit", &json!({"name": "made:2"})).expect(201);
        assert_goes_on(server, place);
        assert_whole(server, place);
    });
}

#[test]
fn a_container_that_a_person_paused_stays_so_whatever_is_committed() {
    let Some(mut server) = super::server() else { return };
    let archive = rootfs(&server, "base");
    counting(&server, &archive);
    server.act("work", "pause");
    server.api().post_json("/api/v1/containers/work/commit", &json!({"name": "made:1"})).expect(201);
    assert_eq!(server.container("work")["state"], "paused");
    assert!(server.stop().success());
    let body = json!({"name": "made:2"});
    let status = Doomed::start(&server, "commit.packed").ask("POST", "/api/v1/containers/work/commit", &body);
    assert_eq!(status.code(), Some(CRASHED));
    server.start_again();
    assert_eq!(server.container("work")["state"], "paused");
    server.act("work", "resume");
    assert_goes_on(&server, "resumed");
}

#[test]
fn a_crash_while_names_and_images_go_leaves_each_with_all_of_its_layers_or_gone() {
    let Some(scratch) = super::server() else { return };
    let (first, second) = (rootfs(&scratch, "first"), rootfs(&scratch, "second"));
    let prepare = |server: &Server| {
        import(server, "first", &first);
        import(server, "second", &second);
    };
    let going = ["image.layers", "image.row", "layer.put_aside", "layer.tree_removed", "image.layer_removed"];
    let delete = Asked { method: "DELETE", path: "/api/v1/images/first", body: b"" };
    crash_at_each(&going, &delete, &prepare, &|server, place| {
        let left: &[&str] = if place == "image.layers" { &["first:latest", "second:latest"] } else { &["second:latest"] };
        assert_eq!(listed(server), left, "{place}");
    });
    let prune = Asked { method: "POST", path: "/api/v1/images/prune", body: br#"{"all": true}"# };
    crash_at_each(&going, &prune, &prepare, &|server, place| {
        let left: &[&str] = if place == "image.layers" { &["first:latest", "second:latest"] } else { &[] };
        assert_eq!(listed(server), left, "{place}");
    });
    // A name that goes over to another image takes the one that loses it along.
    let tag = Asked { method: "POST", path: "/api/v1/images/second/tag", body: br#"{"name": "first"}"# };
    crash_at_each(&going, &tag, &prepare, &|server, place| {
        assert_eq!(listed(server), ["first:latest", "second:latest"], "{place}");
        let of = |name: &str| server.api().get(&format!("/api/v1/images/{name}")).expect(200).json()["digest"].clone();
        assert_eq!(of("first") == of("second"), place != "image.layers", "{place}");
    });
}

#[test]
fn a_server_killed_while_it_exports_leaves_everything_as_it_was() {
    let Some(mut server) = super::server() else { return };
    let archive = rootfs(&server, "base");
    import(&server, "base", &archive);
    let before: Value = server.api().get("/api/v1/images/base").expect(200).json();
    // A reader that takes the head of the answer and no more.
    let mut export = Command::new(super::EXECUTABLE);
    export.args(["images", "export", "base"]).env("BELLJAR_SOCKET", server.socket());
    let mut export = export.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut head = [0; 512];
    std::io::Read::read_exact(export.stdout.as_mut().unwrap(), &mut head).unwrap();
    server.kill_hard();
    drop(export.stdout.take());
    assert!(!export.wait().unwrap().success());
    server.start_again();
    assert_whole(&server, "an export");
    assert_eq!(server.api().get("/api/v1/images/base").expect(200).json(), before);
}
