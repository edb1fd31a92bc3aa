//! Trees put together for real, each on a thread with a mount namespace of its own, and attacked. Whatever a tree holds,
//! nothing outside of it changes.

mod devices;
mod race;

use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use belljar_linux::mount::{self, Attributes};
use belljar_linux::{namespace, tree};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Inside, Outside};
use crate::spec::options::Entry;
use crate::spec::{Access, Content, CopyUp, Device, DeviceKind, Propagation};
use crate::step::TreeStep;
use crate::step::tree::{Bind, CgroupLayout, Missing, NewMount, Otherwise, Peers, Way};

/// A folder that becomes a root, and one beside it that must never change.
struct Scene {
    root: tempfile::TempDir,
    staging: tempfile::TempDir,
    canary: tempfile::TempDir,
    inside: Inside,
    outside: Outside,
}

/// Runs on a thread with mounts of its own. Where that is not permitted, the test is skipped.
fn with_tree(prepare: impl FnOnce(&Scene) + Send + 'static, body: impl FnOnce(&mut Scene) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = namespace::unshare_mounts() {
            return println!("skipped: needs a mount namespace ({error})");
        }
        mount::make_all_private().unwrap();
        let folder = || tempfile::tempdir().unwrap();
        let mut scene =
            Scene { root: folder(), staging: folder(), canary: folder(), inside: Inside::default(), outside: Outside::default() };
        std::fs::write(scene.canary.path().join("file"), "untouched").unwrap();
        let before = seen(scene.canary.path());
        prepare(&scene);
        scene.outside.take(&TreeStep::TakeRoot { folder: scene.root.path().into(), propagation: None }).unwrap();
        scene.hand_over();
        scene.inside.take(&TreeStep::AttachRoot { staging: scene.staging.path().into() }).unwrap();
        body(&mut scene);
        if scene.canary.path().exists() {
            assert_eq!(seen(scene.canary.path()), before, "something outside of the tree changed");
        }
    });
    thread.join().unwrap();
}

/// All that could be seen to change of a folder: names, content, owners, modes, times.
fn seen(folder: &Path) -> Vec<(PathBuf, String, u32, u32, i64)> {
    let line = |path: PathBuf| {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        (path, content, metadata.mode(), metadata.uid(), metadata.mtime())
    };
    let mut lines: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| line(entry.unwrap().path())).collect();
    lines.push(line(folder.into()));
    lines.sort();
    lines
}

impl Scene {
    fn hand_over(&mut self) {
        self.inside.mounts.extend(self.outside.mounts.drain(..).map(Some));
    }

    fn path(&self, path: &str) -> PathBuf {
        self.staging.path().join(path)
    }

    /// Does what an entry of a bundle asks for.
    fn mount(&mut self, target: &str, kind: &str, source: &Path, options: &str) -> Result<(), Errno> {
        let entry = Entry {
            target: target.into(),
            kind: Some(kind.into()),
            source: Some(source.display().to_string()),
            options: options.split_ascii_whitespace().map(str::to_owned).collect(),
            maps: None,
        };
        let point = entry.mount_point().unwrap();
        let (target, attributes, propagation) = (point.target, point.attributes, point.propagation);
        let step = match point.content {
            Content::Bind { source, depth, within } => {
                let bind =
                    Bind { source, within, target: target.clone(), depth, attributes, propagation, peers: Peers::Own, ids: point.ids };
                self.outside.take(&TreeStep::TakeBind(bind)).map_err(|error| error.errno)?;
                self.hand_over();
                TreeStep::Attach { target, mount: self.inside.mounts.len() - 1, missing: Missing::Alike }
            }
            Content::New { kind, source, options } => TreeStep::Mount(NewMount {
                kind,
                source,
                target,
                options,
                attributes,
                propagation,
                copy_up: point.copy_up,
                otherwise: Otherwise::Fail,
            }),
            Content::Change { options } => TreeStep::ChangeMount { target, options, attributes, propagation },
            Content::Cgroup => panic!("asked for by its own step"),
        };
        self.inside.take(&step).map_err(|error| error.errno)
    }

    fn bind(&mut self, target: &str, source: &Path, options: &str) -> Result<(), Errno> {
        self.mount(target, "bind", source, options)
    }

