//! What happens to a cgroup's processes as a whole, and to its folders: frozen, thawed, killed, removed.
//!
//! v2 does each by one file. v1 has only a freezer, whose processes do not die while they are frozen and which can hang
//! half-way while processes are made. Where there are both, we freeze by v2, and somebody else may by v1. Whatever fails here,
//! nobody is left frozen who was not before.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use belljar_linux::{Error, Result, file, process};
use belljar_model::cgroup::Version;
use rustix::io::Errno;

use super::{Cgroup, Part, SETTLE_MS_MAX, key, systemd, write};

/// After so many tries a v1 freezer that hangs half-way lets go for a moment: what was being made can finish then.
const TRIES_BEFORE_LETTING_GO: u32 = 32;

/// How often the list of processes is looked at again for some that were made before their maker had the signal. Who is there
/// after that was made by somebody who had it.
const LOOKS_MAX: u32 = 16;

impl Cgroup {
    /// Freezes all its processes, and returns when the kernel says that they are. A failure leaves none frozen.
    pub fn freeze(&self) -> Result<()> {
        let frozen = match self.unified() {
            Some(part) => write(&part.path.join("cgroup.freeze"), "1").and_then(|()| freeze_v2(&part.path)),
            None => self.freeze_v1(),
        };
        if frozen.is_err() {
            // The freeze's own failure is the one to be told.
            let _ = self.thaw();
        }
        frozen
    }

    /// Lets its processes go on, whichever freezer holds them.
    pub fn thaw(&self) -> Result<()> {
        if let Some(part) = self.unified() {
            write(&part.path.join("cgroup.freeze"), "0")?;
            settle("thaw", &part.path, || key(&part.path.join("cgroup.events"), "frozen") == Some(0))?;
            if !self.is_frozen_by_v1() {
                return Ok(());
            }
        }
        let file = self.freezer()?.path.join("freezer.state");
        settle("thaw", &file, || write(&file, "THAWED").is_ok() && state(&file).as_deref() == Some("THAWED"))
    }

    fn freezer(&self) -> Result<&Part> {
        let missing = || Error::new("freeze", "container (no freezer controller)", Errno::OPNOTSUPP);
        self.part("freezer").ok_or_else(missing)
    }

    /// A freeze can hang half-way when processes are made meanwhile, so the word is written again until it holds.
    fn freeze_v1(&self) -> Result<()> {
        let file = self.freezer()?.path.join("freezer.state");
        let mut tries = 0;
        settle("freeze", &file, || {
            tries += 1;
            if tries % TRIES_BEFORE_LETTING_GO == 0 {
                let _ = write(&file, "THAWED");
            }
            write(&file, "FROZEN").is_ok() && state(&file).as_deref() == Some("FROZEN")
        })
    }

    /// Whether its processes are frozen, by whichever freezer.
    pub fn is_frozen(&self) -> bool {
        self.unified().is_some_and(|part| key(&part.path.join("cgroup.events"), "frozen") == Some(1)) || self.is_frozen_by_v1()
    }

    fn is_frozen_by_v1(&self) -> bool {
        let part = self.part("freezer").filter(|part| part.version == Version::V1);
        part.and_then(|part| state(&part.path.join("freezer.state"))).is_some_and(|state| state != "THAWED")
    }

    /// Pids (as this process sees them) of all its processes, those of cgroups that it made below itself included.
    pub fn processes(&self) -> Vec<i32> {
        let folder = self.unified().into_iter().chain(&self.parts).map(|part| &part.path).find(|path| path.exists());
        let mut pids = Vec::new();
        if let Some(folder) = folder {
            each_folder(folder, &mut |folder| pids.extend(pids_of(folder)));
        }
        pids
    }

    /// Sends a signal to all its processes, each once. None is frozen for that: whoever is killed meanwhile would leave them
    /// so. A cgroup that is gone has none.
    pub fn signal_all(&self, number: i32) -> Result<()> {
        let mut told = std::collections::BTreeSet::new();
        let mut outcome = Ok(());
        for _ in 0..LOOKS_MAX {
            let new: Vec<i32> = self.processes().into_iter().filter(|pid| told.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            let opened: Vec<(i32, OwnedFd)> = new.into_iter().filter_map(|pid| Some((pid, open(pid)?))).collect();
            // A pid that is still in the list means the process that was opened, or that one is gone and gets nothing.
            let still = self.processes();
            for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
                match process::signal(pidfd, number) {
                    Err(error) if error.errno != Errno::SRCH => outcome = outcome.and(Err(error)),
                    _ => {}
                }
            }
        }
        outcome
    }

    /// Kills all its processes, frozen or not, and returns when there are none left. A cgroup that is gone has none.
    pub fn kill_all(&self) -> Result<()> {
        let kill_file = self.unified().map(|part| part.path.join("cgroup.kill")).filter(|file| file.exists());
        settle("kill", Path::new(&self.name), || {
            if let Some(file) = &kill_file {
                // Fails only where the cgroup is gone, which the count below sees.
                let _ = write(file, "1");
                // What somebody froze in a v1 freezer beside it does not die before it is thawed.
                if let Some(part) = self.part("freezer").filter(|part| part.version == Version::V1) {
                    each_folder(&part.path, &mut |folder| drop(write(&folder.join("freezer.state"), "THAWED")));
                }
            } else {
                self.kill_frozen();
            }
            self.parts.iter().all(|part| is_empty(&part.path))
        })
    }

