//! The table of cases: what is known of a container, and what is said about it. Each row is one container.

use std::collections::BTreeMap;

use belljar_model::container::{ProcessRef, Restart};
use belljar_model::diagnosis::FindingKind as Kind;
use belljar_model::diagnosis::Gravity;
use belljar_model::exit::{Cause, Exit, Failure, OutOfMemory, Victim};
use belljar_model::health::{CheckVerdict, Checked, Health, HealthCheck, HealthStatus};
use belljar_model::{Config, Container, Limits, Signal, State, Wanted};

use super::findings::{Facts, Kill, findings};
use super::minute::{Minute, Sample, Waits};

const NOW_MS: i64 = 1_000_000_000;

fn config() -> Config {
    let json = r#"{"name":"web","image":"host","command":["java"],"limits":{"memory_bytes":536870912,"cpus":0.5,"pids":16}}"#;
    serde_json::from_str(json).expect("a config")
}

fn container(state: State) -> Container {
    Container { state, wanted: Wanted::Running, ..crate::new_container(config()).expect("random bytes") }
}

fn running() -> Container {
    Container { init: Some(ProcessRef { pid: 7, start_ticks: 1 }), ..container(State::Running) }
}

fn ended(cause: Cause, out_of_memory: Option<OutOfMemory>) -> Container {
    Container { exit: Some(Exit { cause, out_of_memory, at_ms: NOW_MS - 14_000 }), ..container(State::Stopped) }
}

fn kill(limit_bytes: Option<u64>) -> Option<OutOfMemory> {
    let victim = Some(Victim { pid: 7, command: "java".into() });
    Some(OutOfMemory { kills: 1, limit_bytes, peak_bytes: limit_bytes, victim, went_on: false })
}

fn never(cause: &str) -> Cause {
    Cause::NeverStarted(Failure { step: "exec".into(), object: "java".into(), cause: cause.into() })
}

/// A minute of which all was measured, and nothing is wrong with.
fn calm() -> Minute {
    let now = Sample {
        at_ms: NOW_MS,
        cpu_usec_total: Some(1),
        throttled_periods_total: Some(0),
        memory_bytes: Some(100 << 20),
        memory_charged_bytes: Some(512 << 20),
        memory_bytes_max: Some(512 << 20),
        memory_hits_total: Some(5),
        oom_kills_total: Some(0),
        pids: Some(3),
        pids_max: Some(16),
        pids_hits_total: Some(0),
        waits: Waits { cpu: Some(9.9), memory: Some(0.0), io: Some(0.0) },
    };
    Minute { span_ms: 60_000, now, throttled_percent: Some(9.9), memory_hits: 5, pids_hits: 0 }
}

fn waiting(waits: Waits) -> Minute {
    with(calm(), |sample| sample.waits = waits)
}

fn with(mut minute: Minute, change: impl FnOnce(&mut Sample)) -> Minute {
    change(&mut minute.now);
    minute
}

fn sources() -> BTreeMap<String, String> {
    let files = [
        ("cpu_throttled_periods_total", "/c/cpu.stat#nr_throttled"),
        ("oom_kills_total", "/c/memory.events#oom_kill"),
        ("memory_working_set_bytes", "/c/memory.current - /c/memory.stat#inactive_file"),
        ("memory_bytes_max", "/c/memory.max"),
        ("pids_limit_hits_total", "/c/pids.events#max"),
        ("pids_max", "/c/pids.max"),
        ("pressure.io", "/c/io.pressure"),
    ];
    files.map(|(field, file)| (field.to_owned(), file.to_owned())).into()
}

/// What is said, as kind, gravity and text.
fn said(container: &Container, minute: Option<&Minute>, kill: Option<&Kill>) -> Vec<(Kind, Gravity, String)> {
    let sources = sources();
    let found = findings(&Facts { container, minute, kill, health: &Health::default(), layer: None, sources: &sources, now_ms: NOW_MS });
    found.into_iter().map(|finding| (finding.kind, finding.gravity, finding.text)).collect()
}

