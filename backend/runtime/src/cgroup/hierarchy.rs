//! Which cgroup hierarchies this host has, and which controllers live in each.

use std::path::{Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::mountinfo::{self, Mount};
use belljar_linux::{Error, Result, file};
use belljar_model::cgroup::Version;
use rustix::io::Errno;

/// The controllers that Belljar uses where a v2 hierarchy has them.
pub(super) const WANTED_ON_V2: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// Where processes of our own v2 cgroup are moved so that it may have controlled children.
const LEAF: &str = "belljar-host";

/// Whether a systemd runs on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Systemd {
    Runs,
    Absent,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// v1 has one for each (group of) controller, v2 one for all.
    pub version: Version,
    /// Where it is mounted.
    pub point: PathBuf,
    /// What it controls.
    pub controllers: Vec<String>,
}

/// All hierarchies in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    list: Vec<Hierarchy>,
    /// The cgroup of who asked, in each.
    own: Vec<PathBuf>,
}

impl Hierarchies {
    /// Asks the kernel, as it is now. `ENOENT` where no cgroup hierarchy is mounted.
    pub fn probe() -> Result<Self> {
        let mounts = mountinfo::read_kinds(&["cgroup", "cgroup2"])?;
        let systemd = if Path::new("/run/systemd/system").exists() { Systemd::Runs } else { Systemd::Absent };
        let found = Self::from_mounts(&mounts, systemd, |file| file::read(file).ok());
        if found.list.is_empty() {
            return Err(Error::new("find", "a mounted cgroup hierarchy", Errno::NOENT));
        }
        let path = "/proc/self/cgroup";
        let lines = file::read(path).context("read", || path.into())?;
        Ok(found.seen_from(&lines, &mounts))
    }

    /// Reads the table of mounts. A v1 hierarchy without controllers is one of systemd's own; it is used only where a
    /// `systemd` runs, which would otherwise take the container's processes for its own service's.
    fn from_mounts(mounts: &[Mount], systemd: Systemd, read: impl Fn(&Path) -> Option<String>) -> Self {
        let mut list: Vec<Hierarchy> = Vec::new();
        for mount in mounts {
            let (version, controllers) = match mount.filesystem.as_str() {
                "cgroup" => (Version::V1, v1_controllers(&mount.options)),
                "cgroup2" => {
                    let listed = read(&mount.point.join("cgroup.controllers")).unwrap_or_default();
                    (Version::V2, listed.split_ascii_whitespace().map(str::to_owned).collect())
                }
                _ => continue,
            };
            let named = version == Version::V1 && controllers.iter().all(|name| name.starts_with(NAMED));
            // The same hierarchy may be mounted at several places; the first serves.
            let known = list.iter().any(|other| other.version == version && other.controllers == controllers);
            if !known && (!named || systemd == Systemd::Runs) {
                list.push(Hierarchy { version, point: mount.point.clone(), controllers });
            }
        }
        Self::of_list(list)
    }

    /// These hierarchies, for a plan that is made without looking at a host: who asks is at each one's root.
    pub fn of_list(list: Vec<Hierarchy>) -> Self {
        let own = list.iter().map(|hierarchy| hierarchy.point.clone()).collect();
        Self { list, own }
    }

    /// The same, asked by a process with these lines of `/proc/<pid>/cgroup` and these mounts.
    pub(crate) fn seen_from(mut self, lines: &str, mounts: &[Mount]) -> Self {
        let names = |line: &str| line.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        for (hierarchy, own) in self.list.iter().zip(&mut self.own) {
            let is_its = |line: &&str| match (hierarchy.version, line.split(':').nth(1)) {
                (Version::V2, Some(listed)) => listed.is_empty(),
                (Version::V1, Some(listed)) => !listed.is_empty() && names(listed) == hierarchy.controllers,
                _ => false,
            };
            let path = lines.lines().find(is_its).and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or("/");
            let root = mounts.iter().find(|mount| mount.point == hierarchy.point).map_or(Path::new("/"), |mount| &mount.root);
            // A path that is not below what is mounted cannot be reached from here.
            let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
            if below.components().all(|name| matches!(name, std::path::Component::Normal(_))) {
                *own = hierarchy.point.join(below);
            }
        }
        self
    }

    /// The folder of the cgroup of who asked.
    pub fn own_folder(&self, hierarchy: &Hierarchy) -> PathBuf {
        let index = self.list.iter().position(|other| other == hierarchy);
        index.and_then(|index| self.own.get(index)).unwrap_or(&hierarchy.point).clone()
    }

    /// Every hierarchy.
    pub fn all(&self) -> &[Hierarchy] {
        &self.list
    }

    /// The hierarchy of a controller.
    pub fn of(&self, controller: &str) -> Option<&Hierarchy> {
        self.list.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }

    /// `v1`, `v2` or `hybrid`.
    pub fn mode(&self) -> &'static str {
        let has = |version| self.list.iter().any(|hierarchy| hierarchy.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            _ => "v2",
        }
    }

    /// Makes the folder `parent` in every hierarchy, ready to have containers below it: on v1 cpusets are handed down, on
    /// v2 the controllers are enabled from the root to it. Doing so again changes nothing.
    pub fn prepare(&self, parent: &str) -> Result<()> {
        for hierarchy in &self.list {
            let folder = hierarchy.point.join(parent);
            std::fs::create_dir_all(&folder).context("make", || folder.display().to_string())?;
            match hierarchy.version {
                Version::V1 if hierarchy.controllers.iter().any(|name| name == "cpuset") => fill_cpuset(&hierarchy.point, &folder)?,
                Version::V1 => {}
                Version::V2 => enable(hierarchy, &folder)?,
            }
        }
        Ok(())
    }

    /// Removes the folder `parent` from every hierarchy where it is empty.
    pub fn abandon(&self, parent: &str) {
        for hierarchy in &self.list {
            let _ = std::fs::remove_dir(hierarchy.point.join(parent));
        }
    }
}

