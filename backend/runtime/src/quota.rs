//! What a container's own layer may take of its disk: a quota of a project (`ext4(5)` *prjquota*, `xfs(5)` *pquota*).
//!
//! ```text
//! containers/<id>/work/    carries the container's project: this is where it is read, since nothing inside reaches it
//!                 upper/   the same one, or overlayfs could not rename what it copied up from one to the other (EXDEV)
//! ```
//! Both pass it on to what is made in them, whoever makes it. The number is written nowhere else: it lies on the disk with the folders,
//! and goes with them. It is chosen when the folders are made, while they are empty, whether the container has a limit or not: what
//! exists already could only be moved file by file, and links and devices not at all.
//!
//! **Nobody keeps a list of numbers**, as several servers, and others who use projects, may share a file system: the kernel decides. A
//! number is free where it takes nothing and is limited to nothing; it is ours once it takes just our two folders. Whoever came
//! second finds more than that, and goes on to another one. `/etc/projid` and `/etc/projects` are respected.
//!
//! This module must never know whose container it is, nor what a limit is called in a request.

use std::fs::File;
use std::path::{Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::quota::{self, Quota, State};
use belljar_linux::{Error, Result, mount, mountinfo};
use belljar_model::host::{LimitSupport, Support};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;

/// First number of the range that is Belljar's on every file system. Small ones are people's, those from 2^20 on Kubernetes's.
const FIRST: u32 = 0x7000_0000;
/// Numbers of the range.
const PROJECTS: u32 = 1 << 24;
/// Numbers that are tried for one container, before there is none.
const TRIES_MAX: u32 = 256;
/// Where limits are written and figures read: no file, but a call for a kind of quota.
pub const SOURCE: &str = "quotactl(PRJQUOTA)";
/// Folder beside the two that carries their project while they are made anew.
const KEEPER: &str = "project";
/// Inodes of a container's own layer that nobody has used yet: its two folders.
const FRESH_INODES: u64 = 2;

/// What a container's own layer is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerLimit {
    /// The project that its files carry.
    pub project: u32,
    /// Bytes; `None` is no limit.
    pub bytes: Option<u64>,
    /// Files, folders and all else; `None` is no limit.
    pub inodes: Option<u64>,
}

/// Why nothing below `folder` can be limited, as one sentence with what to do; `None` where it can.
pub fn why_not(folder: &Path) -> Option<String> {
    let obstacle = obstacle(folder)?;
    let place = Place::of(folder);
    Some(match obstacle {
        Obstacle::Folder(error) => error.to_string(),
        Obstacle::FileSystem(state) => place.refusal(state),
        Obstacle::Above(project) => {
            format!("{place} puts what is made there into project {project}, and a file is in one project only")
        }
    })
}

/// What is in the way of a limit.
enum Obstacle {
    /// It cannot be looked at.
    Folder(Error),
    /// Its file system does not do it.
    FileSystem(Result<State>),
    /// It is in a project that what is made in it gets too: whoever wanted that has a quota that containers are to be in.
    Above(u32),
}

/// Two calls where nothing is in the way; a sentence is made of the rest by whoever needs one.
fn obstacle(folder: &Path) -> Option<Obstacle> {
    let opened = match open(folder) {
        Ok(opened) => opened,
        Err(error) => return Some(Obstacle::Folder(error)),
    };
    match quota::state(&opened) {
        Ok(State { is_accounted: true, is_enforced: true }) => {
            let above = quota::project_of(&opened).ok().filter(|project| project.is_inherited && project.id != 0)?;
            Some(Obstacle::Above(above.id))
        }
        state => Some(Obstacle::FileSystem(state)),
    }
}

/// The two limits of a layer below `folder`, and whether they can be enforced.
pub fn support(folder: &Path) -> [LimitSupport; 2] {
    let why_not = why_not(folder);
    ["limits.disk_bytes", "limits.disk_inodes"].map(|name| LimitSupport {
        name: name.to_owned(),
        support: why_not.clone().map_or(Support::Yes, Support::No),
        version: None,
        file: if why_not.is_none() { SOURCE.to_owned() } else { String::new() },
    })
}

/// Where a folder lies.
struct Place {
    folder: PathBuf,
    filesystem: String,
    point: PathBuf,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { folder, filesystem, point } = self;
        write!(formatter, "{} lies on {filesystem}, mounted at {}, which", folder.display(), point.display())
    }
}

impl Place {
    fn of(folder: &Path) -> Self {
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let mounts = mountinfo::read().unwrap_or_default();
        // Of several at one point the last one is seen.
        let mount = mounts.into_iter().filter(|mount| folder.starts_with(&mount.point)).max_by_key(|mount| mount.point.as_os_str().len());
        let unknown = || mount::filesystem_of(&folder).unwrap_or_else(|_| "an unknown file system".to_owned());
        let (filesystem, point) = mount.map_or_else(|| (unknown(), "/".into()), |mount| (mount.filesystem, mount.point));
        Self { folder, filesystem, point }
    }

