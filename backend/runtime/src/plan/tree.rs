//! The order of the steps of the file system: what is made outside and handed over, and how the tree is put together inside.

use std::path::PathBuf;

use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use belljar_model::namespace::Kind;

use crate::cgroup::Hierarchies;
use crate::plan::Parts;
use crate::spec::{Access, Attribute, Content, Depth, Device, DeviceKind, MountIds, MountPoint, Propagation, Spec, Tree};
use crate::stack;
use crate::step::TreeStep;
use crate::step::tree::{Bind, CgroupLayout, Missing, NewMount, Otherwise, Owners, Peers, Way};

/// The standard devices (`runtime-spec`, *Default Devices*), with their numbers.
const DEVICES: [(&str, u32, u32); 6] =
    [("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0)];

/// Paths of the standard devices.
pub(crate) fn standard_devices() -> impl Iterator<Item = &'static str> {
    DEVICES.iter().map(|(path, _, _)| *path)
}

/// File systems whose files SELinux labels by a rule of its own, whatever a mount asks for.
const LABELLED_BY_KERNEL: [&str; 4] = ["proc", "sysfs", "mqueue", "cgroup2"];

/// Files of `/proc` over which something may be mounted: what programs like lxcfs give each container its own figures in.
/// All else below `/proc` is the kernel's word, and stays it.
pub(crate) const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
];

/// All steps of the file system, by when they are taken.
pub(super) fn parts(spec: &Spec, hierarchies: &Hierarchies) -> Result<Parts<TreeStep>, Invalid> {
    for (index, mount) in spec.mounts.iter().enumerate() {
        check(spec, mount).map_err(|problem| Invalid::new(format!("mounts[{index}]"), problem))?;
    }
    super::sysctl::check(spec)?;
    let owners = match &spec.ids {
        Some(ids) => ids.root_uid().map_or(Owners::AsTheyAre, Owners::Mapped),
        None => Owners::AsTheyAre,
    };
    let mut parts = Parts::default();
    if let Tree::Overlay(root) = &spec.root.tree {
        let (upper, work) = (root.upper.clone(), root.work.clone());
        parts.first.extend(root.limit.map(|limit| TreeStep::LimitLayer { upper, work, limit }));
        let layer = root.spanning.first().cloned().unwrap_or_default();
        parts.first.push(TreeStep::FillInitLayer { layer, hostname: spec.hostname.clone() });
    }
    let cgroups = Cgroups::of(spec, hierarchies);
    parts.made_outside = taken_steps(spec, owners, &cgroups);
    let mounts = parts.made_outside.iter().map(handed_over).sum();
    parts.made_outside.push(TreeStep::HandOver { mounts });
    parts.before_root = vec![TreeStep::MakeMountsPrivate, TreeStep::AttachRoot { staging: spec.state_dir.clone() }];
    parts.inside = inside_steps(spec, &cgroups);
    parts.shared.extend((peers(spec) == Peers::Hosts).then_some(TreeStep::ShareWithHost));
    // Late: a terminal becomes /dev/console, and hooks may add to what is there.
    parts.pivot = sealed(&spec.mounts, &cgroups).cloned().map(TreeStep::SealMount).chain([TreeStep::Pivot]).collect();
    parts.pivot.extend(sysctls(spec));
    // After the pivot: a root that is shared cannot be pivoted to.
    parts.pivot.extend(spec.root.propagation.map(TreeStep::PropagateRoot));
    if spec.root.access == Access::ReadOnly {
        parts.pivot.push(TreeStep::SealRoot);
        parts.pivot.extend(grafted(spec).map(TreeStep::SealGraft));
    }
    Ok(parts)
}

/// Kernel parameters, once the root is the container's.
pub(super) fn sysctls(spec: &Spec) -> impl Iterator<Item = TreeStep> {
    let set = |(name, value): (&String, &String)| {
        let path = super::sysctl::path(name);
        TreeStep::SetSysctl { name: name.clone(), path, value: value.clone() }
    };
    spec.sysctls.iter().map(set)
}

/// Places of layers that are mounts of their own, where nobody asked for something else at just that place.
fn grafted(spec: &Spec) -> impl Iterator<Item = String> {
    let mounts = if let Tree::Overlay(root) = &spec.root.tree { stack::mounts(root) } else { Vec::new() };
    let places = mounts.into_iter().skip(1).map(|mount| format!("/{}", mount.at));
    places.filter(|place| !spec.mounts.iter().any(|mount| tidied(&mount.target) == tidied(place)))
}

