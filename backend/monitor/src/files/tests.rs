//! Trees out and in, with owners that do their worst: outside of each tree lies a canary that nobody may touch.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use belljar_archive::{Entry, Kind, Writer};

use super::*;

const CONTAINERS: Manner = Manner { links: Links::Followed, owners: Whose::Mine };
const HOSTS: Manner = Manner { links: Links::Refused, owners: Whose::Mine };
/// Rounds of a race: each is a chance for the attacker.
const ROUNDS: usize = 400;
/// Rounds after which a race that never found the folder is given up.
const MOST_ROUNDS: usize = 100 * ROUNDS;

/// A tree, and beside it what must never change.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let bed = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(bed.path("canary/w")).unwrap();
        std::fs::write(bed.path("canary/w/x"), "alive").unwrap();
        std::fs::create_dir(bed.path("tree")).unwrap();
        bed
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn root(&self) -> OwnedFd {
        belljar_linux::tree::root(&self.path("tree")).unwrap()
    }

    fn assert_canary_lives(&self) {
        let names = |path: &str| std::fs::read_dir(self.path(path)).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!((names("canary"), names("canary/w")), (vec!["w".into()], vec!["x".into()]));
        assert_eq!(std::fs::read_to_string(self.path("canary/w/x")).unwrap(), "alive");
        assert_eq!(std::fs::metadata(self.path("canary/w")).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    fn unpack(&self, path: &str, archive: &[u8], manner: Manner) -> std::result::Result<Moved, Error> {
        let unpacked = unpack(&self.root(), path, archive, manner);
        self.assert_canary_lives();
        let left: Vec<_> = walk(&self.path("tree")).into_iter().filter(|path| path.to_string_lossy().contains(".belljar-")).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "nothing half-made is left");
        unpacked
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

fn file(name: &str) -> (String, Kind) {
    (name.to_owned(), Kind::File { size: 4 })
}

fn link(name: &str, target: &str) -> (String, Kind) {
    (name.to_owned(), Kind::Symlink { target: target.as_bytes().to_vec() })
}

/// An archive of these; every file holds `evil`, everything has mode 4777.
fn archive(entries: &[(String, Kind)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, kind) in entries {
        let entry =
            Entry { name: name.as_bytes(), kind: kind.clone(), device: None, mode: 0o4777, uid: 0, gid: 0, mtime: (1, 0), xattrs: &[] };
        writer.entry(&entry).unwrap();
        writer.body(if matches!(kind, Kind::File { .. }) { b"evil" } else { b"" }).unwrap();
    }
    writer.finish().unwrap()
}

fn packed(root: &OwnedFd, path: &str) -> std::result::Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    pack(find(root, path)?, &mut bytes).map(|_| bytes)
}

#[test]
fn a_tree_goes_out_and_comes_in_as_it_was() {
    let bed = Bed::new();
    let source = bed.path("tree/source");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    std::fs::write(source.join("deep/file"), "content").unwrap();
    std::fs::set_permissions(source.join("deep/file"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::hard_link(source.join("deep/file"), source.join("again")).unwrap();
    symlink("/no/where", source.join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, source.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    filetime(&source.join("deep"), 1_000_000);
    let archive = packed(&bed.root(), "/source").unwrap();
    std::fs::create_dir(bed.path("tree/target")).unwrap();
    let moved = bed.unpack("/target", &archive, CONTAINERS).unwrap();
    assert_eq!((moved.entries, moved.size_bytes), (7, 7), "a socket is nobody's without its program");
    let made = bed.path("tree/target/source");
    assert_eq!(std::fs::read_to_string(made.join("again")).unwrap(), "content");
    assert_eq!(std::fs::metadata(made.join("again")).unwrap().ino(), std::fs::metadata(made.join("deep/file")).unwrap().ino());
    assert_eq!(std::fs::metadata(made.join("deep/file")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::metadata(made.join("deep")).unwrap().mtime(), 1_000_000);
    assert_eq!(std::fs::read_link(made.join("link")).unwrap(), Path::new("/no/where"));
}

fn filetime(path: &Path, seconds: i64) {
    let folder = std::fs::File::open(path).unwrap();
    rustix::fs::futimens(&folder, &attributes::times((seconds, 0))).unwrap();
}

#[test]
fn the_name_of_what_is_found_follows_the_path() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.path("tree/a/b")).unwrap();
    symlink("a", bed.path("tree/link")).unwrap();
    symlink("../../canary", bed.path("tree/out")).unwrap();
    let name = |path: &str| find(bed.root(), path).map(|found| (found.stat().name, found.stat().kind.as_str()));
    assert_eq!(name("/a/b").unwrap(), ("b".to_owned(), "directory"));
    assert_eq!(name("/a/b/").unwrap(), ("b".to_owned(), "directory"));
    assert_eq!(name("/a/b/.").unwrap(), (".".to_owned(), "directory"));
    assert_eq!(name("/").unwrap(), (".".to_owned(), "directory"));
    assert_eq!(name("/link").unwrap(), ("link".to_owned(), "symlink"), "a link is copied itself");
    assert_eq!(name("/link/").unwrap(), ("link".to_owned(), "directory"));
    assert_eq!(find(bed.root(), "/link").unwrap().stat().link_target.as_deref(), Some("a"));
    for path in ["/out/w/x", "/none", "/a/none/x"] {
        assert_eq!(name(path).unwrap_err().why(), Why::NotFound, "{path}");
    }
    for path in ["/a/..", "..", "a\0b"] {
        assert!(name(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_hostile_archive_reaches_nothing_outside_of_the_folder() {
    let outside = "../../canary/w";
    let cases: Vec<Vec<(String, Kind)>> = vec![
        vec![file("../canary/w/x")],
        vec![file("a/../../../canary/w/x")],
        vec![link("l", outside), file("l/x")],
        vec![link("l", outside), ("l".into(), Kind::Folder), file("l/x")],
        vec![link("a", ".."), link("a/b", "../canary"), file("a/b/w/x")],
        vec![link("l", "../canary/w/x"), file("l")],
        vec![("h".into(), Kind::Hardlink { target: b"../canary/w/x".to_vec() }), file("h")],
        vec![link("l", outside), ("h".into(), Kind::Hardlink { target: b"l/x".to_vec() })],
        vec![link("l", "../canary/w/x"), ("h".into(), Kind::Hardlink { target: b"l".to_vec() })],
        vec![link("l", "/proc/self/cwd"), file("l/x")],
        vec![link("l", "/proc/self/root"), file("l/tmp/x")],
        vec![("d".into(), Kind::Folder), file("d")],
        vec![file("f"), ("f".into(), Kind::Folder)],
        vec![file(".")],
        vec![link(".", outside)],
        vec![file(&"long/".repeat(300))],
    ];
    for entries in &cases {
        for manner in [HOSTS, CONTAINERS] {
            let bed = Bed::new();
            let unpacked = bed.unpack("/", &archive(entries), manner);
            let is_replaced = matches!(entries.as_slice(), [(_, Kind::Symlink { .. }), (name, Kind::File { .. })] if name == "l");
            // Inside a container links lead on, but only inside: what is beyond is the tree's own.
            let leads_on = manner == CONTAINERS && matches!(entries.first(), Some((_, Kind::Symlink { .. })));
            assert!(unpacked.is_err() || is_replaced || leads_on, "{entries:?}");
        }
    }
}

#[test]
fn on_the_hosts_side_no_program_gets_rights_by_a_copy() {
    let bed = Bed::new();
    bed.unpack("/", &archive(&[file("program"), ("folder".into(), Kind::Folder)]), HOSTS).unwrap();
    for name in ["tree/program", "tree/folder"] {
        assert_eq!(std::fs::metadata(bed.path(name)).unwrap().mode() & 0o7777, 0o777);
    }
}

#[test]
fn what_is_there_is_replaced_whole_and_never_written_into() {
    let bed = Bed::new();
    std::fs::write(bed.path("tree/file"), "before").unwrap();
    std::fs::hard_link(bed.path("tree/file"), bed.path("tree/kept")).unwrap();
    std::fs::create_dir_all(bed.path("tree/usr/lib")).unwrap();
    symlink("usr/lib", bed.path("tree/lib")).unwrap();
    let entries = [file("file"), ("lib".into(), Kind::Folder), file("lib/new.so")];
    bed.unpack("/", &archive(&entries), CONTAINERS).unwrap();
    assert_eq!(std::fs::read_to_string(bed.path("tree/file")).unwrap(), "evil");
    assert_eq!(std::fs::read_to_string(bed.path("tree/kept")).unwrap(), "before");
    assert!(bed.path("tree/lib").is_symlink() && bed.path("tree/usr/lib/new.so").is_file());
    let refused = bed.unpack("/", &archive(&entries), HOSTS).unwrap_err();
    assert_eq!(refused.why(), Why::Invalid, "{refused}");
}

#[test]
fn a_device_is_passed_over_and_what_is_no_archive_is_refused() {
    let bed = Bed::new();
    let entries = [("null".to_owned(), Kind::Device), ("pipe".to_owned(), Kind::Fifo)];
    let moved = bed.unpack("/", &archive(&entries), CONTAINERS).unwrap();
    assert_eq!((moved.entries, moved.passed_over), (2, 1));
    assert!(!bed.path("tree/null").exists() && bed.path("tree/pipe").exists());
    assert_eq!(bed.unpack("/", b"no archive", CONTAINERS).unwrap_err().why(), Why::Invalid);
    assert_eq!(bed.unpack("/none", &archive(&entries), CONTAINERS).unwrap_err().why(), Why::NotFound);
    assert_eq!(bed.unpack("/pipe", &archive(&entries), CONTAINERS).unwrap_err().why(), Why::Conflict);
}

/// CVE-2018-15664, CVE-2026-41568: while we work, the tree's owner swaps a folder for a link that leads out, and back. The work says
/// whether it found the folder; it goes on until it did, since on a busy machine the two may keep step.
fn while_swapped(bed: &Bed, mut work: impl FnMut() -> bool) {
    std::fs::create_dir_all(bed.path("tree/w")).unwrap();
    std::fs::write(bed.path("tree/w/x"), "inside").unwrap();
    symlink(bed.path("canary/w"), bed.path("tree/link")).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let root = bed.root();
            while !is_over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&root, "w", &root, "link", rustix::fs::RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut found = false;
        for round in 0..MOST_ROUNDS {
            if found && round >= ROUNDS {
                break;
            }
            found |= work();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(found, "at times the folder was one");
    });
    bed.assert_canary_lives();
}

#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere_when_copied_into() {
    let bed = Bed::new();
    let evil = archive(&[file("x"), file("sub/y")]);
    let root = bed.root();
    while_swapped(&bed, || unpack(&root, "/w", &evil[..], CONTAINERS).is_ok());
}

#[test]
fn a_folder_that_is_swapped_for_a_link_shows_nothing_of_the_host_when_copied_out() {
    let bed = Bed::new();
    let root = bed.root();
    while_swapped(&bed, || {
        let mut is_read = false;
        for path in ["/w/x", "/w", "/"] {
            if let Ok(bytes) = packed(&root, path) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(!text.contains("alive"), "{path}");
                is_read |= text.contains("inside");
            }
        }
        is_read
    });
}

#[test]
fn a_path_is_put_back_to_what_lies_below() {
    let bed = Bed::new();
    for tree in ["tree", "below"] {
        std::fs::create_dir_all(bed.path(tree).join("etc/deep")).unwrap();
        std::fs::write(bed.path(tree).join("etc/file"), "image").unwrap();
        symlink("file", bed.path(tree).join("etc/link")).unwrap();
    }
    std::fs::write(bed.path("tree/etc/file"), "changed").unwrap();
    std::fs::remove_dir(bed.path("tree/etc/deep")).unwrap();
    std::fs::write(bed.path("tree/etc/deep"), "a file now").unwrap();
    std::fs::remove_file(bed.path("tree/etc/link")).unwrap();
    std::fs::create_dir(bed.path("tree/etc/link")).unwrap();
    std::fs::create_dir_all(bed.path("tree/etc/added/deep")).unwrap();
    let below = belljar_linux::tree::root(&bed.path("below")).unwrap();
    let put_back = |path: &str| restore::restore(&bed.root(), &below, path, &[]);
    let error = put_back("/etc/file").unwrap_err();
    assert!(error.to_string().contains("mounted there"), "this is no overlay: {error}");
    for path in ["/", "/etc/..", ""] {
        assert_eq!(put_back(path).unwrap_err().why(), Why::Conflict, "{path}");
    }
    restore::put_back((&bed.root(), &below), "etc", &[]).unwrap();
    assert_eq!(std::fs::read_to_string(bed.path("tree/etc/file")).unwrap(), "image");
    assert!(bed.path("tree/etc/deep").is_dir() && bed.path("tree/etc/link").is_symlink() && !bed.path("tree/etc/added").exists());
    assert_eq!(walk(&bed.path("tree/etc")).len(), 3);
    assert_eq!(restore::put_back((&bed.root(), &below), "etc", &[]).unwrap().entries, 2, "the folders alone are looked at again");
}
