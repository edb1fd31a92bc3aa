//! Detached mounts: file systems and folders that hang nowhere yet, held by a descriptor.
//!
//! A container's tree is put together from them inside its own mount namespace, so that the host's table of mounts never
//! has a line for it: what nobody attached, nobody must clean up. `fsopen(2)`, `open_tree(2)`, `move_mount(2)` are of
//! Linux 5.2, `mount_setattr(2)` of 5.12.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::{Context, Error, Result};

pub use rustix::mount::MountAttrFlags as Attributes;

/// A value of a file system's option.
#[derive(Debug)]
pub enum Value<'a> {
    /// The option stands alone.
    Flag,
    /// A text.
    Text(&'a str),
    /// An open file or folder (overlayfs takes its layers so since Linux 6.13).
    Descriptor(&'a OwnedFd),
}

impl<'a> Value<'a> {
    /// A text, or where that is empty a flag.
    pub fn of(text: &'a str) -> Self {
        if text.is_empty() { Value::Flag } else { Value::Text(text) }
    }
}

/// Makes a file system of `kind` with `options`, detached. On failure the subject carries the kernel's own words, where it
/// left any in the context's log. What tables of mounts show as the device is an option named `source`; without one it is
/// the kind, as they would say `none` otherwise.
pub fn new_filesystem(kind: &str, options: &[(&str, Value<'_>)], attributes: Attributes) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).context("mount", || kind.to_owned())?;
    if !options.iter().any(|(key, _)| *key == "source") {
        rustix::mount::fsconfig_set_string(&context, "source", kind).context("name", || kind.to_owned())?;
    }
    set_options(&context, kind, options)?;
    let failed = |errno: Errno| Error::new("mount", with_kernels_words(&context, kind.to_owned()), errno);
    rustix::mount::fsconfig_create(&context).map_err(failed)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)
}

fn set_options(context: &OwnedFd, what: &str, options: &[(&str, Value<'_>)]) -> Result<()> {
    for (key, value) in options {
        let set = match value {
            Value::Flag => rustix::mount::fsconfig_set_flag(context, *key),
            Value::Text(text) => rustix::mount::fsconfig_set_string(context, *key, *text),
            Value::Descriptor(descriptor) => rustix::mount::fsconfig_set_fd(context, *key, descriptor),
        };
        set.map_err(|errno| Error::new("mount", with_kernels_words(context, format!("{what} with option {key}")), errno))?;
    }
    Ok(())
}

/// The kernel's log of a file system context: one line a read, each with a level in front (`e overlay: …`).
fn with_kernels_words(context: &OwnedFd, what: String) -> String {
    let mut line = [0; 512];
    let mut words = Vec::new();
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        words.push(text.trim().trim_start_matches("e ").to_owned());
    }
    if words.is_empty() { what } else { format!("{what} ({})", words.join("; ")) }
}

/// How much of a tree of mounts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// This mount only.
    One,
    /// It and all below it.
    All,
}

/// A copy of the mount at `path`, detached: a bind mount that hangs nowhere yet.
pub fn clone_tree(path: &std::path::Path, depth: Depth) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if depth == Depth::All {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags).context("take", || path.display().to_string())
}

/// A copy of the mount at an open file or folder, detached.
pub fn clone_opened(opened: impl AsFd) -> Result<OwnedFd> {
    clone_below(opened, Depth::One)
}

/// A copy of the mount at an open file or folder, with [`Depth::All`] of all below it too, detached.
pub fn clone_below(opened: impl AsFd, depth: Depth) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if depth == Depth::All {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(opened, "", flags).context("take", || "mount".into())
}

/// What changes of a mount that is there already. Attributes that stand in neither set stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Set.
    pub set: Attributes,
    /// Taken away. The kinds of access time are one field of several bits: whoever sets one clears the field.
    pub clear: Attributes,
    /// What of other copies of the mount it learns.
    pub propagation: Option<Propagation>,
}

