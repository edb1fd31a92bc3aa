//! The program: the one of a container, and one that joins it later.

use belljar_model::Invalid;
use belljar_model::namespace::Kind;
use belljar_runtime::spec::{
    Capabilities, CpuAffinity, IoPriority, Keyring, Namespace, Process, Rlimit, Scheduler, Terminal, TerminalSize, User,
};

use super::absolute;
use crate::document::{self, IoClass, Linux, PersonalityDomain, SchedulerFlag, SchedulerPolicy};

/// What whoever calls the runtime decides about a program.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Whose keyring it has.
    pub keyring: Keyring,
    /// How many descriptors from 3 on it is given.
    pub preserved_descriptors: u32,
    /// What it can be given at all.
    pub rights: Rights,
}

/// Whose rights bound those of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Our caller's: what was taken from us for good, nobody can give.
    Callers,
    /// Those of a user namespace that is not ours: who is made or enters there has every right over it, whatever was taken before
    /// (`user_namespaces(7)`).
    Namespaces,
}

impl Rights {
    /// Of whom is in these namespaces.
    pub fn of(namespaces: &[Namespace]) -> Self {
        let has_own_users = namespaces.iter().any(|namespace| namespace.kind == Kind::User);
        if has_own_users { Self::Namespaces } else { Self::Callers }
    }
}

/// `PER_LINUX32` (`personality(2)`).
const PER_LINUX32: u32 = 8;
/// More processors than any kernel has: where a list must end.
const PROCESSORS_MAX: u32 = 8192;

/// Turns a document's program into the core's. `field` is where it stands in its document.
pub fn process(wanted: &document::Process, field: &str, caller: &Caller, warnings: &mut Vec<String>) -> Result<Process, Invalid> {
    let at = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    match wanted.args.first() {
        None => return Err(Invalid::new(at("args"), "it must not be empty")),
        Some(program) if program.is_empty() => return Err(Invalid::new(at("args[0]"), "it must not be empty")),
        Some(_) => {}
    }
    absolute(&at("cwd"), &wanted.cwd)?;
    check_texts(&at("args"), &wanted.args)?;
    check_environment(&at("env"), &wanted.env)?;
    if let Some(adjustment) = wanted.oom_score_adj.filter(|adjustment| !(-1000..=1000).contains(adjustment)) {
        return Err(Invalid::new(at("oomScoreAdj"), format!("{adjustment} is not from -1000 to 1000")));
    }
    let user = &wanted.user;
    let ids = [("user.uid".to_owned(), user.uid), ("user.gid".to_owned(), user.gid)];
    let groups = user.additional_gids.iter().enumerate().map(|(index, gid)| (format!("user.additionalGids[{index}]"), *gid));
    ids.into_iter().chain(groups).try_for_each(|(name, id)| check_id(&at(&name), id))?;
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(Process {
        arguments: wanted.args.clone(),
        environment: last_of_each(&wanted.env),
        workdir: wanted.cwd.clone(),
        terminal: terminal(wanted),
        user: User::Ids { uid: user.uid, gid: user.gid, groups: without_duplicates(&user.additional_gids) },
        umask: umask(&at("user.umask"), wanted.user.umask)?,
        capabilities: capabilities(&at("capabilities"), wanted.capabilities.as_ref(), caller.rights, warnings)?,
        no_new_privileges: wanted.no_new_privileges,
        seccomp: None,
        rlimits: rlimits(&at("rlimits"), &wanted.rlimits)?,
        oom_score_adj: wanted.oom_score_adj,
        scheduler: wanted.scheduler.as_ref().map(|wanted| scheduler(&at("scheduler"), wanted)).transpose()?,
        io_priority: wanted.io_priority.as_ref().map(|wanted| io_priority(&at("ioPriority"), wanted)).transpose()?,
        personality: None,
        apparmor: filled(&wanted.apparmor_profile),
        landlock: None,
        selinux_label: filled(&wanted.selinux_label),
        cpu_affinity: affinity(&at("execCPUAffinity"), wanted)?,
        keyring: caller.keyring,
        preserved_descriptors: caller.preserved_descriptors,
    })
}

fn terminal(wanted: &document::Process) -> Terminal {
    if !wanted.terminal {
        return Terminal::None;
    }
    let size = wanted.console_size.filter(|size| size.height > 0 && size.width > 0);
    Terminal::Pty { size: size.map(|size| TerminalSize { rows: size.height, columns: size.width }) }
}

/// A text that the kernel takes ends at its first zero byte: what follows would be lost without a word.
pub(super) fn check_texts(field: &str, texts: &[String]) -> Result<(), Invalid> {
    match texts.iter().position(|text| text.contains('\0')) {
        Some(index) => Err(Invalid::new(format!("{field}[{index}]"), "it has a zero byte in it")),
        None => Ok(()),
    }
}

