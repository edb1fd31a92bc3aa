//! Namespaces of every kind: new ones, the host's, and those of others by path.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use belljar_linux::namespace;
use belljar_model::namespace::Kind;
use belljar_runtime::spec::{Clock, IdMap, IdMaps, Source, TimeOffset};

use crate::bed::{Bed, UID_BASE};

/// A process in new namespaces, which ends with the test.
struct Holder(Child);

impl Holder {
    fn new(flags: &[&str]) -> Self {
        let child = Command::new("unshare").args(flags).args(["--kill-child", "--fork", "sleep", "1000"]).stdin(Stdio::null()).spawn();
        let holder = Self(child.expect("unshare"));
        // It is in its namespaces once its child is there.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while holder.inner().is_none() {
            assert!(std::time::Instant::now() < deadline, "unshare made no child");
            std::thread::yield_now();
        }
        holder
    }

    fn inner(&self) -> Option<i32> {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child = children.split_whitespace().next()?.parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "sleep").then_some(child)
    }

    fn source(&self, kind: Kind) -> Source {
        Source::Path { path: format!("/proc/{}/ns/{}", self.inner().expect("a child"), kind.as_str()).into(), inode: None }
    }

    fn inode(&self, kind: Kind) -> u64 {
        namespace::inode(self.inner().expect("a child"), kind.as_str()).expect("an inode")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ALL: &str = "for kind in mnt pid net uts ipc user cgroup time; do readlink /proc/self/ns/$kind; done";

fn host(kind: Kind) -> String {
    format!("{}:[{}]", kind.as_str(), namespace::inode(std::process::id() as i32, kind.as_str()).expect("an inode"))
}

pub(crate) fn every_kind_is_new_where_it_is_listed_and_the_hosts_where_not() {
    let Some(mut bed) = Bed::of(ALL) else { return };
    let text = bed.output();
    for kind in Kind::ALL {
        let shared = matches!(kind, Kind::User | Kind::Time);
        assert_eq!(text.contains(&host(kind)), shared, "{kind:?} in {text}");
    }
    for kind in [Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::Cgroup] {
        bed.namespace(kind, None);
    }
    bed.namespace(Kind::User, Some(Source::New));
    bed.namespace(Kind::Time, Some(Source::New));
    bed.spec.ids = Some(IdMaps::of_range(UID_BASE, 65_536));
    bed.spec.hostname = None;
    // Neither is for a user namespace that does not own the others.
    bed.spec.mounts.retain(|mount| !matches!(mount.target.as_str(), "/proc" | "/sys" | "/sys/fs/cgroup" | "/dev/mqueue"));
    bed.spec.process.arguments[2] = "readlink /proc/self/ns/user; echo made".into();
    assert!(bed.output().contains("made"));
}

pub(crate) fn a_time_namespace_has_its_clocks_and_the_maker_keeps_its_own() {
    let Some(mut bed) = Bed::of("cat /proc/uptime") else { return };
    bed.namespace(Kind::Time, Some(Source::New));
    let offset = |clock| TimeOffset { clock, seconds: 1_000_000_000, nanoseconds: 5 };
    bed.spec.time_offsets = vec![offset(Clock::Monotonic), offset(Clock::Boottime)];
    let uptime = bed.output();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 1e9, "{uptime}");
    bed.namespace(Kind::Time, None);
    assert_eq!(bed.run().failure(), "time_offsets: are those of a new time namespace, and it has none");
}

pub(crate) fn namespaces_of_others_are_joined_without_a_user_namespace() {
    let Some(mut bed) = Bed::of(ALL) else { return };
    let holder = Holder::new(&["--pid", "--net", "--uts", "--ipc", "--cgroup", "--time"]);
    let kinds = [Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::Cgroup, Kind::Time];
    for kind in kinds {
        bed.namespace(kind, Some(holder.source(kind)));
    }
    let text = bed.output();
    for kind in kinds {
        assert!(text.contains(&format!("{}:[{}]", kind.as_str(), holder.inode(kind))), "{kind:?} in {text}");
    }
}

pub(crate) fn a_new_user_namespace_goes_with_a_network_of_the_hosts() {
    let Some(mut bed) = Bed::of("readlink /proc/self/ns/net; id -u; cat /proc/self/uid_map") else { return };
    let holder = Holder::new(&["--net"]);
    bed.namespace(Kind::Net, Some(holder.source(Kind::Net)));
    bed.namespace(Kind::User, Some(Source::New));
    let map = |inside, outside, count| IdMap { inside, outside, count };
    let maps = vec![map(0, UID_BASE, 1000), map(1000, UID_BASE + 5000, 10)];
    bed.spec.ids = Some(IdMaps { uids: maps.clone(), gids: maps });
    // A network that it does not own: no sysfs of it either.
    bed.spec.mounts.retain(|mount| !mount.target.starts_with("/sys"));
    let text = bed.output();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[0], format!("net:[{}]", holder.inode(Kind::Net)), "{text}");
    assert_eq!(words[1..], ["0", "0", "1900000000", "1000", "1000", "1900005000", "10"], "{text}");
}

