//! The life of a container: create, start, state, kill, delete, run, and everything that is refused on the way.

use std::fs;

use belljar_testbed::process::{is_alive, parent};
use belljar_testbed::wait_until;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use serde_json::json;

use crate::bed::{Bed, Kind, Runtime, Said, is_version_2};
use crate::differences::Difference;

sentences! {
    create_makes_a_container_that_waits, start_runs_what_create_made, the_state_has_the_fields_of_the_specification,
    a_stopped_container_has_no_process, a_second_start_is_refused, a_running_container_is_not_started_again,
    a_container_that_does_not_exist_is_an_error_of_every_command, an_id_is_used_once, bad_ids_are_refused, ids_of_every_allowed_character_work,
    kill_takes_names_with_and_without_the_prefix_and_numbers, an_unknown_signal_is_refused, a_stopped_container_is_not_killed,
    kill_all_reaches_every_process, kill_reaches_a_container_that_was_not_started, delete_is_refused_while_the_container_runs,
    delete_with_force_ends_a_running_container, delete_of_a_container_that_waits_ends_it, delete_with_force_of_a_missing_container_is_fine,
    deletion_leaves_nothing, run_returns_the_exit_status, run_returns_128_and_the_signal, run_removes_the_container_at_its_end,
    run_passes_signals_on, a_missing_program_is_status_127_or_an_error_of_create, a_program_without_the_right_to_run_is_refused,
    an_exit_status_reaches_the_parent_of_a_detached_container, standard_input_output_and_error_are_the_callers,
    the_pid_file_names_the_first_process, detached_run_returns_while_the_container_runs, extra_descriptors_are_passed_only_when_asked,
    socket_activation_passes_listening_sockets, nothing_else_is_open_in_the_container, signals_are_neither_blocked_nor_ignored,
    annotations_are_in_the_state, a_bundle_is_found_by_its_option, a_failed_create_leaves_nothing,
    what_somebody_else_froze_is_paused_and_can_be_resumed_and_killed,
}

fn create_makes_a_container_that_waits(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("echo ran > /ran").create();
    assert_eq!(bed.status(), "created");
    assert!(is_alive(bed.pid()), "its process waits");
    assert!(!bed.root("ran").exists(), "the program must not run before start");
}

fn start_runs_what_create_made(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("echo $$; exec sleep 1000").create();
    let pid = bed.pid();
    bed.start().wait_output("1\n");
    assert_eq!((bed.status().as_str(), bed.pid()), ("running", pid), "the process is the one that waited");
    bed.end();
    assert_eq!(bed.status(), "stopped");
}

fn the_state_has_the_fields_of_the_specification(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["annotations"] = json!({"org.example.key": "value"})).sleeping();
    let state = bed.state();
    assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{state}");
    assert_eq!(state["id"], bed.id());
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], bed.path("bundle").to_str().unwrap());
    assert_eq!(state["annotations"], json!({"org.example.key": "value"}));
    // What runc says beyond the specification, and engines read.
    if !bed.differs(Difference::StateAsWritten) {
        assert_eq!(state["rootfs"], bed.root("").to_str().unwrap().trim_end_matches('/'));
    }
    assert!(state["created"].as_str().is_some_and(|time| time.contains('T') && time.ends_with('Z')), "{state}");
    assert_eq!(state["owner"], if bed.kind() == Kind::Crun { "root" } else { "" });
}

fn a_stopped_container_has_no_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping().end();
    let state = bed.state();
    assert_eq!((state["status"].as_str(), state["pid"].as_i64().unwrap_or(0)), (Some("stopped"), 0), "{state}");
    bed.delete().ok();
    bed.assert_nothing_left();
}

fn a_second_start_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping().end();
    bed.call(&["start", bed.id()]).refused();
}

fn a_running_container_is_not_started_again(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.call(&["start", bed.id()]).refused();
    assert_eq!(bed.status(), "running", "the refusal changes nothing");
}

fn a_container_that_does_not_exist_is_an_error_of_every_command(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for command in [&["state"][..], &["start"], &["delete"], &["pause"], &["resume"], &["ps"], &["update", "--memory", "67108864"]] {
        let said = bed.call(&[command, &["nobody"]].concat());
        if command != ["ps"] || !bed.differs(Difference::StatusOfPs) {
            assert_eq!(said.code(), 1, "{command:?}: {said:?}");
        }
        said.refused();
    }
    bed.call(&["kill", "nobody", "KILL"]).refused();
    bed.call(&["exec", "nobody", "true"]).refused();
}

