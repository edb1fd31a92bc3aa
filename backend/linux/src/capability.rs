//! Capabilities of this thread (`capabilities(7)`): the five sets, and taking away what a container must not have.

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Context, Result};

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

/// Reduces effective and permitted to what of `keep` this thread still has, and empties inheritable (CVE-2022-24769: a
/// non-empty inheritable set gives capabilities to programs that have them in their file).
pub fn keep_only(keep: CapabilitySet) -> Result<()> {
    let held = rustix::thread::capabilities(None).context("read", || "capabilities".into())?;
    let rest = held.permitted & keep;
    let sets = CapabilitySets { effective: rest, permitted: rest, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).context("set", || "capabilities".into())
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
