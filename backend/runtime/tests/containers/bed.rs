//! The bed of these tests: a folder with a root file system, a spec that tests change, and the process that makes the container.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use belljar_linux::process::{self, Ended};
use belljar_model::container::ProcessRef;
use belljar_model::namespace::Kind;
use belljar_model::plan::PlanRecord;
use belljar_runtime::apply::{self, Streams};
use belljar_runtime::cgroup::{Hierarchies, Resources};
use belljar_runtime::plan::{self, ExecFacts, Facts};
use belljar_runtime::spec::{
    Access, CgroupPlace, Exec, ExecCgroup, First, Hooks, Namespace, Process, Root, Source, Spec, Start, Tree, standard_mounts,
};
use serde::{Deserialize, Serialize};

/// Tells this program, executed again, what to do.
const ORDER: &str = "BELLJAR_TEST_ORDER";
/// First host id of the containers of these tests that have their own.
pub(crate) const UID_BASE: u32 = 1_900_000_000;

/// What a maker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Make the container, and wait for its end unless it waits for its start.
    Make(Box<Spec>),
    /// The same where `clone3(2)` is answered with `ENOSYS`, as by the filters of other engines.
    MakeWithoutClone3(Box<Spec>),
    /// Start one that waits.
    Start(Box<Spec>, i32),
    /// What is left to do once its program runs.
    AfterStart(Box<Spec>, i32),
    /// Run one more program in it, and wait for its end.
    Exec(Box<Exec>),
    /// What is left to do after its end.
    Delete(Box<Spec>),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The plan, or why there was none.
    pub(crate) record: Result<PlanRecord, String>,
    /// The first process.
    pub(crate) pid: Option<i32>,
    /// How it ended, where it was waited for.
    pub(crate) status: Option<i32>,
}

impl Outcome {
    /// The failure in one line; panics where there was none.
    pub(crate) fn failure(&self) -> String {
        match &self.record {
            Ok(record) => record.failure.as_ref().unwrap_or_else(|| panic!("it was made: {record:#?}")).to_string(),
            Err(refusal) => refusal.clone(),
        }
    }

    /// The exit status; panics, with the plan, where it did not come to be.
    #[track_caller]
    pub(crate) fn status(&self) -> i32 {
        self.status.unwrap_or_else(|| panic!("no exit: {:?}", self.record.as_ref().map(|record| &record.failure)))
    }

    /// The texts of the steps.
    pub(crate) fn steps(&self) -> Vec<String> {
        let record = self.record.as_ref().expect("a plan");
        record.steps.iter().map(|step| step.text.clone()).collect()
    }
}

/// A container that is to be.
pub(crate) struct Bed {
    folder: tempfile::TempDir,
    pub(crate) spec: Spec,
}

/// Whether containers can be made here; says so where not.
fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let can = root && Path::new("/bin/busybox").exists() && Hierarchies::probe().is_ok();
    if !can {
        println!("skipped: needs root, a static /bin/busybox and a cgroup hierarchy");
    }
    can
}

/// The cgroup that has those of these tests.
fn parent() -> String {
    format!("belljar-core-{}", std::process::id())
}

impl Bed {
    /// A container that runs `script` in busybox's shell; `None` where none can be made here.
    pub(crate) fn of(script: &str) -> Option<Self> {
        possible().then(|| Self::make(script))
    }

