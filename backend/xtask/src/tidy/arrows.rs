//! The arrows between crates, from `cargo metadata`: down only, never between siblings; and which crates from outside
//! may be known by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::Finding;
use crate::command;
use crate::repository::{self, ReadError};

/// Every member of the workspace and its layer (ARCHITECTURE.md). An arrow leads to a smaller number.
const LAYERS: [(&str, u8); 16] = [
    ("belljar-model", 0),
    ("belljar-linux", 0),
    ("belljar-archive", 0),
    ("belljar-runtime", 1),
    ("belljar-images", 1),
    ("belljar-network", 1),
    ("belljar-store", 1),
    ("belljar-api", 1),
    ("belljar-frontend", 1),
    ("belljar-monitor", 2),
    ("belljar-oci", 2),
    ("belljar-supervisor", 3),
    ("belljar-server", 4),
    // The executable stands on top of the server that it dispatches to.
    ("belljar", 5),
    // The tools beside the house: the testbed has no arrow into it, and nothing but tests and tools has one to it.
    ("belljar-testbed", 0),
    ("xtask", 6),
];

/// Crates from outside, and the only members that may depend on them directly.
const ONLY: [(&str, &[&str]); 5] = [
    ("axum", &["belljar-server"]),
    ("tower-http", &["belljar-server"]),
    ("sqlx", &["belljar-store"]),
    ("askama", &["belljar-frontend"]),
    ("clap", &["belljar", "xtask"]),
];

/// Members that must not reach these crates by any path of ordinary dependencies.
const NEVER: [(&str, &[&str]); 8] = [
    ("belljar-model", &["tokio", "axum", "sqlx", "hyper", "nix", "libc"]),
    ("belljar-linux", &["tokio", "axum", "sqlx", "hyper"]),
    ("belljar-archive", &["tokio", "axum", "sqlx", "hyper"]),
    ("belljar-runtime", &["tokio", "axum", "sqlx", "hyper"]),
    ("belljar-monitor", &["tokio", "axum", "sqlx", "hyper"]),
    ("belljar-oci", &["tokio", "axum", "sqlx", "hyper"]),
    ("belljar-api", &["tokio", "axum", "sqlx", "hyper"]),
    ("belljar-frontend", &["tokio", "axum", "sqlx", "hyper"]),
];

/// The workspace could not be asked about itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cannot understand the answer of cargo metadata")]
    Metadata {
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot understand Cargo.toml")]
    Manifest {
        #[source]
        source: Box<toml::de::Error>,
    },
}

/// Who depends on whom.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Members in the order of the root's `Cargo.toml`.
    order: Vec<String>,
    /// Direct dependencies of each member, of every kind (ordinary, build, test).
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Everything that a member reaches by ordinary dependencies.
    reached: BTreeMap<String, BTreeSet<String>>,
}

/// What `cargo metadata` answers, as far as it is asked here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Manifest {
    workspace: WorkspaceTable,
}

#[derive(Deserialize)]
struct WorkspaceTable {
    members: Vec<String>,
}

impl Workspace {
    /// Asks cargo about the workspace at `root`, without the network.
    pub(crate) fn read(root: &Path) -> Result<Self, Error> {
        let answer = command::output(command::cargo(&["metadata", "--format-version", "1", "--locked"]).current_dir(root))?;
        let metadata: Metadata = serde_json::from_str(&answer).map_err(|source| Error::Metadata { source })?;
        let manifest: Manifest =
            toml::from_str(&repository::read(&root.join("Cargo.toml"))?).map_err(|source| Error::Manifest { source: Box::new(source) })?;
        let folders: BTreeMap<String, &str> =
            metadata.packages.iter().map(|package| (package.manifest_path.clone(), package.name.as_str())).collect();
        let manifest_of = |member: &String| root.join(member).join("Cargo.toml").to_string_lossy().into_owned();
        let order = manifest.workspace.members.iter();
        let order = order.map(|member| folders.get(&manifest_of(member)).map_or(member.clone(), ToString::to_string)).collect();
        Ok(Self { order, ..Self::from_metadata(&metadata) })
    }

    fn from_metadata(metadata: &Metadata) -> Self {
        let names: BTreeMap<&str, &str> = metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut workspace = Workspace::default();
        for package in metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id)) {
            let direct = package.dependencies.iter().map(|dependency| dependency.name.clone()).collect();
            workspace.direct.insert(package.name.clone(), direct);
            let reached = reach(&nodes, &package.id).iter().filter_map(|id| names.get(id).map(ToString::to_string)).collect();
            workspace.reached.insert(package.name.clone(), reached);
        }
        workspace
    }
}

/// Ids of every package that `from` reaches by ordinary dependencies.
fn reach<'a>(nodes: &BTreeMap<&'a str, &'a Node>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Node> = nodes.get(from).copied().into_iter().collect();
    while let Some(node) = open.pop() {
        let ordinary = node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        for dependency in ordinary {
            if reached.insert(dependency.pkg.as_str()) {
                open.extend(nodes.get(dependency.pkg.as_str()));
            }
        }
    }
    reached
}

