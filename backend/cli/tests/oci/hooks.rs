//! Hooks: which run, when, in whose namespaces, with what on their standard input, and what a failing one does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use belljar_testbed::process::{command_line, is_alive, kill_hard, pids};
use belljar_testbed::wait_until;
use serde_json::{Value, json};

use crate::bed::said::{LIMIT, wait_or_kill};
use crate::bed::{Bed, Kind, Runtime};
use crate::differences::Difference;

sentences! {
    every_hook_runs_in_its_time, hooks_read_the_state, hooks_of_the_runtime_run_outside_and_others_inside, hooks_have_their_own_environment_only,
    hooks_of_a_kind_run_in_order, a_failing_hook_before_the_start_ends_the_creation, a_failing_create_container_hook_ends_the_creation,
    a_failing_start_container_hook_ends_the_start, a_failing_poststart_hook_is_told, a_hook_need_not_read_its_input,
    a_failing_poststop_hook_does_not_stop_the_deletion, a_hook_that_takes_too_long_is_ended, a_missing_hook_is_an_error,
    a_hook_after_the_start_that_takes_too_long_is_ended, a_hook_of_the_end_that_takes_too_long_is_ended,
    a_relative_hook_is_refused, hooks_have_their_arguments, hooks_see_the_root_before_the_program_runs, a_hook_can_enter_the_network,
    a_failed_creation_ends_with_the_hooks_of_the_end, a_container_is_known_while_its_poststart_hooks_run,
    a_container_whose_maker_is_killed_in_a_poststart_hook_is_known, hooks_before_the_start_find_the_pid_in_the_state,
    a_poststart_hook_may_use_its_container, a_poststop_hook_may_ask_for_its_container, a_container_stuck_in_a_poststart_hook_answers,
    a_deletion_by_force_ends_a_hook_that_hangs,
}

/// One hook: a shell outside that appends to the bed's file `notes`.
fn noting(bed: &Bed, word: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat > /dev/null; echo {word} >> {}", bed.path("notes").display())]})
}

fn notes(bed: &Bed) -> String {
    fs::read_to_string(bed.path("notes")).unwrap_or_default()
}

/// One hook inside: the root's shell appends to `/notes`.
fn noting_inside(word: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat > /dev/null; echo {word} >> /notes")], "env": ["PATH=/bin"]})
}

fn hooks(bed: &Bed, hooks: Value) {
    bed.configure(|config| config["hooks"] = hooks);
}

fn every_hook_runs_in_its_time(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let note = |word: &str| json!([noting(&bed, word)]);
    hooks(
        &bed,
        json!({
            "prestart": note("prestart"), "createRuntime": note("createRuntime"), "createContainer": note("createContainer"),
            "startContainer": [noting_inside("startContainer")], "poststart": note("poststart"), "poststop": note("poststop"),
        }),
    );
    bed.arguments(&["sleep", "1000"]).create();
    let early = if bed.differs(Difference::PoststartAtCreate) { "poststart\n" } else { "" };
    assert_eq!(notes(&bed), format!("prestart\ncreateRuntime\ncreateContainer\n{early}"), "before create returns");
    assert!(!bed.root("notes").exists());
    bed.start();
    // crun does not wait for it.
    let inside = || fs::read_to_string(bed.root("notes")).ok().filter(|notes| !notes.is_empty());
    assert_eq!(belljar_testbed::wait_until("the hook inside runs", inside), "startContainer\n");
    assert_eq!(notes(&bed), "prestart\ncreateRuntime\ncreateContainer\npoststart\n");
    bed.end();
    assert!(!notes(&bed).contains("poststop"), "only delete runs it");
    bed.delete().ok();
    assert!(notes(&bed).ends_with("poststart\npoststop\n"), "{}", notes(&bed));
}

