//! What a supervisor decides, on real processes, files and rows, without root. The kernel's part is looked at elsewhere
//! (`backend/cli/tests`). Start reading at the first test, which takes a container through its life.

use crate::testing::{Bench, DEAF, MISTAKE, POLITE, STUBBORN, config};
use crate::{Answer, Error, ErrorKind, Notice, StartNow};
use belljar_linux::process;
use belljar_model::container::Restart;
use belljar_model::exit::Cause;
use belljar_model::machine::{Force, Request};
use belljar_model::{Container, Exit, Mount, Signal, State, Wanted};

/// Longer than any test.
const HOUR_MS: u64 = 3_600_000;

/// Waits until the program has set its trap, by the same sign that a stop goes by.
async fn listening(container: &Container) {
    let init = container.init.expect("it runs");
    while process::attention(init.pid, Signal::TERM.number()) != process::Attention::Catches {
        tokio::task::yield_now().await;
    }
}

fn cause(container: &Container) -> Option<Cause> {
    container.exit.as_ref().map(|exit| exit.cause.clone())
}

#[tokio::test]
async fn a_life_from_create_to_delete_is_told_step_by_step() {
    let bench = Bench::new().await;
    let web = bench.supervisor.create(config("web", POLITE), StartNow::No).await.expect("created");
    assert_eq!((web.state, web.wanted), (State::Created, Wanted::Stopped));
    let web = bench.supervisor.ask(&web.id, Request::Start).await.expect("started").into_container();
    assert_eq!((web.state, web.wanted, web.started_at_ms), (State::Running, Wanted::Running, Some(7)));
    listening(&web).await;
    let web = bench.supervisor.ask(&web.id, Request::Stop).await.expect("stopped").into_container();
    assert_eq!((web.state, web.init, cause(&web)), (State::Stopped, None, Some(Cause::Exited { code: 0 })));
    assert!(matches!(bench.supervisor.ask(&web.id, Request::Delete(Force::No)).await, Ok(Answer::Done(last)) if last.id == web.id));
    assert_eq!(bench.kinds(&web).await, ["created", "started", "stopped", "deleted"]);
    assert_eq!(bench.supervisor.find("web").map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert!(bench.supervisor.containers().is_empty());
}

#[tokio::test]
async fn of_two_that_want_one_name_at_once_one_gets_it_and_the_other_is_told_who() {
    let bench = Bench::new().await;
    let create = || bench.supervisor.create(config("web", DEAF), StartNow::No);
    let (one, other) = tokio::join!(create(), create());
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    let won = won.expect("one of them");
    assert!(matches!(&lost, Err(Error::NameTaken { id, .. }) if *id == won.id), "{lost:?}");
    assert_eq!(bench.supervisor.containers().len(), 1);
}

#[tokio::test]
async fn a_program_that_cannot_begin_is_a_container_that_says_why() {
    let bench = Bench::new().await;
    let web = bench.run("web", "never").await;
    assert_eq!((web.state, web.wanted, web.exit.as_ref().map(Exit::kind)), (State::Stopped, Wanted::Stopped, Some("never_started")));
    let again = bench.supervisor.ask(&web.id, Request::Start).await.expect_err("it cannot");
    assert_eq!(again.to_string(), "could not start web: exec never: ENOENT: gone");
    assert_eq!(bench.kinds(&web).await, ["created", "start_failed", "start_failed"]);
}

#[tokio::test]
async fn what_is_so_already_is_no_error_and_what_cannot_be_is_refused() {
    let bench = Bench::new().await;
    let web = bench.run("web", DEAF).await;
    assert!(matches!(bench.supervisor.ask(&web.id, Request::Start).await, Ok(Answer::AlreadySo(_))));
    let refused = bench.supervisor.ask(&web.id, Request::Delete(Force::No)).await.expect_err("it runs");
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Conflict, "web is running: stop it first, or force"));
    bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("forced");
    let gone = bench.supervisor.ask(&web.id, Request::Stop).await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_program_that_does_not_listen_is_not_waited_for() {
    let bench = Bench::new().await;
    let web = bench.run("web", DEAF).await;
    let web = bench.supervisor.ask_within(&web.id, Request::Stop, HOUR_MS).await.expect("stopped").into_container();
    assert_eq!(cause(&web), Some(Cause::Signaled { signal: Signal::KILL }));
    let last = bench.events(&web).await.pop().expect("an event").message;
    assert!(last.contains("does not listen for SIGTERM"), "{last}");
}

