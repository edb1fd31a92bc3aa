//! Races: somebody exchanges links and folders while a tree is put together.

use super::devices::device;
use super::*;

/// Exchanges two names as quickly as it can, until told to stop.
struct Racer {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Racer {
    fn of(folder: &Path, one: &'static str, other: &'static str) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (told, folder) = (stop.clone(), folder.to_owned());
        let thread = std::thread::spawn(move || {
            // In a namespace of its own, as in another container: there a mount point of ours is a folder like any other.
            namespace::unshare_mounts().unwrap();
            let folder = tree::root(&folder).unwrap();
            let mut rounds = 0;
            while !told.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(&folder, one, &folder, other, rustix::fs::RenameFlags::EXCHANGE);
                rounds += 1;
            }
            rounds
        });
        Self { stop, thread: Some(thread) }
    }

    fn rounds(mut self) -> u64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
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
            let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
            let mut mounted = 0;
            while std::time::Instant::now() < until {
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
            assert!(racer.rounds() > 100 && mounted > 20, "a race that nobody ran proves nothing");
            let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let outside = scene.canary.path().display().to_string();
            let led_out = table.lines().filter_map(|line| line.split(' ').nth(4)).find(|point| point.starts_with(&outside));
            assert_eq!(led_out, None);
        },
    );
}
