//! The table of limits in `backend/ARCHITECTURE.md` and the code agree: every row names constants that exist where it says,
//! and every limit that the code names has a row. It reads text and knows no crate.
#![allow(clippy::expect_used, reason = "a test that cannot go on says so and ends")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How the names of limits end.
const ENDINGS: [&str; 3] = ["_MAX", "_LIMIT", "_KEPT"];
/// Members that are tools, not the product.
const TOOLS: [&str; 2] = ["xtask", "testbed"];

/// A limit by its place (`model/id`) and name.
type Limit = (String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace")
}

/// What the table says.
fn told() -> BTreeSet<Limit> {
    let text = fs::read_to_string(root().join("backend/ARCHITECTURE.md")).expect("the page");
    let table = text.split("## Limits").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("its table");
    let mut told = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names: Vec<&str> = cells[3].split('`').filter(|name| name.chars().any(|letter| letter.is_ascii_uppercase())).collect();
        let places: Vec<&str> = cells[4].split(", ").collect();
        for (index, name) in names.iter().enumerate() {
            // One place for all, or one for each.
            let place = places.get(index).or(places.first()).expect("a place");
            told.insert(((*place).to_owned(), (*name).to_owned()));
        }
    }
    told
}

/// The constants of the code: what a row may speak of.
fn named() -> BTreeSet<Limit> {
    let members = fs::read_dir(root().join("backend")).expect("the members").flatten().map(|entry| entry.path());
    let members = members.filter(|path| !TOOLS.iter().any(|tool| path.ends_with(tool))).chain([root().join("frontend")]);
    let mut named = BTreeSet::new();
    for member in members.filter(|path| path.join("src").is_dir()) {
        let source = member.join("src");
        // What a file of tests limits is the tests' own affair.
        for file in files(&source).into_iter().filter(|file| !file.ends_with("tests.rs")) {
            let member = member.file_name().expect("a name").to_string_lossy();
            let file_place = file.strip_prefix(&source).expect("below it").with_extension("");
            let place = format!("{member}/{}", file_place.display());
            let place = place.strip_suffix("/mod").unwrap_or(&place).to_owned();
            let text = fs::read_to_string(&file).expect("a source file");
            named.extend(text.lines().filter_map(constant).map(|name| (place.clone(), name)));
        }
    }
    named
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// The name of a constant, where this line of a module defines one.
fn constant(line: &str) -> Option<String> {
    let rest = ["const ", "pub const ", "pub(crate) const ", "pub(super) const "].iter().find_map(|start| line.strip_prefix(start))?;
    let (name, _) = rest.split_once(':')?;
    Some(name.to_owned())
}

fn is_limit((_, name): &&Limit) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[test]
fn every_limit_has_a_row_and_every_row_a_limit() {
    let (told, named) = (told(), named());
    let without_row: Vec<_> = named.difference(&told).filter(is_limit).collect();
    let without_limit: Vec<_> = told.difference(&named).collect();
    assert!(without_row.is_empty(), "limits that the table does not tell: {without_row:?}");
    assert!(without_limit.is_empty(), "rows without a limit in the code: {without_limit:?}");
}
