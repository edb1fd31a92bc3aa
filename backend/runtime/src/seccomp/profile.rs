//! Profiles as people and engines write them: `linux.seccomp` of the OCI runtime specification 1.2, and the file format of
//! Docker and Podman, which is the same with conditions (capabilities, architectures, kernel) on each rule.
//!
//! [`Profile::resolve`] takes the conditions away for one container; [`Profile::rules`] says what every number gets. Both
//! name what is wrong by its path: `linux.seccomp.syscalls[3].args[0].op`.

use belljar_linux::seccomp::Flags;
use belljar_model::Invalid;
use belljar_model::objects::Objects;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};

use super::arch::{Arch, Named, is_known};
use super::record::BEFORE_THE_PROGRAM;
use super::rules::{Case, Condition, Decision, NEWER, Part, Rules, Test, Verdict};
use super::words::FLAGS;
pub use super::words::{Action, Op};

/// A profile in either format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// What a call without a rule gets.
    pub default_action: Action,
    /// The errno of the default, where it fails or traces; `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The same by name, which Podman writes beside the number, and which counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno: Option<String>,
    /// Architectures beside the native one, `SCMP_ARCH_…`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Of a profile file: which architectures go with which native one. Not together with `architectures`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub arch_map: Vec<ArchMap>,
    /// Flags of the load, `SECCOMP_FILTER_FLAG_…`; absent: `SPEC_ALLOW`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// The socket of whoever answers `SCMP_ACT_NOTIFY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// What that one is told beside the container's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Rule>,
}

/// Architectures that go with a native one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ArchMap {
    /// The native one.
    pub architecture: String,
    /// Others whose calls its kernel answers.
    #[serde(default, deserialize_with = "nullable")]
    pub sub_architectures: Vec<String>,
}

impl ArchMap {
    /// One that goes with a native one.
    pub fn new(native: Arch, sub: Arch) -> Self {
        Self { architecture: native.name().to_owned(), sub_architectures: vec![sub.name().to_owned()] }
    }
}

/// One rule: these calls, with these arguments, get this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Names of calls: hundreds, none of which needs memory of its own.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<CompactString>,
    /// One name, as old profile files write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What they get.
    pub action: Action,
    /// The errno, where the action fails or traces; `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// The same by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// Conditions on arguments, which hold together; two on the same argument: any of all is enough.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The rule counts only where all of this is so.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Filter::is_empty")]
    pub includes: Filter,
    /// The rule does not count where any of this is so.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Filter::is_empty")]
    pub excludes: Filter,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Which, 0 to 5.
    pub index: u32,
    /// What it is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// What is left under the mask.
    #[serde(default)]
    pub value_two: u64,
    /// How.
    pub op: Op,
}

/// When a rule of a profile file counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Capabilities, `CAP_…`, of the bounding set.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// Native architectures, `amd64`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// The oldest kernel, `4.8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_kernel: Option<String>,
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// What of a container and its host decides about a profile's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    /// The bounding set, bit by bit.
    pub capabilities: u64,
    /// The native architecture.
    pub native: Arch,
    /// Major and minor version of the running kernel.
    pub kernel: (u32, u32),
}

impl Context {
    /// This machine, with these capabilities (`CAP_CHOWN` or `CHOWN`); what is no capability counts for nothing.
    pub fn here<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> Self {
        let kernel = rustix::system::uname();
        let kernel = version(&kernel.release().to_string_lossy()).unwrap_or((0, 0));
        let bits = capabilities.into_iter().fold(0, |bits, name| bits | capability(name));
        Self { capabilities: bits, native: Arch::NATIVE, kernel }
    }
}

/// The bit of a capability, with or without `CAP_`; 0 where there is none of that name.
fn capability(name: &str) -> u64 {
    belljar_linux::capability::by_name(name.trim_start_matches("CAP_")).map_or(0, |set| set.bits())
}

