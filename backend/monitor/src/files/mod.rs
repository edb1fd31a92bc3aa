//! One operation on a tree of files, in a process of its own that ends with it: files copied out of a container and into it, one
//! path put back, a volume filled from an image.
//!
//! ```text
//! server ──▶ files     an order (what, where), a socket, and one end of a pipe that the archive goes through
//! files ──▶ server     {"found": …} where it was found, then {"done": …} or {"failed": …}; one JSON document a message
//! server ──▶ files     nothing but the socket's end: whoever asked is gone, and so is the process that works
//! ```
//! It is forked from the spawner, which has one thread, and forks once more: the first waits for the socket's end, and kills; the
//! second enters ([`root`]) and works. A tree may be a container's that runs, or that rests, or a folder. Whoever owns it is taken
//! for hostile, and so is the archive: [`pack`], [`unpack`] and [`restore`] say what they do about it. The client commands use the
//! same two for the host's side of a copy.

mod attributes;
mod copy;
mod error;
mod pack;
mod restore;
mod root;
mod unpack;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::error::Context;
use belljar_linux::process::{self, Cloned, Parent};
use belljar_linux::{Result, fd};
use belljar_model::files::{Moved, Owners, PathStat};
use belljar_runtime::spec::OverlayTree;
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

pub use belljar_linux::tree::Links;
pub use error::{Error, Why};
pub use pack::{Found, find, pack};
pub use root::Root;
pub use unpack::{Manner, Whose, unpack};

/// Longest message to the server, in bytes: two paths, and what is said of them.
pub const WORD_BYTES_MAX: usize = 64 << 10;
/// Most descriptors of such a process: a few for each folder of the deepest tree.
const DESCRIPTORS_MAX: u64 = 4096;

/// What is to be done, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The tree.
    pub root: Root,
    /// A path of it.
    pub path: String,
    /// What.
    pub act: Act,
}

/// What is done at the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Says what is there.
    Look,
    /// Writes it, with all that is in it, into the pipe, as a tar archive.
    Pack,
    /// Unpacks the archive that comes through the pipe into the folder there.
    Unpack(Owners),
    /// Removes it, with all that is in it.
    Remove,
    /// Puts it back to what lies below the container's own layer.
    Restore(OverlayTree),
    /// Copies what is in the folder there into this folder of the host, and makes that like it. What is not a folder there, or
    /// not there, is nothing to copy.
    Fill(std::path::PathBuf),
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// This is there. Follows nothing after a look; after what packs, the archive is on its way.
    Found(PathStat),
    /// It is done. Nothing follows.
    Done(Moved),
    /// It came to nothing, or only to a part. Nothing follows.
    Failed {
        /// What kind of failure.
        why: Why,
        /// A sentence without a full stop.
        message: String,
    },
}

/// What such a process has from the spawner.
pub(crate) struct Inherited {
    /// The socket to the server.
    pub(crate) socket: OwnedFd,
    /// The order, as JSON.
    pub(crate) order: OwnedFd,
    /// Where the archive goes, or comes from.
    pub(crate) data: OwnedFd,
}

/// Carries the order out.
pub(crate) fn run(inherited: Inherited) {
    let watched = process::clone(0, None, Parent::This);
    match watched {
        Ok(Cloned::Child) => {
            work(inherited);
            process::exit_now(0)
        }
        Ok(Cloned::Parent { pidfd, .. }) => {
            let Inherited { socket, order, data } = inherited;
            // The other end must see the end of the pipe when the child ends.
            drop((order, data));
            watch(&socket, &pidfd);
        }
        Err(error) => tell(&inherited.socket, &failed(&error.into())),
    }
}

/// Waits until the work is done, or nobody waits for it any more.
fn watch(socket: &OwnedFd, child: &OwnedFd) {
    let mut polled = [PollFd::new(child, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
    let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None));
    // The server never writes: whatever the socket has, it is its end. After the child's own end there is nobody to kill.
    let _ = process::signal(child, libc_kill());
    if let Ok(process::Ended::Signaled(_)) = process::wait(child) {
        let message = "it was killed before it was done".to_owned();
        tell(socket, &Word::Failed { why: Why::Internal, message });
    }
}

fn libc_kill() -> i32 {
    belljar_model::Signal::KILL.number()
}

