//! Mounts: what stands where, with which options, in which order, and what a hostile root cannot make of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bed::{Bed, Runtime};
use crate::differences::Difference;

sentences! {
    the_usual_mounts_have_their_options, a_bind_shows_its_source, a_bind_of_a_file_works, options_of_a_bind_hold, a_read_only_bind_is_read_only,
    a_bind_is_recursive_only_when_asked, a_recursive_read_only_bind_reaches_below, mounts_are_made_in_order, missing_targets_are_made,
    a_missing_source_is_refused, a_target_through_a_link_stays_in_the_root, a_target_through_an_absolute_link_stays_in_the_root,
    a_target_with_dots_stays_in_the_root, tmpfs_has_its_size_and_mode, tmpcopyup_copies_what_was_there, a_read_only_root_is_read_only,
    a_writable_root_is_written, propagation_of_the_root_is_as_asked, propagation_of_a_mount_is_as_asked, nothing_propagates_to_the_host,
    what_the_setup_mounts_is_never_the_hosts, what_a_container_mounts_is_the_hosts_only_where_all_is_shared,
    what_the_host_mounts_reaches_a_shared_mount,
    an_unknown_file_system_is_refused, a_relative_source_is_of_the_bundle, a_proc_over_a_link_is_refused, the_old_root_is_gone, a_root_that_is_missing_is_refused,
    an_absolute_root_works, mounts_of_the_host_are_not_seen, processes_of_others_are_hidden_when_asked, the_cgroup_mount_shows_the_own_cgroup,
}

fn bind(source: &std::path::Path, target: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}

/// A folder of the bed with a file in it.
fn folder(bed: &Bed, name: &str) -> std::path::PathBuf {
    fs::create_dir_all(bed.path(name)).unwrap();
    fs::write(bed.path(name).join("file"), name).unwrap();
    bed.path(name)
}

/// The line of the mount table for the uppermost mount at `target`.
fn options(target: &str) -> String {
    format!("awk '$5 == \"{target}\" {{ line = $0 }} END {{ print line }}' /proc/self/mountinfo")
}

fn the_usual_mounts_have_their_options(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for (target, expected) in [
        ("/proc", &["rw,nosuid,nodev,noexec", "proc"][..]),
        ("/dev", &["rw,nosuid", "tmpfs", "size=65536k", "mode=755"]),
        ("/dev/pts", &["nosuid,noexec", "devpts", "gid=5", "mode=620", "ptmxmode=666"]),
        ("/dev/shm", &["nosuid,nodev,noexec", "tmpfs", "size=65536k"]),
        ("/dev/mqueue", &["nosuid,nodev,noexec", "mqueue"]),
        ("/sys", &["ro,nosuid,nodev,noexec", "sysfs"]),
    ] {
        let said = bed.run(&options(target)).line();
        assert!(expected.iter().all(|word| said.contains(word)), "{target}: {said:?}, expected {expected:?}");
    }
}

fn a_bind_shows_its_source(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(bind(&folder(&bed, "data"), "/data", &["bind"]));
    assert_eq!(bed.run("cat /data/file; echo new > /data/new").line(), "data");
    assert_eq!(fs::read_to_string(bed.path("data/new")).unwrap(), "new\n");
}

fn a_bind_of_a_file_works(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(bind(&folder(&bed, "data").join("file"), "/etc/deep/file", &["bind", "ro"]));
    assert_eq!(bed.run("cat /etc/deep/file").line(), "data");
}

fn options_of_a_bind_hold(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let data = folder(&bed, "data");
    bed.mount(bind(&data, "/data", &["bind", "nosuid", "nodev", "noexec", "noatime"]));
    let said = bed.run(&options("/data")).line();
    assert!(said.contains("nosuid,nodev,noexec,noatime"), "{said}");
    fs::copy(bed.root("bin/busybox"), data.join("echo")).unwrap();
    assert!(!bed.run("/data/echo ran").status.success(), "noexec");
}

