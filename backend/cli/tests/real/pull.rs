//! Pulling from a real registry: by tag and digest, every kind of layer, and what happens when two want the same, or when the
//! registry goes away in the middle.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use belljar_testbed::Server;
use belljar_testbed::place::succeeded;
use belljar_testbed::registry::{ACCOUNT, Access, Registry};
use serde_json::Value;

use crate::bed::{bed, call, command, image, output, refused, server};
use crate::fixtures;
use crate::gate::Gate;

/// What a child that was started wrote; panics unless it succeeded.
#[track_caller]
fn ended(what: &str, child: Child) -> String {
    succeeded(what, &child.wait_with_output().expect("a child can be waited for"))
}

/// What skopeo says that an image's digest is: the one of its manifest.
fn manifest_digest(name: &str) -> String {
    crate::skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")])
}

#[test]
fn an_image_is_pulled_by_tag_and_then_by_digest_without_a_byte_of_its_layers() {
    let Some(bed) = bed() else { return };
    let name = bed.pull("nginx:1");
    let told = image(&bed.server, &name);
    let digest = manifest_digest(&name);
    assert_eq!(told["manifest_digest"], digest, "{told}");
    let config: Value =
        serde_json::from_str(&crate::skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")])).unwrap();
    assert_eq!(told["digest"], config["config"]["digest"], "an image is its configuration: {told}");
    let blobs = bed.blobs("nginx:1");
    let fetched: Vec<usize> = blobs.iter().map(|blob| bed.fetched(blob)).collect();
    assert_eq!(fetched, [1, 1, 1]);
    let by_digest = format!("{}/nginx@{digest}", bed.registry.address());
    bed.call(&["images", "pull", &by_digest]);
    assert_eq!(image(&bed.server, &by_digest)["digest"], told["digest"]);
    assert_eq!(blobs.iter().map(|blob| bed.fetched(blob)).sum::<usize>(), 3, "they were here");
}

#[test]
fn a_layer_of_several_images_is_fetched_and_kept_once() {
    let Some(bed) = bed() else { return };
    for name in ["nginx:1", "nginx:docker", "redis:1", "debian:many", "debian:1"] {
        bed.pull(name);
    }
    let debian = bed.blobs("debian:1").remove(0);
    assert_eq!(bed.fetched(&debian), 1);
    assert_eq!(bed.blobs("nginx:docker"), bed.blobs("nginx:1"), "Docker's media types name the same blobs");
    // Debian, two of nginx, two of redis; the same blob uncompressed is the same layer.
    let layers = || std::fs::read_dir(bed.server.data_dir().join("images/layers")).expect("the folder of layers").count();
    assert_eq!(layers(), 5);
    bed.pull("debian:plain");
    assert_eq!(layers(), 5);
    let lowest = |name: &str| image(&bed.server, &bed.name(name))["layers"][0]["diff_id"].clone();
    assert_eq!(lowest("debian:plain"), lowest("redis:1"));
}

#[test]
fn of_several_architectures_ours_is_taken() {
    let Some(bed) = bed() else { return };
    let name = bed.pull("debian:many");
    let ours = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let told = image(&bed.server, &name);
    assert_eq!(told["config"]["labels"]["org.example.architecture"], ours, "{told}");
}

#[test]
fn layers_of_zstd_and_without_compression_hold_what_they_should() {
    let Some(bed) = bed() else { return };
    let plain = bed.name("debian:plain");
    assert!(bed.call(&["run", "--rm", &plain, "cat", "/etc/os-release"]).contains("Debian"));
    let redis = bed.name("redis:1");
    let version = bed.call(&["run", "--rm", &redis, "--", "--version"]);
    assert!(version.contains("Redis server v="), "{version}");
}

#[test]
fn two_pulls_of_one_image_at_once_are_one() {
    let Some(bed) = bed() else { return };
    let name = bed.name("postgres:1");
    let pulls: Vec<Child> = (0..3).map(|_| bed.begin_pull(&name)).collect();
    for pull in pulls {
        ended("a pull", pull);
    }
    for blob in bed.blobs("postgres:1") {
        assert_eq!(bed.fetched(&blob), 1, "{blob}");
    }
}

#[test]
fn a_registry_that_is_killed_in_the_middle_and_comes_back_is_asked_for_the_rest() {
    let Some(mut bed) = bed() else { return };
    let blob = bed.blobs("postgres:1").remove(1);
    let whole: u64 = std::fs::metadata(bed.registry.storage().join(format!(
        "docker/registry/v2/blobs/sha256/{}/{}/data",
        &blob["sha256:".len()..][..2],
        &blob["sha256:".len()..]
    )))
    .expect("the blob")
    .len();
    let gate = Gate::before(bed.registry.address(), 60 << 20);
    let name = format!("{}/postgres:1", gate.address());
    let pull = bed.begin_pull(&name);
    gate.wait_until_it_holds();
    bed.registry.kill();
    bed.registry.start_again();
    gate.open();
    ended("the pull", pull);
    assert!(bed.registry.answers("GET", &format!("/blobs/{blob}")).contains(&206), "{}", bed.registry.log());
    // What was in flight came twice; the rest did not.
    let debian = 40 << 20;
    assert!(gate.passed() < whole + debian, "{} bytes of a layer of {whole}", gate.passed());
    assert!(bed.call(&["run", "--rm", "--entrypoint", "postgres", &name, "--", "--version"]).starts_with("postgres (PostgreSQL)"));
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_pull_has_no_half_layers_and_can_begin_again() {
    let Some(mut bed) = bed() else { return };
    let gate = Gate::before(bed.registry.address(), 60 << 20);
    let name = format!("{}/postgres:1", gate.address());
    let pull = bed.begin_pull(&name);
    gate.wait_until_it_holds();
    bed.server.kill_hard();
    let output = pull.wait_with_output().expect("a child can be waited for");
    assert!(!output.status.success(), "{output:?}");
    bed.server.start_again();
    let listed = bed.call(&["images", "list"]);
    assert!(!listed.contains("postgres"), "{listed}");
    bed.call(&["images", "verify"]);
    gate.open();
    bed.call(&["images", "pull", &name]);
    bed.call(&["images", "verify"]);
    assert!(bed.call(&["run", "--rm", "--entrypoint", "postgres", &name, "--", "--version"]).starts_with("postgres (PostgreSQL)"));
}

#[test]
fn the_progress_of_a_pull_is_told_layer_by_layer() {
    let Some(bed) = bed() else { return };
    let body = format!("{{\"image\": \"{}\"}}", bed.name("nginx:1"));
    let mut stream = UnixStream::connect(bed.server.socket()).expect("the server listens");
    let head = "POST /api/v1/images/pull HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("it reads");
    let mut text = String::new();
    BufReader::new(stream).read_to_string(&mut text).expect("it answers in text");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let lines: Vec<Value> =
        text.as_bytes().lines().filter_map(|line| serde_json::from_str(&line.ok()?).ok()).filter(Value::is_object).collect();
    let last = lines.last().expect("it tells something");
    assert_eq!((&last["state"]["state"], &last["name"]), (&"done".into(), &bed.name("nginx:1").into()), "{last}");
    assert!(lines[0]["state"]["state"] != "done", "the first says how it begins: {}", lines[0]);
    let layers = last["layers"].as_array().expect("layers");
    let digests: Vec<String> = layers.iter().map(|layer| layer["digest"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(digests, bed.blobs("nginx:1"));
    for layer in layers {
        assert_eq!((&layer["state"], &layer["received_bytes"]), (&"done".into(), &layer["total_bytes"]), "{layer}");
    }
}

#[test]
fn what_a_registry_does_not_have_or_does_not_give_is_said_by_name() {
    let Some(bed) = bed() else { return };
    for name in ["nginx:2", "nothing:1"] {
        let said = refused(&bed.server, &["images", "pull", &bed.name(name)]);
        assert!(said.contains(name) && said.to_lowercase().contains("not"), "{said}");
    }
    let none = format!("{}/nginx@sha256:{}", bed.registry.address(), "0".repeat(64));
    assert!(refused(&bed.server, &["images", "pull", &none]).contains("nginx"));
}

#[test]
fn a_registry_with_an_account_is_entered_by_a_login_that_is_kept_where_nobody_can_read_it() {
    let Some(registry) = fixtures::registry_for(Access::Account) else { return };
    let Some(server) = server() else { return };
    let name = format!("{}/debian:1", registry.address());
    let said = refused(&server, &["images", "pull", &name]);
    assert!(said.contains(registry.address()) && said.contains("login"), "{said}");
    login(&server, &registry, "wrong").expect_err("a wrong password is no login, or pulls nothing");
    login(&server, &registry, ACCOUNT.1).expect("the account is let in");
    call(&server, &["images", "pull", &name]);
    let kept = Command::new("grep").args(["--recursive", "--files-with-matches", "--text", ACCOUNT.1]).arg(server.data_dir()).output();
    assert!(kept.expect("grep runs").stdout.is_empty(), "the password lies on the disk as it is");
    call(&server, &["logout", registry.address()]);
    call(&server, &["images", "delete", &name]);
    refused(&server, &["images", "pull", &name]);
}

/// Logs in, and pulls; what was said where either failed.
fn login(server: &Server, registry: &Registry, password: &str) -> Result<(), String> {
    let mut login = command(server, &["login", "--username", ACCOUNT.0, "--password-stdin", registry.address()]);
    let mut login = login.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the executable runs");
    login.stdin.take().expect("it is piped").write_all(password.as_bytes()).expect("it reads");
    let login = login.wait_with_output().expect("a child can be waited for");
    let pull = output(server, &["images", "pull", &format!("{}/debian:1", registry.address())]);
    let failed = [login, pull].into_iter().find(|output| !output.status.success());
    failed.map_or(Ok(()), |output| Err(String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_login_may_stay_in_dockers_own_file() {
    let Some(registry) = fixtures::registry_for(Access::Account) else { return };
    let Some(server) = server() else { return };
    let file = server.scratch("docker").join("config.json");
    let login = "a2VlcGVyOmdsYXNzIGJlbGw=";
    let config = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{login}\"}}}}}}", registry.address());
    std::fs::write(&file, config).expect("a file can be written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    call(&server, &["login", "--docker-config", &file.to_string_lossy(), registry.address()]);
    call(&server, &["images", "pull", &format!("{}/debian:1", registry.address())]);
}
