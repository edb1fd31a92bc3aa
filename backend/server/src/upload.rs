//! An archive on its way in: from the network through a short pipe into whoever unpacks it, never whole in memory.
//!
//! ```text
//! chunks of the body ──► pump ──► [8 chunks] ──► reader ──► Supervisor::import_image, Supervisor::unpack
//! ```
//!
//! The pipe ends where it is told to end, and nowhere else: when a body breaks off, or the request is given up, half an
//! archive must not look like a whole one.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use belljar_api::problem::Kind;
use belljar_model::{Image, ImageName};
use belljar_supervisor::Supervisor;
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use crate::fault::{Answer, Fault};

/// Chunks between the network and the importer.
const CHUNKS_MAX: usize = 8;
/// Most bytes that are still read, and thrown away, after the importer has refused: a client that is cut off while it
/// sends may never see why.
const DRAINED_BYTES_MAX: usize = 16 << 20;

/// Longest silence of whoever sends. Somebody who goes away without a word would hold a place among the imports for ever.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// What goes through the pipe.
enum Piece {
    Chunk(Bytes),
    End,
}

/// What an archive is read from.
pub(crate) type Archive = StreamReader<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, Bytes>;

/// Imports the archive that `chunks` carry.
pub(crate) async fn import<C, E>(supervisor: &Supervisor, name: Option<ImageName>, chunks: C) -> Answer<Image>
where
    C: Stream<Item = Result<Bytes, E>> + Unpin,
{
    feed(chunks, |archive| supervisor.import_image(name, archive)).await
}

/// Lets `reader` read the archive that `chunks` carry.
pub(crate) async fn feed<C, E, T, F>(chunks: C, reader: impl FnOnce(Archive) -> F) -> Answer<T>
where
    C: Stream<Item = Result<Bytes, E>> + Unpin,
    F: Future<Output = Result<T, belljar_supervisor::Error>>,
{
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let archive: Archive = StreamReader::new(Box::pin(pieces(receiver)));
    match tokio::join!(reader(archive), pump(chunks, sender)) {
        (Ok(read), _) => Ok(read),
        // The reader's own words would blame the archive, or us.
        (Err(_), Sent::Part) => Err(Fault::new(Kind::Malformed, "the upload ended before the archive did")),
        (Err(_), Sent::Stalled) => {
            Err(Fault::new(Kind::Malformed, format!("the upload stalled: nothing came for {} seconds", IDLE_LIMIT.as_secs())))
        }
        (Err(error), Sent::Enough) => Err(error.into()),
    }
}

/// How much of the body was sent on.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// All of it, or as much as the importer wanted.
    Enough,
    /// As much as there was: it broke off.
    Part,
    /// As much as came, until nothing did for [`IDLE_LIMIT`].
    Stalled,
}

/// The other end of the pipe.
fn pieces(receiver: mpsc::Receiver<Piece>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Some(Piece::Chunk(bytes)) => Some((Ok(bytes), receiver)),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload ended before the archive did")), receiver)),
        }
    })
}

async fn pump<C, E>(mut chunks: C, sender: mpsc::Sender<Piece>) -> Sent
where
    C: Stream<Item = Result<Bytes, E>> + Unpin,
{
    loop {
        // Only the sender's silence counts: while the importer takes its time, nothing is asked for.
        let Ok(next) = timeout(IDLE_LIMIT, chunks.next()).await else { return Sent::Stalled };
        let Some(chunk) = next else { break };
        let Ok(chunk) = chunk else { return Sent::Part };
        if sender.send(Piece::Chunk(chunk)).await.is_err() {
            drain(chunks).await;
            return Sent::Enough;
        }
    }
    // Where nobody reads any more, nobody needs to know.
    let _ = sender.send(Piece::End).await;
    Sent::Enough
}

async fn drain<C: Stream<Item = Result<Bytes, E>> + Unpin, E>(mut chunks: C) {
    let mut left = DRAINED_BYTES_MAX;
    while let Ok(Some(Ok(chunk))) = timeout(IDLE_LIMIT, chunks.next()).await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn read_through(chunks: Vec<Result<Bytes, io::Error>>) -> io::Result<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(1);
        let mut reader = StreamReader::new(Box::pin(pieces(receiver)));
        let mut read = Vec::new();
        let (result, _) = tokio::join!(reader.read_to_end(&mut read), pump(futures_util::stream::iter(chunks), sender));
        result.map(|_| read)
    }

    #[tokio::test]
    async fn an_archive_arrives_in_order() {
        let chunks = (0..100u8).map(|byte| Ok(Bytes::from(vec![byte; 3]))).collect();
        assert_eq!(read_through(chunks).await.expect("whole").len(), 300);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_the_end_of_an_archive() {
        let broken = vec![Ok(Bytes::from_static(b"half")), Err(io::Error::other("the connection was reset"))];
        assert_eq!(read_through(broken).await.map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_sending_is_not_waited_for_for_ever() {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let silent = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"half"))]).chain(futures_util::stream::pending());
        let begun = tokio::time::Instant::now();
        assert_eq!(pump(silent, sender).await, Sent::Stalled);
        assert_eq!(begun.elapsed().as_secs(), IDLE_LIMIT.as_secs());
        let mut read = Vec::new();
        let ended = StreamReader::new(Box::pin(pieces(receiver))).read_to_end(&mut read).await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof), "which is no end of an archive");
    }

    #[tokio::test]
    async fn what_the_importer_no_longer_wants_is_read_away() {
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        let chunks = futures_util::stream::iter((0..10).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"x"))));
        assert_eq!(pump(chunks, sender).await, Sent::Enough);
    }
}