    /// v1, or v2 before Linux 5.14: nothing may be made while the list is worked through, hence the freezer. Frozen v1
    /// processes die only when thawed.
    fn kill_frozen(&self) {
        let _ = self.freeze();
        for part in &self.parts {
            each_folder(&part.path, &mut |folder| {
                for pid in pids_of(folder).into_iter().filter_map(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            });
        }
        let _ = self.thaw();
    }

    /// Ends what still runs in it, and removes it: [`Cgroup::kill_all`] and [`Cgroup::remove`], which most cgroups need no more.
    /// Nobody is in a folder that the kernel lets go.
    pub fn end(&self) -> Result<()> {
        if self.unit.is_none() && self.remove_empty() {
            return Ok(());
        }
        self.kill_all()?;
        self.remove()
    }

    /// Whether every folder of it went at once. By those that go last the others' processes are killed where it did not.
    fn remove_empty(&self) -> bool {
        let kills = |part: &&Part| part.version == Version::V2 || part.controllers.iter().any(|name| name == "freezer");
        let (last, first): (Vec<_>, Vec<_>) = self.parts.iter().partition(kills);
        first.into_iter().chain(last).all(|part| matches!(rustix::fs::rmdir(&part.path), Ok(()) | Err(Errno::NOENT)))
    }

    /// Removes its folders, and those below that the container may have made; ends its unit, where systemd has one.
    /// Processes must be gone.
    pub fn remove(&self) -> Result<()> {
        let ended = self.unit.as_deref().map_or(Ok(()), systemd::end);
        for part in &self.parts {
            remove_below(&part.path)?;
        }
        ended
    }

    /// Whether any of its folders exists.
    pub fn exists(&self) -> bool {
        self.parts.iter().any(|part| part.path.exists())
    }
}

/// `None` where it is gone.
fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty()).ok()
}

fn state(file: &Path) -> Option<String> {
    file::read(file).ok().map(|state| state.trim().to_owned())
}

/// Pids in one folder; those of another pid namespace read as 0 and are left out.
pub(super) fn pids_of(folder: &Path) -> Vec<i32> {
    let text = file::read(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// This folder and all below, which are few: a container's own cgroups.
fn each_folder(folder: &Path, work: &mut impl FnMut(&Path)) {
    work(folder);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_folder(&entry.path(), work);
        }
    }
}

/// Whether nobody is in the folder or below, or it is gone.
pub(super) fn is_empty(path: &Path) -> bool {
    if let Some(populated) = key(&path.join("cgroup.events"), "populated") {
        return populated == 0;
    }
    let mut empty = true;
    each_folder(path, &mut |folder| {
        let list = file::read(folder.join("cgroup.procs"));
        empty &= list.is_ok_and(|list| list.trim().is_empty()) || !folder.exists();
    });
    empty
}

fn remove_below(path: &Path) -> Result<()> {
    // Few have any below them.
    if rustix::fs::rmdir(path).is_ok() {
        return Ok(());
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path())?;
        }
    }
    let removed = || match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Some(Ok(())),
        // The kernel lets go of the last process a moment after it was reaped.
        Err(Errno::BUSY) => None,
        Err(errno) => Some(Err(Error::new("remove", path.display().to_string(), errno))),
    };
    let mut outcome = None;
    settle("remove", path, || {
        outcome = removed();
        outcome.is_some()
    })?;
    outcome.unwrap_or(Ok(()))
}

/// Nobody in the cgroup runs meanwhile; who was frozen before stays so.
pub(super) fn while_nobody_runs(cgroup: &Cgroup, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if cgroup.is_frozen() || cgroup.processes().is_empty() {
        return work();
    }
    let frozen = cgroup.freeze();
    let done = frozen.and_then(|()| work());
    let thawed = cgroup.thaw();
    done.and(thawed)
}

/// Waits until all are frozen. An empty cgroup below is frozen at once, and where that was the last one below, the kernel calls
/// this one frozen too, whatever its own processes do; it takes that back when one of them stops (seen on Linux 6.1 and 6.18).
/// So it has to say it for several looks on end.
fn freeze_v2(folder: &Path) -> Result<()> {
    const LOOKS: u32 = 4;
    let (file, mut looks) = (folder.join("cgroup.events"), 0);
    settle("freeze", folder, || {
        looks = if key(&file, "frozen") == Some(1) { looks + 1 } else { 0 };
        looks >= if has_folders(folder) { LOOKS } else { 1 }
    })
}

