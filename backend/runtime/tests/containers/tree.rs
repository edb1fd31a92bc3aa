//! The tree of a container, as its program sees it, and what a hostile one cannot make of it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use belljar_model::namespace::Kind;
use belljar_runtime::spec::landlock::{FileAccess, Landlock, PathRule};
use belljar_runtime::spec::options::Entry;
use belljar_runtime::spec::{
    Access, DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS, Device, DeviceKind, IdMap, IdMaps, MountPoint, Propagation, Source,
};

use crate::bed::{Bed, UID_BASE};

/// What an entry of a bundle's `mounts` asks for.
fn entry(target: &str, kind: &str, source: &Path, options: &str) -> Entry {
    Entry {
        target: target.into(),
        kind: Some(kind.into()),
        source: Some(source.display().to_string()),
        options: options.split_ascii_whitespace().map(str::to_owned).collect(),
        maps: None,
    }
}

fn bind(target: &str, source: &Path, options: &str) -> MountPoint {
    entry(target, "bind", source, options).mount_point().expect("a mount")
}

/// With ids of its own.
fn with_users(bed: &mut Bed) {
    bed.namespace(Kind::User, Some(Source::New));
    bed.spec.ids = Some(IdMaps::of_range(UID_BASE, 65_536));
    // Its root makes the mount points, so its root folder is that one's.
    std::os::unix::fs::chown(bed.path("rootfs"), Some(UID_BASE), Some(UID_BASE)).expect("an owner");
}

