//! Quotas of projects: a number that folders and files carry, and what all of a number may take of their file system.
//!
//! One interface serves every file system that has them (`quotactl_fd(2)` with the commands that began with XFS): the kernel
//! translates them for ext4 and the others since Linux 4.1. This module must never know whose project it is.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// `struct fsxattr` (`linux/fs.h`).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_on_write_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota` (`linux/dqblk_xfs.h`), as far as it is used: the rest is timers and warnings.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct DiskQuota {
    version: i8,
    kind: i8,
    fields: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    blocks: u64,
    inodes: u64,
    timers: [u32; 4],
    realtime: [u64; 3],
    rest: [u64; 2],
}

/// `struct fs_quota_statv` (`linux/dqblk_xfs.h`), as far as it is used.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Statistics {
    version: i8,
    padding: u8,
    flags: u16,
    rest: [[u32; 13]; 3],
}

// The kernel reads and writes as many bytes as its own structures have.
const _: () = assert!(size_of::<Attributes>() == 28 && size_of::<DiskQuota>() == 112 && size_of::<Statistics>() == 160);

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR` (`ioctl_fsxattr`).
const GET_ATTRIBUTES: libc::c_ulong = 0x801c_581f;
const SET_ATTRIBUTES: libc::c_ulong = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`: what is made in the folder gets its project.
const INHERIT: u32 = 0x200;
/// `PRJQUOTA`.
const OF_PROJECTS: u32 = 2;
/// `Q_XGETQUOTA`, `Q_XSETQLIM`, `Q_XGETQSTATV`.
const GET_QUOTA: u32 = 0x5803;
const SET_LIMITS: u32 = 0x5804;
const GET_STATE: u32 = 0x5808;
/// `FS_DQUOT_VERSION` and `FS_QSTATV_VERSION1`.
const VERSION: i8 = 1;
/// `FS_PROJ_QUOTA`.
const PROJECT_KIND: i8 = 2;
/// All four limits of `d_fieldmask`: what is soft is none of ours, and would be somebody's from before.
const ALL_LIMITS: u16 = 0b1111;
/// `FS_QUOTA_PDQ_ACCT` and `FS_QUOTA_PDQ_ENFD`.
const ACCOUNTED: u16 = 1 << 4;
const ENFORCED: u16 = 1 << 5;
/// The kernel counts these commands' blocks in 512 bytes, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// Which project a file or folder belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Project {
    /// Its number; 0 is no project.
    pub id: u32,
    /// Whether what is made in the folder gets it too.
    pub is_inherited: bool,
}

/// What a file system does with quotas of projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// It counts what each project takes.
    pub is_accounted: bool,
    /// It refuses what is beyond a limit.
    pub is_enforced: bool,
}

/// What a project takes, and what it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Files, folders and all else that has an inode.
    pub inodes: u64,
    /// What bytes may reach; `None` is no limit.
    pub bytes_max: Option<u64>,
    /// What inodes may reach; `None` is no limit.
    pub inodes_max: Option<u64>,
}

/// The project of an open file or folder (not `O_PATH`).
pub fn project_of(opened: impl AsFd) -> Result<Project> {
    let attributes = attributes(opened.as_fd())?;
    Ok(Project { id: attributes.project, is_inherited: attributes.flags & INHERIT != 0 })
}

/// Puts an open folder into a project, with what is made in it from now on. `EINVAL` from a user namespace that is not the first.
pub fn set_project(folder: impl AsFd, id: u32) -> Result<()> {
    let mut attributes = attributes(folder.as_fd())?;
    attributes.project = id;
    attributes.flags |= INHERIT;
    // SAFETY: demands an open descriptor, which a borrow of it is, and for this request a readable `struct fsxattr`, which is ours
    // and of the size that is asserted above.
    let done = unsafe { libc::ioctl(folder.as_fd().as_raw_fd(), SET_ATTRIBUTES as _, &raw const attributes) };
    if done == 0 { Ok(()) } else { Err(Error::last("set project of", "folder")) }
}

