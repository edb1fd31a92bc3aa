//! Architectures that a filter can meet on this machine, and the numbers of their system calls (`numbers.txt`, one line for
//! a name, up to Linux 7.0).
//!
//! One kernel answers several architectures: x86-64 also runs 32-bit code and the x32 kind, aarch64 also 32-bit ARM. The same
//! number means another call on each, so that a filter that looks at numbers alone is no filter.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// An architecture that calls can come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "SCMP_ARCH_X86_64")]
    X86_64,
    /// 32-bit x86.
    #[serde(rename = "SCMP_ARCH_X86")]
    X86,
    /// 64-bit x86 with 32-bit pointers: the audit architecture of x86-64, and numbers with [`X32_BIT`].
    #[serde(rename = "SCMP_ARCH_X32")]
    X32,
    /// 64-bit ARM.
    #[serde(rename = "SCMP_ARCH_AARCH64")]
    Aarch64,
    /// 32-bit ARM.
    #[serde(rename = "SCMP_ARCH_ARM")]
    Arm,
}

/// What tells x32 calls from those of x86-64.
pub const X32_BIT: u32 = 0x4000_0000;

/// Other architectures that a profile may name: nothing of this machine can make their calls, so they are passed over.
const ELSEWHERE: [&str; 17] = [
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
];

/// What a profile's name of an architecture means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// One whose calls can be made on this machine, or on one that this program could be built for.
    Known(Arch),
    /// One that exists, elsewhere.
    Elsewhere,
}

impl Arch {
    /// All of them, in the order of the columns of `numbers.txt`.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// What this program was built for.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// The architecture of this `SCMP_ARCH_…` name; `None` where nobody has one of that name.
    pub fn named(name: &str) -> Option<Named> {
        let known = Self::ALL.into_iter().find(|arch| arch.name() == name);
        known.map(Named::Known).or_else(|| ELSEWHERE.contains(&name).then_some(Named::Elsewhere))
    }

    /// `SCMP_ARCH_X86_64`, as profiles write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// `amd64`, as the conditions of a profile file write it.
    pub const fn short(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// What the kernel tells a filter (`AUDIT_ARCH_*`).
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Of which architecture a call is that a filter saw.
    pub fn of_call(audit: u32, number: u32) -> Option<Self> {
        let of_audit = |arch: &Self| arch.audit() == audit && (*arch == Self::X32) == (audit == 0xc000_003e && number & X32_BIT != 0);
        Self::ALL.into_iter().find(of_audit)
    }

    /// How many bits of an argument are compared. x32 passes 64-bit registers, but the calls look at the low half of what
    /// a rule can sensibly compare (flags, families): as libseccomp has it.
    pub const fn argument_bits(self) -> u32 {
        if matches!(self, Self::X86_64 | Self::Aarch64) { 64 } else { 32 }
    }

    /// The family whose kernel can make this architecture's calls.
    pub const fn is_of(self, native: Self) -> bool {
        matches!(
            (native, self),
            (Self::X86_64, Self::X86_64 | Self::X86 | Self::X32) | (Self::Aarch64, Self::Aarch64 | Self::Arm) | (Self::X86, Self::X86)
        )
    }

    /// All whose calls the kernel of this one can answer.
    pub fn family(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |arch| arch.is_of(self))
    }

    /// Number of the call of this name.
    pub fn number(self, name: &str) -> Option<u32> {
        table().by_name.get(name)?[self as usize]
    }

    /// Name of the call of this number.
    pub fn call(self, number: u32) -> Option<&'static str> {
        table().by_number[self as usize].get(&number).copied()
    }

    /// All calls, by number.
    pub fn calls(self) -> &'static BTreeMap<u32, &'static str> {
        &table().by_number[self as usize]
    }

    /// The way past the direct call: on 32-bit x86 the calls of sockets and of System V IPC can also be made through one
    /// number, whose first argument says which. Returns that number and what the first argument is.
    pub fn multiplexed(self, name: &str) -> Option<(u32, u32)> {
        if self != Self::X86 {
            return None;
        }
        let place = |calls: &[(&str, u32)]| calls.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
        place(&SOCKET_CALLS).map(|which| (102, which)).or_else(|| place(&IPC_CALLS).map(|which| (117, which)))
    }
}