#[track_caller]
fn says(container: &Container, minute: Option<&Minute>, expected: &[(Kind, Gravity, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(kind, gravity, text)| (*kind, *gravity, (*text).to_owned())).collect();
    assert_eq!(said(container, minute, None), expected);
}

#[test]
fn what_is_well_or_unknown_is_not_talked_about() {
    says(&running(), Some(&calm()), &[]);
    says(&running(), None, &[]);
    says(&running(), Some(&Minute::default()), &[]);
    says(&container(State::Created), Some(&calm()), &[]);
    says(&container(State::Creating), None, &[]);
}

#[test]
fn why_it_died() {
    let exited = |code| Cause::Exited { code };
    let killed = || Cause::Signaled { signal: Signal::KILL };
    let segv = Cause::Signaled { signal: "SEGV".parse().expect("a signal") };
    let lost = Cause::Lost { why: "its monitor was killed".into() };
    let cases = [
        (ended(killed(), kill(Some(512 << 20))), Kind::OutOfMemory, Gravity::Error, "killed by OOM at 512 MiB, by java (pid 7), 14 s ago"),
        (ended(killed(), kill(None)), Kind::OutOfMemory, Gravity::Error, "killed by OOM, of the whole host, by java (pid 7), 14 s ago"),
        (
            ended(exited(3), kill(Some(4 << 20))),
            Kind::Ended,
            Gravity::Error,
            "exited with code 3; before that a process of it was killed by OOM at 4 MiB, by java (pid 7), 14 s ago",
        ),
        (
            ended(exited(0), kill(Some(4 << 20))),
            Kind::Ended,
            Gravity::Error,
            "exited with code 0; before that a process of it was killed by OOM at 4 MiB, by java (pid 7), 14 s ago",
        ),
        (ended(exited(0), None), Kind::Ended, Gravity::Note, "exited with code 0, 14 s ago"),
        (ended(exited(3), None), Kind::Ended, Gravity::Error, "exited with code 3, 14 s ago"),
        (ended(killed(), None), Kind::Ended, Gravity::Error, "ended by SIGKILL, 14 s ago"),
        (ended(segv, None), Kind::Ended, Gravity::Error, "ended by SIGSEGV, 14 s ago"),
        (ended(never("ENOENT: gone"), None), Kind::Ended, Gravity::Error, "never started: exec java: ENOENT: gone, 14 s ago"),
        (ended(lost, None), Kind::Ended, Gravity::Error, "lost: its monitor was killed, 14 s ago"),
    ];
    for (container, kind, gravity, text) in cases {
        says(&container, None, &[(kind, gravity, text)]);
        // What was measured while it lived says nothing about its death.
        says(&container, Some(&waiting(Waits { io: Some(99.0), ..Waits::default() })), &[(kind, gravity, text)]);
    }
}

#[test]
fn an_end_that_was_asked_for_is_a_note() {
    let stopped = Container { wanted: Wanted::Stopped, ..ended(Cause::Signaled { signal: Signal::TERM }, None) };
    says(&stopped, None, &[(Kind::Ended, Gravity::Note, "ended by SIGTERM, 14 s ago")]);
    // One that cannot start is left alone, and one that was killed for memory meanwhile was not done with.
    let failed = Container { wanted: Wanted::Stopped, ..ended(never("ENOENT: gone"), None) };
    says(&failed, None, &[(Kind::Ended, Gravity::Error, "never started: exec java: ENOENT: gone, 14 s ago")]);
}

#[test]
fn why_it_is_slow() {
    let cpu = Minute { throttled_percent: Some(40.6), ..calm() };
    let young = Minute { throttled_percent: Some(90.0), span_ms: 12_000, ..calm() };
    let near = with(calm(), |sample| sample.memory_bytes = Some(480 << 20));
    let full = with(calm(), |sample| sample.pids = Some(15));
    let refused = Minute { pids_hits: 12, ..calm() };
    let refused_before = with(calm(), |sample| sample.pids_hits_total = Some(1));
    let cases = [
        (cpu, Kind::CpuThrottled, Gravity::Warning, "held back by its cpu limit 41 % of the last minute"),
        (young, Kind::CpuThrottled, Gravity::Warning, "held back by its cpu limit 90 % of the last 12 s"),
        (
            waiting(Waits { cpu: Some(30.9), ..Waits::default() }),
            Kind::CpuPressure,
            Gravity::Warning,
            "waiting for a processor 31 % of the last minute",
        ),
        (
            waiting(Waits { memory: Some(55.0), ..Waits::default() }),
            Kind::MemoryPressure,
            Gravity::Warning,
            "waiting for memory 55 % of the last minute",
        ),
        (
            waiting(Waits { io: Some(12.3), ..Waits::default() }),
            Kind::IoPressure,
            Gravity::Warning,
            "waiting for disk 12 % of the last minute",
        ),
        (
            near,
            Kind::MemoryNearLimit,
            Gravity::Warning,
            "uses 480 MiB of the 512 MiB of memory that it may (94 %), and came up against that 5 times in the last minute",
        ),
        (full, Kind::PidsLimit, Gravity::Warning, "has 15 of the 16 processes and threads that it may"),
        (
            refused,
            Kind::PidsLimit,
            Gravity::Error,
            "12 new processes were refused at its limit of 16 processes and threads in the last minute",
        ),
        (
            refused_before,
            Kind::PidsLimit,
            Gravity::Note,
            "a new process was refused at its limit of 16 processes and threads since its start",
        ),
    ];
    for (minute, kind, gravity, text) in cases {
        says(&running(), Some(&minute), &[(kind, gravity, text)]);
    }
}

#[test]
fn who_is_held_back_by_its_own_limit_does_not_wait_for_others() {
    let minute = Minute { throttled_percent: Some(80.0), ..waiting(Waits { cpu: Some(80.0), ..Waits::default() }) };
    says(&running(), Some(&minute), &[(Kind::CpuThrottled, Gravity::Warning, "held back by its cpu limit 80 % of the last minute")]);
}

#[test]
fn the_worst_comes_first_and_a_kill_is_old_news_after_a_while() {
    let minute = Minute { throttled_percent: Some(80.0), ..calm() };
    let told = |at_ms| Kill { at_ms, text: "a process of it, java (pid 7), was killed by OOM at 512 MiB".into() };
    let throttled = (Kind::CpuThrottled, Gravity::Warning, "held back by its cpu limit 80 % of the last minute".to_owned());
    let kill = |gravity, ago| (Kind::OutOfMemory, gravity, format!("a process of it, java (pid 7), was killed by OOM at 512 MiB, {ago}"));
    let found = said(&running(), Some(&minute), Some(&told(NOW_MS - 14_000)));
    assert_eq!(found, [kill(Gravity::Error, "14 s ago"), throttled.clone()]);
    let found = said(&running(), Some(&minute), Some(&told(NOW_MS - 1_200_000)));
    assert_eq!(found, [kill(Gravity::Warning, "20 min ago"), throttled]);
}

#[test]
fn one_that_is_started_again_and_again_says_how_it_ended() {
    let mut container = Container { exit: ended(Cause::Exited { code: 1 }, None).exit, ..running() };
    says(&container, None, &[]);
    (container.restarts, container.config.restart) = (2, Restart::Always);
    let text = "was started again twice by its restart policy; its last life: exited with code 1, 14 s ago";
    says(&container, None, &[(Kind::Ended, Gravity::Warning, text)]);
    container.exit = ended(Cause::Signaled { signal: Signal::KILL }, kill(Some(512 << 20))).exit;
    let text = "was started again twice by its restart policy; its last life: killed by OOM at 512 MiB, by java (pid 7), 14 s ago";
    says(&container, None, &[(Kind::OutOfMemory, Gravity::Warning, text)]);
    container.exit = container.exit.map(|exit| Exit { at_ms: NOW_MS - 7_200_000, ..exit });
    says(&container, None, &[]);
}

#[test]
fn every_finding_says_what_could_be_done_and_where_it_was_seen() {
    let limited = || running();
    let free = || Container { config: Config { limits: Limits::default(), ..config() }, ..running() };
    let io = waiting(Waits { io: Some(50.0), ..Waits::default() });
    let memory = waiting(Waits { memory: Some(50.0), ..Waits::default() });
    let cases = [
        (limited(), Minute { throttled_percent: Some(50.0), ..calm() }, "raise limits.cpus above 0.5", "/c/cpu.stat#nr_throttled"),
        (
            limited(),
            with(calm(), |sample| sample.memory_bytes = Some(500 << 20)),
            "raise limits.memory_bytes above 512 MiB",
            "/c/memory.max",
        ),
        (limited(), memory, "raise limits.memory_bytes above 512 MiB", ""),
        (free(), memory, "the host is short of memory", ""),
        (limited(), Minute { pids_hits: 1, ..calm() }, "raise limits.pids above 16", "/c/pids.max"),
        (limited(), io, "the disk is busy", "/c/io.pressure"),
    ];
    for (container, minute, advice, source) in cases {
        let sources = sources();
        let found = findings(&Facts {
            container: &container,
            minute: Some(&minute),
            kill: None,
            health: &Health::default(),
            layer: None,
            sources: &sources,
            now_ms: NOW_MS,
        });
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].advice.starts_with(advice), "{found:?}");
        assert_eq!(found[0].sources.last().map_or("", String::as_str), source, "{found:?}");
    }
}

