//! The file system of a container: its root, what is mounted into it, its devices.

use std::collections::BTreeSet;
use std::path::PathBuf;

use belljar_model::image::ImageLayer;
use serde::{Deserialize, Serialize};

use super::IdMaps;
use crate::quota::LayerLimit;

/// The root of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What of.
    pub tree: Tree,
    /// Whether it may be written to.
    pub access: Access,
    /// What of the host's later mounts reaches it; `None` leaves it private.
    pub propagation: Option<Propagation>,
}

/// What a root is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// Layers, mounted over each other for this container.
    Overlay(OverlayTree),
    /// A folder of the host, as it is.
    Folder(PathBuf),
}

impl Tree {
    /// The layers of its image, where it has one.
    pub fn image_layers(&self) -> &[ImageLayer] {
        match self {
            Tree::Overlay(tree) => &tree.image,
            Tree::Folder(_) => &[],
        }
    }
}

/// The layers of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayTree {
    /// Read-only layers that span the whole tree, top first: Belljar's own, then those asked for.
    pub spanning: Vec<PathBuf>,
    /// Read-only layers of the image, top first, each with its place in the tree.
    pub image: Vec<ImageLayer>,
    /// The container's own layer.
    pub upper: PathBuf,
    /// overlayfs's own.
    pub work: PathBuf,
    /// What these two may take of their disk; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LayerLimit>,
}

/// Something that is mounted into the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Where, an absolute path of the container.
    pub target: String,
    /// What.
    pub content: Content,
    /// How.
    pub attributes: MountAttributes,
    /// Its propagation, where that was asked for.
    pub propagation: Option<Propagation>,
    /// How the owners of its files are shown.
    pub ids: MountIds,
    /// Whether what the tree has at the target is copied into a new tmpfs.
    pub copy_up: CopyUp,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A folder or file of the host.
    Bind {
        /// Its path.
        source: PathBuf,
        /// Whether what is mounted below it comes along.
        depth: Depth,
        /// A path in it that is taken instead. Who made what is there is nobody's friend: links lead nowhere but inside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<String>,
    },
    /// A new file system.
    New {
        /// `proc`, `tmpfs`, ….
        kind: String,
        /// What tables of mounts call its device; `None` is its kind.
        source: Option<String>,
        /// Its options; one with an empty value stands alone.
        options: Vec<(String, String)>,
    },
    /// The container's cgroup, in every hierarchy of the host. Read-only, unless that attribute is cleared.
    Cgroup,
    /// Nothing new: what is mounted at the target is changed.
    Change {
        /// What its file system is told.
        options: Vec<(String, String)>,
    },
}

/// How much of a tree of mounts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// One mount only.
    One,
    /// It and all below it.
    All,
}

/// Attributes of a mount (`mount_setattr(2)`). What is in neither set stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountAttributes {
    /// Set on this mount.
    pub set: BTreeSet<Attribute>,
    /// Cleared on this mount.
    pub clear: BTreeSet<Attribute>,
    /// Set on it and all below it.
    pub set_below: BTreeSet<Attribute>,
    /// Cleared on it and all below it.
    pub clear_below: BTreeSet<Attribute>,
}

impl MountAttributes {
    /// These set, nothing else touched.
    pub fn setting(attributes: impl IntoIterator<Item = Attribute>) -> Self {
        Self { set: attributes.into_iter().collect(), ..Self::default() }
    }

    /// Whether nothing can be written through the mount.
    pub fn is_read_only(&self) -> bool {
        self.set.contains(&Attribute::ReadOnly) || self.set_below.contains(&Attribute::ReadOnly)
    }
}

/// One attribute of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribute {
    /// Nothing can be written.
    ReadOnly,
    /// Set-uid bits mean nothing.
    NoSuid,
    /// Devices cannot be opened.
    NoDev,
    /// Programs cannot be run.
    NoExec,
    /// Reading is not recorded.
    NoAtime,
    /// Reading is always recorded.
    StrictAtime,
    /// Reading is recorded where it is news (the kernel's default).
    RelAtime,
    /// Reading a folder is not recorded.
    NoDirAtime,
    /// Symbolic links are not followed.
    NoSymFollow,
}

