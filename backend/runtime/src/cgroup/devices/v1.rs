//! Device rules as v1's controller knows them: everything denied but a list, or everything allowed but a list.
//!
//! Rules in order say more than such a list can. [`List::of`] works out what the rules come to for every pattern that occurs
//! in them, and refuses them where no list says the same (`cgroup-v1/devices.rst`, `security/device_cgroup.c`). [`List::enforce`]
//! changes a cgroup that may be alive by the smallest steps, what is taken before what is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use belljar_linux::Result;
use belljar_linux::bpf::{DeviceKind, DeviceRule, MAKE, READ, Verdict, WRITE};
use belljar_linux::error::Context;
use belljar_model::Invalid;
use rustix::io::Errno;

use super::super::{Cgroup, life, write};
use super::has_children;

/// Every kind of access.
const ALL: u8 = MAKE | READ | WRITE;

/// Devices of one kind; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Pattern {
    fn contains(self, other: Self) -> bool {
        let covers = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
        self.kind == other.kind && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    fn common(self, other: Self) -> Option<Self> {
        let both = |left: Option<u32>, right: Option<u32>| match (left, right) {
            (Some(left), Some(right)) if left != right => None,
            (left, right) => Some(left.or(right)),
        };
        let (major, minor) = (both(self.major, other.major)?, both(self.minor, other.minor)?);
        (self.kind == other.kind).then_some(Self { kind: self.kind, major, minor })
    }
}

/// What a cgroup's files are to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Whether what is not on the list is given or taken.
    otherwise: Verdict,
    /// What is taken (or given) of these.
    exceptions: BTreeMap<Pattern, u8>,
}

impl List {
    /// The list that says what the rules say.
    pub fn of(rules: &[DeviceRule]) -> std::result::Result<Self, Invalid> {
        let allowed: BTreeMap<Pattern, u8> = patterns(rules).into_iter().map(|pattern| (pattern, access_of(pattern, rules))).collect();
        let nested = |holds: fn(u8, u8) -> bool| {
            allowed
                .iter()
                .all(|(wide, outer)| allowed.iter().filter(|(narrow, _)| wide.contains(**narrow)).all(|(_, inner)| holds(*outer, *inner)))
        };
        // Of a list, every line that matches counts: a narrow one can add to a wide one, never take from it.
        let (otherwise, exceptions): (Verdict, BTreeMap<Pattern, u8>) =
            if nested(|outer, inner| outer & !inner == 0) && !is_everything(&allowed) {
                (Verdict::Deny, allowed.into_iter().filter(|(_, access)| *access != 0).collect())
            } else if nested(|outer, inner| inner & !outer == 0) {
                (
                    Verdict::Allow,
                    allowed.into_iter().map(|(pattern, access)| (pattern, ALL & !access)).filter(|(_, taken)| *taken != 0).collect(),
                )
            } else {
                let problem =
                    "cannot be enforced: they take from what another of them gives to more devices, which the v1 controller cannot say";
                return Err(Invalid::new("resources.devices", problem));
            };
        Ok(Self { otherwise, exceptions: without_repetition(exceptions) })
    }

    /// What is allowed, a line for each; `None` where it is everything but a list.
    pub fn allowed(&self) -> Option<Vec<String>> {
        let lines = || self.exceptions.iter().map(|(pattern, access)| line(*pattern, *access)).collect();
        (self.otherwise == Verdict::Deny).then(lines)
    }

    /// Makes a cgroup in which nobody runs yet say so, whatever it said before.
    pub fn begin(&self, folder: &Path) -> Result<()> {
        let (from, to) =
            if self.otherwise == Verdict::Deny { ("devices.deny", "devices.allow") } else { ("devices.allow", "devices.deny") };
        reset(folder, from)?;
        let path = folder.join(to);
        let mut file = File::options().write(true).open(&path).context("open", || path.display().to_string())?;
        self.exceptions.iter().try_for_each(|(pattern, access)| {
            let line = line(*pattern, *access);
            file.write_all(line.as_bytes()).context("write", || format!("{line} to {}", path.display()))
        })
    }

