//! `-v`, `--mount`, `--tmpfs` and `--layer`, as in `docker run`. What Docker has and Belljar has not (propagation, drivers of volumes)
//! is refused with a sentence, never ignored: a mount that is not what was asked for can cost data.

use std::path::{Component, Path, PathBuf};

use belljar_api::notation;
use belljar_model::mount::VolumeMount;
use belljar_model::{IdMapping, Invalid, Mount, size};

/// Reads `-v [SOURCE:]TARGET[:OPTIONS]`. A source that begins with `.` is taken from `folder`, where the caller stands.
pub(crate) fn volume(text: &str, folder: &Path) -> Result<Mount, Invalid> {
    let absolute = match text.split_once(':') {
        Some((source, rest)) if is_relative(source) => format!("{}:{rest}", host_path("--volume", source, folder)?),
        _ => text.to_owned(),
    };
    notation::volume("--volume", &absolute)?.into_model("--volume")
}

/// Reads `--tmpfs TARGET[:size=SIZE]`.
pub(crate) fn tmpfs(text: &str) -> Result<Mount, Invalid> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut size_bytes = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => size_bytes = Some(size::parse("--tmpfs", value)?),
            _ => return Err(Invalid::new("--tmpfs", format!("{option:?} in {text:?} is not an option: Belljar knows size=SIZE"))),
        }
    }
    Ok(Mount::Tmpfs { target: target.to_owned(), size_bytes })
}

/// Reads `--layer FOLDER` and `--layer image=NAME`.
pub(crate) fn layer(text: &str, folder: &Path) -> Result<Mount, Invalid> {
    match text.strip_prefix("image=") {
        Some(image) => Ok(Mount::Image { image: image.to_owned(), digest: None }),
        None => Ok(Mount::Layer { source: host_path("--layer", text, folder)? }),
    }
}

/// Reads `--mount type=bind,source=…,target=…[,readonly]`, `type=tmpfs,target=…[,tmpfs-size=…]`, `type=layer,source=…`.
pub(crate) fn mount(text: &str, folder: &Path) -> Result<Mount, Invalid> {
    let fields = Fields::read(text)?;
    let path = |source: &str| host_path("--mount", source, folder);
    let mount = match fields.kind.as_deref().unwrap_or("volume") {
        "bind" => Mount::Bind {
            source: path(fields.source()?)?,
            target: fields.target()?,
            readonly: fields.readonly,
            idmap: fields.idmap.clone(),
        },
        "layer" => match (fields.source, fields.image) {
            (None, Some(image)) => Mount::Image { image: image.to_owned(), digest: None },
            (Some(_), Some(_)) => return Err(fields.refuse("has source and image, and a layer is one of them")),
            (_, None) => Mount::Layer { source: path(fields.source()?)? },
        },
        "tmpfs" => Mount::Tmpfs { target: fields.target()?, size_bytes: fields.size_bytes },
        "volume" => Mount::Volume(VolumeMount {
            source: fields.source.map(|name| name.parse()).transpose().map_err(|invalid: Invalid| fields.refuse(&invalid.to_string()))?,
            target: fields.target()?,
            readonly: fields.readonly,
            subpath: fields.subpath.map(str::to_owned),
            nocopy: fields.nocopy,
            idmap: fields.idmap.clone(),
            anonymous: false,
        }),
        _ => return Err(fields.refuse("has a type that is not bind, volume, tmpfs or layer")),
    };
    if (fields.subpath.is_some() || fields.nocopy) && mount.volume().is_none() {
        return Err(fields.refuse("has volume-subpath or volume-nocopy, which belong to type=volume"));
    }
    if fields.image.is_some() && !matches!(mount, Mount::Image { .. }) {
        return Err(fields.refuse("has image, which belongs to type=layer"));
    }
    if fields.idmap.is_some() && mount.idmap().is_none() {
        return Err(fields.refuse("has idmap, which belongs to type=bind and type=volume"));
    }
    if fields.size_bytes.is_some() && !matches!(mount, Mount::Tmpfs { .. }) {
        return Err(fields.refuse("has tmpfs-size, which belongs to type=tmpfs"));
    }
    if fields.target.is_some() && mount.target().is_none() {
        return Err(fields.refuse("has a target, but a layer always covers the whole root"));
    }
    Ok(mount)
}

