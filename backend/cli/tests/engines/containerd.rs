//! containerd with its own client `ctr` and the shim of version 2, which executes the runtime under test. It has a command
//! line of its own, so its tests stand here alone.

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};

use belljar_testbed::wait_until;

use crate::{image, needs, runtime};
use belljar_testbed::place::{Network, Place, succeeded};

/// containerd with the image loaded.
struct Containerd {
    place: Place,
    daemon: Option<Child>,
}

impl Containerd {
    fn start() -> Option<Self> {
        needs(&["containerd", "ctr", "containerd-shim-runc-v2"])?;
        let place = Place::make(Network::Own);
        let archive = image::archive(&place.folder("image"));
        let mut containerd = Self { place, daemon: None };
        containerd.start_daemon();
        containerd.call(&["image", "import", &archive]);
        Some(containerd)
    }

    fn start_daemon(&mut self) {
        let log = File::options().create(true).append(true).open(self.place.path("log")).expect("a log can be written");
        let settings = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        let mut daemon = self.place.command("containerd");
        daemon.args(["--config", &self.place.file("config.toml", settings), "--root", &self.place.text("root")]);
        daemon.args(["--state", "/run/state", "--address", "/run/containerd.sock"]);
        daemon.stdout(log.try_clone().expect("a descriptor can be duplicated")).stderr(log);
        self.daemon = Some(daemon.spawn().expect("containerd runs"));
        wait_until("containerd answers", || self.command(&["version"]).output().ok()?.status.success().then_some(()));
    }

    /// Ends the daemon and nothing else: by its pid, which its client tells.
    fn end_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        self.place.shell("for pid in /proc/[0-9]*; do case $(readlink $pid/exe) in */containerd) kill ${pid#/proc/};; esac; done");
        wait_until("containerd has ended", || daemon.try_wait().expect("a child can be waited for"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command("ctr");
        // Without a path, the cgroup of a container is below the name of its namespace.
        command.args(["--address", "/run/containerd.sock", "--namespace", self.place.name()]).args(arguments);
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ctr runs")
    }

    #[track_caller]
    fn call(&self, arguments: &[&str]) -> String {
        succeeded(&arguments.join(" "), &self.output(arguments))
    }

    /// Words of `run` with the runtime under test.
    fn words(&self, name: &str, flags: &[&str], program: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = ["run", "--runc-binary"].map(str::to_owned).to_vec();
        words.push(runtime(&self.place));
        words.extend(flags.iter().map(ToString::to_string));
        words.extend([image::NAME.to_owned(), name.to_owned()]);
        words.extend(program.iter().map(ToString::to_string));
        words
    }

    fn run_output(&self, name: &str, flags: &[&str], program: &[&str]) -> Output {
        let words = self.words(name, flags, program);
        self.output(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `run --rm` of a shell script, in the foreground.
    #[track_caller]
    fn script(&self, flags: &[&str], script: &str) -> String {
        let output = self.run_output("once", &[&["--rm"], flags].concat(), &["sh", "-c", script]);
        succeeded(script, &output)
    }

    /// `run --detach` of a shell script.
    #[track_caller]
    fn start_script(&self, name: &str, flags: &[&str], script: &str) {
        let output = self.run_output(name, &[&["--detach"], flags].concat(), &["sh", "-c", script]);
        succeeded(script, &output);
    }

    /// What a program executed inside writes.
    #[track_caller]
    fn inside(&self, name: &str, script: &str) -> String {
        self.call(&["task", "exec", "--exec-id", &unique("inside"), name, "sh", "-c", script])
    }

    /// Pid and state of a task, as the list of tasks tells them.
    fn task(&self, name: &str) -> Option<(String, String)> {
        let listed = self.call(&["task", "list"]);
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        let mut words = line.split_whitespace().skip(1).map(str::to_owned);
        Some((words.next()?, words.next()?))
    }

    fn wait_for(&self, name: &str, state: &str) {
        wait_until(&format!("{name} is {state}"), || (self.task(name)?.1 == state).then_some(()));
    }

    /// Deletes a task that has ended, and looks at its exit status.
    #[track_caller]
    fn assert_ended(&self, name: &str, status: u8) {
        let deleted = self.output(&["task", "delete", name]);
        let said = String::from_utf8_lossy(&deleted.stderr).into_owned();
        assert!(said.contains(&format!("non-zero exit code {status}\"")), "{said}");
    }

    fn remove(&self, name: &str) {
        self.call(&["task", "delete", "--force", name]);
        self.call(&["container", "delete", name]);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.place.path("log")).unwrap_or_default();
            let complaints: Vec<&str> = log.lines().filter(|line| !line.contains("level=info")).collect();
            eprintln!("--- the daemon's log ---\n{}", complaints.join("\n"));
        }
    }
}

/// A name that was not used before in this process.
fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static USED: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", USED.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn a_program_writes_and_ends_as_it_wants_to() {
    let Some(containerd) = Containerd::start() else { return };
    let output = containerd.run_output(
        "one",
        &["--rm", "--env", "GLASS=jar", "--cwd", "/etc"],
        &["sh", "-c", "echo $GLASS; pwd; echo err >&2; exit 7"],
    );
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "jar\n/etc\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    let missing = containerd.run_output("two", &["--rm"], &["no-such-program"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && said.contains("no-such-program"), "{said}");
}