fn a_read_only_bind_is_read_only(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(bind(&folder(&bed, "data"), "/data", &["rbind", "ro"]));
    let said = bed.run("touch /data/new; mount -o remount,rw,bind /data; touch /data/new2");
    assert!(said.err.contains("Read-only file system"), "{said:?}");
    assert_eq!(fs::read_dir(bed.path("data")).unwrap().count(), 1);
}

/// A folder with a tmpfs of its own below it, in `inner`. It goes with the bed.
fn nested(bed: &Bed) -> std::path::PathBuf {
    let data = folder(bed, "data");
    fs::create_dir(data.join("inner")).unwrap();
    let nothing = None::<&str>;
    nix::mount::mount(Some("tmpfs"), &data.join("inner"), Some("tmpfs"), nix::mount::MsFlags::empty(), nothing).unwrap();
    fs::write(data.join("inner/file"), "inner").unwrap();
    data
}

fn a_bind_is_recursive_only_when_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let data = nested(&bed);
    bed.mount(bind(&data, "/flat", &["bind"])).mount(bind(&data, "/deep", &["rbind"]));
    assert_eq!(bed.run("cat /flat/inner/file 2>/dev/null || echo none; cat /deep/inner/file").line(), "none\ninner");
}

fn a_recursive_read_only_bind_reaches_below(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let data = nested(&bed);
    bed.mount(bind(&data, "/ro", &["rbind", "ro"])).mount(bind(&data, "/rro", &["rbind", "rro"]));
    let said = bed.run(
        "touch /ro/inner/a && echo shallow; touch /rro/inner/b 2>/dev/null && echo writable; touch /rro/b 2>/dev/null && echo top; true",
    );
    let expected = "shallow";
    assert_eq!(said.line(), expected);
}

fn mounts_are_made_in_order(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let (one, two) = (folder(&bed, "one"), folder(&bed, "two"));
    bed.mount(bind(&one, "/data", &["bind"])).mount(json!({"destination": "/data/below", "type": "tmpfs", "source": "tmpfs"}));
    bed.mount(bind(&one, "/over", &["bind"])).mount(bind(&two, "/over", &["bind"]));
    assert_eq!(bed.run("cat /data/file /over/file; grep -q ' /data/below ' /proc/self/mountinfo && echo below").ok(), "onetwobelow\n");
}

fn missing_targets_are_made(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let data = folder(&bed, "data");
    bed.mount(bind(&data, "/a/b/c", &["bind"])).mount(bind(&data.join("file"), "/a/f", &["bind"]));
    assert_eq!(bed.run("cat /a/b/c/file; cat /a/f").ok(), "datadata");
    assert!(bed.root("a/b/c").is_dir() && bed.root("a/f").is_file());
}

fn a_missing_source_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["bind"]}));
    let said = bed.run("true").refused();
    assert!(said.contains("/no/such/source"), "{said}");
    bed.assert_nothing_left();
}

/// A folder beside the root that must stay as it is, and a link in the root that leads there.
fn link_to_canary(bed: &Bed, link: &str) -> std::path::PathBuf {
    let canary = folder(bed, "canary");
    symlink(&canary, bed.root("link")).unwrap();
    symlink(format!("../../{link}canary"), bed.root("up")).unwrap();
    canary
}

fn assert_untouched(canary: &std::path::Path) {
    let names: Vec<_> = fs::read_dir(canary).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"], "nothing was made in the canary");
    assert_eq!(fs::metadata(canary).unwrap().mode() & 0o7777, 0o755);
}

fn a_target_through_a_link_stays_in_the_root(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let canary = link_to_canary(&bed, "");
    bed.mount(json!({"destination": "/up/made", "type": "tmpfs", "source": "tmpfs"}));
    let said = bed.run("grep -q ' /canary/made ' /proc/self/mountinfo && echo inside");
    assert_untouched(&canary);
    if said.status.success() {
        assert_eq!(said.line(), "inside");
    }
}

fn a_target_through_an_absolute_link_stays_in_the_root(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let canary = link_to_canary(&bed, "");
    bed.mount(json!({"destination": "/link/made/deep", "type": "tmpfs", "source": "tmpfs"}));
    let said = bed.run(&format!("grep -q ' {}/made/deep ' /proc/self/mountinfo && echo inside", canary.display()));
    assert_untouched(&canary);
    if bed.differs(Difference::DanglingLink) {
        said.refused();
        return;
    }
    assert_eq!(said.line(), "inside", "the link leads to the same name below the root");
}