#[derive(Default)]
struct Fields<'a> {
    text: &'a str,
    kind: Option<String>,
    source: Option<&'a str>,
    target: Option<&'a str>,
    readonly: bool,
    size_bytes: Option<u64>,
    image: Option<&'a str>,
    subpath: Option<&'a str>,
    nocopy: bool,
    idmap: Option<IdMapping>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, Invalid> {
        let mut fields = Fields { text, ..Fields::default() };
        let mut rest = text;
        while let Some(field) = next_field(&mut rest) {
            match field.split_once('=').unwrap_or((field, "true")) {
                ("type", value) => fields.kind = Some(value.to_owned()),
                ("source" | "src", value) => fields.source = Some(value),
                ("target" | "dst" | "destination", value) => fields.target = Some(value),
                ("readonly" | "ro", "true" | "1") => fields.readonly = true,
                ("readonly" | "ro", "false" | "0") => fields.readonly = false,
                ("image", value) => fields.image = Some(value),
                ("volume-subpath", value) => fields.subpath = Some(value),
                ("volume-nocopy", "true" | "1") => fields.nocopy = true,
                ("volume-nocopy", "false" | "0") => fields.nocopy = false,
                ("idmap", value) => fields.idmap = Some(value.parse().map_err(|invalid: Invalid| fields.refuse(&invalid.to_string()))?),
                ("tmpfs-size", value) => fields.size_bytes = Some(size::parse("--mount", value)?),
                _ => return Err(fields.refuse(&format!("has {field:?}, which is not a field that Belljar knows"))),
            }
        }
        Ok(fields)
    }

    fn source(&self) -> Result<&'a str, Invalid> {
        self.source.ok_or_else(|| self.refuse("lacks source=FOLDER"))
    }

    fn target(&self) -> Result<String, Invalid> {
        self.target.map(str::to_owned).ok_or_else(|| self.refuse("lacks target=PATH"))
    }

    fn refuse(&self, problem: &str) -> Invalid {
        Invalid::new("--mount", format!("{:?} {problem}", self.text))
    }
}

/// The next field of a list, which is what is left of it afterwards. A mapping of ids has commas of its own.
fn next_field<'a>(rest: &mut &'a str) -> Option<&'a str> {
    if rest.is_empty() {
        return None;
    }
    let mut end = rest.find(',').unwrap_or(rest.len());
    while rest.starts_with("idmap=") && end < rest.len() && IdMapping::goes_on_with(&rest[end + 1..]) {
        end = rest[end + 1..].find(',').map_or(rest.len(), |further| end + 1 + further);
    }
    let field = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    Some(field)
}

fn is_relative(source: &str) -> bool {
    source == "." || source == ".." || source.starts_with("./") || source.starts_with("../")
}