#[test]
fn what_is_executed_later_is_inside_too_and_may_have_a_terminal() {
    let Some(containerd) = Containerd::start() else { return };
    containerd.start_script("one", &[], "sleep 1d");
    let namespaces =
        "for kind in mnt pid net ipc uts; do readlink /proc/self/ns/$kind; done; grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status";
    assert_eq!(containerd.inside("one", namespaces), containerd.inside("one", &namespaces.replace("self", "1")));
    let failed = containerd.output(&["task", "exec", "--exec-id", "fails", "one", "sh", "-c", "exit 9"]);
    assert_eq!(failed.status.code(), Some(9), "{failed:?}");
    let user = ["task", "exec", "--exec-id", "user", "--user", "1000", "--cwd", "/etc", "one", "sh", "-c", "id -u; pwd"];
    assert_eq!(containerd.call(&user), "1000\n/etc");
    let mut script = containerd.place.command("script");
    let line = "stty rows 21 cols 91; exec ctr --address /run/containerd.sock --namespace";
    let exec = "task exec --tty --exec-id terminal one sh -c 'sleep 1; tty; stty size'";
    script.args(["--quiet", "--return", "--command", &format!("{line} {} {exec}", containerd.place.name()), "/dev/null"]);
    let shown = succeeded("script", &script.stdin(Stdio::null()).output().expect("script runs")).replace('\r', "");
    assert!(shown.contains("/dev/pts/0\n21 91"), "{shown}");
}