#[tokio::test]
async fn a_program_that_goes_on_is_killed_when_the_grace_is_over() {
    let bench = Bench::new().await;
    let web = bench.run("web", STUBBORN).await;
    listening(&web).await;
    let web = bench.supervisor.ask_within(&web.id, Request::Stop, 30).await.expect("stopped").into_container();
    assert_eq!(cause(&web), Some(Cause::Signaled { signal: Signal::KILL }));
    let last = bench.events(&web).await.pop().expect("an event").message;
    assert!(last.starts_with("did not end within 0.03 s of SIGTERM, so it was killed"), "{last}");
}

#[tokio::test]
async fn a_kill_hurries_a_stop_and_a_start_waits_for_it() {
    let bench = Bench::new().await;
    let web = bench.run("web", STUBBORN).await;
    listening(&web).await;
    let stop = bench.supervisor.ask_within(&web.id, Request::Stop, HOUR_MS);
    let others = async {
        bench.until(&web, |web| web.wanted == Wanted::Stopped).await;
        let paused = bench.supervisor.ask(&web.id, Request::Pause).await.expect_err("it is ending");
        assert_eq!(paused.to_string(), "web is being stopped");
        tokio::join!(bench.supervisor.ask(&web.id, Request::Start), bench.supervisor.ask(&web.id, Request::Kill(Signal::KILL)))
    };
    let (stopped, (started, killed)) = tokio::join!(stop, others);
    assert!(matches!((stopped, killed), (Ok(Answer::Done(_)), Ok(Answer::Done(_)))));
    let started = started.expect("started").into_container();
    assert_eq!(started.state, State::Running);
    assert_ne!(started.init, web.init);
    bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("deleted");
}

#[tokio::test]
async fn a_restart_is_one_request() {
    let bench = Bench::new().await;
    let before = bench.run("web", DEAF).await;
    let after = bench.supervisor.ask(&before.id, Request::Restart).await.expect("restarted").into_container();
    assert_eq!(after.state, State::Running);
    assert_ne!(after.init, before.init);
    assert_eq!(bench.kinds(&after).await, ["created", "started", "stopped", "restarted"]);
    bench.supervisor.ask(&after.id, Request::Delete(Force::Yes)).await.expect("deleted");
}

#[tokio::test]
async fn a_restart_policy_starts_what_ended_until_a_person_stops_it() {
    let bench = Bench::new().await;
    let mut wanted = config("web", "exit 3");
    wanted.restart = Restart::OnFailure;
    let web = bench.supervisor.create(wanted, StartNow::Yes).await.expect("created");
    bench.until(&web, |web| web.restarts >= 2).await;
    bench.supervisor.ask(&web.id, Request::Stop).await.expect("stopped");
    bench.until(&web, |web| !web.state.is_alive() && web.wanted == Wanted::Stopped).await;
    let count = bench.kinds(&web).await.len();
    let again = bench.supervisor.ask(&web.id, Request::Stop).await.expect("already so");
    assert!(matches!(again, Answer::AlreadySo(_)));
    assert_eq!(bench.kinds(&web).await.len(), count, "nothing happens any more");
}

