//! Layers that are damaged, set aside while they are fetched anew: what is missing is fetched, and what is damaged would not be.
//!
//! ```text
//! in its place ── set_aside ──▶ damaged/<sha256>{,.skeleton} ──▶ the layer came again   ──▶ removed
//!      ▲                                     │                └▶ it did not, or a crash ─┐
//!      └──────────── put_back ───────────────┴───────────────────────────────────────────┘
//! ```
//! A damaged layer is better than none: it is not given up before there is a whole one. It must never know where that comes from.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::store::{Error, Images};
use crate::tree;

/// What the skeleton of a layer that is set aside is called beside it.
const SKELETON_END: &str = ".skeleton";

impl Images {
    fn aside(&self, digest: &Digest) -> [PathBuf; 2] {
        let tree = self.damaged().join(digest.hex());
        let skeleton = self.damaged().join(digest.hex() + SKELETON_END);
        [tree, skeleton]
    }

    /// Sets a layer aside that no process may be using. False where somebody holds it: then nothing is done.
    pub fn set_aside(&self, digest: &Digest) -> Result<bool, Error> {
        let [tree, skeleton] = self.aside(digest);
        // The tree first: what is in its place has a skeleton.
        let moved = self.unless_pinned(digest, || {
            move_over(&self.layer_path(digest), &tree).and_then(|()| move_over(&self.skeleton_path(digest), &skeleton))
        });
        let Some(moved) = moved else { return Ok(false) };
        moved.map_err(Error::folder("set aside", &self.layer_path(digest)))?;
        Ok(true)
    }

    /// Puts a layer back that was set aside, unless there is a new one by now; then, or where it never was, what is left of it goes.
    pub fn put_back(&self, digest: &Digest) -> Result<(), Error> {
        let [tree, skeleton] = self.aside(digest);
        let place = self.layer_path(digest);
        if !place.exists() && tree.exists() {
            let back = move_over(&skeleton, &self.skeleton_path(digest)).and_then(|()| move_over(&tree, &place));
            back.map_err(Error::folder("put back", &place))?;
        }
        [tree, skeleton].iter().try_for_each(|path| tree::remove(path).map_err(Error::folder("remove", path)))
    }

    /// Puts back what a crash left aside, where it is `kept` and nothing new is there; the rest goes.
    pub(crate) fn settle_aside(&self, kept: &BTreeSet<String>) -> Result<(), Error> {
        let folder = self.damaged();
        for name in tree::names(&folder).map_err(Error::folder("list", &folder))? {
            let text = name.to_str().unwrap_or_default();
            let hex = text.strip_suffix(SKELETON_END).unwrap_or(text);
            match Digest::from_hex(hex).filter(|_| kept.contains(hex)) {
                Some(digest) => self.put_back(&digest)?,
                None => tree::remove(&folder.join(&name)).map_err(Error::folder("remove", &folder))?,
            }
        }
        Ok(())
    }
}

/// One rename; what is missing is fine.
fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
