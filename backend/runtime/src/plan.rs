//! The order of things. [`make`] is pure: the same spec and the same facts give the same steps, on any machine.
//!
//! ```text
//! monitor (the host's namespaces)              first process (its own)
//! ───────────────────────────────              ───────────────────────
//! fill init layer, make cgroup, set limits
//! clone ─────────────────────────────────────▶ waits
//! map ids (so that the namespace has a root)     ·
//! overlays and binds, detached, owners mapped    ·
//! hand over ─────────────────────────────────▶ join cgroup first: all that follows is counted there
//! reads what each step took                    new root, file systems, masks while the host's are still visible
//!   ·                                          pivot: from here on there is nothing but the container
//!   ·                                          names, loopback, outputs
//!   ·                                          privileges go, in the order in which each is last needed
//! end of the socket: the exec succeeded  ◀──── exec
//! ```

use std::path::PathBuf;

use belljar_linux::mount::Attributes;
use belljar_model::cgroup::Version;
use belljar_model::mount::names;
use belljar_model::namespace::Kind;
use belljar_model::plan::{Outcome, Place, StepRecord};
use belljar_model::{Failure, Invalid, Mount};

use crate::cgroup::{Cgroup, Hierarchies, limits};
use crate::seccomp;
use crate::spec::Spec;
use crate::stack;
use crate::step::{Access, First, Joining, Missing, Owners, Step};

/// What of the host decides about the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its cgroup hierarchies, as they are now.
    pub hierarchies: Hierarchies,
}

/// Steps in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Those of the monitor first, then those of the first process.
    pub steps: Vec<Step>,
}

/// How many ids a container has.
pub const IDS: u32 = 65_536;

/// Size of `/dev` and of `/dev/shm`, in bytes, as in Docker.
const DEV_SIZE: &str = "65536k";

/// The standard devices (`runtime-spec`, *Default Devices*), with their numbers.
const DEVICES: [(&str, (u32, u32)); 6] =
    [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))];

/// The steps that make a container. Refuses a limit that this host cannot enforce, by its field.
pub fn make(spec: &Spec, facts: &Facts) -> Result<Plan, Invalid> {
    let owners = spec.uid_base.map_or(Owners::AsTheyAre, Owners::Mapped);
    let mut steps = cgroup_steps(spec, facts)?;
    steps
        .insert(0, Step::FillInitLayer { layer: spec.root.spanning.first().cloned().unwrap_or_default(), hostname: spec.hostname.clone() });
    let cgroup = Cgroup::at(&facts.hierarchies, &spec.cgroup);
    let unified = cgroup.parts().iter().find(|part| part.version == Version::V2);
    let user = spec.uid_base.map(|_| Kind::User);
    let namespaces = user.into_iter().chain([Kind::Mnt, Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc]).collect();
    let joining = unified.map_or(Joining::Later, |part| Joining::AtBirth(part.path.clone()));
    steps.push(Step::Clone { namespaces, cgroup: joining });
    if let Some(base) = spec.uid_base {
        steps.push(Step::MapIds { base, count: IDS });
    }
    let taken = taken_steps(spec, owners);
    let mounts = taken.len();
    steps.extend(taken);
    steps.push(Step::HandOver { mounts });

    steps.push(Step::JoinCgroup { files: joining_files(&cgroup) });
    steps.push(Step::UnshareCgroup);
    steps.push(Step::NewSession);
    steps.push(Step::MakeMountsPrivate);
    steps.extend(tree_steps(spec));
    steps.push(Step::Pivot);
    steps.push(Step::SetHostname(spec.hostname.clone()));
    steps.push(Step::BringLoopbackUp);
    steps.push(Step::ConnectOutputs);
    steps.extend(privilege_steps(spec));
    Ok(Plan { steps })
}

fn cgroup_steps(spec: &Spec, facts: &Facts) -> Result<Vec<Step>, Invalid> {
    let folders = facts.hierarchies.all().iter().map(|hierarchy| hierarchy.point.join(&spec.cgroup)).collect();
    let made = Step::MakeCgroup { name: spec.cgroup.clone(), folders };
    let limited = limits::writes(&spec.limits, &facts.hierarchies, &spec.cgroup)?.into_iter().map(Step::Limit);
    Ok(std::iter::once(made).chain(limited).collect())
}

fn joining_files(cgroup: &Cgroup) -> Vec<PathBuf> {
    let later = |part: &&crate::cgroup::Part| part.version == Version::V1;
    cgroup.parts().iter().filter(later).map(crate::cgroup::Part::joining_file).collect()
}

/// What was asked to be put into the tree, parents before children whatever the order in which they were named.
fn by_depth(mounts: &[Mount]) -> Vec<&Mount> {
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    sorted.sort_by_key(|mount| mount.target().map_or(0, |target| names(target).count()));
    sorted
}

