//! A container that was deleted: what it used, and what happened to it, until both have aged out.

use askama::Template;
use belljar_model::{ContainerId, Event};

use super::history::{Charts, Past};
use crate::events::Table;
use crate::frame::{Page, Section};
use crate::{Frame, Part, figure};

/// The page `/containers/{id}` of a container that is gone.
#[derive(Template)]
#[template(path = "container/gone.html")]
pub struct Gone<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Which one it was.
    pub id: &'a ContainerId,
    /// What it used, and what happened meanwhile.
    pub past: Past<'a>,
}

impl Page for Gone<'_> {
    fn title(&self) -> String {
        format!("{} · Deleted", self.name())
    }

    fn section(&self) -> Section {
        Section::Containers
    }
}

impl<'a> Gone<'a> {
    /// Its last name; where the diary has forgotten it, the beginning of its id.
    fn name(&self) -> &'a str {
        self.past.events.first().map_or(self.id.short(), |event| &event.subject)
    }

    /// The last that happened to it.
    fn end(&self) -> Option<&'a Event> {
        self.past.events.first()
    }

    fn charts(&self) -> Part<Charts<'a>> {
        Part(Charts { id: self.id, past: self.past, now_ms: self.frame.now_ms })
    }

    fn table(&self) -> Part<Table<'a>> {
        Part(Table { events: self.past.events, now_ms: self.frame.now_ms })
    }
}
