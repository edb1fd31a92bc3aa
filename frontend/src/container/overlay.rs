//! The tab *overlay*: the stack of layers, the merged tree by folder, and what the container changed.

use askama::Template;
use belljar_model::Container;
use belljar_model::overlay::{Change, Entry, FileKind, Layer, Role, Stack, Status};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Error, Frame, Part, figure, words};

/// The page `/containers/{name}/overlay?path=`.
#[derive(Template)]
#[template(path = "container/overlay.html")]
pub struct Overlay<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// Its layers.
    pub stack: &'a Stack,
    /// The folder that is shown, from the container's root, with a leading slash.
    pub path: &'a str,
    /// What is in it.
    pub entries: &'a [Entry],
    /// What the container changed, anywhere.
    pub changes: Changes<'a>,
}
tab!(Overlay, Overlay, |page| Stream::Overlay(&page.container.id, page.path));

impl<'a> Overlay<'a> {
    fn body(&self) -> Part<Body<'a>> {
        let Overlay { container, stack, path, entries, changes, .. } = *self;
        Part(Body { container, stack, path, entries, changes })
    }
}

/// What the tab shows, as one element, which is sent again as files change.
#[derive(Template, Clone, Copy)]
#[template(path = "container/overlay_body.html")]
pub struct Body<'a> {
    /// Whose it is.
    pub container: &'a Container,
    /// Its layers.
    pub stack: &'a Stack,
    /// The folder that is shown, from the container's root, with a leading slash.
    pub path: &'a str,
    /// What is in it.
    pub entries: &'a [Entry],
    /// What the container changed, anywhere.
    pub changes: Changes<'a>,
}

impl Body<'_> {
    /// The element.
    pub fn html(&self) -> Result<String, Error> {
        self.render()
    }
}

/// The changes, or why they are not shown.
#[derive(Debug, Clone, Copy)]
pub enum Changes<'a> {
    /// All of them.
    Known(&'a [Change]),
    /// Too many, or not readable: one sentence.
    Unknown(&'a str),
}

/// Most changes that the page draws; the API has them all.
const CHANGES_SHOWN_MAX: usize = 500;

/// One part of the path above the tree.
struct Crumb<'a> {
    name: &'a str,
    path: &'a str,
}

impl<'a> Body<'a> {
    fn crumbs(&self) -> Vec<Crumb<'a>> {
        let ends = self.path.match_indices('/').map(|(index, _)| index).skip(1).chain([self.path.len()]);
        let parents = ends.map(|end| &self.path[..end]).filter(|path| !path.ends_with('/') && !path.is_empty());
        parents.map(|path| Crumb { name: path.rsplit('/').next().unwrap_or(path), path }).collect()
    }

    fn is_root(&self) -> bool {
        self.path == "/"
    }

    /// Where its forms and further pages are.
    fn base(&self) -> String {
        format!("/containers/{}/overlay", self.container.id)
    }

    /// What is in the folder, without the folder.
    fn content_path(&self) -> String {
        format!("{}/.", self.path.trim_end_matches('/'))
    }

    fn known_changes(&self) -> &'a [Change] {
        match self.changes {
            Changes::Known(changes) => changes,
            Changes::Unknown(_) => &[],
        }
    }

    fn shown_changes(&self) -> &'a [Change] {
        let changes = self.known_changes();
        &changes[..changes.len().min(CHANGES_SHOWN_MAX)]
    }

    fn count(&self, status: &Status) -> usize {
        self.known_changes().iter().filter(|change| change.status == *status).count()
    }

    /// What its own layer may take.
    fn bytes_max(&self) -> Option<u64> {
        self.stack.quota.and_then(|quota| quota.bytes_max)
    }

    fn upper_bytes(&self) -> u64 {
        let measured = self.stack.layers.first().and_then(|layer| layer.size_bytes);
        measured.unwrap_or_else(|| self.known_changes().iter().map(|change| change.size_bytes).sum())
    }

    /// The layer that `entry` comes from, in a word or two.
    fn layer_label(&self, entry: &Entry) -> &'a str {
        self.stack.layers.get(entry.layer).map_or(figure::UNKNOWN, |layer| layer.label.as_str())
    }

    fn layer_role(&self, entry: &Entry) -> &'static str {
        self.stack.layers.get(entry.layer).map_or("", |layer| layer.role.as_str())
    }
}

/// What the container may have done, in the order in which it is counted.
const CHANGED: [Status; 5] = [Status::Added, Status::Modified, Status::Metadata, Status::Replaced, Status::Deleted];

fn is_changed(status: &Status) -> bool {
    *status != Status::Unchanged
}

/// Whether there is something below to hold it against.
fn has_difference(status: &Status) -> bool {
    !matches!(status, Status::Unchanged | Status::Added)
}

/// The layers that an entry hides, as they are numbered.
fn numbers(entry: &Entry) -> String {
    entry.hides.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether `entry` is a folder that can be looked into: a deleted one has nothing left to see.
fn is_open(entry: &Entry) -> bool {
    entry.kind == FileKind::Directory && entry.status != Status::Deleted
}

/// Whether a size means something.
fn is_file(entry: &Entry) -> bool {
    entry.kind == FileKind::File
}

/// The command that made a layer, where its label is not that command already.
fn command(layer: &Layer) -> Option<&str> {
    layer.command.as_deref().filter(|command| *command != layer.label)
}

/// Folder that `path` lies in.
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}
