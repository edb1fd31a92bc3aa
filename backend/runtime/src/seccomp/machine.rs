//! Runs a program of classic BPF over a call, as the kernel would: so that whoever holds a program can say what it answers.
//!
//! Only what filters of system calls use; a program that does anything else, or leaves its end, ends the thread, which is
//! the answer that nobody takes for a permission.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use super::compile::{ARCHITECTURE, ARGUMENTS, NUMBER};
use super::rules::Verdict;

/// A call, as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// The number.
    pub number: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// What `program` answers to `call`, and after how many instructions.
pub fn run(program: &[sock_filter], call: &Call) -> (Verdict, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0, 0);
    while let Some(step) = program.get(at) {
        at += 1;
        steps += 1;
        let code = u32::from(step.code);
        if code == BPF_RET | BPF_K {
            return (Verdict::of_word(step.k), steps);
        } else if code == BPF_LD | BPF_W | BPF_ABS {
            accumulator = word(call, step.k);
        } else if code == BPF_ALU | BPF_AND | BPF_K {
            accumulator &= step.k;
        } else if code == BPF_JMP | BPF_JA | BPF_K {
            at += step.k as usize;
        } else {
            let yes = match code ^ (BPF_JMP | BPF_K) {
                BPF_JEQ => accumulator == step.k,
                BPF_JGT => accumulator > step.k,
                BPF_JGE => accumulator >= step.k,
                BPF_JSET => accumulator & step.k != 0,
                _ => break,
            };
            at += usize::from(if yes { step.jt } else { step.jf });
        }
    }
    (Verdict::KillThread, steps)
}

fn word(call: &Call, offset: u32) -> u32 {
    match offset {
        NUMBER => call.number,
        ARCHITECTURE => call.audit,
        _ => {
            let at = offset.wrapping_sub(ARGUMENTS);
            let argument = call.arguments.get(at as usize / 8).copied().unwrap_or_default();
            if at % 8 == 4 { (argument >> 32) as u32 } else { argument as u32 }
        }
    }
}
