//! The order of the steps of the file system: what is made outside and handed over, and how the tree is put together inside.

use belljar_linux::mount::Attributes;

use crate::plan::Parts;
use crate::spec::{Access, Attribute, Content, MountAttributes, MountIds, MountPoint, Spec, Tree};
use crate::stack;
use crate::step::TreeStep;
use crate::step::tree::{Missing, Owners};

/// The standard devices (`runtime-spec`, *Default Devices*), with their numbers.
const DEVICES: [(&str, (u32, u32)); 6] =
    [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))];

/// All steps of the file system, by when they are taken.
pub(super) fn parts(spec: &Spec) -> Parts<TreeStep> {
    let owners = match &spec.ids {
        Some(ids) => ids.root_uid().map_or(Owners::AsTheyAre, Owners::Mapped),
        None => Owners::AsTheyAre,
    };
    let mut parts = Parts::default();
    if let (Tree::Overlay(root), Some(hostname)) = (&spec.root.tree, &spec.hostname) {
        let layer = root.spanning.first().cloned().unwrap_or_default();
        parts.first.push(TreeStep::FillInitLayer { layer, hostname: hostname.clone() });
    }
    parts.made_outside = taken_steps(spec, owners);
    parts.made_outside.push(TreeStep::HandOver { mounts: parts.made_outside.len() });
    parts.before_root = vec![TreeStep::MakeMountsPrivate, TreeStep::AttachRoot { staging: spec.state_dir.clone() }];
    parts.inside = inside_steps(spec);
    parts.pivot = vec![TreeStep::Pivot];
    parts
}

/// What is made outside and hung inside: the root before all, then what is grafted into it, then binds.
fn taken_steps(spec: &Spec, owners: Owners) -> Vec<TreeStep> {
    let mut steps: Vec<TreeStep> = match &spec.root.tree {
        Tree::Overlay(root) => stack::mounts(root).into_iter().map(|mount| TreeStep::Overlay { mount, owners }).collect(),
        Tree::Folder(folder) => vec![TreeStep::TakeRoot { folder: folder.clone(), access: spec.root.access }],
    };
    steps.extend(spec.mounts.iter().filter_map(|mount| match &mount.content {
        Content::Bind { source, .. } => Some(TreeStep::TakeBind {
            source: source.clone(),
            target: mount.target.clone(),
            access: access(&mount.attributes),
            owners: if mount.ids == MountIds::AsTheyAre { Owners::AsTheyAre } else { owners },
        }),
        Content::New { .. } | Content::Cgroup => None,
    }));
    steps
}

fn access(attributes: &MountAttributes) -> Access {
    let sets = [&attributes.set, &attributes.set_below];
    if sets.iter().any(|set| set.contains(&Attribute::ReadOnly)) { Access::ReadOnly } else { Access::ReadWrite }
}

/// Everything in the new root, while the host's `/proc`, `/sys` and `/dev` are still there: the kernel lets a user namespace
/// mount its own `proc` and `sysfs` only beside ones that hide nothing.
fn inside_steps(spec: &Spec) -> Vec<TreeStep> {
    let mut steps = Vec::new();
    // Numbered as they were handed over: the root is number 0.
    let mut next_mount = 1..;
    let mut attach =
        |target: &str, missing| TreeStep::Attach { target: target.to_owned(), mount: next_mount.next().unwrap_or_default(), missing };
    if let Tree::Overlay(root) = &spec.root.tree {
        for grafted in stack::mounts(root).iter().skip(1) {
            steps.push(attach(&format!("/{}", grafted.at), Missing::Folder));
        }
    }
    for mount in &spec.mounts {
        steps.extend(match &mount.content {
            Content::Bind { .. } => Some(attach(&mount.target, Missing::Alike)),
            Content::New { kind, options, .. } => Some(new_step(mount, kind, options)),
            Content::Cgroup => None,
        });
    }
    steps.extend(DEVICES.map(|(name, device)| TreeStep::BindDevice { name, device }));
    steps.push(TreeStep::LinkDevices);
    steps.extend(spec.readonly_paths.iter().cloned().map(TreeStep::MakeReadOnly));
    steps.extend(spec.masked_paths.iter().cloned().map(TreeStep::Mask));
    steps
}

fn new_step(mount: &MountPoint, kind: &str, options: &[(String, String)]) -> TreeStep {
    let attributes = mount.attributes.set.iter().fold(Attributes::empty(), |all, attribute| all | bit_of(*attribute));
    TreeStep::Mount { kind: kind.to_owned(), target: mount.target.clone(), options: options.to_vec(), attributes }
}

fn bit_of(attribute: Attribute) -> Attributes {
    match attribute {
        Attribute::ReadOnly => Attributes::MOUNT_ATTR_RDONLY,
        Attribute::NoSuid => Attributes::MOUNT_ATTR_NOSUID,
        Attribute::NoDev => Attributes::MOUNT_ATTR_NODEV,
        Attribute::NoExec => Attributes::MOUNT_ATTR_NOEXEC,
        Attribute::NoAtime => Attributes::MOUNT_ATTR_NOATIME,
        Attribute::StrictAtime => Attributes::MOUNT_ATTR_STRICTATIME,
        Attribute::RelAtime => Attributes::MOUNT_ATTR_RELATIME,
        Attribute::NoDirAtime => Attributes::MOUNT_ATTR_NODIRATIME,
        Attribute::NoSymFollow => Attributes::MOUNT_ATTR_NOSYMFOLLOW,
    }
}
