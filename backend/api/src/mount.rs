//! A mount on the wire: one flat object whose `type` says which of its fields count.

use belljar_model::Invalid;
use belljar_model::mount as model;
use serde::{Deserialize, Serialize};

/// `bind`, `layer` or `tmpfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A folder or file of the host, shared.
    Bind,
    /// A folder of the host as a further read-only layer of the root.
    Layer,
    /// An empty file system in memory.
    Tmpfs,
}

/// One mount, asked or shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What it is.
    #[serde(rename = "type")]
    pub mount_type: MountType,
    /// Path on the host: `bind` and `layer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Path in the container: `bind` and `tmpfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the container may not write to it: `bind`, false where not given. A layer always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly: Option<bool>,
    /// Most bytes: `tmpfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl Mount {
    /// The model's mount; `field` is this one's path in the request (`mounts[0]`).
    pub fn into_model(self, field: &str) -> Result<model::Mount, Invalid> {
        match self.mount_type {
            MountType::Bind => {
                absent(field, "size_bytes", self.size_bytes)?;
                let (source, target) = (present(field, "source", self.source)?, present(field, "target", self.target)?);
                Ok(model::Mount::Bind { source, target, readonly: self.readonly.unwrap_or(false) })
            }
            MountType::Layer => {
                absent(field, "target", self.target)?;
                absent(field, "size_bytes", self.size_bytes)?;
                if self.readonly == Some(false) {
                    return Err(Invalid::new(format!("{field}.readonly"), "must not be false: a layer is never written to"));
                }
                Ok(model::Mount::Layer { source: present(field, "source", self.source)? })
            }
            MountType::Tmpfs => {
                absent(field, "source", self.source)?;
                absent(field, "readonly", self.readonly.filter(|readonly| *readonly))?;
                Ok(model::Mount::Tmpfs { target: present(field, "target", self.target)?, size_bytes: self.size_bytes })
            }
        }
    }
}

fn present(field: &str, name: &str, value: Option<String>) -> Result<String, Invalid> {
    value.ok_or_else(|| Invalid::new(format!("{field}.{name}"), "is required for this type of mount"))
}

fn absent<T>(field: &str, name: &str, value: Option<T>) -> Result<(), Invalid> {
    match value {
        Some(_) => Err(Invalid::new(format!("{field}.{name}"), "does not belong to this type of mount")),
        None => Ok(()),
    }
}

impl From<&model::Mount> for Mount {
    fn from(mount: &model::Mount) -> Self {
        let bare = |mount_type| Mount { mount_type, source: None, target: None, readonly: None, size_bytes: None };
        match mount {
            model::Mount::Bind { source, target, readonly } => {
                Mount { source: Some(source.clone()), target: Some(target.clone()), readonly: Some(*readonly), ..bare(MountType::Bind) }
            }
            model::Mount::Layer { source } => Mount { source: Some(source.clone()), readonly: Some(true), ..bare(MountType::Layer) },
            model::Mount::Tmpfs { target, size_bytes } => {
                Mount { target: Some(target.clone()), size_bytes: *size_bytes, ..bare(MountType::Tmpfs) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_comes_back_as_it_was_asked() {
        let mounts = [
            model::Mount::Bind { source: "/srv".into(), target: "/data".into(), readonly: true },
            model::Mount::Layer { source: "/conf".into() },
            model::Mount::Tmpfs { target: "/tmp".into(), size_bytes: Some(1) },
        ];
        for mount in mounts {
            assert_eq!(Mount::from(&mount).into_model("mounts[0]"), Ok(mount));
        }
    }

    #[test]
    fn a_field_that_does_not_belong_to_the_type_is_refused_by_name() {
        let cases = [
            (r#"{"type":"bind","source":"/a"}"#, "mounts[2].target"),
            (r#"{"type":"bind","source":"/a","target":"/b","size_bytes":1}"#, "mounts[2].size_bytes"),
            (r#"{"type":"layer","source":"/a","target":"/b"}"#, "mounts[2].target"),
            (r#"{"type":"layer","source":"/a","readonly":false}"#, "mounts[2].readonly"),
            (r#"{"type":"tmpfs"}"#, "mounts[2].target"),
            (r#"{"type":"tmpfs","target":"/t","source":"/a"}"#, "mounts[2].source"),
        ];
        for (json, field) in cases {
            let mount: Mount = serde_json::from_str(json).expect("readable");
            assert_eq!(mount.into_model("mounts[2]").map_err(|invalid| invalid.field), Err(field.to_owned()), "{json}");
        }
    }
}
