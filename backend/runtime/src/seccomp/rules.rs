//! Rules as the compiler wants them: for each architecture, what every number is answered, and which arguments decide.
//!
//! ```text
//! profile ──for capabilities, architecture, kernel──▶ rules ──compile──▶ program
//!                                                     └─ decide: what a call gets, read off directly
//! ```
//!
//! This module must never know a profile's text, nor an instruction.

use std::collections::BTreeMap;

use super::arch::{Arch, X32_BIT};

/// What a call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
    /// A `SIGSYS`, that the program can handle.
    Trap,
    /// The call fails with this errno and is not made.
    Errno(u16),
    /// Somebody who listens answers.
    Notify,
    /// A tracer is told this; without one the call fails with `ENOSYS`.
    Trace(u16),
    /// It is made, and written to the kernel's log.
    Log,
    /// It is made.
    Allow,
}

impl Verdict {
    /// As the kernel writes it (`SECCOMP_RET_*`).
    pub const fn word(self) -> u32 {
        match self {
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
            Self::Trap => 0x0003_0000,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Notify => 0x7fc0_0000,
            Self::Trace(message) => 0x7ff0_0000 | message as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// What the kernel's word means.
    pub const fn of_word(word: u32) -> Self {
        let data = (word & 0xffff) as u16;
        match word & 0xffff_0000 {
            0x8000_0000 => Self::KillProcess,
            0x0003_0000 => Self::Trap,
            0x0005_0000 => Self::Errno(data),
            0x7fc0_0000 => Self::Notify,
            0x7ff0_0000 => Self::Trace(data),
            0x7ffc_0000 => Self::Log,
            0x7fff_0000 => Self::Allow,
            _ => Self::KillThread,
        }
    }

    /// The kernel's order where several filters disagree, the strictest first.
    pub const fn leniency(self) -> u8 {
        match self {
            Self::KillProcess => 0,
            Self::KillThread => 1,
            Self::Trap => 2,
            Self::Errno(_) => 3,
            Self::Notify => 4,
            Self::Trace(_) => 5,
            Self::Log => 6,
            Self::Allow => 7,
        }
    }

    /// Whether the call is made.
    pub const fn lets_through(self) -> bool {
        matches!(self, Self::Log | Self::Allow)
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Test {
    /// Is not.
    Ne(u64),
    /// Is less.
    Lt(u64),
    /// Is not greater.
    Le(u64),
    /// Is.
    Eq(u64),
    /// Is not less.
    Ge(u64),
    /// Is greater.
    Gt(u64),
    /// Its bits under `mask` are those of `bits`.
    Masked {
        /// Which bits count.
        mask: u64,
        /// What they are.
        bits: u64,
    },
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// What it must be.
    pub test: Test,
}

impl Condition {
    /// Whether it is a mask without any of `bits` (32 or 64).
    pub fn always_holds(&self, bits: u32) -> bool {
        matches!(self.test, Test::Masked { mask, .. } if mask == 0 || bits == 32 && mask & 0xffff_ffff == 0)
    }

    /// Whether it holds, looking at `bits` (32 or 64) of the argument.
    pub fn holds(&self, arguments: &[u64; 6], bits: u32) -> bool {
        let cut = |value: u64| if bits == 32 { value & 0xffff_ffff } else { value };
        let argument = cut(arguments[usize::from(self.argument)]);
        match self.test {
            Test::Ne(value) => argument != cut(value),
            Test::Lt(value) => argument < cut(value),
            Test::Le(value) => argument <= cut(value),
            Test::Eq(value) => argument == cut(value),
            Test::Ge(value) => argument >= cut(value),
            Test::Gt(value) => argument > cut(value),
            Test::Masked { mask, bits } => argument & cut(mask) == cut(bits) & cut(mask),
        }
    }
}

/// Conditions that must hold together, and what the call gets then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Case {
    /// All of them.
    pub conditions: Vec<Condition>,
    /// Then this.
    pub verdict: Verdict,
}

/// What a number is answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Always this.
    Plain(Verdict),
    /// The first case that holds, the strictest first; none: the default.
    ByArguments(Vec<Case>),
}

impl Decision {
    /// Adds a case. One without conditions decides alone, and the first of them stays: what conditions could add to it, a
    /// profile's author cannot have meant. Among others the strictest that holds decides, since a profile that says two
    /// things of one call must not be read as the weaker.
    pub fn add(&mut self, case: Case) {
        match self {
            Self::Plain(_) => {}
            Self::ByArguments(_) if case.conditions.is_empty() => *self = Self::Plain(case.verdict),
            Self::ByArguments(cases) if !cases.contains(&case) => {
                let place = cases.partition_point(|other| other.verdict.leniency() <= case.verdict.leniency());
                cases.insert(place, case);
            }
            Self::ByArguments(_) => {}
        }
    }
}

/// One architecture's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub arch: Arch,
    /// What numbers get that have a rule.
    pub calls: BTreeMap<u32, Decision>,
    /// The highest number that the profile knows: what comes after it is newer than the profile. `None`: the default is an
    /// answer for those too.
    pub newest: Option<u32>,
}

/// A whole filter, before it is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What a call without a rule gets.
    pub default: Verdict,
    /// What calls of an architecture without a part get.
    pub foreign: Verdict,
    /// What calls get that are newer than the profile.
    pub newer: Verdict,
    /// One for each architecture.
    pub parts: Vec<Part>,
}

