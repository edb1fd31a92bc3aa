//! The spec of one of Belljar's own containers: what a person asked for, with everything else at its safe default.
//!
//! What of the host decides about it (the containers that are joined, the numbers of devices) was looked up before and is
//! passed in: nothing here touches the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use belljar_model::container::{Config, ProcessRef};
use belljar_model::idmap::IdRange;
use belljar_model::image::ImageLayer;
use belljar_model::isolation::Whose;
use belljar_model::mount::names;
use belljar_model::namespace::Kind;
use belljar_model::security::{NewPrivileges, SystemPaths};
use belljar_model::{Container, IdMapping, Invalid, Mount, security};

use super::exec::Exec;
use super::landlock::{FileAccess, Landlock, PathRule};
use super::{
    Access, Attribute, Capabilities, CgroupPlace, Clock, Content, CopyUp, DEFAULT_PATH, DEFAULT_READONLY_PATHS, Depth, Device, DeviceKind,
    First, Folders, Hooks, IDS, IdMap, IdMaps, Instance, MountAttributes, MountIds, MountPoint, Namespace, OverlayTree, Process, Rlimit,
    Root, Scheduler, Source, Spec, Start, TimeOffset, Tree, User, standard_mounts, tree,
};
use crate::bundle::Bundle;
use crate::cgroup::devices::Rule;
use crate::cgroup::disks::Disk;
use crate::cgroup::{Resources, limits};
use crate::quota::LayerLimit;
use crate::seccomp::profile::{Context, FIELD};
use crate::seccomp::{self, Choice, Profile, Record};

/// A container that another one joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// Its first process.
    pub pid: i32,
    /// First host id of its user namespace; `None` where that is the host's.
    pub uid_base: Option<u32>,
}

/// What of the host a container is made of.
#[derive(Debug, Clone)]
pub struct Around<'a> {
    /// The layers of its image, top first.
    pub image: &'a [ImageLayer],
    /// Whose container it is.
    pub instance: &'a Instance,
    /// The containers that it joins, by the key under which they were asked for.
    pub joined: BTreeMap<String, Joined>,
    /// The devices that it may use, in the order in which they were asked for.
    pub devices: Vec<Device>,
    /// The disks whose use is limited, in the order in which they were named.
    pub disks: Vec<Disk>,
    /// The project that its own layer is in, where it is in one.
    pub project: Option<u32>,
}

impl Spec {
    /// The spec of a container that joins nobody, and has no device and no disk of its own: to look at, or to plan.
    pub fn for_container(container: &Container, image: &[ImageLayer], instance: &Instance, attempt: u64) -> Result<Self, Invalid> {
        Self::of(
            container,
            &Around { image, instance, joined: BTreeMap::new(), devices: Vec::new(), disks: Vec::new(), project: None },
            attempt,
        )
    }

    /// The spec of a container. Refuses a profile of system calls that cannot be read.
    pub fn of(container: &Container, around: &Around<'_>, attempt: u64) -> Result<Self, Invalid> {
        let (config, instance) = (&container.config, around.instance);
        let bundle = Bundle::new(&instance.folders.data_dir, &instance.folders.run_dir, &container.id);
        let namespaces = namespaces(container, around);
        let own_names = namespaces.iter().any(|namespace| namespace.kind == Kind::Uts && namespace.source == Source::New);
        let confined = config.security.system_paths == SystemPaths::Confined;
        Ok(Self {
            id: container.id.to_string(),
            attempt,
            hostname: own_names.then(|| container.hostname().to_owned()),
            domainname: config.domainname.as_ref().map(|name| name.as_str().to_owned()),
            process: process(container)?,
            time_offsets: time_offsets(config),
            ids: ids(container, around),
            root: root(container, around, &bundle),
            mounts: mounts(config, &namespaces, &Asked { folders: &instance.folders, base: base_of_ids(container, around) }),
            devices: around.devices.clone(),
            masked_paths: if confined { tree::masked_by_default() } else { Vec::new() },
            readonly_paths: if confined { DEFAULT_READONLY_PATHS.map(str::to_owned).to_vec() } else { Vec::new() },
            sysctls: config.sysctls.iter().map(|(name, value)| (name.replace('/', "."), value.clone())).collect(),
            cgroup: CgroupPlace::Named(format!("{}/{}", instance.name, container.id)),
            resources: resources(config, &around.devices, &around.disks),
            hooks: Hooks::default(),
            mount_label: None,
            first: if config.init { First::Init } else { First::Program },
            start: Start::AtOnce,
            state_dir: bundle.run().to_owned(),
            folders: Some(instance.folders.clone()),
            namespaces,
        })
    }
}

