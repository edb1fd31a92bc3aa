//! One file out of an archive of one file: what a browser saves of a container is the file itself, not an archive around it.
//!
//! The archive is the packer's own, piece by piece: headers of extensions, the file's header, its content, zeros. What it says of names
//! is not used. How long the file is was told before; one that became shorter since ends early, which whoever receives it sees, and
//! one that became longer ends where it was told to.

/// Bytes of a header, and what everything is filled up to.
const BLOCK_BYTES: u64 = 512;
/// Where in a header the size is, and its length.
const SIZE_FIELD: std::ops::Range<usize> = 124..136;
/// The largest size that a header holds; of a larger file an extension tells it.
const SIZE_IN_HEADER_MAX: u64 = (8 << 30) - 1;
/// Where in a header the kind is.
const KIND_OFFSET: usize = 156;

/// Where in the archive the next byte is.
enum Place {
    /// In a header, of which this much is there.
    Header(Vec<u8>),
    /// In what belongs to an extension: so much more is left of it.
    Extension(u64),
    /// In the content: so much more is left of it.
    Content(u64),
}

/// Takes an archive of one file apart.
pub(super) struct Single {
    place: Place,
    size_bytes: u64,
}

impl Single {
    /// For a file of this size.
    pub(super) fn new(size_bytes: u64) -> Self {
        Self { place: Place::Header(Vec::new()), size_bytes }
    }

    /// What of the next piece of the archive is the file's.
    pub(super) fn content(&mut self, mut piece: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        while !piece.is_empty() {
            let taken = match &mut self.place {
                Place::Header(head) => {
                    let taken = piece.len().min(BLOCK_BYTES as usize - head.len());
                    head.extend_from_slice(&piece[..taken]);
                    if head.len() == BLOCK_BYTES as usize {
                        self.place = after(head, self.size_bytes);
                    }
                    taken
                }
                Place::Extension(left) => {
                    let taken = shorter(piece, *left);
                    *left -= taken as u64;
                    if *left == 0 {
                        self.place = Place::Header(Vec::new());
                    }
                    taken
                }
                // What follows the content fills the archive up.
                Place::Content(0) => return content,
                Place::Content(left) => {
                    let taken = shorter(piece, *left);
                    content.extend_from_slice(&piece[..taken]);
                    *left -= taken as u64;
                    taken
                }
            };
            piece = &piece[taken..];
        }
        content
    }
}

fn shorter(piece: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(piece.len(), |left| piece.len().min(left))
}

/// What follows a header.
fn after(head: &[u8], size_bytes: u64) -> Place {
    let digits = head[SIZE_FIELD].iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0_u64, |size, digit| size.wrapping_mul(8).wrapping_add(u64::from(digit - b'0')));
    if !matches!(head[KIND_OFFSET], b'x' | b'g' | b'L' | b'K') {
        return Place::Content(if size_bytes > SIZE_IN_HEADER_MAX { size_bytes } else { size_bytes.min(size) });
    }
    match size.next_multiple_of(BLOCK_BYTES) {
        0 => Place::Header(Vec::new()),
        left => Place::Extension(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u8, size: usize) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[KIND_OFFSET] = kind;
        head[SIZE_FIELD][..11].copy_from_slice(format!("{size:011o}").as_bytes());
        head
    }

    fn filled(content: &[u8]) -> Vec<u8> {
        let mut content = content.to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        content
    }

    #[test]
    fn the_file_comes_out_whole_in_whatever_pieces_its_archive_comes() {
        for file in [&b""[..], b"short", &[7; 512], &[9; 1500]] {
            let archive = [block(b'x', 600), filled(&[b'a'; 600]), block(b'0', file.len()), filled(file), vec![0; 1024]].concat();
            for length in [1, 100, 512, 4096] {
                let mut single = Single::new(file.len() as u64);
                let content: Vec<u8> = archive.chunks(length).flat_map(|piece| single.content(piece)).collect();
                assert_eq!(content, file, "in pieces of {length}");
            }
        }
    }

    #[test]
    fn a_file_that_became_shorter_ends_early_and_one_that_became_longer_where_it_was_told_to() {
        let content = |told: u64, packed: &[u8]| {
            let archive = [block(b'0', packed.len()), filled(packed), vec![0; 1024]].concat();
            let mut single = Single::new(told);
            archive.chunks(100).flat_map(|piece| single.content(piece)).collect::<Vec<u8>>()
        };
        assert_eq!(content(600, b"short"), b"short");
        assert_eq!(content(600, b""), b"");
        assert_eq!(content(3, b"longer"), b"lon");
    }
}
