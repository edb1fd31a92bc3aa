//! What is wrong with an image on this disk is found, by path; nothing is found where nothing is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bed::{Bed, Entry, file, folder, hard_link, root_or_skip, soft_link, tar};
use belljar_images::{Digest, Finding, ImportLimits, StagedLayer, ToVerify};
use serde_json::json;

fn layer() -> Vec<Entry> {
    vec![
        folder("./").mode(0o755),
        folder("d").mode(0o1777),
        file("d/a", "some content").pax(&[("SCHILY.xattr.user.k", b"v"), ("mtime", b"1.5")]),
        file("d/empty", ""),
        file("implied/deep/b", "x".repeat(3000)),
        hard_link("hard", "d/a"),
        soft_link("link", "d/a"),
        soft_link("bin", "d"),
        file("bin/c", "behind a link"),
        Entry::new(b'6', "pipe", ""),
        file(".wh.gone", ""),
        folder("opaque"),
        file("opaque/.wh..wh..opq", ""),
        file(".wh.mine", ""),
        folder("mine"),
        file("twice", ""),
        file("twice", "2"),
    ]
}

/// A layer, after `damage` was done to it.
fn found_in(entries: &[Entry], damage: impl FnOnce(&Path)) -> Vec<Finding> {
    let bed = Bed::new();
    let placed = bed.images.stage_layer(tar(entries).as_slice(), &ImportLimits::default()).and_then(StagedLayer::put_in_place).unwrap();
    damage(&bed.path("images/layers").join(placed.diff_id.hex()));
    let found = bed.images.verify(&ToVerify { manifest: None, config: None, layers: &[placed.diff_id] });
    bed.check_outside();
    assert!(found.iter().all(|finding| finding.layer == Some(placed.diff_id)));
    found
}

#[track_caller]
fn finds(path: &str, words: &str, damage: impl FnOnce(&Path)) {
    let found = found_in(&layer(), damage);
    assert!(found.iter().any(|finding| finding.path == path && finding.problem.contains(words)), "{path}: {words}: {found:#?}");
}

fn keep_time(path: &Path, change: impl FnOnce(&Path)) {
    let before = path.symlink_metadata().unwrap().modified().unwrap();
    change(path);
    std::fs::File::open(path).unwrap().set_modified(before).unwrap();
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    if !root_or_skip() {
        return;
    }
    assert_eq!(found_in(&layer(), |_| {}), []);
    // Not exact, and yet whole.
    let twice = [
        file("a", "1"),
        file("a", "2"),
        file("f/x", "1"),
        file("f", "3"),
        file("e/x", "1"),
        soft_link("e", "a"),
        file("z", "1"),
        file("z", ""),
    ];
    assert_eq!(found_in(&twice, |_| {}), []);
    assert_eq!(found_in(&[Entry::new(b'3', "null", ""), file("x", "")], |_| {}), []);
}

#[test]
fn every_kind_of_damage_is_found_by_its_path() {
    if !root_or_skip() {
        return;
    }
    let byte = |path: &Path| std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"!", 3).unwrap();
    finds("d/a", "its content has changed", |root| keep_time(&root.join("d/a"), byte));
    finds("", "its archive has the digest", |root| keep_time(&root.join("d/a"), byte));
    finds("bin", "it is missing", |root| std::fs::remove_file(root.join("bin")).unwrap());
    finds("implied/deep/b", "it is missing", |root| std::fs::remove_dir_all(root.join("implied/deep")).unwrap());
    finds("d/empty", "it is missing", |root| std::fs::remove_file(root.join("d/empty")).unwrap());
    finds("d/new", "no part of the layer", |root| std::fs::write(root.join("d/new"), "").unwrap());
    finds("new", "no part of the layer", |root| std::fs::create_dir_all(root.join("new/deep")).unwrap());
    finds("d/a", "its mode is 600", |root| std::fs::set_permissions(root.join("d/a"), PermissionsExt::from_mode(0o600)).unwrap());
    finds("d", "its mode is 777", |root| std::fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o777)).unwrap());
    finds("implied", "its mode", |root| std::fs::set_permissions(root.join("implied"), PermissionsExt::from_mode(0o700)).unwrap());
    finds("d/a", "its owner is 7:8", |root| std::os::unix::fs::chown(root.join("d/a"), Some(7), Some(8)).unwrap());
    finds("d/a", "its time", |root| std::fs::File::open(root.join("d/a")).unwrap().set_modified(std::time::SystemTime::now()).unwrap());
    finds("d/a", "4 bytes", |root| std::fs::File::options().write(true).open(root.join("d/a")).unwrap().set_len(4).unwrap());
    finds("link", "leads elsewhere", |root| {
        std::fs::remove_file(root.join("link")).unwrap();
        symlink("../../outside", root.join("link")).unwrap();
    });
    finds("pipe", "it is a file", |root| {
        std::fs::remove_file(root.join("pipe")).unwrap();
        std::fs::write(root.join("pipe"), "").unwrap();
    });
    finds("hard", "no longer the same file", |root| {
        std::fs::remove_file(root.join("hard")).unwrap();
        std::fs::write(root.join("hard"), "some content").unwrap();
    });
    finds("d", "it is a symbolic link", |root| {
        std::fs::rename(root.join("d"), root.join("e")).unwrap();
        symlink("e", root.join("d")).unwrap();
    });
}

