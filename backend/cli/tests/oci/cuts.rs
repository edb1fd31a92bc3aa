//! Commands that are cut off, and commands that meet: a maker killed at any moment leaves nothing that a deletion does not
//! find, and of two commands that exclude each other exactly one wins.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use belljar_testbed::process::{is_alive, kill_hard};
use belljar_testbed::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::bed::said::{LIMIT, Said, wait_or_kill};
use crate::bed::{Bed, Kind, Runtime, traces};
use crate::differences::Difference;

sentences! {
    of_two_starts_at_once_one_wins, of_a_start_and_a_deletion_at_once_one_wins, of_two_creations_of_an_id_one_wins,
    a_deletion_by_force_during_a_start_leaves_nothing,
}

/// How often a maker is killed at a moment of chance.
const CUTS: u32 = 50;
/// How often two commands meet.
const MEETINGS: u32 = 8;

fn spawn(bed: &Bed, arguments: &[&str]) -> Child {
    let log = || File::options().create(true).append(true).open(bed.path("met")).expect("a file can be made");
    let mut command = bed.command(arguments);
    command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().expect("the runtime runs")
}

/// Runs both commands at once, and says which of them succeeded.
fn meet(bed: &Bed, one: &[&str], other: &[&str]) -> (bool, bool) {
    let (one, other) = (spawn(bed, one), spawn(bed, other));
    let succeeded = |child: Child| wait_or_kill(child, LIMIT).expect("neither waits for the other forever").success();
    (succeeded(one), succeeded(other))
}

fn of_two_starts_at_once_one_wins(runtime: &Runtime) {
    if Difference::OpenStart.holds_for(runtime.kind()) {
        return;
    }
    for _ in 0..MEETINGS {
        let bed = Bed::new(runtime);
        bed.script("echo began >> /began; exec sleep 1000").create();
        let met = meet(&bed, &["start", bed.id()], &["start", bed.id()]);
        assert!(met.0 != met.1, "{met:?}");
        assert_eq!(bed.status(), "running");
        bed.end();
        assert_eq!(std::fs::read_to_string(bed.root("began")).expect("it ran"), "began\n");
        bed.delete().ok();
        bed.assert_nothing_left();
    }
}

fn of_a_start_and_a_deletion_at_once_one_wins(runtime: &Runtime) {
    if Difference::OpenDelete.holds_for(runtime.kind()) {
        return;
    }
    for _ in 0..MEETINGS {
        let bed = Bed::new(runtime);
        bed.arguments(&["sleep", "1000"]).create();
        let (started, deleted) = meet(&bed, &["start", bed.id()], &["delete", bed.id()]);
        assert!(started != deleted, "started {started}, deleted {deleted}");
        if started {
            assert_eq!(bed.status(), "running");
            bed.end();
            bed.delete().ok();
        }
        bed.assert_nothing_left();
    }
}

fn a_deletion_by_force_during_a_start_leaves_nothing(runtime: &Runtime) {
    if Difference::OpenDelete.holds_for(runtime.kind()) {
        return;
    }
    for _ in 0..MEETINGS {
        let bed = Bed::new(runtime);
        bed.arguments(&["sleep", "1000"]).create();
        let (_started, deleted) = meet(&bed, &["start", bed.id()], &["delete", "--force", bed.id()]);
        assert!(deleted);
        bed.assert_nothing_left();
    }
}

fn of_two_creations_of_an_id_one_wins(runtime: &Runtime) {
    if Difference::OpenCreate.holds_for(runtime.kind()) {
        return;
    }
    for _ in 0..MEETINGS {
        let bed = Bed::new(runtime);
        bed.arguments(&["sleep", "1000"]);
        let met = meet(&bed, &["create", bed.id()], &["create", bed.id()]);
        assert!(met.0 != met.1, "{met:?}");
        assert_eq!(bed.status(), "created", "the one that lost took nothing from it");
        bed.start().end();
        bed.delete().ok();
        bed.assert_nothing_left();
    }
}

/// When a maker is killed.
enum Moment {
    /// After this time.
    After(Duration),
    /// As soon as this path is there.
    Once(PathBuf),
}

impl Moment {
    fn wait(&self, child: &mut Child) {
        let begun = Instant::now();
        let is_now = || match self {
            Self::After(time) => begun.elapsed() >= *time,
            Self::Once(path) => path.exists(),
        };
        // Not in pauses: the moments are shorter than any.
        while !is_now() && begun.elapsed() < LIMIT && child.try_wait().expect("a child can be waited for").is_none() {
            std::thread::yield_now();
        }
    }
}