#[tokio::test]
async fn a_program_that_succeeded_is_not_started_again_on_failure() {
    let bench = Bench::new().await;
    let mut wanted = config("web", "exit 0");
    wanted.restart = Restart::OnFailure;
    let web = bench.supervisor.create(wanted, StartNow::Yes).await.expect("created");
    let web = bench.supervisor.wait(&web.id).await.expect("it ends");
    assert_eq!((cause(&web), web.restarts), (Some(Cause::Exited { code: 0 }), 0));
    assert_eq!(bench.kinds(&web).await, ["created", "started", "exited"]);
}

#[tokio::test]
async fn a_killed_monitor_is_told_honestly_and_its_program_does_not_stay() {
    let bench = Bench::new().await;
    let web = bench.run("web", DEAF).await;
    let (monitor, init) = (web.monitor.expect("it runs"), web.init.expect("it runs"));
    let pidfd = process::open(monitor.pid, monitor.start_ticks).expect("it lives");
    process::signal(pidfd, Signal::KILL.number()).expect("killed");
    let web = bench.supervisor.wait(&web.id).await.expect("it ends");
    assert!(matches!(cause(&web), Some(Cause::Lost { .. })), "{web:?}");
    while process::is_alive(init.pid, init.start_ticks) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.kinds(&web).await, ["created", "started", "lost"]);
}

