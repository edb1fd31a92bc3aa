//! Whom a user namespace belongs to, and acting as that user. It must never be somebody who is on the host already, unless the
//! namespace's root is mapped to them. Start at [`clone`].

use std::os::fd::OwnedFd;

use crate::error::{Context, Result};
use crate::process::{self, Cloned, Parent};

/// As [`process::clone`], with a new user namespace among `flags` that belongs to the user `owner` of this namespace.
///
/// The kernel has limits for each user (instances of inotify, queued signals, bytes of message queues, namespaces), and counts
/// what happens in a user namespace for its owner too, at every level (`ucount`). All containers of one owner share one share:
/// a single one can use up what the others, and the host's root, need. An owner of its own gives it a share of its own.
///
/// Whoever is this user outside has every right over the namespace, so it must be nobody's id, or the one that its root is
/// mapped to. Where this process may not keep its rights over a change of user, the namespace belongs to itself.
pub fn clone(owner: u32, flags: u64, into_cgroup: Option<&OwnedFd>) -> Result<Cloned> {
    let Some(acting) = Acting::begin(owner)? else { return process::clone(flags, into_cgroup, Parent::This) };
    let cloned = process::clone(flags, into_cgroup, Parent::This);
    // The child has new rights, in its own namespace, where our user has no name.
    if !matches!(cloned, Ok(Cloned::Child)) {
        acting.end()?;
    }
    cloned
}

/// Does something as the user `owner` of this namespace, with every right that this process has: whoever owns a user namespace
/// may do to its processes what rights over all processes would be needed for otherwise.
pub fn acting<T>(owner: u32, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(acting) = Acting::begin(owner)? else { return work() };
    let done = work();
    acting.end()?;
    done
}

/// Being another effective user, but for files, without losing a right.
struct Acting {
    own: nix::unistd::Uid,
    bits: rustix::thread::CapabilitiesSecureBits,
}

impl Acting {
    /// `None` where this process may not keep its rights over a change of user.
    fn begin(user: u32) -> Result<Option<Self>> {
        process::require_one_thread()?;
        let bits = rustix::thread::capabilities_secure_bits().context("read", || "secure bits".into())?;
        if rustix::thread::set_capabilities_secure_bits(bits | rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP).is_err() {
            return Ok(None);
        }
        let acting = Self { own: nix::unistd::geteuid(), bits };
        let user = nix::unistd::Uid::from_raw(user);
        match nix::unistd::seteuid(user).context("become", || format!("effective user {user}")) {
            Ok(()) => {
                // Files are opened as before, by a child too, until it becomes a user of its own namespace.
                nix::unistd::setfsuid(acting.own);
                Ok(Some(acting))
            }
            Err(error) => acting.end().and(Err(error)),
        }
    }

    fn end(self) -> Result<()> {
        nix::unistd::seteuid(self.own).context("become", || format!("effective user {}", self.own))?;
        rustix::thread::set_capabilities_secure_bits(self.bits).context("set", || "secure bits".into())
    }
}