fn hooks_read_the_state(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let into = |name: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("cat > {}", bed.path(name).display())]}]);
    hooks(&bed, json!({"createRuntime": into("creating"), "poststart": into("running"), "poststop": into("stopped")}));
    bed.configure(|config| config["annotations"] = json!({"key": "value"}));
    bed.sleeping();
    let pid = bed.pid();
    bed.end();
    bed.delete().ok();
    for name in ["creating", "running", "stopped"] {
        let state: Value = serde_json::from_slice(&fs::read(bed.path(name)).unwrap()).expect("the state is JSON");
        assert_eq!(state["id"], bed.id());
        assert_eq!(state["bundle"], bed.path("bundle").to_str().unwrap());
        assert_eq!(state["annotations"]["key"], "value", "{state}");
        assert!(state["ociVersion"].is_string(), "{state}");
        assert!(state["status"] == name || bed.differs(Difference::StatusOfHooks), "{name}: {state}");
        if name != "stopped" {
            assert_eq!(state["pid"], pid, "{name}: {state}");
        }
    }
}

fn hooks_of_the_runtime_run_outside_and_others_inside(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let into = |name: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("cat > /dev/null; (readlink /proc/self/ns/mnt; readlink /proc/self/ns/net) > {}", bed.path(name).display())]}]);
    let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; (readlink /proc/self/ns/mnt; readlink /proc/self/ns/net) > /inside"], "env": ["PATH=/bin"]}]);
    hooks(
        &bed,
        json!({"createRuntime": into("runtime"), "createContainer": into("container"), "startContainer": inside, "poststart": into("after")}),
    );
    bed.sleeping();
    let of = |pid: &str| -> String {
        ["mnt", "net"].map(|kind| format!("{}\n", fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display())).concat()
    };
    let (host, container) = (of("self"), of(&bed.pid().to_string()));
    assert_eq!(fs::read_to_string(bed.root("inside")).unwrap(), container);
    assert_eq!(fs::read_to_string(bed.path("container")).unwrap(), container);
    // crun is called in a mount namespace of its own here, so the network's is compared for all.
    let net = |text: &str| text.lines().nth(1).map(str::to_owned);
    assert_eq!(net(&fs::read_to_string(bed.path("runtime")).unwrap()), net(&host));
    assert_eq!(net(&fs::read_to_string(bed.path("after")).unwrap()), net(&host));
}

fn hooks_have_their_own_environment_only(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let script = format!("/usr/bin/env > {}", bed.path("notes").display());
    hooks(&bed, json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["ONE=1", "TWO=2"]}]}));
    bed.arguments(&["true"]);
    let mut command = bed.command(&["run", bed.id()]);
    command.env("HOST_SECRET", "leaked");
    crate::bed::Said::of(command).ok();
    let seen = notes(&bed);
    assert!(seen.contains("ONE=1\n") && seen.contains("TWO=2\n") && !seen.contains("HOST_SECRET"), "{seen}");
}