#[test]
fn marks_and_attributes_that_came_or_went_are_found() {
    if !root_or_skip() {
        return;
    }
    let set = |path: PathBuf, name: &str| rustix::fs::lsetxattr(path, name, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let unset = |path: PathBuf, name: &str| rustix::fs::lremovexattr(path, name).unwrap();
    const MARK: &str = "trusted.overlay.opaque";
    finds("d/a", "extended attributes", |root| set(root.join("d/a"), "user.other"));
    finds("d/a", "extended attributes", |root| unset(root.join("d/a"), "user.k"));
    finds("d/a", "extended attributes", |root| set(root.join("d/a"), "trusted.overlay.redirect"));
    finds("d", "it hides", |root| set(root.join("d"), MARK));
    finds("", "it hides", |root| set(root.to_owned(), MARK));
    finds("opaque", "no longer hides", |root| unset(root.join("opaque"), MARK));
    finds("mine", "no longer hides", |root| unset(root.join("mine"), MARK));
    finds("gone", "whiteout is missing", |root| std::fs::remove_file(root.join("gone")).unwrap());
    finds("gone", "not a whiteout", |root| {
        std::fs::remove_file(root.join("gone")).unwrap();
        std::fs::write(root.join("gone"), "").unwrap();
    });
    finds("d/a", "it is a whiteout", |root| {
        std::fs::remove_file(root.join("d/a")).unwrap();
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, root.join("d/a"), kind, rustix::fs::Mode::empty(), 0).unwrap();
    });
}

#[test]
fn a_layer_or_a_skeleton_that_is_gone_cut_off_or_changed_is_found() {
    let skeleton = |root: &Path| {
        let images = root.parent().unwrap().parent().unwrap();
        images.join("skeletons").join(root.file_name().unwrap())
    };
    let plain = [file("a", "1"), file("b", "2")];
    let has = |found: &[Finding], words: &str| assert!(found.iter().any(|finding| finding.problem.contains(words)), "{words}: {found:?}");
    has(&found_in(&plain, |root| std::fs::remove_dir_all(root).unwrap()), "its folder is missing");
    has(&found_in(&plain, |root| std::fs::remove_file(skeleton(root)).unwrap()), "its skeleton is missing");
    for cut in [0, 10, 39, 40, 41, 60] {
        let found = found_in(&plain, |root| std::fs::File::options().write(true).open(skeleton(root)).unwrap().set_len(cut).unwrap());
        assert!(!found.is_empty(), "cut at {cut}");
    }
    let changed = found_in(&plain, |root| {
        std::fs::File::options().write(true).open(skeleton(root)).unwrap().write_all_at(&[0xff; 4], 70).unwrap();
    });
    assert!(!changed.is_empty());
    // Also where there is no digest any more to be compared.
    let twice = [file("a", "1"), file("a", "2"), file("b", "1")];
    has(&found_in(&twice, |root| keep_time(&root.join("b"), |path| std::fs::write(path, "3").unwrap())), "content");
}

#[test]
fn more_damage_than_anybody_reads_is_counted() {
    let many: Vec<Entry> = (0..1500).map(|number| file(format!("{number}"), "")).collect();
    let found = found_in(&many, |root| {
        for number in 0..1500 {
            std::fs::set_permissions(root.join(number.to_string()), PermissionsExt::from_mode(0o600)).unwrap();
        }
    });
    assert_eq!((found.len(), found.last().unwrap().problem.as_str()), (1001, "there are 500 findings more"));
}

#[test]
fn documents_that_are_not_what_their_digests_say_are_found() {
    let bed = Bed::new();
    let placed =
        bed.images.stage_layer(tar(&[file("a", "1")]).as_slice(), &ImportLimits::default()).and_then(StagedLayer::put_in_place).unwrap();
    let config = json!({"rootfs": {"diff_ids": [placed.diff_id.to_string()]}}).to_string().into_bytes();
    let right = Digest::of(&config);
    let verify = |config: (&[u8], Digest), layers: &[Digest]| {
        let found = bed.images.verify(&ToVerify { manifest: Some((b"{}", Digest::of(b"{}"))), config: Some(config), layers });
        found.into_iter().map(|finding| finding.problem).collect::<Vec<_>>()
    };
    assert_eq!(verify((&config, right), &[placed.diff_id]), Vec::<String>::new());
    assert!(verify((&config, Digest::of(b"")), &[placed.diff_id])[0].contains("the configuration has the digest"));
    assert!(verify((&config, right), &[]).iter().any(|problem| problem.contains("speaks of other layers")));
    assert!(verify((b"{", Digest::of(b"{")), &[placed.diff_id])[0].contains("cannot be read"));
}
