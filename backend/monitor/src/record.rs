//! What a monitor leaves for others to look at.
//!
//! ```text
//!            alive.json   exit.json (same attempt)   monitor lives    means
//! starting   no           no                         yes              wait for the pipe's end
//! running    yes          no                         yes              alive
//! ended      yes or no    yes                        yes or no        ended as it says
//! lost       yes or no    no                         no               nobody saw how it ended
//! ```

use std::path::Path;

use belljar_linux::{Result, process};
use belljar_model::Exit;
use belljar_model::container::ProcessRef;
use belljar_model::plan::PlanRecord;
use belljar_model::recorded::Recorded;
use belljar_runtime::Bundle;
use belljar_runtime::bundle::{Durable, write_whole};
use serde::{Deserialize, Serialize};

/// A container that was started and has not been seen to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Which start this was.
    pub attempt: u64,
    /// The monitor itself.
    pub monitor: ProcessRef,
    /// The container's first process.
    pub init: ProcessRef,
    /// When its program began, in Unix milliseconds.
    pub started_at_ms: i64,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which start this was the end of.
    pub attempt: u64,
    /// How it ended.
    pub exit: Exit,
}

/// What there is to see of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// The record of a start. Its processes may be dead: see [`Look::is_monitored`].
    pub alive: Option<Alive>,
    /// The record of an end, perhaps of an earlier start.
    pub ended: Option<Ended>,
}

impl Look {
    /// What the contents of `alive.json` and of both places of `exit.json` say. One that is cut off says nothing; of two ends
    /// the later start's counts.
    pub fn of(alive: Option<&[u8]>, ends: [Option<&[u8]>; 2]) -> Self {
        let ended = ends.into_iter().flatten().filter_map(|content| serde_json::from_slice::<Ended>(content).ok());
        Self { alive: alive.and_then(|content| serde_json::from_slice(content).ok()), ended: ended.max_by_key(|ended| ended.attempt) }
    }

    /// How the start `attempt` ended, if it has.
    pub fn exit_of(&self, attempt: u64) -> Option<&Exit> {
        self.ended.as_ref().filter(|ended| ended.attempt == attempt).map(|ended| &ended.exit)
    }

    /// The record of the start `attempt`, where its first process and its monitor both live.
    pub fn is_monitored(&self, attempt: u64) -> Option<&Alive> {
        self.alive.as_ref().filter(|alive| alive.attempt == attempt && lives(alive.monitor) && lives(alive.init))
    }
}

/// Whether exactly this process lives.
pub fn lives(process: ProcessRef) -> bool {
    process::is_alive(process.pid, process.start_ticks)
}

/// Looks at what a container's monitor left. A file that is missing or cut off says nothing.
pub fn look(bundle: &Bundle) -> Look {
    let [alive, exit, exit_of_this_boot] = [bundle.alive(), bundle.exit(), bundle.exit_of_this_boot()].map(|path| std::fs::read(path).ok());
    Look::of(alive.as_deref(), [exit.as_deref(), exit_of_this_boot.as_deref()])
}

/// The plan that last made the container, with times; `None` before its first start.
pub fn plan(bundle: &Bundle) -> Option<PlanRecord> {
    read(&bundle.plan())
}

/// What the container's filter refused since its last start, where that is counted.
pub fn denied(bundle: &Bundle) -> Option<Recorded> {
    read(&bundle.denied())
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

pub(crate) fn write_alive(bundle: &Bundle, alive: &Alive) -> Result<()> {
    write(&bundle.alive(), alive, Durable::No)
}

pub(crate) fn write_plan(bundle: &Bundle, plan: &PlanRecord) -> Result<()> {
    write(&bundle.plan(), plan, Durable::No)
}

/// On disk; where that is full, or the container's folder is gone, at least where this boot can see it: an end that was
/// seen must not be told as one that nobody saw.
pub(crate) fn write_ended(bundle: &Bundle, ended: &Ended) -> Result<()> {
    write(&bundle.exit(), ended, Durable::Yes).or_else(|_| write(&bundle.exit_of_this_boot(), ended, Durable::No))
}

fn write<T: Serialize>(path: &Path, value: &T, durable: Durable) -> Result<()> {
    // These types have string keys and no non-finite numbers: what serde_json refuses cannot occur in them.
    let content = serde_json::to_vec(value).unwrap_or_default();
    write_whole(path, &content, durable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_model::exit::Cause;

    fn bundle() -> (tempfile::TempDir, Bundle) {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle::new(folder.path(), &folder.path().join("run"), &belljar_model::ContainerId::from_bytes([2; 32]));
        bundle.create().unwrap();
        (folder, bundle)
    }

    #[test]
    fn an_end_counts_for_its_own_start_only() {
        let (_folder, bundle) = bundle();
        let exit = Exit { cause: Cause::Exited { code: 3 }, out_of_memory: None, at_ms: 5 };
        write_ended(&bundle, &Ended { attempt: 1, exit: exit.clone() }).unwrap();
        let look = look(&bundle);
        assert_eq!((look.exit_of(1), look.exit_of(2)), (Some(&exit), None));
    }

    #[test]
    fn an_end_that_the_disk_could_not_take_is_seen_all_the_same() {
        let (_folder, bundle) = bundle();
        let ended = |attempt| Ended { attempt, exit: Exit { cause: Cause::Exited { code: 0 }, out_of_memory: None, at_ms: 5 } };
        write_ended(&bundle, &ended(1)).unwrap();
        std::fs::rename(bundle.dir(), bundle.dir().with_extension("gone")).unwrap();
        write_ended(&bundle, &ended(2)).unwrap();
        assert!(look(&bundle).exit_of(2).is_some());
        std::fs::rename(bundle.dir().with_extension("gone"), bundle.dir()).unwrap();
        assert!(look(&bundle).exit_of(2).is_some(), "the later start counts");
    }

    #[test]
    fn a_record_of_a_dead_process_is_not_alive() {
        let (_folder, bundle) = bundle();
        let me = ProcessRef { pid: std::process::id() as i32, start_ticks: process::start_ticks(std::process::id() as i32).unwrap() };
        let other = ProcessRef { start_ticks: me.start_ticks + 1, ..me };
        for (init, alive) in [(me, true), (other, false)] {
            write_alive(&bundle, &Alive { attempt: 1, monitor: me, init, started_at_ms: 0 }).unwrap();
            assert_eq!(look(&bundle).is_monitored(1).is_some(), alive);
        }
        std::fs::write(bundle.alive(), "{\"attempt\":1,").unwrap();
        assert_eq!(look(&bundle), Look::default(), "a file that was cut off says nothing");
    }
}