fn hooks_have_their_arguments(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let path = bed.path("hook");
    fs::write(&path, format!("#!/bin/sh\nfor i in \"$@\"; do echo \"$i\" >> {}; done\n", bed.path("notes").display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    hooks(&bed, json!({"createRuntime": [{"path": path, "args": ["name", "a b", "", "*"]}]}));
    bed.run("true").ok();
    assert_eq!(notes(&bed), "a b\n\n*\n");
}

fn hooks_of_a_kind_run_in_order(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    hooks(&bed, json!({"createRuntime": [noting(&bed, "1"), noting(&bed, "2"), noting(&bed, "3")]}));
    bed.run("true").ok();
    assert_eq!(notes(&bed), "1\n2\n3\n");
}

const FAILING: &str = "cat > /dev/null; echo from the hook >&2; exit 5";

/// A hook of this kind fails before the program runs: nothing ran, nothing stays, and what was to come did not.
fn assert_ends_creation(bed: &Bed, kind: &str) {
    let failing = json!({"path": "/bin/sh", "args": ["sh", "-c", FAILING], "env": ["PATH=/bin"]});
    hooks(bed, json!({kind: [failing, noting(bed, "second")], "poststart": [noting(bed, "poststart")]}));
    let said = bed.run("echo ran").refused();
    assert!(said.contains("hook"), "{said}");
    let is_named = said.contains(&format!("hooks.{kind}[0] /bin/sh")) && said.contains("exited with 5: from the hook");
    assert!(is_named || bed.kind() != Kind::Ours, "{said}");
    assert_eq!(notes(bed), "", "no hook comes after it");
    bed.assert_nothing_left();
}

fn a_failing_hook_before_the_start_ends_the_creation(runtime: &Runtime) {
    assert_ends_creation(&Bed::new(runtime), "createRuntime");
    assert_ends_creation(&Bed::new(runtime), "prestart");
}

fn a_failing_create_container_hook_ends_the_creation(runtime: &Runtime) {
    assert_ends_creation(&Bed::new(runtime), "createContainer");
}

/// A plug-in that was told of the container's beginning has to hear of its end.
fn a_failed_creation_ends_with_the_hooks_of_the_end(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let failing = json!({"path": "/bin/sh", "args": ["sh", "-c", FAILING]});
    hooks(&bed, json!({"createRuntime": [noting(&bed, "began"), failing], "poststop": [noting(&bed, "ended")]}));
    let said = bed.run("true").refused();
    assert!(said.contains("hooks.createRuntime[1] /bin/sh") || bed.kind() != Kind::Ours, "{said}");
    let end = if bed.differs(Difference::SilentAbandon) { "" } else { "ended\n" };
    assert_eq!(notes(&bed), format!("began\n{end}"));
    bed.assert_nothing_left();
}

fn a_failing_start_container_hook_ends_the_start(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let failing = json!({"path": "/bin/sh", "args": ["sh", "-c", FAILING], "env": ["PATH=/bin"]});
    hooks(&bed, json!({"startContainer": [failing]}));
    let said = bed.run("echo ran > /ran");
    assert!(!said.status.success(), "{said:?}");
    assert!(!bed.root("ran").exists());
    bed.assert_nothing_left();
}

fn a_failing_poststart_hook_is_told(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::PoststartAtCreate) {
        return;
    }
    hooks(&bed, json!({"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", FAILING]}]}));
    bed.arguments(&["sleep", "1000"]).create();
    let said = bed.call(&["start", bed.id()]);
    assert!(!said.err.is_empty() || bed.differs(Difference::SilentPoststart), "{said:?}");
}

fn a_hook_need_not_read_its_input(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::HookWithoutReading) {
        return;
    }
    bed.configure(|config| config["annotations"] = json!({"long": "x".repeat(200_000)}));
    let quick = json!([{"path": "/bin/true"}]);
    hooks(&bed, json!({"createRuntime": quick, "createContainer": quick, "poststart": quick, "poststop": quick}));
    assert_eq!(bed.run("echo ran").line(), "ran", "a pipe that is full, or closed, is no failure of the hook");
}

