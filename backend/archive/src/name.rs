//! Names of entries, taken apart before the kernel sees them. Whoever unpacks decides what a name means; what could lead elsewhere,
//! or is longer or deeper than anything that may be unpacked, is refused here for all of them. Nothing here touches a disk.

use crate::limits::{DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};

/// The parts of a name. Slashes at the beginning are dropped, as every tool does; what could lead elsewhere is refused, with a clause
/// that says why.
pub fn parts(name: &[u8]) -> Result<Vec<&[u8]>, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.contains(&0) {
        return Err("its name holds a NUL byte".to_owned());
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err("its name holds `..`".to_owned());
    }
    if parts.iter().any(|part| part.len() > NAME_BYTES_MAX) {
        return Err(format!("a part of its name is longer than {NAME_BYTES_MAX} bytes"));
    }
    if parts.len() > DEPTH_MAX {
        return Err(format!("it lies more than {DEPTH_MAX} folders deep"));
    }
    Ok(parts)
}

/// Parts as one path, `/` between them; empty for the folder that is unpacked into itself.
pub fn joined(parts: &[&[u8]]) -> Result<Vec<u8>, String> {
    let path = parts.join(&b'/');
    if path.len() > PATH_BYTES_MAX { Err(format!("its name is longer than {PATH_BYTES_MAX} bytes")) } else { Ok(path) }
}

/// A path's folder and its last part.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A folder's path and a name in it.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_but_below_or_is_refused() {
        for (name, expected) in [("./usr//bin/./sh", "usr/bin/sh"), ("/etc/passwd", "etc/passwd"), ("/", ""), ("...", "...")] {
            assert_eq!(parts(name.as_bytes()).and_then(|parts| joined(&parts)), Ok(expected.into()), "{name:?}");
        }
        let long = "long/".repeat(900);
        for name in ["", "..", "a/../b", "a/..", "/..", "a\0b", &"n".repeat(256), &"d/".repeat(257), &long] {
            assert!(parts(name.as_bytes()).and_then(|parts| joined(&parts)).is_err(), "{name:?}");
        }
        let almost = vec![&[b'n'; 200][..]; 21];
        assert!(joined(&almost).is_err() && joined(&almost[1..]).is_ok());
    }

    #[test]
    fn paths_are_split_at_the_last_slash() {
        assert_eq!((split(b"a/b/c"), split(b"a")), ((&b"a/b"[..], &b"c"[..]), (&b""[..], &b"a"[..])));
        assert_eq!((join(b"", b"a"), join(b"a", b"b")), (b"a".to_vec(), b"a/b".to_vec()));
    }
}
