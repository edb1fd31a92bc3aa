//! Small files of the kernel: a line, a list, a table. They say 0 bytes of themselves, so `std::fs::read_to_string` asks for their
//! size in vain and reads most of them in five pieces.
//!
//! It must never be given a file that somebody else may make long.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// What is read at once: the kernel fills a page where it has as much.
const PIECE_BYTES: usize = 4096;

/// The whole text of a file.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    let mut piece = [0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return String::from_utf8(text).map_err(|_| ErrorKind::InvalidData.into()),
            // Tables end a piece where the next line would not fit: only an empty one is the end.
            Ok(length) => text.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_the_standard_library_reads_it() {
        let long = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(long.path(), "0123456789".repeat(1000)).unwrap();
        for path in [Path::new("/proc/self/cgroup"), Path::new("/proc/self/mountinfo"), long.path()] {
            assert_eq!(read(path).unwrap(), std::fs::read_to_string(path).unwrap(), "{}", path.display());
        }
        assert_eq!(read("/no/such/file").unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(long.path(), [0xff]).unwrap();
        assert_eq!(read(long.path()).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
