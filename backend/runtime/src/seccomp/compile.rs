//! From rules to a program: which architecture, which number (a search tree over runs of equal answers), which arguments.
//!
//! A program is written from its end to its beginning. Jumps of classic BPF go forward only, so that everything a jump can
//! lead to stands already, and its distance is known. Distances beyond 255 take a detour over an unconditional jump, whose
//! distance has 32 bits; answers are one instruction, and are simply written again where the last one is too far.
//!
//! The number stays in the accumulator down the whole tree; an argument is loaded only where it decides, and from there on
//! no number is needed any more.

use std::collections::HashMap;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use super::arch::{Arch, X32_BIT};
use super::rules::{Condition, Decision, NO_CALL, Part, Rules, Test, Verdict};

/// Most instructions of one program; the kernel's own limit (`BPF_MAXINSNS`).
pub const INSTRUCTIONS_MAX: usize = 4096;

/// Offset of the number in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
/// Offset of the architecture.
pub(super) const ARCHITECTURE: u32 = 4;
/// Offset of the first argument; every architecture here is little-endian, so its low half comes first.
pub(super) const ARGUMENTS: u32 = 16;

/// A profile that no program can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its program has {instructions} instructions, and the kernel takes {INSTRUCTIONS_MAX}")]
pub struct TooLong {
    /// How many it has.
    pub instructions: usize,
}

/// Compiles rules.
pub fn compile(rules: &Rules) -> Result<Vec<sock_filter>, TooLong> {
    let mut writer = Writer::default();
    let foreign = rules.foreign;
    let mut next = writer.answer(foreign);
    let mut audits: Vec<u32> = rules.parts.iter().map(|part| part.arch.audit()).collect();
    audits.dedup();
    // The first part is the native one, whose test is to come first: so it is written last.
    for audit in audits.into_iter().rev() {
        let runs = runs(rules, audit);
        let tree = writer.tree(&runs, rules.default);
        writer.fall_to(tree);
        let tree = writer.put(statement(BPF_LD | BPF_W | BPF_ABS, NUMBER));
        next = writer.test(BPF_JEQ, audit, tree, next);
    }
    writer.fall_to(next);
    writer.put(statement(BPF_LD | BPF_W | BPF_ABS, ARCHITECTURE));
    let mut program = writer.reversed;
    program.reverse();
    if program.len() > INSTRUCTIONS_MAX { Err(TooLong { instructions: program.len() }) } else { Ok(program) }
}

/// Numbers from `first` up to the next run, all answered the same.
struct Run<'a> {
    first: u32,
    decision: Answer<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer<'a> {
    Plain(Verdict),
    ByArguments(&'a Decision, u32),
}

/// All numbers of an entry of the kernel, as runs. x86-64 and x32 share one.
fn runs(rules: &Rules, audit: u32) -> Vec<Run<'_>> {
    let part = |x32: bool| rules.parts.iter().find(move |part| part.arch.audit() == audit && (part.arch == Arch::X32) == x32);
    let mut runs = Runs(Vec::new());
    runs.part(rules, part(false), 0);
    if audit == Arch::X86_64.audit() {
        runs.part(rules, part(true), X32_BIT);
    }
    runs.add(NO_CALL, Answer::Plain(rules.default));
    runs.0
}

struct Runs<'a>(Vec<Run<'a>>);

impl<'a> Runs<'a> {
    fn part(&mut self, rules: &Rules, part: Option<&'a Part>, from: u32) {
        let Some(part) = part else { return self.add(from, Answer::Plain(rules.foreign)) };
        let mut next = from;
        for (number, decision) in &part.calls {
            self.gap(rules, part.newest, next..*number);
            let answer = match decision {
                Decision::Plain(verdict) => Answer::Plain(*verdict),
                Decision::ByArguments(_) => Answer::ByArguments(decision, part.arch.argument_bits()),
            };
            self.add(*number, answer);
            next = number.saturating_add(1);
        }
        self.gap(rules, part.newest, next..u32::MAX);
    }

    /// Numbers without a rule: known ones get the default, those above the newest what newer ones get.
    fn gap(&mut self, rules: &Rules, newest: Option<u32>, gap: std::ops::Range<u32>) {
        let newer = newest.map_or(u32::MAX, |newest| newest.saturating_add(1));
        if gap.start < gap.end.min(newer) {
            self.add(gap.start, Answer::Plain(rules.default));
        }
        if newer.max(gap.start) < gap.end {
            self.add(newer.max(gap.start), Answer::Plain(rules.newer));
        }
    }

