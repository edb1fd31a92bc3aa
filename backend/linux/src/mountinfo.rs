//! `/proc/<pid>/mountinfo` (`proc_pid_mountinfo(5)`): which file systems are mounted where.

use std::path::PathBuf;

use crate::error::{Context, Result};

/// One line of mountinfo, as far as it is used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The folder of the file system that is visible at the mount point.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// `ext4`, `cgroup`, `overlay`, ….
    pub filesystem: String,
    /// What is mounted: a device, or whatever word the file system's maker chose.
    pub source: String,
    /// Options of the file system itself: for cgroup v1 these name the controllers.
    pub options: Vec<String>,
}

/// All mounts that this process sees.
pub fn read() -> Result<Vec<Mount>> {
    let path = "/proc/self/mountinfo";
    let text = crate::file::read(path).context("read", || path.into())?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Reads one line; `None` where it is not one.
pub fn parse(line: &str) -> Option<Mount> {
    // Optional fields stand between the sixth and the lone dash, so the line is read from both ends.
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.split(' ');
    let filesystem = right.next()?.to_owned();
    let source = unescape(right.next()?).to_string_lossy().into_owned();
    let options = right.next()?.split(',').map(str::to_owned).collect();
    Some(Mount { root, point, filesystem, source, options })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_hybrid_host_are_read() {
        let line = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:2 - cgroup cgroup rw,memory";
        let mount = parse(line).unwrap();
        assert_eq!((mount.filesystem.as_str(), mount.options.as_slice()), ("cgroup", &["rw".to_owned(), "memory".to_owned()][..]));
        assert_eq!(mount.point, PathBuf::from("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn a_mount_point_with_a_space_is_read() {
        let mount = parse(r"1 2 0:1 / /mnt/my\040disk\134x rw - ext4 /dev/sda rw").unwrap();
        assert_eq!(mount.point, PathBuf::from(r"/mnt/my disk\x"));
        assert_eq!(parse("nonsense"), None);
    }
}