fn check(spec: &Spec, mount: &MountPoint) -> Result<(), String> {
    let target = tidied(&mount.target);
    let is_proc = |content: &Content| match content {
        Content::New { kind, .. } => kind == "proc",
        // What is bound there is looked at once it is open.
        Content::Bind { .. } | Content::Change { .. } => true,
        Content::Cgroup => false,
    };
    if target == "/" && !matches!(mount.content, Content::Change { .. }) {
        return Err("/: the root is not mounted over; what it is says root".to_owned());
    }
    if target == "/proc" && !is_proc(&mount.content) {
        return Err("/proc: nothing but a procfs may be mounted there".to_owned());
    }
    if target.starts_with("/proc/") && !COVERABLE.contains(&target.as_str()) && !matches!(mount.content, Content::Change { .. }) {
        return Err(format!("{target}: below /proc only some files may be mounted over"));
    }
    if matches!(mount.ids, MountIds::Container(_)) && !spec.has_own_users() {
        return Err(format!(
            "{target}: its owners cannot be mapped, as the container has no user namespace and the mount no ids of its own"
        ));
    }
    Ok(())
}

/// A path without empty names and `.`, and with `..` resolved as names, which is how a person means it.
pub(crate) fn tidied(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

fn handed_over(step: &TreeStep) -> usize {
    match step {
        TreeStep::TakeCgroups { folders, .. } => folders.len(),
        _ => 1,
    }
}

/// What is mounted below a shared mount is the host's to see only where the whole tree is to be shared, and never out of a user
/// namespace.
fn peers(spec: &Spec) -> Peers {
    let is_shared = matches!(spec.root.propagation, Some(Propagation::Shared | Propagation::RShared));
    if is_shared && spec.namespace(Kind::User).is_none() { Peers::Hosts } else { Peers::Own }
}

/// What is made outside and hung inside: the root before all, then what is grafted into it, then what was asked for.
fn taken_steps(spec: &Spec, owners: Owners, cgroups: &Cgroups) -> Vec<TreeStep> {
    let mut steps: Vec<TreeStep> = match &spec.root.tree {
        Tree::Overlay(root) => stack::mounts(root).into_iter().map(|mount| TreeStep::Overlay { mount, owners }).collect(),
        Tree::Folder(folder) => vec![TreeStep::TakeRoot { folder: folder.clone(), propagation: spec.root.propagation }],
    };
    steps.extend(spec.mounts.iter().filter_map(|mount| match &mount.content {
        Content::Bind { source, depth, within } => Some(TreeStep::TakeBind(Bind {
            source: source.clone(),
            within: within.clone(),
            target: mount.target.clone(),
            depth: *depth,
            attributes: mount.attributes.clone(),
            // Without a word of its own it learns what the root does.
            propagation: mount.propagation.or(spec.root.propagation),
            peers: peers(spec),
            ids: mount.ids.clone(),
        })),
        Content::Cgroup => {
            let is_closed = mount.attributes.set.contains(&Attribute::ReadOnly);
            let access = if is_closed { Access::ReadOnly } else { Access::ReadWrite };
            Some(TreeStep::TakeCgroups { folders: cgroups.folders.clone(), access })
        }
        Content::New { kind, .. } if is_hosts_sysfs(spec, kind) => Some(TreeStep::TakeBind(hosts_sysfs(mount))),
        Content::New { .. } | Content::Change { .. } => None,
    }));
    steps
}

/// Everything in the new root, while the host's `/proc`, `/sys` and `/dev` are still there: the kernel lets a user namespace
/// mount its own `proc` and `sysfs` only beside ones that hide nothing.
fn inside_steps(spec: &Spec, cgroups: &Cgroups) -> Vec<TreeStep> {
    let mut steps = Vec::new();
    // Numbered as they were handed over: the root is number 0.
    let mut next_mount = 1;
    let mut number = |count: usize| {
        next_mount += count;
        next_mount - count
    };
    if let Tree::Overlay(root) = &spec.root.tree {
        for grafted in stack::mounts(root).iter().skip(1) {
            let target = format!("/{}", grafted.at);
            steps.push(TreeStep::Attach { target, mount: number(1), missing: Missing::Folder });
        }
    }
    for mount in &spec.mounts {
        let target = mount.target.clone();
        steps.push(match &mount.content {
            Content::Bind { .. } => TreeStep::Attach { target, mount: number(1), missing: Missing::Alike },
            Content::New { kind, .. } if is_hosts_sysfs(spec, kind) => {
                TreeStep::Attach { target, mount: number(1), missing: Missing::Alike }
            }
            Content::New { kind, source, options } => TreeStep::Mount(NewMount {
                kind: kind.clone(),
                source: source.clone(),
                target,
                options: labelled(spec, kind, options),
                attributes: mount.attributes.clone(),
                propagation: mount.propagation,
                copy_up: mount.copy_up,
                otherwise: otherwise(spec, kind),
            }),
            Content::Change { options } => {
                let (attributes, options) = (mount.attributes.clone(), options.clone());
                TreeStep::ChangeMount { target, options, attributes, propagation: mount.propagation }
            }
            Content::Cgroup => {
                let (mount, attributes) = (number(cgroups.folders.len()), mount.attributes.clone());
                TreeStep::AttachCgroups { target, mount, layout: cgroups.layout.clone(), attributes }
            }
        });
    }
    steps.extend(device_steps(spec));
    // While no mask is there: a user namespace may mount another procfs only beside one that hides nothing.
    steps.extend((!spec.sysctls.is_empty()).then_some(TreeStep::OpenProc));
    steps.extend(spec.readonly_paths.iter().cloned().map(TreeStep::MakeReadOnly));
    steps.extend(spec.masked_paths.iter().cloned().map(TreeStep::Mask));
    steps
}

/// What a file system is told: what was asked, and the SELinux label of the container's files.
fn labelled(spec: &Spec, kind: &str, options: &[(String, String)]) -> Vec<(String, String)> {
    let label = spec.mount_label.iter().filter(|_| !LABELLED_BY_KERNEL.contains(&kind));
    options.iter().cloned().chain(label.map(|label| ("context".to_owned(), label.clone()))).collect()
}

/// A user namespace may not mount a sysfs of a network that is the host's. So the host's own is taken, with the host's rights:
/// alone, without the cgroups and all else that is mounted below it.
fn is_hosts_sysfs(spec: &Spec, kind: &str) -> bool {
    kind == "sysfs" && spec.has_own_users() && spec.namespace(Kind::Net).is_none()
}

fn hosts_sysfs(mount: &MountPoint) -> Bind {
    let mut attributes = mount.attributes.clone();
    attributes.set.insert(Attribute::ReadOnly);
    let (source, target) = (PathBuf::from("/sys"), mount.target.clone());
    Bind { source, within: None, target, depth: Depth::One, attributes, propagation: None, peers: Peers::Own, ids: MountIds::AsTheyAre }
}

/// Some file systems show a namespace, and may only be mounted by whom that belongs to. Where the container shares the host's,
/// the host's own mount shows just the same; where it joined somebody else's, it would show too much.
fn otherwise(spec: &Spec, kind: &str) -> Otherwise {
    let shown = match kind {
        "proc" => Kind::Pid,
        "sysfs" => Kind::Net,
        "mqueue" => Kind::Ipc,
        _ => return Otherwise::Fail,
    };
    if spec.namespace(shown).is_none() { Otherwise::BindHosts } else { Otherwise::Fail }
}

/// Targets of tmpfs that are to be read-only: mount points and devices are made in them first.
fn sealed<'a>(mounts: &'a [MountPoint], cgroups: &Cgroups) -> impl Iterator<Item = &'a String> {
    let is_filled = |content: &Content| match content {
        Content::New { kind, .. } => kind == "tmpfs",
        Content::Cgroup => matches!(cgroups.layout, CgroupLayout::Several { .. }),
        Content::Bind { .. } | Content::Change { .. } => false,
    };
    let is_sealed = move |mount: &&MountPoint| mount.attributes.set.contains(&Attribute::ReadOnly) && is_filled(&mount.content);
    mounts.iter().filter(is_sealed).map(|mount| &mount.target)
}