#[tokio::test]
async fn who_stops_waiting_for_a_create_does_not_undo_it() {
    let bench = Bench::new().await;
    let mut create = Box::pin(bench.supervisor.create(config("web", DEAF), StartNow::Yes));
    assert!(std::future::Future::poll(create.as_mut(), &mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
    drop(create);
    let web = bench.supervisor.find("web").expect("it is admitted");
    bench.until(&web, |web| web.state == State::Running).await;
    bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("deleted");
}

#[tokio::test]
async fn a_new_server_finds_what_runs_what_ended_and_what_rests() {
    let bench = Bench::new().await;
    let runs = bench.run("runs", DEAF).await;
    let ends = bench.run("ends", DEAF).await;
    let rests = bench.supervisor.create(config("rests", DEAF), StartNow::No).await.expect("created");
    let (init, monitor) = (ends.init.expect("it runs"), ends.monitor.expect("it runs"));
    let bench = bench
        .reopened(async || {
            process::open(init.pid, init.start_ticks).and_then(|pidfd| process::signal(pidfd, 9)).expect("killed");
            while process::is_alive(monitor.pid, monitor.start_ticks) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    let found = bench.supervisor.find("runs").expect("found");
    assert_eq!((found.state, found.init, found.started_at_ms), (State::Running, runs.init, runs.started_at_ms));
    let found = bench.supervisor.find("ends").expect("found");
    assert_eq!((found.state, cause(&found)), (State::Stopped, Some(Cause::Signaled { signal: Signal::KILL })));
    assert_eq!(bench.supervisor.find("rests").expect("found"), rests);
    assert_eq!(bench.kinds(&runs).await, ["created", "started", "found"]);
    assert_eq!(bench.kinds(&ends).await, ["created", "started", "exited"]);
    let started = bench.supervisor.ask(&ends.id, Request::Start).await.expect("started").into_container();
    assert_eq!(started.state, State::Running, "an old end is not taken for the new start's");
    for id in [&runs.id, &ends.id] {
        bench.supervisor.ask(id, Request::Delete(Force::Yes)).await.expect("deleted");
    }
}

#[tokio::test]
async fn folders_of_containers_that_do_not_exist_are_removed_and_those_of_people_are_not() {
    let bench = Bench::new().await;
    let folders = bench.supervisor.shared.home.folders.clone();
    let stray = folders.data_dir.join("containers").join("ab".repeat(32));
    let own = folders.data_dir.join("containers").join("notes");
    let bench = bench.reopened(async || [&stray, &own].into_iter().for_each(|path| std::fs::create_dir(path).expect("made"))).await;
    assert!(!stray.exists() && own.exists());
    drop(bench);
}

#[tokio::test]
async fn a_container_is_found_by_id_name_and_unique_beginning() {
    let bench = Bench::new().await;
    let web = bench.supervisor.create(config("web", DEAF), StartNow::No).await.expect("created");
    let id = web.id.as_str();
    for key in [id, "web", web.id.short(), &id[..4]] {
        assert_eq!(bench.supervisor.find(key).expect("found").id, web.id, "{key}");
    }
    for key in ["", "we", &id[..3], "nothing"] {
        assert_eq!(bench.supervisor.find(key).map_err(|error| error.kind()), Err(ErrorKind::NotFound), "{key}");
    }
}

#[tokio::test]
async fn what_the_host_does_not_have_is_refused_by_its_field() {
    let bench = Bench::new().await;
    let missing = Mount::Bind { source: "/no/such/folder".into(), target: "/data".into(), readonly: false, idmap: None };
    let file = Mount::Layer { source: "/proc/version".into() };
    let mut cases = Vec::new();
    for (field, mount) in [("mounts[0].source", missing), ("mounts[0].source", file)] {
        cases.push((field, belljar_model::Config { mounts: vec![mount], ..config("web", DEAF) }));
    }
    cases.push(("image", belljar_model::Config { image: "nothing".parse().expect("a name"), ..config("web", DEAF) }));
    let limits = belljar_model::Limits { pids: Some(u32::MAX), ..belljar_model::Limits::default() };
    cases.push(("limits.pids", belljar_model::Config { limits, ..config("web", DEAF) }));
    for (field, config) in cases {
        let refused = bench.supervisor.create(config, StartNow::Yes).await;
        assert!(matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field == field), "{field}: {refused:?}");
    }
    assert!(bench.supervisor.containers().is_empty());
}

#[tokio::test]
async fn whoever_watches_is_told_of_every_change() {
    let bench = Bench::new().await;
    let mut notices = bench.supervisor.watch();
    let web = bench.supervisor.create(config("web", DEAF), StartNow::No).await.expect("created");
    bench.supervisor.ask(&web.id, Request::Delete(Force::No)).await.expect("deleted");
    let (mut changed, mut told) = (false, Vec::new());
    while let Ok(notice) = notices.try_recv() {
        match notice {
            Notice::Container(id) => changed |= id == web.id,
            Notice::Event(event) => told.push(event.kind.as_str()),
            Notice::Removed(id) => told.push(if id == web.id { "removed" } else { "another" }),
            Notice::Sampled | Notice::Checked(_) => {}
        }
    }
    assert!(changed);
    told.sort_unstable();
    assert_eq!(told, ["created", "deleted", "removed"]);
}

#[tokio::test]
async fn an_image_in_use_cannot_be_deleted_and_host_never() {
    let bench = Bench::new().await;
    assert_eq!(bench.supervisor.delete_image("host").await.map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    assert_eq!(bench.supervisor.delete_image("nothing").await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    let not_an_archive = bench.supervisor.import_image(Some("bad".parse().expect("a name")), &b"certainly no archive"[..]).await;
    assert_eq!(not_an_archive.map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    assert_eq!(bench.supervisor.images().len(), 1);
}

#[tokio::test]
async fn a_process_that_an_earlier_boot_numbered_alike_is_not_touched() {
    let bench = Bench::new().await;
    let web = bench.run("web", DEAF).await;
    let (init, monitor) = (web.init.expect("it runs"), web.monitor.expect("it is watched"));
    bench.pretend_another_boot().await;
    let bench = bench.reopened(async || {}).await;
    let found = bench.supervisor.find("web").expect("found");
    assert_eq!((found.state, found.init, found.exit.as_ref().map(Exit::kind)), (State::Stopped, None, Some("lost")));
    for process in [init, monitor] {
        let pidfd = process::open(process.pid, process.start_ticks).expect("it was left alone");
        process::signal(pidfd, Signal::KILL.number()).expect("killed");
    }
    let again = bench.supervisor.ask(&web.id, Request::Start).await.expect("started").into_container();
    let bench = bench.reopened(async || {}).await;
    assert_eq!(bench.supervisor.find("web").expect("found").init, again.init, "this boot was noted");
    bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("deleted");
}

#[tokio::test]
async fn a_container_whose_task_broke_answers_again() {
    let bench = Bench::new().await;
    let web = bench.supervisor.create(config("web", MISTAKE), StartNow::No).await.expect("created");
    let mut notices = bench.supervisor.watch();
    let broken = bench.supervisor.ask(&web.id, Request::Start).await.expect_err("it panics");
    assert_eq!(broken.kind(), ErrorKind::Unavailable);
    while notices.recv().await.expect("a notice") != Notice::Container(web.id.clone()) {}
    bench.supervisor.ask(&web.id, Request::Delete(Force::No)).await.expect("deleted");
}

fn change(json: &str) -> belljar_model::Change {
    serde_json::from_str(json).expect("a change")
}

#[tokio::test]
async fn a_container_at_rest_keeps_a_change_for_its_next_start() {
    let bench = Bench::new().await;
    let web = bench.supervisor.create(config("web", DEAF), StartNow::No).await.expect("created");
    let asked = change(r#"{"restart": "always", "ulimits": {"nofile": {"soft": 7, "hard": 9}}, "oom_score_adj": 5}"#);
    let changed = bench.supervisor.change(&web.id, asked.clone()).await.expect("changed");
    assert_eq!((changed.config.restart, changed.config.oom_score_adj, changed.state), (Restart::Always, Some(5), State::Created));
    bench.supervisor.change(&web.id, asked).await.expect("it is so already");
    assert_eq!(bench.kinds(&web).await, ["created", "limits_changed"]);
    let told = &bench.events(&web).await[1].message;
    assert_eq!(told, "ulimit nofile from no limit of its own to 7:9; oom_score_adj from the server's to 5; restart from no to always");
    let bench = bench.reopened(async || {}).await;
    assert_eq!(bench.supervisor.find("web").expect("found").config, changed.config);
}

#[tokio::test]
async fn a_change_that_the_host_cannot_enforce_changes_nothing() {
    let bench = Bench::new().await;
    let web = bench.supervisor.create(config("web", DEAF), StartNow::No).await.expect("created");
    for (json, field) in [
        (r#"{"restart": "always", "limits": {"pids": 9}}"#, "limits.pids"),
        (r#"{"limits": {"io": [{"device": "/no/such/disk", "read_bytes_per_second": 1}]}}"#, "limits.io[0].device"),
        (r#"{"limits": {"cpus": -1}}"#, "limits.cpus"),
        (r#"{"oom_score_adj": 1001}"#, "oom_score_adj"),
        (r#"{"ulimits": {"nothing": {"soft": 1, "hard": 1}}}"#, "ulimits.nothing"),
    ] {
        let refused = bench.supervisor.change(&web.id, change(json)).await;
        assert!(matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field == field), "{field}: {refused:?}");
    }
    assert_eq!(bench.supervisor.find("web").expect("found").config, web.config);
    assert_eq!(bench.kinds(&web).await, ["created"]);
}

#[tokio::test]
async fn a_restart_that_is_due_does_not_happen_once_nobody_wants_it() {
    let bench = Bench::new().await;
    let policy = belljar_model::Config { restart: Restart::Always, ..config("web", "exit 3") };
    let web = bench.supervisor.create(policy, StartNow::Yes).await.expect("created");
    bench.until(&web, |web| web.restarts >= 1 && web.state == State::Stopped).await;
    let changed = bench.supervisor.change(&web.id, change(r#"{"restart": null}"#)).await.expect("changed");
    // What was under way has been done by now; from here on nothing begins by itself.
    let rests = bench.until(&changed, |web| web.state == State::Stopped).await;
    let bench = bench.reopened(async || {}).await;
    let found = bench.supervisor.find("web").expect("found");
    assert_eq!((found.state, found.config.restart, found.restarts), (State::Stopped, Restart::No, rests.restarts));
}
