//! Filters that ask somebody: `SCMP_ACT_NOTIFY` with a `listenerPath`. Who is told what, whose answer counts, and what
//! becomes of a container for whose filter nobody answers.

use belljar_linux::seccomp::notify::Call;
use serde_json::{Value, json};

use crate::bed::agent::{Agent, MKDIR, SETHOSTNAME};
use crate::bed::{Bed, Runtime, probe};
use crate::differences::Difference;

sentences! {
    whoever_listens_answers_for_what_was_run, whoever_listens_answers_for_what_was_created_and_started, whoever_listens_answers_for_what_enters,
    calls_fail_once_nobody_listens_any_more, a_filter_that_asks_nobody_is_refused, a_listener_that_is_not_there_is_refused_and_nothing_is_left,
    nobody_enters_whose_filter_would_ask_a_listener_that_is_not_there,
}

const METADATA: &str = "for the agent alone: \"é\"";

/// When a filter may be loaded: `no_new_privs` lets everybody load one at any time, and without it rights are needed that are
/// dropped on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Late,
    Early,
}

/// Everything is allowed but two calls, for which somebody is asked.
fn ask(bed: &Bed, load: Load) {
    bed.configure(|config| {
        config["process"]["noNewPrivileges"] = json!(load == Load::Late);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": Agent::path_in(bed), "listenerMetadata": METADATA,
            "syscalls": [{"names": ["mkdir", "sethostname"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
}

/// Makes both calls: the first is the agent's to answer; the second the kernel's, who finds that the caller may not.
fn calls() -> String {
    format!("probe syscall {MKDIR} @/made 0755; probe syscall {SETHOSTNAME} 0 0; true")
}

const ANSWERS: &str = "syscall: ENOMEDIUM\nsyscall: EPERM\n";

/// One process was told of, and both calls came from its children.
#[track_caller]
fn assert_told(bed: &Bed, (states, calls): (Vec<Value>, Vec<Call>)) -> Value {
    let [told] = &states[..] else { panic!("one process is told of: {states:?}") };
    let state = &told["state"];
    assert!(told["ociVersion"].is_string(), "{told}");
    assert_eq!((&told["fds"], &told["metadata"]), (&json!(["seccompFd"]), &json!(METADATA)), "{told}");
    assert_eq!(state["id"], bed.id(), "{told}");
    let is_whole = state["bundle"] == json!(bed.path("bundle")) && told["pid"].as_i64().is_some_and(|pid| pid > 0);
    assert!(is_whole || (state["status"] == "running" && bed.differs(Difference::SparseListener)), "{told}");
    let numbers: Vec<u32> = calls.iter().map(|call| call.number).filter(|number| [MKDIR, SETHOSTNAME].contains(number)).collect();
    assert_eq!(numbers, [MKDIR, SETHOSTNAME], "{calls:?}");
    assert!(!bed.root("made").exists(), "the call was not made");
    told.clone()
}

fn both_ways(runtime: &Runtime, sentence: impl Fn(&Bed, &Agent, Load)) {
    for load in [Load::Late, Load::Early] {
        let bed = Bed::new(runtime);
        if !probe::install(&bed) {
            return;
        }
        ask(&bed, load);
        let agent = Agent::listen(&bed);
        sentence(&bed, &agent, load);
    }
}

fn whoever_listens_answers_for_what_was_run(runtime: &Runtime) {
    both_ways(runtime, |bed, agent, _| {
        assert_eq!(bed.run(&calls()).ok(), ANSWERS);
        let told = assert_told(bed, agent.take());
        assert_eq!(told["state"]["status"], "creating", "{told}");
        bed.assert_nothing_left();
    });
}

fn whoever_listens_answers_for_what_was_created_and_started(runtime: &Runtime) {
    both_ways(runtime, |bed, agent, load| {
        bed.script(&format!("{}; echo done; exec sleep 1000", calls())).create().start().wait_output("done");
        assert_eq!(bed.output(), format!("{ANSWERS}done\n"));
        let told = assert_told(bed, agent.take());
        let is_late = load == Load::Late && bed.differs(Difference::ListenerAtStart);
        let status = if is_late { "created" } else { "creating" };
        assert_eq!((&told["state"]["status"], &told["pid"]), (&json!(status), &json!(bed.pid())), "{told}");
    });
}

fn whoever_listens_answers_for_what_enters(runtime: &Runtime) {
    both_ways(runtime, |bed, agent, _| {
        bed.sleeping();
        let (first, _) = agent.take();
        assert_eq!(bed.exec(&calls()).ok(), ANSWERS);
        let told = assert_told(bed, agent.take());
        assert_ne!(told["pid"], first[0]["pid"], "what entered is told of: {told}");
        assert_eq!(told["state"]["status"], "running", "{told}");
    });
}

fn calls_fail_once_nobody_listens_any_more(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    ask(&bed, Load::Late);
    let agent = Agent::listen(&bed);
    bed.script(&format!("while test ! -e /go; do sleep 0.02; done; {}; echo done; exec sleep 1000", calls())).create().start();
    drop(agent);
    std::fs::write(bed.root("go"), "").unwrap();
    // Nobody else has kept the listener open: not the runtime, and not the container, which could answer itself.
    bed.wait_output("done");
    assert_eq!(bed.output(), "syscall: ENOSYS\nsyscall: ENOSYS\ndone\n");
}

fn a_filter_that_asks_nobody_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    ask(&bed, Load::Late);
    bed.configure(|config| drop(config["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath")));
    let said = bed.run("true");
    if said.status.success() && bed.differs(Difference::NobodyIsAsked) {
        return;
    }
    said.refused();
    if !bed.differs(Difference::LeftCgroups) {
        bed.assert_nothing_left();
    }
}

fn a_listener_that_is_not_there_is_refused_and_nothing_is_left(runtime: &Runtime) {
    for load in [Load::Late, Load::Early] {
        let bed = Bed::new(runtime);
        ask(&bed, load);
        bed.run("echo ran > /ran").refused();
        // A socket that is there, and at which nobody listens any more.
        drop(std::os::unix::net::UnixListener::bind(Agent::path_in(&bed)).unwrap());
        if load == Load::Late && bed.differs(Difference::ListenerAtStart) {
            bed.try_create(&[]).ok();
            bed.call(&["start", bed.id()]).refused();
            assert_eq!(bed.status(), "stopped");
            bed.delete().ok();
        } else {
            bed.try_create(&[]).refused();
        }
        assert!(!bed.root("ran").exists());
        if !bed.differs(Difference::LeftCgroups) {
            bed.assert_nothing_left();
        }
    }
}

fn nobody_enters_whose_filter_would_ask_a_listener_that_is_not_there(runtime: &Runtime) {
    for load in [Load::Late, Load::Early] {
        let bed = Bed::new(runtime);
        ask(&bed, load);
        let agent = Agent::listen(&bed);
        bed.sleeping();
        drop(agent);
        bed.exec("echo ran > /ran").refused();
        assert!(!bed.root("ran").exists());
        assert_eq!(bed.status(), "running", "the refusal changes nothing");
        let inside: Vec<i32> = serde_json::from_str(&bed.call(&["ps", "--format", "json", bed.id()]).ok()).unwrap();
        assert_eq!(inside, [bed.pid()], "nothing of it stays");
    }
}
