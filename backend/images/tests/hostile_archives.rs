//! What a hostile rootfs archive may try, and what becomes of it. Every case has a canary outside that must not change,
//! and nothing may be left of an import that failed: both are checked by `Bed` for each import.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use bed::{Bed, Entry, file, folder, hard_link, record, root_or_skip, soft_link, tar};
use belljar_images::{ImportError, ImportLimits};

// Names that want to be elsewhere.

#[test]
fn an_absolute_name_lands_below_the_root() {
    let bed = Bed::new();
    let name = format!("/{}/canary", bed.outside());
    let path = name.trim_start_matches('/').to_owned();
    assert!(bed.lands(&[file(&name[..100.min(name.len())], "x")]).iter().any(|line| line.starts_with(&path[..20])));
    assert_eq!(Bed::new().lands(&[file("///etc//./passwd", "x")]), ["etc/ 755", "etc/passwd 644 x"]);
}

#[test]
fn a_name_with_two_dots_is_refused_wherever_they_are() {
    let bed = Bed::new();
    for name in ["../outside/canary", "../../../outside/canary", "a/../../b", "..", "a/..", "/../x", "./../x", "a/b/../c"] {
        bed.refuses(&[folder("a"), file(name, "x")], "`..`");
        bed.refuses(&[soft_link(name, "x")], "`..`");
        bed.refuses(&[folder(name).mode(0o777)], "`..`");
        bed.refuses(&[file("short", "x").pax(&[("path", name.as_bytes())])], "`..`");
        bed.refuses(&[file("short", "x").after(Entry::new(b'L', "././@LongLink", format!("{name}\0")))], "`..`");
    }
}

#[test]
fn a_prefix_field_cannot_smuggle_two_dots() {
    Bed::new().refuses(&[file("canary", "x").raw(345, b"../../../outside")], "`..`");
}

#[test]
fn an_entry_without_a_name_and_a_root_that_is_no_folder_are_refused() {
    let bed = Bed::new();
    bed.refuses(&[file("", "x")], "no name");
    for name in [".", "/"] {
        bed.refuses(&[soft_link(name, bed.outside().get(..90).unwrap_or(&bed.outside()))], "the place of the root");
    }
    bed.refuses(&[file(".", "x")], "the place of the root");
}

#[test]
fn a_nul_byte_in_a_name_is_refused() {
    let bed = Bed::new();
    bed.refuses(&[file("x", "x").pax(&[("path", b"etc/passwd\0.txt")])], "NUL");
    bed.refuses(&[file("x", "x").after(Entry::new(b'L', "././@LongLink", "a\0b\0"))], "NUL");
    bed.refuses(&[soft_link("x", "y").pax(&[("linkpath", b"a\0b")])], "NUL");
    bed.refuses(&[file("a", "x"), hard_link("x", "y").pax(&[("linkpath", b"a\0b")])], "NUL");
}

#[test]
fn names_that_no_kernel_takes_are_refused_before_it_is_asked() {
    let bed = Bed::new();
    bed.refuses(&[file("x", "x").pax(&[("path", "n".repeat(256).as_bytes())])], "longer than 255 bytes");
    bed.refuses(&[file("x", "x").pax(&[("path", format!("{}x", "some/".repeat(900)).as_bytes())])], "more than 256 folders deep");
    bed.refuses(
        &[file("x", "x").pax(&[("path", format!("{}x", format!("{}/", "n".repeat(250)).repeat(20)).as_bytes())])],
        "longer than 4095 bytes",
    );
    bed.refuses(&[file("x", "x").pax(&[("path", format!("{}x", "d/".repeat(4096)).as_bytes())])], "folders deep");
    bed.refuses(&[soft_link("x", "y").pax(&[("linkpath", "t".repeat(5000).as_bytes())])], "longer than 4095 bytes");
}

// Links as a way out.

