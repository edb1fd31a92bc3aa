//! Where a container's cgroup is, by the rules of the OCI specification's `cgroupsPath`, and how its folders are made.
//!
//! A path that begins with `/` is counted from each hierarchy's root. Any other is counted from the cgroup of who asks; on
//! a host with v2 alone from the one above it, since a cgroup with processes cannot hand controllers down. Under systemd
//! it is `slice:prefix:name`.

use std::path::{Component, Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result, file};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::claim::{self, Claim, Found};
use super::hierarchy::WANTED_ON_V2;
use super::writes::Otherwise;
use super::{Cgroup, Hierarchies, Hierarchy, Part, Write, life, systemd, write};

/// Where a container's cgroup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupPlace {
    /// A folder of this name below each hierarchy's root: `belljar/<id>`.
    Named(String),
    /// A folder of this name below the cgroup of who asks.
    Below(String),
    /// A scope that systemd makes.
    Systemd {
        /// The slice that it is in: `system.slice`.
        slice: String,
        /// What its name begins with.
        prefix: String,
        /// What its name ends with.
        name: String,
    },
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// We do.
    Folders,
    /// systemd does.
    Systemd,
}

impl CgroupPlace {
    /// The place of the container `id` by its `cgroupsPath`, where it has one.
    pub fn parse(path: Option<&str>, id: &str, driver: Driver) -> std::result::Result<Self, Invalid> {
        let path = path.unwrap_or_default();
        if path.contains(['\0', '\n']) {
            return Err(Invalid::new("linux.cgroupsPath", "has a character that no cgroup's name can have"));
        }
        match driver {
            Driver::Systemd => systemd::place(path, id),
            Driver::Folders if path.is_empty() => Ok(Self::Below(id.to_owned())),
            Driver::Folders => {
                let name = clean(path);
                if name.is_empty() {
                    return Err(Invalid::new("linux.cgroupsPath", "is the root itself, which cannot be a container's"));
                }
                Ok(if path.starts_with('/') { Self::Named(name) } else { Self::Below(name) })
            }
        }
    }

    /// Its folders on this host; nothing is made or read yet.
    pub fn cgroup(&self, hierarchies: &Hierarchies) -> Cgroup {
        match self {
            Self::Named(name) => Cgroup::at(hierarchies, &clean(name)),
            Self::Below(name) => {
                let name = clean(name);
                let alone = hierarchies.mode() == "v2";
                let folder = |hierarchy: &Hierarchy| {
                    let own = hierarchies.own_folder(hierarchy);
                    let above = own.parent().filter(|above| alone && above.starts_with(&hierarchy.point));
                    above.unwrap_or(&own).join(&name)
                };
                Cgroup::of(hierarchies, &name, folder)
            }
            Self::Systemd { slice, .. } => {
                let name = format!("{}/{}", systemd::slice_path(slice), self.unit().unwrap_or_default());
                Cgroup::at(hierarchies, &name).with_unit(self.unit())
            }
        }
    }

    /// The unit's name, where systemd makes it.
    pub fn unit(&self) -> Option<String> {
        match self {
            Self::Systemd { prefix, name, .. } if prefix.is_empty() => Some(format!("{name}.scope")),
            Self::Systemd { prefix, name, .. } => Some(format!("{prefix}-{name}.scope")),
            _ => None,
        }
    }
}

/// A path without `.`, `..` and doubled slashes, and without a slash at its ends. `..` never leads above its beginning.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => names.extend(name.to_str()),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    names.join("/")
}