/// `6.18` of `6.18.44-cloud`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Rules, and what of the profile had to be passed over, in sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The rules.
    pub rules: Rules,
    /// What nobody here knows: names of calls, and architectures.
    pub warnings: Vec<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn kernel(&self, field: &str) -> Result<Option<(u32, u32)>, Invalid> {
        let Some(text) = &self.min_kernel else { return Ok(None) };
        version(text).map(Some).ok_or_else(|| invalid(format!("{field}.minKernel"), format!("{text:?} is no version such as \"4.8\"")))
    }

    fn includes(&self, context: &Context, field: &str) -> Result<bool, Invalid> {
        let arch = self.arches.is_empty() || self.arches.iter().any(|arch| arch == context.native.short());
        let caps = self.caps.iter().all(|name| context.capabilities & capability(name) != 0);
        let kernel = self.kernel(field)?.is_none_or(|least| context.kernel >= least);
        Ok(arch && caps && kernel)
    }

    fn excludes(&self, context: &Context, field: &str) -> Result<bool, Invalid> {
        let arch = self.arches.iter().any(|arch| arch == context.native.short());
        let caps = self.caps.iter().any(|name| context.capabilities & capability(name) != 0);
        let kernel = self.kernel(field)?.is_some_and(|least| context.kernel >= least);
        Ok(arch || caps || kernel)
    }
}

fn invalid(field: String, problem: impl Into<String>) -> Invalid {
    Invalid { field, problem: problem.into() }
}

/// Where a profile stands in what a person wrote.
pub const FIELD: &str = "linux.seccomp";