/// Nothing is made in a `/dev` that is the host's own.
fn device_steps(spec: &Spec) -> Vec<TreeStep> {
    let is_hosts = |mount: &MountPoint| matches!(mount.content, Content::Bind { .. }) && tidied(&mount.target) == "/dev";
    if spec.mounts.iter().any(is_hosts) {
        return Vec::new();
    }
    let way = if spec.namespace(Kind::User).is_some() { Way::Bound } else { Way::Made };
    let standard = DEVICES.map(|(path, major, minor)| Device {
        path: path.to_owned(),
        kind: DeviceKind::Character,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    });
    // What was asked for stands over the standard one of the same name.
    let is_asked = |device: &Device| spec.devices.iter().any(|asked| tidied(&asked.path) == device.path);
    let standard = standard.into_iter().filter(|device| !is_asked(device));
    let placed = |device: Device| {
        let way = if device.kind == DeviceKind::Fifo { Way::Made } else { way };
        TreeStep::PlaceDevice { device, way }
    };
    standard.chain(spec.devices.iter().cloned()).map(placed).chain([TreeStep::LinkDevices]).collect()
}

/// The container's own folder in every hierarchy, and how they lie in the container.
struct Cgroups {
    folders: Vec<PathBuf>,
    layout: CgroupLayout,
}

