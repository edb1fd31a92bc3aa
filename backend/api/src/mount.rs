//! A mount on the wire: one flat object whose `type` says which of its fields count.

use belljar_model::mount as model;
use belljar_model::{IdMapping, Invalid};
use serde::{Deserialize, Serialize};

/// `bind`, `volume`, `layer` or `tmpfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A folder or file of the host, shared.
    Bind,
    /// A folder that Belljar keeps, which outlives the container.
    Volume,
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
    /// Path on the host: `bind` and `layer`. Name of a `volume`; without one it is made for this container, and goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Path in the container: all but `layer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the container may not write to it: `bind` and `volume`, false where not given. A layer always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly: Option<bool>,
    /// Most bytes: `tmpfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// A folder in it that is mounted instead of all of it: `volume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Whether it stays empty, instead of being filled from the image: `volume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nocopy: Option<bool>,
    /// Who of the host is who inside, `HOST:CONTAINER[:COUNT]`, more of them after commas: `bind` and `volume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idmap: Option<String>,
    /// An image whose layers it is, instead of a folder: `layer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What that image was when the container was created, which it stays for it: `layer`. Only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether it was made for this container, and goes with it: `volume`. Only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
}

impl Mount {
    /// A mount of this type about which nothing else is said.
    pub fn bare(mount_type: MountType) -> Self {
        let (source, target, readonly, size_bytes, subpath, nocopy, idmap, anonymous) = Default::default();
        Self { mount_type, source, target, readonly, size_bytes, subpath, nocopy, idmap, image: None, digest: None, anonymous }
    }

    /// The model's mount; `field` is this one's path in the request (`mounts[0]`).
    pub fn into_model(self, field: &str) -> Result<model::Mount, Invalid> {
        self.check_fields(field)?;
        let readonly = self.readonly.unwrap_or(false);
        match self.mount_type {
            MountType::Bind => {
                let (source, target) = (present(field, "source", self.source)?, present(field, "target", self.target)?);
                Ok(model::Mount::Bind { source, target, readonly, idmap: idmap(field, self.idmap)? })
            }
            MountType::Volume => {
                let at = |invalid: Invalid| Invalid::new(format!("{field}.source"), invalid.problem);
                Ok(model::Mount::Volume(model::VolumeMount {
                    source: self.source.map(|name| name.parse().map_err(at)).transpose()?,
                    target: present(field, "target", self.target)?,
                    readonly,
                    subpath: self.subpath,
                    nocopy: self.nocopy.unwrap_or(false),
                    idmap: idmap(field, self.idmap)?,
                    // Whoever says what is made for a container is who makes it.
                    anonymous: false,
                }))
            }
            MountType::Layer => {
                if self.readonly == Some(false) {
                    return Err(Invalid::new(format!("{field}.readonly"), "must not be false: a layer is never written to"));
                }
                match (self.source, self.image) {
                    (Some(_), Some(_)) => Err(Invalid::new(format!("{field}.image"), "cannot stand beside source: a layer is one of them")),
                    // What it was for another container is no promise for this one.
                    (None, Some(image)) => Ok(model::Mount::Image { image, digest: None }),
                    (source, None) => Ok(model::Mount::Layer { source: present(field, "source", source)? }),
                }
            }
            MountType::Tmpfs => Ok(model::Mount::Tmpfs { target: present(field, "target", self.target)?, size_bytes: self.size_bytes }),
        }
    }

    /// Refuses what does not belong to the type.
    fn check_fields(&self, field: &str) -> Result<(), Invalid> {
        use MountType::{Bind, Layer, Tmpfs, Volume};
        let given: [(&str, bool, &[MountType]); 10] = [
            ("source", self.source.is_some(), &[Bind, Volume, Layer]),
            ("target", self.target.is_some(), &[Bind, Volume, Tmpfs]),
            ("readonly", self.readonly == Some(true), &[Bind, Volume, Layer]),
            ("size_bytes", self.size_bytes.is_some(), &[Tmpfs]),
            ("subpath", self.subpath.is_some(), &[Volume]),
            ("nocopy", self.nocopy.is_some(), &[Volume]),
            ("idmap", self.idmap.is_some(), &[Bind, Volume]),
            ("image", self.image.is_some(), &[Layer]),
            ("digest", self.digest.is_some(), &[Layer]),
            ("anonymous", self.anonymous.is_some(), &[Volume]),
        ];
        for (name, is_given, types) in given {
            if is_given && !types.contains(&self.mount_type) {
                return Err(Invalid::new(format!("{field}.{name}"), "does not belong to this type of mount"));
            }
        }
        if self.anonymous == Some(true) && self.source.is_some() {
            return Err(Invalid::new(format!("{field}.anonymous"), "is what a volume without source is"));
        }
        Ok(())
    }
}

