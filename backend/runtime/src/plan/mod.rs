//! The order of things. [`make`] is pure: the same spec and the same facts give the same steps, on any machine.
//!
//! ```text
//! outside: the maker (the host's namespaces)   inside: the first process (its own)
//! ──────────────────────────────────────────   ───────────────────────────────────
//! fill init layer; v2: make cgroup, set limits
//! enter what is joined; FIFOs for the start
//! clone ─────────────────────────────────────▶ makes the namespaces that need no birth
//! leave; map ids (so that there is a root)       ·
//! what only the host may set, by pid             ·
//! v1: make cgroups, set limits                   ·
//! root and binds, detached, owners mapped        ·
//! hand over ─────────────────────────────────▶ join cgroup first: all that follows is counted there
//! reads what each step took                    new root, file systems, masks while the host's are still visible
//!   ·                                          names, loopback, outputs or a terminal
//! shares mounts again that are to be
//! createRuntime hooks ◀──────────────────────▶ createContainer hooks
//!   ·                                          pivot: from here on there is nothing but the container
//! resource limits ◀──────────────────────────▶ privileges go, in the order in which each is last needed
//! `create` ends here, `start` says so  ─────▶ waits for its start, where it is to
//!   ·                                          startContainer hooks, filter
//! end of the socket: the exec succeeded  ◀──── exec
//! ```
//! The list is in the order of time, and the two places take turns in it as often as it says. [`make_start`] is the end of that
//! list by itself, [`make_exec`] the same for one more program ([`exec`]). Hooks that follow the start are a list of their own
//! ([`make_poststart`]): they may take their time, and by then somebody has to have written down what runs.

mod cgroup;
pub mod exec;
mod others_tree;
mod process;
mod sysctl;
mod tree;

pub use exec::{ExecFacts, make_exec};
pub use sysctl::{Foreign, check_sysctls};
pub(crate) use tree::{COVERABLE, standard_devices, tidied};

use std::path::PathBuf;
use std::sync::Arc;

use belljar_model::namespace::Kind;
use belljar_model::plan::{Outcome, Place, StepRecord};
use belljar_model::{Failure, Invalid};

use crate::cgroup::Hierarchies;
use crate::seccomp::Prepared;
use crate::spec::{Moment, Source, Spec};
use crate::step::process::Console;
use crate::step::{CgroupStep, ProcessStep, Step, TreeStep};

/// What of the host decides about the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its cgroup hierarchies, as they are now.
    pub hierarchies: Hierarchies,
    /// The filter of system calls, where it was prepared before ([`crate::seccomp::of_process`]); otherwise it is compiled now.
    pub filter: Option<Arc<Prepared>>,
}

/// Steps in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Each has its place; [`crate::apply`] says how the two places take turns.
    pub steps: Vec<Step>,
}

/// Steps of one family, by when they are taken.
#[derive(Debug)]
struct Parts<S> {
    /// Outside, before there is a process.
    first: Vec<S>,
    /// Outside, once there is a process and its ids are mapped; what is handed over comes from here.
    made_outside: Vec<S>,
    /// Inside, before the process becomes root of its user namespace: the host's folders can still be entered.
    before_root: Vec<S>,
    /// Inside, as root of the container.
    inside: Vec<S>,
    /// Outside, once all is mounted.
    shared: Vec<S>,
    /// Inside: the root is changed.
    pivot: Vec<S>,
}

impl<S> Default for Parts<S> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            made_outside: Vec::new(),
            before_root: Vec::new(),
            inside: Vec::new(),
            shared: Vec::new(),
            pivot: Vec::new(),
        }
    }
}

