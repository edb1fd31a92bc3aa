//! Three judges of device rules, who must agree: a naive reading of the rules, the program on a v2 cgroup, and the files of v1,
//! the last two asked by real processes that open and make real devices.

use std::fmt::Write as _;

use super::*;
use crate::cgroup::testing::Living;

/// Devices that every machine has and whose opening does nothing, with how a shell tries each access.
const ASKED: [(char, u32, u32); 5] = [('c', 1, 3), ('c', 1, 5), ('c', 1, 7), ('c', 1, 9), ('b', 7, 0)];

/// What the rules say, read as slowly as they are written: each access by itself, the last rule that matches.
fn naive(rules: &[DeviceRule], asked: (char, u32, u32), access: u8) -> bool {
    let kind = if asked.0 == 'b' { DeviceKind::Block } else { DeviceKind::Character };
    [bpf::MAKE, bpf::READ, bpf::WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        let mut allowed = false;
        for rule in rules {
            let matches = rule.kind.is_none_or(|own| own == kind)
                && rule.major.is_none_or(|own| own == asked.1)
                && rule.minor.is_none_or(|own| own == asked.2)
                && rule.access & bit != 0;
            if matches {
                allowed = rule.verdict == Verdict::Allow;
            }
        }
        allowed
    })
}

/// Pseudo-random numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn rules(&mut self) -> Vec<Rule> {
        let count = 1 + self.below(6);
        (0..count)
            .map(|_| Rule {
                allow: self.below(3) > 0,
                kind: Some(["a", "c", "c", "b"][self.below(4)].to_owned()),
                major: [None, Some(1), Some(1), Some(7)][self.below(4)],
                minor: [None, Some(3), Some(5), Some(0)][self.below(4)],
                access: Some(["rwm", "rw", "r", "w", "m", "rm"][self.below(6)].to_owned()),
            })
            .collect()
    }
}

/// A shell script that tries every access to every device, and prints a line of verdicts.
fn script(folder: &Path) -> String {
    let mut text = format!("cd {} || exit; ", folder.display());
    for (kind, major, minor) in ASKED {
        let name = format!("{kind}{major}-{minor}");
        // Opening is all that counts; what a driver says afterwards is not.
        let told = "read told < e; case $told in *'not permitted'*) echo 0 ;; *) echo 1 ;; esac";
        let open = |mode: &str| format!("(exec 9{mode}{name}) 2>e && echo 1 || {{ {told}; }}; ");
        for mode in ["<", ">", "<>"] {
            text += &open(mode);
        }
        write!(text, "mknod made {kind} {major} {minor} 2>/dev/null && echo 1 || echo 0; rm -f made; ").unwrap();
    }
    text
}

fn expected(rules: &[DeviceRule]) -> String {
    let accesses = [bpf::READ, bpf::WRITE, bpf::READ | bpf::WRITE, bpf::MAKE];
    ASKED.iter().flat_map(|asked| accesses.map(|access| if naive(rules, *asked, access) { "1\n" } else { "0\n" })).collect()
}

/// A folder with nodes of the devices; `None`, told, where none can be made.
fn nodes() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir_in("/var/tmp").ok()?;
    for (kind, major, minor) in ASKED {
        let path = folder.path().join(format!("{kind}{major}-{minor}"));
        let file_type = if kind == 'b' { rustix::fs::FileType::BlockDevice } else { rustix::fs::FileType::CharacterDevice };
        let made = rustix::fs::mknodat(rustix::fs::CWD, &path, file_type, 0o666.into(), rustix::fs::makedev(major, minor));
        if made.is_err() || std::fs::File::open(folder.path().join("c1-3")).is_err() {
            println!("skipped: needs to make devices");
            return None;
        }
    }
    Some(folder)
}

/// The shell itself writes to `/dev/null` and the program is exec'd: this much every list has.
fn with_null(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.push(Rule::allow('c', (1, 3), "rwm"));
    rules
}

#[test]
fn a_program_on_v2_decides_as_the_rules_say() {
    let (Some(folder), Some(mut living)) = (nodes(), Living::new("program")) else { return };
    let Some(part) = living.cgroup.unified().cloned() else {
        println!("skipped: needs a v2 hierarchy");
        return;
    };
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..24 {
        let rules = with_null(dice.rules());
        let guard = Guard::Program { folder: part.path.clone(), rules: parse(&rules).unwrap() };
        guard.enforce(&living.cgroup).unwrap();
        let said = living.output(&script(folder.path()));
        let lines: Vec<String> = rules.iter().map(|rule| format!("{} {rule}", rule.allow)).collect();
        assert_eq!(said, expected(&parse(&rules).unwrap()), "{lines:#?}");
    }
}

