//! What is mounted in a container: the kernel's table of its first process, each line beside what the spec asked for there.
//!
//! What a container named is shown as it is named: the kernel writes blanks and line ends of paths as octal digits, and here they are
//! letters again. Nothing here opens a path of the container.

use std::collections::VecDeque;

use belljar_linux::mountinfo::{self, Extent};
use belljar_linux::process;
use belljar_model::container::{Config, ProcessRef};
use belljar_model::mounted::{Mount, Mounted, Mounts, Origin};
use belljar_model::{mount, size};

use crate::plan::{standard_devices, tidied};
use crate::spec::{Access, Attribute, Content, MountPoint, Spec, Tree};
use crate::stack;

/// Most bytes that are read of a table: some 40,000 mounts, of which an ordinary container has 40.
const TABLE_BYTES_MAX: u64 = 4 << 20;
/// Most mounts that are told of one container.
const MOUNTS_MAX: usize = 4096;

/// What a spec asks for at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    target: String,
    origin: Origin,
    text: String,
}

/// What is mounted in the container whose first process this is; without one, what will be mounted.
pub fn of(spec: &Spec, config: &Config, init: Option<ProcessRef>) -> belljar_linux::Result<Mounts> {
    let asked = asked(spec, config);
    let Some(init) = init else {
        let mounts = asked.into_iter().map(|asked| asked.with(None)).collect();
        return Ok(Mounts { source: None, complete: true, mounts });
    };
    let (table, extent) = mountinfo::read_of(init.pid, TABLE_BYTES_MAX)?;
    // Its number may be another process's by now, whose table is nobody's business here.
    drop(process::open(init.pid, init.start_ticks)?);
    let is_whole = extent == Extent::Whole && table.len() <= MOUNTS_MAX;
    let mut mounts = beside(asked, table);
    mounts.truncate(MOUNTS_MAX);
    Ok(Mounts { source: Some(format!("/proc/{}/mountinfo", init.pid)), complete: is_whole, mounts })
}

impl Asked {
    fn new(target: &str, origin: Origin, text: impl Into<String>) -> Self {
        Self { target: tidied(target), origin, text: text.into() }
    }

    fn with(self, kernel: Option<Mount>) -> Mounted {
        let Self { target, origin, text } = self;
        Mounted { target, origin, asked: text, kernel }
    }
}

/// Each line of the table with what was asked for at its place; what is not in the table comes last.
fn beside(asked: Vec<Asked>, table: Vec<mountinfo::Mount>) -> Vec<Mounted> {
    let mut left: VecDeque<Asked> = asked.into();
    let cgroups = left.iter().find(|asked| asked.origin == Origin::Cgroup).cloned();
    let mut mounts: Vec<Mounted> = table
        .into_iter()
        .map(|line| {
            let point = line.point.to_string_lossy().into_owned();
            let is_cgroup = line.filesystem.starts_with("cgroup");
            let kernel = Some(told(line));
            // Where two lie upon each other, the kernel tells them in the order in which they were made.
            if let Some(asked) = left.iter().position(|asked| asked.target == point).and_then(|index| left.remove(index)) {
                return asked.with(kernel);
            }
            // Each hierarchy has a folder below the one that was asked for.
            let of_cgroups = |asked: &&Asked| is_cgroup && point.strip_prefix(&asked.target).is_some_and(|rest| rest.starts_with('/'));
            match cgroups.as_ref().filter(of_cgroups) {
                Some(asked) => Mounted { target: point, ..asked.clone().with(kernel) },
                None => Asked { target: point, origin: Origin::Other, text: String::new() }.with(kernel),
            }
        })
        .collect();
    // With ids of its own a container cannot have nodes, and gets the host's devices bound; without, they are no mounts.
    let are_bound = mounts.iter().any(|mount| mount.origin == Origin::Device);
    let is_missed = |asked: &Asked| match asked.origin {
        // What is not there needs no protection, and cgroups are told by hierarchy.
        Origin::Masked | Origin::Readonly | Origin::Cgroup => false,
        Origin::Device => are_bound,
        Origin::Overlay | Origin::Bind | Origin::Volume | Origin::Tmpfs | Origin::Standard | Origin::Other => true,
    };
    mounts.extend(left.into_iter().filter(is_missed).map(|asked| asked.with(None)));
    mounts
}

fn told(line: mountinfo::Mount) -> Mount {
    let mountinfo::Mount { id, root, attributes, propagation, filesystem, source, options, point: _ } = line;
    Mount {
        id,
        filesystem,
        device: source,
        root: root.to_string_lossy().into_owned(),
        options: attributes,
        filesystem_options: options,
        propagation: if propagation.is_empty() { "private".to_owned() } else { propagation.join(" ") },
    }
}

