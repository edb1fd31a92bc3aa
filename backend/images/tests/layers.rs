//! Layers: what they hide, what they hold, and what of a hostile one becomes of it. Every case has a canary outside that must not
//! change, as in `hostile_archives`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use bed::{Bed, Entry, file, folder, hard_link, root_or_skip, soft_link};

fn hidden(name: &str) -> Entry {
    file(name, "")
}

#[test]
fn a_whiteout_becomes_what_overlayfs_takes_for_one() {
    if !root_or_skip() {
        return;
    }
    let bed = Bed::new();
    assert_eq!(
        bed.layer_lands(&[hidden(".wh.gone"), hidden("a/b/.wh.x"), hidden("d/.wh..wh..opq"), file("d/own", "1")]),
        ["a/ 755", "a/b/ 755", "a/b/x whiteout", "d/ 755 opaque", "d/own 644 1", "gone whiteout"]
    );
}

#[test]
fn what_a_layer_both_hides_and_holds_is_its_own_in_whatever_order() {
    if !root_or_skip() {
        return;
    }
    let mine = [folder("d"), file("d/x", "1"), file("f", "2"), soft_link("l", "f")];
    let hides = [hidden(".wh.d"), hidden(".wh.f"), hidden(".wh.l")];
    let expected = ["d/ 755 opaque", "d/x 644 1", "f 644 2", "l -> f"];
    assert_eq!(Bed::new().layer_lands(&[&mine[..], &hides].concat()), expected);
    assert_eq!(Bed::new().layer_lands(&[&hides[..], &mine].concat()), expected);
    // A folder that is only implied is one too.
    let implied = [hidden(".wh.d"), file("d/e/x", "1"), hidden("d/.wh.e")];
    assert_eq!(Bed::new().layer_lands(&implied), ["d/ 755 opaque", "d/e/ 755 opaque", "d/e/x 644 1"]);
    let between = [folder("d"), hidden(".wh.d"), file("d", "x"), folder("d"), hidden(".wh.f"), file("f", ""), Entry::new(b'3', "f", "")];
    assert_eq!(Bed::new().layer_lands(&between), ["d/ 755 opaque", "f whiteout"], "whatever lay there in between");
    let late = [file("d/x", "1"), hidden("d/.wh..wh..opq"), folder("d").mode(0o700)];
    assert_eq!(Bed::new().layer_lands(&late), ["d/ 700 opaque", "d/x 644 1"], "opaque after its children, and before its folder");
}

#[test]
fn whiteouts_of_nothing_that_has_a_name_are_refused() {
    let bed = Bed::new();
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..", ".wh..wh..opq", "./.wh..wh..opq"] {
        bed.refuses_layer(&[folder("a"), hidden(name)], if name.ends_with("opq") { "whole root" } else { "nothing that has a name" });
    }
    for name in ["../.wh.x", "a/../.wh.canary", ".wh.x/../../outside/canary"] {
        bed.refuses_layer(&[folder("a"), hidden(name)], "`..`");
    }
    bed.refuses_layer(&[hidden(".wh.x/y")], "below a whiteout");
    for whiteout in [folder(".wh.x"), soft_link(".wh.x", "/etc"), Entry::new(b'3', ".wh.x", ""), Entry::new(b'6', ".wh.x", "")] {
        bed.refuses_layer(&[whiteout], "no file");
    }
}

#[test]
fn a_whiteout_over_a_link_hides_the_link_and_follows_it_nowhere() {
    if !root_or_skip() {
        return;
    }
    let bed = Bed::new();
    let link = soft_link("link", "../../../outside");
    assert_eq!(bed.layer_lands(&[link.clone(), hidden(".wh.link")]), ["link -> ../../../outside"]);
    assert_eq!(
        bed.layer_lands(&[link, hidden("link/.wh.canary")]),
        ["link -> ../../../outside", "outside/ 755", "outside/canary whiteout"]
    );
}

#[test]
fn what_aufs_notes_for_itself_is_passed_over() {
    let bed = Bed::new();
    let notes = [folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs", ""), folder(".wh..wh.orph"), file("a", "1")];
    assert_eq!(bed.layer_lands(&notes), ["a 644 1"]);
    bed.refuses_layer(&[file(".wh..wh.plnk/1.2", "x"), hard_link("a", ".wh..wh.plnk/1.2")], "whiteout");
}

#[test]
fn a_forged_whiteout_or_mark_is_never_made() {
    let bed = Bed::new();
    let device = |name: &str| Entry::new(b'3', name, "").raw(329, b"0000000\0").raw(337, b"0000000\0");
    assert_eq!(bed.layer_lands(&[device("etc"), file("x", "1")]), ["x 644 1"]);
    let marks: [(&str, &[u8]); 5] = [
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.metacopy", b""),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.overlay.opaque", b"y"),
    ];
    for mark in marks {
        let marked = [folder("d").pax(&[mark]), file("d/x", "1").pax(&[mark])];
        assert_eq!(bed.layer_lands(&marked), ["d/ 755", "d/x 644 1"], "{}", mark.0);
    }
}

#[test]
fn a_device_leaves_a_whiteout_that_was_there_as_it_is() {
    if !root_or_skip() {
        return;
    }
    assert_eq!(Bed::new().layer_lands(&[hidden(".wh.null"), Entry::new(b'3', "null", "")]), ["null whiteout"]);
    assert_eq!(Bed::new().layer_lands(&[Entry::new(b'3', "null", ""), hidden(".wh.null")]), ["null whiteout"]);
}

