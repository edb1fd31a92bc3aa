//! Undo of what rests, and differences, on layers that the kernel changed.

use belljar_model::overlay::RowKind;

use super::*;

/// Everything that can become of a path, in one go.
const CHANGES: &str = "echo more >> etc/ro.txt; rm etc/doomed.txt; ln -sfn /else etc/link; chmod 600 etc/extra.conf; mkdir -p srv/new/deep; echo x > srv/new/deep/x
    rm -r srv/folder; mkdir srv/folder; echo z > srv/folder/z; rm -r srv/other; echo file > srv/other; echo x >> usr/bin/tool; rm -r usr/share
    echo changed > etc/deep/er/file; rm etc/hosts; mkdir etc/hosts; touch etc/hosts/inner";

#[test]
fn each_path_is_put_back_by_itself_and_all_of_them_leave_nothing() {
    let bed = Bed::furnished();
    let Some(before) = bed.run("true") else { return };
    let Some(changes) = bed.changed_by(CHANGES) else { return };
    assert_eq!(changes.len(), 15, "{changes:?}");
    let paths: Vec<String> = changes.iter().map(|(path, _)| path.clone()).collect();
    for path in &paths {
        let is_in_another = paths.iter().any(|other| path.starts_with(&format!("{other}/")));
        if is_in_another {
            continue;
        }
        assert_eq!(undo(&bed.stack(), path).unwrap(), Undone::Removed, "{path}");
        assert!(!bed.changes().iter().any(|(changed, _)| changed == path || changed.starts_with(&format!("{path}/"))), "{path}");
        assert!(matches!(undo(&bed.stack(), path), Ok(Undone::AlreadySo) | Err(Error::NotFound { .. })), "{path} again");
    }
    assert_eq!(bed.changes(), []);
    assert_eq!(bed.run("true").unwrap(), before, "the kernel shows what it showed at the beginning");
    let left: Vec<_> = std::fs::read_dir(bed.path("upper")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["usr"], "folders that were only the way are gone; the root of a graft stays");
}

#[test]
fn what_lies_in_a_folder_that_hides_is_left_for_a_mount_to_make_anew() {
    let bed = Bed::furnished();
    let Some(_) = bed.changed_by("rm -r srv/folder etc/deep; mkdir srv/folder; echo x > srv/folder/a; mkdir srv/folder/sub") else {
        return;
    };
    for path in ["/srv/folder/a", "/srv/folder/b", "/srv/folder/sub"] {
        assert_eq!(undo(&bed.stack(), path).unwrap(), Undone::HiddenAbove, "{path}");
    }
    for (path, is_path) in [("/etc/deep/er", true), ("/none", true), ("/none/x", true), ("/", false), ("/a/../b", false)] {
        let error = undo(&bed.stack(), path).unwrap_err();
        assert_eq!(matches!(error, Error::NotFound { .. } | Error::NotADirectory { .. }), is_path, "{path}: {error}");
    }
    assert_eq!(undo(&bed.stack(), "/srv/folder").unwrap(), Undone::Removed);
}

#[test]
fn a_graft_is_put_back_without_its_mount_point() {
    let bed = Bed::furnished();
    let Some(before) = bed.run("true") else { return };
    let Some(_) = bed.changed_by("rm -r usr/bin; echo x > usr/new; chmod 700 usr; chown 5:5 usr") else { return };
    assert_eq!(undo(&bed.stack(), "/usr").unwrap(), Undone::Removed);
    assert_eq!(bed.changes(), []);
    assert_eq!(bed.run("true").unwrap(), before);
}

#[test]
fn links_of_the_upper_layer_lead_an_undo_nowhere() {
    let bed = Bed::furnished();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("canary"), "alive").unwrap();
    symlink(outside.path(), bed.path("upper/srv")).unwrap();
    for path in ["/srv/canary", "/srv/./canary"] {
        assert!(undo(&bed.stack(), path).is_err(), "{path}");
    }
    assert_eq!(undo(&bed.stack(), "/srv").unwrap(), Undone::Removed, "the link itself");
    assert_eq!(std::fs::read_to_string(outside.path().join("canary")).unwrap(), "alive");
    assert!(bed.path("image/srv").is_dir());
}