/// What of mounts made later goes where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Nowhere.
    Private,
    /// To and from its peers.
    Shared,
    /// From its master only.
    Slave,
    /// Nowhere, and it cannot be bound.
    Unbindable,
    /// [`Propagation::Private`], with all below it.
    RPrivate,
    /// [`Propagation::Shared`], with all below it.
    RShared,
    /// [`Propagation::Slave`], with all below it.
    RSlave,
    /// [`Propagation::Unbindable`], with all below it.
    RUnbindable,
}

impl Propagation {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::Shared => "shared",
            Propagation::Slave => "slave",
            Propagation::Unbindable => "unbindable",
            Propagation::RPrivate => "rprivate",
            Propagation::RShared => "rshared",
            Propagation::RSlave => "rslave",
            Propagation::RUnbindable => "runbindable",
        }
    }

    /// Whether what is mounted below is meant too.
    pub fn depth(self) -> Depth {
        match self {
            Propagation::Private | Propagation::Shared | Propagation::Slave | Propagation::Unbindable => Depth::One,
            Propagation::RPrivate | Propagation::RShared | Propagation::RSlave | Propagation::RUnbindable => Depth::All,
        }
    }
}

/// How the owners of a mount's files are shown in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountIds {
    /// As they are.
    AsTheyAre,
    /// Shifted into the container's user namespace.
    Container(Depth),
    /// The same, but a file system that cannot do it is left as it is, and the step says so.
    ContainerWherePossible,
    /// Shifted by these.
    Maps {
        /// What ids become what.
        maps: IdMaps,
        /// How far down.
        depth: Depth,
    },
}

/// Whether what is at a target is copied into what is mounted there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyUp {
    /// It is.
    Yes,
    /// It is not.
    #[default]
    No,
}

/// Whether something may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// A device beside the standard six.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where, an absolute path of the container.
    pub path: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Its permissions.
    pub mode: u32,
    /// Its owner inside.
    pub uid: u32,
    /// Its group inside.
    pub gid: u32,
}

/// What a device node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// What reads as empty by default on this host: [`super::DEFAULT_MASKED_PATHS`], and how hot each processor has been, which tells
/// one container when another one works.
pub fn masked_by_default() -> Vec<String> {
    masked_with(std::path::Path::new("/sys/devices/system/cpu"))
}

fn masked_with(processors: &std::path::Path) -> Vec<String> {
    let mut masked = super::DEFAULT_MASKED_PATHS.map(str::to_owned).to_vec();
    let throttle = |processor: &str| processors.join(processor).join("thermal_throttle");
    // They are all alike: where the first has none (a virtual machine), hundreds of others need not be looked at.
    if throttle("cpu0").exists() {
        let names = std::fs::read_dir(processors).into_iter().flatten().flatten();
        let mut hot: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        hot.retain(|name| name.strip_prefix("cpu").is_some_and(|number| number.parse::<u32>().is_ok()) && throttle(name).exists());
        hot.sort();
        masked.extend(hot.iter().map(|name| format!("/sys/devices/system/cpu/{name}/thermal_throttle")));
    }
    masked
}

impl MountPoint {
    /// A new file system at `target`, with nothing special about it.
    pub fn new(kind: &str, target: &str, options: &[(&str, &str)], attributes: MountAttributes) -> Self {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self {
            target: target.to_owned(),
            content: Content::New { kind: kind.to_owned(), source: None, options },
            attributes,
            propagation: None,
            ids: MountIds::AsTheyAre,
            copy_up: CopyUp::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_the_processors_heat_is_masked_where_it_is_there() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(masked_with(host.path()).len(), super::super::DEFAULT_MASKED_PATHS.len());
        for name in ["cpu0/thermal_throttle", "cpu1/thermal_throttle", "cpu2", "cpufreq/thermal_throttle"] {
            std::fs::create_dir_all(host.path().join(name)).unwrap();
        }
        let masked = masked_with(host.path());
        assert_eq!(masked.len(), super::super::DEFAULT_MASKED_PATHS.len() + 2);
        assert!(masked.ends_with(&["/sys/devices/system/cpu/cpu1/thermal_throttle".to_owned()]));
    }
}