    fn tmpfs(&mut self, target: &str, options: &str) -> Result<(), Errno> {
        self.mount(target, "tmpfs", Path::new("tmpfs"), options)
    }
}

/// Attributes of the mount at a path, as the kernel tells them.
fn flags(path: &Path) -> rustix::fs::StatVfsMountFlags {
    rustix::fs::statvfs(path).unwrap().f_flag
}

use rustix::fs::StatVfsMountFlags as Flags;

#[test]
fn mounts_come_out_as_their_options_say() {
    with_tree(
        |_| {},
        |scene| {
            scene.tmpfs("/t", "size=64k,mode=711 nosuid nodev noexec noatime").unwrap();
            let path = scene.path("t");
            assert!(flags(&path).contains(Flags::NOSUID | Flags::NODEV | Flags::NOEXEC | Flags::NOATIME));
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o711);
            assert!(std::fs::write(path.join("big"), vec![0; 100_000]).is_err(), "64 KiB was asked for");
            scene.mount("/t", "none", Path::new("none"), "remount bind ro exec strictatime").unwrap();
            assert!(flags(&path).contains(Flags::RDONLY | Flags::NOSUID) && !flags(&path).intersects(Flags::NOEXEC | Flags::NOATIME));
            scene.mount("/t", "tmpfs", Path::new("none"), "remount size=1m").unwrap();
            scene.mount("/t", "none", Path::new("none"), "remount bind rw").unwrap();
            std::fs::write(path.join("big"), vec![0; 100_000]).unwrap();
            assert!(scene.mount("/not/there", "none", Path::new("none"), "remount bind ro").is_err());
            assert!(scene.tmpfs("/t", "surely_unknown=1").is_err(), "what the file system does not know is refused by it");
        },
    );
}

#[test]
fn attributes_with_an_r_hold_for_what_is_mounted_below_and_others_do_not() {
    with_tree(
        |_| {},
        |scene| {
            let source = tempfile::tempdir().unwrap();
            std::fs::create_dir(source.path().join("below")).unwrap();
            let below = mount::new_filesystem("tmpfs", &[], Attributes::MOUNT_ATTR_NODEV).unwrap();
            mount::attach(&below, tree::root(&source.path().join("below")).unwrap()).unwrap();
            scene.bind("/plain", source.path(), "rbind ro").unwrap();
            scene.bind("/all", source.path(), "rbind rro rnosuid").unwrap();
            scene.bind("/one", source.path(), "bind").unwrap();
            assert!(flags(&scene.path("plain")).contains(Flags::RDONLY) && !flags(&scene.path("plain/below")).contains(Flags::RDONLY));
            assert!(flags(&scene.path("all/below")).contains(Flags::RDONLY | Flags::NOSUID | Flags::NODEV));
            assert!(!flags(&scene.path("one/below")).contains(Flags::NODEV), "what is mounted below was not asked for");
            assert!(!flags(source.path()).contains(Flags::RDONLY), "the host's own mount is as it was");
        },
    );
}

#[test]
fn what_the_host_mounts_later_comes_in_only_where_that_was_asked_for() {
    with_tree(
        |_| {},
        |scene| {
            let source = tempfile::tempdir().unwrap();
            let shared = mount::new_filesystem("tmpfs", &[], Attributes::empty()).unwrap();
            mount::attach(&shared, tree::root(source.path()).unwrap()).unwrap();
            mount::change(&shared, &mount::Change::propagating(mount::Propagation::Shared), mount::Depth::One).unwrap();
            std::fs::create_dir(source.path().join("later")).unwrap();
            scene.bind("/nobody", source.path(), "rbind").unwrap();
            scene.bind("/private", source.path(), "rbind rprivate").unwrap();
            scene.bind("/slave", source.path(), "rbind rslave").unwrap();
            scene.bind("/shared", source.path(), "rbind rshared").unwrap();
            let later = mount::new_filesystem("tmpfs", &[], Attributes::empty()).unwrap();
            mount::attach(&later, tree::root(&source.path().join("later")).unwrap()).unwrap();
            std::fs::write(source.path().join("later/here"), "").unwrap();
            let comes = |name: &str| scene.path(name).join("later/here").exists();
            assert_eq!(["nobody", "private", "slave", "shared"].map(comes), [false, false, true, true]);
            // And the other way: only what is shared lets something out.
            let from_slave = mount::new_filesystem("tmpfs", &[("mode", mount::Value::Text("700"))], Attributes::empty()).unwrap();
            std::fs::create_dir(source.path().join("out")).unwrap();
            mount::attach(&from_slave, tree::root(&scene.path("slave/out")).unwrap()).unwrap();
            assert_ne!(std::fs::metadata(source.path().join("out")).unwrap().mode() & 0o777, 0o700, "a slave lets nothing out");
        },
    );
}