#[test]
fn a_hard_link_reaches_links_and_pipes_and_never_a_whiteout_or_another_layer() {
    if !root_or_skip() {
        return;
    }
    let bed = Bed::new();
    let outside = bed.outside();
    let lands = bed.layer_lands(&[
        soft_link("link", "/etc/passwd"),
        hard_link("second", "link"),
        Entry::new(b'6', "pipe", ""),
        hard_link("p", "pipe"),
    ]);
    assert_eq!(lands, ["link -> /etc/passwd", "p| 644", "pipe| 644", "second -> /etc/passwd"]);
    bed.refuses_layer(&[hidden(".wh.x"), hard_link("y", ".wh.x")], "to a whiteout");
    bed.refuses_layer(&[hidden(".wh.x"), hard_link("y", "x")], "not a file of this archive");
    bed.refuses_layer(&[folder("x"), hard_link("y", "x")], "not a file of this archive");
    bed.refuses_layer(&[file("a", ""), hard_link(".wh.x", "a")], "no file");
    bed.refuses_layer(&[hard_link("y", "of/another/layer")], "not a file of this archive");
    bed.refuses_layer(&[hard_link("y", "y")], "itself");
    for target in ["../outside/canary", "/etc/../../canary"] {
        bed.refuses_layer(&[hard_link("y", target)], "`..`");
    }
    let through = [soft_link("out", outside.get(..90).unwrap_or(&outside)), hard_link("y", "out/canary")];
    bed.refuses_layer(&through, "not a file of this archive");
}

#[test]
fn entries_behind_a_link_lie_where_it_leads_below_the_root() {
    let bed = Bed::new();
    let merged = [folder("usr"), folder("usr/bin"), soft_link("bin", "usr/bin"), file("bin/sh", "1"), hard_link("usr/bin/dash", "bin/sh")];
    assert_eq!(bed.layer_lands(&merged), ["bin -> usr/bin", "usr/ 755", "usr/bin/ 755", "usr/bin/dash 644 1", "usr/bin/sh 644 1"]);
    let outside = bed.outside();
    for target in ["../../../../../outside", "/outside", outside.get(..90).unwrap_or(&outside)] {
        let lands = bed.layer_lands(&[soft_link("way", target), file("way/canary", "mine"), folder("way/folder").mode(0o777)]);
        assert!(lands.iter().any(|line| line.ends_with("/canary 644 mine")), "{lands:?}");
    }
    bed.refuses_layer(&[soft_link("a", "b"), soft_link("b", "a"), file("a/x", "1")], "symbolic link");
    bed.refuses_layer(&[soft_link("a", ".wh.b"), file("a/x", "1")], "no name");
    bed.refuses_layer(&[file("a", "1"), file("a/x", "1")], "symbolic link or a file");
}

#[test]
fn a_folder_over_a_link_in_a_layer_changes_no_mode_outside() {
    let bed = Bed::new();
    let outside = bed.outside();
    let link = soft_link("link", outside.get(..90).unwrap_or(&outside));
    assert_eq!(bed.layer_lands(&[link, folder("link").mode(0o777)]), ["link/ 777"]);
}

#[test]
fn a_layer_is_there_when_it_is_in_its_place_and_while_it_is_pinned() {
    let bed = Bed::new();
    let archive = bed::tar(&[file("x", "12345"), folder("d")]);
    let staged = bed.images.stage_layer(archive.as_slice(), &Default::default()).unwrap();
    let diff_id = staged.diff_id;
    assert!(!bed.images.has_layer(&diff_id));
    let placed = staged.put_in_place().unwrap();
    let facts = bed.images.layer(&diff_id).unwrap();
    assert_eq!((facts, facts.size_bytes, facts.entries, facts.is_exact), (placed.facts, 5, 2, true));
    bed.images.remove_layer(&diff_id).unwrap();
    assert!(bed.images.sweep(&[]).unwrap().removed.is_empty() && bed.images.has_layer(&diff_id), "it is pinned");
    drop(placed);
    bed.images.remove_layer(&diff_id).unwrap();
    assert!(!bed.images.has_layer(&diff_id));
    assert_eq!(bed.left(), Vec::<String>::new());
}

#[test]
fn a_layer_that_changes_nothing_is_one() {
    let bed = Bed::new();
    let placed = bed.stage_with([0; 1024].as_slice(), &Default::default()).unwrap();
    assert_eq!(
        placed.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        "what every registry has"
    );
    assert_eq!((placed.facts.entries, placed.facts.is_exact), (0, true));
    assert!(bed.stage_with([].as_slice(), &Default::default()).is_err());
}

#[test]
fn an_archive_in_which_a_file_comes_twice_is_no_longer_exact() {
    let bed = Bed::new();
    let is_exact = |entries: &[Entry]| bed.stage_with(bed::tar(entries).as_slice(), &Default::default()).unwrap().facts.is_exact;
    assert!(is_exact(&[file("a", "1"), folder("d"), file("e", ""), file("e", "2"), hard_link("l", "a"), folder("d")]));
    assert!(!is_exact(&[file("a", "1"), file("a", "2")]));
    assert!(!is_exact(&[file("d/a", "1"), file("d", "2")]));
    assert!(!is_exact(&[file("a", "1"), soft_link("a", "b")]));
    assert!(is_exact(&[folder("d"), soft_link("d", "b")]));
}

#[test]
fn what_is_passed_over_and_yet_has_content_is_in_the_archive_again() {
    let bed = Bed::new();
    let placed = bed.stage_with(bed::tar(&[file(".wh..wh.plnk/1", "a".repeat(3000)), file("x", "y")]).as_slice(), &Default::default());
    assert!(placed.unwrap().facts.is_exact);
}
