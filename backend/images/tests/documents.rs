//! What manifests, indexes and configurations may say, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

use belljar_images::Digest;
use belljar_images::config::{Configuration, DOCUMENT_BYTES_MAX, Document, DocumentError, host_platform, layer_info};
use belljar_model::image::{Contents, Platform};
use serde_json::{Value, json};

fn digest(byte: u8) -> String {
    Digest::new([byte; 32]).to_string()
}

fn manifest() -> Value {
    json!({"schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(1), "size": 7},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(2), "size": 9}]})
}

fn index(platforms: &[(&str, &str)]) -> Value {
    let one = |(number, (architecture, variant)): (usize, &(&str, &str))| {
        let variant = if variant.is_empty() { Value::Null } else { json!(variant) };
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(number as u8), "size": 1,
            "platform": {"os": "linux", "architecture": architecture, "variant": variant}})
    };
    json!({"schemaVersion": 2, "manifests": platforms.iter().enumerate().map(one).collect::<Vec<_>>()})
}

fn parse(document: &Value) -> Result<Document, DocumentError> {
    Document::parse(document.to_string().as_bytes(), None)
}

/// The error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {source}"))
}

#[track_caller]
fn refuses(document: &Value, words: &str) {
    let error = parse(document).expect_err(words);
    assert!(told(&error).contains(words), "{} does not say {words:?}", told(&error));
}

fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[key] = value;
    document
}

#[test]
fn a_manifest_is_read_in_ocis_words_and_in_dockers() {
    let Document::Manifest(oci) = parse(&manifest()).unwrap() else { panic!("an index") };
    assert_eq!((oci.config.digest.to_string(), oci.layers[0].size_bytes), (digest(1), 9));
    let docker = json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest(1), "size": 7},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": digest(2), "size": 9}]});
    let Document::Manifest(docker) = parse(&docker).unwrap() else { panic!("an index") };
    assert_eq!(docker.layers[0].digest, oci.layers[0].digest);
}

#[test]
fn what_is_a_manifest_to_one_reader_and_an_index_to_another_is_refused() {
    let both = with(manifest(), "/manifests", index(&[("amd64", "")])["manifests"].clone());
    refuses(&both, "to one reader");
    refuses(&with(manifest(), "/mediaType", json!("application/vnd.oci.image.index.v1+json")), "to one reader");
    refuses(&with(index(&[]), "/mediaType", json!("application/vnd.oci.image.manifest.v1+json")), "to one reader");
    refuses(&with(index(&[("amd64", "")]), "/layers", json!([])), "to one reader");
    let parsed = Document::parse(manifest().to_string().as_bytes(), Some("application/vnd.oci.image.index.v1+json; charset=utf-8"));
    assert!(parsed.is_err(), "by the Content-Type it is an index");
    refuses(&with(manifest(), "/fsLayers", json!([])), "first schema");
    refuses(&json!({"schemaVersion": 1}), "first schema");
    refuses(&json!({"schemaVersion": 2}), "neither");
    refuses(&json!({"schemaVersion": 3}), "schemaVersion");
}

#[test]
fn manifests_of_something_else_and_lies_about_size_and_digest_are_refused() {
    refuses(&with(manifest(), "/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")), "no image of a container");
    refuses(&with(manifest(), "/layers/0/mediaType", json!("application/wasm")), "a kind that is not known");
    refuses(&with(manifest(), "/layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")), "not known");
    refuses(&with(manifest(), "/layers/0/size", json!(-1)), "negative");
    refuses(&with(manifest(), "/layers/0/size", json!(1e300)), "cannot be read");
    refuses(&with(manifest(), "/config/size", json!(DOCUMENT_BYTES_MAX + 1)), "bytes, which is the limit");
    for wrong in ["", "sha256:", "sha512:00", "sha256:../../../etc/passwd", &digest(1).to_uppercase(), &format!("{}0", digest(1))] {
        refuses(&with(manifest(), "/layers/0/digest", json!(wrong)), "is not sha256");
    }
}

