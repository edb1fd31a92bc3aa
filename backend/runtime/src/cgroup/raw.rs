//! The files of a cgroup's folder as the kernel gives them: names and contents, unread.

use std::fs::{DirEntry, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use belljar_model::cgroup::RawFile;

/// Most bytes that are shown of one file.
const CONTENT_BYTES_MAX: usize = 16 << 10;
/// Most files of one folder; the kernel makes some hundred.
const FILES_MAX: usize = 1024;

/// Every file of this folder that `wanted` names, by name.
pub(super) fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<RawFile> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // What is below it is somebody's own cgroup.
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut files: Vec<RawFile> = entries.filter_map(|entry| read(&entry, &wanted)).take(FILES_MAX).collect();
    files.sort_by(|left, right| left.name.cmp(&right.name));
    files
}

fn read(entry: &DirEntry, wanted: impl Fn(&str) -> bool) -> Option<RawFile> {
    let name = entry.file_name().into_string().ok().filter(|name| wanted(name))?;
    let is_readable = entry.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o444 != 0);
    if !is_readable {
        return Some(RawFile { name, content: String::new(), is_cut: false, problem: Some("it can only be written".to_owned()) });
    }
    let mut bytes = Vec::new();
    let limit = CONTENT_BYTES_MAX as u64 + 1;
    match File::open(entry.path()).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => {
            let is_cut = bytes.len() > CONTENT_BYTES_MAX;
            bytes.truncate(CONTENT_BYTES_MAX);
            Some(RawFile { name, content: shown(&bytes), is_cut, problem: None })
        }
        // It went while the folder was listed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(RawFile { name, content: String::new(), is_cut: false, problem: Some(error.to_string()) }),
    }
}

/// Text as it is; any other byte as `\xNN`.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                letter if letter.is_control() => text.extend(letter.escape_default()),
                letter => text.push(letter),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_shown_and_no_more_than_a_few() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("memory.a", b"max 1\n\tx\0\x1b[31m\xff\xfe\n");
        write("memory.long", &[b'7'; CONTENT_BYTES_MAX + 1]);
        write("memory.written", b"never read");
        let only_written = std::fs::Permissions::from_mode(0o200);
        std::fs::set_permissions(folder.path().join("memory.written"), only_written).unwrap();
        write("pids.max", b"max\n");
        std::fs::create_dir(folder.path().join("memory.folder")).unwrap();
        let files = files(folder.path(), |name| name.starts_with("memory."));
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["memory.a", "memory.long", "memory.written"]);
        assert_eq!((files[0].content.as_str(), files[0].is_cut), ("max 1\n\tx\\u{0}\\u{1b}[31m\\xff\\xfe\n", false));
        assert_eq!((files[1].content.len(), files[1].is_cut), (CONTENT_BYTES_MAX, true));
        assert_eq!((files[2].content.as_str(), files[2].problem.is_some()), ("", true));
        assert_eq!(super::files(&folder.path().join("gone"), |_| true), []);
    }
}