fn attributes(opened: BorrowedFd<'_>) -> Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: demands an open descriptor, which a borrow of it is, and for this request a writable `struct fsxattr`, which is ours
    // and of the size that is asserted above.
    let done = unsafe { libc::ioctl(opened.as_raw_fd(), GET_ATTRIBUTES as _, &raw mut attributes) };
    if done == 0 { Ok(attributes) } else { Err(Error::last("read project of", "file")) }
}

/// What the file system of an open file does with quotas of projects. `ENOSYS` where it knows none, or the kernel does not.
pub fn state(opened: impl AsFd) -> Result<State> {
    let mut statistics = Statistics { version: VERSION, ..Statistics::default() };
    quotactl(opened.as_fd(), GET_STATE, 0, &mut statistics)?;
    let has = |flag| statistics.flags & flag != 0;
    Ok(State { is_accounted: has(ACCOUNTED), is_enforced: has(ENFORCED) })
}

/// What a project takes of the file system of an open file. One that the file system never heard of takes nothing.
pub fn read(opened: impl AsFd, id: u32) -> Result<Quota> {
    let mut quota = DiskQuota::default();
    match quotactl(opened.as_fd(), GET_QUOTA, id, &mut quota) {
        Err(error) if error.errno == Errno::NOENT => return Ok(Quota::default()),
        other => other?,
    }
    let limit = |value: u64| (value != 0).then_some(value);
    Ok(Quota {
        bytes: quota.blocks.saturating_mul(BLOCK_BYTES),
        inodes: quota.inodes,
        bytes_max: limit(quota.blocks_hard).map(|blocks| blocks.saturating_mul(BLOCK_BYTES)),
        inodes_max: limit(quota.inodes_hard),
    })
}

/// Says what a project may take; `None` is no limit. Less than it takes is no error: then it gets nothing more. Bytes are rounded down
/// to 512 of them, and up by what the file system counts in.
pub fn limit(opened: impl AsFd, id: u32, (bytes, inodes): (Option<u64>, Option<u64>)) -> Result<()> {
    let mut quota = DiskQuota {
        version: VERSION,
        kind: PROJECT_KIND,
        fields: ALL_LIMITS,
        id,
        // 0 is the kernel's word for no limit.
        blocks_hard: bytes.map_or(0, |bytes| (bytes / BLOCK_BYTES).max(1)),
        inodes_hard: inodes.map_or(0, |inodes| inodes.max(1)),
        ..DiskQuota::default()
    };
    quotactl(opened.as_fd(), SET_LIMITS, id, &mut quota)
}

/// A structure that `quotactl_fd` reads or writes: plain numbers, of the size that is asserted above.
trait Told {}
impl Told for DiskQuota {}
impl Told for Statistics {}

fn quotactl<T: Told>(opened: BorrowedFd<'_>, command: u32, id: u32, told: &mut T) -> Result<()> {
    let command = command << 8 | OF_PROJECTS;
    // SAFETY: demands a descriptor, which a borrow of an open one is, and for these three commands a structure that can be read and
    // written as a whole: `Told` is implemented for just the two that they take, which are numbers only, so any bytes are a value.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, opened.as_raw_fd(), command, id, std::ptr::from_mut(told)) };
    if done == 0 { Ok(()) } else { Err(Error::last("ask", "quota of projects")) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_has_no_quotas_of_projects_says_so_by_an_error() {
        let proc = File::open("/proc/self").expect("a folder");
        let refused = state(&proc).expect_err("nothing is counted there");
        assert!(matches!(refused.errno, Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::NODEV), "{refused}");
        assert!(read(&proc, 1).is_err() && limit(&proc, 1, (None, None)).is_err());
        assert!(project_of(&proc).is_err(), "nor does anything belong to one");
    }

    #[test]
    fn a_folder_that_is_in_no_project_says_so_or_knows_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = File::open(folder.path()).expect("open");
        match project_of(&opened) {
            Ok(project) => assert_eq!(project, Project { id: 0, is_inherited: false }),
            Err(error) => assert!(matches!(error.errno, Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL), "{error}"),
        }
    }
}
