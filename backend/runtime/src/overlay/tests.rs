//! Against the kernel: overlays are mounted in a mount namespace of a child, changed there with ordinary tools, and what
//! the kernel shows is compared with what is read from the layers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use belljar_model::overlay::{Change, Layer, Role};

use super::*;

mod comparing;
mod undoing;

/// Layers on disk: `image` and `usr` below, `extra` over them, then `init`, then `upper`.
struct Bed {
    folder: tempfile::TempDir,
}

/// Exit status of the child where the kernel does not mount an overlay here.
const NO_OVERLAY: i32 = 77;

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["image/usr", "usr/bin", "extra", "init", "upper/usr", "work", "work-usr", "merged"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// A bed with some files in its lower layers.
    fn furnished() -> Self {
        let bed = Self::new();
        for (path, content) in [
            ("image/etc/ro.txt", "read only\n"),
            ("image/etc/doomed.txt", "gone soon\n"),
            ("image/etc/deep/er/file", "deep\n"),
            ("image/srv/folder/a", "a"),
            ("image/srv/folder/b", "b"),
            ("image/srv/other/c", "c"),
            ("extra/etc/extra.conf", "extra\n"),
            ("extra/etc/ro.txt", "of the extra layer\n"),
            ("init/etc/hosts", "127.0.0.1 localhost\n"),
            ("usr/bin/tool", "#!/bin/sh\n"),
            ("usr/bin/other", "#!/bin/sh\n"),
            ("usr/share/doc/readme", "read me\n"),
        ] {
            bed.write(path, content);
        }
        symlink("ro.txt", bed.path("image/etc/link")).unwrap();
        bed
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn stack(&self) -> Stack {
        let layers = [
            (Role::Upper, "upper", ""),
            (Role::Init, "init", ""),
            (Role::Extra, "extra", ""),
            (Role::Image, "image", ""),
            (Role::Image, "usr", "usr"),
        ];
        let layer = |(role, path, at): (Role, &str, &str)| Layer {
            role,
            path: self.path(path).display().to_string(),
            at: at.to_owned(),
            label: path.to_owned(),
            digest: None,
            size_bytes: None,
            command: None,
        };
        Stack { layers: layers.map(layer).to_vec(), work: self.path("work").display().to_string(), merged: None, quota: None }
    }

    /// Mounts the stack as the runtime does, runs `script` in its root, and returns what the kernel shows of it then.
    /// None where it cannot be mounted here, which is said.
    fn run(&self, script: &str) -> Option<BTreeMap<String, String>> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let around = format!(
            "set -e; cd '{}'
             opts=redirect_dir=nofollow,metacopy=off,index=off
             mount -t overlay overlay -o $opts,lowerdir=init:extra:image,upperdir=upper,workdir=work merged || exit {NO_OVERLAY}
             mount -t overlay overlay -o $opts,lowerdir=usr,upperdir=upper/usr,workdir=work-usr merged/usr || exit {NO_OVERLAY}
             cd merged
             ( {script} ) >&2
             find . -mindepth 1 -printf '%P\\0%y %m %U:%G\\0%s\\0%l\\0'",
            self.folder.path().display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &around]).stdin(Stdio::null());
        let output = command.output().expect("unshare runs");
        if output.status.code() == Some(NO_OVERLAY) {
            println!("skipped: needs a file system that overlayfs takes as its upper layer");
            return None;
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let lossy = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        let line = |chunk: &[&[u8]]| {
            let size = if chunk[1].starts_with(b"f") { lossy(chunk[2]) } else { "0".into() };
            (format!("/{}", lossy(chunk[0])), format!("{} {size} {}", lossy(chunk[1]), lossy(chunk[3])))
        };
        Some(fields.chunks_exact(4).map(line).collect())
    }

    /// What is read from the layers, in the words of [`Bed::run`]; what was deleted is left out, as the kernel does.
    fn read(&self) -> BTreeMap<String, String> {
        let stack = self.stack();
        let mut found = BTreeMap::new();
        let mut ahead = vec!["/".to_owned()];
        while let Some(folder) = ahead.pop() {
            for entry in entries(&stack, &folder).unwrap_or_else(|error| panic!("{folder}: {error}")) {
                if entry.status == Status::Deleted {
                    continue;
                }
                let letter = match entry.kind {
                    FileKind::File => "f",
                    FileKind::Directory => "d",
                    FileKind::Symlink => "l",
                    FileKind::Device => "c",
                    FileKind::Fifo => "p",
                    FileKind::Socket => "s",
                };
                let target = entry.link_target.unwrap_or_default();
                let line = format!("{letter} {:o} {}:{} {} {target}", entry.mode, entry.uid, entry.gid, entry.size_bytes);
                found.insert(entry.path.clone(), line);
                if entry.kind == FileKind::Directory && !entry.path.contains('\u{fffd}') {
                    ahead.push(entry.path);
                }
            }
        }
        found
    }

    fn changes(&self) -> Vec<(String, Status)> {
        changes(&self.stack()).unwrap().into_iter().map(|change| (change.path, change.status)).collect()
    }

    /// Changes the tree with `script`, holds our reading against the kernel's, and returns the changes.
    fn changed_by(&self, script: &str) -> Option<Vec<(String, Status)>> {
        let kernel = self.run(script)?;
        assert_eq!(self.read(), kernel, "after {script}");
        Some(self.changes())
    }
}

