//! What a container is made of, on the wire: namespaces, cgroup, overlay, plan.

use belljar_model::cgroup::{RawFile, Unit, Value, Version};
use belljar_model::mounted::Origin;
use belljar_model::namespace::{Kind, Sharing};
use belljar_model::overlay::{FileKind, LayerQuota, Role, Status};
use belljar_model::plan::{Outcome, Place};
use belljar_model::{cgroup, denied, mounted, namespace, overlay, plan};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::problem::StepFailure;
use crate::time;

/// One namespace of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// `mnt`, `pid`, `net`, `uts`, `ipc`, `user`, `cgroup` or `time`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its inode; `null` where this kernel has no such namespace.
    pub inode: Option<u64>,
    /// The inode of the server's own.
    pub host_inode: Option<u64>,
    /// `own`, `host` or `containers`.
    pub sharing: String,
    /// The containers that it is shared with, by name.
    pub shared_with: Vec<String>,
    /// The file that it was read from.
    pub source: String,
}

impl From<namespace::Namespace> for Namespace {
    fn from(namespace: namespace::Namespace) -> Self {
        let (sharing, shared_with) = match namespace.sharing {
            Sharing::Own => ("own", Vec::new()),
            Sharing::Host => ("host", Vec::new()),
            Sharing::Containers(names) => ("containers", names),
        };
        Self {
            kind: namespace.kind,
            inode: namespace.inode,
            host_inode: namespace.host_inode,
            sharing: sharing.to_owned(),
            shared_with,
            source: namespace.source,
        }
    }
}

/// What is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// The kernel's table that this was read from; `null` where the container is not alive, and this is what will be mounted.
    pub source: Option<String>,
    /// Whether the table was read to its end.
    pub complete: bool,
    /// In the kernel's order; then what was asked for and is not there.
    pub mounts: Vec<Mounted>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Where in the container.
    pub target: String,
    /// `overlay`, `bind`, `volume`, `tmpfs`, `cgroup`, `standard`, `device`, `masked`, `readonly` or `other`.
    pub origin: Origin,
    /// What was asked for, in words; `null` where nobody asked.
    pub asked: Option<String>,
    /// What the kernel has there; `null` where it has nothing.
    pub kernel: Option<KernelMount>,
}

/// A line of the kernel's table of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMount {
    /// Its number.
    pub id: u64,
    /// Type of the file system.
    pub filesystem: String,
    /// What is mounted: a device, or the word that its maker chose.
    pub device: String,
    /// The folder or file of that file system that is seen here.
    pub root: String,
    /// Options of this mount.
    pub options: Vec<String>,
    /// Options of the file system.
    pub filesystem_options: Vec<String>,
    /// `private`, or `shared:9 master:2`.
    pub propagation: String,
}

impl From<mounted::Mounts> for Mounts {
    fn from(mounts: mounted::Mounts) -> Self {
        let mounted::Mounts { source, complete, mounts } = mounts;
        Self { source, complete, mounts: mounts.into_iter().map(Mounted::from).collect() }
    }
}

impl From<mounted::Mounted> for Mounted {
    fn from(mounted: mounted::Mounted) -> Self {
        let mounted::Mounted { target, origin, asked, kernel } = mounted;
        Self { target, origin, asked: Some(asked).filter(|asked| !asked.is_empty()), kernel: kernel.map(KernelMount::from) }
    }
}

impl From<mounted::Mount> for KernelMount {
    fn from(mount: mounted::Mount) -> Self {
        let mounted::Mount { id, filesystem, device, root, options, filesystem_options, propagation } = mount;
        Self { id, filesystem, device, root, options, filesystem_options, propagation }
    }
}

/// The whole cgroup of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// `v1`, `v2` or `hybrid`.
    pub mode: String,
    /// Controllers in use.
    pub controllers: Vec<Controller>,
}

/// One controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    /// `memory`, `cpu`, `pids`, ….
    pub name: String,
    /// `v1` or `v2`.
    pub version: Version,
    /// Folder of the container in that hierarchy.
    pub path: String,
    /// What was set, as the kernel has it.
    pub limits: Vec<Figure>,
    /// What was measured.
    pub usage: Vec<Figure>,
    /// Its files as the kernel gives them. Those of v2 that belong to no controller are told of one named `cgroup`.
    #[serde(default)]
    pub files: Vec<RawFile>,
}