    /// Makes a cgroup say so. What it allows meanwhile is never more than what it allowed before or will allow.
    pub fn enforce(&self, folder: &Path, cgroup: &Cgroup) -> Result<()> {
        let path = folder.join("devices.list");
        let text = std::fs::read_to_string(&path).context("read", || path.display().to_string())?;
        match (read(&text), self.otherwise) {
            (Some(current), Verdict::Deny) => self.change(folder, &current),
            // What is excepted from everything being allowed cannot be read back: all is taken first, then given, and
            // nobody runs who would be refused what both allow.
            (None, Verdict::Deny) => life::while_nobody_runs(cgroup, || self.begin(folder)),
            // The only way there is by way of everything being allowed, so nobody may run meanwhile.
            (_, Verdict::Allow) if self.exceptions.is_empty() => reset(folder, "devices.allow"),
            (_, Verdict::Allow) => life::while_nobody_runs(cgroup, || self.begin(folder)),
        }
    }

    /// From one list of what is allowed to another: what is taken first, then what is given.
    fn change(&self, folder: &Path, current: &BTreeMap<Pattern, u8>) -> Result<()> {
        let of = |list: &BTreeMap<Pattern, u8>, pattern: &Pattern| list.get(pattern).copied().unwrap_or(0);
        for (pattern, access) in current {
            let taken = access & !of(&self.exceptions, pattern);
            if taken != 0 {
                write(&folder.join("devices.deny"), &line(*pattern, taken))?;
            }
        }
        for (pattern, access) in &self.exceptions {
            let given = access & !of(current, pattern);
            if given != 0 {
                write(&folder.join("devices.allow"), &line(*pattern, given))?;
            }
        }
        Ok(())
    }
}

/// Writes "all" to one of the two files. The kernel refuses it (`EINVAL`) once there are cgroups below.
fn reset(folder: &Path, file: &str) -> Result<()> {
    match write(&folder.join(file), "a") {
        Err(error) if error.errno == Errno::INVAL => Err(has_children(folder)),
        done => done,
    }
}

/// Every pattern that decides somewhere: those of the rules, what two of them have in common, and everything.
fn patterns(rules: &[DeviceRule]) -> BTreeSet<Pattern> {
    let mut all = BTreeSet::new();
    for kind in [DeviceKind::Block, DeviceKind::Character] {
        all.insert(Pattern { kind, major: None, minor: None });
        for rule in rules.iter().filter(|rule| rule.kind.is_none_or(|own| own == kind)) {
            let own = Pattern { kind, major: rule.major, minor: rule.minor };
            let shared: Vec<Pattern> = all.iter().filter_map(|other| own.common(*other)).collect();
            all.extend(shared);
            all.insert(own);
        }
    }
    all
}

/// What the rules allow of a pattern's devices, leaving aside those that a narrower pattern has.
fn access_of(pattern: Pattern, rules: &[DeviceRule]) -> u8 {
    rules.iter().fold(0, |access, rule| {
        let own = Pattern { kind: rule.kind.unwrap_or(pattern.kind), major: rule.major, minor: rule.minor };
        match (own.contains(pattern), rule.verdict) {
            (false, _) => access,
            (true, Verdict::Allow) => access | rule.access,
            (true, Verdict::Deny) => access & !rule.access,
        }
    })
}

/// Whether nothing is denied at all: said by one word rather than by a list.
fn is_everything(allowed: &BTreeMap<Pattern, u8>) -> bool {
    allowed.values().all(|access| *access == ALL)
}

/// Leaves out what a wider line says already.
fn without_repetition(list: BTreeMap<Pattern, u8>) -> BTreeMap<Pattern, u8> {
    let wider =
        |pattern: &Pattern, access: u8| list.iter().any(|(other, all)| other != pattern && other.contains(*pattern) && access & !all == 0);
    list.iter().filter(|(pattern, access)| !wider(pattern, **access)).map(|(pattern, access)| (*pattern, *access)).collect()
}