#[test]
fn a_task_has_a_terminal_where_it_is_asked_for() {
    let Some(containerd) = Containerd::start() else { return };
    let words = containerd.words("one", &["--rm", "--tty"], &["sh", "-c", "'sleep 1; tty; stty size'"]).join(" ");
    let line = format!("stty rows 33 cols 77; exec ctr --address /run/containerd.sock --namespace {} {words}", containerd.place.name());
    let mut script = containerd.place.command("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    let shown = succeeded("script", &script.output().expect("script runs")).replace('\r', "");
    assert!(shown.contains("/dev/pts/0\n33 77"), "{shown}");
}

#[test]
fn a_signal_reaches_the_first_process_or_all() {
    let Some(containerd) = Containerd::start() else { return };
    containerd.start_script("one", &[], "trap 'exit 5' TERM; touch /tmp/there; while :; do sleep 0.1; done");
    wait_until("it listens", || {
        containerd.output(&["task", "exec", "--exec-id", &unique("look"), "one", "ls", "/tmp/there"]).status.success().then_some(())
    });
    containerd.call(&["task", "kill", "--signal", "SIGTERM", "one"]);
    containerd.wait_for("one", "STOPPED");
    containerd.assert_ended("one", 5);
    containerd.start_script("two", &[], "sleep 1d & exec sleep 1d");
    containerd.call(&["task", "kill", "--all", "--signal", "SIGKILL", "two"]);
    containerd.wait_for("two", "STOPPED");
}

#[test]
fn a_paused_task_stands_still_until_it_goes_on() {
    let Some(containerd) = Containerd::start() else { return };
    containerd.start_script("one", &[], "n=0; while :; do n=$((n + 1)); echo $n > /tmp/count; done");
    let (pid, _) = containerd.task("one").expect("it is listed");
    let count = || containerd.place.shell(&format!("cat /proc/{pid}/root/tmp/count"));
    wait_until("it counts", || (!count().is_empty()).then_some(()));
    containerd.call(&["task", "pause", "one"]);
    containerd.wait_for("one", "PAUSED");
    let before = count();
    assert!(belljar_testbed::wait::try_wait(std::time::Duration::from_millis(300), || (count() != before).then_some(())).is_none());
    containerd.call(&["task", "resume", "one"]);
    wait_until("it goes on", || Some(count()).filter(|now| !now.is_empty() && *now != before));
}

#[test]
fn limits_are_in_the_kernel_and_figures_are_told() {
    let Some(containerd) = Containerd::start() else { return };
    containerd.start_script("one", &["--memory-limit", "67108864", "--cpu-quota", "50000", "--cpu-period", "100000"], "sleep 1d");
    let (pid, _) = containerd.task("one").expect("it is listed");
    if Place::has_version_1() {
        assert_eq!(containerd.place.cgroup_file(&pid, "memory", "memory.limit_in_bytes"), "67108864");
        assert_eq!(containerd.place.cgroup_file(&pid, "cpu", "cpu.cfs_quota_us"), "50000");
    } else {
        assert_eq!(containerd.place.cgroup_file(&pid, "", "memory.max"), "67108864");
    }
    assert!(containerd.call(&["task", "metrics", "one"]).contains("67108864"));
    assert!(containerd.call(&["task", "ps", "one"]).contains(&pid));
}

#[test]
fn what_takes_too_much_memory_is_told_as_an_event() {
    let Some(containerd) = Containerd::start() else { return };
    let events = File::create(containerd.place.path("events")).expect("a file can be written");
    let mut watch = containerd.command(&["events"]).stdout(events).spawn().expect("ctr runs");
    let told = |what: &str| {
        let events = std::fs::read_to_string(containerd.place.path("events")).unwrap_or_default();
        events.contains(what).then_some(())
    };
    // Until the watcher has been heard of, what happens is not told to it.
    wait_until("events are told", || {
        containerd.script(&[], "true");
        told("/tasks/exit")
    });
    // The shim watches only a little after the start.
    let script = "while ! test -e /tmp/go; do sleep 0.1; done; tail /dev/zero; sleep 1d";
    containerd.start_script("one", &["--memory-limit", "33554432"], script);
    containerd.inside("one", "touch /tmp/go");
    wait_until("the end of memory is told", || told("/tasks/oom"));
    watch.kill().and_then(|()| watch.wait()).expect("it can be ended");
}

#[test]
fn files_rights_and_namespaces_are_as_they_were_asked_for() {
    let Some(containerd) = Containerd::start() else { return };
    let folder = containerd.place.folder("shared").to_string_lossy().into_owned();
    let mount = format!("type=bind,src={folder},dst=/shared,options=rbind:rw");
    let script = "(echo x > /etc/x) 2> /dev/null || echo kept; echo x > /shared/x; id -u; grep CapEff /proc/self/status";
    let said = containerd.script(&["--read-only", "--mount", &mount, "--cap-add", "CAP_NET_ADMIN"], script);
    assert!(said.starts_with("kept\n0\n"), "{said}");
    let rights = u64::from_str_radix(said.split_whitespace().last().unwrap_or_default(), 16).expect("it is hexadecimal");
    assert_eq!(rights & (1 << 12), 1 << 12, "{said}");
    assert_eq!(containerd.place.shell(&format!("cat {folder}/x")), "x");
    let filtered = containerd.script(&["--seccomp"], "grep Seccomp: /proc/self/status");
    assert!(filtered.ends_with('2'), "{filtered}");
    assert_eq!(containerd.script(&["--no-pivot"], "pwd"), "/");
    containerd.place.shell("ip netns add other");
    let joined = containerd.script(&["--with-ns", "network:/run/netns/other"], "readlink /proc/self/ns/net");
    assert_eq!(joined, containerd.place.shell("ip netns exec other readlink /proc/self/ns/net"));
    containerd.place.shell("ip netns delete other");
}

#[test]
fn twenty_at_once() {
    let Some(containerd) = Containerd::start() else { return };
    std::thread::scope(|scope| {
        for number in 0..20 {
            let containerd = &containerd;
            scope.spawn(move || containerd.start_script(&format!("many-{number}"), &[], "sleep 1d"));
        }
    });
    let listed = containerd.call(&["task", "list"]);
    assert_eq!(listed.matches("RUNNING").count(), 20, "{listed}");
    for number in 0..20 {
        containerd.remove(&format!("many-{number}"));
    }
}

#[test]
fn tasks_outlive_the_daemon_and_are_found_again() {
    let Some(mut containerd) = Containerd::start() else { return };
    containerd.start_script("stays", &[], "sleep 1d");
    containerd.start_script("ends", &[], "while ! test -e /tmp/end; do sleep 0.1; done; exit 6");
    let (stays, ends) = (containerd.task("stays").expect("it runs").0, containerd.task("ends").expect("it runs").0);
    containerd.end_daemon();
    containerd.place.shell(&format!("kill -0 {stays} && touch /proc/{ends}/root/tmp/end"));
    containerd.start_daemon();
    assert_eq!(containerd.task("stays").map(|task| task.0), Some(stays));
    assert_eq!(containerd.inside("stays", "echo found"), "found");
    containerd.wait_for("ends", "STOPPED");
    containerd.assert_ended("ends", 6);
}

#[test]
fn deletion_leaves_nothing() {
    let Some(containerd) = Containerd::start() else { return };
    containerd.script(&[], "true");
    let place = &containerd.place;
    // The client, which detaches, leaves the pipes of what it executed.
    let state = || place.shell("find /run -mindepth 1 -not -type f -not -path '*/fifo/*'").lines().map(str::to_owned).collect();
    wait_until("the first one's shim is gone", || (!place.processes().iter().any(|line| line.contains("shim"))).then_some(()));
    let (mounts, cgroups, processes, before) = (place.mounts(), place.cgroups(), place.processes(), state());
    containerd.start_script("one", &[], "sleep 1000 & sleep 1d");
    containerd.call(&["task", "exec", "--detach", "--exec-id", "more", "one", "sleep", "4715"]);
    containerd.remove("one");
    let failed = containerd.run_output("two", &["--rm"], &["no-such-program"]);
    assert!(!failed.status.success());
    Place::assert_same("mounts", &mounts, || place.mounts());
    Place::assert_same("cgroups", &cgroups, || place.cgroups());
    Place::assert_same("processes", &processes, || place.processes());
    Place::assert_same("state", &before, state);
}
