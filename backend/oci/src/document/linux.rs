//! What of a document is Linux's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::absent;
use super::words::{Clock, DeviceKind, NamespaceKind, PersonalityDomain, Propagation};

/// Namespaces, limits, filters, devices, paths.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// User ids of a new user namespace.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a new user namespace.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Settings of the kernel, by name with dots.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// What it may use, and which devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<belljar_runtime::cgroup::Resources>,
    /// Where its cgroup is: a path, or `slice:prefix:name` for systemd.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub cgroups_path: String,
    /// Its namespaces; a kind that is not listed is the runtime's.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<NamespaceEntry>,
    /// Device nodes beside the standard ones.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// The filter of system calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Arc<belljar_runtime::seccomp::Profile>>,
    /// How mounts of the root spread.
    #[serde(default, deserialize_with = "no_word", skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<Propagation>,
    /// Paths that read as empty.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    /// SELinux's label of its mounts.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
    /// Shares of caches and memory bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// Execution domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// Clocks of a new time namespace.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "BTreeMap::is_empty")]
    pub time_offsets: BTreeMap<Clock, TimeOffset>,
}

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceEntry {
    /// Of which kind.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// One that exists; a new one where empty.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Path in the container.
    pub path: String,
    /// Of which kind.
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    /// Major number.
    #[serde(default, deserialize_with = "absent")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "absent")]
    pub minor: i64,
    /// Permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// Shares of caches and memory bandwidth (`resctrl`): read so that it can be refused by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt {
    /// Name of the group.
    #[serde(default, rename = "closID", deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub clos_id: String,
    /// Cache.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// Memory bandwidth.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
}

/// Execution domain (`personality(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personality {
    /// Which.
    pub domain: PersonalityDomain,
    /// The specification has no flag yet.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// How far a clock is ahead of the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(default, deserialize_with = "absent")]
    pub secs: i64,
    /// And nanoseconds.
    #[serde(default, deserialize_with = "absent")]
    pub nanosecs: u32,
}

/// An empty word is what Go's engines write for none.
fn no_word<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Propagation>, D::Error> {
    use serde::de::{Error, IntoDeserializer};
    let word = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    let word = word.filter(|word| !word.is_empty());
    word.map(|word| Propagation::deserialize(IntoDeserializer::<D::Error>::into_deserializer(word))).transpose().map_err(D::Error::custom)
}