fn a_failing_poststop_hook_does_not_stop_the_deletion(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    hooks(&bed, json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", FAILING]}, noting(&bed, "second")]}));
    bed.sleeping();
    bed.end();
    let _logged_but_not_fatal = bed.delete();
    let expected = if bed.differs(Difference::StopsAtPoststop) { "" } else { "second\n" };
    assert_eq!(notes(&bed), expected, "the next one runs nevertheless");
    bed.assert_nothing_left();
}

/// A hook that would take longer than a test may, and is given one second. Outside, its command line has the bed's id, by which
/// it is found if it stays; inside, it is found by its cgroup.
fn slow(bed: &Bed, kind: &str) -> Value {
    let name = if kind == "startContainer" { "sleep" } else { bed.id() };
    json!({kind: [{"path": "/bin/sleep", "args": [name, "100"], "timeout": 1}, noting(bed, "second")]})
}

/// What takes as long as this has waited for the hook.
const TOO_LONG: Duration = Duration::from_secs(50);

fn a_hook_that_takes_too_long_is_ended(runtime: &Runtime) {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let bed = Bed::new(runtime);
        hooks(&bed, slow(&bed, kind));
        let begun = Instant::now();
        let said = bed.run("echo ran > /ran").refused();
        assert!(begun.elapsed() < TOO_LONG, "{kind}: it waited for the hook: {said}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{kind}: it had its second: {said}");
        let is_named = said.contains(&format!("hooks.{kind}[0] /bin/sleep")) && said.contains("after 1 s");
        assert!(is_named || bed.kind() != Kind::Ours, "{kind}: {said}");
        assert!(!bed.root("ran").exists() && notes(&bed).is_empty(), "{kind}: neither the program nor the next hook runs");
        bed.assert_nothing_left();
    }
    let bed = Bed::new(runtime);
    hooks(&bed, json!({"createRuntime": [{"path": "/bin/true", "timeout": 0}]}));
    let said = bed.run("true");
    assert!(!said.status.success() || bed.differs(Difference::HookTimeoutZero), "a time limit is more than nothing: {said:?}");
}

fn a_hook_after_the_start_that_takes_too_long_is_ended(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::PoststartAtCreate) {
        return;
    }
    hooks(&bed, slow(&bed, "poststart"));
    bed.arguments(&["sleep", "1000"]).create();
    let begun = Instant::now();
    let said = bed.call(&["start", bed.id()]);
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < TOO_LONG, "{said:?}");
    assert!(!said.err.is_empty() || bed.differs(Difference::SilentPoststart), "{said:?}");
    assert_eq!(still_runs(&bed), [0; 0], "the hook is ended");
    bed.call(&["delete", "--force", bed.id()]).ok();
    bed.assert_nothing_left();
}

fn a_hook_of_the_end_that_takes_too_long_is_ended(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    hooks(&bed, slow(&bed, "poststop"));
    bed.sleeping();
    bed.end();
    let begun = Instant::now();
    let said = bed.delete();
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < TOO_LONG, "{said:?}");
    assert_eq!(still_runs(&bed), [0; 0], "the hook is ended");
    let expected = if bed.differs(Difference::StopsAtPoststop) { "" } else { "second\n" };
    assert_eq!(notes(&bed), expected, "the next one runs nevertheless");
    bed.assert_nothing_left();
}

/// Hooks of [`slow`] outside that still run.
fn still_runs(bed: &Bed) -> Vec<i32> {
    let name = format!("{} 100", bed.id());
    pids().into_iter().filter(|pid| is_alive(*pid) && command_line(*pid) == name).collect()
}

fn a_missing_hook_is_an_error(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    hooks(&bed, json!({"createRuntime": [{"path": "/no/such/hook"}]}));
    let said = bed.run("true").refused();
    assert!(said.contains("hook"), "{said}");
    bed.assert_nothing_left();
}

fn a_relative_hook_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    hooks(&bed, json!({"createRuntime": [{"path": "sh", "args": ["sh", "-c", "true"]}]}));
    let said = bed.run("true");
    assert!(!said.status.success() || bed.differs(Difference::RelativeHook), "{said:?}");
    bed.assert_nothing_left();
}

fn hooks_see_the_root_before_the_program_runs(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let script = format!("grep -c devpts /proc/self/mountinfo >> {}", bed.path("notes").display());
    hooks(&bed, json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}));
    bed.run("true").ok();
    assert!(notes(&bed).trim().parse::<u32>().is_ok_and(|count| count >= 1), "mounts are made: {}", notes(&bed));
}