fn told(bed: &Bed, path: &str) -> (Status, String, Vec<String>) {
    let difference = difference(&bed.stack(), path).unwrap();
    let row = |row: &belljar_model::overlay::Row| {
        let sign = match row.kind {
            RowKind::Same => ' ',
            RowKind::Removed => '-',
            RowKind::Added => '+',
            RowKind::Gap => '~',
        };
        format!("{sign}{}", row.text)
    };
    (difference.status, difference.notes.join(" "), difference.rows.iter().map(row).collect())
}

#[test]
fn a_difference_shows_the_lines_around_what_changed() {
    let bed = Bed::furnished();
    let long: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    bed.write("image/etc/long", &long);
    let Some(_) = bed.changed_by("sed -i 's/line 15/LINE 15/; 30d' etc/long; echo -n end >> etc/long") else { return };
    let (status, notes, rows) = told(&bed, "/etc/long");
    assert_eq!((status, notes.as_str()), (Status::Modified, "Its time of change differs."));
    let expected = [
        "~", " line 12", " line 13", " line 14", "-line 15", "+LINE 15", " line 16", " line 17", " line 18", "~", " line 27", " line 28",
        " line 29", "-line 30", "+end",
    ];
    assert_eq!(rows, expected);
    let difference = difference(&bed.stack(), "/etc/long").unwrap();
    let last = difference.rows.last().unwrap();
    assert_eq!((last.after_line, last.before_line, last.no_newline), (Some(30), None, true));
    assert_eq!(difference.below, Some(3));
}

#[test]
fn what_is_no_text_is_told_in_words() {
    let bed = Bed::furnished();
    bed.write("image/etc/large", &"x\n".repeat(600_000));
    std::fs::write(bed.path("image/etc/binary"), [0, 1, 2]).unwrap();
    let script = "echo y >> etc/large; printf 'ab' >> etc/binary; ln -sfn /else etc/link; rm etc/hosts; mkdir etc/hosts; chmod 600 etc/extra.conf
                  rm etc/doomed.txt; mkfifo srv/pipe; echo new > srv/new; rm etc/ro.txt; mkfifo etc/ro.txt; rm -r srv/folder; mkdir srv/folder";
    let Some(_) = bed.changed_by(script) else { return };
    for (path, status, words) in [
        ("/etc/large", Status::Modified, "is larger than 1024 KiB"),
        ("/etc/binary", Status::Modified, "is binary"),
        ("/etc/link", Status::Modified, "It led to ro.txt and leads to /else now."),
        ("/etc/hosts", Status::Replaced, "It was a file and is a folder now."),
        ("/etc/extra.conf", Status::Metadata, "Its mode was 0644 and is 0600 now."),
        ("/srv/pipe", Status::Added, "a named pipe that no layer below has"),
        ("/etc/ro.txt", Status::Replaced, "It was a file and is a named pipe now."),
        ("/srv/folder", Status::Replaced, "an opaque folder"),
        ("/srv/other/c", Status::Unchanged, "as the layers below have it"),
    ] {
        let (told_status, notes, rows) = told(&bed, path);
        assert_eq!(told_status, status, "{path}");
        assert!(notes.contains(words) && rows.is_empty(), "{path}: {notes} {rows:?}");
    }
    assert_eq!(told(&bed, "/etc/doomed.txt").2, ["-gone soon"]);
    assert_eq!(told(&bed, "/srv/new").2, ["+new"]);
    for path in ["/none", "/", "/etc/none", "/etc/../x"] {
        assert!(difference(&bed.stack(), path).is_err(), "{path}");
    }
}
