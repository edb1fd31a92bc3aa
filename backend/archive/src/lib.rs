//! The tar format: bytes in, entries out, and the other way round. Whoever unpacks, and where, is not known here; nothing touches a disk.
//!
//! An archive is hostile until it has been read to its end. What two readers could take differently is refused ([`reader`]),
//! what could grow without a bound has a limit ([`limits`]), and decompression happens here, in this process, never by a program
//! that somebody else may have put in the way (CVE-2026-41567). What becomes of an entry (where it may be written, by whose ids)
//! is for whoever unpacks it: layers of images, files copied into a container.
//!
//! Start reading at [`reader::Archive`].

mod error;
mod header;
pub mod limits;
pub mod name;
mod pax;
pub mod reader;
mod sparse;
mod stream;
pub mod writer;

pub use error::{ArchiveError, shown};
pub use limits::ArchiveLimits;
pub use pax::keeps_xattr;
pub use reader::{Archive, Kind, Member, Sink, Unheard};
pub use stream::Stream;
pub use writer::{Entry, Writer};
