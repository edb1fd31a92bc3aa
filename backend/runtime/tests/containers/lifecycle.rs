//! Made now and started later; undone where it fails.

use belljar_model::namespace::Kind;
use belljar_runtime::cgroup::Hierarchies;
use belljar_runtime::spec::{Capabilities, IdMaps, Source, Start, User};

use crate::bed::{Bed, Order, UID_BASE};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

pub(crate) fn a_container_waits_for_its_start_and_is_started_once() {
    let Some(mut bed) = Bed::of("echo begun") else { return };
    bed.spec.start = Start::WhenTold;
    let made = bed.run();
    let pid = made.pid.expect("a first process");
    assert!(made.record.as_ref().unwrap().failure.is_none() && std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(bed.written(), "");
    let start = || bed.order(&Order::Start(Box::new(bed.spec.clone()), pid));
    let started = start().record.expect("a connection");
    assert_eq!(started.failure, None);
    wait_until("it writes", || bed.written() == "begun\n");
    let again = start().record.unwrap_err();
    assert!(again.contains("ECONNREFUSED") || again.contains("ENOENT"), "{again}");
}

pub(crate) fn an_exec_that_fails_is_told_to_whoever_starts() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.start = Start::WhenTold;
    // What cannot be told before: it may be executed, and is no program, or its interpreter is nowhere.
    for (name, content, failure) in
        [("strange", "\x7fno program", "ENOEXEC: exec format error"), ("orphan", "#!/nowhere\n", "ENOENT: no such file or directory")]
    {
        let path = bed.path(&format!("rootfs/{name}"));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        bed.spec.process.arguments = vec![format!("/{name}")];
        let pid = bed.run().pid.expect("a first process");
        let told = bed.order(&Order::Start(Box::new(bed.spec.clone()), pid)).failure();
        assert_eq!(told, format!("exec /{name}: {failure}"));
        wait_until("it ends", || !belljar_linux::process::is_alive(pid, belljar_linux::process::start_ticks(pid).unwrap_or(0)));
    }
}

pub(crate) fn a_program_that_cannot_be_executed_is_found_out_by_whoever_makes_the_container() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.start = Start::WhenTold;
    for (program, cause) in [
        ("/etc/passwd", "EACCES: permission denied"),
        ("nowhere", "ENOENT: no such file or directory"),
        ("/bin", "EACCES: permission denied"),
    ] {
        bed.spec.process.arguments = vec![program.into()];
        let failure = bed.run().failure();
        assert_eq!(failure, format!("find program {program}: {cause}"));
        assert!(!bed.path("state/start.fifo").exists());
    }
    // As the user who executes it, not as who makes it.
    let closed = bed.path("rootfs/closed");
    std::fs::copy("/bin/busybox", &closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bed.spec.process.arguments = vec!["/closed".into()];
    bed.spec.process.user = User::Ids { uid: 33, gid: 33, groups: Vec::new() };
    bed.spec.process.capabilities = Capabilities::only(&[]);
    assert_eq!(bed.run().failure(), "find program /closed: EACCES: permission denied");
}

pub(crate) fn nothing_is_left_of_a_container_that_failed_to_be_made() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.start = Start::WhenTold;
    bed.spec.process.workdir = "/etc/passwd".into();
    let failure = bed.run().failure();
    assert!(failure.starts_with("make working folder /etc/passwd: ENOTDIR"), "{failure}");
    let cgroup = bed.spec.cgroup.cgroup(&Hierarchies::probe().unwrap());
    assert!(!cgroup.exists());
    assert!(!bed.path("state/start.fifo").exists());
}

pub(crate) fn a_container_is_made_where_clone3_is_hidden() {
    let Some(mut bed) = Bed::of("echo $$; cat /proc/self/cgroup") else { return };
    let order = |bed: &Bed| bed.order(&Order::MakeWithoutClone3(Box::new(bed.spec.clone())));
    assert_eq!(order(&bed).status(), 0, "{}", bed.written());
    let text = bed.written();
    assert!(text.starts_with("1\n"), "{text}");
    let unified: Vec<&str> = text.lines().filter(|line| line.starts_with("0::")).collect();
    assert!(unified.iter().all(|line| *line == "0::/"), "it is in its own v2 cgroup as well: {text}");
    bed.namespace(Kind::User, Some(Source::New));
    bed.spec.ids = Some(IdMaps::of_range(UID_BASE, 65_536));
    assert_eq!(order(&bed).status(), 0, "{}", bed.written());
}