#[test]
fn a_link_of_the_tree_leads_no_mount_out_of_it() {
    with_tree(
        |scene| {
            symlink(scene.canary.path(), scene.root.path().join("out")).unwrap();
            symlink("../../../../../../../..", scene.root.path().join("up")).unwrap();
            symlink(scene.canary.path().join("file"), scene.root.path().join("name")).unwrap();
        },
        |scene| {
            let source = tempfile::tempdir().unwrap();
            std::fs::write(source.path().join("own"), "inside").unwrap();
            for target in ["/out/x", "/up/y", "/out"] {
                scene.bind(target, source.path(), "bind").unwrap();
                scene.tmpfs(target, "").unwrap();
            }
            scene.bind("/name", &source.path().join("own"), "bind").unwrap();
            for target in ["/", "/up", "/up/../."] {
                assert_eq!(scene.bind(target, source.path(), "bind"), Err(Errno::BUSY), "{target} is the root itself");
            }
            let inside = scene.path(scene.canary.path().join("file").strip_prefix("/").unwrap().to_str().unwrap());
            // The folder that the link means inside was covered; the file below was made in what covers it.
            assert_eq!(std::fs::read_to_string(inside).unwrap(), "inside");
            assert!(scene.path("y").is_dir(), "above the root is the root");
        },
    );
}

#[test]
fn the_kernels_own_folders_may_not_be_links_nor_files() {
    for name in ["proc", "sys", "dev"] {
        for link in ["/elsewhere", "elsewhere", "../../../tmp"] {
            with_tree(
                move |scene| symlink(link, scene.root.path().join(name)).unwrap(),
                move |scene| {
                    let kind = if name == "sys" { "sysfs" } else { "proc" };
                    assert_eq!(scene.mount(&format!("/{name}"), kind, Path::new(kind), ""), Err(Errno::LOOP));
                    assert_eq!(scene.mount(&format!("/{name}/below"), "tmpfs", Path::new("x"), ""), Err(Errno::LOOP));
                },
            );
        }
        with_tree(
            move |scene| std::fs::write(scene.root.path().join(name), "").unwrap(),
            move |scene| assert!(scene.tmpfs(&format!("/{name}"), "").is_err()),
        );
    }
}

#[test]
fn over_proc_only_some_files_are_mounted_whichever_way_leads_there() {
    with_tree(
        |scene| {
            for (name, to) in [("way", "/proc/sys"), ("other", "/proc"), ("file", "/proc/meminfo"), ("trigger", "/proc/sysrq-trigger")] {
                symlink(to, scene.root.path().join(name)).unwrap();
            }
        },
        |scene| {
            scene.mount("/proc", "proc", Path::new("proc"), "nosuid noexec nodev").unwrap();
            let source = tempfile::tempdir().unwrap();
            let figures = source.path().join("meminfo");
            std::fs::write(&figures, "figures of its own").unwrap();
            for target in ["/proc/sys", "/way", "/way/kernel", "/proc/self", "/other", "/proc", "/proc/1/root"] {
                assert!(scene.bind(target, source.path(), "bind").is_err(), "a folder at {target}");
                assert!(scene.tmpfs(target, "").is_err(), "a tmpfs at {target}");
            }
            for target in ["/proc/sys/kernel/core_pattern", "/trigger", "/proc/sysrq-trigger", "/way/kernel/core_pattern"] {
                assert!(scene.bind(target, &figures, "bind").is_err(), "{target}");
            }
            assert_eq!(scene.bind("/way/kernel/core_pattern", &figures, "bind"), Err(Errno::ACCESS));
            scene.bind("/proc/meminfo", &figures, "bind").unwrap();
            assert_eq!(std::fs::read_to_string(scene.path("proc/meminfo")).unwrap(), "figures of its own");
            scene.bind("/proc", Path::new("/proc"), "bind").unwrap();
            assert!(scene.bind("/proc", Path::new("/proc/sys"), "bind").is_err(), "a part of a procfs is not a procfs");
        },
    );
}

