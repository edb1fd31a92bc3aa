//! Real images from a real registry, run on this host's kernel: Debian with nginx, redis and PostgreSQL, made once by
//! [`fixtures`], served by Debian's `docker-registry` on loopback, and exchanged with the tools of other houses. It must never
//! look inside a crate. Each test has a server and a registry of its own, so they run side by side.
//!
//! Start reading at [`fixtures`], then [`pull`] and [`programs`].
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

mod bed;
mod exchange;
mod fixtures;
mod gate;
mod honoured;
mod keeping;
mod programs;
mod pull;

use std::path::PathBuf;
use std::process::{Command, Output};

use belljar_testbed::place::succeeded;
use belljar_testbed::registry::{ACCOUNT, Access};
use serde_json::Value;

/// The executable under test.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_belljar");

/// Where a program lies.
fn installed(program: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|folder| PathBuf::from(folder).join(program)).find(|path| path.exists())
}

/// A command of skopeo, whatever comes of it.
fn skopeo_output(arguments: &[&str]) -> Output {
    Command::new("skopeo").arg("--insecure-policy").args(arguments).output().expect("skopeo runs")
}

/// A command of skopeo; panics with what it said unless it succeeds.
#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    succeeded(&format!("skopeo {}", arguments.join(" ")), &skopeo_output(arguments))
}

#[test]
fn the_registry_holds_images_that_another_tool_accepts() {
    let Some(registry) = fixtures::registry() else { return };
    let inspect = |name: &str, flags: &[&str]| -> Value {
        let image = format!("docker://{}/{name}", registry.address());
        let told = skopeo(&[&["inspect", "--tls-verify=false"], flags, &[&image]].concat());
        serde_json::from_str(&told).expect("skopeo writes JSON")
    };
    let nginx = inspect("nginx:1", &[]);
    assert_eq!(nginx["Layers"].as_array().map(Vec::len), Some(3), "{nginx}");
    assert_eq!(nginx["Labels"]["org.example.words"], "with spaces, \"quotes\" and \u{fc}");
    assert_eq!(nginx["Layers"][0], inspect("postgres:1", &[])["Layers"][0], "they stand on one Debian");
    assert_eq!(inspect("nginx:docker", &["--raw"])["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(inspect("debian:many", &["--raw"])["manifests"].as_array().map(Vec::len), Some(2));
    let compressions = inspect("redis:1", &["--raw"])["layers"].as_array().expect("layers").clone();
    let last = compressions.last().expect("a layer")["mediaType"].clone();
    assert_eq!(last, "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(registry.answers("GET", "/manifests/")[0], 200);
}

#[test]
fn a_registry_with_an_account_lets_nobody_else_in() {
    let Some(registry) = fixtures::registry_for(Access::Account) else { return };
    let image = format!("docker://{}/debian:1", registry.address());
    let stranger = skopeo_output(&["inspect", "--tls-verify=false", "--no-creds", &image]);
    assert!(!stranger.status.success(), "{stranger:?}");
    let account = format!("{}:{}", ACCOUNT.0, ACCOUNT.1);
    skopeo(&["inspect", "--tls-verify=false", "--creds", &account, &image]);
}