/// What a spec asks for, in the order in which it is mounted.
fn asked(spec: &Spec, config: &Config) -> Vec<Asked> {
    let mut all = roots(spec);
    all.extend(spec.mounts.iter().filter_map(|mount| point(mount, config)));
    let devices = config.devices.iter().map(|device| device.path.as_ref().unwrap_or(&device.source).clone());
    let devices: Vec<String> = devices.collect();
    let standard = standard_devices().filter(|path| !devices.iter().any(|device| tidied(device) == *path));
    all.extend(standard.map(|path| Asked::new(path, Origin::Device, "the host's, which every container has")));
    all.extend(devices.iter().map(|path| Asked::new(path, Origin::Device, "a device that was asked for")));
    all.extend(spec.readonly_paths.iter().map(|path| Asked::new(path, Origin::Readonly, "cannot be written to")));
    all.extend(spec.masked_paths.iter().map(|path| Asked::new(path, Origin::Masked, "reads as empty")));
    all
}

fn roots(spec: &Spec) -> Vec<Asked> {
    let access = if spec.root.access == Access::ReadOnly { ", read-only" } else { "" };
    match &spec.root.tree {
        Tree::Folder(folder) => vec![Asked::new("/", Origin::Overlay, format!("the folder {}{access}", folder.display()))],
        Tree::Overlay(tree) => {
            let layers = |mount: &stack::OverlayMount| format!("its own layer over {} more{access}", mount.lower.len());
            stack::mounts(tree).iter().map(|mount| Asked::new(&format!("/{}", mount.at), Origin::Overlay, layers(mount))).collect()
        }
    }
}

fn point(mount: &MountPoint, config: &Config) -> Option<Asked> {
    let target = tidied(&mount.target);
    let by_person = config.mounts.iter().find(|asked| asked.target().map(tidied).as_ref() == Some(&target));
    // A standard mount lies over what a person put at the same place.
    if let Some(asked) = by_person.filter(|_| !is_standard(&target)) {
        return person(asked).map(|(origin, text)| Asked { target, origin, text });
    }
    let (origin, text) = match &mount.content {
        Content::Change { .. } => return None,
        Content::Cgroup => {
            let access = if mount.attributes.set.contains(&Attribute::ReadOnly) { ", read-only" } else { "" };
            (Origin::Cgroup, format!("its own cgroup{access}"))
        }
        Content::Bind { .. } => (Origin::Standard, "the host's own, whose namespace it shares".to_owned()),
        Content::New { kind, .. } => (Origin::Standard, format!("a new {kind}")),
    };
    Some(Asked { target, origin, text })
}

fn is_standard(target: &str) -> bool {
    crate::spec::standard_mounts().iter().any(|mount| mount.target == target)
}