#[test]
fn nothing_is_written_through_a_link() {
    let bed = Bed::new();
    let outside = bed.outside();
    for target in [outside.as_str(), "../../../outside", "/", "..", ".", "real", "/proc/self/cwd", "/proc/self/fd/0"] {
        let link = soft_link("link", target);
        bed.refuses(&[folder("real"), link.clone(), file("link/canary", "x")], "symbolic link");
        bed.refuses(&[folder("real"), link.clone(), folder("link/folder").mode(0o777)], "symbolic link");
        bed.refuses(&[folder("real"), link.clone(), file("link/folder/canary", "x")], "symbolic link");
        bed.refuses(&[folder("real"), link.clone(), soft_link("link/new", "x")], "symbolic link");
        bed.refuses(&[folder("real"), link, file("f", "x"), hard_link("link/new", "f")], "symbolic link");
    }
}

#[test]
fn a_chain_of_links_leads_nowhere_either() {
    let bed = Bed::new();
    let entries = [folder("a"), soft_link("a/up", ".."), soft_link("b", "a/up/.."), soft_link("c", "b/.."), file("c/outside/canary", "x")];
    bed.refuses(&entries, "symbolic link");
}

#[test]
fn a_file_over_a_link_replaces_the_link_and_not_its_target() {
    let bed = Bed::new();
    let target = "../../../outside/canary";
    assert_eq!(bed.lands(&[soft_link("link", target), file("link", "mine")]), ["link 644 mine"]);
}

#[test]
fn a_folder_over_a_link_replaces_the_link_and_changes_no_mode_outside() {
    let bed = Bed::new();
    let entries = [
        soft_link("link", "../../../outside"),
        folder("link").mode(0o777).owner(0, 0).owner(owner().0, owner().1),
        file("link/canary", "x"),
    ];
    assert_eq!(bed.lands(&entries), ["link/ 777", "link/canary 644 x"]);
}

#[test]
fn a_link_over_a_folder_takes_the_folders_attributes_nowhere() {
    let bed = Bed::new();
    // Attributes of folders are set at the end: by then this one is a link to outside.
    let entries = [folder("d").mode(0o777), folder("d/folder").mode(0o777), soft_link("d", "../../../outside")];
    assert_eq!(bed.lands(&entries), ["d -> ../../../outside"]);
}

#[test]
fn a_link_may_point_anywhere_since_nothing_follows_it() {
    let bed = Bed::new();
    let found =
        bed.lands(&[soft_link("a", "/etc/shadow"), soft_link("b", "../../../../../etc"), soft_link("c", "c"), soft_link("d", "\u{1}\n")]);
    assert_eq!(found, ["a -> /etc/shadow", "b -> ../../../../../etc", "c -> c", "d -> \u{1}\n"]);
    bed.refuses(&[soft_link("x", "")], "a symbolic link to nothing");
}

#[test]
fn a_hard_link_reaches_nothing_but_files_of_the_archive() {
    let bed = Bed::new();
    for target in ["/etc/passwd", "etc/passwd", "absent", "folder", "link", "link/canary", "pipe", "canary"] {
        let entries = [
            folder("folder"),
            soft_link("link", "../../../outside"),
            soft_link("canary", "../../../outside/canary"),
            Entry::new(b'6', "pipe", ""),
            hard_link("new", target),
        ];
        bed.refuses(&entries, "not a file of this archive");
    }
    bed.refuses(&[hard_link("new", "../../../outside/canary")], "`..`");
    bed.refuses(&[file("a", "x"), hard_link("a", "./a")], "a hard link to itself");
    bed.refuses(&[file("d/a", "x"), hard_link("d", "d/a")], "not a file of this archive");
    bed.refuses(&[hard_link("new", "")], "no name");
}

#[test]
fn a_file_over_a_hard_link_leaves_the_other_name_as_it_was() {
    let found = Bed::new().lands(&[file("a", "first"), hard_link("b", "/a"), hard_link("c", "b"), file("b", "second")]);
    assert_eq!(found, ["a 644 first", "b 644 second", "c 644 first"]);
}

// One name, two entries.

