//! A server, and a registry beside it. Everything is done as a person does it: by the command line, and by looking at what the API
//! says.

use std::process::{Child, Command, Output, Stdio};

use belljar_testbed::place::succeeded;
use belljar_testbed::registry::Registry;
use belljar_testbed::{Server, skip};
use serde_json::Value;

use crate::{EXECUTABLE, fixtures};

/// A running server, and a registry with all images.
pub(crate) struct Bed {
    pub(crate) server: Server,
    pub(crate) registry: Registry,
}

/// A server alone, or `None` after saying that this needs root.
pub(crate) fn server() -> Option<Server> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        skip("root");
        return None;
    }
    Some(Server::start(EXECUTABLE))
}

/// A server and its registry, or `None` after saying what is missing.
pub(crate) fn bed() -> Option<Bed> {
    let registry = fixtures::registry()?;
    Some(Bed { server: server()?, registry })
}

/// A client command, to be started.
pub(crate) fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(EXECUTABLE);
    command.args(arguments).env("BELLJAR_SOCKET", server.socket()).stdin(Stdio::null());
    command
}

/// Runs a client command; panics with what it said unless it succeeds.
#[track_caller]
pub(crate) fn call(server: &Server, arguments: &[&str]) -> String {
    succeeded(&format!("belljar {}", arguments.join(" ")), &output(server, arguments))
}

/// Runs a client command, whatever comes of it.
pub(crate) fn output(server: &Server, arguments: &[&str]) -> Output {
    command(server, arguments).output().expect("the executable runs")
}

/// Runs a client command that has to fail; what it said.
#[track_caller]
pub(crate) fn refused(server: &Server, arguments: &[&str]) -> String {
    let output = output(server, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !said.trim().is_empty(), "belljar {arguments:?} should have failed: {output:?}");
    said
}

/// What `images inspect` says of an image.
#[track_caller]
pub(crate) fn image(server: &Server, name: &str) -> Value {
    let told: Value = serde_json::from_str(&call(server, &["images", "inspect", name])).expect("inspect writes JSON");
    if told.is_array() { told[0].clone() } else { told }
}

impl Bed {
    /// The name of an image in the registry.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry.address())
    }

    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> String {
        call(&self.server, arguments)
    }

    /// Pulls an image of the registry, and returns its name.
    #[track_caller]
    pub(crate) fn pull(&self, image: &str) -> String {
        let name = self.name(image);
        self.call(&["images", "pull", &name]);
        name
    }

    /// Starts a pull, without waiting for it.
    pub(crate) fn begin_pull(&self, name: &str) -> Child {
        let mut pull = command(&self.server, &["images", "pull", name]);
        pull.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the executable runs")
    }

    /// Digests of an image's layers as the registry hands them out, the lowest first.
    pub(crate) fn blobs(&self, image: &str) -> Vec<String> {
        let manifest = crate::skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", self.name(image))]);
        let manifest: Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
        let layers = manifest["layers"].as_array().expect("a manifest has layers");
        layers.iter().map(|layer| layer["digest"].as_str().expect("a layer has a digest").to_owned()).collect()
    }

    /// How often somebody got a blob, or a part of one.
    pub(crate) fn fetched(&self, digest: &str) -> usize {
        let answers = self.registry.answers("GET", &format!("/blobs/{digest}"));
        answers.iter().filter(|status| matches!(status, 200 | 206)).count()
    }
}