fn a_target_with_dots_stays_in_the_root(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let canary = folder(&bed, "canary");
    bed.mount(json!({"destination": "/../../canary/made", "type": "tmpfs", "source": "tmpfs"}));
    let said = bed.run("grep -q ' /canary/made ' /proc/self/mountinfo && echo inside");
    assert_untouched(&canary);
    if said.status.success() {
        assert_eq!(said.line(), "inside");
    }
}

fn tmpfs_has_its_size_and_mode(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(
        json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=1700", "uid=5", "nr_inodes=9"]}),
    );
    let said = bed.run("stat -c '%a %u' /t; df -k /t | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; dd if=/dev/zero of=/t/x bs=64k count=32 2>&1 | grep -c 'No space'").ok();
    assert_eq!(said, "1700 5\n1024\n1\n");
}

fn tmpcopyup_copies_what_was_there(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::create_dir_all(bed.root("data/deep")).unwrap();
    fs::write(bed.root("data/deep/file"), "kept").unwrap();
    symlink("deep/file", bed.root("data/link")).unwrap();
    bed.mount(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "mode=755"]}));
    assert_eq!(
        bed.run("cat /data/link; echo changed > /data/deep/file; grep -q ' /data ' /proc/self/mountinfo && echo ' tmpfs'").line(),
        "kept tmpfs"
    );
    assert_eq!(fs::read_to_string(bed.root("data/deep/file")).unwrap(), "kept");
}

fn a_read_only_root_is_read_only(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["root"]["readonly"] = json!(true));
    let said = bed.run("touch /new; mkdir /etc/new; echo x > /dev/shm/x && echo shm");
    assert_eq!((said.out.as_str(), said.err.matches("Read-only file system").count()), ("shm\n", 2), "{said:?}");
    assert!(!bed.root("new").exists());
}

fn a_writable_root_is_written(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.run("echo x > /new").ok();
    assert_eq!(fs::read_to_string(bed.root("new")).unwrap(), "x\n");
}

/// The optional fields (shared, master, unbindable) of a mount, without the numbers.
fn propagation(target: &str) -> String {
    let fields = "{ all = \"\"; for (i = 7; $i != \"-\"; i++) all = all \" \" $i } END { print all }";
    format!("awk '$5 == \"{target}\" {fields}' /proc/self/mountinfo | tr -d '0-9:'")
}

fn propagation_of_the_root_is_as_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let of_root = |asked: &str| {
        bed.configure(|config| config["linux"]["rootfsPropagation"] = json!(asked));
        bed.run(&propagation("/"))
    };
    assert!(!bed.run(&propagation("/")).line().contains("shared"), "never shared with the host by itself");
    assert_eq!(of_root("private").line(), "");
    assert!(of_root("shared").line().contains("shared") || bed.differs(Difference::SharedRoot));
    let said = of_root("nonsense");
    assert!(!said.status.success() || bed.differs(Difference::LoosePropagation), "{said:?}");
}

fn propagation_of_a_mount_is_as_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let data = folder(&bed, "data");
    for (name, option) in [("private", ""), ("shared", "shared"), ("rshared", "shared"), ("unbindable", "unbindable")] {
        bed.mount(bind(&data, &format!("/{name}"), &["bind", name]));
        let said = bed.run(&propagation(&format!("/{name}"))).line();
        assert!(said == option || bed.differs(Difference::RecursiveShared), "{name}: {said}");
    }
}

fn nothing_propagates_to_the_host(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(bind(&folder(&bed, "data"), "/data", &["rbind"]));
    bed.sleeping();
    bed.end();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(bed.id()), "{table}");
}

/// A folder of the host on which mounts are shared with whoever has a copy of it, with another such mount below.
struct SharedFolder {
    path: PathBuf,
}

