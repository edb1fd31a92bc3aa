//! What the name of an entry says: where it lies, or that it hides something of the layers below. Names are taken apart here, never
//! by the kernel from the archive's own bytes. Nothing here touches a disk.

use belljar_archive::name::{joined, parts};

/// How an archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// A whole root file system: whiteouts have nothing to hide there.
    Rootfs,
    /// One layer of several.
    Layer,
}

/// What an entry's name means. Paths are relative, `/` between their parts; empty for the root itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It lies here.
    At(Vec<u8>),
    /// Whatever the layers below have at this path is hidden.
    Hides(Vec<u8>),
    /// Whatever the layers below have in this folder is hidden.
    HidesAllIn(Vec<u8>),
    /// It is a note of AUFS to itself (`.wh..wh.plnk`): nothing that a container could see.
    Nowhere,
}

/// Prefix of the name of a file that hides another, by the OCI image specification, which has it from AUFS.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Prefix of AUFS's own files.
const NOTE_PREFIX: &[u8] = b".wh..wh.";
/// Name of the file that hides all that its folder has below.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads a name; on failure says what is wrong with it.
pub(crate) fn read(name: &[u8], flavour: Flavour) -> Result<Place, String> {
    let parts = parts(name)?;
    let Some(at) = parts.iter().position(|part| part.starts_with(WHITEOUT_PREFIX)) else { return joined(&parts).map(Place::At) };
    if flavour == Flavour::Rootfs {
        return Err("it is a whiteout, which belongs into a layer and not into a root file system".to_owned());
    }
    let (folder, part, is_last) = (&parts[..at], parts[at], at + 1 == parts.len());
    let is_note = part.starts_with(NOTE_PREFIX) && part != OPAQUE;
    match part.strip_prefix(WHITEOUT_PREFIX) {
        _ if is_note => Ok(Place::Nowhere),
        _ if !is_last => Err("it lies below a whiteout".to_owned()),
        _ if part == OPAQUE && folder.is_empty() => Err("it would hide the whole root of the layers below".to_owned()),
        _ if part == OPAQUE => joined(folder).map(Place::HidesAllIn),
        None | Some(b"" | b"." | b"..") => Err("it is a whiteout of nothing that has a name".to_owned()),
        Some(hidden) => joined(&[folder, &[hidden]].concat()).map(Place::Hides),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs(name: &str) -> Result<Place, String> {
        read(name.as_bytes(), Flavour::Rootfs)
    }

    #[test]
    fn names_are_taken_apart_before_the_kernel_sees_them() {
        for (name, expected) in [
            ("./usr//bin/./sh", "usr/bin/sh"),
            ("/etc/passwd", "etc/passwd"),
            ("./", ""),
            ("/", ""),
            ("///a/", "a"),
            ("a\nb", "a\nb"),
            ("...", "..."),
        ] {
            assert_eq!(rootfs(name), Ok(Place::At(expected.into())), "{name:?}");
        }
        for name in [
            "",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "/..",
            "a\0b",
            ".wh.x",
            "a/.wh..wh..opq",
            ".wh.",
            &"n".repeat(256),
            &"d/".repeat(257),
            &"long/".repeat(1000),
        ] {
            assert!(rootfs(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn whiteouts_of_a_layer_hide_what_has_a_name_below_the_root() {
        let layer = |name: &str| read(name.as_bytes(), Flavour::Layer);
        for (name, expected) in [
            (".wh.x", Place::Hides(b"x".into())),
            ("./a/.wh.x", Place::Hides(b"a/x".into())),
            ("a/.wh..x", Place::Hides(b"a/.x".into())),
            ("a/.wh....", Place::Hides(b"a/...".into())),
            ("a/.wh..wh..opq", Place::HidesAllIn(b"a".into())),
            (".wh..wh.plnk/123", Place::Nowhere),
            (".wh..wh.aufs", Place::Nowhere),
            ("a/.wh..wh.orph/x", Place::Nowhere),
        ] {
            assert_eq!(layer(name), Ok(expected), "{name:?}");
        }
        for name in
            [".wh.", "a/.wh..", "a/.wh...", ".wh..wh..opq", "./.wh..wh..opq", ".wh.x/y", "a/.wh..wh..opq/x", "../.wh.x", ".wh.x/../y"]
        {
            assert!(layer(name).is_err(), "{name:?}");
        }
    }
}
