//! Races: somebody exchanges links and folders while a tree is put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::devices::device;
use super::*;

/// How long the race goes on at the least.
const RACE: Duration = Duration::from_secs(3);
/// How long a slow machine may take until it was one.
const PATIENCE: Duration = Duration::from_secs(40);
/// Exchanges, and rounds of mounts, that make it a race.
const ENOUGH: (u64, u64) = (100, 20);

/// Exchanges two names as quickly as it can, until told to stop.
struct Racer {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Racer {
    fn of(folder: &Path, one: &'static str, other: &'static str) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count, folder) = (stop.clone(), rounds.clone(), folder.to_owned());
        let thread = std::thread::spawn(move || {
            // In a namespace of its own, as in another container: there a mount point of ours is a folder like any other.
            namespace::unshare_mounts().unwrap();
            let folder = tree::root(&folder).unwrap();
            while !told.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(&folder, one, &folder, other, rustix::fs::RenameFlags::EXCHANGE);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn links_that_are_exchanged_while_we_mount_lead_nothing_out_of_the_tree() {
    with_tree(
        |scene| {
            std::fs::create_dir_all(scene.root.path().join("shared/folder")).unwrap();
            symlink(scene.canary.path(), scene.root.path().join("shared/link")).unwrap();
        },
        |scene| {
            let racer = Racer::of(&scene.root.path().join("shared"), "folder", "link");
            let source = tempfile::tempdir().unwrap();
            std::fs::write(source.path().join("file"), "ours").unwrap();
            let begun = Instant::now();
            let mut mounted = 0;
            let is_a_race = |mounted| racer.rounds() > ENOUGH.0 && mounted > ENOUGH.1;
            while begun.elapsed() < RACE || (!is_a_race(mounted) && begun.elapsed() < PATIENCE) {
                let number = mounted % 50;
                // Which of them succeed is the racer's; that none leads out is ours.
                let _ = scene.tmpfs(&format!("/shared/folder/new{number}"), "");
                let _ = scene.bind("/shared/folder/file", &source.path().join("file"), "bind");
                let _ = scene.inside.take(&TreeStep::Mask("/shared/folder/file".into()));
                let _ = scene.inside.take(&TreeStep::Mask("/shared/folder".into()));
                let _ = scene.inside.take(&TreeStep::MakeReadOnly("/shared/folder".into()));
                let step = TreeStep::PlaceDevice { device: device("/shared/folder/null", (1, 3)), way: Way::Made };
                let _ = scene.inside.take(&step);
                mounted += 1;
            }
            assert!(is_a_race(mounted), "a race that nobody ran proves nothing");
            racer.end();
            let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let outside = scene.canary.path().display().to_string();
            let led_out = table.lines().filter_map(|line| line.split(' ').nth(4)).find(|point| point.starts_with(&outside));
            assert_eq!(led_out, None);
        },
    );
}