#[test]
fn masks_read_as_nothing_whatever_the_tree_has_as_dev_null() {
    with_tree(
        |scene| {
            std::fs::create_dir_all(scene.root.path().join("dev")).unwrap();
            symlink("/secret", scene.root.path().join("dev/null")).unwrap();
            std::fs::write(scene.root.path().join("secret"), "told").unwrap();
            for folder in ["a", "b"] {
                std::fs::create_dir(scene.root.path().join(folder)).unwrap();
                std::fs::write(scene.root.path().join(folder).join("file"), "").unwrap();
            }
            symlink("/a", scene.root.path().join("link")).unwrap();
        },
        |scene| {
            for path in ["/secret", "/a", "/b", "/not/there", "/secret/below", "/link"] {
                scene.inside.take(&TreeStep::Mask(path.into())).unwrap();
            }
            let masked = std::fs::metadata(scene.path("secret")).unwrap();
            assert!(masked.file_type().is_char_device() && masked.rdev() == rustix::fs::makedev(1, 3));
            assert_eq!(std::fs::read(scene.path("secret")).unwrap(), b"");
            assert_eq!(std::fs::read_dir(scene.path("a")).unwrap().count(), 0);
            assert!(std::fs::write(scene.path("a/new"), "").is_err(), "nothing can be put there");
            let device = |path: &str| std::fs::metadata(scene.path(path)).unwrap().dev();
            assert_eq!(device("a"), device("b"), "one empty folder serves all");
        },
    );
}

#[test]
fn read_only_paths_are_so_with_all_that_is_mounted_below() {
    with_tree(
        |scene| std::fs::create_dir_all(scene.root.path().join("r/below")).unwrap(),
        |scene| {
            scene.tmpfs("/r/below", "").unwrap();
            for path in ["/r", "/not/there"] {
                scene.inside.take(&TreeStep::MakeReadOnly(path.into())).unwrap();
            }
            for path in ["r/x", "r/below/x"] {
                assert_eq!(std::fs::write(scene.path(path), "").unwrap_err().raw_os_error(), Some(30), "{path}");
            }
            scene.tmpfs("/w", "").unwrap();
            scene.inside.take(&TreeStep::SealRoot).unwrap();
            assert!(std::fs::write(scene.path("x"), "").is_err());
            std::fs::write(scene.path("w/x"), "").unwrap();
        },
    );
}

#[test]
fn a_tmpfs_can_be_filled_before_it_is_read_only_and_takes_over_what_it_covers() {
    with_tree(
        |scene| {
            let closed = scene.root.path().join("closed");
            std::fs::create_dir(&closed).unwrap();
            std::fs::write(closed.join("file"), "kept").unwrap();
            std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        },
        |scene| {
            scene.tmpfs("/closed", "tmpcopyup ro").unwrap();
            scene.tmpfs("/closed/below", "").unwrap();
            scene.inside.take(&TreeStep::SealMount("/closed".into())).unwrap();
            assert_eq!(std::fs::read_to_string(scene.path("closed/file")).unwrap(), "kept");
            assert_eq!(std::fs::metadata(scene.path("closed")).unwrap().mode() & 0o7777, 0o700);
            assert!(std::fs::write(scene.path("closed/file"), "x").is_err() && std::fs::write(scene.path("closed/below/x"), "").is_ok());
            assert_eq!(std::fs::read_dir(scene.root.path().join("closed")).unwrap().count(), 1, "the tree itself is as it was");
        },
    );
}

