//! libseccomp as the oracle: the same profile compiled by it and by us must decide the same, call by call.
//!
//! Its library is used by these tests alone, through a small C program that they compile. It knows the calls of its own time
//! (2.5.4: Linux 5.17), so names that it does not know are left out on both sides; ours are compared with their rules in
//! [`super::tests`]. What the field adds around libseccomp is runc's: calls above the newest known one are answered `ENOSYS`
//! before the filter is asked. That rule is written down here a second time, apart from ours.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use libc::sock_filter;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::arch::{Arch, X32_BIT};
use super::machine::{Call, run};
use super::profile::{Action, Argument, Op, Profile, Rule};
use super::rules::{Case, Decision, NEWER, NO_CALL, Rules, Verdict};
use super::tests::{X86_64, any_action, any_profile, boundary_arguments, field, numbers, rule};
use super::*;

/// The oracle, compiled once; `None`, and said so, where it cannot be.
fn oracle() -> Option<&'static PathBuf> {
    static ORACLE: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let made = ORACLE.get_or_init(|| {
        let folder = tempfile::tempdir().ok()?;
        let (source, program) = (folder.path().join("oracle.c"), folder.path().join("oracle"));
        std::fs::write(&source, include_str!("oracle.c")).ok()?;
        let compiled = Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(&source).arg("-lseccomp").output().ok()?;
        compiled.status.success().then_some((folder, program))
    });
    if made.is_none() || Arch::NATIVE != Arch::X86_64 {
        println!("skipped: needs libseccomp-dev and cc, on x86-64");
        return None;
    }
    made.as_ref().map(|(_, program)| program)
}

/// Runs the oracle over lines; its words where it refuses.
fn ask(program: &PathBuf, lines: &str) -> Result<Vec<u8>, String> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))) }
}

const LIBSECCOMPS: [(Arch, &str); 5] =
    [(Arch::X86_64, "x86_64"), (Arch::X86, "x86"), (Arch::X32, "x32"), (Arch::Aarch64, "aarch64"), (Arch::Arm, "arm")];

/// The names that libseccomp knows, with its number on an architecture; negative where that has none of its own.
fn known(program: &PathBuf, arch: &str, names: &[impl std::fmt::Display]) -> Vec<i32> {
    let lines: String = names.iter().map(|name| format!("knows {arch} {name}\n")).collect();
    let text = String::from_utf8(ask(program, &lines).unwrap()).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// The profile without what this libseccomp has not heard of, and without conditions.
fn within_its_time(program: &PathBuf, profile: &Profile) -> Profile {
    let mut profile = profile.resolve(&X86_64).unwrap();
    for rule in &mut profile.syscalls {
        let numbers = known(program, "x86_64", &rule.names);
        let mut numbers = numbers.into_iter();
        rule.names.retain(|_| numbers.next() != Some(-1));
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile
}

/// As runc hands a profile to libseccomp: what the default says anyway is left out, and a rule with two conditions on one
/// argument becomes one for each condition.
fn lines(profile: &Profile, rules: &Rules) -> String {
    let mut lines = format!("default {}\n", rules.default.word());
    for (_, name) in LIBSECCOMPS.iter().filter(|(arch, _)| profile.architectures.iter().any(|listed| listed == arch.name())) {
        lines += &format!("arch {name}\n");
    }
    for rule in &profile.syscalls {
        let word = verdict(rule).word();
        if word == rules.default.word() {
            continue;
        }
        let conditions: Vec<String> =
            rule.args.iter().map(|arg| format!(" {} {} {} {}", arg.index, op(arg.op), arg.value, arg.value_two)).collect();
        let twice = rule.args.iter().any(|arg| rule.args.iter().filter(|other| other.index == arg.index).count() > 1);
        let sets: Vec<Vec<String>> = if twice { conditions.into_iter().map(|one| vec![one]).collect() } else { vec![conditions] };
        for name in &rule.names {
            for set in &sets {
                lines += &format!("rule {word} {name} {}{}\n", set.len(), set.concat());
            }
        }
    }
    lines
}

fn verdict(rule: &Rule) -> Verdict {
    let errno = rule.errno_ret.unwrap_or(1) as u16;
    match rule.action {
        Action::Kill | Action::KillThread => Verdict::KillThread,
        Action::KillProcess => Verdict::KillProcess,
        Action::Trap => Verdict::Trap,
        Action::Errno => Verdict::Errno(errno),
        Action::Trace => Verdict::Trace(errno),
        Action::Allow => Verdict::Allow,
        Action::Log => Verdict::Log,
        Action::Notify => Verdict::Notify,
    }
}

/// `enum scmp_compare`.
fn op(op: Op) -> u32 {
    match op {
        Op::Ne => 1,
        Op::Lt => 2,
        Op::Le => 3,
        Op::Eq => 4,
        Op::Ge => 5,
        Op::Gt => 6,
        Op::MaskedEq => 7,
    }
}

fn program_of(bytes: &[u8]) -> Vec<sock_filter> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty());
    let instruction = |[c0, c1, jt, jf, k @ ..]: &[u8; 8]| sock_filter {
        code: u16::from_le_bytes([*c0, *c1]),
        jt: *jt,
        jf: *jf,
        k: u32::from_le_bytes(*k),
    };
    chunks.iter().map(instruction).collect()
}

