//! From the words of a spec to the kernel's: attributes, propagation, options.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use belljar_linux::Result;
use belljar_linux::mount::{self, Attributes, Change, Value};
use rustix::io::Errno;

use crate::spec::{Attribute, Depth, MountAttributes, Propagation};

/// The field of access times, which is cleared as a whole before one of them is set (`MOUNT_ATTR__ATIME`).
const ACCESS_TIME: Attributes = Attributes::from_bits_retain(0x70);

fn bit_of(attribute: Attribute) -> Attributes {
    match attribute {
        Attribute::ReadOnly => Attributes::MOUNT_ATTR_RDONLY,
        Attribute::NoSuid => Attributes::MOUNT_ATTR_NOSUID,
        Attribute::NoDev => Attributes::MOUNT_ATTR_NODEV,
        Attribute::NoExec => Attributes::MOUNT_ATTR_NOEXEC,
        Attribute::NoAtime => Attributes::MOUNT_ATTR_NOATIME,
        Attribute::StrictAtime => Attributes::MOUNT_ATTR_STRICTATIME,
        Attribute::RelAtime => Attributes::MOUNT_ATTR_RELATIME,
        Attribute::NoDirAtime => Attributes::MOUNT_ATTR_NODIRATIME,
        Attribute::NoSymFollow => Attributes::MOUNT_ATTR_NOSYMFOLLOW,
    }
}

/// These as the kernel's bits.
pub(super) fn bits(attributes: &BTreeSet<Attribute>) -> Attributes {
    attributes.iter().fold(Attributes::empty(), |all, attribute| all | bit_of(*attribute))
}

fn change_of(set: &BTreeSet<Attribute>, clear: &BTreeSet<Attribute>) -> Change {
    let is_access_time = |attribute: &Attribute| matches!(attribute, Attribute::NoAtime | Attribute::StrictAtime | Attribute::RelAtime);
    let access_time = set.iter().chain(clear).any(is_access_time);
    let field = if access_time { ACCESS_TIME } else { Attributes::empty() };
    Change { set: bits(set), clear: bits(clear) | field, propagation: None }
}

/// The kernel's word for a depth.
pub(super) fn depth(depth: Depth) -> mount::Depth {
    match depth {
        Depth::One => mount::Depth::One,
        Depth::All => mount::Depth::All,
    }
}

/// The kernel's word for a propagation.
pub(super) fn propagation(propagation: Propagation) -> mount::Propagation {
    match propagation {
        Propagation::Private | Propagation::RPrivate => mount::Propagation::Private,
        Propagation::Shared | Propagation::RShared => mount::Propagation::Shared,
        Propagation::Slave | Propagation::RSlave => mount::Propagation::Slave,
        Propagation::Unbindable | Propagation::RUnbindable => mount::Propagation::Unbindable,
    }
}

/// What a mount that is there already becomes: its own attributes first, then those that hold for all below it too.
pub(super) fn apply(opened: impl AsFd, attributes: &MountAttributes) -> Result<Kept> {
    let own = change_of(&attributes.set, &attributes.clear);
    let below = change_of(&attributes.set_below, &attributes.clear_below);
    let own = apply_change(&opened, &own, mount::Depth::One)?;
    let below = apply_change(&opened, &below, mount::Depth::All)?;
    Ok(if own == Kept::Some { own } else { below })
}

/// Whether something stayed as it was, since the host keeps it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It did.
    Some,
    /// All is as asked.
    Nothing,
}

/// What a mount of a more privileged namespace is protected by cannot be taken away (`EPERM`): it stays, and what was to be
/// set is set.
fn apply_change(opened: impl AsFd, change: &Change, depth: mount::Depth) -> Result<Kept> {
    if change.is_none() {
        return Ok(Kept::Nothing);
    }
    match mount::change(&opened, change, depth) {
        Err(error) if error.errno == Errno::PERM && !change.clear.is_empty() => {
            let kept = Change { clear: change.clear & ACCESS_TIME, ..*change };
            mount::change(&opened, &kept, depth).map(|()| Kept::Some)
        }
        changed => changed.map(|()| Kept::Nothing),
    }
}

/// Longest value that a file system is told in one piece, in bytes (`fsconfig(2)`).
const VALUE_BYTES_LIMIT: usize = 255;

/// Options as a file system is told them. Layers of an overlay that are too long for one piece are told one by one, which
/// overlayfs understands since Linux 6.8.
pub(super) fn values<'a>(kind: &str, options: &'a [(String, String)]) -> Vec<(&'a str, Value<'a>)> {
    let mut told = Vec::with_capacity(options.len());
    for (key, value) in options {
        if kind == "overlay" && key == "lowerdir" && value.len() > VALUE_BYTES_LIMIT && !value.contains('\\') {
            told.extend(value.split(':').filter(|layer| !layer.is_empty()).map(|layer| ("lowerdir+", Value::Text(layer))));
        } else {
            told.push((key.as_str(), Value::of(value)));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_layers_are_told_one_by_one() {
        let option = |value: &str| [("lowerdir".to_owned(), value.to_owned())];
        assert_eq!(values("overlay", &option("/a:/b")).len(), 1);
        let long = vec![format!("/{}", "x".repeat(60)); 10].join(":");
        let options = option(&long);
        let told = values("overlay", &options);
        assert!(told.len() == 10 && told.iter().all(|(key, _)| *key == "lowerdir+"));
        assert_eq!(values("tmpfs", &options).len(), 1);
    }

    #[test]
    fn a_kind_of_access_time_takes_the_place_of_another() {
        let change = change_of(&[Attribute::NoAtime, Attribute::ReadOnly].into(), &[Attribute::NoExec].into());
        assert_eq!(change.set, Attributes::MOUNT_ATTR_NOATIME | Attributes::MOUNT_ATTR_RDONLY);
        assert_eq!(change.clear, Attributes::MOUNT_ATTR_NOEXEC | ACCESS_TIME);
        assert!(change_of(&BTreeSet::new(), &BTreeSet::new()).is_none());
    }
}
