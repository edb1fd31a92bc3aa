//! A folder of its own, below the container's, for what one exec starts: so that all of it can be killed, whatever sessions it made and
//! whoever left whom.
//!
//! Only in the one hierarchy by which processes are killed: v2 where there is one, also beside v1, else v1's freezer. Everything else of
//! the container's cgroup holds for it as it is: on v2 no controller is handed down to it, so its memory and processes count where the
//! container's do. Where it cannot be made (the container counts its folders, or has threads in several), there is none, and the exec is
//! in the container's own folder.

use std::path::{Path, PathBuf};

use belljar_linux::file;
use belljar_model::cgroup::Version;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::life::{pids_of, settle};
use super::{Cgroup, Part};

/// A folder for one exec. What is in it when this is dropped belongs to the container again.
#[derive(Debug)]
pub struct Nest {
    /// Where the exec goes: the container's cgroup, but for one folder.
    joined: Cgroup,
    /// That folder.
    own: Cgroup,
    /// The folder above.
    home: PathBuf,
}

impl Cgroup {
    /// Makes a folder for an exec, of a name that nobody else has.
    pub fn nest(&self, name: &str) -> Option<Nest> {
        let kills = |part: &&Part| part.version == Version::V2 || part.controllers.iter().any(|name| name == "freezer");
        let home = self.unified().or_else(|| self.parts().iter().find(kills))?.clone();
        let path = home.path.join(name);
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)).ok()?;
        let mut joined = self.clone();
        for part in joined.parts.iter_mut().filter(|part| part.path == home.path) {
            part.path.clone_from(&path);
        }
        let own = joined.clone().only(|part| part.path == path);
        let nest = Nest { joined, own, home: home.path };
        // Dropped, it goes again.
        file::read(path.join("cgroup.type")).map_or(true, |kind| kind.trim() != "domain invalid").then_some(nest)
    }
}

impl Nest {
    /// The cgroup that the exec joins.
    pub fn joined(&self) -> &Cgroup {
        &self.joined
    }

    /// Kills all that is in it.
    pub fn kill(&self) -> belljar_linux::Result<()> {
        self.own.kill_all()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        for part in self.own.parts() {
            // What cannot be removed goes with the container.
            let _ = settle("remove", &part.path, || {
                give_back(&part.path, &self.home);
                !matches!(rustix::fs::rmdir(&part.path), Err(Errno::BUSY))
            });
        }
    }
}

/// Moves what goes on where the container's processes are.
fn give_back(from: &Path, to: &Path) {
    for pid in pids_of(from) {
        let _it_has_ended = super::write(&to.join("cgroup.procs"), &pid.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::Living;

    /// Its own folder, and all that who joins it is in.
    fn folders(nest: &Nest) -> (PathBuf, Vec<PathBuf>) {
        (nest.own.parts()[0].path.clone(), nest.joined().parts().iter().map(|part| part.path.clone()).collect())
    }

    #[test]
    fn all_that_is_in_a_nest_is_killed_and_nobody_beside_it() {
        for hide in [false, true] {
            let Some(mut living) = Living::new("nest") else { return };
            if hide {
                living.hide_unified();
            }
            if living.cgroup.parts().is_empty() {
                continue;
            }
            let Some(nest) = living.cgroup.nest("exec-1") else { return println!("skipped: needs a v2 hierarchy or a freezer") };
            let (own, folders) = folders(&nest);
            assert!(living.cgroup.nest("exec-1").is_none(), "a name is one exec's");
            let (beside, inside) = (living.sleeper(&[]), living.sleeper(&folders));
            assert_eq!((nest.own.processes().len(), living.cgroup.processes().len()), (1, 2));
            nest.kill().unwrap();
            living.reap(&[inside]);
            assert_eq!(living.cgroup.processes().len(), 1);
            drop(nest);
            assert!(!own.exists());
            living.cgroup.kill_all().unwrap();
            living.reap(&[beside]);
            living.cgroup.remove().unwrap();
        }
    }

    #[test]
    fn what_goes_on_when_its_exec_is_over_is_the_containers_again() {
        let Some(mut living) = Living::new("left") else { return };
        let Some(nest) = living.cgroup.nest("exec-1") else { return println!("skipped: needs a v2 hierarchy or a freezer") };
        let (own, folders) = folders(&nest);
        let daemon = living.sleeper(&folders);
        drop(nest);
        assert!(!own.exists());
        assert_eq!(living.cgroup.processes().len(), 1);
        living.cgroup.kill_all().unwrap();
        living.reap(&[daemon]);
        living.cgroup.remove().unwrap();
    }
}