/// What a mount and its copies in other namespaces learn of each other (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing.
    Private,
    /// It learns from the copies, they nothing from it.
    Slave,
    /// Both ways.
    Shared,
    /// Nothing, and it cannot be bound to another place.
    Unbindable,
}

impl Change {
    /// No change.
    pub const NONE: Self = Self { set: Attributes::empty(), clear: Attributes::empty(), propagation: None };

    /// Attributes are set, nothing else.
    pub fn setting(set: Attributes) -> Self {
        Self { set, ..Self::NONE }
    }

    /// Propagation changes, nothing else.
    pub fn propagating(propagation: Propagation) -> Self {
        Self { propagation: Some(propagation), ..Self::NONE }
    }

    /// Whether there is nothing to do.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// Changes a mount, or with [`Depth::All`] all below it too: all or none, the kernel sees to that.
pub fn change(mount: impl AsFd, change: &Change, depth: Depth) -> Result<()> {
    let propagation = change.propagation.map_or(0, |propagation| match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    });
    let (attr_set, attr_clr) = (u64::from(change.set.bits()), u64::from(change.clear.bits()));
    let change = libc::mount_attr { attr_set, attr_clr, propagation, userns_fd: 0 };
    mount_setattr(mount, &change, depth).context("set attributes of", || "mount".into())
}

/// Sets attributes (`MOUNT_ATTR_*`) on a mount, or with [`Depth::All`] on all below it too, and makes it private: a copy of a
/// shared mount is its peer, and what is mounted below one would appear below the other, in the host.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, depth: Depth) -> Result<()> {
    change(mount, &Change { set: attributes, propagation: Some(Propagation::Private), ..Change::NONE }, depth)
}

/// Shows the files of a detached mount with the ids of a user namespace: what is owned by 0 on disk is owned by the
/// namespace's 0, and what the namespace's 0 makes is owned by 0 on disk. `EINVAL` where the file system cannot; with
/// [`Depth::All`] nothing is mapped where one of them cannot.
pub fn map_ids(mount: impl AsFd, user_namespace: impl AsFd, depth: Depth) -> Result<()> {
    let change = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_fd().as_raw_fd() as u64,
    };
    mount_setattr(mount, &change, depth).context("map ids of", || "mount".into())
}

fn mount_setattr(mount: impl AsFd, change: &libc::mount_attr, depth: Depth) -> std::result::Result<(), Errno> {
    let recursive = if depth == Depth::All { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::AT_EMPTY_PATH | recursive;
    let descriptor = mount.as_fd().as_raw_fd();
    // SAFETY: mount_setattr(2) demands an open descriptor, a NUL-terminated path and a mount_attr of the given size; all three
    // are borrowed for the call, and the kernel only reads them.
    let done = unsafe { libc::syscall(libc::SYS_mount_setattr, descriptor, c"".as_ptr(), flags, change, size_of::<libc::mount_attr>()) };
    if done == 0 { Ok(()) } else { Err(Error::last("", "").errno) }
}

/// Changes options of the file system that is mounted at an open folder or file (`ro`, `size=…`): of the file system itself,
/// so for everybody who has it mounted.
pub fn reconfigure(mount: impl AsFd, options: &[(&str, Value<'_>)]) -> Result<()> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_NO_AUTOMOUNT;
    let context = rustix::mount::fspick(&mount, "", flags).context("remount", || "file system".into())?;
    set_options(&context, "remount", options)?;
    rustix::mount::fsconfig_reconfigure(&context)
        .map_err(|errno| Error::new("remount", with_kernels_words(&context, "file system".into()), errno))
}

/// Hangs a detached mount at an open folder or file (`O_PATH`). The target is an object, not a path, so that nobody can
/// put something else in its place.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).context("attach", || "mount".into())
}

/// Gives a private mount the peers and the master of another one of the same file system, which it can be a part of: what is
/// mounted below it from here on appears with them, and what was before does not. Since Linux 5.15, also for one that hangs in
/// another namespace of this user namespace. `EINVAL` where it has neither.
pub fn join_group(of: impl AsFd, mount: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let flags = flags | MoveMountFlags::from_bits_retain(libc::MOVE_MOUNT_SET_GROUP);
    rustix::mount::move_mount(of, "", mount, "", flags).context("share", || "mount".into())
}

/// Makes a folder in an open one that nobody else can change, and hangs a detached mount there.
pub fn attach_in(mount: impl AsFd, folder: impl AsFd, name: &str) -> Result<()> {
    rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)).context("make folder", || name.to_owned())?;
    rustix::mount::move_mount(mount, "", folder, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).context("attach", || name.to_owned())
}