fn has_folders(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// Tries until it holds, in steps that begin at 50 µs and double to 10 ms; `ETIMEDOUT` after [`SETTLE_MS_MAX`].
pub(super) fn settle(operation: &'static str, subject: &Path, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_millis(SETTLE_MS_MAX);
    let mut pause = Duration::from_micros(50);
    while !holds() {
        if Instant::now() > deadline {
            return Err(Error::new(operation, subject.display().to_string(), Errno::TIMEDOUT));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::Living;

    #[test]
    fn everybody_is_frozen_and_killed_even_in_a_cgroup_of_the_containers_own() {
        for hide in [false, true] {
            let Some(mut living) = Living::new("life") else { return };
            // Without the v2 hierarchy, as on a host that has v1 alone.
            if hide {
                living.hide_unified();
            }
            if living.cgroup.parts().is_empty() {
                continue;
            }
            let nested: Vec<_> = living.cgroup.parts().iter().map(|part| part.path.join("inner/most")).collect();
            nested.iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
            living.fill_cpusets();
            let (outer, inner) = (living.sleeper(&[]), living.sleeper(&nested));
            assert_eq!(living.cgroup.processes().len(), 2);
            living.cgroup.freeze().unwrap();
            assert!(living.cgroup.is_frozen());
            living.cgroup.thaw().unwrap();
            assert!(!living.cgroup.is_frozen());
            living.cgroup.freeze().unwrap();
            living.cgroup.kill_all().unwrap();
            living.reap(&[outer, inner]);
            living.cgroup.remove().unwrap();
            assert!(!living.cgroup.exists());
        }
    }

    #[test]
    fn everybody_gets_a_signal_once_and_nobody_is_frozen_for_it() {
        let Some(mut living) = Living::new("signal") else { return };
        let nested: Vec<_> = living.cgroup.parts().iter().map(|part| part.path.join("inner/most")).collect();
        nested.iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        living.fill_cpusets();
        let script = "trap 'echo told' USR1; trap 'exit 0' TERM; echo ready; while :; do read line; done";
        let all = [living.run(&[], script), living.run(&[], script), living.run(&nested, script)];
        for number in all {
            assert_eq!(living.first_line(number), "ready\n");
        }
        let other = std::process::Command::new("sleep").arg("60").spawn();
        living.cgroup.signal_all(rustix::process::Signal::USR1.as_raw()).unwrap();
        for number in all {
            assert_eq!(living.first_line(number), "told\n");
        }
        assert_eq!(other.and_then(|mut other| other.kill().and(other.wait())).unwrap().code(), None, "it was left alone until now");
        living.cgroup.signal_all(rustix::process::Signal::TERM.as_raw()).unwrap();
        living.reap(&all);
        assert!(!living.cgroup.is_frozen() && living.cgroup.processes().is_empty());
    }

    /// Two loops that make processes without end, each of which makes more, for as long as there is room.
    const BOMB: &str = "bomb() { while :; do (while :; do sleep 60 & done) 2>/dev/null; done; }; bomb & bomb";

    #[test]
    fn what_forks_all_the_time_is_frozen_moved_and_killed_whole() {
        for hide in [false, true] {
            let Some(mut living) = Living::new("bomb") else { return };
            let Some(pids) = living.cgroup.part("pids").map(|part| part.path.clone()) else {
                return println!("skipped: needs the controller pids");
            };
            write(&pids.join("pids.max"), "64").unwrap();
            if hide {
                living.hide_unified();
            }
            if living.cgroup.parts().is_empty() {
                continue;
            }
            let inner: Vec<_> = living.cgroup.parts().iter().map(|part| part.path.join("inner")).collect();
            inner.iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
            living.fill_cpusets();
            let bomb = living.run(&[], BOMB);
            let deadline = Instant::now() + Duration::from_secs(60);
            while living.cgroup.processes().len() < 32 {
                assert!(Instant::now() < deadline, "it forks");
            }
            for _ in 0..3 {
                living.cgroup.freeze().unwrap();
                let frozen = living.cgroup.processes();
                assert!(frozen.len() >= 16, "{frozen:?}");
                assert!(living.cgroup.is_frozen());
                assert_eq!(living.cgroup.processes(), frozen, "nobody is made while all are frozen");
                living.cgroup.thaw().unwrap();
            }
            // Whoever is there is put into a cgroup below, while more are made in both.
            for pid in living.cgroup.processes() {
                for folder in &inner {
                    let _it_may_have_ended = write(&folder.join("cgroup.procs"), &pid.to_string());
                }
            }
            living.cgroup.kill_all().unwrap();
            assert_eq!(living.cgroup.processes(), [0; 0]);
            living.reap(&[bomb]);
            living.cgroup.remove().unwrap();
        }
    }

    #[test]
    fn a_freeze_that_cannot_be_leaves_nobody_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = crate::cgroup::Hierarchy { version: Version::V2, point: folder.path().to_owned(), controllers: vec![] };
        let cgroup = Cgroup::at(&crate::cgroup::Hierarchies::of_list(vec![hierarchy]), "x");
        std::fs::create_dir(folder.path().join("x")).unwrap();
        std::fs::write(folder.path().join("x/cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert_eq!(cgroup.freeze().map_err(|error| error.errno), Err(Errno::TIMEDOUT));
        assert_eq!(std::fs::read_to_string(folder.path().join("x/cgroup.freeze")).unwrap(), "0");
    }
}
