//! The form that makes a container: its fields as they were typed, and the message at the one that is wrong.

use askama::Template;
use belljar_model::limits::HostCapacity;
use belljar_model::{Image, Invalid};
use serde::Deserialize;

use crate::frame::{Page, Section};
use crate::{Frame, figure};

/// The fields of the form as text, exactly as the browser sends them. A field that is missing is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Values {
    /// Name; empty: one is made up.
    pub name: String,
    /// Name of the image.
    pub image: String,
    /// Program and arguments in one line, quoted as for a shell.
    pub command: String,
    /// One `KEY=value` per line.
    pub env: String,
    /// Hostname inside.
    pub hostname: String,
    /// `user[:group]`.
    pub user: String,
    /// Working folder inside.
    pub workdir: String,
    /// Memory, such as `64m`.
    pub memory: String,
    /// Swap on top of it, such as `0` or `64m`.
    pub swap: String,
    /// Processors, such as `0.5`.
    pub cpus: String,
    /// Most processes.
    pub pids: String,
    /// One mount per line: `/host:/container[:ro]`, `layer:/path`, `tmpfs:/path[:size]`.
    pub mounts: String,
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub restart: String,
    /// Anything where the box is ticked.
    pub start: String,
}

impl Values {
    /// What the empty form begins with.
    pub fn fresh() -> Self {
        Self { image: "host".into(), restart: "no".into(), start: "yes".into(), ..Self::default() }
    }
}

/// The page `/containers/new`; also the answer to a form that was wrong.
#[derive(Template)]
#[template(path = "create.html")]
pub struct Form<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What the fields hold.
    pub values: &'a Values,
    /// What can be chosen.
    pub images: &'a [Image],
    /// What this host has, said beside the limits.
    pub host: HostCapacity,
    /// What is wrong, in the model's words; shown at its field.
    pub invalid: Option<&'a Invalid>,
}

impl Page for Form<'_> {
    fn title(&self) -> String {
        "New container".into()
    }

    fn section(&self) -> Section {
        Section::Containers
    }
}

/// The restart policies, by the word that is sent and the words that are read.
const RESTARTS: [(&str, &str); 4] = [
    ("no", "it stays stopped"),
    ("on-failure", "start it again on failure"),
    ("unless-stopped", "start it again, unless I stopped it"),
    ("always", "always start it again"),
];

/// The names of the form's fields, by which templates ask for messages.
const FIELDS: [&str; 13] =
    ["name", "image", "command", "env", "hostname", "user", "workdir", "memory", "swap", "cpus", "pids", "mounts", "restart"];

impl Form<'_> {
    /// The field of the form that holds the model's field: `mounts[2].source` is typed in `mounts`.
    fn wrong_field(&self) -> Option<&'static str> {
        let path = self.invalid?.field.as_str();
        let name = match path.strip_prefix("limits.").unwrap_or(path) {
            "memory_bytes" => "memory",
            "memory_swap_bytes" => "swap",
            other => other.split(['.', '[']).next().unwrap_or(other),
        };
        FIELDS.into_iter().find(|field| *field == name)
    }

    /// The message at `field`, where that is the wrong one.
    fn problem(&self, field: &str) -> Option<&str> {
        self.invalid.filter(|_| self.wrong_field() == Some(field)).map(|invalid| invalid.problem.as_str())
    }

    /// The message at the top, where no field of the form is to blame.
    fn other_problem(&self) -> Option<String> {
        self.invalid.filter(|_| self.wrong_field().is_none()).map(ToString::to_string)
    }

    /// Whether the part that is folded away must be seen.
    fn shows_more(&self) -> bool {
        let values = self.values;
        let filled = [&values.env, &values.hostname, &values.user, &values.workdir, &values.mounts].iter().any(|text| !text.is_empty());
        filled || matches!(self.wrong_field(), Some("env" | "hostname" | "user" | "workdir" | "mounts"))
    }
}