impl Profile {
    /// Reads a profile in either format.
    pub fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let mut input = serde_json::Deserializer::from_slice(text);
        serde_path_to_error::deserialize(Objects(&mut input)).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { FIELD.to_owned() } else { format!("{FIELD}.{path}") };
            invalid(field, error.into_inner().to_string())
        })
    }

    /// The profile for one container: only rules that count, and the architectures, as the OCI specification writes it.
    pub fn resolve(&self, context: &Context) -> Result<Self, Invalid> {
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            return Err(invalid(format!("{FIELD}.archMap"), "cannot stand beside architectures"));
        }
        let mut profile = Self { arch_map: Vec::new(), syscalls: Vec::new(), ..self.clone() };
        if let Some(map) = self.arch_map.iter().find(|map| map.architecture == context.native.name()) {
            profile.architectures = std::iter::once(&map.architecture).chain(&map.sub_architectures).cloned().collect();
        }
        for (index, rule) in self.syscalls.iter().enumerate() {
            let field = format!("{FIELD}.syscalls[{index}]");
            let counts = rule.includes.includes(context, &format!("{field}.includes"))?;
            if counts && !rule.excludes.excludes(context, &format!("{field}.excludes"))? {
                profile.syscalls.push(Rule { includes: Filter::default(), excludes: Filter::default(), ..rule.clone() });
            }
        }
        Ok(profile)
    }

    /// What every number gets. The fields of errors are those of this profile, so conditions are judged here as well.
    pub fn rules(&self, context: &Context) -> Result<Read, Invalid> {
        let default_errno = (self.default_errno_ret, self.default_errno.as_deref());
        let default = verdict(self.default_action, default_errno, &format!("{FIELD}.defaultErrnoRet"))?;
        if default == Verdict::Notify {
            return Err(invalid(
                format!("{FIELD}.defaultAction"),
                "cannot be SCMP_ACT_NOTIFY: nobody could answer for the listener itself",
            ));
        }
        let mut warnings = Vec::new();
        let mut parts = self.parts(context, &mut warnings)?;
        let newer_is_answered = default.lets_through() || default == NEWER;
        for (index, rule) in self.syscalls.iter().enumerate() {
            let field = format!("{FIELD}.syscalls[{index}]");
            let verdict = rule.check(&field)?;
            let counts = rule.includes.includes(context, &format!("{field}.includes"))?;
            if !counts || rule.excludes.excludes(context, &format!("{field}.excludes"))? {
                continue;
            }
            for name in rule.names() {
                if !is_known(name) {
                    if !could_be_a_call(name) {
                        let shown: String = name.chars().take(NAME_LETTERS_MAX).collect();
                        return Err(invalid(format!("{field}.names"), format!("{shown:?} can be no call's name")));
                    }
                    warnings.push(format!(
                        "{field}: no architecture here has a call {name:?}; it is answered as what is newer than the profile"
                    ));
                }
                if verdict == Verdict::Notify && BEFORE_THE_PROGRAM.contains(&name) {
                    return Err(invalid(
                        format!("{field}.action"),
                        format!("{name} is called before a listener can have been handed out, so that none could answer it"),
                    ));
                }
                for part in &mut parts {
                    if !newer_is_answered {
                        let through_another = part.arch.multiplexed(name).map(|(number, _)| number);
                        part.newest = part.newest.max(part.arch.number(name)).max(through_another);
                    }
                    // A rule that says what the default says is none: that is how the field reads it.
                    if verdict != default {
                        rule.add_to(part, name, verdict);
                    }
                }
            }
        }
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if self.uses_notify() && !is_given(&self.listener_path) {
            return Err(invalid(format!("{FIELD}.listenerPath"), "is needed by SCMP_ACT_NOTIFY"));
        }
        if is_given(&self.listener_metadata) && !is_given(&self.listener_path) {
            return Err(invalid(format!("{FIELD}.listenerMetadata"), "cannot stand without listenerPath"));
        }
        Ok(Read { rules: Rules { default, foreign: Verdict::KillThread, newer: NEWER, parts }, warnings })
    }

    /// The flags of the load. None given: the guard against Speculative Store Bypass stays as it is.
    pub fn load_flags(&self) -> Result<Flags, Invalid> {
        let Some(flags) = &self.flags else { return Ok(Flags::SPEC_ALLOW) };
        let known = [Flags::TSYNC, Flags::LOG, Flags::SPEC_ALLOW, Flags::WAIT_KILLABLE_RECV];
        flags.iter().enumerate().try_fold(Flags::default(), |all, (index, name)| {
            let place = FLAGS.iter().position(|flag| flag == name);
            let flag = place.map(|place| known[place]);
            flag.map(|flag| all.with(flag)).ok_or_else(|| invalid(format!("{FIELD}.flags[{index}]"), format!("{name:?} is no flag")))
        })
    }

    /// Whether any rule asks a listener.
    pub fn uses_notify(&self) -> bool {
        self.syscalls.iter().any(|rule| rule.action == Action::Notify)
    }

    /// One part for each architecture that this kernel can answer, the native one first, whether or not it is listed.
    fn parts(&self, context: &Context, warnings: &mut Vec<String>) -> Result<Vec<Part>, Invalid> {
        let of_map = self.arch_map.iter().enumerate().find(|(_, map)| map.architecture == context.native.name());
        let listed = self.architectures.iter().enumerate().map(|(index, name)| (format!("{FIELD}.architectures[{index}]"), name));
        let mapped = of_map.into_iter().flat_map(|(index, map)| {
            let field = move |sub| format!("{FIELD}.archMap[{index}].subArchitectures[{sub}]");
            map.sub_architectures.iter().enumerate().map(move |(sub, name)| (field(sub), name))
        });
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            return Err(invalid(format!("{FIELD}.archMap"), "cannot stand beside architectures"));
        }
        let mut arches = vec![context.native];
        for (field, name) in listed.chain(mapped) {
            match Arch::named(name) {
                Some(Named::Known(arch)) if arch.is_of(context.native) => arches.push(arch),
                Some(_) => warnings.push(format!("{field}: this kernel answers no calls of {name}")),
                None => return Err(invalid(field, format!("{name:?} is no architecture"))),
            }
        }
        let mut seen = Vec::new();
        arches.retain(|arch| {
            !seen.contains(arch) && {
                seen.push(*arch);
                true
            }
        });
        // Those of one entry of the kernel stand together.
        arches.sort_by_key(|arch| (arch.audit() != context.native.audit(), arch.audit()));
        Ok(arches.into_iter().map(|arch| Part { arch, calls: Default::default(), newest: None }).collect())
    }
}

