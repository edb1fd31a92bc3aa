//! `/proc/<pid>/mountinfo` (`proc_pid_mountinfo(5)`): which file systems are mounted where.

use std::io::Read;
use std::path::PathBuf;

use crate::error::{Context, Result};

/// One line of mountinfo, as far as it is used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, which no other mount has at that time.
    pub id: u64,
    /// The folder of the file system that is visible at the mount point.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Options of the mount: `ro`, `nosuid`, ….
    pub attributes: Vec<String>,
    /// The optional fields: `shared:9`, `master:2`. None of them is a private mount.
    pub propagation: Vec<String>,
    /// `ext4`, `cgroup`, `overlay`, ….
    pub filesystem: String,
    /// What is mounted: a device, or whatever word the file system's maker chose.
    pub source: String,
    /// Options of the file system itself: for cgroup v1 these name the controllers.
    pub options: Vec<String>,
}

/// All mounts that this process sees.
pub fn read() -> Result<Vec<Mount>> {
    Ok(text()?.lines().filter_map(parse).collect())
}

/// Those of them that are of these kinds of file systems.
pub fn read_kinds(kinds: &[&str]) -> Result<Vec<Mount>> {
    let is_wanted =
        |line: &&str| line.split_once(" - ").and_then(|(_, right)| right.split(' ').next()).is_some_and(|kind| kinds.contains(&kind));
    Ok(text()?.lines().filter(is_wanted).filter_map(parse).collect())
}

fn text() -> Result<String> {
    let path = "/proc/self/mountinfo";
    crate::file::read(path).context("read", || path.into())
}

/// The mounts that process `pid` sees, and whether the table is longer than `bytes_max`, to which it is cut. A container may mount
/// what it wants in a namespace of its own, and name it so.
pub fn read_of(pid: i32, bytes_max: u64) -> Result<(Vec<Mount>, Extent)> {
    let path = format!("/proc/{pid}/mountinfo");
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes));
    read.context("read", || path)?;
    let extent = if bytes.len() as u64 > bytes_max { Extent::Cut } else { Extent::Whole };
    if extent == Extent::Cut {
        // What the last line would say is not known.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or_default());
    }
    // What is no UTF-8 is a path that a program chose: the line is still a mount.
    Ok((String::from_utf8_lossy(&bytes).split('\n').filter_map(parse).collect(), extent))
}

/// How much of a table was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Its beginning.
    Cut,
}

/// Reads one line; `None` where it is not one.
pub fn parse(line: &str) -> Option<Mount> {
    // Optional fields stand between the sixth and the lone dash, so the line is read from both ends.
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let id = left.next()?.parse().ok()?;
    let mut left = left.skip(2);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
    let attributes = listed(left.next()?);
    let propagation = left.map(str::to_owned).collect();
    let mut right = right.split(' ');
    let filesystem = right.next()?.to_owned();
    let source = unescape(right.next()?).to_string_lossy().into_owned();
    let options = listed(right.next()?);
    Some(Mount { id, root, point, attributes, propagation, filesystem, source, options })
}

fn listed(options: &str) -> Vec<String> {
    options.split(',').map(str::to_owned).collect()
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

    #[test]
    fn a_line_says_its_number_its_attributes_and_where_its_mounts_go() {
        let line = r"812 35 8:1 /srv/a\012b /data ro,nosuid shared:9 master:2 - ext4 /dev/sda1 rw,errors=remount-ro";
        let mount = parse(line).unwrap();
        assert_eq!((mount.id, mount.attributes.join(",").as_str()), (812, "ro,nosuid"));
        assert_eq!((mount.propagation.join(" ").as_str(), mount.root), ("shared:9 master:2", PathBuf::from("/srv/a\nb")));
        assert!(parse("1 2 0:1 / /x rw - tmpfs  rw").unwrap().propagation.is_empty());
    }

    #[test]
    fn a_table_that_is_too_long_ends_with_a_whole_line() {
        let me = std::process::id() as i32;
        let (all, extent) = read_of(me, 1 << 20).unwrap();
        assert_eq!((extent, all.len()), (Extent::Whole, read().unwrap().len()));
        let is_proc = |mount: &Mount| mount.filesystem == "proc";
        assert!(read_kinds(&["proc"]).unwrap().iter().eq(all.iter().filter(|mount| is_proc(mount))) && all.iter().any(is_proc));
        let (some, extent) = read_of(me, 300).unwrap();
        assert_eq!(extent, Extent::Cut);
        assert!(some.len() < all.len() && all[..some.len()] == some);
        assert!(read_of(0, 1).is_err());
    }
}
