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

#[test]
fn the_compose_file_builds() {
    let engine = docker(&["info"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !engine.is_ok_and(|status| status.success()) {
        return skip("a Docker engine");
    }
    assert!(docker(&["compose", "build"]).status().unwrap().success());
}
