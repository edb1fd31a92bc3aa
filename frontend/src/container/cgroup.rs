//! The tab *cgroup*: each controller's limits and usage, each figure beside the kernel's file that it equals.

use askama::Template;
use belljar_model::Container;
use belljar_model::cgroup::{Cgroup, Controller, Figure, RawFile, Unit, Value};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Frame, Part, figure};

/// The page `/containers/{name}/cgroup`.
#[derive(Template)]
#[template(path = "container/cgroup.html")]
pub struct CgroupPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// Its cgroup; `None` where it is not alive.
    pub cgroup: Option<&'a Cgroup>,
}
tab!(CgroupPage, Cgroup, |page| Stream::Container(&page.container.id));

impl CgroupPage<'_> {
    fn raw<'c>(&self, controller: &'c Controller) -> Part<Raw<'c>> {
        Part(Raw { name: &controller.name, files: &controller.files })
    }

    fn groups<'c>(&self, controller: &'c Controller) -> [(&'static str, &'c [Figure]); 2] {
        [("Limits", &controller.limits), ("Usage", &controller.usage)]
    }
}

/// A controller's files, unread.
#[derive(Template)]
#[template(path = "container/raw.html")]
struct Raw<'a> {
    name: &'a str,
    files: &'a [RawFile],
}

/// A figure's value with its unit.
fn value(figure: &Figure) -> String {
    match (figure.value, figure.unit) {
        (Value::Unlimited, _) => "no limit".to_owned(),
        (Value::Unknown, _) => figure::UNKNOWN.to_owned(),
        (Value::Number(number), Unit::Bytes) => figure::bytes(number as u64),
        (Value::Number(number), Unit::Usec) => figure::usec(number as u64),
        (Value::Number(number), Unit::Count) => figure::count(number as u64),
        (Value::Number(number), Unit::Cpus) => format!("{} CPU", figure::decimal(number)),
    }
}

/// `memory_bytes_max` as words.
fn label(name: &str) -> String {
    name.replace('_', " ")
}

/// The kernel's file without the folder that is said above the table already.
fn file<'a>(source: &'a str, folder: &str) -> &'a str {
    source.strip_prefix(folder).map_or(source, |rest| rest.trim_start_matches('/'))
}