fn work(inherited: Inherited) {
    let Inherited { socket, order, data } = inherited;
    let word = match begin(order).map_err(Error::from).and_then(|(order, opened)| carry_out(&order, &opened, data, &socket)) {
        Ok(moved) => Word::Done(moved),
        Err(error) => failed(&error),
    };
    tell(&socket, &word);
}

/// Opens the tree, becomes whom it belongs to, and lets go of what is not needed.
fn begin(order: OwnedFd) -> Result<(Order, root::Opened)> {
    let order = read(order)?;
    let _ = belljar_linux::attributes::limit(std::process::id() as i32, "NOFILE", DESCRIPTORS_MAX, DESCRIPTORS_MAX);
    let below = match &order.act {
        Act::Restore(layers) => Some(layers),
        _ => None,
    };
    let opened = root::open(&order.root, below)?;
    // Modes are given exactly.
    rustix::process::umask(rustix::fs::Mode::empty());
    // A container that shares our process namespace, with our user, could look into this process: it has the host's tree open.
    process::forbid_inspection()?;
    process::forbid_new_privileges()?;
    // Only now: a change of user takes it away.
    process::die_with_parent()?;
    Ok((order, opened))
}

fn carry_out(order: &Order, opened: &root::Opened, data: OwnedFd, socket: &OwnedFd) -> std::result::Result<Moved, Error> {
    let (tree, path) = (&opened.root, order.path.as_str());
    match &order.act {
        Act::Look => {
            tell(socket, &Word::Found(find(tree, path)?.stat()));
            Ok(Moved::default())
        }
        Act::Pack => {
            let found = find(tree, path)?;
            // Once it is told that it is there, the archive is on its way.
            found.check_packable()?;
            tell(socket, &Word::Found(found.stat()));
            pack(found, File::from(data))
        }
        Act::Unpack(owners) => {
            let owners = if *owners == Owners::Root { Whose::Root } else { Whose::Archive };
            unpack(tree, path, File::from(data), Manner { links: Links::Followed, owners })
        }
        Act::Remove => restore::remove_at(tree, path),
        Act::Restore(layers) => {
            let below = opened.below.as_ref().unwrap_or(tree);
            restore::restore(tree, below, path, &grafts(layers))
        }
        Act::Fill(into) => fill(tree, path, into),
    }
}

/// Where layers of the tree are mounted.
fn grafts(layers: &OverlayTree) -> Vec<String> {
    layers.image.iter().map(|layer| layer.at.clone()).filter(|at| !at.is_empty()).collect()
}

fn fill(tree: &OwnedFd, path: &str, into: &std::path::Path) -> std::result::Result<Moved, Error> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let source = match belljar_linux::tree::open_bytes(tree, path.as_bytes(), flags, Links::Followed) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(Moved::default()),
        opened => opened.map_err(error::failed("open", path.as_bytes()))?,
    };
    let target = belljar_linux::tree::root(into)
        .and_then(|folder| belljar_linux::tree::reopen(folder).context("open", || into.display().to_string()))?;
    let copied = belljar_runtime::copy::copy_tree(
        source,
        target.try_clone().map_err(|error| belljar_linux::Error::from_io("copy", path, &error))?,
        path,
    )?;
    // All at once: a sync of each file would take as long again for each.
    rustix::fs::syncfs(&target).map_err(error::failed("write everything to", path.as_bytes()))?;
    Ok(Moved { entries: copied.entries, size_bytes: copied.bytes, passed_over: copied.left_out })
}

fn read(order: OwnedFd) -> Result<Order> {
    use std::io::{Read as _, Seek as _};
    let mut file = File::from(order);
    let mut text = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).context("read", || "order".into())?;
    serde_json::from_slice(&text).map_err(|error| belljar_linux::Error::from_io("read", "order", &error.into()))
}

fn failed(error: &Error) -> Word {
    let mut message = error.chain();
    let end = message.floor_char_boundary(WORD_BYTES_MAX / 8);
    message.truncate(end);
    Word::Failed { why: error.why(), message }
}

/// A server that is gone is told nothing.
fn tell(socket: &OwnedFd, word: &Word) {
    let _ = fd::send(socket.as_fd(), &serde_json::to_vec(word).unwrap_or_default(), &[]);
}

#[cfg(test)]
mod tests;
