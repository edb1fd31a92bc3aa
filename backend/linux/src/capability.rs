//! Capabilities of this thread (`capabilities(7)`): the five sets, and taking away what a container must not have.

use rustix::thread::CapabilitySets;

pub use rustix::thread::CapabilitySet;

use crate::error::{Context, Result};

/// Whether this thread may use a capability now.
pub fn holds(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Capabilities by name, as the field's lists write them.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capability with this name (without `CAP_`), if this crate knows it.
pub fn by_name(name: &str) -> Option<CapabilitySet> {
    let bit = NAMES.iter().position(|known| *known == name)?;
    CapabilitySet::from_bits(1 << bit)
}

/// Removes every capability outside `keep` from the bounding set of this thread, also those that are newer than this
/// list, and empties the ambient set. The kernel itself says where its capabilities end (`EINVAL`): a file that says so
/// could be another's by now.
pub fn bound(keep: CapabilitySet) -> Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(rustix::io::Errno::INVAL) => break,
            dropped => dropped.context("drop", || format!("capability {bit}"))?,
        }
    }
    rustix::thread::clear_ambient_capability_set().context("clear", || "ambient capabilities".into())
}

/// Sets the sets in force to these, as far as they are held: nothing is gained. Ambient ones must be permitted and
/// inheritable, or the kernel would refuse them. Returns what was asked for and is not held.
pub fn set(wanted: &Wanted) -> Result<CapabilitySet> {
    let held = rustix::thread::capabilities(None).context("read", || "capabilities".into())?;
    let permitted = held.permitted & wanted.permitted;
    let effective = permitted & wanted.effective;
    let inheritable = (held.permitted | held.inheritable) & wanted.inheritable;
    let sets = CapabilitySets { effective, permitted, inheritable };
    rustix::thread::set_capabilities(None, sets).context("set", || "capabilities".into())?;
    rustix::thread::clear_ambient_capability_set().context("clear", || "ambient capabilities".into())?;
    let ambient = wanted.ambient & permitted & inheritable;
    for capability in ambient.iter() {
        let raised = rustix::thread::configure_capability_in_ambient_set(capability, true);
        raised.context("raise", || format!("ambient {capability:?}"))?;
    }
    Ok((wanted.permitted - permitted) | (wanted.effective - effective) | (wanted.inheritable - inheritable) | (wanted.ambient - ambient))
}

/// The sets that a program begins with, beside the bounding one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// In force.
    pub effective: CapabilitySet,
    /// What can be put in force.
    pub permitted: CapabilitySet,
    /// What files may give on (CVE-2022-24769: one that is not empty gives to programs that have them in their file).
    pub inheritable: CapabilitySet,
    /// What survives an exec by a user other than root.
    pub ambient: CapabilitySet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_the_kernels_numbers() {
        assert_eq!(by_name("CHOWN"), Some(CapabilitySet::CHOWN));
        assert_eq!(by_name("SYS_ADMIN"), Some(CapabilitySet::SYS_ADMIN));
        assert_eq!(by_name("CHECKPOINT_RESTORE"), Some(CapabilitySet::CHECKPOINT_RESTORE));
        assert_eq!(by_name("NOPE"), None);
    }
}