    fn add(&mut self, first: u32, decision: Answer<'a>) {
        match self.0.last() {
            Some(last) if last.decision == decision => {}
            _ => self.0.push(Run { first, decision }),
        }
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Place of an instruction, counted from the end.
type Place = usize;

#[derive(Default)]
struct Writer {
    reversed: Vec<sock_filter>,
    answers: HashMap<Verdict, Place>,
    blocks: HashMap<(Decision, u32), Place>,
}

impl Writer {
    fn put(&mut self, instruction: sock_filter) -> Place {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }

    /// How many instructions lie between the next one to be put and `place`.
    fn distance(&self, place: Place) -> usize {
        self.reversed.len() - 1 - place
    }

    /// An answer that a jump put next can reach.
    fn answer(&mut self, verdict: Verdict) -> Place {
        // Room for the instructions of one test, which may come between.
        if let Some(place) = self.answers.get(&verdict).copied().filter(|place| !self.reversed.is_empty() && self.distance(*place) < 240) {
            return place;
        }
        let place = self.put(statement(BPF_RET | BPF_K, verdict.word()));
        self.answers.insert(verdict, place);
        place
    }

    /// Makes `place` what follows the next instruction to be put.
    fn fall_to(&mut self, place: Place) {
        if self.distance(place) > 0 {
            let k = self.distance(place) as u32;
            self.put(statement(BPF_JMP | BPF_JA | BPF_K, k));
        }
    }

    /// A test with two ways on, by detours where they are far.
    fn test(&mut self, test: u32, k: u32, yes: Place, no: Place) -> Place {
        let no = self.near(no);
        let yes = self.near(yes);
        // The detour to `yes` came between, so `no` may be one further now.
        let no = self.near(no);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.put(sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt, jf, k })
    }

    /// `place`, or a detour to it from here. An answer is no further than itself.
    fn near(&mut self, place: Place) -> Place {
        if self.distance(place) <= 250 {
            return place;
        }
        let target = self.reversed[place];
        if u32::from(target.code) == BPF_RET | BPF_K {
            return self.answer(Verdict::of_word(target.k));
        }
        let k = self.distance(place) as u32;
        self.put(statement(BPF_JMP | BPF_JA | BPF_K, k))
    }

    /// A search over the runs, with the number in the accumulator.
    fn tree(&mut self, runs: &[Run<'_>], default: Verdict) -> Place {
        match runs {
            [] => self.answer(default),
            [only] => self.leaf(only, default),
            // One number between two others of the same answer: one test of equality instead of two of order.
            [before, one, after] if before.decision == after.decision && one.first.checked_add(1) == Some(after.first) => {
                let others = self.leaf(before, default);
                let it = self.leaf(one, default);
                self.test(BPF_JEQ, one.first, it, others)
            }
            _ => {
                let (left, right) = runs.split_at(runs.len() / 2);
                let first = right[0].first;
                let right = self.tree(right, default);
                let left = self.tree(left, default);
                self.test(BPF_JGE, first, right, left)
            }
        }
    }

    fn leaf(&mut self, run: &Run<'_>, default: Verdict) -> Place {
        match run.decision {
            Answer::Plain(verdict) => self.answer(verdict),
            Answer::ByArguments(decision, bits) => {
                let key = (decision.clone(), bits);
                if let Some(place) = self.blocks.get(&key) {
                    return *place;
                }
                let Decision::ByArguments(cases) = decision else { return self.answer(default) };
                let mut next = self.answer(default);
                for case in cases.iter().rev() {
                    let mut holds = self.answer(case.verdict);
                    for condition in case.conditions.iter().rev() {
                        holds = self.condition(condition, bits, holds, next);
                    }
                    next = holds;
                }
                self.blocks.insert(key, next);
                next
            }
        }
    }

    /// A test of one argument, in two halves where it has 64 bits.
    fn condition(&mut self, condition: &Condition, bits: u32, yes: Place, no: Place) -> Place {
        let argument = condition.argument;
        let halves = |value: u64| if bits == 64 { [value as u32, (value >> 32) as u32] } else { [value as u32, 0] };
        match condition.test {
            Test::Eq(value) => self.masked(argument, [u32::MAX, halves(u64::MAX)[1]], halves(value), [yes, no]),
            Test::Ne(value) => self.masked(argument, [u32::MAX, halves(u64::MAX)[1]], halves(value), [no, yes]),
            Test::Masked { mask, bits } => self.masked(argument, halves(mask), halves(bits & mask), [yes, no]),
            Test::Gt(value) => self.order(argument, bits, (BPF_JGT, value), [yes, no]),
            Test::Ge(value) => self.order(argument, bits, (BPF_JGE, value), [yes, no]),
            Test::Lt(value) => self.order(argument, bits, (BPF_JGE, value), [no, yes]),
            Test::Le(value) => self.order(argument, bits, (BPF_JGT, value), [no, yes]),
        }
    }

    /// Whether the bits under a mask are these; `[low, high]`, and `[yes, no]`.
    fn masked(&mut self, argument: u8, masks: [u32; 2], values: [u32; 2], [yes, no]: [Place; 2]) -> Place {
        let mut next = yes;
        for half in [0, 1] {
            let (mask, value) = (masks[half], values[half]);
            next = match (mask, value) {
                (0, _) => next,
                (u32::MAX, _) => self.test(BPF_JEQ, value, next, no),
                (_, 0) => self.test(BPF_JSET, mask, no, next),
                _ => {
                    self.test(BPF_JEQ, value, next, no);
                    self.put(statement(BPF_ALU | BPF_AND | BPF_K, mask))
                }
            };
            if mask != 0 {
                next = self.load_half(argument, half as u32);
            }
        }
        next
    }

    /// Whether the argument is greater (`BPF_JGT`) or not less (`BPF_JGE`) than a value; `[yes, no]`.
    fn order(&mut self, argument: u8, bits: u32, (test, value): (u32, u64), [yes, no]: [Place; 2]) -> Place {
        self.test(test, value as u32, yes, no);
        let low = self.load_half(argument, 0);
        if bits == 32 {
            return low;
        }
        let high = (value >> 32) as u32;
        let equal = self.test(BPF_JEQ, high, low, no);
        self.test(BPF_JGT, high, yes, equal);
        self.load_half(argument, 1)
    }

    fn load_half(&mut self, argument: u8, half: u32) -> Place {
        self.put(statement(BPF_LD | BPF_W | BPF_ABS, ARGUMENTS + 8 * u32::from(argument) + 4 * half))
    }
}