#[test]
fn documents_beyond_every_limit_are_refused() {
    let layer = manifest()["layers"][0].clone();
    refuses(&with(manifest(), "/layers", json!(vec![layer.clone(); 501])), "500 layers");
    assert!(parse(&with(manifest(), "/layers", json!(vec![layer; 500]))).is_ok());
    refuses(&index(&vec![("amd64", ""); 1001]), "1000 manifests");
    let long = " ".repeat(DOCUMENT_BYTES_MAX as usize) + &manifest().to_string();
    assert!(told(&Document::parse(long.as_bytes(), None).unwrap_err()).contains("limit"));
    let deep = format!("{{\"annotations\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Document::parse(deep.as_bytes(), None).is_err(), "and the stack holds");
    for rubbish in ["", "null", "[]", "{", "\0", "{\"config\":{},\"config\":{}}", "{\"layers\":[1]}"] {
        assert!(Document::parse(rubbish.as_bytes(), None).is_err() && Configuration::parse(rubbish.as_bytes()).is_err(), "{rubbish}");
    }
}

#[test]
fn of_several_platforms_the_one_that_runs_best_here_is_chosen() {
    let chosen = |platforms: &[(&str, &str)], architecture: &str, variant: Option<&str>| {
        let Document::Index(index) = parse(&index(platforms)).unwrap() else { panic!("a manifest") };
        let wanted = Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.map(str::to_owned) };
        index.choose(&wanted).map(|chosen| chosen.digest).ok()
    };
    let number = |number: u8| Some(Digest::new([number; 32]));
    assert_eq!(chosen(&[("arm64", ""), ("amd64", "v3"), ("amd64", "")], "amd64", None), number(2));
    assert_eq!(chosen(&[("arm64", ""), ("arm64", "v8")], "arm64", Some("v8")), number(1));
    assert_eq!(chosen(&[("arm", "v5"), ("arm", "v6"), ("arm", "v8")], "arm", Some("v7")), number(1));
    assert_eq!(chosen(&[("amd64", "v3")], "amd64", None), None, "this processor may not run it");
    assert_eq!(chosen(&[("s390x", "")], "amd64", None), None);
    assert_eq!(host_platform().os, "linux");
}

