//! What a power cut and a full disk leave: nothing half-done is ever used, and a new try makes it whole.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::path::PathBuf;
use std::process::Command;

use bed::{Bed, Entry, file, folder, root_or_skip, tar};
use belljar_images::{Digest, Images, ImportLimits, StagedLayer, ToVerify};

fn layer() -> Vec<u8> {
    tar(&[folder("d"), file("d/a", "content")])
}

fn place(images: &Images, layer: &[u8]) -> Digest {
    images.stage_layer(layer, &ImportLimits::default()).and_then(StagedLayer::put_in_place).unwrap().diff_id
}

#[test]
fn what_a_power_cut_leaves_is_never_used_and_is_made_whole_by_the_next_who_brings_it() {
    type Damage = fn(PathBuf, PathBuf);
    let damages: [(&str, Damage); 5] = [
        ("no tree", |tree, _| std::fs::remove_dir_all(tree).unwrap()),
        ("no skeleton", |_, skeleton| std::fs::remove_file(skeleton).unwrap()),
        ("an empty skeleton", |_, skeleton| std::fs::write(skeleton, "").unwrap()),
        ("half a header", |_, skeleton| std::fs::File::options().write(true).open(skeleton).unwrap().set_len(20).unwrap()),
        ("something else", |_, skeleton| std::fs::write(skeleton, [7; 100]).unwrap()),
    ];
    for (what, damage) in damages {
        let bed = Bed::new();
        let diff_id = place(&bed.images, &layer());
        let hex = diff_id.hex();
        damage(bed.path("images/layers").join(&hex), bed.path("images/skeletons").join(&hex));
        assert!(!bed.images.has_layer(&diff_id), "{what}");
        let verify = || bed.images.verify(&ToVerify { manifest: None, config: None, layers: &[diff_id] });
        assert_eq!(verify().len(), 1, "{what}");
        assert_eq!(place(&bed.images, &layer()), diff_id);
        assert!(bed.images.has_layer(&diff_id) && verify().is_empty(), "{what}");
    }
}

#[test]
fn layers_that_come_together_are_all_in_their_places() {
    let bed = Bed::new();
    let stage = |name: &str| bed.images.stage_layer(tar(&[file(name, name)]).as_slice(), &ImportLimits::default()).unwrap();
    let placed = StagedLayer::put_all_in_place(vec![stage("a"), stage("b"), stage("a")]).unwrap();
    assert_eq!(placed.iter().map(|placed| bed.images.has_layer(&placed.diff_id)).collect::<Vec<_>>(), [true; 3]);
    assert_eq!((placed[0].diff_id == placed[2].diff_id, bed.left().len()), (true, 4));
    assert_eq!(StagedLayer::put_all_in_place(Vec::new()).unwrap().len(), 0);
}

#[test]
fn a_layer_that_is_unpacked_and_never_put_in_its_place_leaves_nothing() {
    let bed = Bed::new();
    drop(bed.images.stage_layer(layer().as_slice(), &ImportLimits::default()).unwrap());
    assert_eq!(bed.left(), Vec::<String>::new());
    // Whoever was killed meanwhile dropped nothing.
    std::mem::forget(bed.images.stage_layer(layer().as_slice(), &ImportLimits::default()).unwrap());
    assert_eq!(bed.left().len(), 2);
    assert_eq!(Images::open(bed.path("images")).unwrap().sweep(&[]).unwrap().removed.len(), 2);
    assert_eq!(bed.left(), Vec::<String>::new());
}

/// Tells the run of this executable inside from the one outside, and where its small disk is.
const DISK: &str = "BELLJAR_TEST_SMALL_DISK";

#[test]
fn a_full_disk_is_said_and_gets_its_space_back() {
    if let Some(disk) = std::env::var_os(DISK) {
        return fill(PathBuf::from(disk));
    }
    if !root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A disk of this process's own, which goes with it.
    let script = "mount -t tmpfs -o size=4m,nr_inodes=200 none \"$1\" && shift && exec \"$@\"";
    let test = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(test)
        .args(["--exact", "a_full_disk_is_said_and_gets_its_space_back", "--nocapture"])
        .env(DISK, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

fn fill(disk: PathBuf) {
    let free = || {
        let stat = rustix::fs::statvfs(&disk).unwrap();
        (stat.f_bfree, stat.f_ffree)
    };
    let images = Images::open(disk.join("images")).unwrap();
    let before = free();
    let large = tar(&[file("a", vec![1; 1 << 20]), file("b", vec![2; 8 << 20])]);
    let many = tar(&(0..500).map(|number| file(format!("{number}"), "")).collect::<Vec<Entry>>());
    for archive in [large, many] {
        let error = images.stage_layer(archive.as_slice(), &ImportLimits::default()).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("No space left") && !error.is_invalid(), "{error}: {cause}");
        assert_eq!(free(), before, "the space is given back");
    }
    let diff_id = place(&images, &layer());
    assert!(images.has_layer(&diff_id), "what fits comes in afterwards");
}