/// A folder of the host beside the root, open to all.
fn folder(bed: &Bed, name: &str) -> std::path::PathBuf {
    let path = bed.path(name);
    std::fs::create_dir_all(&path).expect("a folder");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

pub(crate) fn files_and_sockets_and_devices_are_bound_as_what_they_are() {
    let script = "cat /file; test -S /socket && echo socket; echo gone > /null && echo null; test -d /deep/er/folder && echo folder";
    let Some(mut bed) = Bed::of(script) else { return };
    let source = folder(&bed, "source");
    std::fs::write(source.join("file"), "content\n").expect("a file");
    let _listener = std::os::unix::net::UnixListener::bind(source.join("socket")).expect("a socket");
    for (target, from) in [("/file", source.join("file")), ("/socket", source.join("socket")), ("/null", "/dev/null".into())] {
        bed.spec.mounts.push(bind(target, &from, "bind ro rprivate"));
    }
    bed.spec.mounts.push(bind("/deep/er/folder", &source, "rbind"));
    assert_eq!(bed.output(), "content\nsocket\nnull\nfolder\n");
}

pub(crate) fn owners_are_shown_as_was_asked_and_nothing_on_disk_changes() {
    let script = "for at in plain mapped other; do stat -c %u:%g /$at/file; done; echo made > /mapped/made; stat -c %u /all/below";
    let Some(mut bed) = Bed::of(script) else { return };
    with_users(&mut bed);
    let source = folder(&bed, "source");
    folder(&bed, "source/below");
    std::fs::write(source.join("file"), "").expect("a file");
    let map = |outside| vec![IdMap { inside: 0, outside, count: 10 }];
    let maps = IdMaps { uids: map(UID_BASE + 7), gids: map(UID_BASE + 8) };
    bed.spec.mounts.extend([
        bind("/plain", &source, "bind"),
        bind("/mapped", &source, "bind idmap"),
        bind("/all", &source, "rbind ridmap"),
        Entry { maps: Some(maps), ..entry("/other", "bind", &source, "bind") }.mount_point().expect("a mount"),
    ]);
    assert_eq!(bed.output(), "65534:65534\n0:0\n7:8\n0\n");
    let made = std::fs::metadata(source.join("made")).expect("a file");
    assert_eq!((made.uid(), made.gid()), (0, 0), "what its root makes is root's on disk");
}

pub(crate) fn what_cannot_show_other_owners_is_named() {
    let Some(mut bed) = Bed::of("true") else { return };
    with_users(&mut bed);
    bed.spec.mounts.push(bind("/host", Path::new("/proc/sys"), "bind idmap"));
    let failure = bed.run().failure();
    assert!(failure.contains("/proc/sys, which lies on a file system") && failure.contains("EINVAL"), "{failure}");
    let mut possible = bind("/host", Path::new("/proc/sys"), "bind ro");
    possible.ids = belljar_runtime::spec::MountIds::ContainerWherePossible;
    *bed.spec.mounts.last_mut().expect("a mount") = possible;
    let outcome = bed.run();
    assert_eq!(outcome.status(), 0);
    assert!(outcome.steps().iter().any(|step| step.contains("cannot map owners")), "{:#?}", outcome.steps());
}

pub(crate) fn without_a_network_of_its_own_sys_is_the_hosts_and_read_only() {
    let Some(mut bed) =
        Bed::of("test -d /sys/class && echo there; ls /sys/fs/cgroup; echo x > /sys/kernel/mm/transparent_hugepage/enabled || echo kept")
    else {
        return;
    };
    with_users(&mut bed);
    bed.namespace(Kind::Net, None);
    bed.spec.mounts.retain(|mount| mount.target != "/sys/fs/cgroup");
    let outcome = bed.run();
    let written = bed.written();
    // The shell says why it could not write, and nothing else is said: nothing of the host's is mounted below.
    assert!(written.starts_with("there\n") && written.ends_with("kept\n") && written.lines().count() == 3, "{written}");
    assert!(outcome.steps().iter().any(|step| step == "take /sys for /sys, read-only"), "{:#?}", outcome.steps());
}

pub(crate) fn terminals_have_no_group_where_the_container_has_no_id_for_it() {
    let Some(mut bed) = Bed::of("stat -c %g /dev/pts; grep -c devpts /proc/self/mountinfo") else { return };
    with_users(&mut bed);
    let map = vec![IdMap { inside: 0, outside: UID_BASE, count: 4 }];
    bed.spec.ids = Some(IdMaps { uids: map.clone(), gids: map });
    let outcome = bed.run();
    assert_eq!(bed.written(), "0\n1\n");
    assert!(outcome.steps().iter().any(|step| step.contains("without its group")), "{:#?}", outcome.steps());
}

pub(crate) fn its_own_cgroup_is_there_in_every_hierarchy_and_cannot_be_written_to() {
    let script = "cd /sys/fs/cgroup; for file in $(ls -d */tasks */cgroup.procs cgroup.procs 2>/dev/null); do \
        grep -q . $file && echo own; echo 0 2>/dev/null > $file && echo written; done; \
        ls /sys/fs/cgroup/*/release_agent 2>/dev/null; mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; true";
    for users in [false, true] {
        let Some(mut bed) = Bed::of(script) else { return };
        if users {
            with_users(&mut bed);
        }
        let text = bed.output();
        assert!(text.lines().count() > 0 && text.lines().all(|line| line == "own"), "{text}");
    }
}

pub(crate) fn what_is_masked_reads_as_nothing_and_what_is_protected_stays() {
    let script = "for path in /proc/kcore /proc/keys /proc/timer_list; do test -e $path && cat $path | head -c 1; done; \
        test -d /proc/scsi && ls /proc/scsi; test -d /sys/firmware && ls /sys/firmware; \
        for path in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger; do \
        test -e $path && echo x 2>/dev/null > $path && echo written $path; done; echo end";
    for users in [false, true] {
        let Some(mut bed) = Bed::of(script) else { return };
        if users {
            with_users(&mut bed);
        }
        std::fs::remove_file(bed.path("rootfs/bin/head")).ok();
        symlink("busybox", bed.path("rootfs/bin/head")).expect("a link");
        bed.spec.masked_paths = DEFAULT_MASKED_PATHS.map(str::to_owned).to_vec();
        bed.spec.readonly_paths = DEFAULT_READONLY_PATHS.map(str::to_owned).to_vec();
        assert_eq!(bed.output(), "end\n");
    }
}

pub(crate) fn a_read_only_root_is_complete_before_it_is_read_only() {
    let script = "echo x 2>/dev/null > /file && echo written; echo x > /tmp/file && echo kept; test -c /dev/null && echo device; \
        echo x 2>/dev/null > /dev/file || echo sealed";
    let Some(mut bed) = Bed::of(script) else { return };
    bed.spec.root.access = Access::ReadOnly;
    bed.spec.mounts.push(entry("/tmp", "tmpfs", Path::new("tmpfs"), "mode=1777").mount_point().expect("a mount"));
    for mount in bed.spec.mounts.iter_mut().filter(|mount| mount.target == "/dev") {
        mount.attributes.set.insert(belljar_runtime::spec::Attribute::ReadOnly);
    }
    assert_eq!(bed.output(), "kept\ndevice\nsealed\n");
}

pub(crate) fn propagation_of_the_root_is_as_asked() {
    let line = "grep ' / r' /proc/self/mountinfo";
    for (propagation, word) in [(None, ""), (Some(Propagation::RShared), "shared:"), (Some(Propagation::Unbindable), "unbindable")] {
        let Some(mut bed) = Bed::of(line) else { return };
        bed.spec.root.propagation = propagation;
        let text = bed.output();
        let has = |word: &str| text.contains(word);
        assert_eq!((has("shared:"), has("unbindable")), (word == "shared:", word == "unbindable"), "{text}");
        // A root cannot be the peer of the host's own mount, and where that is shared it is below it.
        assert!(word == "shared:" || !has("master:"), "{text}");
    }
}

pub(crate) fn kernel_parameters_are_the_containers_own_or_refused_by_name() {
    for users in [false, true] {
        let Some(mut bed) = Bed::of("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax") else { return };
        if users {
            with_users(&mut bed);
        }
        bed.spec.readonly_paths = DEFAULT_READONLY_PATHS.map(str::to_owned).to_vec();
        let set = [("net.ipv4.ip_forward", "1"), ("kernel/msgmax", "4242")];
        bed.spec.sysctls = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(bed.output(), "1\n4242\n");
        bed.spec.sysctls.insert("kernel.core_pattern".into(), "x".into());
        assert!(bed.run().failure().contains("kernel.core_pattern: is the host's"), "{}", bed.run().failure());
        bed.spec.sysctls = [("net.ipv4.surely_unknown".to_owned(), "1".to_owned())].into();
        assert!(bed.run().failure().contains("net.ipv4.surely_unknown"), "{}", bed.run().failure());
    }
}

pub(crate) fn a_program_under_landlock_reaches_what_was_named_and_nothing_else() {
    if belljar_linux::landlock::abi().is_err() {
        return println!("skipped: needs Landlock");
    }
    let script = "cat /etc/passwd > /dev/null && echo read; echo x 2>/dev/null > /etc/new || echo kept; \
        echo x > /tmp/new && echo written; cat /work/secret 2>/dev/null || echo shut; ls /proc 2>/dev/null > /dev/null || echo proc shut";
    let Some(mut bed) = Bed::of(script) else { return };
    std::fs::write(bed.path("rootfs/work/secret"), "told").expect("a file");
    let rule = |path: &str, access: &[FileAccess]| PathRule { path: path.into(), access: access.iter().copied().collect() };
    use FileAccess::{Execute, Read, Write};
    let paths = vec![rule("/bin", &[Read, Execute]), rule("/etc", &[Read]), rule("/tmp", &[Read, Write]), rule("/dev", &[Read, Write])];
    bed.spec.process.landlock = Some(Landlock { paths, ..Landlock::default() });
    assert_eq!(bed.output(), "read\nkept\nwritten\nshut\nproc shut\n");
    let landlock = bed.spec.process.landlock.as_mut().expect("rules");
    landlock.paths.push(rule("/missing", &[Read]));
    let failure = bed.run().failure();
    assert!(failure.contains("Landlock") && failure.contains("/missing"), "{failure}");
    bed.spec.process.no_new_privileges = false;
    assert!(bed.run().failure().contains("no_new_privileges"), "{}", bed.run().failure());
}

pub(crate) fn a_label_of_a_module_that_the_host_does_not_have_is_an_error() {
    if belljar_linux::label::active() != belljar_linux::label::Active::default() {
        return println!("skipped: needs a kernel without AppArmor and SELinux");
    }
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.process.apparmor = Some("docker-default".into());
    assert!(bed.run().failure().contains("AppArmor profile docker-default"), "{}", bed.run().failure());
    bed.spec.process.apparmor = None;
    bed.spec.mount_label = Some("system_u:object_r:container_file_t:s0:c1,c2".into());
    assert!(bed.run().failure().contains("context"), "{}", bed.run().failure());
}

/// A folder of the host that a root leads to, and that must not change.
fn canary(bed: &Bed) -> std::path::PathBuf {
    let canary = folder(bed, "canary");
    std::fs::write(canary.join("null"), "untouched").expect("a file");
    canary
}

fn untouched(canary: &Path) {
    let names: Vec<_> = std::fs::read_dir(canary).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["null"], "something was made outside");
    let file = canary.join("null");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "untouched");
    assert_eq!(std::fs::metadata(&file).expect("a file").uid(), 0);
}

