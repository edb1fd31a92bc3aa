//! `list`: every container of a root.

use super::state::View;
use super::{Call, Command, DONE, Error, print};
use crate::flags::{Flag, Line, Order, switch, valued};
use crate::state::{Folder, Record, Status, ids};

const FLAGS: &[Flag] = &[valued("format", "f", "FORMAT", "table (default) or json"), switch("quiet", "q", "ids only")];

pub(super) const COMMAND: Command =
    Command { name: "list", words: "", about: "list the containers of the root", flags: FLAGS, order: Order::Anywhere, run };

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let format = line.value("format").unwrap_or("table");
    let quiet = line.has("quiet");
    if !quiet && !matches!(format, "table" | "json") {
        return Err(Error::Refused(format!("invalid format option: {format:?} is neither table nor json")));
    }
    let found = containers(call)?;
    let text = match format {
        _ if quiet => found.iter().map(|(record, _)| format!("{}\n", record.id)).collect(),
        "json" => {
            let views: Vec<View<'_>> = found.iter().map(|(record, status)| View::with_owner(record, *status)).collect();
            format!("{}\n", serde_json::to_string(&views).unwrap_or_default())
        }
        _ => table(&found),
    };
    print(&text)?;
    Ok(DONE)
}

/// Those that can be read. One that cannot is said, and the others are still listed.
fn containers(call: &Call) -> Result<Vec<(Record, Status)>, Error> {
    let mut found = Vec::new();
    for id in ids(&call.root)? {
        let folder = Folder::of(&call.root, &id)?;
        match folder.read() {
            Ok(record) => {
                let status = folder.look(&record);
                found.push((record, status));
            }
            // Reserved, and not written down yet; or deleted meanwhile.
            Err(crate::state::Error::Missing { .. }) => {}
            Err(error) => call.journal.warning(&crate::journal::sentence(&error)),
        }
    }
    Ok(found)
}

/// Columns as wide as their widest cell and three more, and twelve at least; the last as wide as it is.
fn table(found: &[(Record, Status)]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec();
    let row = |(record, status): &(Record, Status)| {
        let value = serde_json::to_value(View::with_owner(record, *status)).unwrap_or_default();
        let text = |key: &str| value[key].as_str().map_or_else(|| value[key].to_string(), str::to_owned);
        ["id", "pid", "status", "bundle", "created", "owner"].map(text).to_vec()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(found.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{cells}{}\n", row[5])
    };
    rows.iter().map(line).collect()
}