#[test]
fn the_last_of_two_entries_wins_whatever_either_is() {
    let bed = Bed::new();
    assert_eq!(bed.lands(&[file("a", "one"), file("a", "two").mode(0o600)]), ["a 600 two"]);
    assert_eq!(bed.lands(&[file("a", "one"), soft_link("a", "b")]), ["a -> b"]);
    assert_eq!(bed.lands(&[folder("a"), file("a/b/c", "x"), file("a", "two")]), ["a 644 two"]);
    assert_eq!(bed.lands(&[file("a", "one"), folder("a").mode(0o700)]), ["a/ 700"]);
    assert_eq!(bed.lands(&[file("a/b", "x"), folder("a").mode(0o711)]), ["a/ 711", "a/b 644 x"]);
    assert_eq!(bed.lands(&[folder("a").mode(0o700), file("a", "x"), folder("a/"), file("a/b", "y")]), ["a/ 755", "a/b 644 y"]);
    assert_eq!(bed.lands(&[file("a", "x"), file("b", ""), Entry::new(b'6', "a", "")]), ["a| 644", "b 644 "]);
    assert_eq!(bed.lands(&[file("a", "x"), Entry::new(b'3', "a", ""), file("b", "")]), ["b 644 "]);
}

#[test]
fn a_folder_that_went_and_came_again_has_the_later_attributes_all_the_way_down() {
    let entries = [folder("a").mode(0o700), folder("a/b").mode(0o711), file("a", "x"), file("a/b", "y")];
    Bed::new().refuses(&entries, "a symbolic link or a file");
    let entries = [folder("a").mode(0o700), folder("a/b").mode(0o711), soft_link("a", "x"), folder("a").mode(0o750), file("a/b/c", "y")];
    assert_eq!(Bed::new().lands(&entries), ["a/ 750", "a/b/ 755", "a/b/c 644 y"]);
}

// Marks of overlayfs, devices, attributes.

#[test]
fn whiteouts_do_not_belong_into_a_root_file_system() {
    let bed = Bed::new();
    for name in [".wh.x", "a/.wh.x", ".wh..wh..opq", "a/.wh..wh..opq", ".wh..wh.plnk/1", ".wh..", ".wh...", ".wh.", ".wh..wh..wh.x"] {
        bed.refuses(&[file(name, "")], "whiteout");
        bed.refuses(&[file("a/x", ""), hard_link(name, "a/x")], "whiteout");
    }
}

#[test]
fn device_nodes_are_counted_and_not_made_least_of_all_a_forged_whiteout() {
    let bed = Bed::new();
    let node = |flag, name: &str, major: &[u8], minor: &[u8]| Entry::new(flag, name, "").raw(329, major).raw(337, minor);
    let zero = b"0000000\0";
    let archive = tar(&[
        file("etc/x", "x"),
        node(b'3', "etc/x", zero, zero),
        node(b'4', "dev/sda", b"0000010\0", zero),
        node(b'3', "dev/mem", b"0000001\0", b"0000001\0"),
    ]);
    let imported = bed.import(&archive).unwrap();
    assert_eq!((imported.entries, imported.devices_skipped), (4, 3));
    let layer = bed.path("images/layers").join(imported.digest.hex());
    assert_eq!(std::fs::read_dir(layer.join("etc")).unwrap().count() + std::fs::read_dir(layer.join("dev")).unwrap().count(), 0);
}

#[test]
fn a_fifo_is_made_and_hangs_nobody() {
    let bed = Bed::new();
    assert_eq!(bed.lands(&[Entry::new(b'6', "pipe", "").mode(0o600), Entry::new(b'6', "pipe", "").mode(0o622)]), ["pipe| 622"]);
    assert_eq!(bed.lands(&[Entry::new(b'6', "pipe", ""), file("pipe", "now a file")]), ["pipe 644 now a file"]);
}

#[test]
fn kinds_that_are_not_known_are_refused() {
    for flag in [b'8', b'9', b's', b'A', b'D', b'M', b'N', b'V', b'Z', 0xff] {
        Bed::new().refuses(&[Entry::new(flag, "x", "")], "is not known");
    }
}