impl Rule {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.name.as_deref().into_iter().chain(self.names.iter().map(CompactString::as_str))
    }

    /// What is wrong with it, whether or not it counts here.
    fn check(&self, field: &str) -> Result<Verdict, Invalid> {
        if self.names().next().is_none() {
            return Err(invalid(format!("{field}.names"), "is empty"));
        }
        if let Some(index) = self.args.iter().position(|argument| argument.index > 5) {
            return Err(invalid(format!("{field}.args[{index}].index"), "a call has six arguments, 0 to 5"));
        }
        verdict(self.action, (self.errno_ret, self.errno.as_deref()), &format!("{field}.errnoRet"))
    }

    fn add_to(&self, part: &mut Part, name: &str, verdict: Verdict) {
        let conditions: Vec<Condition> = self.args.iter().map(Argument::condition).collect();
        let twice = |condition: &Condition| conditions.iter().filter(|other| other.argument == condition.argument).count() > 1;
        // Two conditions on one argument could hardly be meant together; the field reads all of such a rule as "any of".
        let alternatives =
            if conditions.iter().any(twice) { conditions.iter().map(|condition| vec![*condition]).collect() } else { vec![conditions] };
        let bits = part.arch.argument_bits();
        for mut conditions in alternatives {
            // A condition on none of the bits that are compared is none.
            conditions.retain(|condition| !condition.always_holds(bits));
            if let Some((number, which)) = part.arch.multiplexed(name) {
                // The other arguments are in memory, where no filter can look: only which call it is decides.
                let rest = conditions.iter().filter(|condition| condition.argument != 0).copied();
                let first = Condition { argument: 0, test: Test::Eq(u64::from(which)) };
                let conditions = std::iter::once(first).chain(rest).collect();
                part.add(number, Case { conditions, verdict });
            }
            if let Some(number) = part.arch.number(name) {
                part.add(number, Case { conditions, verdict });
            }
        }
    }
}

impl Part {
    /// Adds a case for a number.
    pub fn add(&mut self, number: u32, case: Case) {
        self.calls.entry(number).or_insert_with(|| Decision::ByArguments(Vec::new())).add(case);
    }
}

impl Argument {
    fn condition(&self) -> Condition {
        let test = match self.op {
            Op::Ne => Test::Ne(self.value),
            Op::Lt => Test::Lt(self.value),
            Op::Le => Test::Le(self.value),
            Op::Eq => Test::Eq(self.value),
            Op::Ge => Test::Ge(self.value),
            Op::Gt => Test::Gt(self.value),
            Op::MaskedEq => Test::Masked { mask: self.value, bits: self.value_two },
        };
        Condition { argument: self.index as u8, test }
    }
}

/// Longer than the name of any call of any kernel (`sched_get_priority_max` is among the longest).
const NAME_LETTERS_MAX: usize = 64;

/// Whether a kernel to come might have a call of this name.
fn could_be_a_call(name: &str) -> bool {
    let is_of_a_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    !name.is_empty() && name.len() <= NAME_LETTERS_MAX && name.bytes().all(is_of_a_name)
}

/// Highest errno of the kernel (`MAX_ERRNO`).
const ERRNO_HIGHEST: u32 = 4095;

fn verdict(action: Action, (number, name): (Option<u32>, Option<&str>), field: &str) -> Result<Verdict, Invalid> {
    let takes_errno = matches!(action, Action::Errno | Action::Trace);
    let by_name = name
        .filter(|name| !name.is_empty())
        .map(|name| errno(name).ok_or_else(|| invalid(field.to_owned(), format!("{name:?} is no errno"))));
    let given = by_name.transpose()?.or(number);
    if given.is_some() && !takes_errno {
        return Err(invalid(field.to_owned(), "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one"));
    }
    let given = given.unwrap_or(libc::EPERM as u32);
    let highest = if action == Action::Trace { u32::from(u16::MAX) } else { ERRNO_HIGHEST };
    if given > highest {
        return Err(invalid(field.to_owned(), format!("{given} is more than {highest}")));
    }
    let given = given as u16;
    Ok(match action {
        Action::Kill | Action::KillThread => Verdict::KillThread,
        Action::KillProcess => Verdict::KillProcess,
        Action::Trap => Verdict::Trap,
        Action::Errno => Verdict::Errno(given),
        Action::Trace => Verdict::Trace(given),
        Action::Allow => Verdict::Allow,
        Action::Log => Verdict::Log,
        Action::Notify => Verdict::Notify,
    })
}

/// The number of `EPERM`.
fn errno(name: &str) -> Option<u32> {
    let is_it = |number: &i32| format!("{:?}", nix::errno::Errno::from_raw(*number)) == name;
    (1..=133).find(is_it).map(|number| number as u32)
}
