//! Files of a container: what stands at a path, what was moved, and how a file differs from its image's.

use std::fmt::Write as _;

use belljar_model::mount::PATH_BYTES_MAX;
use belljar_model::overlay::{FileKind, RowKind, Status};
use belljar_model::{Invalid, files, overlay};
use serde::{Deserialize, Serialize};

use crate::time;

/// Header of an archive's answer: what it holds, a [`PathStat`] as JSON in ASCII.
pub const STAT_HEADER: &str = "belljar-path-stat";
/// What an archive is.
pub const ARCHIVE_MEDIA_TYPE: &str = "application/x-tar";

/// A path of a container as it is copied: absolute, and it may end in `/` or `/.`, which mean what is in it.
pub fn check_path(field: &str, path: &str) -> Result<(), Invalid> {
    let problem = match path {
        path if !path.starts_with('/') => "must begin with a slash".to_owned(),
        path if path.len() > PATH_BYTES_MAX => format!("must have at most {PATH_BYTES_MAX} bytes"),
        path if path.contains('\0') => "must not hold a NUL byte".to_owned(),
        path if path.split('/').any(|part| part == "..") => "must not hold `..`".to_owned(),
        _ => return Ok(()),
    };
    Err(Invalid::new(field, problem))
}

/// What stands at a path of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// Last part of the path; `.` for the root, and for a path that ends in `/.`.
    pub name: String,
    /// `file`, `directory`, `symlink`, `device`, `fifo` or `socket`.
    pub kind: FileKind,
    /// Bytes of a regular file; 0 for others.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Last change of its content.
    #[serde(rename = "modified_at", with = "time::millis")]
    pub modified_at_ms: i64,
    /// Where a symbolic link points.
    pub link_target: Option<String>,
}

impl From<files::PathStat> for PathStat {
    fn from(stat: files::PathStat) -> Self {
        let files::PathStat { name, kind, size_bytes, mode, modified_at_ms, link_target } = stat;
        Self { name, kind, size_bytes, mode, modified_at_ms, link_target }
    }
}

impl PathStat {
    /// For a header, which holds ASCII: all else is escaped, as JSON has it.
    pub fn to_header(&self) -> String {
        // Texts and numbers, which always can be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut text = String::with_capacity(json.len());
        for character in json.chars() {
            if character.is_ascii() && !character.is_ascii_control() {
                text.push(character);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(text, "\\u{unit:04x}");
            }
        }
        text
    }

    /// From such a header.
    pub fn from_header(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// What was copied in, or put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of regular files.
    pub size_bytes: u64,
    /// Devices and sockets, which are passed over.
    pub passed_over: u64,
}

impl From<files::Moved> for Moved {
    fn from(files::Moved { entries, size_bytes, passed_over }: files::Moved) -> Self {
        Self { entries, size_bytes, passed_over }
    }
}

/// The body of `POST /containers/{id}/overlay/undo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// What is put back to what its image says.
    pub path: String,
}

/// How a file differs from what the layers below the container's own have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The file.
    pub path: String,
    /// `unchanged`, `added`, `modified`, `metadata`, `deleted` or `replaced`.
    pub status: Status,
    /// Number of the layer below that it is held against; `null` where none has it.
    pub below: Option<usize>,
    /// What is other than its lines, or why there are none: a sentence each.
    pub notes: Vec<String>,
    /// Its rows, in order.
    pub rows: Vec<Row>,
}

/// One row of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `same`, `removed`, `added`, or `gap` where lines without a change are left out.
    pub kind: RowKind,
    /// Number of the line in the layer below.
    pub before_line: Option<usize>,
    /// Number of the line as it is now.
    pub after_line: Option<usize>,
    /// Its text, without the end of the line.
    pub text: String,
    /// Whether it is the last line and has no end.
    pub no_newline: bool,
}

impl From<overlay::Difference> for Difference {
    fn from(difference: overlay::Difference) -> Self {
        let overlay::Difference { path, status, below, notes, rows } = difference;
        let row =
            |overlay::Row { kind, before_line, after_line, text, no_newline }| Row { kind, before_line, after_line, text, no_newline };
        Self { path, status, below, notes, rows: rows.into_iter().map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_a_path_survives_a_header_whatever_its_name() {
        let stat = PathStat {
            name: "größe 🔔\u{7f}\n".into(),
            kind: FileKind::Symlink,
            size_bytes: 0,
            mode: 0o777,
            modified_at_ms: -5,
            link_target: Some("\"\\".into()),
        };
        let header = stat.to_header();
        assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
        assert_eq!(PathStat::from_header(&header), Some(stat));
    }

    #[test]
    fn a_path_that_is_copied_is_absolute_and_has_no_way_up() {
        for path in ["/", "/etc/", "/etc/.", "/a..b", "/..."] {
            assert!(check_path("path", path).is_ok(), "{path}");
        }
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        for path in ["", "etc", "/..", "/a/../b", "/a\0b", &long] {
            assert_eq!(check_path("path", path).expect_err(path).field, "path");
        }
    }
}