fn layer(member: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == member).map(|(_, layer)| *layer)
}

/// Everything that is drawn differently from how it is.
pub(crate) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut messages = Vec::new();
    for (member, dependencies) in &workspace.direct {
        let Some(own) = layer(member) else {
            messages.push(format!("{member} has no layer: draw it in ARCHITECTURE.md and in backend/xtask/src/tidy/arrows.rs"));
            continue;
        };
        for dependency in dependencies {
            match layer(dependency) {
                Some(below) if below >= own => messages.push(format!("{member} -> {dependency}: an arrow goes down a layer only")),
                _ => {}
            }
            let only = ONLY.iter().find(|(name, _)| name == dependency);
            if let Some((_, allowed)) = only.filter(|(_, allowed)| !allowed.contains(&member.as_str())) {
                messages.push(format!("{member} -> {dependency}: only {} may", allowed.join(" and ")));
            }
        }
    }
    for (member, never) in NEVER {
        let reached = workspace.reached.get(member);
        let found = never.iter().filter(|name| reached.is_some_and(|reached| reached.contains(**name)));
        messages.extend(found.map(|name| format!("{member} reaches {name} through its dependencies, and never should")));
    }
    messages.extend(order_breaches(&workspace.order));
    messages.into_iter().map(|message| Finding::new("Cargo.toml", 0, message)).collect()
}

/// Members of the house that stand before one of a lower layer. Tools come last, whatever their layer.
fn order_breaches(order: &[String]) -> Vec<String> {
    let house: Vec<&String> = order.iter().filter(|member| !["belljar-testbed", "xtask"].contains(&member.as_str())).collect();
    let wrong = house.windows(2).filter(|pair| layer(pair[0]) > layer(pair[1]));
    wrong.map(|pair| format!("members: {} stands before {}, which is of a lower layer", pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(direct: &[(&str, &str)]) -> Workspace {
        let mut workspace = Workspace::default();
        for (member, dependency) in direct {
            workspace.direct.entry(member.to_string()).or_default().insert(dependency.to_string());
        }
        workspace
    }

    fn messages(workspace: &Workspace) -> Vec<String> {
        check(workspace).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_arrow_down_is_fine_and_one_up_or_to_a_sibling_is_found() {
        assert!(messages(&workspace(&[("belljar-server", "belljar-store"), ("belljar-store", "serde")])).is_empty());
        assert_eq!(messages(&workspace(&[("belljar-store", "belljar-images")])).len(), 1);
        assert_eq!(messages(&workspace(&[("belljar-model", "belljar-server")])).len(), 1);
    }

    #[test]
    fn a_member_that_nobody_drew_is_found() {
        assert!(messages(&workspace(&[("belljar-cloud", "serde")]))[0].contains("has no layer"));
    }

    #[test]
    fn only_the_server_knows_axum_and_only_the_store_sqlx() {
        assert_eq!(messages(&workspace(&[("belljar-server", "axum"), ("belljar-store", "sqlx")])), Vec::<String>::new());
        assert_eq!(messages(&workspace(&[("belljar-supervisor", "axum"), ("belljar-server", "sqlx")])).len(), 2);
    }

    #[test]
    fn what_is_reached_through_others_is_found_unless_a_test_alone_needs_it() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"workspace_members": ["m"],
                "packages": [{"id": "m", "name": "belljar-monitor", "manifest_path": "", "dependencies": [{"name": "a"}]},
                             {"id": "a", "name": "a", "manifest_path": "", "dependencies": []},
                             {"id": "t", "name": "tokio", "manifest_path": "", "dependencies": []},
                             {"id": "x", "name": "axum", "manifest_path": "", "dependencies": []}],
                "resolve": {"nodes": [{"id": "m", "deps": [{"pkg": "a", "dep_kinds": [{"kind": null}]}]},
                                      {"id": "a", "deps": [{"pkg": "t", "dep_kinds": [{"kind": null}]}, {"pkg": "x", "dep_kinds": [{"kind": "dev"}]}]},
                                      {"id": "t", "deps": []}, {"id": "x", "deps": []}]}}"#,
        )
        .expect("it is what cargo answers");
        assert_eq!(
            messages(&Workspace::from_metadata(&metadata)),
            ["belljar-monitor reaches tokio through its dependencies, and never should"]
        );
    }

    #[test]
    fn members_stand_with_the_lowest_layer_first_and_tools_last() {
        let order = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(order_breaches(&order(&["belljar-model", "belljar-server", "belljar-testbed", "xtask"])).is_empty());
        assert_eq!(order_breaches(&order(&["belljar-server", "belljar-model"])).len(), 1);
    }
}