/// One figure and the file that it equals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is: `memory_bytes_max`.
    pub name: String,
    /// A number; `"unlimited"`; or `null` where it could not be read.
    pub value: FigureValue,
    /// `bytes`, `usec`, `count` or `cpus`.
    pub unit: Unit,
    /// The kernel's file; a key in it follows after `#`.
    pub source: String,
    /// Its content as read.
    pub raw: String,
}

/// What a figure says: on the wire a number, `"unlimited"`, or `null`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FigureValue(pub Value);

/// Above this a double no longer holds every whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

impl Serialize for FigureValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) if number.fract() == 0.0 && number.abs() <= WHOLE_MAX => serializer.serialize_i64(number as i64),
            Value::Number(number) => serializer.serialize_f64(number),
            Value::Unlimited => serializer.serialize_str("unlimited"),
            Value::Unknown => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for FigureValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Number(f64),
            Word(String),
            Nothing,
        }
        Wire::deserialize(deserializer).map(|wire| match wire {
            Wire::Number(number) => Self(Value::Number(number)),
            Wire::Word(word) if word == "unlimited" => Self(Value::Unlimited),
            Wire::Word(_) | Wire::Nothing => Self(Value::Unknown),
        })
    }
}

impl From<cgroup::Cgroup> for Cgroup {
    fn from(cgroup: cgroup::Cgroup) -> Self {
        Self { mode: cgroup.mode, controllers: cgroup.controllers.into_iter().map(Controller::from).collect() }
    }
}

impl From<cgroup::Controller> for Controller {
    fn from(controller: cgroup::Controller) -> Self {
        let cgroup::Controller { name, version, path, limits, usage, files } = controller;
        let figures = |figures: Vec<cgroup::Figure>| figures.into_iter().map(Figure::from).collect();
        Self { name, version, path, limits: figures(limits), usage: figures(usage), files }
    }
}

impl From<cgroup::Figure> for Figure {
    fn from(figure: cgroup::Figure) -> Self {
        let cgroup::Figure { name, value, unit, source, raw } = figure;
        Self { name, value: FigureValue(value), unit, source, raw }
    }
}

/// The stack of layers, top first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Layers from the top down; the upper layer is number 0.
    pub layers: Vec<Layer>,
    /// Folder of the upper layer, by the name that overlayfs gives it.
    pub upper: String,
    /// Folders of the layers below, from the top down.
    pub lower: Vec<String>,
    /// overlayfs's work folder.
    pub work: String,
    /// Where the merged tree can be seen while the container is alive.
    pub merged: Option<String>,
    /// Bytes on disk of the upper layer; `null` where they could not be counted.
    pub upper_bytes: Option<u64>,
    /// What the upper layer takes as the quota of its project counts it, and what it may; `null` where its file system counts nothing.
    pub quota: Option<LayerQuota>,
}

/// One layer of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `upper`, `init`, `extra` or `image`.
    pub role: Role,
    /// Folder on the host.
    pub path: String,
    /// Where its root lies in the container's tree; `""` is the root.
    pub at: String,
    /// What it is, in a few words.
    pub label: String,
    /// Digest of the archive that it was unpacked from; `null` where it is of no archive.
    pub digest: Option<String>,
    /// Bytes of what it holds; `null` where unknown.
    pub size_bytes: Option<u64>,
    /// The command that made it, as its image tells.
    pub command: Option<String>,
}

impl From<overlay::Stack> for Overlay {
    fn from(stack: overlay::Stack) -> Self {
        let layer = |overlay::Layer { role, path, at, label, digest, size_bytes, command }| Layer {
            role,
            path,
            at,
            label,
            digest,
            size_bytes,
            command,
        };
        let (upper, lower): (Vec<_>, Vec<_>) = stack.layers.iter().partition(|layer| layer.role == Role::Upper);
        Self {
            upper_bytes: upper.first().and_then(|layer| layer.size_bytes),
            upper: upper.first().map(|layer| layer.path.clone()).unwrap_or_default(),
            lower: lower.into_iter().map(|layer| layer.path.clone()).collect(),
            layers: stack.layers.into_iter().map(layer).collect(),
            work: stack.work,
            merged: stack.merged,
            quota: stack.quota,
        }
    }
}