fn an_id_is_used_once(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let said = bed.try_create(&[]).refused();
    assert!(said.contains("exist"), "{said}");
    assert_eq!(bed.status(), "running", "the refusal does not touch the first one");
}

fn bad_ids_are_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&["true"]);
    let mut bad = vec!["", "../escape", "a/b"];
    if !bed.differs(Difference::LooseIds) {
        bad.extend(["/abs", "a b", "a*", ".", "..", "a\n", "é"]);
    }
    for id in bad {
        let said = bed.call(&["run", id]);
        assert!(!said.status.success(), "the id {id:?} was taken");
    }
    assert!(!bed.path("escape").exists());
}

fn ids_of_every_allowed_character_work(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let id = format!("{}_Aa0+-.", bed.id());
    bed.arguments(&["true"]).call(&["run", &id]).ok();
}

fn kill_takes_names_with_and_without_the_prefix_and_numbers(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script(
        "trap 'echo hup' HUP; trap 'echo one' USR1; trap 'echo two' USR2; trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done",
    );
    bed.create().start().wait_output("ready");
    bed.kill("HUP").ok();
    bed.wait_output("hup");
    bed.kill("SIGUSR1").ok();
    bed.wait_output("one");
    bed.kill("12").ok();
    bed.wait_output("two");
    let pid = bed.pid();
    bed.call(&["kill", bed.id()]).ok();
    assert_eq!(bed.wait_end(pid), WaitStatus::Exited(Pid::from_raw(pid), 7), "TERM is what is sent by default");
}

fn an_unknown_signal_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    if bed.differs(Difference::UnknownSignal) {
        return;
    }
    for signal in ["NOSUCH", "SIG", "12x"] {
        let said = bed.kill(signal);
        assert!(!said.status.success(), "the signal {signal:?} was taken");
    }
    assert_eq!(bed.status(), "running");
}

fn a_stopped_container_is_not_killed(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping().end();
    bed.kill("KILL").refused();
}

fn kill_all_reaches_every_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.without_namespace("pid").script("sleep 1000 & sleep 1000 & echo ready; wait; exec sleep 1000").create().start();
    bed.wait_output("ready");
    let pid = bed.pid();
    bed.call(&["kill", "--all", bed.id(), "KILL"]).ok();
    bed.wait_end(pid);
    bed.delete().ok();
    bed.assert_nothing_left();
}

fn kill_reaches_a_container_that_was_not_started(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&["sleep", "1000"]).create();
    let pid = bed.pid();
    bed.kill("KILL").ok();
    assert_eq!(bed.wait_end(pid), WaitStatus::Signaled(Pid::from_raw(pid), Signal::SIGKILL, false));
    wait_until("it is stopped", || (bed.status() == "stopped").then_some(()));
    bed.delete().ok();
}

fn delete_is_refused_while_the_container_runs(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.delete().refused();
    assert_eq!(bed.status(), "running");
}

fn delete_with_force_ends_a_running_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("sleep 1000 & exec sleep 1000").create().start();
    bed.call(&["delete", "--force", bed.id()]).ok();
    bed.assert_nothing_left();
}

fn delete_of_a_container_that_waits_ends_it(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&["sleep", "1000"]).create();
    let pid = bed.pid();
    bed.delete().ok();
    bed.wait_end(pid);
    bed.assert_nothing_left();
}

fn delete_with_force_of_a_missing_container_is_fine(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.call(&["delete", "--force", "nobody"]).ok();
}

fn deletion_leaves_nothing(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.end();
    bed.delete().ok();
    bed.assert_nothing_left();
    bed.call(&["state", bed.id()]).refused();
}

fn run_returns_the_exit_status(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    for status in [0, 1, 42, 255] {
        assert_eq!(bed.run(&format!("exit {status}")).code(), status);
    }
}

fn run_returns_128_and_the_signal(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    // The first process of a PID namespace cannot end itself with a signal, so the namespace is the host's.
    bed.without_namespace("pid");
    assert_eq!(bed.run("kill -TERM $$").code(), 143);
    assert_eq!(bed.run("kill -KILL $$").code(), 137);
}

