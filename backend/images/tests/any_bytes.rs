//! Whatever arrives, the importer answers: it does not panic, touches nothing outside, and leaves nothing after a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end, also in its helpers")]

mod bed;

use std::io::Write;

use bed::{Bed, Entry, file, folder, hard_link, soft_link, tar};
use belljar_images::ImportLimits;
use proptest::collection::vec;
use proptest::prelude::*;

/// Small, so that a random size does not fill the disk of whoever runs this.
const LIMITS: ImportLimits = ImportLimits { entries_max: 1000, archive_bytes_max: 1 << 20, ratio_max: 200, ratio_free_bytes: 1 << 18 };

/// An archive with one of everything.
fn varied() -> Vec<u8> {
    tar(&[
        folder("./"),
        folder("d").mode(0o1777),
        file("d/a", "content"),
        soft_link("d/link", "../../../outside"),
        hard_link("hard", "d/a"),
        Entry::new(b'6', "pipe", ""),
        Entry::new(b'3', "dev/null", ""),
        file("x", "y").pax(&[("path", b"renamed"), ("mtime", b"1.5"), ("SCHILY.xattr.user.k", b"v")]),
        file("x", "z").after(Entry::new(b'L', "././@LongLink", format!("{}end\0", "long/".repeat(30)))),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn with(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (index, byte) in changes {
        let at = index.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes
}

/// Makes every header's checksum right again, so that a change reaches the code behind it.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(bytes in vec(any::<u8>(), 0..4096)) {
        let _either = Bed::new().import_with(bytes.as_slice(), &LIMITS);
    }

    #[test]
    fn arbitrary_bytes_after_a_magic_are_answered(magic in 0..2usize, bytes in vec(any::<u8>(), 0..2048)) {
        let magic: &[u8] = [&b"\x1f\x8b\x08\0"[..], b"\x28\xb5\x2f\xfd"][magic];
        let _either = Bed::new().import_with([magic, &bytes].concat().as_slice(), &LIMITS);
    }

    #[test]
    fn an_archive_with_bytes_changed_is_answered(changes in vec(any::<(prop::sample::Index, u8)>(), 1..12)) {
        let _either = Bed::new().import_with(with_checksums(with(varied(), &changes)).as_slice(), &LIMITS);
    }

    #[test]
    fn a_compressed_archive_with_bytes_changed_is_answered(changes in vec(any::<(prop::sample::Index, u8)>(), 1..4)) {
        let _either = Bed::new().import_with(with(gzip(&varied()), &changes).as_slice(), &LIMITS);
        let _either = Bed::new().import_with(with(zstd::encode_all(varied().as_slice(), 1).unwrap(), &changes).as_slice(), &LIMITS);
    }

    #[test]
    fn entries_in_any_order_with_any_names_are_answered(entries in vec((0..6usize, "[a-c./]{1,8}", "[a-c./]{0,8}"), 1..12)) {
        let entries: Vec<Entry> = entries.iter().map(|(kind, name, target)| match kind {
            0 => file(name, target),
            1 => folder(name),
            2 => soft_link(name, target),
            3 => hard_link(name, target),
            4 => Entry::new(b'6', name, ""),
            _ => Entry::new(b'4', name, ""),
        }).collect();
        let _either = Bed::new().import_with(tar(&entries).as_slice(), &LIMITS);
    }
}

#[test]
fn the_archive_that_is_changed_is_right_before() {
    assert!(Bed::new().import_with(varied().as_slice(), &LIMITS).is_ok());
}
