//! One file that the container changed, beside what the layers below have.

use askama::Template;
use belljar_model::Container;
use belljar_model::overlay::{Difference, Row, RowKind, Stack, Status};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Frame, figure, words};

/// The page `/containers/{name}/overlay/difference?path=`.
#[derive(Template)]
#[template(path = "container/difference.html")]
pub struct DifferencePage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// Its layers.
    pub stack: &'a Stack,
    /// What is shown.
    pub difference: &'a Difference,
}
tab!(DifferencePage, Overlay, |page| Stream::Container(&page.container.id));

/// One half of a line: what the layer below has there, or what is there now.
struct Side<'a> {
    row: Option<&'a Row>,
    is_below: bool,
}

impl Side<'_> {
    fn line(&self) -> String {
        let number = self.row.and_then(|row| if self.is_below { row.before_line } else { row.after_line });
        number.map(|number| number.to_string()).unwrap_or_default()
    }

    fn is_changed(&self) -> bool {
        self.row.is_some_and(|row| row.kind != RowKind::Same)
    }

    fn class(&self) -> &'static str {
        self.row.map_or("none", |row| row.kind.as_str())
    }
}

impl<'a> DifferencePage<'a> {
    fn folder(&self) -> &'a str {
        super::overlay::parent(&self.difference.path)
    }

    fn below_label(&self) -> &'a str {
        let layer = self.difference.below.and_then(|below| self.stack.layers.get(below));
        layer.map_or(figure::UNKNOWN, |layer| layer.label.as_str())
    }

    fn is_changed(&self) -> bool {
        self.difference.status != Status::Unchanged
    }

    /// The rows side by side: lines that went stand beside those that came in their place. A line without sides stands for those that
    /// are left out.
    fn lines(&self) -> Vec<Vec<Side<'a>>> {
        let pair = |below, now| vec![Side { row: below, is_below: true }, Side { row: now, is_below: false }];
        let mut lines = Vec::new();
        let mut rows = self.difference.rows.as_slice();
        while let Some(first) = rows.first() {
            match first.kind {
                RowKind::Same => lines.push(pair(Some(first), Some(first))),
                RowKind::Gap => lines.push(Vec::new()),
                RowKind::Removed | RowKind::Added => {
                    let count = |rows: &[Row], kind| rows.iter().take_while(|row| row.kind == kind).count();
                    let (removed, rest) = rows.split_at(count(rows, RowKind::Removed));
                    let (added, rest) = rest.split_at(count(rest, RowKind::Added));
                    lines.extend((0..removed.len().max(added.len())).map(|index| pair(removed.get(index), added.get(index))));
                    rows = rest;
                    continue;
                }
            }
            rows = &rows[1..];
        }
        lines
    }
}