#[test]
fn attributes_of_overlayfs_and_of_the_host_are_dropped_and_those_of_programs_kept() {
    let bed = Bed::new();
    let dropped = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.whiteout",
        "trusted.md5",
        "user.overlay.opaque",
        "user.overlay.whiteout",
        "security.selinux",
        "system.posix_acl_access",
    ];
    let keys: Vec<String> = dropped.iter().chain(&["user.mine"]).map(|name| format!("SCHILY.xattr.{name}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"y\n\0"[..])).collect();
    let layer = bed.layer(&tar(&[folder("d").pax(&records), file("d/f", "x").pax(&records)]));
    for path in ["d", "d/f"] {
        let mut names = [0; 1024];
        let length = rustix::fs::llistxattr(layer.join(path), &mut names).unwrap();
        assert_eq!(&names[..length], b"user.mine\0", "{path}");
        let mut value = [0; 16];
        let length = rustix::fs::lgetxattr(layer.join(path), "user.mine", &mut value).unwrap();
        assert_eq!(&value[..length], b"y\n\0");
    }
}

#[test]
fn of_two_entries_for_a_folder_the_attributes_of_the_last_one_win() {
    let bed = Bed::new();
    let (first, last) = (&[("SCHILY.xattr.user.first", &b"1"[..])], &[("SCHILY.xattr.user.last", &b"2"[..])]);
    for name in ["d", "."] {
        let layer = bed.layer(&tar(&[folder(name).pax(first), file("d/f", "x"), folder(name).mode(0o700).pax(last)]));
        let mut names = [0; 1024];
        let length = rustix::fs::llistxattr(layer.join(name), &mut names).unwrap();
        assert_eq!(&names[..length], b"user.last\0", "{name}");
        assert_eq!(layer.join(name).metadata().unwrap().mode() & 0o7777, 0o700);
    }
}

#[test]
fn file_capabilities_and_set_uid_bits_survive_the_change_of_owner() {
    if !root_or_skip() {
        return;
    }
    let bed = Bed::new();
    // Revision 2, effective, CAP_NET_RAW (linux/capability.h).
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let ping = file("ping", "x").mode(0o4755).owner(33, 44).pax(&[("SCHILY.xattr.security.capability", capability)]);
    let layer = bed.layer(&tar(&[ping]));
    let mut value = [0; 32];
    let length = rustix::fs::lgetxattr(layer.join("ping"), "security.capability", &mut value).unwrap();
    assert_eq!(&value[..length], capability);
    let metadata = layer.join("ping").metadata().unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o4755, 33, 44));
}

#[test]
fn too_many_attributes_are_refused() {
    let keys: Vec<String> = (0..65).map(|number| format!("SCHILY.xattr.user.k{number}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"v"[..])).collect();
    Bed::new().refuses(&[file("x", "x").pax(&records)], "too many extended attributes");
}

#[test]
fn set_group_id_on_a_folder_does_not_rub_off_on_what_is_unpacked_into_it() {
    if !root_or_skip() {
        return;
    }
    let bed = Bed::new();
    let layer = bed.layer(&tar(&[folder("d").mode(0o2775).owner(0, 50), file("d/f", "x").owner(0, 0), folder("d/e").mode(0o1777)]));
    let group = |path: &str| layer.join(path).metadata().unwrap().gid();
    assert_eq!((group("d"), group("d/f")), (50, 0));
    assert_eq!(layer.join("d/e").metadata().unwrap().mode() & 0o7777, 0o1777);
}

// Numbers.

#[test]
fn ids_outside_of_a_containers_range_are_refused_and_never_wrap_around() {
    let bed = Bed::new();
    bed.refuses(&[file("x", "x").owner(65_536, 0)], "user id 65536");
    bed.refuses(&[file("x", "x").owner(0, 65_536)], "group id 65536");
    let wide: [(&[u8], &str); 4] = [
        (b"\x80\0\0\0\x80\0\0\0", "2147483648"),
        (b"\x80\0\0\0\xff\xff\xff\xff", "4294967295"),
        (b"\x80\0\0\x01\0\0\0\0", "4294967296"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "-1"),
    ];
    for (field, number) in wide {
        bed.refuses(&[file("x", "x").raw(108, field)], &format!("user id {number}"));
        bed.refuses(&[file("x", "x").raw(116, field)], &format!("group id {number}"));
        bed.refuses(&[file("x", "x").pax(&[("uid", number.as_bytes())])], &format!("user id {number}"));
    }
    bed.refuses(&[file("x", "x").pax(&[("uid", b"root")])], "a number in a PAX record");
    bed.refuses(&[file("x", "x").pax(&[("gid", b"99999999999999999999999")])], "a number in a PAX record");
    bed.refuses(&[file("x", "x").raw(108, b"rootroot")], "user id is malformed");
    bed.refuses(&[folder("x").owner(65_536, 0)], "user id 65536");
    bed.refuses(&[folder("./").owner(65_536, 0)], "user id 65536");
}

#[test]
fn times_before_1970_and_beyond_all_ages_are_taken_as_far_as_the_disk_can() {
    let bed = Bed::new();
    let far: [&[u8]; 3] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for field in far {
        bed.layer(&tar(&[folder("d").raw(136, field), file("d/x", "x").raw(136, field), soft_link("l", "x").raw(136, field)]));
    }
    let layer = bed.layer(&tar(&[file("x", "x").pax(&[("mtime", b"-1.5")])]));
    let metadata = layer.join("x").metadata().unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-2, 500_000_000));
    bed.refuses(&[file("x", "x").raw(136, b"yesterday\0\0\0")], "time is malformed");
}