    fn refusal(&self, state: Result<State>) -> String {
        let turn_on = match self.filesystem.as_str() {
            "xfs" => "mount it with pquota, which has to be done when it is first mounted (for the root file system: rootflags=pquota)",
            "ext4" => {
                "it needs mkfs.ext4 -O quota,project (tune2fs -O quota,project on one that is there, while it is not mounted) and the mount \
                 option prjquota"
            }
            _ => {
                "put the data folder on ext4 (mkfs.ext4 -O quota,project, mounted with prjquota) or xfs (mounted with pquota), with --data-dir"
            }
        };
        let elsewhere = "put the data folder on ext4 or xfs with project quotas, with --data-dir";
        match (state, self.filesystem.as_str()) {
            (_, "btrfs") => format!("{self} has quotas of its own kind (qgroups), which Belljar does not use: {elsewhere}"),
            (Ok(State { is_accounted: true, .. }), _) => format!("{self} counts project quotas and does not enforce them: {turn_on}"),
            (Ok(_), _) => format!("{self} has no project quota switched on: {turn_on}"),
            (Err(error), "ext4" | "xfs") if error.errno == Errno::NOSYS => {
                let word = if self.filesystem == "xfs" { "CONFIG_XFS_QUOTA" } else { "CONFIG_QUOTA and CONFIG_QFMT_V2" };
                format!("{self} could have project quotas, but this kernel was built without ({word})")
            }
            (Err(error), _) if matches!(error.errno, Errno::NOSYS | Errno::INVAL | Errno::NODEV | Errno::OPNOTSUPP) => {
                format!("{self} has no project quotas: {elsewhere}")
            }
            (Err(error), _) => format!("{self} does not tell whether it has project quotas ({}): {turn_on}", error.cause()),
        }
    }
}

/// Puts the empty folders of a container's own layer into a project of their own: the one that was kept ([`keep`]), or one that is
/// free. `None` where their file system has no project quotas. Where the search begins is given by the container's (random) name.
pub fn claim(bundle: &Bundle) -> Result<Option<u32>> {
    if obstacle(bundle.dir()).is_some() {
        return Ok(None);
    }
    let (upper, work) = (open(&bundle.upper())?, open(&bundle.work())?);
    let keeper = bundle.dir().join(KEEPER);
    if let Some(project) = ours(&keeper) {
        quota::set_project(&work, project)?;
        quota::set_project(&upper, project)?;
        std::fs::remove_dir(&keeper).context("remove", || keeper.display().to_string())?;
        return Ok(Some(project));
    }
    let taken = Reserved::read(Path::new("/etc"));
    let name = bundle.dir().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = name.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
    let numbers = (0..TRIES_MAX).map(|step| FIRST + first.wrapping_add(step) % PROJECTS);
    for project in numbers {
        if taken.has(project) || quota::read(&work, project)? != Quota::default() {
            continue;
        }
        quota::set_project(&work, project)?;
        quota::set_project(&upper, project)?;
        if quota::read(&work, project)?.inodes == FRESH_INODES {
            return Ok(Some(project));
        }
    }
    Err(Error::new("find", format!("a project for {}: {TRIES_MAX} are taken", bundle.upper().display()), Errno::BUSY))
}

/// Keeps the project of a layer whose folders are about to be made anew: without a folder that carries it, it would be free for anybody
/// in between, or not yet for us, since XFS forgets what was removed a little later.
pub fn keep(bundle: &Bundle) -> Result<()> {
    let Some(project) = ours(&bundle.work()) else { return Ok(()) };
    let keeper = bundle.dir().join(KEEPER);
    match std::fs::create_dir(&keeper) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.context("make folder", || keeper.display().to_string())?,
    }
    quota::set_project(open(&keeper)?, project)
}

/// The project of a container's own layer; `None` where it was made without one.
pub fn project_of(bundle: &Bundle) -> Option<u32> {
    ours(&bundle.work())
}

fn ours(folder: &Path) -> Option<u32> {
    let project = quota::project_of(open(folder).ok()?).ok()?;
    (project.is_inherited && (FIRST..FIRST + PROJECTS).contains(&project.id)).then_some(project.id)
}

/// Says what a project may take. Refuses what would only be said: where nothing is enforced.
pub fn limit(folder: &Path, limit: &LayerLimit) -> Result<()> {
    let opened = open(folder)?;
    if (limit.bytes.is_some() || limit.inodes.is_some()) && !quota::state(&opened)?.is_enforced {
        return Err(Error::new("enforce", format!("a quota at {}, where none is enforced any more", folder.display()), Errno::OPNOTSUPP));
    }
    quota::limit(opened, limit.project, (limit.bytes, limit.inodes))
}