    fn make(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("rootfs");
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "work"] {
            std::fs::create_dir_all(root.join(name)).expect("a folder");
        }
        // The container's root is nobody on the host where it has ids of its own.
        for path in [folder.path(), &root] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
        for applet in ["sh", "cat", "id", "ls", "sleep", "echo", "mount", "hostname", "stty", "readlink", "grep", "stat", "tty", "kill"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/work:/bin/sh\n").expect("a file");
        let state_dir = folder.path().join("state");
        std::fs::create_dir(&state_dir).expect("a folder");
        let hierarchies = Hierarchies::probe().expect("hierarchies");
        hierarchies.prepare(&parent()).expect("a cgroup");
        let id = format!("core-{}-{}", std::process::id(), folder.path().file_name().expect("a name").to_string_lossy().replace('.', ""));
        let kinds = [Kind::Mnt, Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::Cgroup];
        let spec = Spec {
            cgroup: CgroupPlace::Named(format!("{}/{id}", parent())),
            id,
            attempt: 1,
            hostname: Some("bell".to_owned()),
            domainname: None,
            process: Process::of(&["/bin/sh", "-c", script]),
            namespaces: kinds.map(|kind| Namespace { kind, source: Source::New }).to_vec(),
            time_offsets: Vec::new(),
            ids: None,
            root: Root { tree: Tree::Folder(root), access: Access::ReadWrite, propagation: None },
            mounts: standard_mounts(),
            devices: Vec::new(),
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            sysctls: BTreeMap::new(),
            resources: Resources::default(),
            hooks: Hooks::default(),
            mount_label: None,
            first: First::Program,
            start: Start::AtOnce,
            state_dir,
            folders: None,
        };
        Self { folder, spec }
    }

    /// A path in the bed's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces or adds a namespace.
    pub(crate) fn namespace(&mut self, kind: Kind, source: Option<Source>) {
        self.spec.namespaces.retain(|namespace| namespace.kind != kind);
        self.spec.namespaces.extend(source.map(|source| Namespace { kind, source }));
    }

    /// Makes it and, where it does not wait, waits for its end.
    pub(crate) fn run(&self) -> Outcome {
        self.order(&Order::Make(Box::new(self.spec.clone())))
    }

    /// Makes it; what it writes. Panics where it ends badly.
    #[track_caller]
    pub(crate) fn output(&self) -> String {
        let outcome = self.run();
        let text = self.written();
        assert_eq!(outcome.status(), 0, "it said: {text}");
        text
    }

