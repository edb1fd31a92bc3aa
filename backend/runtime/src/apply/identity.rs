//! Who the process becomes and what it may still do: labels, user, capabilities, working folder.

use belljar_linux::capability::{self, CapabilitySet};
use belljar_linux::error::Context;
use belljar_linux::process::{self, Capabilities as Treatment};
use belljar_linux::procfs::Procfs;
use belljar_linux::{Error, Result, label, tree as paths};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::inside::Inside;
use crate::spec::{Capabilities, User};
use crate::step::process::Label;
use crate::user;

/// Becomes another user, and still dies with the maker: the kernel forgets that wish, and makes the process readable for
/// others again, when ids change.
pub(super) fn become_mortal(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    process::become_user(uid, gid, groups)?;
    process::die_with_parent()?;
    process::forbid_inspection()
}

/// Written through a `/proc` that nobody else can reach (CVE-2019-16884).
pub(super) fn set_label(label: &Label, known: Option<&Procfs>) -> Result<()> {
    let made = if known.is_none() { Some(Procfs::private()?) } else { None };
    let Some(proc) = known.or(made.as_ref()) else { return Ok(()) };
    match label {
        Label::Apparmor(profile) => label::set_apparmor_profile(proc, profile),
        Label::Selinux(context) => label::set_selinux_context(proc, context),
        Label::SelinuxKeyring(context) => label::set_selinux_keyring_context(proc, context),
    }
}

/// Names that this kernel or this version does not know are passed over, as the OCI runtime specification wants it.
fn set_of(names: &[String]) -> CapabilitySet {
    names.iter().filter_map(|name| capability::by_name(name)).fold(CapabilitySet::empty(), |all, one| all | one)
}

pub(super) fn bound_capabilities(keep: &[String]) -> Result<()> {
    capability::bound(set_of(keep))
}

/// Nothing is gained here: what was asked for and is not held is passed over.
pub(super) fn limit_capabilities(capabilities: &Capabilities) -> Result<()> {
    let wanted = capability::Wanted {
        effective: set_of(&capabilities.effective),
        permitted: set_of(&capabilities.permitted),
        inheritable: set_of(&capabilities.inheritable),
        ambient: set_of(&capabilities.ambient),
    };
    process::treat_capabilities(Treatment::Dropped)?;
    capability::set(&wanted).map(drop)
}

impl Inside<'_> {
    pub(super) fn become_user(&mut self, user: &User) -> Result<()> {
        let identity = user::identity(self.tree.root()?, user)?;
        self.give_streams(identity.uid)?;
        // Until the sets are given their last form, or the kernel would take all from a user other than root.
        process::treat_capabilities(Treatment::Kept)?;
        become_mortal(identity.uid, identity.gid, &identity.groups)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// First as root: a folder that is closed to the user may still be the one to begin in. One that is closed to root (on a
    /// file system of somebody else's) is left to the user.
    pub(super) fn enter_workdir(&mut self, path: &str) -> Result<()> {
        match self.enter(path) {
            Err(error) if error.errno == Errno::ACCESS || error.errno == Errno::PERM => {
                self.outside_workdir = true;
                Ok(())
            }
            entered => entered,
        }
    }

    /// The kernel itself says where we are: a path that begins elsewhere than `/` is not below this root (CVE-2024-21626).
    pub(super) fn verify_workdir(&mut self, path: &str) -> Result<()> {
        if self.outside_workdir {
            self.enter(path)?;
        }
        let inside = rustix::process::getcwd(Vec::new()).is_ok_and(|now| now.to_bytes().starts_with(b"/"));
        if inside { Ok(()) } else { Err(Error::new("enter", path, Errno::XDEV)) }
    }

    fn enter(&self, path: &str) -> Result<()> {
        let folder = paths::open(self.tree.root()?, path, OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::process::fchdir(&folder).context("enter", || path.to_owned())
    }
}