#[test]
fn what_never_started_or_ended_oddly_gets_advice() {
    let cases = [
        (never("ENOENT: gone"), "the program is not in the image"),
        (never("EACCES: no"), "the program is there, but may not be executed"),
        (never("ENOEXEC: bad"), "the program is of another processor's kind"),
        (Cause::Exited { code: 127 }, "127 is how a shell says that there is no such program"),
        (Cause::Exited { code: 143 }, "143 is how a shell says that a program was ended by SIGTERM"),
        (Cause::Exited { code: 1 }, "its log says why"),
        (Cause::Exited { code: 0 }, ""),
        (Cause::Signaled { signal: Signal::KILL }, "the kernel counted no lack of memory in it"),
    ];
    for (cause, advice) in cases {
        let container = ended(cause, None);
        let sources = BTreeMap::new();
        let found = findings(&Facts {
            container: &container,
            minute: None,
            kill: None,
            health: &Health::default(),
            layer: None,
            sources: &sources,
            now_ms: NOW_MS,
        });
        assert!(found[0].advice.starts_with(advice) && advice.is_empty() == found[0].advice.is_empty(), "{found:?}");
    }
}

#[test]
fn who_runs_and_fails_its_check_is_unhealthy_by_what_the_check_said() {
    let mut container = running();
    container.config.health = Some(HealthCheck::of(["curl", "-f", "http://localhost/"].map(String::from).to_vec()));
    let checked = |verdict, output: &str| Checked { began_at_ms: NOW_MS, took_ms: 5, verdict, output: output.to_owned() };
    let cases = [
        (
            HealthStatus::Unhealthy,
            3,
            checked(CheckVerdict::Exited(7), "a\ncurl: (7) refused\n"),
            Some("unhealthy for 3 checks: curl: (7) refused"),
        ),
        (HealthStatus::Unhealthy, 1, checked(CheckVerdict::TimedOut(30_000), ""), Some("unhealthy for 1 check: killed after 30 s")),
        (HealthStatus::Healthy, 2, checked(CheckVerdict::Exited(7), ""), None),
        (HealthStatus::Starting, 2, checked(CheckVerdict::Exited(7), ""), None),
    ];
    for (status, failing_streak, last, text) in cases {
        let health = Health { status, failing_streak, log: vec![last] };
        let facts = Facts {
            container: &container,
            minute: None,
            kill: None,
            health: &health,
            layer: None,
            sources: &BTreeMap::new(),
            now_ms: NOW_MS,
        };
        let found = findings(&facts);
        let told = found.first().map(|finding| (finding.kind, finding.gravity, finding.text.as_str()));
        assert_eq!(told, text.map(|text| (Kind::Unhealthy, Gravity::Error, text)));
        assert!(found.iter().all(|finding| finding.sources == ["health check: curl -f http://localhost/"] && !finding.advice.is_empty()));
    }
}
