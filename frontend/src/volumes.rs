//! Volumes: what Belljar keeps for containers, who has it, and what is in it.

use askama::Template;
use belljar_model::Invalid;
use belljar_model::host::Space;
use belljar_model::overlay::FileKind;
use belljar_model::volume::{Kept, VolumeFile};

use crate::frame::{Page, Section};
use crate::{Frame, figure, words};

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
}

impl VolumesPage<'_> {
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
}

/// One part of the path above the files.
struct Crumb<'a> {
    name: &'a str,
    path: &'a str,
}

impl<'a> VolumePage<'a> {
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
