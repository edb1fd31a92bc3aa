//! The layers of a container's root, from the top down: for the overlay page, and for the mounts themselves.

use std::path::PathBuf;

use belljar_model::container::ProcessRef;
use belljar_model::overlay::{Layer, Role, Stack};

use crate::spec::{OverlayTree, Spec, Tree};

/// The stack of a spec as it is, or would be, mounted. `init` is the container's first process while it is alive.
pub fn of(spec: &Spec, init: Option<ProcessRef>) -> Stack {
    let layer = |role, path: &PathBuf, label: &str| Layer {
        role,
        path: path.display().to_string(),
        at: String::new(),
        label: label.to_owned(),
        digest: None,
        size_bytes: None,
        command: None,
    };
    let Tree::Overlay(root) = &spec.root.tree else {
        return Stack { layers: Vec::new(), work: String::new(), merged: None, quota: None };
    };
    let mut layers = vec![layer(Role::Upper, &root.upper, "the container's own changes")];
    for (index, path) in root.spanning.iter().enumerate() {
        layers.push(match index {
            0 => layer(Role::Init, path, "mount points and files that Belljar puts there"),
            _ => layer(Role::Extra, path, "read-only layer that was asked for"),
        });
    }
    layers.extend(root.image.iter().map(|image| Layer {
        role: Role::Image,
        path: image.path.clone(),
        at: image.at.clone(),
        label: image.label.clone(),
        digest: None,
        size_bytes: None,
        command: None,
    }));
    Stack { layers, work: root.work.display().to_string(), merged: init.map(|init| format!("/proc/{}/root", init.pid)), quota: None }
}

/// One overlay mount: the root's, or that of a folder that an image grafts into the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayMount {
    /// Where in the tree; `""` is the root.
    pub at: String,
    /// Layers that must be there, and those that are used only where they have the folder, top first.
    pub lower: Vec<Lower>,
    /// The upper folder, below the container's own.
    pub upper: PathBuf,
    /// The work folder, below the container's own.
    pub work: PathBuf,
}

/// One lower folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lower {
    /// The folder.
    pub path: PathBuf,
    /// What if it is not there.
    pub presence: Presence,
}

/// Whether a lower folder must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It must.
    Required,
    /// It is left out where missing: a layer that spans the tree need not have every grafted folder.
    Optional,
}

/// The overlay mounts of a root, the root's own first. All share the container's one upper tree: what is changed below `/usr`
/// lies in `upper/usr`, whether `/usr` is a mount of its own or not.
pub fn mounts(root: &OverlayTree) -> Vec<OverlayMount> {
    let mut places: Vec<&str> = vec![""];
    for layer in &root.image {
        if !places.contains(&layer.at.as_str()) {
            places.push(&layer.at);
        }
    }
    places.into_iter().map(|at| mount_at(root, at)).collect()
}

fn mount_at(root: &OverlayTree, at: &str) -> OverlayMount {
    let presence = if at.is_empty() { Presence::Required } else { Presence::Optional };
    let spanning = root.spanning.iter().map(|path| Lower { path: below(path, at), presence });
    let image = root.image.iter().filter(|layer| layer.at == at);
    let image = image.map(|layer| Lower { path: PathBuf::from(&layer.path), presence: Presence::Required });
    let work_name = if at.is_empty() { "root".to_owned() } else { at.replace('/', "_") };
    OverlayMount {
        at: at.to_owned(),
        lower: spanning.chain(image).collect(),
        upper: below(&root.upper, at),
        work: root.work.join(work_name),
    }
}

fn below(path: &std::path::Path, at: &str) -> PathBuf {
    if at.is_empty() { path.to_owned() } else { path.join(at) }
}