impl Exec {
    /// A further program in a container that was made of `spec` and whose first process is `first`: the container's own
    /// process, in whatever was not asked for otherwise.
    pub fn of(spec: &Spec, first: ProcessRef, asked: &belljar_model::exec::Exec) -> Self {
        let mut process = spec.process.clone();
        process.arguments.clone_from(&asked.command);
        let is_replaced = |pair: &String| pair.split_once('=').is_some_and(|(key, _)| asked.env.contains_key(key));
        process.environment.retain(|pair| !is_replaced(pair));
        process.environment.extend(asked.env.iter().map(|(key, value)| format!("{key}={value}")));
        if let Some(user) = &asked.user {
            process.user = User::LookUp { user: Some(user.clone()), groups: Vec::new() };
        }
        if let Some(workdir) = &asked.workdir {
            process.workdir.clone_from(workdir);
        }
        let (id, cgroup, state) = (spec.id.clone(), super::ExecCgroup::Place(spec.cgroup.clone()), spec.hooks.state.clone());
        let filters = spec.folders.as_ref().map(super::Folders::filters);
        Self { id, first, cgroup, process, state, filters }
    }
}

/// The order in which they are told.
const KINDS: [Kind; 8] = [Kind::User, Kind::Mnt, Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::Cgroup, Kind::Time];

fn namespaces(container: &Container, around: &Around<'_>) -> Vec<Namespace> {
    let config = &container.config;
    let source = |kind: Kind| match (config.namespaces.of(kind), kind) {
        (Whose::Private, Kind::User) => container.ids_in_use().map(|_| Source::New),
        (Whose::Host, Kind::Time) if !config.time_offsets.is_none() => Some(Source::New),
        (Whose::Private, _) => Some(Source::New),
        (Whose::Host, _) => None,
        (Whose::Path(path), _) => Some(Source::Path { path: path.into(), inode: None }),
        (Whose::Container(key), Kind::User) if around.joined.get(&key).is_some_and(|joined| joined.uid_base.is_none()) => None,
        // One that nobody looked up has no process 0, and so is refused when it is opened.
        (Whose::Container(key), _) => {
            let pid = around.joined.get(&key).map_or(0, |joined| joined.pid);
            Some(Source::Path { path: format!("/proc/{pid}/ns/{}", kind.as_str()).into(), inode: None })
        }
    };
    KINDS.into_iter().filter_map(|kind| source(kind).map(|source| Namespace { kind, source })).collect()
}

/// Its own range, or that of the container whose user namespace it joins: its layers are shown with the same owners.
fn ids(container: &Container, around: &Around<'_>) -> Option<IdMaps> {
    let base = match container.config.namespaces.of(Kind::User) {
        Whose::Private => container.ids_in_use(),
        Whose::Container(key) => around.joined.get(&key).and_then(|joined| joined.uid_base),
        Whose::Host | Whose::Path(_) => None,
    };
    base.map(|base| IdMaps::of_range(base, IDS))
}

/// The host id that 0 of the inside is; 0 where the ids are the host's.
fn base_of_ids(container: &Container, around: &Around<'_>) -> u32 {
    ids(container, around).and_then(|ids| ids.root_uid()).unwrap_or_default()
}

