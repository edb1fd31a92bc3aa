//! The systemd driver under a real systemd: one of its own for each test, as the first process of namespaces of its own, below a
//! cgroup that is its root. What it does on a host it does here: it makes scopes, reloads what it knows, and executes itself anew.
//!
//! It must never reach the host's systemd, where there is one. Start reading at
//! [`a_container_is_a_scope_that_systemd_keeps_through_reloads`]; crun needs the system's bus, which is not started here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use belljar_testbed::{process, skip, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::bed::said::Said;
use crate::bed::{Kind, bundle, runtime, traces};

/// Where Debian has it.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// What the first process does before it becomes systemd: file systems of its own, and cgroups whose root is its own. `/proc/sys`
/// is the host's, and systemd would raise some of it.
const INNER: &str = r#"
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
grep -E '^[^ ]+ /sys/fs/cgroup(/[^ ]*)? cgroup2? ' /proc/mounts > /run/hierarchies
if ! grep -q '^[^ ]* /sys/fs/cgroup cgroup2 ' /run/hierarchies; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
fi
while read -r device point kind options rest; do
    mkdir -p "$point"
    case $kind in
        cgroup2) mount -t cgroup2 cgroup2 "$point" ;;
        *) mount -t cgroup -o "$(echo "$options" | tr , '\n' | grep -v -x -e rw -e relatime -e nosuid -e nodev -e noexec -e xattr | paste -s -d , | sed 's/^name=/none,name=/')" cgroup "$point" ;;
    esac
done < /run/hierarchies
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
mkdir -p /run/systemd /run/units
printf '[Unit]\nDefaultDependencies=no\n' > /run/units/nothing.target
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_UNIT_PATH=/run/systemd/system.control:/run/systemd/transient:/run/units \
    /lib/systemd/systemd --system --unit=nothing.target --log-target=null --show-status=0
"#;

/// Distinguishes the managers of one test process.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A systemd with its own namespaces, and a bundle beside it.
struct Systemd {
    /// Of its cgroup, in every hierarchy of the host.
    name: String,
    folder: TempDir,
    holder: Child,
    first: i32,
    runtime: String,
}

