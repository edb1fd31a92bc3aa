//! The tab *namespaces*: each by its inode beside the host's.

use askama::Template;
use belljar_model::Container;
use belljar_model::namespace::{Namespace, Sharing};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Frame, figure, words};

/// The page `/containers/{name}/namespaces`.
#[derive(Template)]
#[template(path = "container/namespaces.html")]
pub struct Namespaces<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// Its namespaces; empty where it is not alive.
    pub namespaces: &'a [Namespace],
}
tab!(Namespaces, Namespaces, |page| Stream::Container(&page.container.id));

/// An inode, or a dash where this kernel has no such namespace.
fn inode(inode: &Option<u64>) -> String {
    inode.map_or_else(|| figure::UNKNOWN.to_owned(), |inode| inode.to_string())
}
