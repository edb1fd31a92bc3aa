//! Seccomp filters: rules by system call and by argument, compiled to classic BPF and loaded (`seccomp(2)`).
//!
//! A filter here is a list of denials over a default of *allow*. Calls through another architecture's entry (32-bit or
//! x32 code on x86-64), whose numbers mean other calls, are answered `ENOSYS` as a whole.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

use crate::error::{Error, Result};

/// When a denial applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// When the low 32 bits of argument `argument` (0 to 5) have any bit of `mask`.
    AnyBit {
        /// Which argument.
        argument: u8,
        /// Which bits.
        mask: u32,
    },
    /// When the low 32 bits of argument `argument` (0 to 5) equal `value`.
    Equal {
        /// Which argument.
        argument: u8,
        /// Which value.
        value: u32,
    },
}

/// One denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// Name of the system call, for people.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: u32,
    /// When it applies.
    pub when: When,
    /// What the caller gets: `EPERM`, or `ENOSYS` where a program should fall back to an older call.
    pub errno: u16,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

/// Offset of the system call's number in `struct seccomp_data`.
const DATA_NUMBER: u32 = 0;
/// Offset of the architecture.
const DATA_ARCHITECTURE: u32 = 4;
/// Offset of the first argument's low half (both supported architectures are little-endian).
const DATA_ARGUMENTS: u32 = 16;
/// x32 numbers have this bit.
const X32_BIT: u32 = 0x4000_0000;

/// Compiles denials into a program.
pub fn compile(denials: &[Denial]) -> Vec<sock_filter> {
    let mut program = vec![load(DATA_ARCHITECTURE), jump(BPF_JEQ, ARCHITECTURE, 1, 0), deny(libc::ENOSYS as u16), load(DATA_NUMBER)];
    if cfg!(target_arch = "x86_64") {
        program.extend([jump(BPF_JGE, X32_BIT, 0, 1), deny(libc::ENOSYS as u16)]);
    }
    for denial in denials {
        let (test, argument, operand) = match denial.when {
            When::Always => {
                program.extend([jump(BPF_JEQ, denial.number, 0, 1), deny(denial.errno)]);
                continue;
            }
            When::AnyBit { argument, mask } => (BPF_JSET, argument, mask),
            When::Equal { argument, value } => (BPF_JEQ, argument, value),
        };
        // The argument replaces the number in the accumulator, so the number is loaded again for the rules that follow.
        program.extend([
            jump(BPF_JEQ, denial.number, 0, 4),
            load(DATA_ARGUMENTS + 8 * u32::from(argument)),
            jump(test, operand, 0, 1),
            deny(denial.errno),
            load(DATA_NUMBER),
        ]);
    }
    program.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
    program
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt, jf, k }
}

fn deny(errno: u16) -> sock_filter {
    statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | u32::from(errno))
}

/// Loads a program into this process and all that come of it. Needs `no_new_privs` or `CAP_SYS_ADMIN`.
pub fn load_program(program: &[sock_filter]) -> Result<()> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(Error::new("load", "seccomp filter", rustix::io::Errno::TOOBIG));
    };
    let header = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: SECCOMP_SET_MODE_FILTER demands a sock_fprog whose pointer and length describe readable instructions; they
    // are those of `program`, borrowed for the call, and the kernel copies and checks them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header) };
    if done == 0 { Ok(()) } else { Err(Error::last("load", "seccomp filter")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would, for the few instructions used here.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let word = |offset: u32| match offset {
            DATA_NUMBER => number,
            DATA_ARCHITECTURE => architecture,
            offset => arguments[((offset - DATA_ARGUMENTS) / 8) as usize],
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            let code = u32::from(step.code);
            at += 1;
            if code == BPF_LD | BPF_W | BPF_ABS {
                accumulator = word(step.k);
            } else if code == BPF_RET | BPF_K {
                return step.k;
            } else {
                let yes = match code & 0xf0 {
                    BPF_JEQ => accumulator == step.k,
                    BPF_JGE => accumulator >= step.k,
                    _ => accumulator & step.k != 0,
                };
                at += usize::from(if yes { step.jt } else { step.jf });
            }
        }
    }

    #[test]
    fn denials_hit_what_they_name_and_nothing_else() {
        let denials = [
            Denial { name: "a", number: 7, when: When::AnyBit { argument: 0, mask: 0x10 }, errno: 1 },
            Denial { name: "b", number: 8, when: When::Equal { argument: 1, value: 5 }, errno: 2 },
            Denial { name: "c", number: 9, when: When::Always, errno: 38 },
        ];
        let program = compile(&denials);
        let answer = |number, arguments| run(&program, ARCHITECTURE, number, arguments);
        let (allow, errno) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ERRNO);
        assert_eq!(answer(7, [0x11, 0, 0, 0, 0, 0]), errno | 1);
        assert_eq!(answer(7, [0x01, 0, 0, 0, 0, 0]), allow);
        assert_eq!(answer(8, [0, 5, 0, 0, 0, 0]), errno | 2);
        assert_eq!(answer(8, [5, 0, 0, 0, 0, 0]), allow);
        assert_eq!(answer(9, [0; 6]), errno | 38);
        assert_eq!(answer(10, [0; 6]), allow);
        assert_eq!(run(&program, ARCHITECTURE ^ 1, 10, [0; 6]), errno | libc::ENOSYS as u32, "another architecture");
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_x32_entry_is_closed() {
        assert_eq!(run(&compile(&[]), ARCHITECTURE, X32_BIT | 1, [0; 6]), libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    }
}
