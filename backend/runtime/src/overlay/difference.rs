//! A file that was copied up beside what the layers below have, line by line. What is no text, too large, or no file is told in
//! words.

use std::io::Read;
use std::time::{Duration, Instant};

use belljar_model::overlay::{Difference, FileKind, Row, RowKind, Stack, Status};
use rustix::fs::Stat;
use rustix::io::Errno;
use similar::{Algorithm, ChangeTag, TextDiff};

use super::compare::{Attributes, Comparer, attributes};
use super::layers::{Cover, Folder, Found, Layers, kind, shown};
use super::{Error, file_status, find, folder_status, look, parts_of, unread, walk_down};

/// Most bytes of a file that is shown line by line.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Most rows of a difference.
pub const LINES_MAX: usize = 20_000;
/// Longest time that a shorter difference is looked for; what is found by then is right, but may be longer than it need be.
const SEARCH_LIMIT: Duration = Duration::from_millis(500);
/// Lines without a change that are shown around one.
const CONTEXT_LINES: usize = 3;

/// How `path` differs from what lies below the container's own layer.
pub fn difference(stack: &Stack, path: &str) -> Result<Difference, Error> {
    let layers = Layers::open(stack)?;
    let parts = parts_of(path)?;
    let Some((name, above)) = parts.split_last() else {
        return Err(Error::NotFound { path: path.to_owned() });
    };
    let folder = walk_down(&layers, path, above)?;
    let is_there = folder.parts.first().is_some_and(|part| layers.is_upper(part.layer));
    let upper = if is_there { look(&folder, 0, name)? } else { Found::Nothing };
    let below = find(&folder, name, usize::from(is_there))?;
    let compared = Compared { layers: &layers, folder: &folder, name, below };
    let mut difference = Difference {
        path: shown(&folder.path_of(name)),
        status: Status::Unchanged,
        below: below.map(|(number, _)| folder.parts[number].layer),
        notes: Vec::new(),
        rows: Vec::new(),
    };
    match (upper, below) {
        (Found::Nothing | Found::Whiteout, None) => return Err(Error::NotFound { path: path.to_owned() }),
        (Found::Nothing, Some(_)) => difference.notes.push("It is as the layers below have it.".to_owned()),
        (Found::Whiteout, Some((number, stat))) => {
            difference.status = Status::Deleted;
            compared.one_side(&mut difference, (number, &stat), RowKind::Removed)?;
        }
        (Found::Entry(stat), None) => {
            difference.status = Status::Added;
            compared.one_side(&mut difference, (0, &stat), RowKind::Added)?;
        }
        (Found::Entry(upper), Some((number, stat))) => compared.both(&mut difference, &upper, (number, &stat))?,
    }
    Ok(difference)
}

struct Compared<'a> {
    layers: &'a Layers,
    folder: &'a Folder,
    name: &'a [u8],
    below: Option<(usize, Stat)>,
}

/// What is in a file.
enum Content {
    Text(String),
    /// Not to be shown: a clause that follows "It".
    Not(String),
}