/// Takes the limits from the project of a container that is about to be removed, so that nothing is kept of it.
pub(crate) fn release(bundle: &Bundle) {
    for folder in [bundle.work(), bundle.dir().join(KEEPER)] {
        if let Some(project) = ours(&folder) {
            // Where quotas were switched off meanwhile there is nothing left to be taken.
            let _ = limit(&folder, &LayerLimit { project, bytes: None, inodes: None });
        }
    }
}

/// Takes the step of a plan: what is there already is said once more, since a container without ids of its own could have taken its
/// layer's root out of the project, and a file system be mounted otherwise.
pub(crate) fn apply((upper, work): (&Path, &Path), wanted: &LayerLimit) -> Result<()> {
    for folder in [work, upper] {
        let opened = open(folder)?;
        let ours = quota::Project { id: wanted.project, is_inherited: true };
        if quota::project_of(&opened)? != ours {
            quota::set_project(&opened, wanted.project)?;
        }
    }
    limit(work, wanted)
}

fn open(folder: &Path) -> Result<File> {
    File::open(folder).context("open", || folder.display().to_string())
}

/// Numbers that the host's administrator gave away (`projid(5)`, `projects(5)`).
struct Reserved(Vec<u32>);

impl Reserved {
    fn read(etc: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(etc.join(name)).unwrap_or_default();
        let (named, placed) = (text("projid"), text("projects"));
        let numbers =
            named.lines().filter_map(|line| line.split(':').nth(1)).chain(placed.lines().filter_map(|line| line.split(':').next()));
        Self(numbers.filter_map(|number| number.trim().parse().ok()).collect())
    }

    fn has(&self, project: u32) -> bool {
        self.0.contains(&project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(filesystem: &str) -> Place {
        Place { folder: "/data".into(), filesystem: filesystem.into(), point: "/".into() }
    }

    #[test]
    fn a_refusal_names_file_system_mount_point_and_what_to_do() {
        let off = || Ok(State { is_accounted: false, is_enforced: false });
        let counted = || Ok(State { is_accounted: true, is_enforced: false });
        let error = |errno| Err(Error::new("ask", "quota", errno));
        let cases = [
            (
                "ext4",
                off(),
                "/data lies on ext4, mounted at /, which has no project quota switched on: it needs mkfs.ext4 -O quota,project",
            ),
            ("ext4", counted(), "which counts project quotas and does not enforce them: it needs mkfs.ext4"),
            ("xfs", off(), "has no project quota switched on: mount it with pquota"),
            ("btrfs", error(Errno::NOSYS), "qgroups), which Belljar does not use"),
            (
                "overlay",
                error(Errno::NOSYS),
                "/data lies on overlay, mounted at /, which has no project quotas: put the data folder on ext4",
            ),
            ("tmpfs", error(Errno::INVAL), "has no project quotas"),
            ("ext4", error(Errno::NOSYS), "this kernel was built without (CONFIG_QUOTA"),
            ("xfs", error(Errno::NOSYS), "this kernel was built without (CONFIG_XFS_QUOTA)"),
            ("ext4", error(Errno::PERM), "does not tell whether it has project quotas (EPERM: operation not permitted)"),
            ("ext4", error(Errno::SRCH), "(ESRCH: no such process): it needs mkfs.ext4 -O quota,project"),
        ];
        for (filesystem, state, words) in cases {
            let told = place(filesystem).refusal(state);
            assert!(told.contains(words), "{filesystem}: {told}");
        }
    }

    #[test]
    fn what_cannot_be_limited_is_refused_and_claims_nothing() {
        let refusal = why_not(Path::new("/proc")).expect("nothing is counted there");
        assert!(refusal.starts_with("/proc lies on proc, mounted at /proc, which has no project quotas"), "{refusal}");
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = Bundle::new(folder.path(), &folder.path().join("run"), &belljar_model::ContainerId::from_bytes([3; 32]));
        bundle.create().expect("folders");
        if why_not(folder.path()).is_some() {
            assert_eq!(claim(&bundle), Ok(None));
            assert_eq!(project_of(&bundle), None);
            assert!(limit(&bundle.work(), &LayerLimit { project: FIRST, bytes: Some(1 << 20), inodes: None }).is_err());
        }
    }

    #[test]
    fn numbers_that_an_administrator_gave_away_are_taken() {
        let etc = tempfile::tempdir().expect("a folder");
        std::fs::write(etc.path().join("projid"), "# names\nlogs:1879048192\nbroken\n").expect("a file");
        std::fs::write(etc.path().join("projects"), "1879048200:/srv/a\n#1:/x\n").expect("a file");
        let reserved = Reserved::read(etc.path());
        assert_eq!([FIRST, FIRST + 1, FIRST + 8].map(|number| reserved.has(number)), [true, false, true]);
        assert!(!Reserved::read(&etc.path().join("none")).has(FIRST));
    }
}
