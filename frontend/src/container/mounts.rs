//! The tab *mounts*: what the kernel has where, beside what was asked for.

use askama::Template;
use belljar_model::Container;
use belljar_model::mounted::{Mounted, Mounts, Origin};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Error, Frame, Part};

/// The page `/containers/{name}/mounts`.
#[derive(Template)]
#[template(path = "container/mounts.html")]
pub struct MountsPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// What is mounted in it.
    pub mounts: &'a Mounts,
}
tab!(MountsPage, Mounts, |page| Stream::Mounts(&page.container.id));

impl<'a> MountsPage<'a> {
    fn table(&self) -> Part<Table<'a>> {
        Part(Table { mounts: self.mounts })
    }
}

/// The table of mounts as one element, which is sent again when a container starts or ends.
pub fn mounts(mounts: &Mounts) -> Result<String, Error> {
    Table { mounts }.render()
}

#[derive(Template)]
#[template(path = "container/mount_table.html")]
struct Table<'a> {
    mounts: &'a Mounts,
}

/// Mounts that belong together.
struct Group<'a> {
    /// Of its element, which stays open or closed when the part is sent again.
    id: &'static str,
    title: &'static str,
    mounts: Vec<&'a Mounted>,
}

/// The groups in their order, each with the origins that belong to it.
const GROUPS: [(&str, &str, &[Origin]); 4] = [
    ("mounts-asked", "Its root, and what was asked for", &[Origin::Overlay, Origin::Bind, Origin::Volume, Origin::Tmpfs]),
    ("mounts-other", "What nobody asked for: mounted by its programs, or come along with a bind", &[Origin::Other]),
    ("mounts-standard", "What every container has", &[Origin::Standard, Origin::Cgroup, Origin::Device]),
    ("mounts-kept", "Kept from it", &[Origin::Readonly, Origin::Masked]),
];

impl Group<'_> {
    /// Whether it is of this container alone; what is alike in all of them is folded.
    fn is_of_this_one(&self) -> bool {
        matches!(self.id, "mounts-asked" | "mounts-other")
    }
}

impl<'a> Table<'a> {
    fn groups(&self) -> Vec<Group<'a>> {
        let of = |(id, title, origins): (&'static str, &'static str, &[Origin])| {
            let mounts = self.mounts.mounts.iter().filter(|mount| origins.contains(&mount.origin)).collect();
            Group { id, title, mounts }
        };
        GROUPS.into_iter().map(of).filter(|group| !group.mounts.is_empty()).collect()
    }
}

/// A path in one line: what would end the line is shown as a sign.
fn line(path: &str) -> String {
    path.replace('\n', "\u{240a}").replace('\r', "\u{240d}").replace('\t', "\u{2409}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mount_is_in_one_group_whatever_its_origin() {
        let origins = [
            Origin::Overlay,
            Origin::Bind,
            Origin::Volume,
            Origin::Tmpfs,
            Origin::Cgroup,
            Origin::Standard,
            Origin::Device,
            Origin::Masked,
            Origin::Readonly,
            Origin::Other,
        ];
        let mount = |origin| Mounted { target: "/x".into(), origin, asked: String::new(), kernel: None };
        let mounts = Mounts { source: None, complete: true, mounts: origins.map(mount).to_vec() };
        let grouped: usize = Table { mounts: &mounts }.groups().iter().map(|group| group.mounts.len()).sum();
        assert_eq!(grouped, origins.len());
    }

    #[test]
    fn a_path_stays_in_its_line() {
        assert_eq!(line("/a b\nc\r"), "/a b\u{240a}c\u{240d}");
    }
}
