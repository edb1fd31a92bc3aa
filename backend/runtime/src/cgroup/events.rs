//! That a cgroup runs out of memory, and that nobody is left in it: told by the kernel, at a descriptor to poll.
//!
//! v1 has an event descriptor that counts; it also counts one when the cgroup is removed. v2 has files that change, which
//! are watched; what happened before they were is found by reading them once more afterwards. What a descriptor says is only
//! that it is time to look: what is told comes from the files.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use belljar_linux::Result;
use belljar_linux::error::Context;
use belljar_model::cgroup::Version;
use rustix::event::EventfdFlags;
use rustix::fs::inotify;
use rustix::io::Errno;

use super::{Cgroup, Part, key, write};

/// Waits for a cgroup's memory to run out. Poll it for reading, then [`Watch::look`].
#[derive(Debug)]
pub struct Watch {
    told: OwnedFd,
    source: Source,
}

#[derive(Debug)]
enum Source {
    V1 {
        /// What is looked for to tell the end of the cgroup from a lack of memory.
        folder: PathBuf,
        /// The kernel counts for as long as this is open.
        _control: File,
    },
    V2 {
        folder: PathBuf,
        kills: u64,
    },
}

/// What happened since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often memory ran out: on v1 each time, on v2 each process that was killed for it.
    pub out_of_memory: u64,
    /// Whether the cgroup is gone, or on v2 nobody is left in it. There will be nothing more to tell.
    pub is_over: bool,
}

impl Watch {
    /// Begins to watch; what happened earlier is not told. `None` where nothing counts the memory of this cgroup.
    pub fn begin(cgroup: &Cgroup) -> Result<Option<Self>> {
        let watch = cgroup.part("memory").map(|part| match part.version {
            Version::V1 => Self::v1(part),
            Version::V2 => Self::v2(part),
        });
        match watch.transpose() {
            // A kernel that was built without the file.
            Err(error) if error.errno == Errno::NOENT && cgroup.exists() => Ok(None),
            watch => watch,
        }
    }

    fn v1(part: &Part) -> Result<Self> {
        let path = part.path.join("memory.oom_control");
        let control = File::open(&path).context("open", || path.display().to_string())?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let told = rustix::event::eventfd(0, flags).context("make", || "event descriptor".into())?;
        write(&part.path.join("cgroup.event_control"), &format!("{} {}", told.as_raw_fd(), control.as_raw_fd()))?;
        Ok(Self { told, source: Source::V1 { folder: part.path.clone(), _control: control } })
    }

    fn v2(part: &Part) -> Result<Self> {
        let kills = kills(&part.path);
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let told = inotify::init(flags).context("make", || "watch of files".into())?;
        for file in ["memory.events", "cgroup.events"] {
            let path = part.path.join(file);
            inotify::add_watch(&told, &path, inotify::WatchFlags::MODIFY).context("watch", || path.display().to_string())?;
        }
        Ok(Self { told, source: Source::V2 { folder: part.path.clone(), kills } })
    }

    /// What happened since the last look, whether or not there was a reason to look.
    pub fn look(&mut self) -> Result<Seen> {
        match &mut self.source {
            Source::V1 { folder, .. } => {
                let counted = counted(&self.told)?;
                let is_over = !folder.exists();
                // The removal itself counts one.
                Ok(Seen { out_of_memory: counted.saturating_sub(u64::from(is_over)), is_over })
            }
            Source::V2 { folder, kills: known } => {
                // Emptied first: what changes from here on wakes again.
                drain(&self.told)?;
                let now = kills(folder).max(*known);
                let out_of_memory = now - *known;
                *known = now;
                let is_over = key(&folder.join("cgroup.events"), "populated").unwrap_or_default() == 0;
                Ok(Seen { out_of_memory, is_over })
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.told.as_raw_fd()
    }
}

fn kills(folder: &Path) -> u64 {
    key(&folder.join("memory.events"), "oom_kill").unwrap_or_default()
}

/// What an event descriptor counted, and counts from now on anew.
fn counted(descriptor: &OwnedFd) -> Result<u64> {
    let mut number = [0; 8];
    match rustix::io::read(descriptor, &mut number) {
        Ok(_) => Ok(u64::from_ne_bytes(number)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(errno).context("read", || "event descriptor".into()),
    }
}

fn drain(descriptor: &OwnedFd) -> Result<()> {
    let mut space = [0; 1024];
    loop {
        match rustix::io::read(descriptor, &mut space) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("read", || "watch of files".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::cgroup::testing::Living;
    use crate::cgroup::{Hierarchies, Hierarchy};

    fn wait(watch: &Watch) {
        let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&limit)).unwrap();
        assert_eq!(ready, 1, "it is told in time");
    }

    #[test]
    fn memory_that_runs_out_is_told_and_a_removal_is_not_taken_for_it() {
        let Some(mut living) = Living::new("oom") else { return };
        if !living.has_v1("memory") {
            return;
        }
        write(&living.cgroup.part("memory").unwrap().path.join("memory.limit_in_bytes"), "16777216").unwrap();
        let mut watch = Watch::begin(&living.cgroup).unwrap().expect("memory is counted here");
        assert_eq!(watch.look().unwrap(), Seen { out_of_memory: 0, is_over: false });
        let eater = living.run(&[], "head -c 60000000 /dev/zero | tail >/dev/null");
        wait(&watch);
        living.reap(&[eater]);
        let seen = watch.look().unwrap();
        assert!(seen.out_of_memory > 0 && !seen.is_over, "{seen:?}");
        living.cgroup.remove().unwrap();
        wait(&watch);
        assert_eq!(watch.look().unwrap(), Seen { out_of_memory: 0, is_over: true });
    }

    #[test]
    fn on_v2_each_kill_is_told_once_and_the_last_process_too() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy { version: Version::V2, point: folder.path().to_owned(), controllers: vec!["memory".to_owned()] };
        let cgroup = Cgroup::at(&Hierarchies::of_list(vec![hierarchy]), "x");
        std::fs::create_dir(folder.path().join("x")).unwrap();
        let say = |file: &str, text: &str| std::fs::write(folder.path().join("x").join(file), text).unwrap();
        assert!(Watch::begin(&cgroup).unwrap().is_none(), "a kernel that does not count");
        say("memory.events", "oom 3\noom_kill 3\n");
        say("cgroup.events", "populated 1\n");
        let mut watch = Watch::begin(&cgroup).unwrap().unwrap();
        say("memory.events", "oom 5\noom_kill 5\n");
        wait(&watch);
        assert_eq!(watch.look().unwrap(), Seen { out_of_memory: 2, is_over: false });
        assert_eq!(watch.look().unwrap(), Seen { out_of_memory: 0, is_over: false });
        say("cgroup.events", "populated 0\n");
        wait(&watch);
        assert_eq!(watch.look().unwrap(), Seen { out_of_memory: 0, is_over: true });
    }
}