/// The steps that make a container. Refuses what cannot be made, and a limit that this host cannot enforce, by its field.
pub fn make(spec: &Spec, facts: &Facts) -> Result<Plan, Invalid> {
    process::check(spec)?;
    let cgroup = cgroup::parts(spec, &facts.hierarchies)?;
    let tree = if is_new(spec, Kind::Mnt) { tree::parts(spec, &facts.hierarchies)? } else { others_tree::parts(spec)? };
    let mut steps = Steps::default();
    steps.add(tree.first);
    steps.add(cgroup.before_clone);
    steps.add(process::birth(spec, cgroup.joining));
    steps.add(cgroup.after_clone);
    steps.add(tree.made_outside);

    steps.add(cgroup.join);
    if is_new(spec, Kind::Cgroup) {
        steps.add([CgroupStep::Unshare]);
    }
    steps.add(process::session(&spec.process));
    steps.add(tree.before_root);
    if spec.has_own_users() {
        steps.add([ProcessStep::BecomeNamespaceRoot]);
    }
    if process::unshares_ipc(spec) {
        steps.add([ProcessStep::Unshare(vec![Kind::Ipc])]);
    }
    steps.add(tree.inside);
    steps.add(process::surroundings(spec));
    // A console is bound, which only a tree of its own takes.
    let console = if is_new(spec, Kind::Mnt) { Console::Bound } else { Console::None };
    steps.add([process::streams(&spec.process, console)]);
    // After the last mount, a terminal's; and before hooks, as what they mount may be meant to be seen.
    steps.add(tree.shared);
    steps.add(process::hooks(spec, Moment::Prestart));
    steps.add(process::hooks(spec, Moment::CreateRuntime));
    steps.add(process::hooks(spec, Moment::CreateContainer));
    steps.add(tree.pivot);
    let told = process::Told::of(spec, facts.filter.as_ref());
    steps.add(process::privileges(&spec.process, &told)?);
    steps.add(process::lookup(spec));
    steps.add(process::beginning(spec, &told)?);
    Ok(Plan { steps: steps.list })
}

impl Plan {
    /// The filter of system calls that the container gets.
    pub fn filter(&self) -> Option<&Prepared> {
        self.steps.iter().find_map(|step| match step {
            Step::Process(ProcessStep::LoadSeccomp(filter)) => Some(&**filter),
            _ => None,
        })
    }
}

/// The steps that are left of a container that waits for its start: the end of what [`make`] made, from the wait on. `filter` is
/// as in [`Facts`].
pub fn make_start(spec: &Spec, filter: Option<&Arc<Prepared>>) -> Result<Plan, Invalid> {
    let mut steps = Steps::default();
    steps.add(process::beginning(spec, &process::Told::of(spec, filter))?);
    Ok(Plan { steps: steps.list })
}

/// The steps once a container's program runs, and that is known to whoever looks.
pub fn make_poststart(spec: &Spec) -> Plan {
    let mut steps = Steps::default();
    steps.add(process::hooks(spec, Moment::Poststart));
    Plan { steps: steps.list }
}

/// The steps after a container's end, when it is deleted.
pub fn make_delete(spec: &Spec) -> Plan {
    let mut steps = Steps::default();
    steps.add(process::hooks(spec, Moment::Poststop));
    Plan { steps: steps.list }
}

/// A list that takes steps of every family.
#[derive(Default)]
struct Steps {
    list: Vec<Step>,
}

impl Steps {
    fn add<S: Into<Step>>(&mut self, steps: impl IntoIterator<Item = S>) {
        self.list.extend(steps.into_iter().map(Into::into));
    }
}

fn is_new(spec: &Spec, kind: Kind) -> bool {
    spec.namespace(kind).is_some_and(|namespace| namespace.source == Source::New)
}

impl Plan {
    /// Whether the step after this one is taken inside.
    pub(crate) fn turns_inside_after(&self, index: usize) -> bool {
        self.steps.get(index + 1).is_some_and(|next| next.place() == Place::Inside)
    }

    /// Where the turn inside that begins at `index` joins cgroups, and by which files: they are opened outside, with the host's
    /// rights, and handed over with the turn.
    pub(crate) fn joins_in_turn(&self, index: usize) -> Option<(usize, &[PathBuf])> {
        let mut turn = self.steps.iter().enumerate().skip(index).take_while(|(_, step)| step.place() == Place::Inside);
        turn.find_map(|(index, step)| match step {
            Step::Cgroup(CgroupStep::Join { files }) => Some((index, files.as_slice())),
            _ => None,
        })
    }

