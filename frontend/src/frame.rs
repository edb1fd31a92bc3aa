//! What stands around every page: the bar with the sections, the notice, and where the live parts come from.

use crate::live::Stream;

/// What every page is told about the moment and the person.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Hostname of the machine, in the bar.
    pub hostname: &'a str,
    /// How the person came in.
    pub access: Access,
    /// What the last request did, said once.
    pub notice: Option<Notice<'a>>,
    /// Now, in Unix milliseconds: ages and uptimes are counted from it.
    pub now_ms: i64,
}

/// How the person came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// With a password: can sign out.
    Session,
    /// Over the socket, or with a token: nothing to sign out of.
    Trusted,
    /// Not at all: sees no section, only the way in.
    Nobody,
}

impl Access {
    /// Whether nobody came in.
    pub fn is_nobody(self) -> bool {
        self == Access::Nobody
    }

    /// Whether there is a session to sign out of.
    pub fn is_session(self) -> bool {
        self == Access::Session
    }
}

/// One sentence about what was just done.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Whether it is good news.
    pub tone: Tone,
    /// The sentence.
    pub text: &'a str,
}

/// How something is to be taken; decides colour, and never stands without words beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Neither good nor bad.
    Plain,
    /// To be looked at.
    Warn,
    /// Failed.
    Bad,
}

impl Tone {
    /// Class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Plain => "plain",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
        }
    }
}

/// The sections of the bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Containers,
    Images,
    Volumes,
    Events,
    Host,
    Settings,
    None,
}

impl Section {
    const ALL: [Section; 6] = [Section::Containers, Section::Images, Section::Volumes, Section::Events, Section::Host, Section::Settings];

    fn name(self) -> &'static str {
        match self {
            Section::Containers => "Containers",
            Section::Images => "Images",
            Section::Volumes => "Volumes",
            Section::Events => "Events",
            Section::Host => "Host",
            Section::Settings => "Settings",
            Section::None => "",
        }
    }

    fn href(self) -> &'static str {
        match self {
            Section::Containers => "/containers",
            Section::Images => "/images",
            Section::Volumes => "/volumes",
            Section::Events => "/events",
            Section::Host => "/host",
            Section::Settings => "/settings",
            Section::None => "/",
        }
    }
}

/// One entry of the bar, as `base.html` draws it.
pub(crate) struct NavEntry {
    pub(crate) name: &'static str,
    pub(crate) href: &'static str,
    pub(crate) current: bool,
}

/// What `base.html` asks of every page.
pub(crate) trait Page {
    /// First part of the window's title.
    fn title(&self) -> String;
    /// Which entry of the bar is marked.
    fn section(&self) -> Section;
    /// Where its live parts come from.
    fn live(&self) -> Option<Stream<'_>> {
        None
    }

    /// The bar's entries.
    fn nav(&self) -> [NavEntry; 6] {
        Section::ALL.map(|section| NavEntry { name: section.name(), href: section.href(), current: section == self.section() })
    }
}
