//! Many containers at once, engines that end while containers run, and what is left when all is over.

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;
use belljar_testbed::place::Place;

under_both!(twenty_at_once, twenty_programs_are_executed_at_once_in_one_container, deletion_leaves_nothing);

const COUNT: usize = 20;

fn twenty_at_once(engine: &Engine) {
    std::thread::scope(|scope| {
        for number in 0..COUNT {
            scope
                .spawn(move || engine.start_script(&format!("many-{number}"), &["--memory=32m"], &format!("echo I am {number}; sleep 1d")));
        }
    });
    assert_eq!(engine.call(&["ps", "--quiet"]).lines().count(), COUNT);
    for number in 0..COUNT {
        engine.wait_for_log(&format!("many-{number}"), &format!("I am {number}"));
    }
    let names: Vec<String> = (0..COUNT).map(|number| format!("many-{number}")).collect();
    let words: Vec<&str> = ["rm", "--force"].into_iter().chain(names.iter().map(String::as_str)).collect();
    engine.call(&words);
    assert_eq!(engine.call(&["ps", "--all", "--quiet"]), "");
}

fn twenty_programs_are_executed_at_once_in_one_container(engine: &Engine) {
    engine.start_script("one", &[], "sleep 1d");
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..COUNT).map(|number| scope.spawn(move || engine.call(&["exec", "one", "echo", &number.to_string()]))).collect();
        for (number, asked) in asked.into_iter().enumerate() {
            assert_eq!(asked.join().expect("it does not panic"), number.to_string());
        }
    });
}

fn deletion_leaves_nothing(engine: &Engine) {
    // What the engine itself keeps (its cgroup, its folders' mounts) is there after the first container.
    engine.script(&[], "true");
    let place = &engine.place;
    wait_until("the first one's helpers are gone", || {
        (!place.processes().iter().any(|line| line.contains("conmon") || line.contains("shim"))).then_some(())
    });
    let state = || {
        place.shell("find /run -not -type f | grep -v -e podman-tmp -e /run/podman/ -e /lock; true").lines().map(str::to_owned).collect()
    };
    // podman mounts the folder of its layers on itself while a container runs, and leaves that to whoever comes next.
    let mounted = || place.mounts().into_iter().filter(|line| !line.contains("/root/overlay ")).collect();
    let (mounts, cgroups, processes, before) = (mounted(), place.cgroups(), place.processes(), state());
    engine.start_script("running", &["--tmpfs=/scratch"], "sleep 1000 & sleep 1d");
    engine.start_script("ended", &[], "exit 1");
    engine.call(&["exec", "--detach", "running", "sleep", "4714"]);
    engine.call(&["wait", "ended"]);
    engine.call(&["rm", "--force", "running", "ended"]);
    let failed = engine.run_output(&["--rm"], &["no-such-program"]);
    assert!(!failed.status.success());
    Place::assert_same("mounts", &mounts, mounted);
    Place::assert_same("cgroups", &cgroups, || place.cgroups());
    Place::assert_same("processes", &processes, || place.processes());
    Place::assert_same("state", &before, state);
}

#[test]
fn containers_outlive_dockers_daemon_and_are_found_again() {
    let Some(mut engine) = Engine::start(Kind::Docker) else { return };
    engine.start_script("stays", &[], "sleep 1d");
    engine.start_script("ends", &[], "while ! test -e /tmp/end; do sleep 0.1; done; exit 6");
    engine.start_script("stands", &[], "sleep 1d");
    engine.call(&["pause", "stands"]);
    let (stays, ends) = (engine.pid("stays"), engine.pid("ends"));
    engine.end_daemon();
    engine.place.shell(&format!("kill -0 {stays} && touch /proc/{ends}/root/tmp/end"));
    wait_until("it has ended meanwhile", || {
        let gone = engine.place.command("sh").args(["-c", &format!("kill -0 {ends}")]).output().ok()?;
        (!gone.status.success()).then_some(())
    });
    engine.start_daemon();
    assert_eq!(engine.pid("stays"), stays);
    assert_eq!(engine.call(&["exec", "stays", "echo", "found"]), "found");
    assert_eq!(engine.wait_for("ends", "exited")["State"]["ExitCode"], 6);
    assert_eq!(engine.inspect("stands")["State"]["Status"], "paused");
    engine.call(&["unpause", "stands"]);
    engine.call(&["rm", "--force", "stays", "ends", "stands"]);
}
