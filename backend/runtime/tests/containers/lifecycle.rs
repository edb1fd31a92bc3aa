//! Made now and started later; undone where it fails.

use belljar_runtime::cgroup::Hierarchies;
use belljar_runtime::spec::Start;

use crate::bed::{Bed, Order};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
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
    bed.spec.process.arguments = vec!["/etc/passwd".into()];
    let pid = bed.run().pid.expect("a first process");
    let failure = bed.order(&Order::Start(Box::new(bed.spec.clone()), pid)).failure();
    assert_eq!(failure, "exec /etc/passwd: EACCES: permission denied");
    wait_until("it ends", || !belljar_linux::process::is_alive(pid, belljar_linux::process::start_ticks(pid).unwrap_or(0)));
}

pub(crate) fn nothing_is_left_of_a_container_that_failed_to_be_made() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.start = Start::WhenTold;
    bed.spec.process.workdir = "/etc/passwd".into();
    let failure = bed.run().failure();
    assert!(failure.starts_with("make working folder /etc/passwd: ENOTDIR"), "{failure}");
    let cgroup = bed.spec.cgroup.cgroup(&Hierarchies::probe().unwrap());
    assert!(!cgroup.exists());
    assert!(!bed.path("state/start.sock").exists());
}