#[test]
fn files_of_v1_decide_as_the_rules_say_or_the_rules_are_refused() {
    let (Some(folder), Some(mut living)) = (nodes(), Living::new("files")) else { return };
    if !living.has_v1("devices") {
        return;
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut enforced, mut refused) = (0, 0);
    while enforced < 24 {
        let rules = with_null(dice.rules());
        // Each change is made to the cgroup as the one before left it.
        match Guard::new(&rules, &living.cgroup) {
            Err(invalid) => {
                assert_eq!(invalid.field, "resources.devices");
                refused += 1;
            }
            Ok(guard) => {
                assert!(matches!(guard, Guard::Files { .. }), "where v1 has devices, v1 decides");
                guard.enforce(&living.cgroup).unwrap();
                let said = living.output(&script(folder.path()));
                let lines: Vec<String> = rules.iter().map(|rule| format!("{} {rule}", rule.allow)).collect();
                assert_eq!(said, expected(&parse(&rules).unwrap()), "{lines:#?}");
                enforced += 1;
            }
        }
        assert!(refused < 500, "most rules can be said by v1");
    }
}

#[test]
fn while_the_list_of_a_living_cgroup_changes_nothing_else_is_ever_allowed() {
    let (Some(folder), Some(mut living)) = (nodes(), Living::new("narrow")) else { return };
    if !living.has_v1("devices") {
        return;
    }
    let guard = |rules: &[Rule], living: &Living| Guard::new(rules, &living.cgroup).unwrap();
    let everything_but = [Rule { allow: true, ..Rule::deny_all() }, Rule { allow: false, ..Rule::allow('c', (1, 5), "rwm") }];
    let lists = [with_null(vec![]), with_null(vec![Rule::allow('c', (1, 7), "rw")]), everything_but.to_vec()];
    guard(&lists[0], &living).enforce(&living.cgroup).unwrap();
    // Never on any of the lists, so it must never be opened.
    let attacker = living.run(&[], &format!("cd {}; while :; do (: <c1-5) 2>/dev/null && echo opened; done", folder.path().display()));
    for _ in 0..30 {
        for list in &lists {
            guard(list, &living).enforce(&living.cgroup).unwrap();
        }
    }
    assert!(!living.cgroup.is_frozen());
    living.cgroup.kill_all().unwrap();
    assert_eq!(living.first_line(attacker), "");
}

#[test]
fn what_is_no_rule_is_refused_by_its_field() {
    let rule = |text: &str| parse(&[serde_json::from_str(text).unwrap()]).map(drop).map_err(|invalid| invalid.field);
    assert_eq!(rule(r#"{"allow": true, "type": "p", "access": "r"}"#), Err("resources.devices[0].type".to_owned()));
    assert_eq!(rule(r#"{"allow": true, "access": "rx"}"#), Err("resources.devices[0].access".to_owned()));
    assert_eq!(rule(r#"{"allow": true}"#), Err("resources.devices[0].access".to_owned()));
    assert_eq!(rule(r#"{"major": 4294967296, "access": "r"}"#), Err("resources.devices[0].major".to_owned()));
    assert_eq!(rule(r#"{"major": 4096, "access": "r"}"#), Err("resources.devices[0].major".to_owned()));
    assert_eq!(rule(r#"{"minor": 1048576, "access": "r"}"#), Err("resources.devices[0].minor".to_owned()));
    assert_eq!(rule(r#"{"major": 4095, "minor": 1048575, "access": "r"}"#), Ok(()));
    assert_eq!(rule(r#"{"minor": -2, "access": "r"}"#), Err("resources.devices[0].minor".to_owned()));
    assert_eq!(rule(r#"{"type": "c", "major": -1, "minor": null, "access": "rwm"}"#), Ok(()));
    assert_eq!(parse(&vec![Rule::deny_all(); RULES_MAX + 1]).unwrap_err().field, "resources.devices");
}

#[test]
fn the_default_rules_are_the_fields() {
    let lines: Vec<String> = default_rules().iter().map(ToString::to_string).collect();
    let expected = ["c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm"];
    assert_eq!(lines[..9], expected);
    assert_eq!(lines[9..], ["c 136:* rwm", "c 10:200 rwm"]);
}
