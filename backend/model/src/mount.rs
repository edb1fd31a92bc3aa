//! What is put into a container's file tree besides its image.

use serde::{Deserialize, Serialize};

use crate::{IdMapping, Invalid, VolumeName};

/// Most mounts of one container.
pub const MOUNTS_MAX: usize = 128;
/// Longest path that is taken, in bytes (`PATH_MAX` without its NUL).
pub const PATH_BYTES_MAX: usize = 4095;

/// One thing that is put into the container's tree. Paths are absolute, without `.` and `..`, already checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Mount {
    /// A folder or file of the host, shared.
    Bind {
        /// Path on the host; must exist.
        source: String,
        /// Path in the container; made where missing.
        target: String,
        /// Whether the container may not write to it.
        #[serde(default)]
        readonly: bool,
        /// Who of the host is who inside; everybody is shifted alike where not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMapping>,
    },
    /// A folder of the host as a further read-only layer of the root: its files appear over the image's, and what the
    /// container changes goes to its upper layer, never to the folder. The first one given lies on top.
    Layer {
        /// Folder on the host; must exist.
        source: String,
    },
    /// The layers of another image as further read-only layers of the root: over the image's own, below folders that are layers.
    #[serde(rename = "image_layer")]
    Image {
        /// The image: as it was asked for, then by its name.
        image: String,
        /// What that was when the container was created, and stays for it; `None` only in what is asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// A folder that Belljar keeps, which outlives every container that has it.
    Volume(VolumeMount),
    /// An empty file system in memory, gone with the container's stop.
    Tmpfs {
        /// Path in the container; made where missing.
        target: String,
        /// Most bytes; 64 MiB where not given.
        #[serde(default)]
        size_bytes: Option<u64>,
    },
}

/// A volume in a container's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    /// Its name. `None` only in what is asked: a volume of its own, which goes with the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<VolumeName>,
    /// Path in the container; made where missing.
    pub target: String,
    /// Whether the container may not write to it.
    #[serde(default)]
    pub readonly: bool,
    /// A folder in the volume that is mounted instead of all of it; must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Whether an empty volume stays empty, instead of being filled with what the image has at the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nocopy: bool,
    /// Who of the disk is who inside; everybody is who they are where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idmap: Option<IdMapping>,
    /// Whether it was made for this container alone, and goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}

impl VolumeMount {
    /// All of a volume, writable, filled from the image.
    pub fn of(source: Option<VolumeName>, target: &str) -> Self {
        let target = target.to_owned();
        Self { source, target, readonly: false, subpath: None, nocopy: false, idmap: None, anonymous: false }
    }

    fn check(&self, field: &str) -> Result<(), Invalid> {
        mount_target(&format!("{field}.target"), &self.target)?;
        let Some(subpath) = &self.subpath else { return Ok(()) };
        let refuse = |problem: &str| Err(Invalid::new(format!("{field}.subpath"), problem));
        if subpath.starts_with('/') {
            return refuse("must be a path in the volume, without a slash before it");
        }
        if names(subpath).next().is_none() {
            return refuse("must not be empty");
        }
        absolute_path(&format!("{field}.subpath"), &format!("/{subpath}"))
    }
}

/// Size of a tmpfs that does not ask for one.
pub const TMPFS_SIZE_BYTES_DEFAULT: u64 = 64 << 20;

impl Mount {
    /// Checks paths and sizes; `field` is the mount's own path in the request (`mounts[0]`).
    pub fn check(&self, field: &str) -> Result<(), Invalid> {
        match self {
            Mount::Bind { source, target, .. } => {
                absolute_path(&format!("{field}.source"), source)?;
                mount_target(&format!("{field}.target"), target)
            }
            Mount::Layer { source } => absolute_path(&format!("{field}.source"), source),
            Mount::Image { image, .. } => image_key(&format!("{field}.image"), image),
            Mount::Volume(volume) => volume.check(field),
            Mount::Tmpfs { target, size_bytes } => {
                mount_target(&format!("{field}.target"), target)?;
                if size_bytes.is_some_and(|bytes| bytes == 0 || bytes > 1 << 50) {
                    return Err(Invalid::new(format!("{field}.size_bytes"), "must be at least 1 byte and at most 1 PiB"));
                }
                Ok(())
            }
        }
    }

