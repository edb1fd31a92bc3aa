//! What of the host a container is started with: the containers that it joins, the devices that it may use, and whether
//! the host can give it user ids of its own.
//!
//! It is looked up at each start: what is joined has another process after each of its own starts.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use belljar_model::host::Support;
use belljar_model::image::ImageLayer;
use belljar_model::isolation::Whose;
use belljar_model::namespace::Kind;
use belljar_model::setting;
use belljar_model::{Config, Container, Failure, Invalid, Mount};
use belljar_runtime::cgroup::disks::Disk;
use belljar_runtime::spec::{Device, DeviceKind, Joined};

use crate::StartNow;
use crate::shared::Shared;

/// What a container that is to be made joins must be there; where it is to begin at once, it must run.
pub(crate) fn check_joined(shared: &Shared, config: &Config, start: StartNow) -> Result<(), Invalid> {
    for (kind, key) in config.namespaces.joined() {
        let asked = config.namespaces.asked(kind);
        // What follows from another kind is told there.
        let Some(_) = asked else { continue };
        let refuse = |problem: String| Invalid::new(format!("namespaces.{}", kind.as_str()), problem);
        let other = shared.registry.find(&key).map_err(|_| refuse(format!("there is no container {key}")))?;
        if start == StartNow::Yes && other.init.is_none() {
            return Err(refuse(format!("container {key} is {}: start it first", other.state.as_str())));
        }
    }
    Ok(())
}

/// A mount's own mapping of ids needs a file system that can map; which cannot is known before a container is made of it.
pub(crate) fn check_idmaps(shared: &Shared, mounts: &[Mount]) -> Result<(), Invalid> {
    for (index, mount) in mounts.iter().enumerate().filter(|(_, mount)| mount.idmap().is_some()) {
        let refuse = |problem: String| Err(Invalid::new(format!("mounts[{index}].idmap"), problem));
        for support in [&shared.host.user_namespaces, &shared.host.idmapped_mounts] {
            if let Support::No(because) = support {
                return refuse(format!("cannot be: {because}"));
            }
        }
        let source = match mount {
            Mount::Bind { source, .. } => PathBuf::from(source),
            _ => shared.home.folders.data_dir.join(belljar_runtime::volume::FOLDER),
        };
        if let Some(because) = shared.mapper.as_ref().and_then(|mapper| mapper.why_not(&source)) {
            return refuse(format!("cannot be: {because}"));
        }
    }
    Ok(())
}

/// The containers that this one joins, by the key that was asked for.
pub(crate) fn joined(shared: &Shared, container: &Container) -> Result<BTreeMap<String, Joined>, Failure> {
    let mut joined = BTreeMap::new();
    for (kind, key) in container.config.namespaces.joined() {
        let failed = |cause: String| Failure { step: "join".into(), object: format!("{} of container {key}", kind.as_str()), cause };
        let other = shared.registry.find(&key).map_err(|_| failed("there is no such container".to_owned()))?;
        let init = other.init.ok_or_else(|| failed(format!("it is {}: start it first", other.state.as_str())))?;
        joined.insert(key.clone(), Joined { pid: init.pid, uid_base: base_of(init.pid) });
    }
    Ok(joined)
}

/// First host id of a process's user namespace; `None` where it is the host's.
pub(crate) fn base_of(pid: i32) -> Option<u32> {
    base_in(&std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?)
}

/// What id 0 of a map is outside, where the map is not the host's own (`user_namespaces(7)`).
fn base_in(map: &str) -> Option<u32> {
    let line = map.lines().find(|line| line.split_ascii_whitespace().next() == Some("0"))?;
    let mut numbers = line.split_ascii_whitespace().skip(1).map(str::parse::<u32>);
    let (Some(Ok(outside)), Some(Ok(count))) = (numbers.next(), numbers.next()) else { return None };
    (count != u32::MAX).then_some(outside)
}

/// The host's devices that a container may use, by their numbers now.
pub(crate) fn devices(config: &Config) -> Result<Vec<Device>, Failure> {
    config.devices.iter().map(device).collect()
}

fn device(asked: &setting::Device) -> Result<Device, Failure> {
    let failed = |cause: String| Failure { step: "find".into(), object: format!("device {}", asked.source), cause };
    let metadata = std::fs::metadata(Path::new(&asked.source)).map_err(|error| failed(error.to_string()))?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => DeviceKind::Character,
        kind if kind.is_block_device() => DeviceKind::Block,
        _ => return Err(failed("it is no device".to_owned())),
    };
    let number = metadata.rdev();
    Ok(Device {
        path: asked.path().to_owned(),
        kind,
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
        mode: metadata.mode() & 0o777,
        uid: 0,
        gid: 0,
    })
}

/// The disks whose use is limited, by their numbers now.
pub(crate) fn disks(config: &Config) -> Result<Vec<Disk>, Failure> {
    let failed = |invalid: Invalid| Failure { step: "find".into(), object: invalid.field, cause: invalid.problem };
    crate::limit::disks_of(&config.limits).map_err(failed)
}

/// Why this host cannot give a container user ids of its own, as a clause; `None` where it can, or where it asked for none.
pub(crate) fn why_without_ids(shared: &Shared, container: &Container, image: &[ImageLayer]) -> Option<String> {
    if container.config.namespaces.of(Kind::User) != Whose::Private {
        return None;
    }
    for support in [&shared.host.user_namespaces, &shared.host.idmapped_mounts] {
        if let Support::No(because) = support {
            return Some(because.clone());
        }
    }
    let mapper = shared.mapper.as_ref()?;
    let asked = container.config.mounts.iter().filter_map(|mount| match mount {
        Mount::Layer { source } => Some(PathBuf::from(source)),
        Mount::Volume(volume) => volume.source.as_ref().map(|name| shared.home.folders.volume(name)),
        // A file system of a bind that cannot map owners is taken as it is: its files then are nobody's inside.
        Mount::Bind { .. } | Mount::Image { .. } | Mount::Tmpfs { .. } => None,
    });
    let own = shared.bundle(&container.id);
    let layers = image.iter().map(|layer| PathBuf::from(&layer.path));
    std::iter::once(own.dir().to_owned()).chain(layers).chain(asked).find_map(|path| mapper.why_not(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_a_user_namespace_is_what_its_map_says() {
        assert_eq!(base_in("         0 1879048192      65536\n"), Some(1_879_048_192));
        assert_eq!(base_in("         0          0 4294967295\n"), None, "the host's own");
        assert_eq!(base_in("1 5 1\n0 7 1\n"), Some(7));
        assert_eq!(base_in(""), None);
    }

    #[test]
    fn a_device_is_known_by_its_numbers_now() {
        let asked = |source: &str| setting::Device { source: source.into(), path: Some("/dev/nothing".into()), access: "rw".into() };
        let null = device(&asked("/dev/null")).expect("every host has it");
        assert_eq!((null.path.as_str(), null.kind, null.major, null.minor), ("/dev/nothing", DeviceKind::Character, 1, 3));
        for source in ["/dev/there-is-no-such-device", "/proc/version"] {
            assert!(device(&asked(source)).is_err(), "{source}");
        }
    }
}
