//! A table: a heading, rows, columns as wide as their widest cell.

use super::{Paint, Tone, harmless};

/// Space between two columns.
const GAP: &str = "   ";
/// Most characters of one cell; what is longer ends in an ellipsis. The longest path fits, because a path that is cut is
/// none.
const CELL_CHARS_MAX: usize = 4096;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: cut(harmless(text.as_ref()).replace('\t', " "), CELL_CHARS_MAX), tone }
    }

    /// A cell of at most `chars` characters, for text whose beginning says enough.
    pub(crate) fn short(text: impl AsRef<str>, chars: usize) -> Self {
        Self { text: cut(harmless(text.as_ref()).replace('\t', " "), chars), tone: Tone::Normal }
    }
}

fn cut(mut text: String, chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::toned(text, Tone::Normal)
    }
}

/// The whole.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of words under these headings.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { columns: headings.iter().map(|&heading| (heading, Side::Left)).collect(), rows: Vec::new() }
    }

    /// The same with the columns of these numbers as figures.
    pub(crate) fn figures(mut self, columns: &[usize]) -> Self {
        for (number, column) in self.columns.iter_mut().enumerate() {
            if columns.contains(&number) {
                column.1 = Side::Right;
            }
        }
        self
    }

    /// Adds a row; one cell for each heading.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "one cell for each heading");
        self.rows.push(cells);
    }

    /// The table as lines, without spaces at their ends.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let width = |number: usize, heading: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(number)).map(|cell| cell.text.chars().count());
            cells.chain([heading.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(number, (heading, _))| width(number, heading)).collect();
        let headings = self.columns.iter().map(|(heading, _)| Cell::toned(heading, Tone::Quiet)).collect::<Vec<_>>();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            text.push_str(&self.line(row, &widths, paint));
            text.push('\n');
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        for (number, ((cell, width), (_, side))) in row.iter().zip(widths).zip(&self.columns).enumerate() {
            let space = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let text = cell.tone.on(&cell.text, paint);
            line.push_str(if number == 0 { "" } else { GAP });
            match side {
                Side::Left if number + 1 == self.columns.len() => line.push_str(&text),
                Side::Left => line.extend([text.as_str(), &space]),
                Side::Right => line.extend([space.as_str(), &text]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_words_end() {
        let mut table = Table::new(&["NAME", "PIDS", "IMAGE"]).figures(&[1]);
        table.row(vec!["web".into(), "3".into(), "host".into()]);
        table.row(vec!["database".into(), "128".into(), "".into()]);
        let lines = ["NAME       PIDS   IMAGE", "web           3   host", "database    128", ""];
        assert_eq!(table.render(Paint::Plain), lines.join("\n"));
    }

    #[test]
    fn colours_do_not_disturb_the_alignment() {
        let mut table = Table::new(&["STATE", "NAME"]);
        table.row(vec![Cell::toned("running", Tone::Good), "web".into()]);
        assert!(table.render(Paint::Coloured).ends_with("\x1b[32mrunning\x1b[0m   web\n"));
    }

    #[test]
    fn a_cell_without_end_is_cut() {
        let mut table = Table::new(&["COMMAND"]);
        table.row(vec!["x".repeat(100_000).into()]);
        assert_eq!(table.render(Paint::Plain).lines().last().map(|line| line.chars().count()), Some(CELL_CHARS_MAX + 1));
    }
}
