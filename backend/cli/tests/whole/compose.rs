//! Belljar in a container of its own: the compose file builds, where a Docker engine is present.

use std::path::Path;
use std::process::{Command, Stdio};

use belljar_testbed::skip;

fn docker(arguments: &[&str]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut command = Command::new("docker");
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    command
}

fn succeeds(arguments: &[&str]) -> bool {
    docker(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The image that the first stage of the Dockerfile stands on.
fn base_image() -> String {
    let dockerfile = include_str!("../../../Dockerfile");
    let from = dockerfile.lines().find_map(|line| line.strip_prefix("FROM ")).expect("a first stage");
    from.split_whitespace().next().expect("an image").to_owned()
}

#[test]
fn the_compose_file_builds() {
    if !succeeds(&["info"]) {
        return skip("a Docker engine");
    }
    if !succeeds(&["compose", "version"]) {
        return skip("the compose plugin of Docker");
    }
    let base = base_image();
    if !succeeds(&["image", "inspect", &base]) && !succeeds(&["pull", &base]) {
        return skip("a registry that has the image of the build");
    }
    assert!(docker(&["compose", "build"]).status().unwrap().success());
}