    /// How many mounts are made outside and go inside.
    pub(crate) fn mounts_handed_over(&self) -> usize {
        let count = |step: &Step| if let Step::Tree(TreeStep::HandOver { mounts }) = step { *mounts } else { 0 };
        self.steps.iter().map(count).sum()
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
pub(crate) mod tests {
    use belljar_model::cgroup::Version;
    use belljar_model::image::ImageLayer;
    use belljar_model::{Config, Container, ContainerId, State, Wanted};

    use super::*;
    use crate::cgroup::Hierarchy;
    use crate::spec::{Folders, Instance};

    pub(crate) fn facts(version: Version) -> Facts {
        let hierarchy = |controllers: &[&str], point: &str| Hierarchy {
            version,
            point: point.into(),
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        };
        let list = match version {
            Version::V1 => vec![
                hierarchy(&["cpu"], "/cg/cpu"),
                hierarchy(&["memory"], "/cg/memory"),
                hierarchy(&["pids"], "/cg/pids"),
                hierarchy(&["devices"], "/cg/devices"),
            ],
            Version::V2 => vec![hierarchy(&["cpu", "memory", "pids"], "/cg")],
        };
        Facts { hierarchies: Hierarchies::of_list(list), filter: None }
    }

    pub(crate) fn spec(config: &str, uid_base: Option<u32>) -> Spec {
        let config: Config = serde_json::from_str(config).unwrap();
        let id = ContainerId::from_bytes([0xab; 32]);
        let (state, wanted) = (State::Creating, Wanted::Running);
        let none = (None, None, None, None);
        let (started_at_ms, init, monitor, exit) = none;
        let container = Container {
            id,
            config,
            state,
            wanted,
            uid_base,
            without_ids: None,
            image_digest: None,
            created_at_ms: 0,
            started_at_ms,
            init,
            monitor,
            exit,
            restarts: 0,
        };
        let layer = |path: &str, at: &str| ImageLayer { path: path.into(), at: at.into(), label: String::new() };
        let image = [layer("/data/images/host/1", ""), layer("/usr", "usr")];
        let folders = Folders { data_dir: "/data".into(), run_dir: "/run/belljar".into() };
        Spec::for_container(&container, &image, &Instance { name: "belljar".into(), folders }, 1).unwrap()
    }

    fn printed(config: &str, uid_base: Option<u32>, version: Version) -> String {
        lines(&make(&spec(config, uid_base), &facts(version)).unwrap())
    }

    pub(crate) fn lines(plan: &Plan) -> String {
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
    fn a_limit_of_its_layer_is_said_before_anything_is_made_of_the_layer() {
        let config = r#"{"name":"web","image":"host","command":["sh"],"limits":{"disk_bytes":20971520,"disk_inodes":500}}"#;
        let mut limited = spec(config, None);
        assert!(!lines(&make(&limited, &facts(Version::V2)).unwrap()).contains("own layer"), "it is in no project");
        if let crate::spec::Tree::Overlay(root) = &mut limited.root.tree {
            root.limit = Some(crate::quota::LayerLimit { project: 7, bytes: Some(20 << 20), inodes: Some(500) });
        }
        let plan = lines(&make(&limited, &facts(Version::V2)).unwrap());
        assert!(plan.starts_with("outside  limit own layer to 20 MiB and 500 files (project 7)\n"), "{plan}");
    }

    #[test]
    fn parents_are_mounted_before_children_whatever_their_order() {
        let config = r#"{"name":"web","image":"host","command":["sh"],"mounts":[
            {"type":"bind","source":"/a","target":"/data/a"},{"type":"tmpfs","target":"/data"},{"type":"bind","source":"/b","target":"/b"}]}"#;
        let steps = make(&spec(config, None), &facts(Version::V2)).unwrap().steps;
        let position = |text: &str| steps.iter().position(|step| step.to_string() == text).unwrap_or_else(|| panic!("no step {text}"));
        assert!(position("mount tmpfs at /data") < position("attach /data/a"));
        assert!(position("attach /b") < position("attach /data/a"));
        let numbers: Vec<usize> = steps
            .iter()
            .filter_map(|step| if let Step::Tree(TreeStep::Attach { mount, .. }) = step { Some(*mount) } else { None })
            .collect();
        assert_eq!(numbers, [1, 2, 3], "in the order in which they are handed over");
    }

    #[test]
    fn what_takes_privileges_away_comes_after_what_needs_them() {
        let steps = make(&spec(r#"{"name":"web","image":"host","command":["sh"]}"#, Some(1 << 29)), &facts(Version::V1)).unwrap().steps;
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
            position("forbid", "privileges"),
            position("drop", "capabilities"),
            position("become", "user 0:0"),
            position("load", "seccomp"),
            position("exec", "sh"),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(order[10], steps.len() - 1, "the exec is the last step");
    }
}