/// The answer to calls that are newer than the profile: a program falls back to an older one, as on an older kernel.
pub const NEWER: Verdict = Verdict::Errno(libc::ENOSYS as u16);

/// The number that a tracer sets to skip a call: of no architecture's table, and no reason to end a process.
pub const NO_CALL: u32 = u32::MAX;

impl Rules {
    /// What a call gets, read off without a program.
    pub fn decide(&self, audit: u32, number: u32, arguments: &[u64; 6]) -> Verdict {
        let is_x32 = |part: &&Part| part.arch == Arch::X32;
        let entry = self.parts.iter().filter(|part| part.arch.audit() == audit);
        let part = if audit == Arch::X86_64.audit() && number & X32_BIT_AND_ABOVE != 0 {
            entry.clone().find(is_x32)
        } else {
            entry.clone().find(|part| !is_x32(part))
        };
        if number == NO_CALL && entry.clone().next().is_some() {
            return self.default;
        }
        let Some(part) = part else { return self.foreign };
        match part.calls.get(&number) {
            Some(Decision::Plain(verdict)) => *verdict,
            Some(Decision::ByArguments(cases)) => {
                let bits = part.arch.argument_bits();
                let holds = |case: &&Case| case.conditions.iter().all(|condition| condition.holds(arguments, bits));
                cases.iter().find(holds).map_or(self.default, |case| case.verdict)
            }
            None if part.newest.is_some_and(|newest| number > newest) => self.newer,
            None => self.default,
        }
    }

    /// How many calls of the native architecture can be made, with some arguments at least.
    pub fn allowed(&self) -> usize {
        let native = self.parts.iter().find(|part| part.arch == Arch::NATIVE);
        let Some(native) = native else { return 0 };
        let may = |number: &u32| match native.calls.get(number) {
            Some(Decision::Plain(verdict)) => verdict.lets_through(),
            Some(Decision::ByArguments(cases)) => self.default.lets_through() || cases.iter().any(|case| case.verdict.lets_through()),
            None => native.newest.is_none_or(|newest| *number <= newest) && self.default.lets_through(),
        };
        Arch::NATIVE.calls().keys().filter(|number| may(number)).count()
    }
}

/// Numbers from [`X32_BIT`] on are not x86-64's: also those with higher bits still, which no architecture has.
const X32_BIT_AND_ABOVE: u32 = !(X32_BIT - 1);