pub(crate) fn a_root_whose_own_folders_are_links_is_refused_and_harms_nothing() {
    for name in ["proc", "sys", "dev"] {
        for with_mounts in [true, false] {
            for users in [false, true] {
                let Some(mut bed) = Bed::of("true") else { return };
                let canary = canary(&bed);
                std::fs::remove_dir(bed.path("rootfs").join(name)).expect("a folder");
                symlink(&canary, bed.path("rootfs").join(name)).expect("a link");
                if users {
                    with_users(&mut bed);
                }
                if !with_mounts {
                    bed.spec.mounts.clear();
                }
                // Without mounts nothing is at /proc and /sys; devices are made all the same.
                if with_mounts || name == "dev" {
                    let failure = bed.run().failure();
                    assert!(failure.contains("ELOOP") || failure.contains("ENOENT"), "{name}: {failure}");
                }
                untouched(&canary);
            }
        }
    }
}

pub(crate) fn files_planted_in_a_dev_without_a_mount_are_not_taken_for_devices() {
    let script = "stat -c %t:%T /dev/null /dev/full; readlink /dev/ptmx; readlink /dev/fd";
    let Some(mut bed) = Bed::of(script) else { return };
    bed.spec.mounts.retain(|mount| !mount.target.starts_with("/dev"));
    assert_eq!(bed.output(), "1:3\n1:7\npts/ptmx\n/proc/self/fd\n");
    let null = bed.path("rootfs/dev/null");
    std::fs::remove_file(&null).expect("a device");
    std::fs::write(&null, "planted").expect("a file");
    assert!(bed.run().failure().contains("not device 1:3"), "{}", bed.run().failure());
    std::fs::remove_file(&null).expect("a file");
    symlink("/proc/sys/kernel/core_pattern", &null).expect("a link");
    assert!(bed.run().failure().contains("/dev/null"), "{}", bed.run().failure());
}