fn of(expected: &[(&str, Status)]) -> Vec<(String, Status)> {
    expected.iter().map(|(path, status)| ((*path).to_owned(), *status)).collect()
}

fn entry_at(bed: &Bed, folder: &str, name: &str) -> Entry {
    let found = entries(&bed.stack(), folder).unwrap().into_iter().find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {folder}"))
}

#[test]
fn an_untouched_tree_has_no_changes_and_every_entry_its_layer() {
    let bed = Bed::furnished();
    let Some(changes) = bed.changed_by("true") else { return };
    assert_eq!(changes, []);
    let layers = [("/etc", "hosts", 1), ("/etc", "ro.txt", 2), ("/etc", "doomed.txt", 3), ("/usr/bin", "tool", 4), ("/", "usr", 4)];
    for (folder, name, layer) in layers {
        let entry = entry_at(&bed, folder, name);
        assert_eq!((entry.layer, entry.status), (layer, Status::Unchanged), "{folder}/{name}");
    }
    assert_eq!(entry_at(&bed, "/etc", "link").link_target.as_deref(), Some("ro.txt"));
}

#[test]
fn an_append_is_modified_a_new_file_added_and_a_removed_one_deleted() {
    let bed = Bed::furnished();
    let script = "echo more >> etc/ro.txt; echo new > etc/rw.txt; rm etc/doomed.txt; echo x >> usr/bin/tool; rm usr/bin/other";
    let Some(changes) = bed.changed_by(script) else { return };
    let expected = of(&[
        ("/etc/doomed.txt", Status::Deleted),
        ("/etc/ro.txt", Status::Modified),
        ("/etc/rw.txt", Status::Added),
        ("/usr/bin/other", Status::Deleted),
        ("/usr/bin/tool", Status::Modified),
    ]);
    assert_eq!(changes, expected);
    let deleted = entry_at(&bed, "/etc", "doomed.txt");
    assert_eq!((deleted.status, deleted.layer, deleted.size_bytes), (Status::Deleted, 3, 10));
    assert_eq!(entry_at(&bed, "/etc", "ro.txt").layer, 0);
    assert_eq!(entry_at(&bed, "/", "etc").status, Status::Unchanged, "only the way to what changed");
    let sized = super::changes(&bed.stack()).unwrap();
    let size = |path: &str| sized.iter().find(|change| change.path == path).map(|change: &Change| change.size_bytes);
    assert_eq!((size("/etc/rw.txt"), size("/etc/doomed.txt")), (Some(4), Some(0)));
    assert!(sizes(&bed.stack()).unwrap().upper_entries >= 6);
}

#[test]
fn a_moved_folder_is_deleted_here_and_added_there() {
    let bed = Bed::furnished();
    let Some(changes) = bed.changed_by("mv srv/folder srv/moved") else { return };
    let expected = of(&[
        ("/srv/folder", Status::Deleted),
        ("/srv/moved", Status::Added),
        ("/srv/moved/a", Status::Added),
        ("/srv/moved/b", Status::Added),
    ]);
    assert_eq!(changes, expected);
    assert!(matches!(entries(&bed.stack(), "/srv/folder"), Err(Error::NotFound { .. })));
}

#[test]
fn a_file_in_the_place_of_a_folder_and_a_folder_in_the_place_of_a_file_are_replaced() {
    let bed = Bed::furnished();
    let script = "rm -r srv/folder; echo file > srv/folder; rm etc/ro.txt; mkdir etc/ro.txt; echo x > etc/ro.txt/inner; rm etc/link; mkfifo etc/link";
    let Some(changes) = bed.changed_by(script) else { return };
    let expected = of(&[
        ("/etc/link", Status::Replaced),
        ("/etc/ro.txt", Status::Replaced),
        ("/etc/ro.txt/inner", Status::Added),
        ("/srv/folder", Status::Replaced),
    ]);
    assert_eq!(changes, expected);
}