/// A hook that says that it is there, and stays.
fn staying(bed: &Bed) -> Value {
    let notes = bed.path("notes").display().to_string();
    // What it began has the bed in its name too, by which it is found where it is left.
    json!({"path": "/bin/sh", "args": ["sh", "-c", format!("echo in >> {notes}; tail -f {notes}; true")], "env": ["PATH=/bin:/usr/bin"]})
}

/// A command that stays in a hook, which this waits for.
fn in_its_hook(bed: &Bed, arguments: &[&str]) -> Child {
    let log = || fs::File::options().create(true).append(true).open(bed.path("output")).unwrap();
    let child = bed.command(arguments).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap();
    wait_until("the hook runs", || (notes(bed) == "in\n").then_some(()));
    child
}

/// Makes a container whose command stays in a poststart hook: in the foreground, detached, and started by itself.
fn each_in_its_poststart_hook(runtime: &Runtime, then: impl Fn(&Bed, Child)) {
    for words in [&["run"][..], &["run", "--detach"], &["start"]] {
        let bed = Bed::new(runtime);
        hooks(&bed, json!({"poststart": [staying(&bed)]}));
        bed.arguments(&["sleep", "1000"]);
        if words == ["start"] {
            bed.create();
        }
        let child = in_its_hook(&bed, &[words, &[bed.id()]].concat());
        then(&bed, child);
    }
}

fn a_container_is_known_while_its_poststart_hooks_run(runtime: &Runtime) {
    if Difference::PoststartAtCreate.holds_for(runtime.kind()) {
        return;
    }
    each_in_its_poststart_hook(runtime, |bed, child| {
        let state = bed.state();
        assert_eq!(state["status"], "running");
        assert_ne!(state["pid"], 0);
        assert_eq!(bed.exec("echo inside").line(), "inside");
        bed.kill("KILL").ok();
        wait_until("the container is stopped", || (bed.status() == "stopped").then_some(()));
        kill_hard(i32::try_from(child.id()).unwrap());
        wait_or_kill(child, LIMIT).unwrap();
    });
}

fn a_container_whose_maker_is_killed_in_a_poststart_hook_is_known(runtime: &Runtime) {
    if Difference::PoststartAtCreate.holds_for(runtime.kind()) {
        return;
    }
    each_in_its_poststart_hook(runtime, |bed, child| {
        kill_hard(i32::try_from(child.id()).unwrap());
        wait_or_kill(child, LIMIT).unwrap();
        assert_eq!(bed.status(), "running", "its program runs on");
        let pid = bed.pid();
        bed.call(&["delete", "--force", bed.id()]).ok();
        wait_until("its program is gone", || (!is_alive(pid)).then_some(()));
    });
}

/// A command of the runtime as a shell has it.
fn shell_words(bed: &Bed, arguments: &[&str]) -> String {
    let command = bed.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.display())).collect::<Vec<_>>().join(" ")
}

/// A hook that calls the runtime with each of these, and notes how that ended.
fn calling(bed: &Bed, calls: &[&[&str]]) -> Value {
    let (notes, said) = (bed.path("notes").display().to_string(), bed.path("said").display().to_string());
    let call = |arguments: &&[&str]| format!("{} >> {said} 2>&1; echo {} $? >> {notes}", shell_words(bed, arguments), arguments[0]);
    let script = calls.iter().map(call).collect::<Vec<_>>().join("; ");
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
}

fn a_poststart_hook_may_use_its_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::PoststartAtCreate) {
        return;
    }
    let id = bed.id();
    let calls = [&["state", id][..], &["update", "--pids-limit", "77", id], &["pause", id], &["resume", id], &["exec", id, "true"]];
    hooks(&bed, json!({"poststart": [calling(&bed, &calls)]}));
    let expected = "state 0\nupdate 0\npause 0\nresume 0\nexec 0\n";
    bed.sleeping();
    assert_eq!(notes(&bed), expected, "{}", fs::read_to_string(bed.path("said")).unwrap());
    assert_eq!(bed.limit(("pids", "pids.max"), "pids.max"), "77");
    bed.call(&["delete", "--force", id]).ok();
    fs::remove_file(bed.path("notes")).unwrap();
    bed.call(&["run", "--detach", id]).ok();
    assert_eq!(notes(&bed), expected, "{}", fs::read_to_string(bed.path("said")).unwrap());
}