fn time_offsets(config: &Config) -> Vec<TimeOffset> {
    let offsets = [(Clock::Monotonic, config.time_offsets.monotonic), (Clock::Boottime, config.time_offsets.boottime)];
    let offset = |(clock, seconds)| TimeOffset { clock, seconds, nanoseconds: 0 };
    offsets.into_iter().filter(|(_, seconds)| *seconds != 0).map(offset).collect()
}

fn process(container: &Container) -> Result<Process, Invalid> {
    let config = &container.config;
    // Three that every program expects; what the person gave stands over them. HOME is set once the user is known.
    let mut environment =
        BTreeMap::from([("HOSTNAME".to_owned(), container.hostname().to_owned()), ("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    environment.extend(config.env.clone());
    Ok(Process {
        arguments: config.command.clone(),
        environment: environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
        workdir: config.workdir.clone().unwrap_or_else(|| "/".to_owned()),
        user: User::LookUp { user: config.user.clone(), groups: config.groups.clone() },
        umask: config.umask.map(|umask| umask.bits()),
        capabilities: Capabilities::only(&config.security.capabilities.kept()),
        no_new_privileges: config.security.new_privileges == NewPrivileges::Forbidden,
        seccomp: filter(&config.security.seccomp)?,
        rlimits: rlimits(config),
        oom_score_adj: config.oom_score_adj,
        scheduler: config.nice.map(niceness),
        apparmor: config.security.apparmor.clone(),
        selinux_label: config.security.selinux.clone(),
        landlock: landlock(config),
        ..Process::of(&[])
    })
}

fn filter(wanted: &security::Seccomp) -> Result<Option<Choice>, Invalid> {
    let choice = |source, record| Some(Choice { source, record });
    Ok(match wanted {
        security::Seccomp::Unconfined => None,
        security::Seccomp::Default => choice(seccomp::Source::Default, Record::No),
        security::Seccomp::Record => choice(seccomp::Source::Default, Record::Refuse),
        security::Seccomp::Profile(profile) => {
            let text = serde_json::to_vec(profile).map_err(|error| Invalid::new(PROFILE_FIELD, error.to_string()))?;
            choice(seccomp::Source::Profile(Arc::new(Profile::parse(&text).map_err(as_asked)?)), Record::No)
        }
    })
}

/// Refuses a profile of system calls that could not be loaded, before a container is made of it.
pub fn check_filter(config: &Config) -> Result<(), Invalid> {
    let context = Context::here(config.security.capabilities.kept());
    match filter(&config.security.seccomp)? {
        Some(choice) => seccomp::prepare(&choice, &context).map(drop).map_err(as_asked),
        None => Ok(()),
    }
}

/// The field of a profile as a person wrote it in a request.
fn as_asked(invalid: Invalid) -> Invalid {
    let rest = invalid.field.strip_prefix(FIELD).unwrap_or_default().to_owned();
    Invalid::new(format!("{PROFILE_FIELD}{rest}"), invalid.problem)
}

/// What a person calls a profile.
const PROFILE_FIELD: &str = "security.seccomp";

fn landlock(config: &Config) -> Option<Landlock> {
    let access = |access: &security::LandlockAccess| match access {
        security::LandlockAccess::Read => FileAccess::Read,
        security::LandlockAccess::Write => FileAccess::Write,
        security::LandlockAccess::Execute => FileAccess::Execute,
    };
    let rule = |rule: &security::LandlockRule| PathRule { path: rule.path.clone(), access: rule.access.iter().map(access).collect() };
    let paths: Vec<PathRule> = config.security.landlock.iter().map(rule).collect();
    (!paths.is_empty()).then(|| Landlock { paths, ..Landlock::default() })
}

/// Limits of each of its processes.
pub fn rlimits(config: &Config) -> Vec<Rlimit> {
    // `RLIM_INFINITY` is the largest number of the type.
    let value = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let limit = |(name, limit): (&String, &belljar_model::setting::Ulimit)| Rlimit {
        resource: name.to_ascii_uppercase(),
        soft: value(limit.soft),
        hard: value(limit.hard),
    };
    config.ulimits.iter().map(limit).collect()
}

/// The ordinary policy, with another niceness.
fn niceness(nice: i32) -> Scheduler {
    Scheduler { policy: 0, flags: 0, nice, priority: 0, runtime_nsec: 0, deadline_nsec: 0, period_nsec: 0 }
}

/// Limits, and which devices may be opened: what was asked for, to which the plan adds what every container needs. A node of any
/// other that a container without ids of its own makes, or finds in its image, cannot be opened.
fn resources(config: &Config, devices: &[Device], disks: &[Disk]) -> Resources {
    Resources { devices: device_rules(config, devices), ..limits::resources(&config.limits, disks) }
}

/// Rules for what was asked for, which nothing else than these says.
pub fn device_rules(config: &Config, devices: &[Device]) -> Vec<Rule> {
    let rule = |(device, asked): (&Device, &belljar_model::setting::Device)| {
        let kind = if device.kind == DeviceKind::Block { 'b' } else { 'c' };
        Rule::allow(kind, (device.major.into(), device.minor.into()), &asked.access)
    };
    let asked = devices.iter().zip(&config.devices).map(rule);
    std::iter::once(Rule::deny_all()).chain(asked).collect()
}

/// What was asked of the project; nothing to be said where nothing was.
fn layer_limit(container: &Container, project: Option<u32>) -> Option<LayerLimit> {
    let (bytes, inodes) = (container.config.limits.disk_bytes, container.config.limits.disk_inodes);
    let project = project.filter(|_| bytes.is_some() || inodes.is_some())?;
    Some(LayerLimit { project, bytes, inodes })
}

fn root(container: &Container, around: &Around<'_>, bundle: &Bundle) -> Root {
    let extra = container.config.mounts.iter().filter_map(|mount| match mount {
        Mount::Layer { source } => Some(PathBuf::from(source)),
        Mount::Bind { .. } | Mount::Image { .. } | Mount::Volume(_) | Mount::Tmpfs { .. } => None,
    });
    let (stacked, own): (Vec<&ImageLayer>, Vec<&ImageLayer>) = around.image.iter().partition(|layer| layer.at == ImageLayer::EVERYWHERE);
    let stacked = stacked.into_iter().map(|layer| PathBuf::from(&layer.path));
    let tree = Tree::Overlay(OverlayTree {
        spanning: std::iter::once(bundle.init_layer()).chain(extra).chain(stacked).collect(),
        image: own.into_iter().cloned().collect(),
        upper: bundle.upper(),
        work: bundle.work(),
        limit: layer_limit(container, around.project),
    });
    let access = if container.config.read_only { Access::ReadOnly } else { Access::ReadWrite };
    Root { tree, access, propagation: None }
}

/// What was asked for, parents before children whatever the order in which they were named; then what every container has,
/// which comes last: a target may be a link of the image's to `/proc`, and then ours must lie on top.
fn mounts(config: &Config, namespaces: &[Namespace], around: &Asked<'_>) -> Vec<MountPoint> {
    let mut asked: Vec<&Mount> = config.mounts.iter().collect();
    asked.sort_by_key(|mount| mount.target().map_or(0, |target| names(target).count()));
    let asked = asked.into_iter().filter_map(|mount| around.mount(mount));
    asked.chain(standard_mounts().into_iter().filter_map(|mount| suited(mount, config, namespaces))).collect()
}

/// What mounts that were asked for are made with.
struct Asked<'a> {
    folders: &'a Folders,
    /// The host id that the container's 0 is.
    base: u32,
}

impl Asked<'_> {
    fn mount(&self, mount: &Mount) -> Option<MountPoint> {
        use Attribute::{NoDev, NoSuid};
        match mount {
            // What is mounted below it comes along, as people expect of a bind.
            Mount::Bind { source, target, readonly, idmap } => {
                let access = if *readonly { Access::ReadOnly } else { Access::ReadWrite };
                Some(MountPoint { ids: self.ids(idmap.as_ref()), ..bind(source, target, Depth::All, shared(access)) })
            }
            Mount::Volume(volume) => {
                let access = if volume.readonly { Access::ReadOnly } else { Access::ReadWrite };
                let folder = self.folders.volume(volume.source.as_ref()?).display().to_string();
                let content = Content::Bind { source: folder.clone().into(), depth: Depth::One, within: volume.subpath.clone() };
                let ids = self.ids(volume.idmap.as_ref());
                Some(MountPoint { content, ids, ..bind(&folder, &volume.target, Depth::One, shared(access)) })
            }
            Mount::Tmpfs { target, size_bytes } => {
                let size = size_bytes.unwrap_or(belljar_model::mount::TMPFS_SIZE_BYTES_DEFAULT).to_string();
                let attributes = MountAttributes::setting([NoSuid, NoDev]);
                Some(MountPoint::new("tmpfs", target, &[("mode", "1777"), ("size", &size)], attributes))
            }
            Mount::Layer { .. } | Mount::Image { .. } => None,
        }
    }

    /// A mount's own mapping goes from what is on disk to what the container's ids are on the host.
    fn ids(&self, idmap: Option<&IdMapping>) -> MountIds {
        let Some(idmap) = idmap else { return MountIds::ContainerWherePossible };
        let map = |range: &IdRange| IdMap { inside: range.host, outside: self.base + range.container, count: range.count };
        let maps = IdMaps { uids: idmap.uids().iter().map(map).collect(), gids: idmap.gids().iter().map(map).collect() };
        MountIds::Maps { maps, depth: Depth::One }
    }
}

/// Attributes of what somebody else writes to as well.
fn shared(access: Access) -> MountAttributes {
    let mut set_below = BTreeSet::from([Attribute::NoSuid, Attribute::NoDev]);
    set_below.extend((access == Access::ReadOnly).then_some(Attribute::ReadOnly));
    MountAttributes { set_below, ..MountAttributes::default() }
}

fn bind(source: &str, target: &str, depth: Depth, attributes: MountAttributes) -> MountPoint {
    MountPoint {
        target: target.to_owned(),
        content: Content::Bind { source: source.into(), depth, within: None },
        attributes,
        propagation: None,
        ids: MountIds::ContainerWherePossible,
        copy_up: CopyUp::No,
    }
}

/// A standard mount as it suits the container's namespaces. The kernel makes `proc`, `sysfs` and `mqueue` only for the owner of
/// the namespace that they show. Who has ids of its own and not that namespace gets the host's, taken outside, where they have
/// a place in the tree.
fn suited(mut mount: MountPoint, config: &Config, namespaces: &[Namespace]) -> Option<MountPoint> {
    let is_new = |kind: Kind| namespaces.iter().any(|namespace| namespace.kind == kind && namespace.source == Source::New);
    let with_others = |kind: Kind| is_new(Kind::User) && !is_new(kind);
    match mount.target.as_str() {
        "/proc" if with_others(Kind::Pid) => return Some(of_host(mount)),
        "/proc" => option(&mut mount, "hidepid", config.hidepid.map(|hidepid| hidepid.to_string())),
        "/sys" if with_others(Kind::Net) => return Some(of_host(mount)),
        "/dev/shm" if config.namespaces.of(Kind::Ipc) == Whose::Host => return Some(of_host(mount)),
        "/dev/shm" => option(&mut mount, "size", config.shm_bytes.map(|bytes| bytes.to_string())),
        // The system calls of message queues need no place in the tree.
        "/dev/mqueue" if with_others(Kind::Ipc) => return None,
        _ => {}
    }
    Some(mount)
}

fn of_host(mount: MountPoint) -> MountPoint {
    let MountPoint { target, attributes, .. } = mount;
    MountPoint { ids: MountIds::AsTheyAre, ..bind(&target, &target, Depth::One, attributes) }
}

fn option(mount: &mut MountPoint, key: &str, value: Option<String>) {
    if let (Content::New { options, .. }, Some(value)) = (&mut mount.content, value) {
        options.retain(|(known, _)| known != key);
        options.push((key.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use belljar_model::{ContainerId, State, Wanted};

    use super::*;

    fn spec(json: &str) -> Spec {
        let config = format!(r#"{{"name":"web","image":"host","command":["sh"]{json}}}"#);
        let container = Container {
            id: ContainerId::from_bytes([1; 32]),
            config: serde_json::from_str(&config).expect("a config"),
            state: State::Creating,
            wanted: Wanted::Running,
            uid_base: Some(1 << 30),
            without_ids: None,
            image_digest: None,
            created_at_ms: 0,
            started_at_ms: None,
            init: None,
            monitor: None,
            exit: None,
            restarts: 0,
        };
        let instance = Instance { name: "test".into(), folders: Folders { data_dir: "/data".into(), run_dir: "/run/test".into() } };
        let joined = BTreeMap::from([("db".to_owned(), Joined { pid: 42, uid_base: Some(7 << 16) })]);
        Spec::of(&container, &Around { image: &[], instance: &instance, joined, devices: Vec::new(), disks: Vec::new(), project: None }, 1)
            .expect("a spec")
    }

    fn source(spec: &Spec, kind: Kind) -> Option<String> {
        spec.namespace(kind).map(|namespace| match &namespace.source {
            Source::New => "new".to_owned(),
            Source::Path { path, .. } => path.display().to_string(),
        })
    }

    fn content(spec: &Spec, target: &str) -> Option<String> {
        let mount = spec.mounts.iter().find(|mount| mount.target == target)?;
        Some(match &mount.content {
            Content::Bind { source, .. } => format!("bind {}", source.display()),
            Content::New { kind, options, .. } => options.iter().fold(kind.clone(), |all, (key, value)| format!("{all} {key}={value}")),
            _ => "other".to_owned(),
        })
    }

    #[test]
    fn everything_is_its_own_where_nothing_was_asked() {
        let spec = spec("");
        for kind in [Kind::User, Kind::Mnt, Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::Cgroup] {
            assert_eq!(source(&spec, kind).as_deref(), Some("new"), "{kind:?}");
        }
        assert_eq!(source(&spec, Kind::Time), None);
        assert_eq!((spec.process.capabilities.bounding.len(), spec.process.no_new_privileges), (14, true));
        assert!(!spec.masked_paths.is_empty() && spec.process.seccomp.is_some());
    }

    #[test]
    fn the_hosts_are_left_out_and_what_shows_them_is_taken_outside() {
        let spec = spec(r#","namespaces":{"net":"host","pid":"host","ipc":"host","uts":"host"}"#);
        for kind in [Kind::Net, Kind::Pid, Kind::Ipc, Kind::Uts] {
            assert_eq!(source(&spec, kind), None, "{kind:?}");
        }
        for target in ["/proc", "/sys", "/dev/shm"] {
            assert_eq!(content(&spec, target), Some(format!("bind {target}")));
        }
        assert_eq!((content(&spec, "/dev/mqueue"), spec.hostname), (None, None));
    }

    #[test]
    fn with_the_hosts_ids_it_makes_its_own_views_of_what_it_shares() {
        let spec = spec(r#","namespaces":{"net":"host","pid":"host","user":"host"},"hidepid":2,"shm_bytes":4096"#);
        assert_eq!((source(&spec, Kind::User), spec.ids.clone()), (None, None));
        assert_eq!(content(&spec, "/proc").as_deref(), Some("proc hidepid=2"));
        assert_eq!(content(&spec, "/sys").as_deref(), Some("sysfs"));
        assert!(content(&spec, "/dev/shm").is_some_and(|shm| shm.contains("size=4096")));
    }

    #[test]
    fn joining_is_by_the_files_of_the_other_ones_first_process() {
        let spec = spec(r#","namespaces":{"ipc":"container:db","net":"path:/run/netns/lab","time":"container:gone"}"#);
        assert_eq!(source(&spec, Kind::Ipc).as_deref(), Some("/proc/42/ns/ipc"));
        assert_eq!(source(&spec, Kind::User).as_deref(), Some("/proc/42/ns/user"));
        assert_eq!(source(&spec, Kind::Net).as_deref(), Some("/run/netns/lab"));
        assert_eq!(source(&spec, Kind::Time).as_deref(), Some("/proc/0/ns/time"), "which no process has");
        assert_eq!(spec.ids, Some(IdMaps::of_range(7 << 16, IDS)));
    }

    #[test]
    fn a_profile_of_ones_own_is_refused_by_the_field_that_is_wrong() {
        let config = |profile: &str| {
            let json = format!(r#"{{"name":"web","image":"host","command":["sh"],"security":{{"seccomp":{profile}}}}}"#);
            serde_json::from_str::<Config>(&json).expect("a config")
        };
        assert_eq!(check_filter(&config(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)), Ok(()));
        let wrong = check_filter(&config(r#"{"defaultAction":"SCMP_ACT_SOMETIMES"}"#)).map_err(|invalid| invalid.field);
        assert_eq!(wrong, Err("security.seccomp.defaultAction".into()));
    }

    #[test]
    fn an_exec_is_the_containers_own_process_but_for_what_was_asked() {
        let spec = spec(r#","env":{"A":"1","B":"2"},"workdir":"/srv","umask":"077""#);
        let (command, env) = (vec!["id".to_owned()], BTreeMap::from([("B".to_owned(), "3".to_owned())]));
        let mut asked = belljar_model::exec::Exec { command, env, user: None, workdir: None, time_limit_ms: 1 };
        let first = ProcessRef { pid: 7, start_ticks: 8 };
        let process = Exec::of(&spec, first, &asked).process;
        assert_eq!((process.variable("A"), process.variable("B"), process.workdir.as_str()), (Some("1"), Some("3"), "/srv"));
        let restored = Process { arguments: spec.process.arguments.clone(), environment: spec.process.environment.clone(), ..process };
        assert_eq!(restored, spec.process, "nothing else differs: filter, capabilities, labels, limits");
        asked.user = "33".parse().ok();
        asked.workdir = Some("/tmp".into());
        let process = Exec::of(&spec, first, &asked).process;
        assert!(matches!(process.user, User::LookUp { user: Some(_), .. }) && process.workdir == "/tmp");
    }

    #[test]
    fn each_protection_is_loosened_by_itself() {
        let open = spec(r#","security":{"seccomp":"unconfined","system_paths":"unconfined","new_privileges":"allowed"}"#);
        assert_eq!((open.process.seccomp.is_some(), open.process.no_new_privileges), (false, false));
        assert!(open.masked_paths.is_empty() && open.readonly_paths.is_empty());
        let capable = spec(r#","security":{"capabilities":{"drop":["ALL"],"add":["NET_ADMIN"]}}"#);
        assert_eq!(capable.process.capabilities, Capabilities::only(&["NET_ADMIN"]));
        let set =
            spec(r#","ulimits":{"nofile":{"soft":5,"hard":null}},"umask":"077","nice":3,"oom_score_adj":9,"time_offsets":{"boottime":-4}"#);
        assert_eq!(set.process.rlimits, [Rlimit { resource: "NOFILE".into(), soft: 5, hard: u64::MAX }]);
        assert_eq!((set.process.umask, set.process.oom_score_adj), (Some(0o77), Some(9)));
        assert_eq!(source(&set, Kind::Time).as_deref(), Some("new"), "clocks that are set off are its own");
    }
}