#[test]
fn a_folder_removed_and_made_again_is_replaced_and_hides_what_was_in_it() {
    let bed = Bed::furnished();
    let script = "rm -r srv/folder etc/deep; mkdir srv/folder etc/deep; echo a > srv/folder/a; rm -r usr/share; mkdir usr/share";
    let Some(changes) = bed.changed_by(script) else { return };
    let expected = of(&[
        ("/etc/deep", Status::Replaced),
        ("/srv/folder", Status::Replaced),
        ("/srv/folder/a", Status::Added),
        ("/usr/share", Status::Replaced),
    ]);
    assert_eq!(changes, expected);
}

#[test]
fn a_changed_mode_or_owner_is_a_change_of_the_folder_itself() {
    let bed = Bed::furnished();
    let Some(changes) = bed.changed_by("chmod 700 srv/folder; chown 1000:1000 srv/other; chmod 600 etc/extra.conf; touch srv/folder/a")
    else {
        return;
    };
    let expected = of(&[
        ("/etc/extra.conf", Status::Metadata),
        ("/srv/folder", Status::Metadata),
        ("/srv/folder/a", Status::Metadata),
        ("/srv/other", Status::Metadata),
    ]);
    assert_eq!(changes, expected);
    let folder = entry_at(&bed, "/srv", "folder");
    assert_eq!((folder.mode, folder.layer), (0o700, 0));
}

#[test]
fn everything_deleted_leaves_only_whiteouts() {
    let bed = Bed::furnished();
    let Some(changes) = bed.changed_by("rm -rf etc srv usr/bin usr/share") else { return };
    let deleted = ["/etc", "/srv", "/usr/bin", "/usr/share"].map(|path| (path, Status::Deleted));
    assert_eq!(changes, of(&deleted));
}

#[test]
fn a_new_thing_made_and_removed_again_leaves_no_change() {
    let bed = Bed::furnished();
    let Some(changes) = bed.changed_by("mkdir -p srv/x/y; touch srv/x/y/z; rm -r srv/x; mkdir usr/x; rmdir usr/x") else { return };
    assert_eq!(changes, []);
}