impl Compared<'_> {
    /// Something that only one side has.
    fn one_side(&self, difference: &mut Difference, (number, stat): (usize, &Stat), row: RowKind) -> Result<(), Error> {
        difference.notes.push(match row {
            RowKind::Removed => format!("It was deleted: {} below.", article(kind(stat))),
            _ => format!("It is new: {} that no layer below has.", article(kind(stat))),
        });
        match (kind(stat), self.content(number, stat)?) {
            (FileKind::File, Content::Text(text)) => {
                let (before, after) = if row == RowKind::Removed { (text.as_str(), "") } else { ("", text.as_str()) };
                rows(difference, before, after);
            }
            (FileKind::File, Content::Not(why)) => difference.notes.push(format!("It {why}.")),
            (FileKind::Symlink, _) => difference.notes.extend(self.target(number).map(|target| format!("It leads to {target}."))),
            _ => {}
        }
        Ok(())
    }

    fn both(&self, difference: &mut Difference, upper: &Stat, (number, below): (usize, &Stat)) -> Result<(), Error> {
        let (now, before) = (kind(upper), kind(below));
        if now == FileKind::Directory && before == now {
            let child = self.layers.folder(&self.folder.path_of(self.name), self.folder.above(&self.folder.layers()))?;
            difference.status = folder_status(self.layers, &child, below)?;
            if child.cover != Cover::Merged {
                difference.notes.push(
                    "It is an opaque folder: it was deleted and made again, and what the layers below have in it is hidden.".to_owned(),
                );
            }
        } else {
            let (top, next) = (&self.folder.parts[0], &self.folder.parts[number]);
            let status = file_status(&Comparer::default(), self.name, (top, upper), (next, below));
            difference.status = status.map_err(|errno| self.failed(errno))?;
        }
        if now != before {
            difference.notes.push(format!("It was {} and is {} now.", article(before), article(now)));
        }
        difference.notes.extend(metadata(upper, below));
        difference.notes.extend(self.attributes(number)?);
        match (now, before) {
            (FileKind::File, FileKind::File) => match (self.content(number, below)?, self.content(0, upper)?) {
                (Content::Text(before), Content::Text(after)) => rows(difference, &before, &after),
                (Content::Not(why), _) | (_, Content::Not(why)) if difference.status == Status::Modified => {
                    difference.notes.push(format!("Its content differs, and is not shown: it {why}."));
                }
                _ => {}
            },
            (FileKind::Symlink, FileKind::Symlink) => {
                let (before, after) = (self.target(number), self.target(0));
                if before != after {
                    let told = |target: Option<String>| target.unwrap_or_else(|| "somewhere that cannot be read".to_owned());
                    difference.notes.push(format!("It led to {} and leads to {} now.", told(before), told(after)));
                }
            }
            _ => {}
        }
        if difference.status == Status::Unchanged {
            difference.notes.push("It was copied up, and is in every respect as below.".to_owned());
        }
        Ok(())
    }

    fn failed(&self, errno: Errno) -> Error {
        unread(&self.folder.parts[0], self.folder, errno)
    }

    fn target(&self, number: usize) -> Option<String> {
        let target = rustix::fs::readlinkat(&self.folder.parts[number].folder, self.name, Vec::new()).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    fn content(&self, number: usize, stat: &Stat) -> Result<Content, Error> {
        if kind(stat) != FileKind::File {
            return Ok(Content::Not("is no file".to_owned()));
        }
        let size = stat.st_size.cast_unsigned();
        if size > TEXT_BYTES_MAX {
            return Ok(Content::Not(format!("is larger than {} KiB", TEXT_BYTES_MAX >> 10)));
        }
        let opened = self.folder.parts[number].open_file(self.name).map_err(|errno| self.failed(errno))?;
        let Some(file) = opened else { return Ok(Content::Not("changed while it was read".to_owned())) };
        let mut bytes = Vec::new();
        if file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).is_err() {
            return Ok(Content::Not("could not be read".to_owned()));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Content::Text(text),
            _ => Content::Not("is binary".to_owned()),
        })
    }

    /// Names of the extended attributes that differ.
    fn attributes(&self, number: usize) -> Result<Option<String>, Error> {
        let read = |number: usize| -> Result<Attributes, Error> {
            let file = self.folder.parts[number].open_file(self.name).map_err(|errno| self.failed(errno))?;
            file.map_or(Ok(Vec::new()), |file| attributes(&file).map_err(|errno| self.failed(errno)))
        };
        if self.below.is_none() {
            return Ok(None);
        }
        let (below, upper) = (read(number)?, read(0)?);
        let differing = below.iter().filter(|pair| !upper.contains(pair)).chain(upper.iter().filter(|pair| !below.contains(pair)));
        let mut names: Vec<String> = differing.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        names.dedup();
        Ok((!names.is_empty()).then(|| format!("Extended attributes differ: {}.", names.join(", "))))
    }
}

fn article(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Directory => "a folder",
        FileKind::Symlink => "a symbolic link",
        FileKind::Device => "a device",
        FileKind::Fifo => "a named pipe",
        FileKind::Socket => "a socket",
    }
}

/// What of mode, owner and time differs, a sentence each.
fn metadata(upper: &Stat, below: &Stat) -> Vec<String> {
    let mut notes = Vec::new();
    let mode = |stat: &Stat| stat.st_mode & 0o7777;
    if mode(upper) != mode(below) {
        notes.push(format!("Its mode was {:04o} and is {:04o} now.", mode(below), mode(upper)));
    }
    let owner = |stat: &Stat| (stat.st_uid, stat.st_gid);
    if owner(upper) != owner(below) {
        let ((uid, gid), (new_uid, new_gid)) = (owner(below), owner(upper));
        notes.push(format!("Its owner was {uid}:{gid} and is {new_uid}:{new_gid} now."));
    }
    if (upper.st_mtime, upper.st_mtime_nsec) != (below.st_mtime, below.st_mtime_nsec) {
        notes.push("Its time of change differs.".to_owned());
    }
    notes
}

/// The rows of two texts, with a little of what did not change around what did.
fn rows(difference: &mut Difference, before: &str, after: &str) {
    let deadline = Instant::now() + SEARCH_LIMIT;
    let compared = TextDiff::configure().algorithm(Algorithm::Myers).deadline(deadline).diff_lines(before, after);
    let mut line = 0;
    for group in compared.grouped_ops(CONTEXT_LINES) {
        if group.first().is_some_and(|first| first.old_range().start > line || first.new_range().start > line) {
            difference.rows.push(gap());
        }
        for operation in &group {
            for change in compared.iter_changes(operation) {
                if difference.rows.len() >= LINES_MAX {
                    difference.notes.push(format!("There is more: these are the first {LINES_MAX} rows."));
                    return;
                }
                difference.rows.push(row(&change));
            }
        }
        line = group.last().map_or(line, |last| last.old_range().end);
    }
    if !difference.rows.is_empty() && line < before.lines().count() {
        difference.rows.push(gap());
    }
}

fn gap() -> Row {
    Row { kind: RowKind::Gap, before_line: None, after_line: None, text: String::new(), no_newline: false }
}

fn row(change: &similar::Change<&str>) -> Row {
    let text = change.value();
    let kind = match change.tag() {
        ChangeTag::Equal => RowKind::Same,
        ChangeTag::Delete => RowKind::Removed,
        ChangeTag::Insert => RowKind::Added,
    };
    Row {
        kind,
        before_line: change.old_index().map(|index| index + 1),
        after_line: change.new_index().map(|index| index + 1),
        text: text.strip_suffix('\n').unwrap_or(text).to_owned(),
        no_newline: change.missing_newline(),
    }
}