fn run_removes_the_container_at_its_end(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.run("true").ok();
    bed.assert_nothing_left();
}

fn run_passes_signals_on(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("trap 'echo hup' HUP; trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done");
    let mut command = bed.command(&["run", bed.id()]);
    let output = fs::File::create(bed.path("output")).unwrap();
    let mut child = command.stdin(std::process::Stdio::null()).stdout(output).spawn().expect("the runtime starts");
    bed.wait_output("ready");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    bed.wait_output("hup");
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

fn a_missing_program_is_status_127_or_an_error_of_create(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&["/bin/no-such-program"]);
    let said = bed.run_as_is();
    assert_eq!(said.code(), 1, "{said:?}");
    let said = said.refused();
    assert!(said.contains("no-such-program") && said.to_lowercase().contains("no such file"), "{said}");
    bed.assert_nothing_left();
    bed.arguments(&["not-in-the-path"]).run_as_is().refused();
}

fn a_program_without_the_right_to_run_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::write(bed.root("etc/text"), "text").unwrap();
    let said = bed.arguments(&["/etc/text"]).run_as_is().refused();
    assert!(said.to_lowercase().contains("permission denied"), "{said}");
    bed.assert_nothing_left();
}

fn an_exit_status_reaches_the_parent_of_a_detached_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("exit 33").create();
    let pid = bed.pid();
    wait_until("this process is its parent", || (parent(pid) == i32::try_from(std::process::id()).ok()).then_some(()));
    bed.start();
    assert_eq!(bed.wait_end(pid), WaitStatus::Exited(Pid::from_raw(pid), 33));
}

fn standard_input_output_and_error_are_the_callers(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("read line; echo \"out $line\"; echo \"err $line\" >&2");
    fs::write(bed.path("input"), "hello\n").unwrap();
    let mut command = bed.command(&["run", bed.id()]);
    let output = command.stdin(fs::File::open(bed.path("input")).unwrap()).output().expect("the runtime starts");
    assert_eq!((output.stdout, output.stderr), (b"out hello\n".to_vec(), b"err hello\n".to_vec()));
}

fn the_pid_file_names_the_first_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let file = bed.path("pid");
    bed.arguments(&["sleep", "1000"]).try_create(&["--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(file).unwrap(), bed.pid().to_string(), "a number and nothing else");
}

fn detached_run_returns_while_the_container_runs(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.arguments(&["sleep", "1000"]);
    let file = bed.path("pid");
    Said::in_files(
        bed.command(&["run", "--detach", "--pid-file", file.to_str().unwrap(), bed.id()]),
        &bed.path("output"),
        &bed.path("errors"),
    )
    .ok();
    assert_eq!(bed.status(), "running");
    assert_eq!(fs::read_to_string(file).unwrap(), bed.pid().to_string());
}

/// The runtime behind a shell that opens descriptors for it; `before` is what the shell does first.
fn behind_a_shell(bed: &Bed, before: &str, arguments: &[&str]) -> Said {
    let command = bed.command(arguments);
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("{before}; exec \"$@\"")).arg("sh").arg(command.get_program()).args(command.get_args());
    shell.current_dir(bed.path("bundle"));
    Said::of(shell)
}

fn extra_descriptors_are_passed_only_when_asked(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::write(bed.path("three"), "third").unwrap();
    fs::write(bed.path("four"), "fourth").unwrap();
    let before = format!("exec 3< {} 4< {}", bed.path("three").display(), bed.path("four").display());
    bed.script("cat <&3; cat <&4");
    assert_eq!(behind_a_shell(&bed, &before, &["run", "--preserve-fds", "2", bed.id()]).ok(), "thirdfourth");
    bed.script("cat <&3; test -e /proc/self/fd/4 && echo leaked; true");
    assert_eq!(behind_a_shell(&bed, &before, &["run", "--preserve-fds", "1", bed.id()]).ok(), "third");
    bed.arguments(&DESCRIPTORS);
    assert_eq!(behind_a_shell(&bed, &before, &["run", bed.id()]).line(), "0\n1\n2\n3");
}

