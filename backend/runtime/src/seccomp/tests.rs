//! The compiler against the rules it compiles, the default against the field, and what a profile is told when it is wrong.

use proptest::prelude::*;

use super::arch::{Arch, X32_BIT};
use super::machine::{Call, run};
use super::profile::{Action, Argument, Context, Op, Profile, Rule};
use super::rules::{Condition, Decision, Rules, Test, Verdict};
use super::*;

pub(super) const X86_64: Context = Context { capabilities: 0xa804_25fb, native: Arch::X86_64, kernel: (6, 18) };
pub(super) const AARCH64: Context = Context { capabilities: 0xa804_25fb, native: Arch::Aarch64, kernel: (6, 18) };

/// The field's profile, made of the facts in `field.txt`, in the file format of Docker.
pub(super) fn field() -> Profile {
    let words = |text: &str| text.split(' ').map(|word| format!("{word:?}")).collect::<Vec<_>>().join(",");
    let allow = |names: &str, rest: &str| format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW"{rest}}}"#);
    let mut rules = Vec::new();
    for line in include_str!("field.txt").lines().filter(|line| !line.starts_with('#')) {
        let (when, names) = line.split_once(' ').expect("a condition and names");
        let condition = match when.split_once(':') {
            Some(("cap", cap)) => format!(r#","includes":{{"caps":["{cap}"]}}"#),
            Some(("arch", arches)) => format!(r#","includes":{{"arches":[{}]}}"#, words(&arches.replace(',', " "))),
            Some(("kernel", least)) => format!(r#","includes":{{"minKernel":"{least}"}}"#),
            _ => String::new(),
        };
        rules.push(allow(&words(names), &condition));
    }
    let with = |op: &str, value: u64| format!(r#","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_{op}"}}]"#);
    rules.push(allow(r#""socket""#, &with("LT", 12)));
    for family in [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45] {
        rules.push(allow(r#""socket""#, &with("EQ", family)));
    }
    rules.extend([0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map(|persona| allow(r#""personality""#, &with("EQ", persona))));
    let no_admin = r#","excludes":{"caps":["CAP_SYS_ADMIN"]}"#;
    rules.push(allow(r#""clone""#, &format!("{}{no_admin}", with("MASKED_EQ", 0x7e02_0000))));
    rules.push(format!(r#"{{"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38{no_admin}}}"#));
    let map = r#"[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]},
        {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
        {"architecture":"SCMP_ARCH_RISCV64","subArchitectures":null}]"#;
    let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":{map},"syscalls":[{}]}}"#, rules.join(","));
    Profile::parse(text.as_bytes()).expect("it is a profile")
}

/// Values around everything that the conditions of `decision` compare with.
pub(super) fn boundary_arguments(rules: &Rules, audit: u32, number: u32) -> Vec<[u64; 6]> {
    let mut tuples = vec![[0; 6], [u64::MAX; 6], [0xffff_ffff; 6]];
    let cases = rules.parts.iter().filter(|part| part.arch.audit() == audit).filter_map(|part| match part.calls.get(&number) {
        Some(Decision::ByArguments(cases)) => Some(cases),
        _ => None,
    });
    let conditions: Vec<Condition> = cases.flatten().flat_map(|case| case.conditions.clone()).collect();
    let values = |condition: &Condition| {
        let value = match condition.test {
            Test::Ne(value) | Test::Lt(value) | Test::Le(value) | Test::Eq(value) | Test::Ge(value) | Test::Gt(value) => vec![value],
            Test::Masked { mask, bits } => vec![bits, bits & mask, mask, !mask, bits ^ (1 << 63), (bits & mask) | !mask],
        };
        let around = |value: u64| {
            let high = value ^ (1 << 32);
            [value, value.wrapping_sub(1), value.wrapping_add(1), high, value | 0xffff_ffff_0000_0000, value & 0xffff_ffff]
        };
        value.into_iter().flat_map(around).collect::<Vec<u64>>()
    };
    for condition in &conditions {
        for value in values(condition) {
            let mut tuple = [0; 6];
            tuple[usize::from(condition.argument)] = value;
            tuples.push(tuple);
            // Together with what other arguments are compared with.
            for other in conditions.iter().filter(|other| other.argument != condition.argument).take(4) {
                for value in values(other).into_iter().take(3) {
                    tuple[usize::from(other.argument)] = value;
                    tuples.push(tuple);
                }
            }
        }
    }
    tuples
}

/// Numbers worth asking for: all up to 600 of each entry, and the ends.
pub(super) fn numbers(audit: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..=600).chain([0xf_0001, 0xf_0002, 0xf_0005, X32_BIT - 1]).collect();
    if audit == Arch::X86_64.audit() {
        numbers.extend((0..=600).map(|number| number | X32_BIT));
    }
    numbers
}

/// Every decision of the program is the rules' own.
fn assert_compiled(rules: &Rules) {
    let program = compile(rules).expect("it fits");
    let audits = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm].map(Arch::audit);
    for audit in audits.into_iter().chain([7]) {
        for number in numbers(audit).into_iter().chain([u32::MAX, 0x8000_0000]) {
            for arguments in boundary_arguments(rules, audit, number) {
                let (verdict, _) = run(&program, &Call { audit, number, arguments });
                assert_eq!(verdict, rules.decide(audit, number, &arguments), "{audit:#x} {number} {arguments:x?}");
            }
        }
    }
}

#[test]
fn the_program_of_the_default_and_of_the_field_decides_as_their_rules_do() {
    for context in [X86_64, AARCH64] {
        assert_compiled(&default::rules(&context));
        assert_compiled(&field().rules(&context).unwrap().rules);
        assert_compiled(&record::asking(&default::rules(&context)));
    }
}

#[test]
fn a_common_call_costs_few_instructions() {
    let rules = default::rules(&X86_64);
    let program = compile(&rules).unwrap();
    let steps = |name: &str| {
        let call = Call { audit: Arch::X86_64.audit(), number: Arch::X86_64.number(name).unwrap(), arguments: [0; 6] };
        let (verdict, steps) = run(&program, &call);
        assert_eq!(verdict, Verdict::Allow, "{name}");
        steps
    };
    let common = ["read", "write", "futex", "epoll_wait", "openat", "close", "mmap", "clock_gettime", "recvfrom", "sendto", "newfstatat"];
    let worst = common.map(steps).into_iter().max().unwrap();
    println!("{} instructions in all, {worst} at most for a common call, {} calls allowed", program.len(), rules.allowed());
    assert!(worst <= 14, "{worst} instructions");
    assert!(program.len() < 1000, "{} instructions", program.len());
}

/// The bounds of a program: a profile with a rule of arguments for every call, far beyond a jump's 255, and one beyond 4096.
#[test]
fn long_programs_jump_far_and_too_long_ones_are_refused() {
    let with = |tests: u64| {
        let rule = |(place, name): (usize, &&str)| {
            let args = (0..tests)
                .map(|value| Argument { index: (value % 6) as u32, value: (value << 31) + (place as u64), value_two: 0, op: Op::Gt })
                .collect();
            rule(name, Action::Allow, args)
        };
        profile(Action::KillProcess, Arch::X86_64.calls().values().enumerate().map(rule).collect()).rules(&X86_64).unwrap().rules
    };
    let rules = with(1);
    assert!(compile(&rules).unwrap().len() > 255 * 4, "{}", compile(&rules).unwrap().len());
    assert_compiled(&rules);
    let refused = compile(&with(6)).expect_err("too long");
    assert!(refused.instructions > INSTRUCTIONS_MAX && refused.to_string().contains("4096"), "{refused}");
}

pub(super) fn rule(name: &str, action: Action, args: Vec<Argument>) -> Rule {
    let text = format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_ALLOW"}}"#);
    Rule { action, args, ..serde_json::from_str(&text).unwrap() }
}

pub(super) fn profile(default_action: Action, syscalls: Vec<Rule>) -> Profile {
    Profile { default_action, syscalls, ..Profile::parse(br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap() }
}

pub(super) fn any_argument() -> impl Strategy<Value = Argument> {
    let value = prop_oneof![
        0..4u64,
        Just(0xffff_ffff),
        Just(1 << 32),
        Just(u64::MAX),
        Just(0x7e02_0000),
        any::<u64>(),
        any::<u32>().prop_map(u64::from)
    ];
    let op = prop_oneof![Just(Op::Ne), Just(Op::Lt), Just(Op::Le), Just(Op::Eq), Just(Op::Ge), Just(Op::Gt), Just(Op::MaskedEq)];
    (0..6u32, value.clone(), value, op).prop_map(|(index, value, value_two, op)| Argument { index, value, value_two, op })
}

pub(super) fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Errno),
        Just(Action::Log),
        Just(Action::KillProcess),
        Just(Action::Trap),
        Just(Action::Trace)
    ]
}

/// Profiles with rules over few names, so that they meet; now and then over many.
pub(super) fn any_profile() -> impl Strategy<Value = Profile> {
    const NAMES: [&str; 12] =
        ["read", "clone", "socket", "bind", "semop", "shmget", "personality", "ioctl", "accept", "mmap2", "arch_prctl", "mseal"];
    let name = prop_oneof![4 => (0..NAMES.len()).prop_map(|index| NAMES[index]), 1 => (0..400usize).prop_map(|index| {
        Arch::X86_64.calls().values().nth(index % Arch::X86_64.calls().len()).copied().unwrap()
    })];
    let rules = prop::collection::vec((name, any_action(), prop::collection::vec(any_argument(), 0..4)), 0..14);
    let arches = prop::sample::subsequence(vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], 0..=3);
    (any_action(), rules, arches).prop_map(|(default, rules, arches)| {
        let rules = rules.into_iter().map(|(name, action, args)| rule(name, action, args)).collect();
        Profile { architectures: arches.into_iter().map(str::to_owned).collect(), ..profile(default, rules) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_profile_is_compiled_to_what_its_rules_decide(profile in any_profile()) {
        assert_compiled(&profile.rules(&X86_64).unwrap().rules);
    }
}

/// Every difference between ours and the field's, each with its reason; and ours is never the weaker.
#[test]
fn the_default_is_as_strict_as_the_fields_and_each_difference_has_a_reason() {
    let reasons = [
        ("x32", "calls of x32 are answered ENOSYS: no program of this century uses them, and most kernels are built without"),
        ("ioctl", "TIOCSTI and TIOCLINUX type into terminals: refused"),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for context in [X86_64, AARCH64, Context { capabilities: u64::MAX, ..X86_64 }, Context { capabilities: 0, ..AARCH64 }] {
        let (ours, theirs) = (default::rules(&context), field().rules(&context).unwrap().rules);
        for audit in [context.native, if context.native == Arch::X86_64 { Arch::X86 } else { Arch::Arm }].map(Arch::audit) {
            for number in numbers(audit) {
                let tuples = boundary_arguments(&ours, audit, number).into_iter().chain(boundary_arguments(&theirs, audit, number));
                for arguments in tuples {
                    let (our, their) = (ours.decide(audit, number, &arguments), theirs.decide(audit, number, &arguments));
                    if our == their {
                        continue;
                    }
                    assert!(!our.lets_through(), "weaker: {number} of {audit:#x} {arguments:x?}: {our:?}, the field {their:?}");
                    let arch = Arch::of_call(audit, number).unwrap();
                    let what = if arch == Arch::X32 { "x32" } else { arch.call(number).unwrap() };
                    assert!(reasons.iter().any(|(known, _)| *known == what), "{what} of {arch:?} has no reason: {our:?}, {their:?}");
                    seen.insert(what);
                }
            }
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["ioctl", "x32"], "a reason that is none any more");
}

/// The whole `linux.seccomp` of the specification, and what each wrong value is called.
#[test]
fn a_wrong_profile_is_refused_by_the_field_that_is_wrong() {
    let good = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]});
    let check = |pointer: &str, value: serde_json::Value| {
        let mut wrong = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match (wrong.pointer_mut(parent).unwrap(), key.parse::<usize>()) {
            (serde_json::Value::Array(list), Ok(index)) => list[index] = value,
            (object, _) => object[key] = value,
        }
        let profile = Profile::parse(wrong.to_string().as_bytes())?;
        profile.load_flags()?;
        profile.rules(&X86_64).map(drop)
    };
    let cases: [(&str, serde_json::Value, &str); 18] = [
        ("/defaultAction", "SCMP_ACT_NOPE".into(), "linux.seccomp.defaultAction"),
        ("/defaultAction", "SCMP_ACT_NOTIFY".into(), "linux.seccomp.defaultErrnoRet"),
        ("/defaultAction", "SCMP_ACT_ALLOW".into(), "linux.seccomp.defaultErrnoRet"),
        ("/defaultErrnoRet", 5000.into(), "linux.seccomp.defaultErrnoRet"),
        ("/architectures/0", "SCMP_ARCH_PDP11".into(), "linux.seccomp.architectures[0]"),
        ("/flags/0", "SECCOMP_FILTER_FLAG_NOPE".into(), "linux.seccomp.flags[0]"),
        ("/syscalls/0/names", serde_json::json!([]), "linux.seccomp.syscalls[0].names"),
        ("/syscalls/0/names/0", "".into(), "linux.seccomp.syscalls[0].names"),
        ("/syscalls/0/names/0", "re ad".into(), "linux.seccomp.syscalls[0].names"),
        ("/syscalls/0/names/0", "r".repeat(65).into(), "linux.seccomp.syscalls[0].names"),
        ("/listenerMetadata", "one".into(), "linux.seccomp.listenerMetadata"),
        ("/syscalls/0/action", "KILL".into(), "linux.seccomp.syscalls[0].action"),
        ("/syscalls/0/action", "SCMP_ACT_NOTIFY".into(), "linux.seccomp.listenerPath"),
        ("/syscalls/0/errnoRet", 3.into(), "linux.seccomp.syscalls[0].errnoRet"),
        ("/syscalls/0/args/0/op", "SCMP_CMP_ISH".into(), "linux.seccomp.syscalls[0].args[0].op"),
        ("/syscalls/0/args/0/index", 6.into(), "linux.seccomp.syscalls[0].args[0].index"),
        ("/syscalls/0/args/0/value", (-1).into(), "linux.seccomp.syscalls[0].args[0].value"),
        ("/syscalls/0/includes", serde_json::json!({"minKernel": "new"}), "linux.seccomp.syscalls[0].includes.minKernel"),
    ];
    for (pointer, value, field) in cases {
        let refused = check(pointer, value.clone()).expect_err(field);
        assert_eq!(refused.field, field, "{pointer} = {value}: {}", refused.problem);
    }
    assert!(check("/defaultErrnoRet", 1.into()).is_ok());
}

#[test]
fn a_name_that_nobody_knows_is_told_and_gets_what_is_newer_than_the_profile() {
    let read =
        profile(Action::Errno, vec![rule("read", Action::Allow, vec![]), rule("mseal2", Action::Allow, vec![])]).rules(&X86_64).unwrap();
    assert_eq!(read.warnings.len(), 1);
    assert!(read.warnings[0].contains("linux.seccomp.syscalls[1]") && read.warnings[0].contains("mseal2"), "{:?}", read.warnings);
    let audit = Arch::X86_64.audit();
    assert_eq!(read.rules.decide(audit, 0, &[0; 6]), Verdict::Allow);
    assert_eq!(read.rules.decide(audit, 1, &[0; 6]), Verdict::Errno(38), "newer than all that the profile names");
    assert_eq!(read.rules.decide(1, 0, &[0; 6]), Verdict::KillThread, "of no architecture of the profile");
}

#[test]
fn a_profile_file_is_resolved_for_capabilities_architecture_and_kernel() {
    let names = |context: &Context| {
        let resolved = field().resolve(context).unwrap();
        assert!(resolved.arch_map.is_empty());
        let again = resolved.rules(context).unwrap();
        assert_eq!(again, field().rules(context).unwrap(), "the same decisions either way");
        let names: Vec<String> = resolved.syscalls.iter().flat_map(|rule| &rule.names).map(ToString::to_string).collect();
        (names, resolved.architectures)
    };
    let (plain, architectures) = names(&X86_64);
    assert_eq!(architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
    assert!(has(&plain, "ptrace") && has(&plain, "arch_prctl") && !has(&plain, "mount") && !has(&plain, "cacheflush"));
    assert!(!has(&names(&Context { kernel: (4, 7), ..X86_64 }).0, "ptrace"));
    assert!(has(&names(&AARCH64).0, "cacheflush"));
    let (all, _) = names(&Context { capabilities: u64::MAX, ..X86_64 });
    assert!(has(&all, "mount") && has(&all, "reboot"));
}

#[test]
fn every_word_that_is_announced_is_understood() {
    let parse = |text: String| Profile::parse(text.as_bytes());
    for action in words::ACTIONS {
        parse(format!(r#"{{"defaultAction":"{action}"}}"#)).unwrap();
    }
    for op in words::OPERATORS {
        parse(format!(r#"{{"defaultAction":"SCMP_ACT_LOG","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":1,"op":"{op}"}}]}}]}}"#)).unwrap();
    }
    let flags = parse(format!(r#"{{"defaultAction":"SCMP_ACT_LOG","flags":{:?}}}"#, words::FLAGS)).unwrap();
    assert!(flags.load_flags().unwrap().has(belljar_linux::seccomp::Flags::WAIT_KILLABLE_RECV));
}

#[test]
fn our_own_profile_survives_the_way_through_json() {
    let text = serde_json::to_vec(&default::profile()).unwrap();
    let back = Profile::parse(&text).unwrap();
    assert_eq!(back, default::profile());
    assert!(back.rules(&X86_64).unwrap().warnings.len() <= 1, "{:?}", back.rules(&X86_64).unwrap().warnings);
}

/// A listener's descriptor stands in for itself: what arrives is looked at by a stranger at the socket.
#[test]
fn a_listener_is_handed_over_with_the_state_of_its_process() {
    use std::io::Read as _;
    use std::os::fd::AsFd;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let agent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let listener: std::os::fd::OwnedFd = tempfile::tempfile().unwrap().into();
    let inode = |descriptor: &std::os::fd::OwnedFd| rustix::fs::fstat(descriptor).unwrap().st_ino;
    let state = agent::ProcessState::new("1.2.0", 42, Some("mine".into()), serde_json::json!({"id": "web", "status": "creating"}));
    agent::hand_over(path.to_str().unwrap(), &state, &listener).unwrap();
    let (mut connection, _) = agent.accept().unwrap();
    let mut buffer = [0; 64];
    let (length, passed) = belljar_linux::fd::receive(connection.as_fd(), &mut buffer).unwrap();
    let mut text = buffer[..length].to_vec();
    connection.read_to_end(&mut text).unwrap();
    assert_eq!(passed.iter().map(inode).collect::<Vec<_>>(), [inode(&listener)]);
    let told: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(
        told,
        serde_json::json!({"ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": 42, "metadata": "mine", "state": {"id": "web", "status": "creating"}})
    );
    let nobody = agent::hand_over("/nowhere/agent.sock", &state, &listener).unwrap_err();
    assert_eq!(nobody.to_string(), "connect to seccomp listener /nowhere/agent.sock: ENOENT: no such file or directory");
}
