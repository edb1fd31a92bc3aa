//! The executables under test, as cargo makes them: the very files that the stage `tests` runs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Error;
use super::report::Suite;
use crate::command::{cargo, output};
use crate::repository;

/// What runs: packages (by folder) and their targets. Those that touch the kernel, in the order of what fails soonest.
const SUITES: [(&str, &str); 7] = [
    ("linux", "lib"),
    ("runtime", "lib"),
    ("runtime", "containers"),
    ("supervisor", "lib"),
    ("monitor", "lib"),
    ("cli", "oci"),
    ("cli", "whole"),
];

/// What was built.
pub(super) struct Built {
    /// Executables with tests.
    pub(super) suites: Vec<Suite>,
    /// The product, which tests execute.
    pub(super) product: PathBuf,
}

/// Builds them. The whole workspace is named, as by the stage `tests`: with fewer packages the features of their
/// dependencies would be others, and everything would be compiled again.
pub(super) fn build() -> Result<Built, Error> {
    let targets = ["--lib", "--test", "containers", "--test", "oci", "--test", "whole"];
    let options = ["test", "--workspace", "--locked", "--no-run", "--quiet", "--message-format=json-render-diagnostics"];
    let messages = output(&mut cargo(&[&options[..], &targets].concat()))?;
    let artifacts: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let suites = SUITES.into_iter().map(|(package, target)| {
        let found = artifacts.iter().find_map(|artifact| suite(artifact, package, target));
        found.ok_or_else(|| Error::NotBuilt(format!("tests of {package} ({target})")))
    });
    let product = artifacts.iter().filter(|artifact| artifact["profile"]["test"] == false).find_map(executable);
    Ok(Built { suites: suites.collect::<Result<_, _>>()?, product: product.ok_or_else(|| Error::NotBuilt("belljar".to_owned()))? })
}

fn executable(artifact: &Value) -> Option<PathBuf> {
    let is_product = artifact["target"]["kind"] == serde_json::json!(["bin"]) && artifact["target"]["name"] == "belljar";
    is_product.then(|| artifact["executable"].as_str().map(PathBuf::from)).flatten()
}

fn suite(artifact: &Value, package: &str, target: &str) -> Option<Suite> {
    let manifest = artifact["manifest_path"].as_str().map(Path::new)?;
    let folder = manifest.parent()?;
    let is_meant = match target {
        "lib" => artifact["target"]["kind"] == serde_json::json!(["lib"]),
        name => artifact["target"]["name"] == name,
    };
    let is_here = folder == repository::root().join("backend").join(package) && artifact["profile"]["test"] == true && is_meant;
    let executable = PathBuf::from(artifact["executable"].as_str().filter(|_| is_here)?);
    Some(Suite { name: format!("{package}/{target}"), executable, folder: folder.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_suite_is_found_by_its_package_and_target_and_is_no_library() {
        let manifest = repository::root().join("backend/runtime/Cargo.toml");
        let artifact = |kind: &str, name: &str, test: bool| {
            let target = json!({"kind": [kind], "name": name});
            json!({"manifest_path": manifest, "target": target, "profile": {"test": test}, "executable": "/target/it"})
        };
        let name = |artifact: &Value, target: &str| suite(artifact, "runtime", target).map(|suite| suite.name);
        assert_eq!(name(&artifact("lib", "belljar_runtime", true), "lib").as_deref(), Some("runtime/lib"));
        assert_eq!(name(&artifact("test", "containers", true), "containers").as_deref(), Some("runtime/containers"));
        assert_eq!(name(&artifact("test", "containers", true), "lib"), None);
        assert_eq!(name(&artifact("lib", "belljar_runtime", false), "lib"), None, "the library itself");
        assert!(suite(&artifact("lib", "belljar_linux", true), "linux", "lib").is_none(), "another package");
    }
}