impl SharedFolder {
    fn new(bed: &Bed) -> Self {
        let path = folder(bed, "shared");
        let below = path.join("below");
        fs::create_dir_all(path.join("d")).unwrap();
        fs::create_dir_all(&below).unwrap();
        host(&["mount", "--bind", &path.display().to_string(), &path.display().to_string()]);
        host(&["mount", "-t", "tmpfs", "below", &below.display().to_string()]);
        fs::create_dir(below.join("d")).unwrap();
        for place in [&path, &below] {
            host(&["mount", "--make-shared", &place.display().to_string()]);
        }
        Self { path }
    }

    /// What is mounted below it, seen from the host, but for what was there from the beginning.
    fn seen(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|point| point.starts_with(&self.path) && *point != self.path && *point != self.path.join("below")).collect()
    }
}

/// A program of the host that has to succeed.
fn host(words: &[&str]) {
    let status = std::process::Command::new(words[0]).args(&words[1..]).status().unwrap();
    assert!(status.success(), "{words:?}: {status}");
}

/// What the root may be asked to be, and whether that is shared.
const OF_THE_ROOT: [(Option<&str>, bool); 6] = [
    (None, false),
    (Some("private"), false),
    (Some("rprivate"), false),
    (Some("rslave"), false),
    (Some("shared"), true),
    (Some("rshared"), true),
];

/// A container with a bind of that folder that asks to be shared, and whose program may mount.
fn sharing(bed: &Bed, shared: &SharedFolder, of_the_root: Option<&str>) {
    bed.mount(bind(&shared.path, "/m", &["rbind", "rshared"]));
    bed.configure(|config| {
        if let Some(asked) = of_the_root {
            config["linux"]["rootfsPropagation"] = json!(asked);
        }
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
        }
    });
}

fn what_the_setup_mounts_is_never_the_hosts(runtime: &Runtime) {
    for (of_the_root, is_shared) in OF_THE_ROOT {
        let bed = Bed::new(runtime);
        let shared = SharedFolder::new(&bed);
        sharing(&bed, &shared, of_the_root);
        for target in ["/m/d", "/m/below/d"] {
            bed.mount(json!({"destination": target, "type": "tmpfs", "source": "tmpfs"}));
        }
        bed.configure(|config| {
            config["linux"]["maskedPaths"] = json!(["/m/d"]);
            config["linux"]["readonlyPaths"] = json!(["/m/d", "/m/below/d"]);
        });
        let count = bed.run("awk '$5 ~ \"^/m/.*d$\"' /proc/self/mountinfo | wc -l").line();
        // Or more: what covers a shared mount is its copy, and each learns what is mounted over the other.
        assert!(count.parse::<u32>().unwrap() >= 5, "all is mounted inside: {of_the_root:?}: {count}");
        let seen = shared.seen();
        if of_the_root == Some("private") && bed.differs(Difference::SetupOfTheHost) {
            continue;
        }
        assert!(seen.is_empty() || is_shared && bed.differs(Difference::SetupOfTheHost), "{of_the_root:?}: {seen:?}");
    }
}

fn what_a_container_mounts_is_the_hosts_only_where_all_is_shared(runtime: &Runtime) {
    for (of_the_root, is_shared) in OF_THE_ROOT {
        let bed = Bed::new(runtime);
        let shared = SharedFolder::new(&bed);
        sharing(&bed, &shared, of_the_root);
        bed.run("mount -t tmpfs inner /m/d && mount -t tmpfs inner /m/below/d").ok();
        let expected = if is_shared { vec![shared.path.join("d"), shared.path.join("below/d")] } else { Vec::new() };
        if of_the_root == Some("private") && bed.differs(Difference::SetupOfTheHost) {
            continue;
        }
        assert!(shared.seen() == expected || bed.differs(Difference::RecursiveShared), "{of_the_root:?}: {:?}", shared.seen());
    }
}

fn what_the_host_mounts_reaches_a_shared_mount(runtime: &Runtime) {
    for (of_the_root, _) in OF_THE_ROOT.into_iter().filter(|(of_the_root, _)| !of_the_root.is_some_and(|asked| asked.ends_with("private")))
    {
        let bed = Bed::new(runtime);
        let shared = SharedFolder::new(&bed);
        sharing(&bed, &shared, of_the_root);
        bed.sleeping();
        for place in ["d", "below/d"] {
            host(&["mount", "-t", "tmpfs", "outer", &shared.path.join(place).display().to_string()]);
        }
        let count = bed.exec("awk '$5 ~ \"^/m/.*d$\"' /proc/self/mountinfo | wc -l").out;
        assert!(count == "2\n" || bed.differs(Difference::RecursiveShared), "{of_the_root:?}: {count}");
        bed.end();
    }
}

