//! How containers end, are told to end, stand still, and are started again.

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;

under_both!(
    a_stop_asks_first_and_kills_then,
    a_signal_reaches_the_first_process,
    a_paused_container_stands_still_until_it_goes_on,
    a_paused_container_can_be_removed,
    inspect_tells_the_state_as_it_changes,
    a_program_that_fails_is_started_again_as_often_as_allowed,
    a_stopped_container_is_started_again_with_its_files,
    a_container_that_was_never_started_is_removed,
    one_that_removes_itself_is_gone,
);

/// A program that says it is there, and ends with 3 when it is asked to.
const POLITE: &str = "trap 'echo asked; exit 3' TERM; echo there; while :; do sleep 0.1; done";
/// A program that does not listen.
const STUBBORN: &str = "trap '' TERM; echo there; while :; do sleep 0.1; done";

fn a_stop_asks_first_and_kills_then(engine: &Engine) {
    engine.start_script("polite", &[], POLITE);
    engine.start_script("stubborn", &[], STUBBORN);
    engine.wait_for_log("polite", "there");
    engine.wait_for_log("stubborn", "there");
    engine.call(&["stop", "--time=20", "polite"]);
    assert_eq!(engine.inspect("polite")["State"]["ExitCode"], 3);
    assert!(engine.call(&["logs", "polite"]).contains("asked"));
    engine.call(&["stop", "--time=1", "stubborn"]);
    let state = engine.inspect("stubborn")["State"].clone();
    assert_eq!((state["ExitCode"].as_i64(), state["OOMKilled"].as_bool()), (Some(137), Some(false)), "{state}");
}

fn a_signal_reaches_the_first_process(engine: &Engine) {
    let script = "trap 'echo heard' USR1; trap 'exit 5' HUP; echo there; while :; do sleep 0.1; done";
    engine.start_script("one", &[], script);
    engine.wait_for_log("one", "there");
    engine.call(&["kill", "--signal=USR1", "one"]);
    engine.wait_for_log("one", "heard");
    engine.call(&["kill", "--signal=1", "one"]);
    assert_eq!(engine.call(&["wait", "one"]), "5");
    engine.start_script("two", &[], "sleep 1d");
    engine.call(&["kill", "two"]);
    assert_eq!(engine.call(&["wait", "two"]), "137");
    assert!(!engine.output(&["kill", "two"]).status.success(), "what has ended cannot be killed");
}

fn a_paused_container_stands_still_until_it_goes_on(engine: &Engine) {
    engine.start_script("one", &[], "n=0; while :; do n=$((n + 1)); echo $n > /tmp/count; done");
    let pid = engine.pid("one");
    let count = || engine.place.shell(&format!("cat /proc/{pid}/root/tmp/count"));
    wait_until("it counts", || (!count().is_empty()).then_some(()));
    engine.call(&["pause", "one"]);
    assert_eq!(engine.inspect("one")["State"]["Status"], "paused");
    let before = count();
    assert!(belljar_testbed::wait::try_wait(std::time::Duration::from_millis(300), || (count() != before).then_some(())).is_none());
    engine.call(&["unpause", "one"]);
    engine.wait_for("one", "running");
    wait_until("it goes on", || Some(count()).filter(|now| !now.is_empty() && *now != before));
}

fn a_paused_container_can_be_removed(engine: &Engine) {
    engine.start_script("one", &[], "sleep 1d");
    engine.call(&["pause", "one"]);
    engine.call(&["rm", "--force", "one"]);
    assert_eq!(engine.call(&["ps", "--all", "--quiet"]), "");
}

fn inspect_tells_the_state_as_it_changes(engine: &Engine) {
    let words = engine.words("create", &["--name", "one"], &["sh", "-c", POLITE]);
    engine.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let made = engine.inspect("one")["State"].clone();
    assert_eq!((made["Status"].as_str(), made["Pid"].as_i64()), (Some("created"), Some(0)), "{made}");
    engine.call(&["start", "one"]);
    let runs = engine.inspect("one")["State"].clone();
    assert_eq!((runs["Status"].as_str(), runs["Running"].as_bool()), (Some("running"), Some(true)), "{runs}");
    assert_eq!(engine.place.shell(&format!("tr '\\0' ' ' < /proc/{}/cmdline", runs["Pid"])).split(' ').next(), Some("sh"));
    engine.wait_for_log("one", "there");
    engine.call(&["stop", "one"]);
    let ended = engine.inspect("one")["State"].clone();
    assert_eq!((ended["Status"].as_str(), ended["Pid"].as_i64(), ended["ExitCode"].as_i64()), (Some("exited"), Some(0), Some(3)));
}

fn a_program_that_fails_is_started_again_as_often_as_allowed(engine: &Engine) {
    engine.start_script("one", &["--restart=on-failure:2"], "echo begun; exit 4");
    let ended = wait_until("it has been started twice more", || {
        let found = engine.inspect("one");
        (found["RestartCount"] == 2 && found["State"]["Status"] == "exited").then_some(found)
    });
    assert_eq!(ended["State"]["ExitCode"], 4);
    assert_eq!(engine.call(&["logs", "one"]).matches("begun").count(), 3);
}

fn a_stopped_container_is_started_again_with_its_files(engine: &Engine) {
    engine.start_script("one", &[], "echo once more >> /root/turns; cat /root/turns");
    engine.call(&["wait", "one"]);
    engine.call(&["start", "one"]);
    engine.call(&["wait", "one"]);
    engine.call(&["restart", "one"]);
    engine.call(&["wait", "one"]);
    assert_eq!(engine.call(&["logs", "one"]).lines().count(), 1 + 2 + 3);
}

fn a_container_that_was_never_started_is_removed(engine: &Engine) {
    let words = engine.words("create", &["--name", "one"], &["true"]);
    engine.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
    if engine.kind == Kind::Podman {
        // Makes it by `create` of the runtime, without `start`.
        engine.call(&["init", "one"]);
    }
    engine.call(&["rm", "--force", "one"]);
    assert_eq!(engine.call(&["ps", "--all", "--quiet"]), "");
}

fn one_that_removes_itself_is_gone(engine: &Engine) {
    engine.start_script("one", &["--rm"], "sleep 0.2");
    wait_until("it is gone", || engine.call(&["ps", "--all", "--quiet"]).is_empty().then_some(()));
}