#[test]
fn cgroups_lie_in_the_tree_read_only_with_nothing_above_them() {
    let Ok(hierarchies) = crate::cgroup::Hierarchies::probe() else { return println!("skipped: needs a cgroup hierarchy") };
    with_tree(
        |_| {},
        move |scene| {
            let folders: Vec<PathBuf> = hierarchies.all().iter().map(|hierarchy| hierarchy.point.clone()).collect();
            let names: Vec<String> = (0..folders.len()).map(|index| format!("h{index}")).collect();
            scene.outside.take(&TreeStep::TakeCgroups { folders: folders.clone(), access: Access::ReadOnly }).unwrap();
            scene.hand_over();
            let layout = CgroupLayout::Several { names: names.clone(), links: vec![("cpu".into(), "h0".into())] };
            let attributes = crate::spec::MountAttributes::setting([crate::spec::Attribute::NoExec, crate::spec::Attribute::ReadOnly]);
            scene.inside.take(&TreeStep::AttachCgroups { target: "/sys/fs/cgroup".into(), mount: 1, layout, attributes }).unwrap();
            for (name, folder) in names.iter().zip(&folders) {
                let inside = scene.path("sys/fs/cgroup").join(name);
                assert_eq!(std::fs::metadata(&inside).unwrap().ino(), std::fs::metadata(folder).unwrap().ino());
                assert!(flags(&inside).contains(Flags::RDONLY | Flags::NOSUID | Flags::NOEXEC));
            }
            assert_eq!(std::fs::read_link(scene.path("sys/fs/cgroup/cpu")).unwrap(), Path::new("h0"));
            // Other mounts may follow in it.
            std::fs::create_dir(scene.path("sys/fs/cgroup/later")).unwrap();
            scene.inside.take(&TreeStep::SealMount("/sys/fs/cgroup".into())).unwrap();
            assert!(std::fs::create_dir(scene.path("sys/fs/cgroup/more")).is_err());
        },
    );
}

#[test]
fn a_root_that_is_pivoted_to_shows_nothing_of_the_host() {
    with_tree(
        |scene| std::fs::write(scene.root.path().join("own"), "").unwrap(),
        |scene| {
            let staging = scene.staging.path().to_owned();
            scene.inside.take(&TreeStep::Pivot).unwrap();
            scene.inside.take(&TreeStep::PropagateRoot(Propagation::RShared)).unwrap();
            scene.inside.take(&TreeStep::SealRoot).unwrap();
            assert!(Path::new("/own").exists() && !Path::new("/etc").exists() && !staging.exists());
            assert!(flags(Path::new("/")).contains(Flags::RDONLY));
        },
    );
}

#[test]
fn kernel_parameters_arrive_at_the_kernel_whatever_lies_over_proc() {
    with_tree(
        |_| {},
        |scene| {
            let file = "/proc/sys/kernel/shmmni";
            let value = std::fs::read_to_string(file).unwrap();
            scene.inside.take(&TreeStep::OpenProc).unwrap();
            let fake = mount::new_filesystem("tmpfs", &[], Attributes::empty()).unwrap();
            mount::attach(&fake, tree::root(Path::new("/proc")).unwrap()).unwrap();
            std::fs::create_dir_all("/proc/sys/kernel").unwrap();
            std::fs::write(file, "fake").unwrap();
            let set = |path: &str| TreeStep::SetSysctl { name: path.into(), path: path.into(), value: value.trim().into() };
            scene.inside.take(&set("kernel/shmmni")).unwrap();
            assert_eq!(std::fs::read_to_string(file).unwrap(), "fake", "what lies over it was not written to");
            for path in ["kernel/surely_unknown", "../self/comm", "kernel/../../1/comm"] {
                assert!(scene.inside.take(&set(path)).is_err(), "{path}");
            }
        },
    );
}

#[test]
fn nothing_is_copied_up_where_that_was_not_asked_for() {
    with_tree(
        |scene| {
            std::fs::create_dir(scene.root.path().join("d")).unwrap();
            std::fs::write(scene.root.path().join("d/file"), "").unwrap();
        },
        |scene| {
            scene.tmpfs("/d", "mode=1777").unwrap();
            assert_eq!(std::fs::read_dir(scene.path("d")).unwrap().count(), 0);
            assert_eq!(CopyUp::default(), CopyUp::No);
        },
    );
}