fn line(pattern: Pattern, access: u8) -> String {
    let kind = if pattern.kind == DeviceKind::Block { 'b' } else { 'c' };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let letters: String =
        [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')].iter().filter(|(bit, _)| access & bit != 0).map(|(_, letter)| letter).collect();
    format!("{kind} {}:{} {letters}", number(pattern.major), number(pattern.minor))
}

/// Reads `devices.list`; `None` where everything is allowed, perhaps with exceptions, which the file does not show.
fn read(text: &str) -> Option<BTreeMap<Pattern, u8>> {
    let mut list = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let kind = match words.next() {
            Some("b") => DeviceKind::Block,
            Some("c") => DeviceKind::Character,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        let pattern = Pattern { kind, major: number(major)?, minor: number(minor)? };
        let access = words.next()?.chars().fold(0, |access, letter| {
            access
                | match letter {
                    'r' => READ,
                    'w' => WRITE,
                    _ => MAKE,
                }
        });
        list.insert(pattern, access);
    }
    Some(list)
}

impl fmt::Display for List {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let otherwise = if self.otherwise == Verdict::Deny { "none" } else { "all" };
        write!(formatter, "list ({otherwise} but {})", self.exceptions.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, default_rules, parse, with_defaults};
    use super::*;

    fn lines(rules: &[Rule]) -> std::result::Result<(Verdict, Vec<String>), String> {
        let list = List::of(&parse(rules).unwrap()).map_err(|invalid| invalid.to_string())?;
        Ok((list.otherwise, list.exceptions.iter().map(|(pattern, access)| line(*pattern, *access)).collect()))
    }

    fn deny(kind: char, numbers: (i64, i64), access: &str) -> Rule {
        Rule { allow: false, ..Rule::allow(kind, numbers, access) }
    }

    #[test]
    fn the_default_rules_are_a_list_of_what_is_allowed() {
        let (otherwise, lines) = lines(&with_defaults(&[Rule::deny_all()])).unwrap();
        assert_eq!((otherwise, lines.len()), (Verdict::Deny, default_rules().len()));
        assert_eq!(lines[0], "b *:* m");
    }

    #[test]
    fn a_narrow_line_says_what_a_wide_one_says_too_because_the_kernel_asks_for_all_in_one() {
        let rules = [Rule::allow('c', (-1, -1), "r"), Rule::allow('c', (1, 3), "w")];
        assert_eq!(lines(&rules).unwrap().1, ["c *:* r", "c 1:3 rw"]);
        let crossing = [Rule::allow('c', (1, -1), "r"), Rule::allow('c', (-1, 3), "w")];
        assert_eq!(lines(&crossing).unwrap().1, ["c *:3 w", "c 1:* r", "c 1:3 rw"]);
    }

    #[test]
    fn everything_but_some_is_a_list_of_what_is_denied() {
        let all = Rule { allow: true, ..Rule::deny_all() };
        assert_eq!(lines(std::slice::from_ref(&all)).unwrap(), (Verdict::Allow, vec![]));
        let but = [all, deny('b', (8, -1), "w")];
        assert_eq!(lines(&but).unwrap(), (Verdict::Allow, vec!["b 8:* w".to_owned()]));
    }

    #[test]
    fn a_hole_in_what_is_allowed_is_refused_since_v1_cannot_say_it() {
        let hole = [Rule::allow('c', (1, -1), "rw"), deny('c', (1, 3), "w")];
        assert!(lines(&hole).unwrap_err().starts_with("resources.devices: cannot be enforced"));
        let closed_again = [Rule::allow('c', (1, -1), "rw"), deny('c', (1, 3), "w"), Rule::allow('c', (1, 3), "rwm")];
        assert_eq!(lines(&closed_again).unwrap().1, ["c 1:* rw", "c 1:3 rwm"]);
        assert_eq!(lines(&[]).unwrap(), (Verdict::Deny, vec![]));
    }

    #[test]
    fn what_the_kernel_lists_is_read() {
        assert_eq!(read("a *:* rwm\n"), None);
        let list = read("c 1:3 rwm\nb *:* m\n").unwrap();
        let text: Vec<String> = list.iter().map(|(pattern, access)| line(*pattern, *access)).collect();
        assert_eq!(text, ["b *:* m", "c 1:3 rwm"]);
        assert_eq!(read(""), Some(BTreeMap::new()));
    }
}