    /// What it wrote so far.
    pub(crate) fn written(&self) -> String {
        std::fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    /// Makes it, starts it, and gives back its first process.
    #[track_caller]
    pub(crate) fn begin(&mut self) -> ProcessRef {
        self.spec.start = Start::WhenTold;
        let made = self.run();
        let pid = made.pid.unwrap_or_else(|| panic!("{}", made.failure()));
        let first = ProcessRef { pid, start_ticks: process::start_ticks(pid).expect("a first process") };
        let started = self.order(&Order::Start(Box::new(self.spec.clone()), pid));
        assert_eq!(started.record.expect("a connection").failure, None);
        first
    }

    /// One more program for the container of this first process.
    pub(crate) fn exec(&self, first: ProcessRef, script: &str) -> Exec {
        Exec {
            id: self.spec.id.clone(),
            first,
            cgroup: ExecCgroup::Place(self.spec.cgroup.clone()),
            process: Process::of(&["/bin/sh", "-c", script]),
            state: self.spec.hooks.state.clone(),
            filters: None,
        }
    }

    /// Runs it, and gives back what it wrote. Panics where it ends badly.
    #[track_caller]
    pub(crate) fn executed(&self, exec: &Exec) -> String {
        let before = self.written().len();
        let outcome = self.order(&Order::Exec(Box::new(exec.clone())));
        let text = self.written().get(before..).unwrap_or_default().to_owned();
        assert_eq!(outcome.status(), 0, "it said: {text}");
        text
    }

    /// Has a maker carry out an order.
    pub(crate) fn order(&self, order: &Order) -> Outcome {
        let (asked, told) = (self.path("order"), self.path("outcome"));
        std::fs::write(&asked, serde_json::to_vec(order).expect("an order")).expect("a file");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let output = command.env(ORDER, self.folder.path()).stdin(Stdio::null()).output().expect("a maker");
        let text = std::fs::read(&told).unwrap_or_else(|_| panic!("the maker died: {}", String::from_utf8_lossy(&output.stderr)));
        std::fs::remove_file(told).expect("an outcome");
        serde_json::from_slice(&text).expect("an outcome")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let Ok(hierarchies) = Hierarchies::probe() else { return };
        let cgroup = self.spec.cgroup.cgroup(&hierarchies);
        let gone = cgroup.kill_all().and_then(|()| cgroup.remove());
        hierarchies.abandon(&parent());
        if !std::thread::panicking() {
            gone.expect("no process is left");
        }
    }
}

/// Carries out an order, where this program was executed for one.
pub(crate) fn carried_out() -> bool {
    let Some(folder) = std::env::var_os(ORDER).map(PathBuf::from) else { return false };
    let text = std::fs::read(folder.join("order")).expect("an order");
    let outcome = carry_out(serde_json::from_slice(&text).expect("an order"), &folder);
    std::fs::write(folder.join("outcome"), serde_json::to_vec(&outcome).expect("an outcome")).expect("a file");
    true
}

fn carry_out(order: Order, folder: &Path) -> Outcome {
    let nothing = |record| Outcome { record, pid: None, status: None };
    match order {
        Order::Make(spec) => make(&spec, folder),
        Order::MakeWithoutClone3(spec) => {
            hide_clone3();
            make(&spec, folder)
        }
        Order::Start(spec, pid) => {
            let record = apply::start(&plan::make_start(&spec, None).expect("a plan"), &spec.state_dir, pid);
            nothing(record.map_err(|error| error.to_string()))
        }
        Order::AfterStart(spec, pid) => nothing(Ok(apply::finish(&plan::make_poststart(&spec), pid))),
        Order::Exec(exec) => execute(&exec, folder),
        Order::Delete(spec) => nothing(Ok(apply::finish(&plan::make_delete(&spec), 0))),
    }
}

fn make(spec: &Spec, folder: &Path) -> Outcome {
    let facts = Facts { hierarchies: Hierarchies::probe().expect("hierarchies"), filter: None };
    carry_out_plan(plan::make(spec, &facts), folder, spec.start)
}

fn execute(exec: &Exec, folder: &Path) -> Outcome {
    let facts = ExecFacts::of(exec.first, Hierarchies::probe().expect("hierarchies")).expect("facts");
    carry_out_plan(plan::make_exec(exec, &facts), folder, Start::AtOnce)
}

fn carry_out_plan(plan: Result<plan::Plan, belljar_model::Invalid>, folder: &Path, start: Start) -> Outcome {
    let plan = match plan {
        Ok(plan) => plan,
        Err(invalid) => return Outcome { record: Err(invalid.to_string()), pid: None, status: None },
    };
    let output = std::fs::File::options().create(true).append(true).open(folder.join("output")).expect("a file");
    let stderr = output.try_clone().expect("a descriptor").into();
    // Something of ours that nothing inside may ever see.
    let _secret = std::fs::File::open("/etc/passwd").expect("a file");
    let (record, started) = apply::apply(&plan, Streams::Pipes { stdout: output.into(), stderr });
    let Some(mut started) = started else { return Outcome { record: Ok(record), pid: None, status: None } };
    let mut status = None;
    if start == Start::AtOnce {
        if let Some(terminal) = started.terminal.take() {
            copy_terminal(terminal, folder);
        }
        status = Some(match process::wait(&started.pidfd).expect("an end") {
            Ended::Exited(code) => i32::from(code),
            Ended::Signaled(signal) => 128 + signal,
        });
    }
    Outcome { record: Ok(record), pid: Some(started.pid), status }
}

/// Loads the number of the call; where it is `clone3`, answers, else allows.
fn hide_clone3() {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
    let step = |code: u32, jf: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf, k };
    let program = [
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, libc::SYS_clone3 as u32),
        step(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    belljar_linux::seccomp::load(&program, belljar_linux::seccomp::Flags::default()).expect("a filter");
}

/// Until the last program lets go of its end.
fn copy_terminal(terminal: std::os::fd::OwnedFd, folder: &Path) {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = rustix::io::read(&terminal, &mut buffer) {
        all.extend(&buffer[..length]);
    }
    std::fs::write(folder.join("output"), all).expect("a file");
}