/// Makes every mount of this namespace private: nothing goes to the host, nothing comes from it.
pub fn make_all_private() -> Result<()> {
    use rustix::mount::MountPropagationFlags;
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).context("make private", || "/".into())
}

/// Magic numbers of file systems (`statfs(2)`) that are told from what only looks like them.
pub mod magic {
    /// procfs.
    pub const PROC: u64 = 0x9fa0;
    /// sysfs.
    pub const SYS: u64 = 0x6265_6572;
    /// POSIX message queues.
    pub const MQUEUE: u64 = 0x1980_0202;
    /// devpts.
    pub const DEVPTS: u64 = 0x1cd1;
    /// cgroup v2.
    pub const CGROUP2: u64 = 0x6367_7270;
}

/// Magic number of the file system that something open lies on.
pub fn magic_of(opened: impl AsFd) -> Result<u64> {
    rustix::fs::fstatfs(opened).map(|stat| stat.f_type as u64).context("statfs", || "open file".into())
}

/// Makes `root` (a mount's root folder) the root of this mount namespace, and lets go of the old one and all below it.
///
/// `pivot_root(".", ".")` stacks the old root over the new one, so that no folder is needed to put it (`pivot_root(2)`); what is
/// then at "." *and* on top is the old root, which is detached.
pub fn pivot(root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(&root).context("enter", || "new root".into())?;
    rustix::process::pivot_root(".", ".").context("pivot to", || "new root".into())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).context("detach", || "old root".into())?;
    rustix::process::chdir("/").context("enter", || "/".into())
}

/// Kind of the file system that a path lies on, by its magic number (`statfs(2)`), for messages.
pub fn filesystem_of(path: &std::path::Path) -> Result<String> {
    let stat = rustix::fs::statfs(path).context("statfs", || path.display().to_string())?;
    let known = match stat.f_type as u64 {
        0xef53 => "ext4",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x6969 => "nfs",
        0x4d44 => "vfat",
        0x6573_5546 => "fuse",
        0x2fc1_2fc1 => "zfs",
        0x0102_1997 => "9p",
        0x7371_7368 => "squashfs",
        0x8584_58f6 => "ramfs",
        0x9fa0 => "proc",
        0x6265_6572 => "sysfs",
        0xe0f5_e1e2 => "erofs",
        other => return Ok(format!("{other:#x}")),
    };
    Ok(known.to_owned())
}

/// Whether the kernel has a file system of this kind loaded or built in (`/proc/filesystems`).
pub fn kernel_has(kind: &str) -> bool {
    let listed = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    listed.lines().any(|line| line.split_ascii_whitespace().last() == Some(kind))
}

/// Opens a path of the host (`O_PATH`).
pub fn open_path(path: &std::path::Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty()).context("open", || path.display().to_string())
}

/// Opens a folder below a mount by a single name that this program chose.
pub fn open_below(mount: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(mount, name, flags, rustix::fs::Mode::empty()).context("open", || name.to_owned())
}

/// No attributes.
pub fn no_attributes() -> Attributes {
    MountAttrFlags::empty()
}
