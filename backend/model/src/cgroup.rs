//! A container's cgroup as the kernel has it: each controller, each file, each figure.

use serde::{Deserialize, Serialize};

/// The two kinds of cgroup hierarchy. A host may have both at once (*hybrid*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all.
    V2,
}

impl Version {
    /// `v1` or `v2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Microseconds.
    Usec,
    /// Things.
    Count,
    /// Processors: 0.5 is half of one.
    Cpus,
}

/// What a figure says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// A number, in the figure's unit.
    Number(f64),
    /// There is no limit: `max`, `-1`, or v1's largest page count.
    Unlimited,
    /// The file is missing or could not be read.
    Unknown,
}

/// One figure and the file that it equals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, in the model's words: `memory_bytes_max`.
    pub name: String,
    /// What it says.
    pub value: Value,
    /// What it counts.
    pub unit: Unit,
    /// Path of the kernel's file; a key in it follows after `#`: `…/memory.stat#inactive_file`.
    pub source: String,
    /// The file's (or line's) content as read, at most 256 bytes; empty where unknown.
    pub raw: String,
}

/// One controller of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    /// `memory`, `cpu`, `pids`, ….
    pub name: String,
    /// Which hierarchy it lives in.
    pub version: Version,
    /// Folder of the container in that hierarchy.
    pub path: String,
    /// What was set, as the kernel has it.
    pub limits: Vec<Figure>,
    /// What was measured.
    pub usage: Vec<Figure>,
    /// Its files as they are, by name. Those of v2 that belong to no controller are told of one named `cgroup`.
    pub files: Vec<RawFile>,
}

/// One file of a cgroup, unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawFile {
    /// Its name: `memory.stat`.
    pub name: String,
    /// What it holds; bytes that are no text as `\xNN`.
    pub content: String,
    /// Whether it holds more than is told.
    pub is_cut: bool,
    /// Why it could not be read.
    pub problem: Option<String>,
}

/// The whole cgroup of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// `v1`, `v2` or `hybrid`.
    pub mode: String,
    /// Controllers in use, by name.
    pub controllers: Vec<Controller>,
}