pub(super) fn check_environment(field: &str, variables: &[String]) -> Result<(), Invalid> {
    check_texts(field, variables)?;
    for (index, variable) in variables.iter().enumerate() {
        let problem = match variable.split_once('=') {
            None => "invalid environment variable: missing '='",
            Some(("", _)) => "invalid environment variable: name cannot be empty",
            Some(_) => continue,
        };
        return Err(Invalid::new(format!("{field}[{index}]"), format!("{variable:?}: {problem}")));
    }
    Ok(())
}

/// Each name once, with its last value, where it stood first: `execve` would pass both, and the C library believes the first, so
/// that what was meant to replace a variable would be without effect.
fn last_of_each(variables: &[String]) -> Vec<String> {
    let mut kept: Vec<&String> = Vec::with_capacity(variables.len());
    let mut places = std::collections::HashMap::with_capacity(variables.len());
    for variable in variables {
        let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
        match places.get(name) {
            Some(&place) => kept[place] = variable,
            None => {
                places.insert(name, kept.len());
                kept.push(variable);
            }
        }
    }
    kept.into_iter().cloned().collect()
}

/// The last id means "leave it as it is" to the kernel: who asked for it would stay root.
fn check_id(field: &str, id: u32) -> Result<(), Invalid> {
    if id == u32::MAX { Err(Invalid::new(field, format!("{id} is not an id: the last one is {}", u32::MAX - 1))) } else { Ok(()) }
}

fn umask(field: &str, wanted: Option<u32>) -> Result<Option<u32>, Invalid> {
    match wanted {
        Some(mask) if mask > 0o777 => Err(Invalid::new(field, format!("{mask:#o} is not from 0 to 0o777"))),
        wanted => Ok(wanted),
    }
}

/// Whether anybody could be given this capability: the kernel knows it, and nobody took it from us for good who could.
fn can_be_given(bare: &str, rights: Rights) -> bool {
    let known = belljar_linux::capability::by_name(bare);
    // Of one that it does not know, the kernel says neither.
    let is_held = known.and_then(|capability| rustix::thread::capability_is_in_bounding_set(capability).ok());
    is_held.is_some_and(|is_held| is_held || rights == Rights::Namespaces)
}

/// Engines name a group twice where the image and the command line both give it; the kernel would keep both.
fn without_duplicates(groups: &[u32]) -> Vec<u32> {
    let mut kept = Vec::with_capacity(groups.len());
    groups.iter().for_each(|group| {
        if !kept.contains(group) {
            kept.push(*group);
        }
    });
    kept
}

/// Names without `CAP_`, of those that can be given.
fn capabilities(
    field: &str,
    wanted: Option<&document::Capabilities>,
    rights: Rights,
    warnings: &mut Vec<String>,
) -> Result<Capabilities, Invalid> {
    let Some(wanted) = wanted else { return Ok(Capabilities::default()) };
    let mut dropped = std::collections::BTreeSet::new();
    let mut known = |names: &[String]| -> Vec<String> {
        let mut kept = Vec::new();
        for name in names {
            match name.strip_prefix("CAP_").filter(|bare| can_be_given(bare, rights)) {
                Some(bare) => kept.push(bare.to_owned()),
                None => _ = dropped.insert(name.clone()),
            }
        }
        kept
    };
    let bounding = known(&wanted.bounding);
    // Most documents name one list several times: the kernel is asked once.
    let mut known = |names: &Vec<String>| if *names == wanted.bounding { bounding.clone() } else { known(names) };
    let mut capabilities = Capabilities {
        effective: known(&wanted.effective),
        permitted: known(&wanted.permitted),
        inheritable: known(&wanted.inheritable),
        ambient: known(&wanted.ambient),
        bounding: bounding.clone(),
    };
    // The kernel refuses it too (`capset(2)`); passed over, the container would have less than its document says.
    if let Some(name) = capabilities.effective.iter().find(|name| !capabilities.permitted.contains(name)) {
        return Err(Invalid::new(format!("{field}.effective"), format!("CAP_{name} cannot be effective without being permitted")));
    }
    // The kernel gives nobody an ambient capability that is not permitted and inheritable too (`capabilities(7)`); documents
    // that name one all the same are common, and mean what they get.
    let Capabilities { permitted, inheritable, ambient, .. } = &mut capabilities;
    let can_be_ambient = |name: &String| permitted.contains(name) && inheritable.contains(name);
    let (kept, left_out): (Vec<String>, Vec<String>) = std::mem::take(ambient).into_iter().partition(can_be_ambient);
    *ambient = kept;
    if !left_out.is_empty() {
        warnings.push(format!("{field}.ambient: ignoring what is not permitted and inheritable too: CAP_{}", left_out.join(", CAP_")));
    }
    if !dropped.is_empty() {
        let names: Vec<String> = dropped.into_iter().collect();
        warnings.push(format!("{field}: ignoring unknown or unavailable capabilities: {}", names.join(", ")));
    }
    Ok(capabilities)
}