fn a_poststop_hook_may_ask_for_its_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    hooks(&bed, json!({"poststop": [calling(&bed, &[&["state", bed.id()]])]}));
    bed.sleeping().end();
    bed.delete().ok();
    let notes = notes(&bed);
    assert!(notes.starts_with("state "), "it is answered: {notes}");
    bed.assert_nothing_left();
}

fn a_container_stuck_in_a_poststart_hook_answers(runtime: &Runtime) {
    if Difference::PoststartAtCreate.holds_for(runtime.kind()) {
        return;
    }
    each_in_its_poststart_hook(runtime, |bed, child| {
        bed.call(&["pause", bed.id()]).ok();
        bed.call(&["resume", bed.id()]).ok();
        let pid = bed.pid();
        bed.call(&["delete", "--force", bed.id()]).ok();
        wait_until("its program is gone", || (!is_alive(pid)).then_some(()));
        kill_hard(i32::try_from(child.id()).unwrap());
        wait_or_kill(child, LIMIT).unwrap();
    });
}

fn a_deletion_by_force_ends_a_hook_that_hangs(runtime: &Runtime) {
    if Difference::UnknownToHooks.holds_for(runtime.kind()) {
        return;
    }
    let making = [&["create"][..], &["run"], &["run", "--detach"]];
    let before = ["prestart", "createRuntime", "createContainer"].into_iter().flat_map(|kind| making.map(|words| (kind, words)));
    let last = [&["start"][..], &["run"], &["run", "--detach"]].map(|words| ("startContainer", words));
    for (kind, words) in before.chain(last) {
        let bed = Bed::new(runtime);
        // Where a hook inside finds what it writes to.
        bed.mount(json!({"destination": bed.path(""), "type": "bind", "source": bed.path(""), "options": ["rbind"]}));
        hooks(&bed, json!({kind: [staying(&bed)], "poststop": [noting(&bed, "ended")]}));
        bed.arguments(&["sleep", "1000"]);
        if words == ["start"] {
            bed.create();
        }
        let child = in_its_hook(&bed, &[words, &[bed.id()]].concat());
        bed.call(&["delete", "--force", bed.id()]).ok();
        assert!(!wait_or_kill(child, LIMIT).unwrap().success(), "{kind} of {words:?}");
        assert_eq!(notes(&bed), "in\nended\n", "{kind} of {words:?}");
        bed.assert_nothing_left();
    }
}

fn hooks_before_the_start_find_the_pid_in_the_state(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let asking = shell_words(&bed, &["state", bed.id()]);
    let script = format!("cat > {}; {asking} > {}", bed.path("told").display(), bed.path("asked").display());
    hooks(
        &bed,
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]}),
    );
    let said = bed.run("true");
    if bed.differs(Difference::UnknownToHooks) {
        return;
    }
    said.ok();
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(bed.path(name)).unwrap()).unwrap() };
    let (told, asked) = (read("told"), read("asked"));
    assert_eq!((&asked["status"], &asked["pid"]), (&json!("creating"), &told["pid"]), "{asked}");
    assert!(asked["pid"].as_i64().is_some_and(|pid| pid > 0), "{asked}");
}

fn a_hook_can_enter_the_network(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let script =
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | tail -n 1); nsenter -t $pid -n sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'";
    let flat = format!("tr -d '\\n' | ({script})");
    hooks(&bed, json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", flat], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]}));
    assert_eq!(bed.run("cat /proc/sys/net/ipv4/ip_forward").line(), "1", "an engine's hook makes the network like this");
}
