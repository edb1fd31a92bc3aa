//! Overlays with owners mapped, made so that the host's table of mounts never has a line for them.
//!
//! Since Linux 6.13 overlayfs takes its layers as descriptors, also of detached mounts. Before that it wants paths in the
//! caller's own mount namespace: then the monitor makes itself one, hangs the mapped layers there, and hands their paths over.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use belljar_linux::error::{Context, Error};
use belljar_linux::mount::{self, Attributes, Depth, Value};
use belljar_linux::{Result, namespace, tree};
use rustix::io::Errno;

use crate::stack::{OverlayMount, Presence};

/// Options of every overlay. Redirects and metadata-only copies follow names that a layer itself contains, which must not
/// be trusted; the index is of no use without NFS export.
const OPTIONS: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Whose upper layer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upper {
    /// The container's, with its owners.
    Containers,
    /// Nobody's: it is empty, and goes with who made it. Its file system need not be able to map owners.
    Nobodys,
}

/// Makes the folders that the overlay writes to, as the host's root, who owns them on disk.
pub(crate) fn prepare(wanted: &OverlayMount) -> Result<()> {
    [&wanted.upper, &wanted.work].into_iter().try_for_each(|folder| make_folder(folder))
}

/// Makes the overlay, detached. With `user_namespace`, owners are shifted into it, and the caller must act as that
/// namespace's root: overlayfs goes on with the rights of who made it, and the host's root owns nothing on such a mount.
pub(crate) fn make(wanted: &OverlayMount, user_namespace: Option<BorrowedFd<'_>>, upper: Upper) -> Result<OwnedFd> {
    let lower = open_lower(wanted)?;
    // Upper and work folder must lie on the same mount, so the folder of the container that has both is taken once.
    let (base, upper_name, work_name) = common_folder(wanted)?;
    let mapped = user_namespace.filter(|_| upper == Upper::Containers);
    let base = take(mount::open_path(&base)?.as_fd(), mapped)?;
    let lower = lower.iter().map(|folder| take(folder.as_fd(), user_namespace)).collect::<Result<Vec<_>>>()?;
    let (upper, work) = (upper_name.as_path(), work_name.as_path());
    let made = if takes_descriptors() { by_descriptor(&base, (upper, work), &lower) } else { by_path(&base, (upper, work), &lower) };
    made.map_err(|error| explain_layers(wanted, error))
}

/// overlayfs does not say which layer it cannot use, nor that it is the file system that it lies on. The ones that lie on
/// another than the container's own are named.
fn explain_layers(wanted: &OverlayMount, error: Error) -> Error {
    let Ok(own) = mount::filesystem_of(&wanted.upper) else { return error };
    let other = |lower: &crate::stack::Lower| {
        let filesystem = mount::filesystem_of(&lower.path).ok().filter(|filesystem| *filesystem != own)?;
        Some(format!("{} ({filesystem})", lower.path.display()))
    };
    let others: Vec<String> = wanted.lower.iter().filter_map(other).collect();
    if error.errno != Errno::INVAL || others.is_empty() {
        return error;
    }
    let subject = format!("{}; on a file system of another kind lies: {}", error.subject, others.join(", "));
    Error { subject, ..error }
}

fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => refuse_what_is_no_folder(path),
        made => {
            made.context("make folder", || path.display().to_string())?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).context("set mode of", || path.display().to_string())
        }
    }
}

/// A place of the upper tree may be one that the container made before the image had a folder of its own there: a link
/// would lead the overlay out of the tree.
fn refuse_what_is_no_folder(path: &Path) -> Result<()> {
    let subject = || path.display().to_string();
    let is_folder = std::fs::symlink_metadata(path).context("stat", subject)?.is_dir();
    if is_folder { Ok(()) } else { Err(Error::new("use", subject(), Errno::NOTDIR)) }
}

fn open_lower(wanted: &OverlayMount) -> Result<Vec<OwnedFd>> {
    let mut opened = Vec::new();
    for lower in &wanted.lower {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        // A layer that was asked for may hold `usr` as a link to somewhere else: then it has no folder of that name.
        let flags = if lower.presence == Presence::Optional { flags | rustix::fs::OFlags::NOFOLLOW } else { flags };
        match rustix::fs::open(&lower.path, flags, rustix::fs::Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if lower.presence == Presence::Optional => {}
            other => opened.push(other.context("open", || lower.path.display().to_string())?),
        }
    }
    Ok(opened)
}