fn socket_activation_passes_listening_sockets(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    fs::write(bed.path("three"), "socket").unwrap();
    let before = format!("exec 3< {}; export LISTEN_FDS=1 LISTEN_PID=$$", bed.path("three").display());
    bed.script("cat <&3; echo \" $LISTEN_FDS $LISTEN_PID\"");
    let expected = if bed.differs(Difference::ListenFds) { "socket  1" } else { "socket 1 1" };
    assert_eq!(behind_a_shell(&bed, &before, &["run", bed.id()]).line(), expected);
    bed.script("cat <&3");
    let of_another = before.replace("$$", "1");
    let said = behind_a_shell(&bed, &of_another, &["run", bed.id()]);
    assert!(!said.status.success() || bed.differs(Difference::ListenFdsOfAnother), "{said:?}");
}

/// Prints the open descriptors of the process itself; the highest is that by which it lists them.
const DESCRIPTORS: [&str; 2] = ["ls", "/proc/self/fd"];

fn nothing_else_is_open_in_the_container(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.arguments(&DESCRIPTORS).run_as_is().line(), "0\n1\n2\n3");
    bed.sleeping();
    assert_eq!(bed.call(&[&["exec", bed.id()][..], &DESCRIPTORS].concat()).line(), "0\n1\n2\n3");
}

fn signals_are_neither_blocked_nor_ignored(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let expected = if bed.differs(Difference::IgnoredSignals) { "ignored" } else { "default" };
    let read = "grep -q 'SigBlk:.0000000000000000' /proc/self/status && grep -q 'SigIgn:.0000000000000000' /proc/self/status";
    bed.script(&format!("{read} && echo default || echo ignored"));
    assert_eq!(behind_a_shell(&bed, "trap '' QUIT", &["run", bed.id()]).line(), expected);
    bed.sleeping();
    let said = behind_a_shell(&bed, "trap '' QUIT", &["exec", bed.id(), "sh", "-c", &format!("{read} && echo default || echo ignored")]);
    assert_eq!(said.line(), expected);
}

fn annotations_are_in_the_state(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["annotations"] = json!({"a": "1", "b/c": "", "d": "é \" \\"})).arguments(&["true"]).create();
    assert_eq!(bed.state()["annotations"], json!({"a": "1", "b/c": "", "d": "é \" \\"}));
}

fn a_bundle_is_found_by_its_option(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("echo here");
    for option in ["--bundle", "-b"] {
        let mut command = bed.command(&["run", option, bed.path("bundle").to_str().unwrap(), bed.id()]);
        command.current_dir("/");
        assert_eq!(Said::of(command).line(), "here");
    }
    bed.call(&["run", "--bundle", "/nowhere", bed.id()]).refused();
}

fn a_failed_create_leaves_nothing(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.mount(json!({"destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"]}));
    bed.try_create(&[]).refused();
    bed.assert_nothing_left();
    bed.call(&["state", bed.id()]).refused();
}

/// By the freezer of version 1, also where the runtime itself would take version 2's.
fn what_somebody_else_froze_is_paused_and_can_be_resumed_and_killed(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let hierarchies = std::path::Path::new("/sys/fs/cgroup");
    let ((file, word), (told, says)) = if is_version_2() {
        let own = hierarchies.join(bed.id());
        ((own.join("cgroup.freeze"), "1"), (own.join("cgroup.events"), "frozen 1\n"))
    } else {
        let file = hierarchies.join("freezer").join(bed.id()).join("freezer.state");
        ((file.clone(), "FROZEN"), (file, "FROZEN\n"))
    };
    if !file.exists() {
        return belljar_testbed::skip("the controller freezer");
    }
    let freeze = || {
        fs::write(&file, word).unwrap();
        wait_until("it is frozen", || fs::read_to_string(&told).ok().filter(|told| told.ends_with(says)));
        assert_eq!(bed.status(), "paused");
    };
    freeze();
    if !bed.differs(Difference::ExecWhilePaused) {
        bed.exec("true").refused();
    }
    bed.call(&["resume", bed.id()]).ok();
    assert_eq!(bed.status(), "running");
    freeze();
    if bed.differs(Difference::FrozenKill) {
        return drop(bed.call(&["resume", bed.id()]).ok());
    }
    bed.end();
}