/// An absolute path on the host. The server runs elsewhere in the tree, so a relative one is made absolute here.
fn host_path(field: &str, source: &str, folder: &Path) -> Result<String, Invalid> {
    if source.starts_with('/') {
        return Ok(source.to_owned());
    }
    if !is_relative(source) {
        return Err(Invalid::new(field, format!("{source:?} is no path: write a folder as /srv/data or ./data")));
    }
    let mut path = PathBuf::from(folder);
    for component in Path::new(source).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path.into_os_string().into_string().map_err(|_| Invalid::new(field, format!("{source:?} leads to a folder whose name is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new("/home/ann/site")
    }

    fn bind(source: &str, target: &str) -> Mount {
        Mount::Bind { source: source.into(), target: target.into(), readonly: false, idmap: None }
    }

    fn bind_readonly(source: &str, target: &str) -> Mount {
        Mount::Bind { source: source.into(), target: target.into(), readonly: true, idmap: None }
    }

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        assert_eq!(volume("/srv/db:/data", here()), Ok(bind("/srv/db", "/data")));
        assert_eq!(volume("/srv/db:/data:ro", here()), Ok(bind_readonly("/srv/db", "/data")));
        assert_eq!(volume("./html:/www:rw", here()), Ok(bind("/home/ann/site/html", "/www")));
        assert_eq!(volume("../x:/www", here()), Ok(bind("/home/ann/x", "/www")));
    }

    #[test]
    fn what_belljar_does_not_have_is_refused_and_never_ignored() {
        for text in ["/a:/b:z", "/a:/b:rshared", "/a:/b:ro:x", "", "pg:data", ".hidden:/data", "/a:/b:nocopy", "/a:/b:idmap=1"] {
            assert!(volume(text, here()).is_err(), "{text}");
        }
        for text in [
            "type=volume,source=../a,target=/b",
            "type=volume,source=a",
            "type=volume,source=a,target=/b,volume-driver=nfs",
            "type=bind,source=/a,target=/b,bind-propagation=rshared",
            "type=bind,source=/a,target=/b,volume-nocopy",
            "type=bind,source=/a,target=/b,volume-subpath=c",
            "type=tmpfs,target=/b,idmap=1:1",
            "type=bind,source=/a,target=/b,idmap=1000:1000,readonly,x",
        ] {
            assert!(mount(text, here()).is_err(), "{text}");
        }
        assert!(tmpfs("/t:mode=1777").is_err());
    }

    #[test]
    fn mounts_are_read_by_field() {
        assert_eq!(mount("type=bind,src=/a,dst=/b,ro", here()), Ok(bind_readonly("/a", "/b")));
        assert_eq!(mount("type=bind,source=/a,target=/b,readonly=false", here()), Ok(bind("/a", "/b")));
        assert_eq!(mount("type=layer,source=./conf", here()), Ok(Mount::Layer { source: "/home/ann/site/conf".into() }));
        let conf = || Ok(Mount::Image { image: "conf:1".into(), digest: None });
        assert_eq!((mount("type=layer,image=conf:1", here()), layer("image=conf:1", here())), (conf(), conf()));
        let tmpfs = Mount::Tmpfs { target: "/t".into(), size_bytes: Some(64 << 20) };
        assert_eq!(mount("type=tmpfs,target=/t,tmpfs-size=64m", here()), Ok(tmpfs));
        for text in
            ["type=bind,target=/b", "type=bind,source=/a", "type=layer,source=/a,target=/b", "type=bind,source=/a,target=/b,tmpfs-size=1m"]
        {
            assert!(mount(text, here()).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_have_a_name_or_go_with_the_container() {
        let named = VolumeMount::of("pg".parse().ok(), "/data");
        assert_eq!(volume("pg:/data", here()), Ok(Mount::Volume(named.clone())));
        assert_eq!(volume("/data", here()), Ok(Mount::Volume(VolumeMount::of(None, "/data"))));
        let special = VolumeMount { readonly: true, nocopy: true, idmap: "1000:1000,33:33".parse().ok(), ..named.clone() };
        assert_eq!(volume("pg:/data:ro,idmap=1000:1000,33:33,nocopy", here()), Ok(Mount::Volume(special.clone())));
        assert_eq!(mount("type=volume,src=pg,dst=/data,ro,idmap=1000:1000,33:33,volume-nocopy", here()), Ok(Mount::Volume(special)));
        assert_eq!(mount("source=pg,target=/data", here()), Ok(Mount::Volume(named.clone())));
        let part = VolumeMount { subpath: Some("a/b".into()), ..named };
        assert_eq!(mount("type=volume,source=pg,target=/data,volume-subpath=a/b", here()), Ok(Mount::Volume(part)));
        let mapped = Mount::Bind { source: "/srv".into(), target: "/data".into(), readonly: false, idmap: "u:1000:0,g:100:0".parse().ok() };
        assert_eq!(volume("/srv:/data:idmap=u:1000:0,g:100:0", here()), Ok(mapped));
    }

    #[test]
    fn a_tmpfs_may_have_a_size() {
        assert_eq!(tmpfs("/t"), Ok(Mount::Tmpfs { target: "/t".into(), size_bytes: None }));
        assert_eq!(tmpfs("/t:size=1g"), Ok(Mount::Tmpfs { target: "/t".into(), size_bytes: Some(1 << 30) }));
    }
}