/// Kills the maker of a container at a moment, and says how far it had come.
fn cut(bed: &Bed, moment: &Moment) -> &'static str {
    let mut child = spawn(bed, &["create", bed.id()]);
    moment.wait(&mut child);
    let pid = i32::try_from(child.id()).expect("a pid fits i32");
    kill_hard(pid);
    let status = child.wait().expect("a child can be waited for");
    let folder = bed.states().join(bed.id());
    match () {
        () if status.success() => "had ended",
        () if folder.join("start.fifo").exists() => "had its first process wait",
        () if !traces::cgroups(bed.id()).is_empty() => "had its cgroup",
        () if folder.join("state.json").exists() => "had its state",
        () if folder.exists() => "had its folder",
        () => "had nothing",
    }
}

/// What is left of a container whose maker was killed goes with a deletion, within the time that a person waits.
#[track_caller]
fn assert_deletable(bed: &Bed, reached: &str) {
    let begun = Instant::now();
    let _of_what_is_listed_by_halves = bed.call(&["list"]).ok();
    bed.call(&["delete", "--force", bed.id()]).ok();
    assert!(begun.elapsed() < LIMIT / 3, "its maker {reached}: deleting took {:?}", begun.elapsed());
    assert_eq!(bed.call(&["list", "--quiet"]).ok(), "", "its maker {reached}");
    let left = traces::of(bed);
    assert!(left.is_empty(), "its maker {reached}; left behind:\n{}", left.join("\n"));
}

fn with_hooks_and_limits(bed: &Bed) {
    bed.arguments(&["sleep", "1000"]).configure(|config| {
        config["linux"]["resources"]["pids"] = json!({"limit": 20});
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}], "createContainer": [{"path": "/bin/true"}]});
    });
}

#[test]
fn a_maker_killed_at_any_moment_leaves_what_a_deletion_finds() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        with_hooks_and_limits(&bed);
        let begun = Instant::now();
        bed.create();
        // With what a loaded machine adds.
        let whole = begun.elapsed() * 5 / 4;
        bed.call(&["delete", "--force", bed.id()]).ok();
        for number in 0..CUTS {
            // In another order than that of time, so that one slow phase of the machine does not fall on one phase of the making.
            let reached = cut(&bed, &Moment::After(whole * (number * 7 % CUTS) / CUTS));
            println!("its maker {reached}");
            assert_deletable(&bed, reached);
        }
    });
}

#[test]
fn a_maker_killed_as_soon_as_something_is_there_leaves_what_a_deletion_finds() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        with_hooks_and_limits(&bed);
        bed.create();
        let cgroups = traces::cgroups(bed.id());
        bed.call(&["delete", "--force", bed.id()]).ok();
        let folder = bed.states().join(bed.id());
        let files = ["", "state.json", "config.json", "spec.json", "start.fifo", "plan.json"].map(|name| folder.join(name));
        for path in files.iter().chain([cgroups.first(), cgroups.last()].into_iter().flatten()) {
            for _ in 0..3 {
                let reached = cut(&bed, &Moment::Once(path.clone()));
                println!("at {}: its maker {reached}", Path::new(path).display());
                assert_deletable(&bed, reached);
            }
        }
    });
}

#[test]
fn of_two_creations_in_one_cgroup_one_wins_and_lives() {
    crate::bed::with(Kind::Ours, |runtime| {
        for _ in 0..MEETINGS {
            let (one, other) = (Bed::new(runtime), Bed::new(runtime));
            one.arguments(&["sleep", "1000"]);
            let place = one.config()["linux"]["cgroupsPath"].clone();
            other.arguments(&["sleep", "1000"]).configure(|config| config["linux"]["cgroupsPath"] = place);
            let made = [spawn(&one, &["create", one.id()]), spawn(&other, &["create", other.id()])]
                .map(|child| wait_or_kill(child, LIMIT).expect("neither waits for the other").success());
            assert!(made[0] != made[1], "{made:?}");
            let (winner, loser) = if made[0] { (&one, &other) } else { (&other, &one) };
            assert_eq!(loser.call(&["list", "--quiet"]).ok().matches(loser.id()).count(), 0);
            loser.call(&["delete", "--force", loser.id()]).ok();
            assert_eq!(winner.start().status(), "running");
            winner.call(&["delete", "--force", winner.id()]).ok();
            one.assert_nothing_left();
            other.assert_nothing_left();
        }
    });
}

/// Room for so many files and folders, its own among them: from none for the container to all that it needs.
const ROOMS: std::ops::RangeInclusive<u32> = 1..=12;

