//! One container: its head (state, buttons), the tabs, and what each shows.

mod cgroup;
mod difference;
mod findings;
mod gone;
mod health;
mod history;
mod isolation;
mod limits;
mod logs;
mod mounts;
mod namespaces;
mod overlay;
mod overview;
mod plan;
mod usage;

use askama::Template;
use belljar_model::machine::{Force, Request, Verdict, admit};
use belljar_model::{Container, Event, Signal, State, warning};

use crate::containers::Span;
use crate::events::Table;
use crate::frame::{Page, Section};
use crate::live::Stream;
use crate::words::Ending;
use crate::{Error, Frame, Part, figure};

pub use cgroup::CgroupPage;
pub use difference::DifferencePage;
pub use findings::findings;
pub(crate) use findings::tone;
pub use gone::Gone;
pub use health::health;
pub(crate) use health::health_tone;
pub use history::{Drawing, Past, Range};
pub use limits::{LimitsPage, limits_now};
pub use logs::{Filter, Logs, log, log_line};
pub use mounts::{MountsPage, mounts};
pub use namespaces::Namespaces;
pub use overlay::{Body as OverlayBody, Changes, Overlay};
pub use overview::Overview;
pub use plan::Plan;
pub use usage::usage;

/// The `id` of the head, to say that the container is gone.
pub const HEADER_ID: &str = "head";

/// The head of a container's pages: name, state, how it ended, buttons.
pub fn header(container: &Container, now_ms: i64) -> Result<String, Error> {
    Header { container, now_ms }.render()
}

#[derive(Template)]
#[template(path = "container/header.html")]
pub(crate) struct Header<'a> {
    container: &'a Container,
    now_ms: i64,
}

impl<'a> Header<'a> {
    fn span(&self) -> Span<'a> {
        Span { container: self.container, now_ms: self.now_ms }
    }

    /// How it ended last, also while it runs again.
    fn last_ending(&self) -> Option<(Ending, i64)> {
        let exit = self.container.exit.as_ref()?;
        (self.container.state != State::Stopped).then(|| (Ending::of(exit), exit.at_ms))
    }

    fn actions(&self) -> Vec<Action> {
        actions(self.container.state)
    }

    /// What of its protection it goes without.
    fn warnings(&self) -> Vec<String> {
        warning::of(self.container)
    }
}

/// A button of a container: what it asks, and whether that can be asked now.
pub(crate) struct Action {
    /// Last part of the path it posts to.
    pub(crate) path: &'static str,
    /// On the button.
    pub(crate) label: &'static str,
    /// Whether it would do something.
    pub(crate) possible: bool,
}

/// The buttons in their order; the model's table decides which of them can be pressed.
pub(crate) fn actions(state: State) -> Vec<Action> {
    let all = [
        ("start", "Start", Request::Start),
        ("stop", "Stop", Request::Stop),
        ("restart", "Restart", Request::Restart),
        ("pause", "Pause", Request::Pause),
        ("resume", "Resume", Request::Resume),
        ("kill", "Kill", Request::Kill(Signal::KILL)),
    ];
    // To restart what does not run is to start it: one button is enough.
    let possible = |request| admit(state, request) == Verdict::Do && (state.is_alive() || request != Request::Restart);
    let action = |(path, label, request)| Action { path, label, possible: possible(request) };
    all.map(action).into_iter().collect()
}

/// Whether a delete needs force.
pub(crate) fn needs_force(state: State) -> bool {
    admit(state, Request::Delete(Force::No)) != Verdict::Do
}

/// A tab of the container's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Overview,
    Limits,
    Namespaces,
    Cgroup,
    Mounts,
    Overlay,
    Logs,
    Events,
    Plan,
}

impl Tab {
    pub(crate) const ALL: [Tab; 9] =
        [Tab::Overview, Tab::Limits, Tab::Namespaces, Tab::Cgroup, Tab::Mounts, Tab::Overlay, Tab::Logs, Tab::Events, Tab::Plan];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tab::Overview => "Overview",
            Tab::Limits => "Limits",
            Tab::Namespaces => "Namespaces",
            Tab::Cgroup => "Cgroup",
            Tab::Mounts => "Mounts",
            Tab::Overlay => "Overlay",
            Tab::Logs => "Logs",
            Tab::Events => "Events",
            Tab::Plan => "Plan",
        }
    }

    /// What follows the container's path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Tab::Overview => "",
            Tab::Limits => "/limits",
            Tab::Namespaces => "/namespaces",
            Tab::Cgroup => "/cgroup",
            Tab::Mounts => "/mounts",
            Tab::Overlay => "/overlay",
            Tab::Logs => "/logs",
            Tab::Events => "/events",
            Tab::Plan => "/plan",
        }
    }
}

/// What `container/tabs.html` asks of every tab.
pub(crate) trait TabPage {
    fn container(&self) -> &Container;
    fn now_ms(&self) -> i64;
    fn tab(&self) -> Tab;

    fn header(&self) -> Part<Header<'_>> {
        Part(Header { container: self.container(), now_ms: self.now_ms() })
    }
}

/// Gives a tab's struct what the frame and the tabs ask of it. The last argument says where its live parts come from.
macro_rules! tab {
    ($type:ident, $tab:ident, |$page:ident| $stream:expr) => {
        impl crate::container::TabPage for $type<'_> {
            fn container(&self) -> &belljar_model::Container {
                self.container
            }
            fn now_ms(&self) -> i64 {
                self.frame.now_ms
            }
            fn tab(&self) -> crate::container::Tab {
                crate::container::Tab::$tab
            }
        }
        impl crate::frame::Page for $type<'_> {
            fn title(&self) -> String {
                format!("{} · {}", self.container.config.name, crate::container::Tab::$tab.name())
            }
            fn section(&self) -> crate::frame::Section {
                crate::frame::Section::Containers
            }
            fn live(&self) -> Option<crate::live::Stream<'_>> {
                let $page = self;
                Some($stream)
            }
        }
    };
}
pub(crate) use tab;

/// The page `/containers/{name}/delete`, which asks before it is done. Posts to `/containers/{id}/delete`, with
/// `force=yes` where it is alive.
#[derive(Template)]
#[template(path = "container/delete.html")]
pub struct Delete<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What would be gone.
    pub container: &'a Container,
}

impl Page for Delete<'_> {
    fn title(&self) -> String {
        format!("Delete {}", self.container.config.name)
    }

    fn section(&self) -> Section {
        Section::Containers
    }
}

impl Delete<'_> {
    fn needs_force(&self) -> bool {
        needs_force(self.container.state)
    }
}

/// The page `/containers/{name}/events`.
#[derive(Template)]
#[template(path = "container/events.html")]
pub struct Events<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// Its events, newest first.
    pub events: &'a [Event],
    /// Where the page begins (`?before=`); only the newest page, which begins nowhere, shows what happens from now on.
    pub before: Option<i64>,
    /// The `before_id` of the next, older page (`?before=`); `None` where there is none.
    pub older: Option<i64>,
}
tab!(Events, Events, |page| match page.before {
    None => Stream::ContainerEvents(&page.container.id),
    Some(_) => Stream::Container(&page.container.id),
});

impl<'a> Events<'a> {
    fn table(&self) -> Part<Table<'a>> {
        Part(Table { events: self.events, now_ms: self.frame.now_ms })
    }
}
