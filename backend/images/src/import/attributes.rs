//! What an entry shall be like beside its content: owner, attributes, mode and time, set in an order in which none undoes another.

use std::os::fd::{AsFd, OwnedFd};

use belljar_archive::{ArchiveError as ImportError, Kind, Member, keeps_xattr};
use belljar_model::user::ID_MAX;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Mode of a folder that the archive implies but does not hold.
pub(crate) const FOLDER_MODE: u32 = 0o755;
/// overlayfs's mark of a folder that hides all that the layers below have in it.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// What an entry shall be like beside its content.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    owner: (u32, u32),
    xattrs: &'a [(Vec<u8>, Vec<u8>)],
    pub(super) last: Last,
}

/// Those of the attributes that writing into a folder would change, or that would hinder it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    mode: u32,
    mtime: Option<(i64, u32)>,
}

impl Last {
    /// Of a folder that is only implied: it stays ours, which is root's.
    pub(super) const IMPLIED: Self = Self { mode: FOLDER_MODE, mtime: None };

    pub(super) fn set(self, file: impl AsFd) -> Result<(), Errno> {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))?;
        match self.mtime {
            Some(mtime) => rustix::fs::futimens(&file, &timestamps(mtime)),
            None => Ok(()),
        }
    }
}

impl<'a> Attributes<'a> {
    pub(super) fn of(member: &'a Member) -> Result<Self, ImportError> {
        let id = |number: i128, what| {
            let id = u32::try_from(number).ok().filter(|id| *id <= ID_MAX);
            id.ok_or_else(|| member.refuse(format!("its {what} id {number} is not between 0 and {ID_MAX}, the ids of a container")))
        };
        let owner = (id(member.uid, "user")?, id(member.gid, "group")?);
        Ok(Self { owner, xattrs: &member.xattrs, last: Last { mode: member.mode, mtime: Some(member.mtime) } })
    }

    /// Sets them on an open file.
    pub(super) fn set(&self, file: impl AsFd) -> Result<(), Errno> {
        self.set_first(&file)?;
        self.last.set(file)
    }

    /// Sets those that nothing later changes. The owner comes first: `chown` takes set-uid bits and capabilities away.
    fn set_first(&self, file: impl AsFd) -> Result<(), Errno> {
        let (uid, gid) = self.owner;
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        self.xattrs.iter().try_for_each(|(name, value)| rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()))
    }

    /// Gives a folder what of its attributes need not wait. An earlier entry of the same name may have given it others, and the
    /// last one wins; overlayfs's mark is no entry's.
    pub(super) fn set_on_folder(&self, folder: impl AsFd) -> Result<(), Errno> {
        let mut names = vec![0; rustix::fs::flistxattr_query(&folder)?];
        let length = rustix::fs::flistxattr(&folder, &mut names)?;
        for name in names[..length].split(|byte| *byte == 0).filter(|name| keeps_xattr(name)) {
            rustix::fs::fremovexattr(&folder, name)?;
        }
        self.set_first(folder)
    }

    /// Sets owner and time, and for all but links the mode, of something that cannot be opened, by its name in an open
    /// folder. We made it a moment ago, and nobody else writes here.
    pub(super) fn set_at(&self, folder: &OwnedFd, name: &[u8], kind: &Kind) -> Result<(), Errno> {
        let (uid, gid) = self.owner;
        rustix::fs::chownat(folder, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        if !matches!(kind, Kind::Symlink { .. }) {
            rustix::fs::chmodat(folder, name, Mode::from_raw_mode(self.last.mode), AtFlags::empty())?;
        }
        match self.last.mtime {
            Some(mtime) => rustix::fs::utimensat(folder, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW),
            None => Ok(()),
        }
    }
}

/// Marks a folder as hiding all that the layers below have in it.
pub(super) fn make_opaque(folder: impl AsFd) -> Result<(), Errno> {
    rustix::fs::fsetxattr(folder, OPAQUE_XATTR, b"y", XattrFlags::empty())
}

fn timestamps((tv_sec, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