impl Systemd {
    /// Starts one, whose containers are made by the runtime of that kind.
    fn start(kind: Kind) -> Option<Self> {
        if !crate::is_root() {
            return None;
        }
        for program in ["systemctl", "unshare", "nsenter"] {
            if runtime::find_program(program).is_none() {
                skip(program);
                return None;
            }
        }
        if !Path::new(SYSTEMD).exists() || !bundle::is_possible() {
            skip("systemd and busybox-static");
            return None;
        }
        let name = format!("belljar-systemd-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix(&name).tempdir_in("/var/tmp").expect("a folder can be made");
        let runtime = match kind {
            Kind::Ours => {
                let link = folder.path().join("belljar-runtime");
                std::os::unix::fs::symlink(crate::EXECUTABLE, &link).expect("a link can be made");
                link.display().to_string()
            }
            _ => match runtime::find_program("runc") {
                Some(path) => path.display().to_string(),
                None => {
                    skip("runc");
                    return None;
                }
            },
        };
        bundle::make_root(&folder.path().join("rootfs"));
        let holder = hold(&name);
        let parent = i32::try_from(holder.id()).expect("a pid fits i32");
        let child = || process::pids().into_iter().find(|pid| process::parent(*pid) == Some(parent));
        let first = wait_until("the namespaces have a first process", child);
        let manager = Self { name, folder, holder, first, runtime };
        wait_until("systemd answers", || manager.inside("systemctl is-active nothing.target").status.success().then_some(()));
        Some(manager)
    }

    /// A shell script in its namespaces; `$R` is the runtime, `$B` the bundle.
    fn inside(&self, script: &str) -> Said {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--mount", "--pid", "--cgroup", "--uts", "--net", "--ipc", "--"]);
        let place = self.folder.path().display();
        let script = format!("B={place}; R='{} --root /run/runtime --systemd-cgroup'; cd $B && {script}", self.runtime);
        command.args(["sh", "-c", &script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Said::of(command)
    }

    #[track_caller]
    fn said(&self, script: &str) -> String {
        self.inside(script).ok().trim().to_owned()
    }

    /// The bundle's next container does this.
    fn arguments(&self, arguments: &[&str]) {
        let mut config = bundle::config("system.slice:belljar:one");
        config["process"]["args"] = json!(arguments);
        let resources = &mut config["linux"]["resources"];
        resources["memory"] = json!({"limit": 50_003_968});
        resources["pids"] = json!({"limit": 33});
        resources["cpu"] = json!({"quota": 50_000, "period": 100_000});
        fs::write(self.folder.path().join("config.json"), config.to_string()).expect("a file can be written");
    }

    /// A file of the scope's, by its name on either version.
    #[track_caller]
    fn file(&self, version1: &str, version2: &str) -> String {
        let scope = "system.slice/belljar-one.scope";
        let controller = version1.split('.').next().unwrap_or_default();
        self.said(&format!(
            "if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/{scope}/{version2}; \
             else cat /sys/fs/cgroup/{controller}/{scope}/{version1}; fi"
        ))
    }

    #[track_caller]
    fn assert_limits(&self, memory: &str, when: &str) {
        assert_eq!(self.file("memory.limit_in_bytes", "memory.max"), memory, "{when}");
        assert_eq!(self.file("pids.max", "pids.max"), "33", "{when}");
        let quota = self.file("cpu.cfs_quota_us", "cpu.max");
        assert!(["50000", "50000 100000"].contains(&quota.as_str()), "{when}: {quota}");
    }

    /// That neither systemd nor the kernel knows of the container any more.
    #[track_caller]
    fn assert_gone(&self) {
        wait_until("the scope is gone", || {
            (!self.said("systemctl list-units --all --no-legend --plain").contains("belljar")).then_some(())
        });
        assert_eq!(self.said("find /sys/fs/cgroup -name '*belljar-one*'"), "");
        assert_eq!(self.said("$R list --quiet"), "");
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // With the first process goes everybody in its namespace.
        process::kill_hard(self.first);
        let _ended = self.holder.wait();
        traces::remove_cgroups(&self.name);
    }
}

/// The shell that becomes systemd, in a cgroup of this name in every hierarchy.
fn hold(name: &str) -> Child {
    let mut script = String::new();
    for point in hierarchies() {
        let folder = point.join(name);
        fs::create_dir(&folder).expect("a cgroup can be made");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read(point.join(file)) {
                fs::write(folder.join(file), all).expect("a cpuset can be filled");
            }
        }
        script += &format!("echo 0 > {}/cgroup.procs; ", folder.display());
    }
    script += "exec unshare --mount --pid --fork --cgroup --uts --net --ipc --mount-proc sh -c \"$0\"";
    let mut holder = Command::new("sh");
    holder.args(["-c", &script, INNER]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    holder.spawn().expect("a shell runs")
}

/// Where the host's hierarchies are mounted; on version 2 alone its controllers are handed down.
fn hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").expect("the table of mounts can be read");
    let mut points = Vec::new();
    for line in table.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (words.next().map(PathBuf::from), words.next()) else { continue };
        if kind.starts_with("cgroup") && point.starts_with("/sys/fs/cgroup") && !points.contains(&point) {
            for controller in fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default().split_ascii_whitespace() {
                let _one_that_cannot = fs::write(point.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            points.push(point);
        }
    }
    points
}

fn a_container_is_a_scope_that_systemd_keeps_through_reloads(kind: Kind) {
    let Some(manager) = Systemd::start(kind) else { return };
    manager.arguments(&["sleep", "1000"]);
    manager.said("$R run --detach one");
    let shown = manager.said("systemctl show belljar-one.scope --property ActiveState,Delegate,TasksMax,ControlGroup,CPUQuotaPerSecUSec");
    for line in
        ["ActiveState=active", "Delegate=yes", "TasksMax=33", "ControlGroup=/system.slice/belljar-one.scope", "CPUQuotaPerSecUSec=500ms"]
    {
        assert!(shown.lines().any(|one| one == line), "{line} in {shown}");
    }
    manager.assert_limits("50003968", "at its start");
    for again in ["daemon-reload", "daemon-reexec", "set-property --runtime belljar-one.scope TasksMax=33"] {
        manager.said(&format!("systemctl {again}"));
        wait_until("systemd answers again", || manager.inside("systemctl is-active belljar-one.scope").status.success().then_some(()));
        manager.assert_limits("50003968", again);
        let own = manager.said("$R exec one cat /proc/self/cgroup");
        assert!(own.lines().all(|line| line.ends_with(":/")), "an exec is in the root of the container's cgroup namespace: {own}");
    }
    manager.said("$R update --memory 70000640 one && systemctl daemon-reload");
    manager.assert_limits("70000640", "after an update and a reload");
    let known = manager.said("systemctl show belljar-one.scope --property MemoryMax,MemoryLimit");
    assert!(known.contains("70000640"), "systemd was told: {known}");
    let paused = manager.said("$R pause one && systemctl daemon-reload && $R state one && $R resume one");
    assert!(paused.contains(r#""status": "paused""#), "{paused}");
    manager.said("$R delete --force one");
    manager.assert_gone();
}

fn a_scope_ends_with_its_container_and_its_name_is_free_again(kind: Kind) {
    let Some(manager) = Systemd::start(kind) else { return };
    for status in [0, 7, 0] {
        manager.arguments(&["sh", "-c", &format!("exit {status}")]);
        assert_eq!(manager.inside("$R run one").status.code(), Some(status));
        manager.assert_gone();
    }
    manager.arguments(&["no-such-program"]);
    manager.inside("$R run one").refused();
    manager.assert_gone();
    manager.arguments(&["sleep", "1000"]);
    manager.said("$R create one");
    manager.said("systemctl kill --signal=KILL belljar-one.scope");
    wait_until("it is stopped", || manager.said("$R state one").contains(r#""status": "stopped""#).then_some(()));
    manager.said("$R delete one");
    manager.assert_gone();
}

macro_rules! under_systemd {
    ($($name:ident),+) => {
        under_systemd! { ours: Ours, $($name),+ }
        under_systemd! { runc: Runc, $($name),+ }
    };
    ($module:ident: $kind:ident, $($name:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $name() {
                    super::$name(crate::bed::Kind::$kind);
                }
            )+
        }
    };
}

under_systemd!(a_container_is_a_scope_that_systemd_keeps_through_reloads, a_scope_ends_with_its_container_and_its_name_is_free_again);