/// What a hierarchy without controllers is known by among the options of its mount.
const NAMED: &str = "name=";

/// What a v1 hierarchy controls; one without controllers has its name in their place: `name=systemd`.
fn v1_controllers(options: &[String]) -> Vec<String> {
    let is_controller = |option: &&String| {
        let known = matches!(option.as_str(), "rw" | "ro" | "xattr" | "noprefix" | "clone_children" | "none");
        !known && (!option.contains('=') || option.starts_with(NAMED))
    };
    options.iter().filter(is_controller).cloned().collect()
}

/// v1: nobody can join a cpuset without processors and memory nodes, so they are taken from the root, and handed down to
/// what is made below.
fn fill_cpuset(root: &Path, folder: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        if own.trim().is_empty() {
            let path = root.join(file);
            let above = std::fs::read_to_string(&path).context("read", || path.display().to_string())?;
            super::write(&folder.join(file), above.trim())?;
        }
    }
    super::write(&folder.join("cgroup.clone_children"), "1")
}

/// v2: a controller works in a folder only if every folder above hands it down.
fn enable(hierarchy: &Hierarchy, folder: &Path) -> Result<()> {
    // One at a time: one that is refused does not take the others with it.
    for name in WANTED_ON_V2.iter().filter(|name| hierarchy.controllers.iter().any(|has| has == *name)) {
        let word = format!("+{name}");
        let root_control = hierarchy.point.join("cgroup.subtree_control");
        if let Err(error) = super::write(&root_control, &word) {
            // "No internal processes": what sits in our own cgroup (the root of a cgroup namespace) moves into a leaf first.
            if error.errno != Errno::BUSY {
                return Err(error);
            }
            move_into_leaf(&hierarchy.point)?;
            super::write(&root_control, &word)?;
        }
        super::write(&folder.join("cgroup.subtree_control"), &word)?;
    }
    Ok(())
}

fn move_into_leaf(root: &Path) -> Result<()> {
    let leaf = root.join(LEAF);
    std::fs::create_dir_all(&leaf).context("make", || leaf.display().to_string())?;
    let listing = root.join("cgroup.procs");
    let pids = std::fs::read_to_string(&listing).context("read", || listing.display().to_string())?;
    for pid in pids.lines() {
        match super::write(&leaf.join("cgroup.procs"), pid) {
            // Ended meanwhile, or a thread of the kernel, which belongs to the root.
            Err(error) if matches!(error.errno, Errno::SRCH | Errno::INVAL) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(table: &str, systemd: Systemd, unified: &str) -> Hierarchies {
        let mounts: Vec<Mount> = table.lines().filter_map(mountinfo::parse).collect();
        Hierarchies::from_mounts(&mounts, systemd, |_| Some(unified.to_owned()))
    }

    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn each_controller_is_found_where_it_lives() {
        let found = probe(HYBRID, Systemd::Absent, "hugetlb\n");
        assert_eq!(found.mode(), "hybrid");
        assert_eq!(found.of("cpuacct").map(|hierarchy| hierarchy.point.as_path()), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(found.of("hugetlb").map(|hierarchy| hierarchy.version), Some(Version::V2));
        assert_eq!(found.of("pids"), None);
        assert_eq!(found.all().len(), 3, "the named hierarchy is nobody's without a systemd");
        let systemd = probe(HYBRID, Systemd::Runs, "");
        assert_eq!((systemd.all().len(), systemd.all()[2].controllers.as_slice()), (4, &["name=systemd".to_owned()][..]));
    }

    #[test]
    fn who_asks_is_found_in_each_hierarchy_by_its_own_line() {
        let found = probe(HYBRID, Systemd::Runs, "");
        let mounts: Vec<Mount> = HYBRID.replace("0:32 / /sys", "0:32 /docker/1 /sys").lines().filter_map(mountinfo::parse).collect();
        let lines = "9:name=systemd:/init.scope\n4:memory:/docker/1/me\n1:cpu,cpuacct:/a:b\n0::/../above\n";
        let seen = found.seen_from(lines, &mounts);
        let own: Vec<String> = seen.all().iter().map(|hierarchy| seen.own_folder(hierarchy).display().to_string()).collect();
        let root = "/sys/fs/cgroup";
        assert_eq!(own[..2], [format!("{root}/cpu,cpuacct/a:b"), format!("{root}/memory/me")]);
        assert_eq!(own[2..], [format!("{root}/systemd/init.scope"), format!("{root}/unified")]);
    }

    #[test]
    fn a_pure_v2_host_has_one_hierarchy_even_if_mounted_twice() {
        let table = "\
24 22 0:21 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
99 22 0:21 / /mnt/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        let found = probe(table, Systemd::Runs, "cpuset cpu io memory pids\n");
        assert_eq!((found.mode(), found.all().len()), ("v2", 1));
        assert_eq!(found.of("memory").map(|hierarchy| hierarchy.version), Some(Version::V2));
    }
}