/// What the monitor makes and the first process hangs: overlays first, the root's before all, then binds by depth.
fn taken_steps(spec: &Spec, owners: Owners) -> Vec<Step> {
    let overlays = stack::mounts(spec).into_iter().map(|mount| Step::Overlay { mount, owners });
    let binds = by_depth(&spec.mounts).into_iter().filter_map(|mount| match mount {
        Mount::Bind { source, target, readonly } => {
            let access = if *readonly { Access::ReadOnly } else { Access::ReadWrite };
            Some(Step::TakeBind { source: source.into(), target: target.clone(), access, owners })
        }
        Mount::Layer { .. } | Mount::Tmpfs { .. } => None,
    });
    overlays.chain(binds).collect()
}

/// The new root and everything in it, while the host's `/proc`, `/sys` and `/dev` are still there: the kernel lets a
/// user namespace mount its own `proc` and `sysfs` only beside ones that hide nothing.
fn tree_steps(spec: &Spec) -> Vec<Step> {
    let (nosuid, noexec, nodev) = (Attributes::MOUNT_ATTR_NOSUID, Attributes::MOUNT_ATTR_NOEXEC, Attributes::MOUNT_ATTR_NODEV);
    let none = nosuid | noexec | nodev;
    let mount = |kind, target: &str, options: &[(&'static str, &str)], attributes| Step::Mount {
        kind,
        target: target.to_owned(),
        options: options.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        attributes,
    };
    let mut steps = vec![Step::AttachRoot { staging: spec.folders.run_dir.join("containers").join(&spec.id) }];
    if spec.uid_base.is_some() {
        steps.push(Step::BecomeNamespaceRoot);
    }
    // Numbered as they were handed over: the root's overlay is number 0.
    let mut next_mount = 1..;
    let mut attach =
        |target: &str, missing| Step::Attach { target: target.to_owned(), mount: next_mount.next().unwrap_or_default(), missing };
    for grafted in stack::mounts(spec).iter().skip(1) {
        steps.push(attach(&format!("/{}", grafted.at), Missing::Folder));
    }
    for wanted in by_depth(&spec.mounts) {
        match wanted {
            Mount::Bind { target, .. } => steps.push(attach(target, Missing::Alike)),
            Mount::Tmpfs { target, size_bytes } => {
                let size = size_bytes.unwrap_or(belljar_model::mount::TMPFS_SIZE_BYTES_DEFAULT).to_string();
                steps.push(mount("tmpfs", target, &[("mode", "1777"), ("size", &size)], nosuid | nodev));
            }
            Mount::Layer { .. } => {}
        }
    }
    // After what was asked for: a target may be a link of the image's to `/proc`, and then ours must lie on top.
    steps.extend([
        mount("proc", "/proc", &[], none),
        mount("sysfs", "/sys", &[], none | Attributes::MOUNT_ATTR_RDONLY),
        mount("tmpfs", "/dev", &[("mode", "755"), ("size", DEV_SIZE)], nosuid | Attributes::MOUNT_ATTR_STRICTATIME),
        mount("devpts", "/dev/pts", &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")], nosuid | noexec),
        mount("tmpfs", "/dev/shm", &[("mode", "1777"), ("size", DEV_SIZE)], none),
        mount("mqueue", "/dev/mqueue", &[], none),
    ]);
    steps.extend(DEVICES.map(|(name, device)| Step::BindDevice { name, device }));
    steps.push(Step::LinkDevices);
    steps.extend(spec.readonly_paths.iter().cloned().map(Step::MakeReadOnly));
    steps.extend(spec.masked_paths.iter().cloned().map(Step::Mask));
    steps
}

/// Each privilege goes when it was last needed: dropping from the bounding set needs `SETPCAP`, changing the user needs
/// `SETUID`; the filter comes last, so that it need not allow what we still do.
fn privilege_steps(spec: &Spec) -> Vec<Step> {
    let process = &spec.process;
    let mut steps = vec![
        Step::MakeWorkdir(process.workdir.clone()),
        Step::BoundCapabilities { keep: process.capabilities.clone() },
        Step::BecomeUser(process.user.clone()),
        Step::LimitCapabilities,
        Step::EnterWorkdir(process.workdir.clone()),
    ];
    if process.no_new_privileges {
        steps.push(Step::ForbidNewPrivileges);
    }
    steps.push(Step::CloseDescriptors);
    if process.seccomp {
        steps.push(Step::LoadSeccomp { denials: seccomp::default_denials().len() });
    }
    let program = process.arguments.first().cloned().unwrap_or_default();
    steps.push(Step::Exec { program, first: if spec.init { First::Init } else { First::Program } });
    steps
}

impl Plan {
    /// Number of the first step that the first process takes.
    pub fn inside_begins(&self) -> usize {
        self.steps.iter().position(|step| step.place() == Place::Inside).unwrap_or(self.steps.len())
    }

    /// The plan before anything was done.
    pub fn records(&self) -> Vec<StepRecord> {
        let record = |step: &Step| StepRecord { text: step.to_string(), place: step.place(), outcome: Outcome::Pending, took_usec: None };
        self.steps.iter().map(record).collect()
    }

    /// The failure of a step of this plan.
    pub fn failure(&self, index: usize, cause: String) -> Failure {
        match self.steps.get(index) {
            Some(step) => Failure { step: step.verb().to_owned(), object: step.object(), cause },
            None => Failure { step: "plan".to_owned(), object: format!("step {index}"), cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use belljar_model::image::ImageLayer;
    use belljar_model::{Config, Container, ContainerId, State, Wanted};

    use super::*;
    use crate::cgroup::Hierarchy;
    use crate::spec::{Folders, Instance};

    fn facts(version: Version) -> Facts {
        let hierarchy = |controllers: &[&str], point: &str| Hierarchy {
            version,
            point: point.into(),
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        };
        let list = match version {
            Version::V1 => vec![hierarchy(&["cpu"], "/cg/cpu"), hierarchy(&["memory"], "/cg/memory"), hierarchy(&["pids"], "/cg/pids")],
            Version::V2 => vec![hierarchy(&["cpu", "memory", "pids"], "/cg")],
        };
        Facts { hierarchies: Hierarchies::of_list(list) }
    }

    fn spec(config: &str, uid_base: Option<u32>) -> Spec {
        let config: Config = serde_json::from_str(config).unwrap();
        let id = ContainerId::from_bytes([0xab; 32]);
        let (state, wanted) = (State::Creating, Wanted::Running);
        let none = (None, None, None, None);
        let (started_at_ms, init, monitor, exit) = none;
        let container =
            Container { id, config, state, wanted, uid_base, created_at_ms: 0, started_at_ms, init, monitor, exit, restarts: 0 };
        let layer = |path: &str, at: &str| ImageLayer { path: path.into(), at: at.into(), label: String::new() };
        let image = [layer("/data/images/host/1", ""), layer("/usr", "usr")];
        let folders = Folders { data_dir: "/data".into(), run_dir: "/run/belljar".into() };
        Spec::for_container(&container, &image, &Instance { name: "belljar".into(), folders }, 1)
    }

    fn printed(config: &str, uid_base: Option<u32>, version: Version) -> String {
        let plan = make(&spec(config, uid_base), &facts(version)).unwrap();
        let line = |step: &Step| format!("{:8} {step}", format!("{:?}", step.place()).to_lowercase());
        plan.steps.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_plain_container_on_v2() {
        insta::assert_snapshot!(printed(r#"{"name":"web","image":"host","command":["sh"]}"#, Some(536_870_912), Version::V2));
    }

    #[test]
    fn everything_that_can_be_asked_on_v1() {
        let config = r#"{"name":"db","image":"host","command":["postgres"],"user":"postgres","workdir":"/var/lib/db","init":true,
            "limits":{"memory_bytes":67108864,"memory_swap_bytes":0,"cpus":0.5,"pids":64},
            "mounts":[{"type":"bind","source":"/srv/db","target":"/data"},{"type":"bind","source":"/srv/c","target":"/c","readonly":true},
                      {"type":"layer","source":"/srv/conf"},{"type":"tmpfs","target":"/tmp","size_bytes":4096}]}"#;
        insta::assert_snapshot!(printed(config, Some(536_870_912), Version::V1));
    }

    #[test]
    fn without_a_user_namespace_nothing_is_mapped() {
        let plan = printed(r#"{"name":"web","image":"host","command":["sh"]}"#, None, Version::V2);
        assert!(!plan.contains("owners mapped") && !plan.contains("user namespace") && !plan.contains("map user"), "{plan}");
    }

    #[test]
    fn parents_are_mounted_before_children_whatever_their_order() {
        let config = r#"{"name":"web","image":"host","command":["sh"],"mounts":[
            {"type":"bind","source":"/a","target":"/data/a"},{"type":"tmpfs","target":"/data"},{"type":"bind","source":"/b","target":"/b"}]}"#;
        let steps = make(&spec(config, None), &facts(Version::V2)).unwrap().steps;
        let position = |text: &str| steps.iter().position(|step| step.to_string() == text).unwrap_or_else(|| panic!("no step {text}"));
        assert!(position("mount tmpfs at /data") < position("attach /data/a"));
        assert!(position("attach /b") < position("attach /data/a"));
        let numbers: Vec<usize> =
            steps.iter().filter_map(|step| if let Step::Attach { mount, .. } = step { Some(*mount) } else { None }).collect();
        assert_eq!(numbers, [1, 2, 3], "in the order in which they are handed over");
    }

    #[test]
    fn what_takes_privileges_away_comes_after_what_needs_them() {
        let steps = make(&spec(r#"{"name":"web","image":"host","command":["sh"]}"#, Some(1 << 29)), &facts(Version::V2)).unwrap().steps;
        let position = |verb: &str, object: &str| {
            let found = steps.iter().position(|step| step.verb() == verb && step.object().contains(object));
            found.unwrap_or_else(|| panic!("no step {verb} {object}"))
        };
        let order = [
            position("join", "cgroups"),
            position("unshare", "cgroup"),
            position("attach", "new root"),
            position("mount", "/proc"),
            position("mask", "/proc/kcore"),
            position("pivot", "root"),
            position("drop", "capabilities"),
            position("become", "user 0:0"),
            position("forbid", "privileges"),
            position("load", "seccomp"),
            position("exec", "sh"),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(order[10], steps.len() - 1, "the exec is the last step");
    }
}