#[test]
fn a_state_folder_without_room_for_a_file_names_it_and_leaves_nothing() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.script("echo it ran").configure(|config| config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"}));
        let run = bed.command(&["run", bed.id()]);
        let states = bed.states().display().to_string();
        let (mut refused, mut ran) = (Vec::new(), 0);
        for room in ROOMS {
            let script = format!(
                "mkdir -p {states}; mount -t tmpfs -o nr_inodes={room} states {states} || exit 9; \"$@\"; status=$?; ls {states}; exit $status"
            );
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(run.get_program()).args(run.get_args());
            command.current_dir(bed.path("bundle"));
            let said = Said::of(command);
            assert_eq!(said.out.lines().filter(|line| *line != "it ran" && *line != "@filters").collect::<Vec<_>>(), [""; 0], "{said:?}");
            assert_ne!(said.code(), 9, "a small file system can be mounted: {said:?}");
            if said.status.success() {
                assert!(said.out.starts_with("it ran\n"), "{said:?}");
                ran += 1;
            } else {
                refused.push(said.refused());
            }
            bed.assert_nothing_left();
        }
        assert!(ran > 1 && refused.len() > 2, "{ran} times it ran; {refused:?}");
        for name in ["state.json", "config.json", "spec.json"] {
            let said = refused.iter().find(|sentence| sentence.contains(name));
            assert!(said.is_some_and(|sentence| sentence.contains("No space left")), "{name}: {refused:?}");
        }
    });
}

#[test]
fn a_container_whose_state_is_damaged_is_deleted_with_its_processes() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.sleeping();
        let pid = bed.pid();
        std::fs::write(bed.states().join(bed.id()).join("state.json"), "{").expect("it is written");
        bed.delete().refused();
        bed.call(&["delete", "--force", bed.id()]).ok();
        bed.wait_end(pid);
        bed.assert_nothing_left();
    });
}

#[test]
fn a_signal_to_all_freezes_nobody() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let script = "trap 'echo told' USR1; echo ready; while :; do sleep 1000 & wait $!; done";
        bed.script(script).create().start();
        bed.wait_output("ready");
        for number in 1..=CUTS {
            let mut child = spawn(&bed, &["kill", "--all", bed.id(), "USR1"]);
            Moment::After(Duration::from_micros(u64::from(number) * 200)).wait(&mut child);
            kill_hard(i32::try_from(child.id()).expect("a pid fits i32"));
            child.wait().expect("a child can be waited for");
            assert_eq!(bed.status(), "running", "cut off after {number} times 200 µs");
        }
        bed.call(&["kill", "--all", bed.id(), "USR1"]).ok();
        bed.wait_output("told");
        bed.end();
        bed.delete().ok();
    });
}

#[test]
fn a_foreground_run_whose_container_was_deleted_leaves_the_next_of_its_id_alone() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let note =
            |word: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo {word} >> {}", bed.path("notes").display())]}]);
        bed.script("echo began; exec sleep 1000").configure(|config| config["hooks"] = json!({"poststop": note("ended")}));
        let foreground = bed.command(&["run", bed.id()]).stdin(Stdio::null()).stdout(File::create(bed.path("met")).unwrap()).spawn();
        let foreground = foreground.expect("the runtime runs");
        let said = || std::fs::read_to_string(bed.path("met")).unwrap_or_default();
        // Its program may say something before the one that made it has written that it is made.
        wait_until("the program runs", || (said() == "began\n" && bed.status() == "running").then_some(()));
        // Who pauses it waits for the one that made it to let it go.
        bed.call(&["pause", bed.id()]).ok();
        bed.call(&["resume", bed.id()]).ok();
        // The one that stays with it sees nothing of all that follows before it goes on.
        let maker = Pid::from_raw(i32::try_from(foreground.id()).expect("a pid fits i32"));
        kill(maker, Signal::SIGSTOP).expect("it is ours");
        bed.call(&["delete", "--force", bed.id()]).ok();
        bed.create().start();
        let next = bed.pid();
        kill(maker, Signal::SIGCONT).expect("it is ours");
        assert_eq!(wait_or_kill(foreground, LIMIT).expect("it ends").code(), Some(128 + 9));
        assert_eq!((bed.status().as_str(), bed.pid()), ("running", next));
        assert!(is_alive(next) && !traces::cgroups(bed.id()).is_empty());
        assert_eq!(std::fs::read_to_string(bed.path("notes")).unwrap(), "ended\n", "the first one's hook ran once");
        bed.end();
        bed.delete().ok();
        bed.assert_nothing_left();
    });
}