#[test]
fn sizes_that_no_file_has_are_refused() {
    let bed = Bed::new();
    for field in [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
        b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
        b"\xff\0\0\0\0\0\0\0\0\0\0\0",
        b"-00000000001",
    ] {
        bed.refuses(&[file("x", "x").raw(124, field)], "size is malformed");
    }
    bed.refuses(&[file("x", "x").pax(&[("size", b"-1")])], "a number in a PAX record");
    bed.refuses(&[file("x", "x").raw(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")], "in the middle of a file");
    bed.refuses(&[file("x", "x").claims(4096)], "in the middle of a file");
}

#[test]
fn a_size_in_base_256_is_read() {
    assert_eq!(Bed::new().lands(&[file("x", "four").raw(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x04"), file("y", "")]), ["x 644 four", "y 644 "]);
}

// Two readers, two meanings.

#[test]
fn a_record_of_the_size_overrules_the_header_so_that_nothing_is_smuggled() {
    let bed = Bed::new();
    // To a reader that believes the header (0 bytes), the body is an entry.
    let smuggled = file("smuggled", "x").bytes();
    let size = smuggled.len().to_string();
    let outer = file("outer", &smuggled).claims(0).pax(&[("size", size.as_bytes())]);
    let found = bed.lands(&[outer, file("last", "")]);
    assert_eq!(found.iter().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(), ["last", "outer"]);
    // And the other way around: the record says 0.
    let found = bed.lands(&[file("outer", "").claims(512).pax(&[("size", b"0")]), file("next", "x")]);
    assert_eq!(found, ["next 644 x", "outer 644 "]);
}

#[test]
fn a_size_belongs_to_the_entry_and_not_to_an_extension_header_between() {
    let long = Entry::new(b'L', "././@LongLink", "long-name\0");
    let entry = file("x", "body").after(Entry::new(b'x', "p", record("size", b"4"))).after(long);
    assert_eq!(Bed::new().lands(&[entry, file("y", "")]), ["long-name 644 body", "y 644 "]);
}

#[test]
fn what_is_not_a_file_has_no_body() {
    let bed = Bed::new();
    for flag in *b"123456" {
        bed.refuses(&[file("target", "x"), Entry::new(flag, "x", file("smuggled", "x").bytes()).raw(157, b"target")], "and yet has a body");
        bed.refuses(&[file("target", "x"), Entry::new(flag, "x", "").raw(157, b"target").pax(&[("size", b"512")])], "and yet has a body");
    }
    bed.refuses(&[file("old-folder/", "body")], "and yet has a body");
}

#[test]
fn two_names_for_one_entry_are_refused_unless_they_agree() {
    let bed = Bed::new();
    let long = |name: &str| Entry::new(b'L', "././@LongLink", format!("{name}\0"));
    let posix = |name: &str| Entry::new(b'x', "p", record("path", name.as_bytes()));
    bed.refuses(&[file("x", "x").after(long("one")).after(posix("two"))], "different names");
    bed.refuses(&[file("x", "x").after(posix("two")).after(long("one"))], "different names");
    assert_eq!(bed.lands(&[file("x", "x").after(long("same")).after(posix("same"))]), ["same 644 x"]);
    bed.refuses(&[file("x", "x").after(long("one")).after(long("two"))], "two extension headers");
    bed.refuses(&[file("x", "x").after(posix("one")).after(posix("two"))], "two extension headers");
    bed.refuses(&[soft_link("x", "y").after(Entry::new(b'K', "k", "a")).after(Entry::new(b'K', "k", "b"))], "two extension headers");
    bed.refuses(&[file("x", "x"), long("one")], "ends after an extension header");
    bed.refuses(&[file("x", "x").after(long(""))], "an empty name");
}

#[test]
fn a_global_header_may_comment_and_nothing_else() {
    let bed = Bed::new();
    let global = |key: &str, value: &[u8]| Entry::new(b'g', "pax_global_header", record(key, value));
    assert_eq!(bed.lands(&[global("comment", b"0123456789abcdef"), file("x", "x")]), ["x 644 x"]);
    for (key, value) in [("path", &b"../x"[..]), ("size", b"0"), ("uid", b"0"), ("linkpath", b"/etc"), ("SCHILY.xattr.user.x", b"y")] {
        bed.refuses(&[global(key, value), file("x", "x")], "a global header that changes");
    }
}

#[test]
fn maps_of_sparse_files_that_lie_are_refused_in_all_their_formats() {
    let bed = Bed::new();
    let pax = |records: &[(&str, &str)], body: &str, words: &str| {
        let records: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        bed.refuses(&[file("holes", body).pax(&records)], words);
    };
    pax(&[("GNU.sparse.size", "99"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.offset", "0")], "x", "malformed");
    pax(&[("GNU.sparse.size", "99"), ("GNU.sparse.numbytes", "1")], "x", "not known");
    pax(&[("GNU.sparse.size", "99"), ("GNU.sparse.map", "0,1,5,1,3,1")], "xyz", "out of order");
    pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.map", "9,1")], "x", "beyond its end");
    pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,2")], "x", "other data than there is");
    pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,1,9223372036854775807,9223372036854775807")], "x", "beyond its end");
    pax(&[("GNU.sparse.size", "18446744073709551615"), ("GNU.sparse.map", "0,1")], "x", "malformed");
    pax(&[("GNU.sparse.map", "0,1")], "x", "does not say its size");
    pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.realsize", "10"), ("GNU.sparse.map", "0,1")], "x", "two records");
    pax(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")], "x", "version");
    let new = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
    pax(&new, "x", "longer than what there is");
    pax(&new, &format!("{:\0<512}", "1\n0\nx\n"), "malformed");
    pax(&new, &format!("{:\0<512}", "999999999\n"), "too many pieces");
    pax(&[("GNU.sparse.name", "../outside/canary"), ("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,1")], "x", "`..`");
    let folder_with_holes = folder("d").pax(&[("GNU.sparse.size", b"0"), ("GNU.sparse.map", b"0,0")]);
    bed.refuses(&[folder_with_holes], "yet sparse");
    // The old kind: pieces in the header from byte 386, its real size at 483.
    let old = |pieces: &[u8], size: &[u8]| Entry::new(b'S', "holes", "x").raw(386, pieces).raw(483, size);
    bed.refuses(&[old(b"00000000004\x0000000000001\0", b"00000000002\0")], "beyond its end");
    bed.refuses(&[old(b"00000000000\x0000000000002\0", b"00000000011\0")], "other data");
    bed.refuses(&[old(b"0000000000x\x0000000000001\0", b"00000000011\0")], "malformed");
    let endless = old(b"00000000000\x0000000000001\0", b"00000000011\0").raw(482, b"\x01");
    bed.refuses_bytes(&[endless.bytes(), vec![1; 512]].concat(), "malformed");
}

#[test]
fn holes_are_counted_as_what_they_claim_and_take_no_space() {
    let bed = Bed::new();
    let claim = |size: &str| {
        let map = format!("0,1,{},0", size);
        file("holes", "x").pax(&[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())])
    };
    bed.refuses(&[claim("9223372036854775807")], "bytes, which is the limit");
    let many: Vec<Entry> = (0..3).map(|_| claim("34359738368")).collect();
    bed.refuses(&many, "bytes, which is the limit");
    let imported = bed.import(&tar(&[claim("1073741824")])).unwrap();
    let metadata = bed.path("images/layers").join(imported.digest.hex()).join("holes").metadata().unwrap();
    assert_eq!((metadata.len(), imported.size_bytes), (1 << 30, 1 << 30));
    assert!(metadata.blocks() < 100, "{} blocks", metadata.blocks());
}

#[test]
fn a_record_whose_length_lies_is_refused() {
    let bed = Bed::new();
    for block in ["6 path=x\n", "99 path=x\n", "0 path=x\n", "path=x\n", "9 path=x", "18446744073709551616 path=x\n", "9 path=x\nrest"] {
        bed.refuses(&[file("x", "x").after(Entry::new(b'x', "p", block))], "PAX record");
    }
}

#[test]
fn an_extension_header_larger_than_memory_is_refused_before_it_is_read() {
    let bed = Bed::new();
    for flag in *b"xgLK" {
        let huge = Entry::new(flag, "huge", "").claims(1 << 32);
        bed.refuses(&[huge, file("x", "x")], "bytes in an extension header");
    }
}

// Archives that are not whole, or not archives.

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    let bed = Bed::new();
    let whole = tar(&[folder("d"), file("d/a", "a".repeat(700)), file("b", "").pax(&[("path", b"renamed")]), soft_link("l", "d")]);
    let one_marker = whole.len() - 512;
    for length in (0..one_marker).step_by(256) {
        assert!(bed.import(&whole[..length]).is_err_and(|error| error.is_invalid()), "cut at {length}");
    }
    assert!(bed.import(&whole[..one_marker]).is_ok(), "one zero block is an end, too");
    bed.refuses_bytes(&whole[..one_marker - 512], "no end marker");
}

#[test]
fn whatever_follows_the_end_is_refused_but_zeros() {
    let bed = Bed::new();
    let first = tar(&[file("x", "x")]);
    bed.refuses_bytes(&[first.clone(), tar(&[file("hidden", "x")])].concat(), "after its end marker");
    bed.refuses_bytes(&[first.clone(), b"rubbish".to_vec()].concat(), "after its end marker");
    bed.layer(&[first, vec![0; 10_240]].concat());
}

#[test]
fn a_wrong_checksum_is_refused() {
    let bed = Bed::new();
    let mut archive = tar(&[file("x", "x"), file("y", "y")]);
    archive[1024] ^= 1;
    bed.refuses_bytes(&archive, "checksum");
    archive[0] ^= 1;
    bed.refuses_bytes(&archive, "not a tar archive");
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let bed = Bed::new();
    for bytes in [&b""[..], b"x", b"hello, this is a text file\n", &[0; 10_240], &[0xff; 2048], b"#!/bin/sh\necho\n"] {
        let error = bed.import(bytes).unwrap_err();
        let is_short = bytes.len() < 512 && !bytes.is_empty();
        assert!(error.is_invalid() && (is_short || matches!(error, ImportError::NotAnArchive)), "{error}");
    }
    for (bytes, name) in [
        (&b"\xfd7zXZ\0rest"[..], "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (b"PK\x03\x04rest", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x04\x22\x4d\x18rest", "lz4"),
    ] {
        bed.refuses_bytes(bytes, name);
    }
}

// Compression.

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum, as the `zstd` tool writes it; without one, a changed byte of content is not to be noticed.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_archive_in_several_members_or_frames_is_one_archive() {
    let bed = Bed::new();
    let archive = tar(&[file("x", "x".repeat(3000)), file("y", "y")]);
    let (start, end) = archive.split_at(1234);
    let plain = bed.import(&archive).unwrap();
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip";
    for bytes in [
        gzip(&archive),
        [gzip(start), gzip(end)].concat(),
        zstd(&archive),
        [zstd(start), zstd(end)].concat(),
        [skippable.to_vec(), zstd(&archive)].concat(),
    ] {
        assert_eq!(bed.import(&bytes).unwrap(), plain, "the digest is that of the archive, not of its compression");
    }
}

#[test]
fn compression_that_is_cut_off_damaged_or_followed_by_rubbish_is_refused() {
    let bed = Bed::new();
    let archive = tar(&[file("x", "x".repeat(3000))]);
    for (packed, name) in [(gzip(&archive), "gzip"), (zstd(&archive), "zstd")] {
        bed.refuses_bytes(&packed[..packed.len() - 9], name);
        bed.refuses_bytes(&[packed.clone(), b"rubbish".to_vec()].concat(), name);
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        assert!(bed.import(&damaged).is_err_and(|error| error.is_invalid()), "{name}");
    }
    let mut wrong_sum = gzip(&archive);
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    bed.refuses_bytes(&wrong_sum, "gzip");
}

#[test]
fn zstd_may_ask_for_no_dictionary_and_no_window_beyond_the_limit() {
    let bed = Bed::new();
    // Frame headers by hand (RFC 8878, 3.1.1.1): a window of 2^41 bytes, and dictionary number 7.
    let window = b"\x28\xb5\x2f\xfd\x00\xf8\x01\0\0";
    let dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x04\x21\0\0rest";
    for frame in [&window[..], dictionary] {
        bed.refuses_bytes(frame, "zstd");
    }
}

#[test]
fn a_bomb_is_defused_at_the_ratio_and_at_the_size() {
    let bed = Bed::new();
    let zeros = tar(&[file("zeros", vec![0; 4 << 20])]);
    let limits = ImportLimits { ratio_max: 20, ratio_free_bytes: 1 << 20, ..ImportLimits::default() };
    for packed in [gzip(&zeros), zstd(&zeros)] {
        let error = bed.import_with(packed.as_slice(), &limits).unwrap_err();
        assert!(matches!(error, ImportError::OverLimit { what: "bytes for each compressed byte", .. }), "{error}");
        assert!(bed.import(&packed).is_ok(), "small enough to be harmless");
    }
    let limits = ImportLimits { archive_bytes_max: 1 << 20, ..ImportLimits::default() };
    let error = bed.import_with(zeros.as_slice(), &limits).unwrap_err();
    assert!(matches!(error, ImportError::OverLimit { what: "bytes", .. }) && error.is_invalid(), "{error}");
}

#[test]
fn a_flood_of_empty_entries_ends_at_the_limit() {
    let bed = Bed::new();
    let limits = ImportLimits { entries_max: 100, ..ImportLimits::default() };
    let entries: Vec<Entry> = (0..101).map(|number| file(format!("f{number}"), "")).collect();
    assert!(bed.import_with(tar(&entries[..100]).as_slice(), &limits).is_ok());
    let error = bed.import_with(tar(&entries).as_slice(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "the archive has more than 100 entries, which is the limit");
}

// Whoever sends it fails.

struct Breaks<'a>(&'a [u8]);

impl Read for Breaks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(into)?;
        if count == 0 { Err(io::Error::new(io::ErrorKind::ConnectionReset, "gone")) } else { Ok(count) }
    }
}

#[test]
fn a_connection_that_breaks_is_not_the_archives_fault_and_leaves_nothing() {
    let bed = Bed::new();
    let archive = tar(&[file("x", "x".repeat(100_000)), file("y", "y")]);
    for bytes in [archive[..60_000].to_vec(), gzip(&archive)[..100].to_vec(), zstd(&archive)[..40].to_vec(), Vec::new()] {
        let error = bed.import_with(Breaks(&bytes), &ImportLimits::default()).unwrap_err();
        assert!(matches!(error, ImportError::Read { .. }) && !error.is_invalid(), "{error:?}");
    }
}

#[test]
fn a_hostile_name_in_an_error_is_short_and_on_one_line() {
    let bed = Bed::new();
    let name = format!("../{}", "\n\u{1b}[31m".repeat(400));
    let text = bed.import(&tar(&[file("x", "x").pax(&[("path", name.as_bytes())])])).unwrap_err().to_string();
    assert!(text.len() < 2500 && !text.contains('\n') && !text.contains('\u{1b}'), "{text}");
}

fn owner() -> (u64, u64) {
    (rustix::process::geteuid().as_raw().into(), rustix::process::getegid().as_raw().into())
}