/// The v2 controllers that writes need, each once.
pub fn needed(writes: &[Write]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let needs = |write: &&Write| matches!(write.otherwise, Otherwise::Refused | Otherwise::Listed(_));
    for write in writes.iter().filter(needs) {
        let name = write.file.split('.').next().unwrap_or_default();
        if name != "cgroup" && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl Cgroup {
    /// Makes its folders, and those above, ready for a process to join. Refuses a folder that is somebody's: one that has
    /// processes, is frozen, or is being made. `needed` are v2 controllers without which a limit would not hold.
    /// On failure the folders that were made are taken away again. The claim is to be kept until a process has joined; there is
    /// none where the cgroup has no folder.
    pub fn make(&self, needed: &[String]) -> Result<Option<Claim>> {
        let Some(first) = self.unified().or_else(|| self.parts().first()) else { return Ok(None) };
        let (claim, found) = Claim::begin(first)?;
        let mut made = Vec::from_iter((found == Found::New).then_some(&first.path));
        for part in self.parts() {
            // One that was made a moment ago, and is claimed, is nobody else's.
            let ready = match made.first() {
                Some(claimed) if *claimed == &part.path => part.make_ready(Found::New, needed),
                _ => claim::make(&part.path).and_then(|found| {
                    made.extend((found == Found::New).then_some(&part.path));
                    part.make_ready(found, needed)
                }),
            };
            if let Err(error) = ready {
                made.into_iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
                return Err(error);
            }
        }
        Ok(Some(claim))
    }
}

impl Part {
    /// Makes this folder; see [`Cgroup::make`].
    pub fn make(&self, needed: &[String]) -> Result<()> {
        self.make_ready(claim::make(&self.path)?, needed)
    }

    /// Makes a folder ready that is there.
    fn make_ready(&self, found: Found, needed: &[String]) -> Result<()> {
        if found == Found::There {
            self.check_free()?;
        }
        match self.version {
            Version::V1 if self.controllers.iter().any(|name| name == "cpuset") => self.fill_cpusets(found),
            Version::V1 => Ok(()),
            Version::V2 => self.enable(needed),
        }
    }

    /// Refuses a folder that has processes or is frozen.
    pub fn check_free(&self) -> Result<()> {
        let refused = |why: &str| Err(Error::new("make", format!("cgroup {}, {why}", self.path.display()), Errno::EXIST));
        if !life::is_empty(&self.path) {
            return refused("which has processes already");
        }
        let says = |file: &str, word: &str| file::read(self.path.join(file)).is_ok_and(|text| text.trim() == word);
        if says("cgroup.freeze", "1") || says("freezer.state", "FROZEN") || says("freezer.state", "FREEZING") {
            return refused("which is frozen");
        }
        Ok(())
    }

    /// Folders from below the hierarchy's root to this one.
    fn levels(&self) -> Vec<PathBuf> {
        let below = self.path.strip_prefix(&self.point).unwrap_or(Path::new(""));
        let mut levels = vec![];
        let mut level = self.point.clone();
        for name in below.components() {
            level.push(name);
            levels.push(level.clone());
        }
        levels
    }

    /// v1: nobody can join a cpuset without processors and memory nodes; each level takes what the one above has.
    fn fill_cpusets(&self, found: Found) -> Result<()> {
        let files = ["cpuset.cpus", "cpuset.mems"];
        let filled = |folder: &Path| files.iter().all(|file| file::read(folder.join(file)).is_ok_and(|list| !list.trim().is_empty()));
        if found == Found::There && filled(&self.path) {
            return Ok(());
        }
        for level in self.levels() {
            let above = level.parent().unwrap_or(&self.point);
            for file in files {
                let is_new = found == Found::New && level == self.path;
                if is_new || file::read(level.join(file)).unwrap_or_default().trim().is_empty() {
                    let path = above.join(file);
                    let list = file::read(&path).context("read", || path.display().to_string())?;
                    write(&level.join(file), list.trim())?;
                }
            }
        }
        Ok(())
    }

    /// v2: a controller works in a folder only if every folder above hands it down. One at a time, so that one that is
    /// refused does not take the others with it; only a needed one is missed.
    pub(super) fn enable(&self, needed: &[String]) -> Result<()> {
        let here = |name: &&str| self.controllers.iter().any(|has| has == name);
        let mut missing: Vec<&str> = WANTED_ON_V2.iter().copied().chain(needed.iter().map(String::as_str)).filter(here).collect();
        // Beside version 1 there is often none of them, and nothing to look for.
        if !missing.is_empty() {
            let own = words(&self.path.join("cgroup.controllers"));
            missing.retain(|name| !own.iter().any(|has| has == name));
        }
        for level in if missing.is_empty() { Vec::new() } else { self.levels() } {
            let above = level.parent().unwrap_or(&self.point);
            for name in &missing {
                match write(&above.join("cgroup.subtree_control"), &format!("+{name}")) {
                    Err(error) if needed.iter().any(|needed| needed == name) => return Err(cannot_enable(name, above, error.errno)),
                    _ => {}
                }
            }
        }
        let kind = file::read(self.path.join("cgroup.type")).unwrap_or_default();
        if kind.trim() == "domain invalid" {
            let subject =
                format!("cgroup {}: one above it has threads of processes elsewhere, and takes no whole process", self.path.display());
            return Err(Error::new("use", subject, Errno::OPNOTSUPP));
        }
        Ok(())
    }
}

fn words(path: &Path) -> Vec<String> {
    file::read(path).unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

fn cannot_enable(controller: &str, folder: &Path, errno: Errno) -> Error {
    let why = match errno {
        Errno::BUSY => ", which has processes of its own (in cgroup v2 only one without any can hand controllers down)",
        Errno::NOENT => ", to which it was not handed down itself",
        Errno::OPNOTSUPP => ", which is threaded",
        _ => "",
    };
    Error::new("enable", format!("{controller} below {}{why}", folder.display()), errno)
}

/// How one hierarchy is shown to a container that has a cgroup mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// v1 or v2.
    pub version: Version,
    /// Name of its folder below `/sys/fs/cgroup`: `cpu,cpuacct`; empty for a v2 hierarchy that is the only one.
    pub name: String,
    /// Other names of it, for links: `cpu`, `cpuacct`.
    pub links: Vec<String>,
    /// What is named when it is mounted anew: `cpu,cpuacct`, `name=systemd`; empty for v2.
    pub options: String,
    /// The container's own folder, as the host sees it.
    pub folder: PathBuf,
}

impl Cgroup {
    /// Its hierarchies as a container sees them.
    pub fn shown(&self) -> Vec<Shown> {
        let alone = self.parts().iter().all(|part| part.version == Version::V2);
        let shown = |part: &Part| {
            let name = if alone { String::new() } else { part.point.file_name().unwrap_or_default().to_string_lossy().into_owned() };
            let several = part.version == Version::V1 && part.controllers.len() > 1;
            let links = if several { part.controllers.iter().filter(|link| **link != name).cloned().collect() } else { Vec::new() };
            let options = if part.version == Version::V1 { part.controllers.join(",") } else { String::new() };
            Shown { version: part.version, name, links, options, folder: part.path.clone() }
        };
        self.parts().iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::Living;

    fn hierarchy(version: Version, point: &Path, controllers: &[&str]) -> Hierarchy {
        Hierarchy { version, point: point.into(), controllers: controllers.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn a_path_is_counted_from_the_root_or_from_who_asks() {
        let parse = |path| CgroupPlace::parse(path, "web", Driver::Folders).map_err(|invalid| invalid.field);
        assert_eq!(parse(None), Ok(CgroupPlace::Below("web".into())));
        assert_eq!(parse(Some("a//./b")), Ok(CgroupPlace::Below("a/b".into())));
        assert_eq!(parse(Some("/a/../../b/")), Ok(CgroupPlace::Named("b".into())));
        assert_eq!(parse(Some("../../etc")), Ok(CgroupPlace::Below("etc".into())));
        assert_eq!(parse(Some("/..")), Err("linux.cgroupsPath".into()));
        assert_eq!(parse(Some("a\nb")), Err("linux.cgroupsPath".into()));
    }

    #[test]
    fn below_who_asks_is_beside_it_where_v2_is_alone() {
        let lines = "4:memory:/own/here\n0::/user.slice/me\n";
        let paths = |list: Vec<Hierarchy>| {
            let hierarchies = Hierarchies::of_list(list).seen_from(lines, &[]);
            let cgroup = CgroupPlace::Below("web".into()).cgroup(&hierarchies);
            cgroup.parts().iter().map(|part| part.path.display().to_string()).collect::<Vec<_>>()
        };
        let v2 = || hierarchy(Version::V2, Path::new("/v2"), &["memory"]);
        assert_eq!(paths(vec![v2()]), ["/v2/user.slice/web"]);
        let v1 = hierarchy(Version::V1, Path::new("/v1"), &["memory"]);
        assert_eq!(paths(vec![v1, v2()]), ["/v1/own/here/web", "/v2/user.slice/me/web"]);
    }

    #[test]
    fn a_v2_controller_is_handed_down_from_the_top_and_one_refusal_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/cgroup.procs"), "").unwrap();
        let part = Part {
            path: at("a/b"),
            ..Cgroup::at(&Hierarchies::of_list(vec![hierarchy(Version::V2, folder.path(), &["memory", "pids"])]), "x").parts()[0].clone()
        };
        part.make(&["memory".to_owned()]).unwrap();
        // A plain file keeps what was written last; that it was the last of both says that both were.
        for level in ["", "a"] {
            assert_eq!(std::fs::read_to_string(at(level).join("cgroup.subtree_control")).unwrap(), "+memory", "{level}");
        }
        // A folder in the file's place refuses every write.
        std::fs::remove_file(at("a/cgroup.subtree_control")).unwrap();
        std::fs::create_dir(at("a/cgroup.subtree_control")).unwrap();
        part.make(&[]).unwrap();
        let refused = part.make(&["memory".to_owned()]).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("enable memory below {}", at("a").display())), "{refused}");
    }

    #[test]
    fn a_cgroup_that_is_somebodys_is_refused() {
        let Some(mut living) = Living::new("place") else { return };
        living.cgroup.make(&[]).unwrap();
        living.cgroup.freeze().unwrap();
        let frozen = living.cgroup.make(&[]).unwrap_err();
        assert!(frozen.subject.ends_with("which is frozen"), "{frozen}");
        living.cgroup.thaw().unwrap();
        living.sleeper(&[]);
        let taken = living.cgroup.make(&[]).unwrap_err();
        assert!(taken.subject.ends_with("which has processes already"), "{taken}");
    }

    #[test]
    fn a_cpuset_far_below_is_filled_from_the_top() {
        let Some(living) = Living::new("cpuset") else { return };
        if !living.has_v1("cpuset") {
            return;
        }
        let name = living.cgroup.kernel_path();
        let deep = CgroupPlace::Named(format!("{name}/x/y")).cgroup(&living.hierarchies);
        deep.part("cpuset").unwrap().make(&[]).unwrap();
        assert_ne!(deep.read("cpuset", "cpuset.mems").unwrap().trim(), "");
    }

    #[test]
    fn a_container_sees_controllers_that_share_a_hierarchy_by_each_name() {
        let list = vec![
            hierarchy(Version::V1, Path::new("/sys/fs/cgroup/cpu,cpuacct"), &["cpu", "cpuacct"]),
            hierarchy(Version::V1, Path::new("/sys/fs/cgroup/systemd"), &["name=systemd"]),
            hierarchy(Version::V2, Path::new("/sys/fs/cgroup/unified"), &[]),
        ];
        let shown = Cgroup::at(&Hierarchies::of_list(list), "b/1").shown();
        assert_eq!((shown[0].name.as_str(), shown[0].options.as_str()), ("cpu,cpuacct", "cpu,cpuacct"));
        assert_eq!(shown[0].links, ["cpu", "cpuacct"]);
        assert_eq!((shown[1].name.as_str(), shown[1].options.as_str(), shown[1].links.len()), ("systemd", "name=systemd", 0));
        assert_eq!((shown[2].name.as_str(), shown[2].folder.display().to_string()), ("unified", "/sys/fs/cgroup/unified/b/1".into()));
        let alone = Hierarchies::of_list(vec![hierarchy(Version::V2, Path::new("/sys/fs/cgroup"), &["memory"])]);
        assert_eq!(Cgroup::at(&alone, "b/1").shown()[0].name, "");
    }
}