fn present(field: &str, name: &str, value: Option<String>) -> Result<String, Invalid> {
    value.ok_or_else(|| Invalid::new(format!("{field}.{name}"), "is required for this type of mount"))
}

fn idmap(field: &str, text: Option<String>) -> Result<Option<IdMapping>, Invalid> {
    text.map(|text| text.parse()).transpose().map_err(|invalid: Invalid| Invalid::new(format!("{field}.idmap"), invalid.problem))
}

impl From<&model::Mount> for Mount {
    fn from(mount: &model::Mount) -> Self {
        match mount {
            model::Mount::Bind { source, target, readonly, idmap } => Mount {
                source: Some(source.clone()),
                target: Some(target.clone()),
                readonly: Some(*readonly),
                idmap: idmap.as_ref().map(ToString::to_string),
                ..Mount::bare(MountType::Bind)
            },
            model::Mount::Volume(volume) => Mount {
                source: volume.source.as_ref().map(ToString::to_string),
                target: Some(volume.target.clone()),
                readonly: Some(volume.readonly),
                subpath: volume.subpath.clone(),
                nocopy: volume.nocopy.then_some(true),
                idmap: volume.idmap.as_ref().map(ToString::to_string),
                anonymous: volume.anonymous.then_some(true),
                ..Mount::bare(MountType::Volume)
            },
            model::Mount::Image { image, digest } => {
                let (image, digest) = (Some(image.clone()), digest.clone());
                Mount { image, digest, readonly: Some(true), ..Mount::bare(MountType::Layer) }
            }
            model::Mount::Layer { source } => Mount { source: Some(source.clone()), readonly: Some(true), ..Mount::bare(MountType::Layer) },
            model::Mount::Tmpfs { target, size_bytes } => {
                Mount { target: Some(target.clone()), size_bytes: *size_bytes, ..Mount::bare(MountType::Tmpfs) }
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
            model::Mount::Bind { source: "/srv".into(), target: "/data".into(), readonly: true, idmap: "1000:1000".parse().ok() },
            model::Mount::Volume(model::VolumeMount {
                subpath: Some("a/b".into()),
                nocopy: true,
                idmap: "u:1:2,g:3:4".parse().ok(),
                ..model::VolumeMount::of("pg".parse().ok(), "/var/lib/pg")
            }),
            model::Mount::Layer { source: "/conf".into() },
            model::Mount::Image { image: "conf:1".into(), digest: None },
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
            (r#"{"type":"tmpfs","target":"/t","image":"conf:1"}"#, "mounts[2].image"),
            (r#"{"type":"layer","source":"/a","image":"conf:1"}"#, "mounts[2].image"),
            (r#"{"type":"layer"}"#, "mounts[2].source"),
            (r#"{"type":"tmpfs","target":"/t","idmap":"1:1"}"#, "mounts[2].idmap"),
            (r#"{"type":"bind","source":"/a","target":"/b","subpath":"c"}"#, "mounts[2].subpath"),
            (r#"{"type":"bind","source":"/a","target":"/b","idmap":"1000"}"#, "mounts[2].idmap"),
            (r#"{"type":"volume","source":"pg"}"#, "mounts[2].target"),
            (r#"{"type":"volume","source":"../pg","target":"/b"}"#, "mounts[2].source"),
            (r#"{"type":"volume","source":"pg","target":"/b","size_bytes":1}"#, "mounts[2].size_bytes"),
            (r#"{"type":"volume","source":"pg","target":"/b","anonymous":true}"#, "mounts[2].anonymous"),
            (r#"{"type":"tmpfs","target":"/t","source":"/a"}"#, "mounts[2].source"),
        ];
        for (json, field) in cases {
            let mount: Mount = serde_json::from_str(json).expect("readable");
            assert_eq!(mount.into_model("mounts[2]").map_err(|invalid| invalid.field), Err(field.to_owned()), "{json}");
        }
    }
}