    /// Where in the container it appears; `None` for a layer, which is part of the root.
    pub fn target(&self) -> Option<&str> {
        match self {
            Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } => Some(target),
            Mount::Volume(volume) => Some(&volume.target),
            Mount::Layer { .. } | Mount::Image { .. } => None,
        }
    }

    /// The volume that it is.
    pub fn volume(&self) -> Option<&VolumeMount> {
        match self {
            Mount::Volume(volume) => Some(volume),
            Mount::Bind { .. } | Mount::Layer { .. } | Mount::Image { .. } | Mount::Tmpfs { .. } => None,
        }
    }

    /// The image whose layers it is, by digest, once that is known.
    pub fn image_digest(&self) -> Option<&str> {
        match self {
            Mount::Image { digest, .. } => digest.as_deref(),
            Mount::Bind { .. } | Mount::Layer { .. } | Mount::Volume(_) | Mount::Tmpfs { .. } => None,
        }
    }

    /// Who of the disk is who inside, where that was asked.
    pub fn idmap(&self) -> Option<&IdMapping> {
        match self {
            Mount::Bind { idmap, .. } => idmap.as_ref(),
            Mount::Volume(volume) => volume.idmap.as_ref(),
            Mount::Layer { .. } | Mount::Image { .. } | Mount::Tmpfs { .. } => None,
        }
    }
}

/// What may be an image's name, or the beginning of its id; which one it is, is found out where images are.
fn image_key(field: &str, image: &str) -> Result<(), Invalid> {
    if image.is_empty() || image.len() > PATH_BYTES_MAX || image.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Invalid::new(field, "must be an image's name, without spaces"));
    }
    if image == crate::ImageName::HOST {
        return Err(Invalid::new(field, "must not be host, which has no layers that could lie over others"));
    }
    Ok(())
}

/// Accepts an absolute path without `.`, `..`, NUL or line ends.
pub fn absolute_path(field: &str, path: &str) -> Result<(), Invalid> {
    if !path.starts_with('/') {
        return Err(Invalid::new(field, "must be an absolute path"));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(Invalid::new(field, format!("must have at most {PATH_BYTES_MAX} bytes")));
    }
    if path.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err(Invalid::new(field, "must not contain control characters"));
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err(Invalid::new(field, "must not contain '.' or '..'"));
    }
    Ok(())
}

/// What the core mounts itself; a mount there would take the container's isolation apart.
const RESERVED: [&str; 3] = ["proc", "sys", "dev"];

/// The names of a path, from the root down: `//a//b/` and `/a/b` are the same place.
pub fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

fn mount_target(field: &str, path: &str) -> Result<(), Invalid> {
    absolute_path(field, path)?;
    let Some(first) = names(path).next() else {
        return Err(Invalid::new(field, "must not be the root of the container"));
    };
    if RESERVED.contains(&first) {
        return Err(Invalid::new(field, format!("must not be in /{first}, which Belljar mounts itself")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_over_what_isolates_are_refused() {
        for target in ["/", "//", "/proc", "//proc", "///sys//fs", "/proc/sys", "/sys/fs/cgroup", "/dev/", "relative", "/a/../proc", "/a\n"]
        {
            let mount = Mount::Tmpfs { target: target.into(), size_bytes: None };
            assert!(mount.check("mounts[0]").is_err(), "{target}");
        }
        for target in ["/data", "/process", "/devices/x", "/var/lib/db"] {
            let mount = Mount::Bind { source: "/srv".into(), target: target.into(), readonly: false, idmap: None };
            assert_eq!(mount.check("mounts[0]"), Ok(()), "{target}");
        }
    }

    #[test]
    fn a_part_of_a_volume_lies_in_the_volume() {
        let volume = |subpath: &str| VolumeMount { subpath: Some(subpath.into()), ..VolumeMount::of("pg".parse().ok(), "/data") };
        for subpath in ["", "/", "/a", "..", "a/../../b", "a\nb", "./a"] {
            let refused = Mount::Volume(volume(subpath)).check("mounts[3]").map_err(|invalid| invalid.field);
            assert_eq!(refused, Err("mounts[3].subpath".to_owned()), "{subpath:?}");
        }
        assert_eq!(Mount::Volume(volume("a/b")).check("mounts[3]"), Ok(()));
        let over_proc = VolumeMount { target: "/proc/x".into(), ..volume("a") };
        assert!(Mount::Volume(over_proc).check("mounts[3]").is_err());
    }
}