/// The folder that has both `upper` and `work` below it, and the two as seen from there.
fn common_folder(wanted: &OverlayMount) -> Result<(PathBuf, PathBuf, PathBuf)> {
    let base = wanted.upper.ancestors().find(|folder| wanted.work.starts_with(folder));
    let below = |path: &Path, base: &Path| path.strip_prefix(base).map(Path::to_owned).ok();
    base.and_then(|base| Some((base.to_owned(), below(&wanted.upper, base)?, below(&wanted.work, base)?)))
        .ok_or_else(|| Error::new("mount", "overlay whose upper and work folder lie apart", Errno::XDEV))
}

fn take(folder: BorrowedFd<'_>, user_namespace: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let taken = mount::clone_opened(folder)?;
    mount::set_attributes(&taken, mount::no_attributes(), Depth::One)?;
    if let Some(user_namespace) = user_namespace {
        mount::map_ids(&taken, user_namespace, Depth::One).map_err(|error| explain_mapping(folder, error))?;
    }
    Ok(taken)
}

/// A folder whose file system cannot map owners cannot be a layer of a container with ids of its own: says which, and why.
fn explain_mapping(folder: BorrowedFd<'_>, error: Error) -> Error {
    let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let Ok(path) = std::fs::read_link(link) else { return error };
    let filesystem = mount::filesystem_of(&path).unwrap_or_else(|_| "unknown".to_owned());
    Error { subject: format!("{}, which lies on a file system ({filesystem}) that cannot", path.display()), ..error }
}

fn by_descriptor(base: &OwnedFd, (upper, work): (&Path, &Path), lower: &[OwnedFd]) -> Result<OwnedFd> {
    let upper = tree::open(base, &upper.display().to_string(), rustix::fs::OFlags::PATH)?;
    let work = tree::open(base, &work.display().to_string(), rustix::fs::OFlags::PATH)?;
    let mut options: Vec<(&str, Value<'_>)> = OPTIONS.iter().map(|(key, value)| (*key, Value::Text(value))).collect();
    options.extend(lower.iter().map(|folder| ("lowerdir+", Value::Descriptor(folder))));
    options.extend([("upperdir", Value::Descriptor(&upper)), ("workdir", Value::Descriptor(&work))]);
    mount::new_filesystem("overlay", &options, Attributes::MOUNT_ATTR_NODEV)
}

/// Whether overlayfs of this kernel takes layers as descriptors. Asked by version: older ones refuse with different errors,
/// some of which also mean that a layer itself is wrong.
fn takes_descriptors() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(13))
}

/// Hangs the layers below a tmpfs in a mount namespace made for this, under names short enough that all of them fit the
/// one page that older kernels read. The overlay keeps copies of its own of what it uses, so the namespace goes again: it
/// would hold a copy of every mount of the host, and keep its disks busy, as long as the container lives.
fn by_path(base: &OwnedFd, (upper, work): (&Path, &Path), lower: &[OwnedFd]) -> Result<OwnedFd> {
    let home = namespace::open(std::process::id() as i32, "mnt")?;
    namespace::unshare_mounts()?;
    let made = on_the_desk(base, (upper, work), lower);
    namespace::enter_mounts(&home)?;
    made
}

/// Where layers are hung, in the namespace made for this only. The folder exists on every Linux.
const DESK: &str = "/dev/shm";

fn on_the_desk(base: &OwnedFd, (upper, work): (&Path, &Path), lower: &[OwnedFd]) -> Result<OwnedFd> {
    mount::make_all_private()?;
    let tmpfs = mount::new_filesystem("tmpfs", &[("mode", Value::Text("700"))], mount::no_attributes())?;
    mount::attach(&tmpfs, tree::root(Path::new(DESK))?)?;
    let desk = tree::root(Path::new(DESK))?;
    let place = |name: String, taken: &OwnedFd| -> Result<String> {
        let target = tree::make_folder(&desk, &name, 0o700)?;
        mount::attach(taken, &target)?;
        Ok(format!("{DESK}/{name}"))
    };
    let base = place("u".to_owned(), base)?;
    let names = lower.iter().enumerate().map(|(index, taken)| place(index.to_string(), taken)).collect::<Result<Vec<_>>>()?;
    let (upper, work) = (format!("{base}/{}", upper.display()), format!("{base}/{}", work.display()));
    let lower = names.join(":");
    let mut options: Vec<(&str, Value<'_>)> = OPTIONS.iter().map(|(key, value)| (*key, Value::Text(value))).collect();
    options.extend([("lowerdir", Value::Text(&lower)), ("upperdir", Value::Text(&upper)), ("workdir", Value::Text(&work))]);
    mount::new_filesystem("overlay", &options, Attributes::MOUNT_ATTR_NODEV)
}
