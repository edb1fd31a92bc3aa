//! What belongs to each process, changed for everybody in a cgroup at once: resource limits, and who is killed first for memory.
//!
//! Nobody runs meanwhile, so nobody is born with what held before. All or none: what was done before a refusal is taken back.

use belljar_linux::capability::CapabilitySet;
use belljar_linux::{Error, Result, attributes, capability};
use belljar_model::host::{LimitSupport, Support};
use rustix::io::Errno;

use super::{Cgroup, life};
use crate::spec::Rlimit;

/// What each process shall have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Everybody {
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// How early it is killed where the host is out of memory.
    pub oom_score_adj: Option<i32>,
}

/// What was done to a process, and takes it back.
enum Done {
    Limit(i32, String, (u64, u64)),
    Score(i32, i32),
}

impl Everybody {
    /// Gives it to every process of a cgroup, those of the cgroups below included.
    pub fn set(&self, cgroup: &Cgroup) -> Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        life::while_nobody_runs(cgroup, || {
            let mut done = Vec::new();
            let set = cgroup.processes().into_iter().try_for_each(|pid| self.set_on(pid, &mut done));
            if set.is_err() {
                done.into_iter().rev().for_each(Done::take_back);
            }
            set
        })
    }

    fn set_on(&self, pid: i32, done: &mut Vec<Done>) -> Result<()> {
        for Rlimit { resource, soft, hard } in &self.rlimits {
            match attributes::replace_limit(pid, resource, (*soft, *hard)) {
                Ok(before) => done.push(Done::Limit(pid, resource.clone(), before)),
                Err(error) if has_ended(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let Some(score) = self.oom_score_adj else { return Ok(()) };
        let Some(before) = inherited_score(pid) else { return Ok(()) };
        match attributes::adjust_oom_score(pid, score) {
            Ok(()) => done.push(Done::Score(pid, before)),
            Err(error) if has_ended(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Done {
    fn take_back(self) {
        // Who cannot be given back what it had keeps what was asked for; the refusal is what is told.
        match self {
            Done::Limit(pid, name, before) => drop(attributes::replace_limit(pid, &name, before)),
            Done::Score(pid, before) => drop(attributes::adjust_oom_score(pid, before)),
        }
    }
}

/// What a host is said to be able to do of it: all, where who asks has `CAP_SYS_RESOURCE`; without, nothing that gives a process more
/// than this one has, nor anything to one that is another user's (`prlimit(2)`, `proc_pid_oom_score_adj(5)`).
pub fn support() -> Vec<LimitSupport> {
    let more = if capability::holds(CapabilitySet::SYS_RESOURCE) {
        Support::Yes
    } else {
        Support::No("needs CAP_SYS_RESOURCE, which this server lacks".to_owned())
    };
    let row = |name: &str, support: &Support, file: &str| LimitSupport {
        name: name.to_owned(),
        support: support.clone(),
        version: None,
        file: if *support == Support::Yes { file.to_owned() } else { String::new() },
    };
    vec![
        row("ulimits", &Support::Yes, ""),
        row("ulimits, changed while it runs or above the server's", &more, ""),
        row("oom_score_adj", &Support::Yes, "oom_score_adj"),
        row("oom_score_adj, below the server's", &more, "oom_score_adj"),
    ]
}

/// What a process that is made by this one has without a word: what holds where nothing is asked.
pub fn inherited(pid: i32, resource: &str) -> Option<Rlimit> {
    attributes::limit_of(pid, resource).map(|(soft, hard)| Rlimit { resource: resource.to_owned(), soft, hard })
}

/// The same of who is killed first.
pub fn inherited_score(pid: i32) -> Option<i32> {
    std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?.trim().parse().ok()
}

fn has_ended(error: &Error) -> bool {
    matches!(error.errno, Errno::SRCH | Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::Living;

    fn limit(resource: &str, soft: u64, hard: u64) -> Rlimit {
        Rlimit { resource: resource.to_owned(), soft, hard }
    }

    #[test]
    fn everybody_gets_it_or_nobody_does() {
        let Some(mut living) = Living::new("everybody") else { return };
        living.sleeper(&[]);
        living.sleeper(&[]);
        let all = Everybody { rlimits: vec![limit("NOFILE", 77, 88), limit("CORE", 0, u64::MAX)], oom_score_adj: Some(321) };
        all.set(&living.cgroup).unwrap();
        let pids = living.cgroup.processes();
        assert_eq!(pids.len(), 2);
        let holds = |nofile: u64, score| {
            for pid in &pids {
                assert_eq!(inherited(*pid, "NOFILE").map(|limit| limit.soft), Some(nofile));
                assert_eq!(inherited_score(*pid), Some(score));
            }
        };
        holds(77, 321);
        assert_eq!(inherited(pids[0], "CORE"), Some(limit("CORE", 0, u64::MAX)));
        assert!(!living.cgroup.is_frozen());
        // More open files than `fs.nr_open` nobody can have.
        let refused = Everybody { rlimits: vec![limit("NOFILE", 66, 88), limit("NOFILE", 1, 1 << 40)], oom_score_adj: Some(0) };
        assert_eq!(refused.set(&living.cgroup).unwrap_err().errno, Errno::PERM);
        holds(77, 321);
    }
}
