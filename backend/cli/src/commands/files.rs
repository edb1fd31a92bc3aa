//! `diff`, `undo`, `reset`: what a container changed, and how that is put back.

use belljar_api::files::{Difference, Moved, Row, UndoRequest};
use belljar_api::inspect::Change;
use belljar_api::query;
use belljar_model::overlay::{RowKind, Status};
use hyper::Method;

use super::{DONE, Outcome, Session, of};
use crate::arguments::files::{DiffArguments, ResetArguments, UndoArguments};

use crate::output::{Tone, complain, harmless};

/// `diff`: the letters of `docker diff`; of one file, its lines. What is metadata only, or was replaced, is a change there, too;
/// `--json` tells them apart.
pub(crate) async fn diff(session: &mut Session, arguments: DiffArguments) -> Outcome {
    if let Some(path) = &arguments.path {
        return difference(session, &arguments, path).await;
    }
    let changes: Vec<Change> = session.client.fetch(&of(&arguments.container, "overlay/changes")).await?;
    if arguments.format.json {
        session.paper.json(&changes)?;
        return Ok(DONE);
    }
    for change in &changes {
        let (letter, tone) = letter(change.status);
        let letter = tone.on(letter, session.paper.paint());
        session.paper.line(&format!("{letter} {}", harmless(&change.path)))?;
    }
    Ok(DONE)
}

fn letter(status: Status) -> (&'static str, Tone) {
    match status {
        Status::Added => ("A", Tone::Good),
        Status::Deleted => ("D", Tone::Bad),
        Status::Modified | Status::Metadata | Status::Replaced | Status::Unchanged => ("C", Tone::Careful),
    }
}

async fn difference(session: &mut Session, arguments: &DiffArguments, path: &str) -> Outcome {
    let query = query::write(&query::At { path: path.to_owned() });
    let difference: Difference = session.client.fetch(&format!("{}?{query}", of(&arguments.container, "overlay/difference"))).await?;
    if arguments.format.json {
        session.paper.json(&difference)?;
        return Ok(DONE);
    }
    for note in &difference.notes {
        complain(&harmless(note));
    }
    for (text, tone) in unified(&difference) {
        let text = tone.on(&harmless(&text), session.paper.paint());
        session.paper.line(&text)?;
    }
    Ok(DONE)
}

/// The lines of a unified difference, as `diff -u` and `patch` have it.
fn unified(difference: &Difference) -> Vec<(String, Tone)> {
    if difference.rows.is_empty() {
        return Vec::new();
    }
    let missing = |is_missing: bool, side: &str| if is_missing { "/dev/null".to_owned() } else { format!("{side}{}", difference.path) };
    let mut lines = vec![
        (format!("--- {}", missing(difference.status == Status::Added, "a")), Tone::Quiet),
        (format!("+++ {}", missing(difference.status == Status::Deleted, "b")), Tone::Quiet),
    ];
    for hunk in difference.rows.split(|row| row.kind == RowKind::Gap).filter(|hunk| !hunk.is_empty()) {
        lines.push((head(hunk), Tone::Quiet));
        for row in hunk {
            let (sign, tone) = match row.kind {
                RowKind::Removed => ('-', Tone::Bad),
                RowKind::Added => ('+', Tone::Good),
                RowKind::Same | RowKind::Gap => (' ', Tone::Normal),
            };
            lines.push((format!("{sign}{}", row.text), tone));
            if row.no_newline {
                lines.push(("\\ No newline at end of file".to_owned(), Tone::Quiet));
            }
        }
    }
    lines
}

/// `@@ -12,7 +12,6 @@`
fn head(hunk: &[Row]) -> String {
    let side = |line: fn(&Row) -> Option<usize>| {
        let lines: Vec<usize> = hunk.iter().filter_map(line).collect();
        match (lines.first(), lines.len()) {
            (Some(first), 1) => first.to_string(),
            (Some(first), count) => format!("{first},{count}"),
            (None, _) => "0,0".to_owned(),
        }
    };
    format!("@@ -{} +{} @@", side(|row| row.before_line), side(|row| row.after_line))
}

/// `undo`
pub(crate) async fn undo(session: &mut Session, arguments: UndoArguments) -> Outcome {
    for path in arguments.paths {
        let request = UndoRequest { path };
        let _moved: Moved = session.client.send(&of(&arguments.container, "overlay/undo"), &request).await?;
        session.paper.line(&request.path)?;
    }
    Ok(DONE)
}

/// `reset`
pub(crate) async fn reset(session: &mut Session, arguments: ResetArguments) -> Outcome {
    for container in &arguments.containers.containers {
        session.client.act(Method::POST, &of(container, "reset")).await?;
        session.paper.line(container)?;
    }
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_printed_as_patch_reads_it() {
        let row = |kind, before_line, after_line, text: &str| Row { kind, before_line, after_line, text: text.into(), no_newline: false };
        let rows = vec![
            row(RowKind::Gap, None, None, ""),
            row(RowKind::Same, Some(4), Some(4), "same"),
            row(RowKind::Removed, Some(5), None, "old"),
            row(RowKind::Added, None, Some(5), "new"),
            row(RowKind::Gap, None, None, ""),
            Row { no_newline: true, ..row(RowKind::Added, None, Some(9), "end") },
        ];
        let difference = Difference { path: "/etc/x".into(), status: Status::Modified, below: Some(1), notes: Vec::new(), rows };
        let lines: Vec<String> = unified(&difference).into_iter().map(|(text, _)| text).collect();
        let expected = [
            "--- a/etc/x",
            "+++ b/etc/x",
            "@@ -4,2 +4,2 @@",
            " same",
            "-old",
            "+new",
            "@@ -0,0 +9 @@",
            "+end",
            "\\ No newline at end of file",
        ];
        assert_eq!(lines, expected);
    }
}