#[test]
fn names_that_are_not_utf_8_or_hold_newlines_are_listed() {
    let bed = Bed::furnished();
    let Some(changes) = bed.changed_by(r#"touch "$(printf 'srv/\377\376')" "$(printf 'srv/a\nb')" "srv/<b>""#) else { return };
    let added = ["/srv/<b>", "/srv/a\nb", "/srv/\u{fffd}\u{fffd}"].map(|path| (path, Status::Added));
    assert_eq!(changes, of(&added));
    assert!(bed.path("upper/srv").join(OsStr::from_bytes(b"\xff\xfe")).exists());
}

#[test]
fn a_whiteout_in_an_extra_layer_hides_without_being_a_change() {
    let bed = Bed::furnished();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let whiteout = |path: &str| {
        let path = bed.path(path);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty(), 0).unwrap();
    };
    std::fs::create_dir_all(bed.path("extra/srv")).unwrap();
    whiteout("extra/srv/folder");
    whiteout("extra/etc/doomed.txt");
    // Whiteouts as files with an attribute, in a folder that says so; a kernel that does not know them shows the files.
    let knows_marks = kernel_version() >= (6, 7);
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(bed.path(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    if knows_marks {
        bed.write("extra/srv/other/c", "");
        set("extra/srv/other", "trusted.overlay.opaque", b"x");
        set("extra/srv/other/c", "trusted.overlay.whiteout", b"");
    }
    let Some(changes) = bed.changed_by("true") else { return };
    assert_eq!(changes, []);
    assert!(matches!(entries(&bed.stack(), "/srv/folder"), Err(Error::NotFound { .. })));
    assert_eq!(entries(&bed.stack(), "/srv/other").unwrap().is_empty(), knows_marks);
}

fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The upper layer as a hostile container could have left it: no kernel is asked, so this needs no root.
#[test]
fn links_in_the_upper_layer_are_never_followed() {
    let bed = Bed::furnished();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("canary"), "secret").unwrap();
    symlink("/", bed.path("upper/etc")).unwrap();
    symlink(outside.path(), bed.path("upper/srv")).unwrap();
    symlink("/proc/self/root", bed.path("upper/magic")).unwrap();
    symlink("../..", bed.path("upper/up")).unwrap();
    std::fs::remove_dir(bed.path("upper/usr")).unwrap();
    symlink("/etc", bed.path("upper/usr")).unwrap();
    for path in ["/etc", "/srv", "/magic", "/up", "/etc/", "/srv/.", "//srv"] {
        assert!(matches!(entries(&bed.stack(), path), Err(Error::NotADirectory { .. })), "{path}");
    }
    for path in ["/srv/canary", "/etc/passwd", "/magic/etc", "/up/image"] {
        assert!(matches!(entries(&bed.stack(), path), Err(Error::NotFound { .. } | Error::NotADirectory { .. })), "{path}");
    }
    for path in ["..", "/../etc", "/srv/../..", "a\0b"] {
        assert!(matches!(entries(&bed.stack(), path), Err(Error::Path { .. })), "{path:?}");
    }
    let expected = of(&[("/etc", Status::Replaced), ("/magic", Status::Added), ("/srv", Status::Replaced), ("/up", Status::Added)]);
    assert_eq!(bed.changes(), expected);
    assert_eq!(entry_at(&bed, "/", "srv").link_target, Some(outside.path().display().to_string()));
    assert_eq!(entries(&bed.stack(), "/usr/bin").unwrap().len(), 2, "what is grafted is still seen");
}

#[test]
fn a_layer_whose_root_holds_a_fifo_and_a_socket_is_read_without_waiting() {
    let bed = Bed::furnished();
    rustix::fs::mknodat(rustix::fs::CWD, bed.path("upper/pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(bed.path("upper/socket")).unwrap();
    let kinds = ["pipe", "socket"].map(|name| entry_at(&bed, "/", name).kind);
    assert_eq!(kinds, [FileKind::Fifo, FileKind::Socket]);
    assert!(matches!(entries(&bed.stack(), "/pipe"), Err(Error::NotADirectory { .. })));
}

#[test]
fn a_container_that_never_ran_has_no_upper_layer_and_no_changes() {
    let bed = Bed::furnished();
    std::fs::remove_dir_all(bed.path("upper")).unwrap();
    std::fs::remove_dir_all(bed.path("init")).unwrap();
    assert_eq!(bed.changes(), []);
    assert_eq!(sizes(&bed.stack()).unwrap(), Sizes::default());
    assert_eq!(entry_at(&bed, "/etc", "ro.txt").layer, 2);
    std::fs::remove_dir_all(bed.path("image")).unwrap();
    assert!(matches!(entries(&bed.stack(), "/"), Err(Error::Layer { .. })), "an image that is gone is an error");
}

#[test]
fn more_than_the_limit_is_an_error_that_says_the_limit_and_never_a_part() {
    let bed = Bed::new();
    for name in ["a", "b", "c"] {
        std::fs::create_dir(bed.path("upper").join(name)).unwrap();
        bed.write(&format!("upper/{name}/file"), "x");
    }
    // The root of a graft counts while it is still ahead, and in which order a folder is listed is the file system's choice.
    assert_eq!(super::changes::changes_up_to(&bed.stack(), 7).unwrap().len(), 6);
    let error = super::changes::changes_up_to(&bed.stack(), 5).unwrap_err();
    assert_eq!(error.to_string(), "there are more than 5 changes, which is the limit");
    assert_eq!(entries_up_to(&bed.stack(), "/", 4).unwrap().len(), 4);
    let error = entries_up_to(&bed.stack(), "/", 3).unwrap_err();
    assert_eq!(error.to_string(), "there are more than 3 entries in this folder, which is the limit");
}

#[test]
fn a_tree_deeper_than_a_path_can_say_is_told_as_deep_as_paths_lead() {
    let bed = Bed::new();
    let name = "d".repeat(250);
    let mut folder = rustix::fs::open(bed.path("upper"), rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for _level in 0..20 {
        rustix::fs::mkdirat(&folder, &name, rustix::fs::Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, &name, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
    let told = changes(&bed.stack()).unwrap();
    assert_eq!(told.len(), 17, "16 folders have a path of up to 4096 bytes, and the next one is told as a whole");
    assert!(sizes(&bed.stack()).is_ok());
    assert!(entries(&bed.stack(), &format!("/{name}")).is_ok());
}

#[test]
fn a_name_twice_in_the_upper_layer_is_counted_once_in_its_size() {
    let bed = Bed::new();
    bed.write("upper/big", &"x".repeat(100_000));
    let alone = sizes(&bed.stack()).unwrap();
    std::fs::hard_link(bed.path("upper/big"), bed.path("upper/again")).unwrap();
    let linked = sizes(&bed.stack()).unwrap();
    assert_eq!((linked.upper_bytes, linked.upper_entries), (alone.upper_bytes, alone.upper_entries + 1));
    assert!(alone.upper_bytes >= 100_000);
}

#[test]
fn a_graft_with_another_mode_is_a_change_and_with_the_same_is_none() {
    let bed = Bed::furnished();
    assert_eq!(bed.changes(), []);
    std::fs::set_permissions(bed.path("upper/usr"), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bed.changes(), of(&[("/usr", Status::Metadata)]));
    assert_eq!(entry_at(&bed, "/", "usr").status, Status::Metadata);
}
