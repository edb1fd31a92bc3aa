//! Manifests, indexes and configurations that lie, are too large, or are none.

use belljar_images::registry::Kind;
use belljar_testbed::fake::{Content, Fake, Reply, digest, document};
use serde_json::{Value, json};

use crate::place::{Place, honest, layer};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a registry says whose only document is this one, under the tag `1`.
#[track_caller]
fn refuses_document(kind: &str, bytes: &[u8], words: &str) {
    let mut content = Content::default();
    content.put("manifests/1", kind, bytes);
    let fake = honest(content);
    Place::new().refuses(&format!("{}/a/b:1", fake.host()), Kind::Invalid, words);
}

#[test]
fn a_manifest_of_a_hundred_megabytes_is_not_read() {
    let fake = Fake::start(|_| Reply::ok(vec![b' '; 1 << 16]).endless().says_length(100 << 20).header("content-type", MANIFEST));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "more than 4194304 bytes");
}

#[test]
fn a_manifest_that_never_ends_is_not_read_to_the_end() {
    let fake = Fake::start(|_| Reply::ok(vec![b' '; 1 << 16]).endless().chunked().header("content-type", MANIFEST));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "more than 4194304 bytes");
}

#[test]
fn what_is_no_document_is_refused() {
    let deep = format!("{}{}", r#"{"manifests":["#.repeat(5000), "]}".repeat(5000));
    for (bytes, words) in [
        (&b"not json at all"[..], "cannot be read"),
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "neither a manifest nor an index"),
        (b"\xff\xfe{\"layers\":[]}", "cannot be read"),
        (deep.as_bytes(), "cannot be read"),
        (br#"{"schemaVersion":2,"config":{"digest":"sha256:0","size":1},"layers":[]}"#, "digest"),
        (br#"{"schemaVersion":99999999999999999999999999,"layers":[]}"#, "cannot be read"),
        (br#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#, "first schema"),
        (br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{"digest":"sha256:0","size":1}}"#, "to another"),
        (b"<html>a proxy's page</html>", "cannot be read"),
    ] {
        refuses_document(MANIFEST, bytes, words);
    }
}

#[test]
fn sizes_that_no_blob_can_have_are_refused() {
    let config = digest(b"config");
    for (size, words) in
        [("-1", "negative"), ("18446744073709551616", "cannot be read"), ("1e400", "cannot be read"), ("9223372036854775807", "limit")]
    {
        let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":{size}}},"layers":[]}}"#);
        refuses_document(MANIFEST, manifest.as_bytes(), words);
    }
    let mut content = Content::default();
    let mut manifest = content.image("1", &[layer("a", "b")]);
    manifest["layers"][0]["size"] = json!(i64::MAX);
    content.manifest("1", &manifest);
    let fake = honest(content);
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "limit");
}

/// A hostile registry does not get megabytes, or what a terminal obeys, into an error.
#[test]
fn what_an_error_quotes_is_short_and_plain() {
    let long = "x".repeat(2_000_000);
    let config = json!({"mediaType": format!("\u{1b}]0;{long}"), "digest": digest(b"c"), "size": 1});
    let platform = json!({"os": "linux\u{1b}[2J", "architecture": long});
    for manifest in [
        json!({"schemaVersion": 2, "config": config, "layers": []}),
        json!({"schemaVersion": long}),
        json!({"schemaVersion": 2, "manifests": [{"digest": digest(b"m"), "size": 1, "platform": platform}]}),
        json!({"schemaVersion": 2, "manifests": [{"digest": long, "size": 1}]}),
    ] {
        let mut content = Content::default();
        content.put("manifests/1", "application/json", &document(&manifest));
        let fake = honest(content);
        let error = Place::new().try_pull(&format!("{}/a:1", fake.host())).unwrap_err();
        let said = crate::place::chain(&error);
        assert!(said.len() < 1500 && !said.contains('\u{1b}'), "{} bytes: {:.300}", said.len(), said);
    }
}

#[test]
fn what_the_head_says_and_what_the_document_says_must_be_one_thing() {
    let index = document(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}));
    refuses_document(MANIFEST, &index, "to another");
    let config = json!({"digest": digest(b"c"), "size": 1});
    refuses_document(INDEX, &document(&json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})), "to another");
}

#[test]
fn an_empty_index_has_no_image() {
    let mut content = Content::default();
    content.put("manifests/1", INDEX, &document(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})));
    let fake = honest(content);
    Place::new().refuses(&format!("{}/a/b:1", fake.host()), Kind::NotFound, "no image");
}

#[test]
fn what_is_no_image_of_a_container_is_refused_by_its_name() {
    let blob = digest(b"chart");
    for kind in ["application/vnd.cncf.helm.config.v1+json", "application/vnd.wasm.config.v0+json", "application/vnd.oci.empty.v1+json"] {
        let artifact =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": kind, "digest": blob, "size": 5}, "layers": []});
        refuses_document(MANIFEST, &document(&artifact), kind);
    }
}

#[test]
fn layers_of_another_kind_are_refused_by_their_name() {
    for kind in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        "text/html",
    ] {
        let mut layer = layer("a", "b");
        layer.media_type = kind.to_owned();
        let mut content = Content::default();
        let mut manifest = content.image("1", &[layer]);
        manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/elsewhere"]);
        content.manifest("1", &manifest);
        let fake = honest(content);
        Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, kind);
    }
}