/// runc's stub: the highest number that the profile names, for each architecture; above it the answer is `ENOSYS`, unless the
/// default lets through or says the same. (runc forgets the multiplexers of 32-bit x86 where a profile names only what goes
/// through them, and answers `ENOSYS` to calls that the filter behind allows; no profile that people use does so.)
fn newest(profile: &Profile, rules: &Rules) -> Vec<(Arch, u32)> {
    if rules.default.lets_through() || rules.default == NEWER {
        return Vec::new();
    }
    let arches = LIBSECCOMPS.iter().map(|(arch, _)| *arch);
    let listed = arches.filter(|arch| *arch == Arch::X86_64 || profile.architectures.iter().any(|listed| listed == arch.name()));
    let highest = |arch: Arch| {
        profile
            .syscalls
            .iter()
            .flat_map(|rule| &rule.names)
            .flat_map(|name| [arch.number(name), arch.multiplexed(name).map(|(number, _)| number)])
            .flatten()
            .max()
    };
    listed.filter_map(|arch| Some((arch, highest(arch)?))).collect()
}

/// What a newer kernel has and this libseccomp does not know of: x32 got the call of shadow stacks later than x86-64.
const LATER: (Arch, &str) = (Arch::X32, "map_shadow_stack");

/// A decision of both that is not the same.
type Difference = (Call, Verdict, Verdict);

/// Compares decisions for all numbers to 600 of every architecture, and all boundaries of arguments.
fn compare(oracle: &PathBuf, profile: &Profile) -> Result<Vec<Difference>, String> {
    let profile = within_its_time(oracle, profile);
    let rules = profile.rules(&X86_64).unwrap().rules;
    let (ours, theirs) = (compile(&rules).unwrap(), program_of(&ask(oracle, &lines(&profile, &rules))?));
    let newest = newest(&profile, &rules);
    let mut differences = Vec::new();
    for audit in [Arch::X86_64, Arch::X86, Arch::Aarch64].map(Arch::audit) {
        for number in numbers(audit)
            .into_iter()
            .chain([NO_CALL])
            .filter(|number| audit != LATER.0.audit() || Some(*number) != LATER.0.number(LATER.1))
        {
            let of_x32 = audit == Arch::X86_64.audit() && number & X32_BIT != 0;
            let entry = newest.iter().find(|(arch, _)| arch.audit() == audit && (*arch == Arch::X32) == of_x32);
            for arguments in boundary_arguments(&rules, audit, number) {
                let call = Call { audit, number, arguments };
                let their = match entry {
                    Some((_, newest)) if number > *newest && number != NO_CALL => NEWER,
                    _ => run(&theirs, &call).0,
                };
                let our = run(&ours, &call).0;
                if our != their {
                    differences.push((call, our, their));
                }
            }
        }
    }
    Ok(differences)
}

#[track_caller]
fn assert_same(oracle: &PathBuf, profile: &Profile) {
    let differences = compare(oracle, profile).unwrap_or_else(|refused| panic!("libseccomp refuses: {refused}"));
    let shown: Vec<String> =
        differences.iter().take(8).map(|(call, ours, theirs)| format!("{call:x?}: {ours:?}, libseccomp {theirs:?}")).collect();
    assert!(differences.is_empty(), "{} differences, such as\n{}", differences.len(), shown.join("\n"));
}

#[test]
fn our_default_profile_decides_as_libseccomp_would() {
    let Some(oracle) = oracle() else { return };
    assert_same(oracle, &default::profile());
}

#[test]
fn the_fields_profile_decides_as_libseccomp_would() {
    let Some(oracle) = oracle() else { return };
    assert_same(oracle, &field());
}

#[test]
fn podmans_profile_decides_as_libseccomp_would() {
    let Some(oracle) = oracle() else { return };
    let Ok(text) = std::fs::read("/usr/share/containers/seccomp.json") else {
        println!("skipped: needs Podman's profile");
        return;
    };
    assert_same(oracle, &Profile::parse(&text).unwrap());
}

const RANDOM_PROFILES: u32 = 300;

fn random(cases: u32, strategy: impl Strategy<Value = Profile>, test: impl Fn(&Profile)) {
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let tested = runner.run(&strategy, |profile| {
        test(&profile);
        Ok(())
    });
    tested.unwrap();
}