fn rlimits(field: &str, wanted: &[document::Rlimit]) -> Result<Vec<Rlimit>, Invalid> {
    for (index, limit) in wanted.iter().enumerate() {
        let at = |name: &str| format!("{field}[{index}].{name}");
        if wanted[..index].iter().any(|earlier| earlier.kind == limit.kind) {
            return Err(Invalid::new(at("type"), format!("{} is given twice", limit.kind.as_str())));
        }
        if limit.soft > limit.hard {
            return Err(Invalid::new(at("soft"), format!("{} is more than the hard limit, {}", limit.soft, limit.hard)));
        }
    }
    let bare = |limit: &document::Rlimit| limit.kind.as_str().trim_start_matches("RLIMIT_").to_owned();
    Ok(wanted.iter().map(|limit| Rlimit { resource: bare(limit), soft: limit.soft, hard: limit.hard }).collect())
}

fn scheduler(field: &str, wanted: &document::Scheduler) -> Result<Scheduler, Invalid> {
    let at = |name: &str| format!("{field}.{name}");
    let policy = match wanted.policy {
        SchedulerPolicy::Other => 0,
        SchedulerPolicy::Fifo => 1,
        SchedulerPolicy::RoundRobin => 2,
        SchedulerPolicy::Batch => 3,
        SchedulerPolicy::Iso => return Err(Invalid::new(at("policy"), "SCHED_ISO was never implemented by the kernel")),
        SchedulerPolicy::Idle => 5,
        SchedulerPolicy::Deadline => 6,
    };
    if !(-20..=19).contains(&wanted.nice) {
        return Err(Invalid::new(at("nice"), format!("{} is not from -20 to 19", wanted.nice)));
    }
    let is_realtime = matches!(wanted.policy, SchedulerPolicy::Fifo | SchedulerPolicy::RoundRobin);
    let priority = u32::try_from(wanted.priority).map_err(|_| Invalid::new(at("priority"), "it is negative"))?;
    if priority != 0 && !is_realtime {
        return Err(Invalid::new(at("priority"), "it is for SCHED_FIFO and SCHED_RR only"));
    }
    let times = [("runtime", wanted.runtime), ("deadline", wanted.deadline), ("period", wanted.period)];
    if let Some((name, _)) = times.iter().find(|(_, time)| *time != 0 && wanted.policy != SchedulerPolicy::Deadline) {
        return Err(Invalid::new(at(name), "it is for SCHED_DEADLINE only"));
    }
    Ok(Scheduler {
        policy,
        flags: wanted.flags.iter().map(|flag| bit_of(*flag)).fold(0, |all, bit| all | bit),
        nice: wanted.nice,
        priority,
        runtime_nsec: wanted.runtime,
        deadline_nsec: wanted.deadline,
        period_nsec: wanted.period,
    })
}

/// `SCHED_FLAG_*` (`sched.h`).
fn bit_of(flag: SchedulerFlag) -> u64 {
    match flag {
        SchedulerFlag::ResetOnFork => 0x01,
        SchedulerFlag::Reclaim => 0x02,
        SchedulerFlag::DeadlineOverrun => 0x04,
        SchedulerFlag::KeepPolicy => 0x08,
        SchedulerFlag::KeepParams => 0x10,
        SchedulerFlag::UtilClampMin => 0x20,
        SchedulerFlag::UtilClampMax => 0x40,
    }
}

fn io_priority(field: &str, wanted: &document::IoPriority) -> Result<IoPriority, Invalid> {
    let class = match wanted.class {
        IoClass::RealTime => 1,
        IoClass::BestEffort => 2,
        IoClass::Idle => 3,
    };
    match u8::try_from(wanted.priority) {
        Ok(level @ 0..=7) => Ok(IoPriority { class, level }),
        _ => Err(Invalid::new(format!("{field}.priority"), format!("{} is not from 0 to 7", wanted.priority))),
    }
}

/// The execution domain of a document.
pub(super) fn personality(linux: &Linux) -> Result<Option<u32>, Invalid> {
    let Some(wanted) = &linux.personality else { return Ok(None) };
    if !wanted.flags.is_empty() {
        return Err(Invalid::new("linux.personality.flags", "the specification has none yet"));
    }
    Ok(Some(match wanted.domain {
        PersonalityDomain::Linux => 0,
        PersonalityDomain::Linux32 => PER_LINUX32,
    }))
}

fn affinity(field: &str, wanted: &document::Process) -> Result<CpuAffinity, Invalid> {
    let Some(wanted) = &wanted.exec_cpu_affinity else { return Ok(CpuAffinity::default()) };
    let list = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => processors(text)
            .map(Some)
            .ok_or_else(|| Invalid::new(format!("{field}.{name}"), format!("{text:?} is not a list of processors such as 0-3,7"))),
    };
    Ok(CpuAffinity { initial: list("initial", &wanted.initial)?, last: list("final", &wanted.last)? })
}

/// Reads `0-3,7`.
fn processors(text: &str) -> Option<Vec<u32>> {
    let mut list = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= PROCESSORS_MAX {
            return None;
        }
        list.extend(first..=last);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(processors("0-2,7"), Some(vec![0, 1, 2, 7]));
        for wrong in ["", "a", "3-1", "1-", "-1", "0-99999999"] {
            assert_eq!(processors(wrong), None, "{wrong}");
        }
    }
}