#[test]
fn what_only_speaks_about_another_manifest_is_never_chosen() {
    let mut document = index(&[("amd64", "")]);
    document["manifests"][0]["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let Document::Index(index) = parse(&document).unwrap() else { panic!("a manifest") };
    let wanted = Platform { os: "linux".into(), architecture: "amd64".into(), variant: None };
    assert!(index.choose(&wanted).unwrap_err().to_string().contains("no image at all"));
}

fn image(config: Value) -> Value {
    json!({"architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(1), digest(2)]}})
}

fn contents(document: &Value) -> Contents {
    let parsed = Configuration::parse(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{}", told(&error)));
    let layers = parsed.diff_ids.iter().map(|diff_id| layer_info(diff_id, None, (1, 2))).collect();
    parsed.contents(layers)
}

#[track_caller]
fn refuses_image(config: Value, words: &str) {
    let error = Configuration::parse(image(config).to_string().as_bytes()).expect_err(words);
    assert!(told(&error).contains(words), "{} does not say {words:?}", told(&error));
}

#[test]
fn everything_that_an_image_says_arrives() {
    let mut document =
        image(json!({"User": "web:www", "Env": ["A=1", "B=x=y", "A=2", "C", "=no"], "Entrypoint": ["/init"], "Cmd": ["run", ""],
        "WorkingDir": "srv", "Volumes": {"/data": {}, "logs": {}}, "ExposedPorts": {"80/tcp": {}, "8000-8010/udp": {}, "x": {}, "0": {}},
        "StopSignal": "SIGQUIT", "Labels": {"k": "v"}, "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost"],
        "Interval": 5_000_000_000_u64, "Timeout": 1, "Retries": 2}, "ArgsEscaped": true, "OnBuild": null}));
    document["created"] = json!("2024-01-02T03:04:05.678901234Z");
    document["history"] = json!([{"created_by": "first"}, {"created_by": "ENV", "empty_layer": true}, {"created_by": "second"}]);
    let contents = contents(&document);
    let config = &contents.config;
    assert_eq!((contents.made_at_ms, contents.history.len()), (Some(1_704_164_645_678), 3));
    assert_eq!(
        (config.user.as_deref(), config.workdir.as_deref(), config.stop_signal.as_deref()),
        (Some("web:www"), Some("/srv"), Some("SIGQUIT"))
    );
    let env: Vec<(&str, &str)> = config.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", "2"), ("B", "x=y"), ("C", "")]);
    assert_eq!((config.entrypoint.join(" "), config.command.clone()), ("/init".into(), vec!["run".to_owned(), String::new()]));
    assert_eq!(config.volumes.iter().map(String::as_str).collect::<Vec<_>>(), ["/data", "/logs"]);
    assert_eq!(config.exposed_ports.iter().map(String::as_str).collect::<Vec<_>>(), ["80/tcp", "8000-8010/udp"]);
    assert_eq!(contents.layers.iter().map(|layer| layer.command.as_deref()).collect::<Vec<_>>(), [Some("first"), Some("second")]);
    let health = config.health.as_ref().unwrap();
    assert_eq!(health.command, ["/bin/sh", "-c", "curl -f http://localhost"]);
    assert_eq!((health.interval_ms, health.timeout_ms, health.retries, health.start_period_ms), (5000, 1, 2, 0));
    assert_eq!(health.check("health"), Ok(()));
}

#[test]
fn nulls_and_what_is_missing_say_nothing() {
    let nulls = json!({"User": "", "Env": null, "Entrypoint": null, "Cmd": null, "WorkingDir": "", "Volumes": null, "Labels": null});
    for document in [image(nulls), image(Value::Null)] {
        assert_eq!(contents(&document).config, belljar_model::image::ImageConfig::default());
    }
    let mut old = image(Value::Null);
    old["created"] = json!("0001-01-01T00:00:00Z");
    assert_eq!(contents(&old).made_at_ms, None, "the zero of the language that most tools are written in");
}

#[test]
fn a_health_check_is_none_a_command_or_a_shells() {
    let health = |test: Value| contents(&image(json!({"Healthcheck": {"Test": test}, "Shell": ["/bin/ash", "-c"]}))).config.health;
    assert_eq!(health(json!([])), None);
    assert_eq!(health(json!(["NONE"])).unwrap().command, Vec::<String>::new());
    assert_eq!(health(json!(["CMD", "a", "b"])).unwrap().command, ["a", "b"]);
    assert_eq!(health(json!(["CMD-SHELL", "a"])).unwrap().command, ["/bin/ash", "-c", "a"]);
    for wrong in [json!(["CMD"]), json!(["curl", "x"]), json!(["CMD-SHELL"]), json!([""])] {
        refuses_image(json!({"Healthcheck": {"Test": wrong}}), "health check");
    }
    let times = json!({"Test": ["CMD", "x"], "Interval": i64::MAX, "Timeout": -5, "StartPeriod": i64::MIN, "StartInterval": 1, "Retries": i64::MAX});
    let health = contents(&image(json!({"Healthcheck": times}))).config.health.unwrap();
    assert_eq!(health.check("health"), Ok(()), "{health:?}");
}

#[test]
fn what_no_program_can_be_given_is_refused() {
    let long = "x".repeat(131_072);
    for (config, words) in [
        (json!({"Cmd": ["a\0b"]}), "NUL"),
        (json!({"Entrypoint": ["\0"]}), "NUL"),
        (json!({"Env": ["A=\0"]}), "NUL"),
        (json!({"User": "root\0"}), "NUL"),
        (json!({"WorkingDir": "/a\0"}), "NUL"),
        (json!({"Volumes": {"/a\0": {}}}), "NUL"),
        (json!({"Labels": {"a": "\0"}}), "NUL"),
        (json!({"StopSignal": "\0"}), "NUL"),
        (json!({"Volumes": {"/../../canary": {}}}), "`..`"),
        (json!({"Volumes": {"..": {}}}), "`..`"),
        (json!({"WorkingDir": "/d".repeat(3000)}), "4095"),
        (json!({"Cmd": [long]}), "131071"),
        (json!({"Cmd": vec!["x"; 4097]}), "4096 arguments"),
        (json!({"Env": vec!["x"; 4097]}), "4096 variables"),
        (json!({"Env": vec!["x".repeat(100_000); 20]}), "bytes of arguments"),
        (json!({"Cmd": "a string"}), "cannot be read"),
        (json!({"Volumes": ["/a"]}), "cannot be read"),
        (json!({"Labels": (0..5000).map(|number| (number.to_string(), "x")).collect::<std::collections::BTreeMap<_, _>>()}), "4096 labels"),
    ] {
        refuses_image(config, words);
    }
}

#[test]
fn a_history_without_end_and_layers_that_contradict_the_manifest_are_refused() {
    let refuses = |document: &Value, words: &str| {
        let error = Configuration::parse(document.to_string().as_bytes()).expect_err(words);
        assert!(told(&error).contains(words), "{}", told(&error));
    };
    refuses(&with(image(json!({})), "/history", json!(vec![json!({}); 10_001])), "10000 lines");
    assert!(Configuration::parse(with(image(json!({})), "/history", json!(vec![json!({}); 10_000])).to_string().as_bytes()).is_ok());
    refuses(&with(image(json!({})), "/rootfs/type", json!("magic")), "layers");
    refuses(&with(image(json!({})), "/rootfs/diff_ids", json!(vec![digest(1); 501])), "500 layers");
    refuses(&with(image(json!({})), "/rootfs/diff_ids", json!(["sha256:x"])), "no digest");
    let Document::Manifest(manifest) = parse(&manifest()).unwrap() else { panic!("an index") };
    let two = Configuration::parse(image(json!({})).to_string().as_bytes()).unwrap();
    assert!(two.check(&manifest).unwrap_err().to_string().contains("2 layers, and the manifest of 1"));
}
