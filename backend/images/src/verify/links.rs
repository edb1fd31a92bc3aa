//! The symbolic links of a layer's archive, entry by entry: where each led when what lies behind it was unpacked. The tree has only
//! what is left at the end.

use std::collections::BTreeMap;

use belljar_archive::Kind;

use super::{Flavour, Place, place};
use crate::tree::{join, resolve, split};

/// Most bytes of links that are kept: what the folders of an archive may take while it is unpacked. 64 MiB.
const LINKS_BYTES_MAX: usize = 64 << 20;

/// Links by their paths.
#[derive(Debug, Default)]
pub(super) struct Links {
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl Links {
    /// Where a folder lies that the archive calls `path`.
    pub(super) fn real(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        if self.targets.is_empty() {
            return Ok(path.to_vec());
        }
        let real = resolve(path, |path| Ok(self.targets.get(path).cloned()));
        real.map_err(|errno| format!("a folder of it leads through too many links ({errno})"))
    }

    /// Where something lies that the archive calls `path`: its folder's links are followed, and not its own.
    pub(super) fn placed(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        let (parent, name) = split(path);
        if path.is_empty() { Ok(Vec::new()) } else { Ok(join(&self.real(parent)?, name)) }
    }

    /// Takes note of an entry at `path`.
    pub(super) fn enter(&mut self, path: &[u8], kind: &Kind) -> Result<(), String> {
        if *kind == Kind::Folder {
            // Of a folder over a folder all stays.
            self.remove(path);
            return Ok(());
        }
        let target = match kind {
            Kind::Symlink { target } => Some(target.clone()),
            Kind::Hardlink { target } => self.hard_linked(target),
            _ => None,
        };
        self.remove(path);
        let below = join(path, b"");
        let gone: Vec<Vec<u8>> =
            self.targets.range(below.clone()..).map(|(link, _)| link).take_while(|link| link.starts_with(&below)).cloned().collect();
        gone.iter().for_each(|link| self.remove(link));
        if let Some(target) = target {
            self.bytes += path.len() + target.len();
            self.targets.insert(path.to_vec(), target);
        }
        if self.bytes > LINKS_BYTES_MAX { Err("it has more symbolic links than can be followed".to_owned()) } else { Ok(()) }
    }

    /// A second name of a link leads where the first does.
    fn hard_linked(&self, target: &[u8]) -> Option<Vec<u8>> {
        let Ok(Place::At(target)) = place::read(target, Flavour::Layer) else { return None };
        self.targets.get(&self.placed(&target).ok()?).cloned()
    }

    fn remove(&mut self, path: &[u8]) {
        if let Some(target) = self.targets.remove(path) {
            self.bytes -= path.len() + target.len();
        }
    }
}