impl Cgroups {
    fn of(spec: &Spec, hierarchies: &Hierarchies) -> Self {
        let folders = spec.cgroup.cgroup(hierarchies).parts().iter().map(|part| part.path.clone()).collect();
        if let [only] = hierarchies.all()
            && only.version == Version::V2
        {
            return Self { folders, layout: CgroupLayout::Single };
        }
        let name_of = |point: &std::path::Path| point.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut links = Vec::new();
        for hierarchy in hierarchies.all().iter().filter(|hierarchy| hierarchy.version == Version::V1) {
            let folder = name_of(&hierarchy.point);
            let others = hierarchy.controllers.iter().filter(|controller| **controller != folder);
            links.extend(others.map(|controller| (controller.clone(), folder.clone())));
        }
        let names = hierarchies.all().iter().map(|hierarchy| name_of(&hierarchy.point)).collect();
        Self { folders, layout: CgroupLayout::Several { names, links } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Hierarchy;

    #[test]
    fn paths_are_compared_without_what_means_nothing() {
        assert_eq!(tidied("//proc/./sys/../"), "/proc");
        assert_eq!(tidied("/../.."), "/");
        assert_eq!(tidied("dev"), "/dev");
    }

    #[test]
    fn controllers_that_share_a_hierarchy_are_linked_to_its_folder() {
        let v1 = |point: &str, controllers: &[&str]| Hierarchy {
            version: Version::V1,
            point: point.into(),
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        };
        let hierarchies = Hierarchies::of_list(vec![v1("/cg/cpu,cpuacct", &["cpu", "cpuacct"]), v1("/cg/memory", &["memory"])]);
        let spec = crate::plan::tests::spec(r#"{"name":"web","image":"host","command":["sh"]}"#, None);
        let layout = Cgroups::of(&spec, &hierarchies).layout;
        let links = ["cpu", "cpuacct"].map(|name| (name.to_owned(), "cpu,cpuacct".to_owned())).to_vec();
        assert_eq!(layout, CgroupLayout::Several { names: vec!["cpu,cpuacct".into(), "memory".into()], links });
    }

    #[test]
    fn the_hosts_own_is_bound_only_where_the_namespace_that_it_shows_is_shared() {
        let mut spec = crate::plan::tests::spec(r#"{"name":"web","image":"host","command":["sh"]}"#, Some(1 << 29));
        assert_eq!(otherwise(&spec, "sysfs"), Otherwise::Fail);
        spec.namespaces.retain(|namespace| namespace.kind != Kind::Net);
        assert_eq!(otherwise(&spec, "sysfs"), Otherwise::BindHosts);
        assert_eq!(otherwise(&spec, "tmpfs"), Otherwise::Fail);
        let source = crate::spec::Source::Path { path: "/proc/7/ns/net".into(), inode: None };
        spec.namespaces.push(crate::spec::Namespace { kind: Kind::Net, source });
        assert_eq!(otherwise(&spec, "sysfs"), Otherwise::Fail, "somebody else's would show the host's");
    }
}
