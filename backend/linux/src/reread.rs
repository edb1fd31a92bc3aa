//! Files of the kernel that are read again and again: kept open, and read from their beginning each time.
//!
//! Opening a file of `/proc` or of a cgroup costs several times what reading it does, so it is done once. How many are kept
//! open is bounded for all of them together ([`Descriptors`]); one too many is opened for each reading, and is as right.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes that are read of one file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Room that nearly every file fits in, in bytes.
const USUAL_BYTES: usize = 16 << 10;

/// Descriptors that may still be kept open.
#[derive(Debug)]
pub struct Descriptors {
    left: AtomicUsize,
}

impl Descriptors {
    /// So many, and no more.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(count) })
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give_back(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a file tells that it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// By less than there was room for: a file that is written as a whole, as those of cgroups are.
    Short,
    /// By nothing more: a file that is written line by line, and a page at most at once, as tables of `/proc` are.
    Empty,
}

/// Where contents are read to. One serves any number of files, one after the other.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: vec![0; USUAL_BYTES] }
    }
}

impl Buffer {
    /// Reads all of the file; how many bytes it has.
    fn fill(&mut self, file: &File, ends: Ends) -> std::io::Result<usize> {
        let mut length = 0;
        loop {
            let room = self.bytes.len() - length;
            let read = file.read_at(&mut self.bytes[length..], length as u64)?;
            length += read;
            if read == 0 || (ends == Ends::Short && read < room) {
                return Ok(length);
            }
            if length == self.bytes.len() {
                if length >= FILE_BYTES_MAX {
                    return Ok(length);
                }
                self.bytes.resize(length * 2, 0);
            }
        }
    }
}

/// One such file.
#[derive(Debug)]
pub struct Reread {
    path: PathBuf,
    ends: Ends,
    kept: Option<File>,
    descriptors: Arc<Descriptors>,
}

impl Reread {
    /// The file at `path`, which need not be there yet.
    pub fn new(path: PathBuf, ends: Ends, descriptors: &Arc<Descriptors>) -> Self {
        Self { path, ends, kept: None, descriptors: Arc::clone(descriptors) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its content now; `None` where it is missing or cannot be read. A file whose folder was removed, and made anew, is
    /// found again.
    pub fn read<'a>(&mut self, buffer: &'a mut Buffer) -> Option<&'a [u8]> {
        let length = self.reread(buffer).or_else(|| self.open_and_read(buffer))?;
        Some(&buffer.bytes[..length])
    }

    fn reread(&mut self, buffer: &mut Buffer) -> Option<usize> {
        match buffer.fill(self.kept.as_ref()?, self.ends) {
            Ok(length) => Some(length),
            // ENODEV: it was removed while it was open.
            Err(_) => {
                self.close();
                None
            }
        }
    }

    fn open_and_read(&mut self, buffer: &mut Buffer) -> Option<usize> {
        let file = File::open(&self.path).ok()?;
        let length = buffer.fill(&file, self.ends).ok()?;
        if self.descriptors.take() {
            self.kept = Some(file);
        }
        Some(length)
    }

    fn close(&mut self) {
        if self.kept.take().is_some() {
            self.descriptors.give_back();
        }
    }
}

impl Drop for Reread {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &mut Reread, buffer: &mut Buffer) -> Option<String> {
        file.read(buffer).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn a_file_is_read_anew_each_time_through_one_descriptor() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let (descriptors, mut buffer) = (Descriptors::new(1), Buffer::default());
        let mut file = Reread::new(path.clone(), Ends::Short, &descriptors);
        assert_eq!((text(&mut file, &mut buffer), descriptors.left()), (None, 1), "what is missing is not counted");
        std::fs::write(&path, "first").expect("written");
        assert_eq!((text(&mut file, &mut buffer).as_deref(), descriptors.left()), (Some("first"), 0));
        std::fs::write(&path, "2").expect("written");
        assert_eq!(text(&mut file, &mut buffer).as_deref(), Some("2"));
        let mut second = Reread::new(path, Ends::Short, &descriptors);
        assert_eq!(text(&mut second, &mut buffer).as_deref(), Some("2"), "one too many is read all the same");
        assert!(second.kept.is_none());
        drop(file);
        assert_eq!(descriptors.left(), 1, "a descriptor is given back");
    }

    #[test]
    fn a_file_that_is_longer_than_the_buffer_is_read_to_its_end_or_to_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let (descriptors, mut buffer) = (Descriptors::new(9), Buffer::default());
        for (bytes, read) in [(USUAL_BYTES, USUAL_BYTES), (USUAL_BYTES * 3, USUAL_BYTES * 3), (FILE_BYTES_MAX + 1, FILE_BYTES_MAX)] {
            let path = folder.path().join(bytes.to_string());
            std::fs::write(&path, vec![b'x'; bytes]).expect("written");
            for ends in [Ends::Short, Ends::Empty] {
                let length = Reread::new(path.clone(), ends, &descriptors).read(&mut buffer).map(<[u8]>::len);
                assert_eq!(length, Some(read), "{bytes} {ends:?}");
            }
        }
    }
}
