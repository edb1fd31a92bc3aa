//! The default filter: system calls that no ordinary program needs, and that reach parts of the kernel which know nothing
//! of containers.
//!
//! This is a list of denials over a default of *allow*: it closes namespaces, mounts, keyrings, modules, io_uring, BPF and
//! the like. The field's full list (a default of deny, by name) is the next step of the core.

use belljar_linux::seccomp::{Denial, When};
use serde::{Deserialize, Serialize};

/// Which filter of system calls a program gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The default one.
    Default,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Choice::Default => write!(formatter, "{} denials", default_denials().len()),
        }
    }
}

impl Choice {
    /// The filter as the kernel takes it.
    pub fn program(&self) -> Vec<libc::sock_filter> {
        match self {
            Choice::Default => belljar_linux::seccomp::compile(&default_denials()),
        }
    }
}

const EPERM: u16 = libc::EPERM as u16;
const ENOSYS: u16 = libc::ENOSYS as u16;

/// Bits of `clone(2)`'s flags that make namespaces: mnt, cgroup, uts, ipc, user, pid, net, time.
const CLONE_NEW_ANY: u32 = 0x7e02_0080;

macro_rules! denied {
    ($($name:ident $when:expr, $errno:expr;)*) => {
        vec![$(Denial { name: stringify!($name), number: libc::$name as u32, when: $when, errno: $errno }),*]
    };
}

/// The denials of the default filter.
pub fn default_denials() -> Vec<Denial> {
    use When::{Always, AnyBit, Equal};
    let argument = |argument: u8, value: i32| Equal { argument, value: value as u32 };
    denied! {
        // New namespaces, in which the container would have every capability over code that trusts them.
        SYS_clone AnyBit { argument: 0, mask: CLONE_NEW_ANY }, EPERM;
        SYS_unshare AnyBit { argument: 0, mask: CLONE_NEW_ANY }, EPERM;
        SYS_setns Always, EPERM;
        // Its flags lie in memory, where a filter cannot look: the C library falls back to clone.
        SYS_clone3 Always, ENOSYS;
        // Mounts.
        SYS_mount Always, EPERM;
        SYS_umount2 Always, EPERM;
        SYS_pivot_root Always, EPERM;
        SYS_fsopen Always, EPERM;
        SYS_fsconfig Always, EPERM;
        SYS_fsmount Always, EPERM;
        SYS_fspick Always, EPERM;
        SYS_move_mount Always, EPERM;
        SYS_open_tree Always, EPERM;
        SYS_mount_setattr Always, EPERM;
        SYS_quotactl Always, EPERM;
        SYS_quotactl_fd Always, EPERM;
        SYS_swapon Always, EPERM;
        SYS_swapoff Always, EPERM;
        // Files by handle, past every path (the "shocker" escape).
        SYS_open_by_handle_at Always, EPERM;
        SYS_name_to_handle_at Always, EPERM;
        // Keys are counted per user, not per container.
        SYS_add_key Always, EPERM;
        SYS_request_key Always, EPERM;
        SYS_keyctl Always, EPERM;
        // Interfaces with a history of holes, and of no use inside.
        SYS_bpf Always, EPERM;
        SYS_perf_event_open Always, EPERM;
        SYS_userfaultfd Always, EPERM;
        SYS_io_uring_setup Always, EPERM;
        SYS_io_uring_enter Always, EPERM;
        SYS_io_uring_register Always, EPERM;
        SYS_pidfd_getfd Always, EPERM;
        SYS_kcmp Always, EPERM;
        SYS_lookup_dcookie Always, EPERM;
        SYS_fanotify_init Always, EPERM;
        // Sockets of the kernel's cryptography (CVE-2026-31431) and of virtual machines.
        SYS_socket argument(0, libc::AF_ALG), EPERM;
        SYS_socket argument(0, libc::AF_VSOCK), EPERM;
        // Characters put into the terminal of whoever started us (CVE-2017-5226).
        SYS_ioctl argument(1, libc::TIOCSTI as i32), EPERM;
        // The host's kernel, clock and power.
        SYS_init_module Always, EPERM;
        SYS_finit_module Always, EPERM;
        SYS_delete_module Always, EPERM;
        SYS_kexec_load Always, EPERM;
        SYS_kexec_file_load Always, EPERM;
        SYS_reboot Always, EPERM;
        SYS_acct Always, EPERM;
        SYS_syslog Always, EPERM;
        SYS_settimeofday Always, EPERM;
        SYS_clock_settime Always, EPERM;
        SYS_adjtimex Always, EPERM;
        SYS_clock_adjtime Always, EPERM;
        SYS_vhangup Always, EPERM;
        SYS_nfsservctl Always, EPERM;
        // Memory of other NUMA nodes' neighbours.
        SYS_move_pages Always, EPERM;
        SYS_migrate_pages Always, EPERM;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_bit_is_covered() {
        let bits = [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWTIME,
        ];
        assert_eq!(bits.into_iter().fold(0, |all, bit| all | bit as u32), CLONE_NEW_ANY);
    }

    #[test]
    fn no_call_is_listed_twice_with_the_same_condition() {
        let denials = default_denials();
        let distinct: std::collections::BTreeSet<String> =
            denials.iter().map(|denial| format!("{} {:?}", denial.name, denial.when)).collect();
        assert_eq!(distinct.len(), denials.len());
    }
}