fn an_unknown_file_system_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(json!({"destination": "/data", "type": "nonsensefs", "source": "none"}));
    let said = bed.run("true").refused();
    assert!(said.contains("nonsensefs") || said.contains("data"), "{said}");
    bed.assert_nothing_left();
}

fn a_relative_source_is_of_the_bundle(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    folder(&bed, "bundle/data");
    bed.mount(json!({"destination": "/data", "type": "bind", "source": "data", "options": ["bind"]}));
    assert_eq!(bed.run("cat /data/file").line(), "bundle/data");
}

fn a_proc_over_a_link_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for name in ["proc", "sys"] {
        fs::remove_dir(bed.root(name)).unwrap();
        symlink("/tmp", bed.root(name)).unwrap();
        let said = bed.run("true");
        assert!(!said.status.success(), "{name}: {said:?}");
        fs::remove_file(bed.root(name)).unwrap();
        fs::create_dir(bed.root(name)).unwrap();
    }
    bed.run("true").ok();
}

fn the_old_root_is_gone(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let said = bed.run("cut -d ' ' -f 4,5 /proc/1/mountinfo; umount -l / 2>/dev/null; ls / | tr '\\n' ' '").ok();
    assert!(!said.contains("/ /\n") && !said.contains("/boot"), "{said}");
    assert_eq!(said.lines().next_back().unwrap().trim(), "bin dev etc home proc root sys tmp var");
}

fn a_root_that_is_missing_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["root"]["path"] = json!("nowhere"));
    let said = bed.run("true").refused();
    assert!(said.contains("nowhere"), "{said}");
    bed.configure(|config| config["root"]["path"] = json!("config.json"));
    bed.run("true").refused();
    bed.configure(|config| {
        config.as_object_mut().unwrap().remove("root");
    });
    bed.run("true").refused();
    bed.assert_nothing_left();
}

fn an_absolute_root_works(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let root = bed.root("");
    bed.configure(|config| config["root"]["path"] = json!(root));
    assert_eq!(bed.run("hostname").line(), "bed");
}

fn mounts_of_the_host_are_not_seen(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "cgroup");
    });
    let targets = bed.run("cut -d ' ' -f 5 /proc/1/mountinfo").ok();
    let nodes = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom"];
    let mut targets: Vec<&str> = targets.lines().filter(|target| !nodes.contains(target)).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["/", "/dev", "/dev/mqueue", "/dev/pts", "/dev/shm", "/proc", "/sys"]);
}

fn processes_of_others_are_hidden_when_asked(runtime: &Runtime) {
    let look = "test -e /proc/1 && echo seen || echo hidden; test -e /proc/self/status && echo itself";
    for (option, expected) in [("hidepid=2", "hidden\nitself\n"), ("hidepid=invisible", "hidden\nitself\n"), ("noexec", "seen\nitself\n")] {
        let bed = Bed::new(runtime);
        bed.configure(|config| config["mounts"][0]["options"].as_array_mut().unwrap().push(json!(option)));
        bed.sleeping();
        assert_eq!(bed.exec_with(&["--user", "1000:1000"], look).ok(), expected, "{option}");
        assert_eq!(bed.exec(look).ok(), "seen\nitself\n", "{option}: whoever may trace them sees all");
    }
}

fn the_cgroup_mount_shows_the_own_cgroup(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["resources"]["pids"] = json!({"limit": 88}));
    let said = bed.run("cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max; cut -d : -f 3 /proc/self/cgroup | sort -u; touch /sys/fs/cgroup/x /sys/fs/cgroup/pids/x 2>&1 | grep -c Read-only").ok();
    assert!(said.starts_with("88\n/\n") && !said.ends_with("\n0\n"), "{said}");
}