/// One rule for a call, with any conditions; or many that each compare one argument with one value.
fn any_profile_as_people_write_them() -> impl Strategy<Value = Profile> {
    (any_profile(), any_action(), prop::collection::vec(any::<u32>(), 0..8)).prop_map(|(mut profile, action, values)| {
        let mut seen = std::collections::BTreeSet::from(["getpid".to_owned(), "personality".to_owned()]);
        profile.syscalls.retain(|rule| rule.names.iter().all(|name| seen.insert(name.to_string())));
        for rule in &mut profile.syscalls {
            let indexes: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
            if let Some(twice) = indexes.iter().find(|index| indexes.iter().filter(|other| other == index).count() > 1) {
                rule.args.retain(|arg| arg.index == *twice);
                rule.args.iter_mut().for_each(|arg| arg.op = Op::Eq);
            }
        }
        // Where all that a profile says of 32-bit x86 goes through a multiplexer, this libseccomp forgets to load the number.
        profile.syscalls.push(rule("getpid", if profile.default_action == Action::Allow { Action::Errno } else { Action::Allow }, vec![]));
        let equal = |value| Argument { index: 0, value: u64::from(value), value_two: 0, op: Op::Eq };
        profile.syscalls.extend(values.into_iter().map(|value| rule("personality", action, vec![equal(value)])));
        profile
    })
}

#[test]
fn random_profiles_decide_as_libseccomp_would() {
    let Some(oracle) = oracle() else { return };
    random(RANDOM_PROFILES, any_profile_as_people_write_them(), |profile| assert_same(oracle, profile));
}

/// Where several rules with conditions for one call meet, libseccomp builds a tree of comparisons that sometimes loses a rule
/// (it answers the default although one holds), sometimes takes one that does not hold, and picks by the tree's order where
/// several hold. Ours is the strictest of those that hold, always: so every difference is one of these three.
#[test]
fn where_rules_meet_ours_decide_by_what_they_say() {
    let Some(oracle) = oracle() else { return };
    let counts = std::cell::Cell::new([0; 3]);
    random(RANDOM_PROFILES, any_profile(), |profile| {
        // libseccomp refuses some of them altogether.
        let Ok(differences) = compare(oracle, profile) else { return };
        let rules = within_its_time(oracle, profile).rules(&X86_64).unwrap().rules;
        for (call, ours, theirs) in differences {
            let (all, holding) = cases(&rules, &call);
            let strictest = holding.iter().min_by_key(|verdict| verdict.leniency()).copied();
            assert_eq!(strictest.unwrap_or(rules.default), ours, "{call:x?}\n{profile:?}");
            let kind = match (holding.is_empty(), holding.contains(&theirs)) {
                (false, true) => 2,
                (false, false) if theirs == rules.default => 0,
                _ => 1,
            };
            assert!(theirs == rules.default || all.contains(&theirs), "{call:x?}: {ours:?}, libseccomp {theirs:?}\n{profile:?}");
            let mut counted = counts.get();
            counted[kind] += 1;
            counts.set(counted);
        }
    });
    let [lost, taken, picked] = counts.get();
    println!("libseccomp lost a rule {lost} times, took one that does not hold {taken} times, picked a weaker one {picked} times");
}

/// What the cases of a call say: all, and those that hold.
fn cases(rules: &Rules, call: &Call) -> (Vec<Verdict>, Vec<Verdict>) {
    let arch = Arch::of_call(call.audit, call.number);
    let part = rules.parts.iter().find(|part| Some(part.arch) == arch);
    let cases = match part.and_then(|part| part.calls.get(&call.number)) {
        Some(Decision::ByArguments(cases)) => cases,
        Some(Decision::Plain(verdict)) => return (vec![*verdict], vec![*verdict]),
        None => return Default::default(),
    };
    let bits = arch.map_or(64, Arch::argument_bits);
    let holds = |case: &&Case| case.conditions.iter().all(|condition| condition.holds(&call.arguments, bits));
    let verdict = |case: &Case| case.verdict;
    (cases.iter().map(verdict).collect(), cases.iter().filter(holds).map(verdict).collect())
}

/// Names and numbers, of every architecture.
#[test]
fn the_table_of_numbers_is_libseccomps() {
    let Some(oracle) = oracle() else { return };
    for (arch, name) in LIBSECCOMPS {
        let names: Vec<String> = arch.calls().values().map(|name| (*name).to_owned()).collect();
        for (call, theirs) in names.iter().zip(known(oracle, name, &names)) {
            // Below zero: newer than it, or known to it only through a multiplexer.
            if theirs >= 0 {
                assert_eq!(arch.number(call), Some(theirs as u32), "{call} of {name}");
            }
        }
    }
}
