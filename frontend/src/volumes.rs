//! Volumes: what Belljar keeps for containers, who has it, and what is in it.

use askama::Template;
use belljar_model::Invalid;
use belljar_model::host::Space;
use belljar_model::overlay::FileKind;
use belljar_model::volume::{Kept, VolumeFile};

use crate::frame::{Page, Section};
use crate::live::Stream;
use crate::{Error, Frame, Part, figure, words};

/// Most containers named beside a volume.
const USERS_SHOWN_MAX: usize = 5;
/// Most entries of a folder that the page draws; the API has them all.
const FILES_SHOWN_MAX: usize = 2000;

/// The page `/volumes`; also the answer to a form that was refused.
#[derive(Template)]
#[template(path = "volumes.html")]
pub struct VolumesPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What there is.
    pub volumes: &'a [Kept],
    /// How full their disk is; `None` where it does not say.
    pub space: Option<&'a Space>,
    /// The name that was typed into the form.
    pub name: &'a str,
    /// What is wrong with it.
    pub invalid: Option<&'a Invalid>,
}

impl Page for VolumesPage<'_> {
    fn title(&self) -> String {
        "Volumes".into()
    }

    fn section(&self) -> Section {
        Section::Volumes
    }

    fn live(&self) -> Option<Stream<'_>> {
        Some(Stream::Volumes)
    }
}

/// All rows of the list as one element, which is sent again when a volume comes, goes, is used or grows.
pub fn rows(volumes: &[Kept]) -> Result<String, Error> {
    Rows { volumes }.render()
}

#[derive(Template)]
#[template(path = "volumes/rows.html")]
struct Rows<'a> {
    volumes: &'a [Kept],
}

/// The page `/prune/volumes`, which shows what a prune would delete. Posts to the same path: `only`, the names that it shows.
#[derive(Template)]
#[template(path = "volumes/prune.html")]
pub struct PruneVolumes<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What it would delete now.
    pub volumes: &'a [Kept],
    /// `yes` where volumes that have a name are meant too; empty else.
    pub all: &'a str,
}

impl Page for PruneVolumes<'_> {
    fn title(&self) -> String {
        "Prune volumes".into()
    }

    fn section(&self) -> Section {
        Section::Volumes
    }
}

impl PruneVolumes<'_> {
    fn bytes(&self) -> u64 {
        self.volumes.iter().filter_map(|kept| kept.measure).map(|measure| measure.size_bytes).sum()
    }

    /// The names of what is shown: what is left by its last container meanwhile is not taken.
    fn names(&self) -> String {
        self.volumes.iter().map(|kept| kept.volume.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

impl<'a> VolumesPage<'a> {
    fn rows(&self) -> Part<Rows<'a>> {
        Part(Rows { volumes: self.volumes })
    }

    fn problem(&self) -> Option<&str> {
        self.invalid.map(|invalid| invalid.problem.as_str())
    }
}

/// The page `/volumes/{name}?path=`.
#[derive(Template)]
#[template(path = "volume.html")]
pub struct VolumePage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Which.
    pub volume: &'a Kept,
    /// The folder that is shown, without slashes around it; empty for the top.
    pub path: &'a str,
    /// What is in it.
    pub files: &'a [VolumeFile],
}

impl Page for VolumePage<'_> {
    fn title(&self) -> String {
        format!("{} · Volumes", self.volume.volume.name.short())
    }

    fn section(&self) -> Section {
        Section::Volumes
    }

    fn live(&self) -> Option<Stream<'_>> {
        Some(Stream::Volume(self.volume.volume.name.as_str(), self.path))
    }
}

impl<'a> VolumePage<'a> {
    fn body(&self) -> Part<Body<'a>> {
        Part(Body { volume: self.volume, path: self.path, files: self.files })
    }
}

/// The `id` of the whole page, to say that the volume is gone.
pub const BODY_ID: &str = "volume-body";

/// The whole page as one element, which is sent again as files come and go.
pub fn body(volume: &Kept, path: &str, files: &[VolumeFile]) -> Result<String, Error> {
    Body { volume, path, files }.render()
}

#[derive(Template)]
#[template(path = "volumes/body.html")]
struct Body<'a> {
    volume: &'a Kept,
    path: &'a str,
    files: &'a [VolumeFile],
}

/// One part of the path above the files.
struct Crumb<'a> {
    name: &'a str,
    path: &'a str,
}

impl<'a> Body<'a> {
    fn crumbs(&self) -> Vec<Crumb<'a>> {
        let ends = self.path.match_indices('/').map(|(end, _)| end).chain([self.path.len()]);
        let crumb = |end: usize| Crumb { name: self.path[..end].rsplit('/').next().unwrap_or_default(), path: &self.path[..end] };
        ends.filter(|_| !self.path.is_empty()).map(crumb).collect()
    }

    /// The folder that this one lies in; `None` at the top.
    fn parent(&self) -> Option<&'a str> {
        (!self.path.is_empty()).then(|| self.path.rsplit_once('/').map_or("", |(parent, _)| parent))
    }

    /// Path of something in this folder.
    fn path_of(&self, file: &VolumeFile) -> String {
        if self.path.is_empty() { file.name.clone() } else { format!("{}/{}", self.path, file.name) }
    }

    fn shown(&self) -> &'a [VolumeFile] {
        &self.files[..self.files.len().min(FILES_SHOWN_MAX)]
    }
}

/// Who has a volume, in words.
fn users(kept: &Kept) -> String {
    let names: Vec<&str> = kept.users.iter().take(USERS_SHOWN_MAX).map(|user| user.container.as_str()).collect();
    match kept.users.len().saturating_sub(USERS_SHOWN_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// How much is in a volume, in words.
fn size(kept: &Kept) -> String {
    match kept.measure {
        None => figure::UNKNOWN.to_owned(),
        Some(measure) if measure.complete => figure::bytes(measure.size_bytes),
        Some(measure) => format!("over {}", figure::bytes(measure.size_bytes)),
    }
}

/// How many entries, in words.
fn entries(kept: &Kept) -> String {
    match kept.measure {
        None => figure::UNKNOWN.to_owned(),
        Some(measure) if measure.complete => figure::count(measure.entries),
        Some(measure) => format!("over {}", figure::count(measure.entries)),
    }
}

fn is_folder(file: &VolumeFile) -> bool {
    file.kind == FileKind::Directory
}

fn is_file(file: &VolumeFile) -> bool {
    file.kind == FileKind::File
}
