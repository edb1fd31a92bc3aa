//! The tree: its root, what is mounted, device nodes, and paths that are hidden or protected.

use std::path::{Path, PathBuf};

use belljar_model::Invalid;
use belljar_runtime::cgroup::devices::{MAJOR_END, MINOR_END};
use belljar_runtime::spec::options::{self, Entry};
use belljar_runtime::spec::{Access, Content, Device, DeviceKind, IdMaps, MountPoint, Propagation, Root, Tree};

use super::{absolute, namespaces};
use crate::document::{self, Document, Linux};

/// Permissions of a device node that has none asked for.
const DEVICE_MODE: u32 = 0o666;
/// `S_IFMT` of `stat(2)`.
const KIND_OF_FILE: u32 = 0o170_000;

/// The root of the container.
pub(super) fn root(document: &Document, folder: PathBuf) -> Root {
    let readonly = document.root.as_ref().is_some_and(|root| root.readonly);
    Root {
        tree: Tree::Folder(folder),
        access: if readonly { Access::ReadOnly } else { Access::ReadWrite },
        propagation: document.linux().rootfs_propagation.map(propagation),
    }
}

fn propagation(word: document::Propagation) -> Propagation {
    match word {
        document::Propagation::Shared => Propagation::Shared,
        document::Propagation::Slave => Propagation::Slave,
        document::Propagation::Private => Propagation::Private,
        document::Propagation::Unbindable => Propagation::Unbindable,
        document::Propagation::RecursivelyShared => Propagation::RShared,
        document::Propagation::RecursivelySlave => Propagation::RSlave,
        document::Propagation::RecursivelyPrivate => Propagation::RPrivate,
        document::Propagation::RecursivelyUnbindable => Propagation::RUnbindable,
    }
}

/// What is mounted, in the document's order.
pub(super) fn mounts(document: &Document, bundle: &Path, warnings: &mut Vec<String>) -> Result<Vec<MountPoint>, Invalid> {
    let mut list = Vec::with_capacity(document.mounts.len());
    for (index, wanted) in document.mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        if !wanted.destination.is_empty() && !wanted.destination.starts_with('/') {
            warnings.push(format!("{field}.destination: {:?} is not absolute; it is taken from the root", wanted.destination));
        }
        let within = |invalid: Invalid| Invalid::new(format!("{field}.{}", invalid.field), invalid.problem);
        let mount = entry(wanted, bundle, &field)?.mount_point().map_err(within)?;
        if matches!(mount.content, Content::Bind { .. } | Content::Cgroup) {
            warnings.extend(unheard(wanted, &field));
        }
        list.push(mount);
    }
    Ok(list)
}

/// How much of an option a warning repeats: they go into logs.
const SHOWN_LETTERS: usize = 64;

/// What would be told to a file system that is there already, in sentences: engines give binds more than binds can take.
fn unheard(wanted: &document::Mount, field: &str) -> Vec<String> {
    let is_told = |option: &String| options::parse_options(std::slice::from_ref(option)).is_ok_and(|parsed| !parsed.options.is_empty());
    let told = wanted.options.iter().enumerate().filter(|(_, option)| is_told(option));
    let shown = |option: &String| option.chars().take(SHOWN_LETTERS).collect::<String>();
    let sentence = "is without effect: it is no option of a mount, and the file system is there already";
    told.map(|(index, option)| format!("{field}.options[{index}]: {:?} {sentence}", shown(option))).collect()
}

fn entry(wanted: &document::Mount, bundle: &Path, field: &str) -> Result<Entry, Invalid> {
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let is_bind = wanted.kind == "bind" || wanted.options.iter().any(|option| option == "bind" || option == "rbind");
    // A relative source is meant from the bundle, wherever whoever calls happens to be.
    let source = match filled(&wanted.source) {
        Some(source) if is_bind => Some(bundle.join(source).to_string_lossy().into_owned()),
        source => source,
    };
    let maps = match (wanted.uid_mappings.as_slice(), wanted.gid_mappings.as_slice()) {
        ([], []) => None,
        ([], _) => return Err(Invalid::new(format!("{field}.uidMappings"), "group ids are mapped, so user ids must be too")),
        (_, []) => return Err(Invalid::new(format!("{field}.gidMappings"), "user ids are mapped, so group ids must be too")),
        (uids, gids) => {
            namespaces::check_map(&format!("{field}.uidMappings"), uids)?;
            namespaces::check_map(&format!("{field}.gidMappings"), gids)?;
            Some(IdMaps { uids: namespaces::map(uids), gids: namespaces::map(gids) })
        }
    };
    Ok(Entry { target: wanted.destination.clone(), kind: filled(&wanted.kind), source, options: wanted.options.clone(), maps })
}

/// Device nodes.
/// The devices of a document, but for `/dev/ptmx`, which engines list too: it is the container's own.
pub(super) fn devices(linux: &Linux) -> Result<Vec<Device>, Invalid> {
    let devices = linux.devices.iter().enumerate().map(|(index, wanted)| device(&format!("linux.devices[{index}]"), wanted));
    devices.filter(|device| !matches!(device, Ok(device) if Path::new(&device.path) == Path::new("/dev/ptmx"))).collect()
}

fn device(field: &str, wanted: &document::Device) -> Result<Device, Invalid> {
    let at = |name: &str| format!("{field}.{name}");
    absolute(&at("path"), &wanted.path)?;
    let kind = match wanted.kind {
        document::DeviceKind::Character | document::DeviceKind::Unbuffered => DeviceKind::Character,
        document::DeviceKind::Block => DeviceKind::Block,
        document::DeviceKind::Fifo => DeviceKind::Fifo,
    };
    let number = |name: &str, number: i64, end: i64| match u32::try_from(number) {
        Ok(number) if i64::from(number) < end => Ok(number),
        _ => Err(Invalid::new(at(name), format!("{number} is not from 0 to {}", end - 1))),
    };
    // Above are bits of the kind of file, which some engines copy from stat(2), and nothing else.
    let mode = wanted.file_mode.unwrap_or(DEVICE_MODE);
    if mode > KIND_OF_FILE | 0o7777 {
        return Err(Invalid::new(at("fileMode"), format!("{mode} ({mode:#o}) is no mode from 0 to 0o7777")));
    }
    Ok(Device {
        path: wanted.path.clone(),
        kind,
        major: number("major", wanted.major, MAJOR_END)?,
        minor: number("minor", wanted.minor, MINOR_END)?,
        mode: mode & 0o7777,
        uid: wanted.uid.unwrap_or_default(),
        gid: wanted.gid.unwrap_or_default(),
    })
}

/// Paths of the container that are hidden or protected.
pub(super) fn paths(field: &str, wanted: &[String]) -> Result<Vec<String>, Invalid> {
    for (index, path) in wanted.iter().enumerate() {
        absolute(&format!("{field}[{index}]"), path)?;
    }
    Ok(wanted.to_vec())
}