/// Whether any architecture has a call of this name.
pub fn is_known(name: &str) -> bool {
    table().by_name.contains_key(name) || SOCKET_CALLS.iter().chain(&IPC_CALLS).any(|(known, _)| *known == name)
}

/// `socketcall(2)`'s first argument (`linux/net.h`).
const SOCKET_CALLS: [(&str, u32); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// `ipc(2)`'s first argument (`linux/ipc.h`).
const IPC_CALLS: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

struct Table {
    by_name: BTreeMap<&'static str, [Option<u32>; 5]>,
    by_number: [BTreeMap<u32, &'static str>; 5],
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table { by_name: BTreeMap::new(), by_number: Default::default() };
        for line in include_str!("numbers.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let Some(name) = words.next() else { continue };
            let mut numbers = [None; 5];
            for (arch, word) in Arch::ALL.into_iter().zip(words) {
                let number: Option<u32> = word.parse().ok();
                let number = if arch == Arch::X32 { number.map(|number| number | X32_BIT) } else { number };
                numbers[arch as usize] = number;
                if let Some(number) = number {
                    // Two names of one number: the first one in the order of names is shown.
                    table.by_number[arch as usize].entry(number).or_insert(name);
                }
            }
            table.by_name.insert(name, numbers);
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_has_a_name_and_five_columns() {
        let lines: Vec<&str> = include_str!("numbers.txt").lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.iter().all(|line| line.split(' ').count() == 6));
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "sorted, and no name twice");
        assert_eq!(table().by_name.len(), lines.len());
    }

    #[test]
    fn the_native_table_says_what_the_c_library_says() {
        let known = [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("mseal", libc::SYS_mseal),
            ("openat2", libc::SYS_openat2),
            ("socket", libc::SYS_socket),
            ("ptrace", libc::SYS_ptrace),
            ("fchmodat2", libc::SYS_fchmodat2),
        ];
        for (name, number) in known {
            assert_eq!(Arch::NATIVE.number(name).map(i64::from), Some(number), "{name}");
        }
    }

    /// What this machine's own headers say, where it has any.
    #[test]
    fn the_table_agrees_with_the_headers_of_this_machine() {
        let headers = [(Arch::X86_64, "unistd_64.h"), (Arch::X86, "unistd_32.h"), (Arch::X32, "unistd_x32.h")];
        for (arch, file) in headers {
            let Ok(text) = std::fs::read_to_string(format!("/usr/include/x86_64-linux-gnu/asm/{file}")) else {
                println!("skipped: needs linux-libc-dev of x86-64 ({file})");
                continue;
            };
            let mut seen = 0;
            for line in text.lines().filter_map(|line| line.strip_prefix("#define __NR_")) {
                let Some((name, value)) = line.split_once(' ') else { continue };
                let value = value.trim_matches(['(', ')']).trim_start_matches("__X32_SYSCALL_BIT + ");
                let Ok(number) = value.parse::<u32>() else { continue };
                let number = if arch == Arch::X32 { number | X32_BIT } else { number };
                assert_eq!(arch.number(name), Some(number), "{name} of {file}");
                seen += 1;
            }
            assert!(seen > 300, "{file} has {seen} calls");
        }
    }

    #[test]
    fn a_call_belongs_to_the_architecture_of_its_entry() {
        for arch in Arch::ALL {
            let number = arch.number("close").unwrap();
            assert_eq!(Arch::of_call(arch.audit(), number), Some(arch));
        }
        assert_eq!(Arch::of_call(1, 0), None);
    }
}