/// One entry of a folder of the merged tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its path from the container's root, with a leading slash.
    pub path: String,
    /// `file`, `directory`, `symlink`, `device`, `fifo` or `socket`.
    pub kind: FileKind,
    /// Bytes of a regular file; 0 for others.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Last change of its content.
    #[serde(rename = "modified_at", with = "time::millis")]
    pub modified_at_ms: i64,
    /// Where a symbolic link points.
    pub link_target: Option<String>,
    /// Number of the layer that it comes from; for a deleted one, the layer that it is hidden in.
    pub layer: usize,
    /// `unchanged`, `added`, `modified`, `metadata`, `deleted` or `replaced`.
    pub status: Status,
    /// Numbers of the layers whose entry of this name it hides, top first.
    pub hides: Vec<usize>,
    /// Whether the upper layer has it over one of the same kind below, changed or not.
    pub copied_up: bool,
    /// Whether it is a folder that hides all that the layers below have in it.
    pub opaque: bool,
}

impl From<overlay::Entry> for Entry {
    fn from(entry: overlay::Entry) -> Self {
        let overlay::Entry {
            name,
            path,
            kind,
            size_bytes,
            mode,
            uid,
            gid,
            modified_at_ms,
            link_target,
            layer,
            status,
            hides,
            copied_up,
            opaque,
        } = entry;
        Self { name, path, kind, size_bytes, mode, uid, gid, modified_at_ms, link_target, layer, status, hides, copied_up, opaque }
    }
}

/// One thing that the container changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Path from the container's root, with a leading slash.
    pub path: String,
    /// `added`, `modified`, `metadata`, `deleted` or `replaced`.
    pub status: Status,
    /// What it is now; what it was, where deleted.
    pub kind: FileKind,
    /// Bytes that it takes in the upper layer.
    pub size_bytes: u64,
    /// Number of the layer below that had it before; `null` where none did.
    pub below: Option<usize>,
}

impl From<overlay::Change> for Change {
    fn from(change: overlay::Change) -> Self {
        let overlay::Change { path, status, kind, size_bytes, below } = change;
        Self { path, status, kind, size_bytes, below }
    }
}

/// How a container was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// Which one failed, and why.
    pub failure: Option<StepFailure>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The step as one line.
    pub text: String,
    /// `outside` or `inside`: in the host's namespaces, or in the container's own.
    pub place: Place,
    /// `done`, `failed` or `pending`.
    pub outcome: Outcome,
    /// How long it took, in microseconds; `null` where it was not reached.
    pub took_usec: Option<u64>,
}

impl From<plan::PlanRecord> for Plan {
    fn from(record: plan::PlanRecord) -> Self {
        let step = |plan::StepRecord { text, place, outcome, took_usec }| Step { text, place, outcome, took_usec };
        Self { steps: record.steps.into_iter().map(step).collect(), failure: record.failure.map(StepFailure::from) }
    }
}

/// A system call that a container asked for and was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Its name: `mount`.
    pub call: String,
    /// How often.
    pub times: u64,
    /// The whole of it as a sentence.
    pub message: String,
}

impl From<denied::Denied> for Denied {
    fn from(denied: denied::Denied) -> Self {
        Self { message: denied.to_string(), call: denied.call, times: denied.times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_number_the_word_unlimited_or_null() {
        for (value, json) in [
            (Value::Number(67_108_864.0), "67108864"),
            (Value::Number(0.5), "0.5"),
            (Value::Unlimited, r#""unlimited""#),
            (Value::Unknown, "null"),
        ] {
            assert_eq!(serde_json::to_string(&FigureValue(value)).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<FigureValue>(json).expect("readable"), FigureValue(value));
        }
    }

    #[test]
    fn a_shared_namespace_names_those_that_share_it() {
        let shared = namespace::Namespace {
            kind: Kind::Net,
            inode: Some(4_026_531_840),
            host_inode: Some(1),
            sharing: Sharing::Containers(vec!["web".into()]),
            source: "/proc/4242/ns/net".into(),
        };
        let json = serde_json::to_value(Namespace::from(shared)).expect("JSON");
        assert_eq!((&json["type"], &json["sharing"], &json["shared_with"][0]), (&"net".into(), &"containers".into(), &"web".into()));
    }
}