/// What a person asked for, in their words.
fn person(asked: &mount::Mount) -> Option<(Origin, String)> {
    let more = |readonly: &bool| {
        let access = if *readonly { ", read-only" } else { "" };
        let idmap = asked.idmap().map(|idmap| format!(", ids {idmap}")).unwrap_or_default();
        format!("{access}{idmap}")
    };
    Some(match asked {
        mount::Mount::Bind { source, readonly, .. } => (Origin::Bind, format!("{source} of the host{}", more(readonly))),
        mount::Mount::Volume(volume) => {
            let name = volume.source.as_ref().map_or("of its own", |name| name.short());
            let part = volume.subpath.as_ref().map(|path| format!(", of it {path}")).unwrap_or_default();
            (Origin::Volume, format!("the volume {name}{part}{}", more(&volume.readonly)))
        }
        mount::Mount::Tmpfs { size_bytes, .. } => {
            let most = size::display(size_bytes.unwrap_or(mount::TMPFS_SIZE_BYTES_DEFAULT));
            (Origin::Tmpfs, format!("in memory, at most {most}"))
        }
        mount::Mount::Layer { .. } | mount::Mount::Image { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a container with ids of its own and a volume has it; a program in it mounted something of its own.
    const TABLE: &str = r"600 500 0:90 / / rw,relatime - overlay overlay rw,lowerdir+=/a,upperdir=/b
601 600 8:1 /volumes/pg/data /data rw,nosuid - ext4 /dev/sda1 rw
602 600 0:91 / /proc rw,nosuid - proc proc rw
603 602 0:92 / /proc/kcore ro - tmpfs tmpfs ro
604 600 0:93 / /dev rw - tmpfs tmpfs rw
605 604 0:6 /null /dev/null rw - devtmpfs devtmpfs rw
606 600 0:32 /belljar/1 /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory
607 600 0:94 / /mnt/my\040own\012folder rw - tmpfs tmpfs rw,size=64k
608 601 0:95 / /data rw - tmpfs over rw";

    fn spec(mounts: &str) -> (Spec, Config) {
        let json = format!(r#"{{"name":"web","image":"host","command":["sh"],"mounts":{mounts}}}"#);
        let config: Config = serde_json::from_str(&json).expect("a config");
        (crate::plan::tests::spec(&json, Some(1 << 29)), config)
    }

    const MOUNTS: &str = r#"[{"type":"volume","source":"pg","target":"/data","readonly":true},{"type":"tmpfs","target":"/tmp/"},
        {"type":"bind","source":"/srv/db","target":"/srv","idmap":"1000:1000"}]"#;

    fn table() -> Vec<Mounted> {
        let (spec, config) = spec(MOUNTS);
        beside(asked(&spec, &config), TABLE.split('\n').filter_map(mountinfo::parse).collect())
    }

    fn at<'a>(mounts: &'a [Mounted], target: &str) -> &'a Mounted {
        mounts.iter().find(|mount| mount.target == target).unwrap_or_else(|| panic!("{target} in {mounts:#?}"))
    }

    #[test]
    fn every_line_of_the_kernel_stands_beside_what_was_asked_for() {
        let mounts = table();
        let told = |target: &str| (at(&mounts, target).origin, at(&mounts, target).asked.as_str());
        assert_eq!(told("/data"), (Origin::Volume, "the volume pg, read-only"));
        assert_eq!(told("/proc"), (Origin::Standard, "a new proc"));
        assert_eq!(told("/proc/kcore"), (Origin::Masked, "reads as empty"));
        assert_eq!(told("/dev/null"), (Origin::Device, "the host's, which every container has"));
        assert_eq!(told("/sys/fs/cgroup/memory"), (Origin::Cgroup, "its own cgroup, read-only"));
        assert_eq!(told("/").0, Origin::Overlay);
        let volume = at(&mounts, "/data").kernel.as_ref().expect("the kernel has it");
        assert_eq!((volume.id, volume.device.as_str(), volume.root.as_str()), (601, "/dev/sda1", "/volumes/pg/data"));
        assert_eq!(at(&mounts, "/sys/fs/cgroup/memory").kernel.as_ref().expect("it").propagation, "shared:9");
    }

    #[test]
    fn what_nobody_asked_for_is_told_by_its_whole_name_and_as_nobodys() {
        let mounts = table();
        assert_eq!(at(&mounts, "/mnt/my own\nfolder").origin, Origin::Other);
        let upon: Vec<Origin> = mounts.iter().filter(|mount| mount.target == "/data").map(|mount| mount.origin).collect();
        assert_eq!(upon, [Origin::Volume, Origin::Other], "the second one lies over the first");
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_is_told_too() {
        let mounts = table();
        let srv = at(&mounts, "/srv");
        assert_eq!((srv.origin, srv.asked.as_str(), &srv.kernel), (Origin::Bind, "/srv/db of the host, ids 1000:1000", &None));
        assert_eq!((at(&mounts, "/tmp").origin, &at(&mounts, "/tmp").kernel), (Origin::Tmpfs, &None));
        assert!(mounts.iter().all(|mount| mount.kernel.is_some() || mount.origin != Origin::Masked), "nothing there to mask");
    }

    #[test]
    fn a_container_at_rest_says_what_will_be_mounted() {
        let (spec, config) = spec(MOUNTS);
        let mounts = of(&spec, &config, None).expect("nothing is read");
        assert_eq!((mounts.source, mounts.complete), (None, true));
        assert_eq!(at(&mounts.mounts, "/tmp").asked, "in memory, at most 64 MiB");
        assert!(mounts.mounts.iter().all(|mount| mount.kernel.is_none()));
        for target in ["/", "/proc", "/dev/pts", "/dev/null", "/proc/kcore", "/sys/fs/cgroup"] {
            at(&mounts.mounts, target);
        }
    }

    #[test]
    fn the_table_of_a_process_is_read_and_of_another_one_with_its_number_not() {
        let (spec, config) = spec("[]");
        let pid = std::process::id() as i32;
        let start_ticks = process::start_ticks(pid).expect("it lives");
        let mounts = of(&spec, &config, Some(ProcessRef { pid, start_ticks })).expect("a table");
        assert_eq!(mounts.source, Some(format!("/proc/{pid}/mountinfo")));
        assert!(at(&mounts.mounts, "/").kernel.is_some());
        assert!(of(&spec, &config, Some(ProcessRef { pid, start_ticks: start_ticks + 1 })).is_err());
    }
}