pub(crate) fn devices_that_were_asked_for_are_there_with_mode_and_owner() {
    let Some(mut bed) = Bed::of("stat -c '%t:%T %a %u:%g' /dev/sub/mine /dev/null; test -p /dev/pipe && echo pipe") else { return };
    let device = |path: &str, kind, (major, minor)| Device { path: path.into(), kind, major, minor, mode: 0o640, uid: 3, gid: 4 };
    bed.spec.devices = vec![
        device("/dev/sub/mine", DeviceKind::Character, (1, 5)),
        device("/dev/null", DeviceKind::Character, (1, 3)),
        device("/dev/pipe", DeviceKind::Fifo, (0, 0)),
    ];
    assert_eq!(bed.output(), "1:5 640 3:4\n1:3 640 3:4\npipe\n");
    with_users(&mut bed);
    bed.spec.devices[0].path = "/dev/zero".into();
    bed.spec.devices.truncate(1);
    bed.spec.process.arguments[2] = "stat -c %t:%T /dev/zero".into();
    assert!(bed.output().ends_with("1:5\n"));
}

pub(crate) fn containers_that_share_a_volume_cannot_lead_each_others_mounts_out_of_it() {
    let Some(mut bed) = Bed::of("true") else { return };
    let (canary, volume) = (canary(&bed), folder(&bed, "volume"));
    folder(&bed, "volume/folder");
    symlink(&canary, volume.join("link")).expect("a link");
    bed.spec.mounts.push(bind("/volume", &volume, "rbind"));
    bed.spec.mounts.push(entry("/volume/folder/deep/er", "tmpfs", Path::new("tmpfs"), "").mount_point().expect("a mount"));
    bed.spec.masked_paths = vec!["/volume/folder/null".into(), "/volume/folder".into()];
    bed.spec.readonly_paths = vec!["/volume/folder".into()];
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, raced) = (stop.clone(), volume.clone());
    let racer = std::thread::spawn(move || {
        let mut rounds = 0u64;
        let folder = belljar_linux::tree::root(&raced).expect("a folder");
        while !told.load(std::sync::atomic::Ordering::Relaxed) {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            rounds += u64::from(rustix::fs::renameat_with(&folder, "folder", &folder, "link", exchange).is_ok());
        }
        rounds
    });
    let until = std::time::Instant::now() + std::time::Duration::from_secs(4);
    let (mut runs, mut made) = (0, 0);
    while std::time::Instant::now() < until || runs <= 10 {
        made += u32::from(bed.run().status == Some(0));
        runs += 1;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let rounds = racer.join().expect("a racer");
    assert!(rounds > 1000 && runs > 10, "a race that nobody ran proves nothing: {rounds} exchanges, {runs} runs, {made} made");
    untouched(&canary);
}

pub(crate) fn processes_of_others_are_hidden_where_that_is_asked() {
    let Some(mut bed) = Bed::of("grep -c hidepid=invisible /proc/self/mountinfo; ls -d /proc/1 2>/dev/null || echo hidden") else { return };
    let proc = bed.spec.mounts.iter_mut().find(|mount| mount.target == "/proc").expect("a proc");
    if let belljar_runtime::spec::Content::New { options, .. } = &mut proc.content {
        options.push(("hidepid".into(), "invisible".into()));
    }
    assert_eq!(bed.output(), "1\n/proc/1\n", "its own root may see all");
    bed.spec.first = belljar_runtime::spec::First::Init;
    bed.spec.process.user = belljar_runtime::spec::User::Ids { uid: 33, gid: 34, groups: Vec::new() };
    // The minimal init ran as root before it became the user's; what it is now is for procfs to judge.
    assert!(bed.output().starts_with("1\n"));
}