pub(crate) fn a_user_namespace_is_joined_and_everything_new_belongs_to_it() {
    let Some(mut bed) = Bed::of(&format!("{ALL}; echo $$; id -u")) else { return };
    let holder = Holder::new(&["--user"]);
    let range = [(0, UID_BASE, 65_536)];
    namespace::map_ids(holder.inner().expect("a child"), &range, &range).expect("maps");
    bed.namespace(Kind::User, Some(holder.source(Kind::User)));
    let text = bed.output();
    assert!(text.contains(&format!("user:[{}]", holder.inode(Kind::User))), "{text}");
    assert!(text.ends_with("1\n0\n"), "it is the first process of a new pid namespace: {text}");
}

pub(crate) fn a_path_that_means_another_namespace_by_now_is_refused() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.namespace(Kind::Net, Some(Source::Path { path: "/proc/self/ns/net".into(), inode: Some(1) }));
    let failure = bed.run().failure();
    assert!(failure.starts_with("enter net namespace /proc/self/ns/net: ESTALE"), "{failure}");
    bed.namespace(Kind::Net, Some(Source::Path { path: "/proc/self/ns/uts".into(), inode: None }));
    let failure = bed.run().failure();
    assert!(failure.contains("not a namespace of this kind"), "{failure}");
    assert!(Path::new("/proc/self/ns/net").exists());
}

/// Nothing that would have to be mounted is asked for.
fn without_mounts(bed: &mut Bed) {
    bed.spec.mounts.clear();
    assert!(bed.spec.masked_paths.is_empty() && bed.spec.readonly_paths.is_empty());
}

/// The table of mounts of a process.
fn mounts(pid: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts")
}

pub(crate) fn a_mount_namespace_of_another_is_joined() {
    // The joined tree is a copy of the host's, so its own shell is there, and the folder of the bed.
    let Some(mut bed) = Bed::of("readlink /proc/self/ns/mnt; hostname; pwd; ls -d $BED; id -u") else { return };
    let holder = Holder::new(&["--mount"]);
    bed.namespace(Kind::Mnt, Some(holder.source(Kind::Mnt)));
    // Its /proc is that of the host's processes.
    bed.namespace(Kind::Pid, None);
    assert!(bed.run().failure().starts_with("mounts: namespaces: it would be mounted in the tree"));
    without_mounts(&mut bed);
    let folder = bed.path("").display().to_string();
    bed.spec.process.arguments =
        ["/bin/busybox", "sh", "-c", &bed.spec.process.arguments[2].replace("$BED", &folder)].map(String::from).into();
    let inner = holder.inner().expect("a child").to_string();
    let (before, hosts) = (mounts(&inner), mounts("self"));
    let text = bed.output();
    assert_eq!(text, format!("mnt:[{}]\nbell\n/\n{folder}\n0\n", holder.inode(Kind::Mnt)));
    assert_eq!((mounts(&inner), mounts("self")), (before, hosts), "nothing was mounted anywhere");
    bed.namespace(Kind::Mnt, Some(Source::Path { path: "/proc/self/ns/mnt".into(), inode: Some(1) }));
    assert!(bed.run().failure().contains("ESTALE"));
    bed.namespace(Kind::Mnt, Some(holder.source(Kind::Mnt)));
    bed.namespace(Kind::User, Some(Source::New));
    bed.spec.ids = Some(IdMaps::of_range(UID_BASE, 65_536));
    assert!(bed.run().failure().contains("join a mount namespace, which a new user namespace has no right to"));
}

pub(crate) fn a_container_in_the_hosts_tree_has_a_folder_of_it_as_root() {
    let Some(mut bed) = Bed::of("ls /; pwd; cat; hostname; echo written >&2") else { return };
    bed.namespace(Kind::Mnt, None);
    assert!(bed.run().failure().starts_with("mounts: namespaces: without a mount namespace of its own it would be mounted on the host"));
    without_mounts(&mut bed);
    bed.spec.process.workdir = "/work".into();
    let before = mounts("self");
    assert_eq!(bed.output(), "bin\ndev\netc\nproc\nsys\ntmp\nwork\n/work\nbell\nwritten\n");
    assert_eq!(std::fs::read_dir(bed.path("rootfs/dev")).expect("a folder").count(), 0, "no device was made");
    bed.spec.process.arguments[2] = "sleep 1000".into();
    let first = bed.begin();
    let pid = first.pid;
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap().display().to_string(), host(Kind::Mnt));
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/root")).unwrap(), bed.path("rootfs"));
    let exec = bed.exec(first, "ls /; pwd");
    assert_eq!(bed.executed(&exec), "bin\ndev\netc\nproc\nsys\ntmp\nwork\n/\n", "what enters it is in the same folder");
    assert_eq!(mounts("self"), before, "the host's table stays as it was");
}