/// Ten indexes, each in the one before, and an index that a lying server gives as its own content.
#[test]
fn an_index_in_an_index_and_one_that_pretends_to_hold_itself_come_to_an_end() {
    let mut content = Content::default();
    let mut inner = content.image("image", &[layer("a", "b")]);
    for _ in 0..10 {
        let described = content.manifest("inner", &inner);
        inner = json!({"schemaVersion": 2, "manifests": [described]});
    }
    content.manifest("deep", &inner);
    let fake = honest(content);
    Place::new().refuses(&format!("{}/a:deep", fake.host()), Kind::Invalid, "more than 4 deep");

    let own = digest(b"itself");
    let index = document(&json!({"schemaVersion": 2, "manifests": [{"mediaType": INDEX, "digest": own, "size": 0}]}));
    let size = index.len();
    let index = String::from_utf8(index).unwrap().replace("\"size\":0", &format!("\"size\":{}", size + 2)).into_bytes();
    let fake = Fake::start(move |_| Reply::ok(index.clone()).header("content-type", INDEX));
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "should have");
    assert!(fake.requests().len() <= 3, "it was followed: {:?}", fake.requests());
}

#[test]
fn another_manifest_than_was_asked_for_is_refused() {
    let mut content = Content::default();
    let manifest = document(&content.image("1", &[layer("a", "b")]));
    let other = digest(b"what was asked for");
    content.put(&format!("manifests/{other}"), MANIFEST, &manifest);
    let fake = honest(content.clone());
    Place::new().refuses(&format!("{}/a@{other}", fake.host()), Kind::Invalid, &other);
    let fake = Fake::start(move |request| match request.path.contains("/manifests/") {
        true => Reply::ok(manifest.clone()).header("content-type", MANIFEST).header("docker-content-digest", &other),
        false => content.reply(request),
    });
    Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "should have the digest");
}

/// An image whose configuration is `change`d, honestly described.
fn with_config(change: impl Fn(&mut Value)) -> Content {
    let layer = layer("a", "b");
    let mut config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}});
    change(&mut config);
    let mut content = Content::default();
    content.blob(&layer.blob);
    let described = content.config(&config);
    content.manifest("1", &json!({"schemaVersion": 2, "config": described, "layers": [layer.descriptor()]}));
    content
}

/// What is changed, whose fault that is, and the words that say so.
type Change = (fn(&mut Value), Kind, &'static str);

#[test]
fn a_configuration_that_is_none_is_refused() {
    let changes: [Change; 5] = [
        (|config| *config = json!([]), Kind::Invalid, "configuration"),
        (|config| config["rootfs"]["diff_ids"] = json!([]), Kind::Invalid, "0 layers"),
        (|config| config["rootfs"]["diff_ids"] = json!(["sha256:../../etc"]), Kind::Invalid, "diff_ids"),
        (|config| config["config"] = json!({"Env": 3}), Kind::Invalid, "configuration"),
        (|config| config["os"] = json!("windows"), Kind::NotFound, "windows/amd64"),
    ];
    for (change, kind, words) in changes {
        let fake = honest(with_config(change));
        Place::new().refuses(&format!("{}/a:1", fake.host()), kind, words);
    }
}

#[test]
fn a_configuration_of_another_size_or_content_is_refused() {
    let content = with_config(|_| {});
    for (longer, words) in [(true, "bytes and has"), (false, "should have the digest")] {
        let content = content.clone();
        let fake = Fake::start(move |request| {
            let reply = content.reply(request);
            if !request.path.contains("/blobs/") {
                return reply;
            }
            let whole = String::from_utf8(reply.body().to_vec()).unwrap();
            reply.with_body(if longer { whole + " " } else { whole.replace("linux", "Linux") })
        });
        Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, words);
    }
}

#[test]
fn what_is_not_there_is_told_by_what_was_asked() {
    let content = Content::of("1", &[layer("a", "b")]);
    let fake = honest(content);
    let place = Place::new();
    place.refuses(&format!("{}/nginx:9.9", fake.host()), Kind::NotFound, "there is no 9.9 in nginx");
    let nobody = Fake::start(|_| Reply::error(404, "NAME_UNKNOWN"));
    place.refuses(&format!("{}/nginx:9.9", nobody.host()), Kind::NotFound, "there is no repository nginx");
    let missing = digest(b"nowhere");
    place.refuses(&format!("{}/nginx@{missing}", fake.host()), Kind::NotFound, &missing);
}

#[test]
fn a_blob_that_the_registry_lacks_is_the_registrys_fault() {
    for lacks in ["config", "layer"] {
        let content = Content::of("1", &[layer("a", "b")]);
        let fake = Fake::start(move |request| {
            let reply = content.reply(request);
            let is_layer = reply.body().starts_with(&[0x1f, 0x8b]);
            if request.path.contains("/blobs/") && is_layer == (lacks == "layer") { Reply::error(404, "BLOB_UNKNOWN") } else { reply }
        });
        Place::new().refuses(&format!("{}/a:1", fake.host()), Kind::Invalid, "does not have");
    }
}
