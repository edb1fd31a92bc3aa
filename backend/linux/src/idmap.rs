//! User namespaces that exist only for their maps: a mount can be shown with the ids of one in which nobody lives.

use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::process::{self, Cloned};
use crate::{fd, namespace};

/// A new user namespace with these maps: ranges, each with the first id inside, the first outside, and how many. It lasts as
/// long as its descriptor, or a mount that was mapped by it. As for [`process::clone`], there may be one thread only.
pub fn user_namespace(uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]) -> Result<OwnedFd> {
    let (ours, theirs) = fd::message_pair()?;
    match process::clone(namespace::CLONE_NEWUSER as u64, None, process::Parent::This)? {
        Cloned::Child => {
            drop(ours);
            // Lives until the other end is closed, which the maker's own end also does.
            let _ = fd::receive(&theirs, &mut [0; 1]);
            process::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let made = namespace::map_ids(pid, uids, gids).and_then(|()| namespace::open(pid, "user"));
            drop(ours);
            process::wait(&pidfd)?;
            made.map_err(|error| Error { operation: "make", subject: "user namespace of a mount's maps".to_owned(), ..error })
        }
    }
}
