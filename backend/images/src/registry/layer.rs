//! One layer from the registry to disk, in one pass: what arrives is hashed here and unpacked on another thread, and a connection that
//! breaks is taken up where it broke, in the middle of the same archive.
//!
//! ```text
//! network ─▶ count, hash ─▶ bounded channel ─▶ (a thread) inflate ─▶ hash, unpack ─▶ StagedLayer
//!    ▲                          │
//!    └── Range: from here on ◀──┘ broken, stalled, 429
//! ```
//!
//! Nothing is believed before the end: the archive's end reaches the unpacker only when size and digest are right, so a layer that was
//! cut off or changed is never whole.

use std::io::{self, Read};
use std::sync::Arc;

use belljar_archive::{ArchiveError, ArchiveLimits};
use belljar_model::pull::PullLayerState;
use hyper::body::Bytes;
use hyper::http::{HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc};

use super::error::Cause;
use super::limits::{BLOB_BYTES_MAX, PIECES_MAX};
use super::progress::Tally;
use super::session::{Ask, Session};
use super::shelf::Slot;
use super::wire::Answer;
use crate::config::Descriptor;
use crate::digest::Digest;
use crate::import::StagedLayer;
use crate::store::Images;

/// One layer that is wanted.
pub(super) struct Job {
    /// Its place in the image.
    pub(super) index: usize,
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
    /// Where it is put until all are there.
    pub(super) slot: Arc<Slot>,
}

/// What every layer of a pull needs.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) session: Arc<Session>,
    pub(super) images: Images,
    /// Places for layers that come at once, of this registry.
    pub(super) places: Arc<Semaphore>,
    /// Is dropped by the last thread that still unpacks.
    pub(super) alive: mpsc::Sender<()>,
}

/// Has the layer on disk or in its slot, by fetching it where it is in neither.
pub(super) async fn bring(means: Means, job: Job) -> Result<(), Cause> {
    let progress = means.session.progress();
    // Whoever else brings it now is waited for; if that fails, it is our turn.
    let mut staged = job.slot.staged.lock().await;
    if staged.is_some() || means.images.has_layer(&job.diff_id) {
        progress.layer(job.index, PullLayerState::Present);
        return Ok(());
    }
    let place = means.places.acquire().await;
    progress.layer(job.index, PullLayerState::Fetching);
    *staged = Some(stage(&means, &job).await?);
    drop(place);
    progress.layer(job.index, PullLayerState::Done);
    Ok(())
}

async fn stage(means: &Means, job: &Job) -> Result<StagedLayer, Cause> {
    let (to, from) = mpsc::channel(PIECES_MAX);
    let (images, alive) = (means.images.clone(), means.alive.clone());
    let unpacking = tokio::task::spawn_blocking(move || {
        let staged = unpack(&images, from);
        drop(alive);
        staged
    });
    let fetched = fetch(&means.session, job, to).await;
    let digest = job.blob.digest.to_string();
    let unpacked = unpacking.await.map_err(|_| Cause::GivenUp { digest: digest.clone() })?;
    let staged = match (fetched, unpacked) {
        (Err(Ended::Cause(cause)), _) => return Err(cause),
        (_, Err(source)) if source.is_invalid() => return Err(Cause::Layer { digest, source }),
        (_, Err(source)) => return Err(Cause::Keep { digest, source }),
        (Err(Ended::Unheard), Ok(_)) => return Err(Cause::GivenUp { digest }),
        (Ok(()), Ok(staged)) => staged,
    };
    if staged.diff_id == job.diff_id {
        return Ok(staged);
    }
    let is = staged.diff_id.to_string();
    // Thousands of files are removed.
    let _removed = tokio::task::spawn_blocking(move || drop(staged)).await;
    Err(Cause::Digest { what: format!("the layer {digest}, without its compression,"), said: job.diff_id.to_string(), is })
}

fn unpack(images: &Images, from: mpsc::Receiver<Piece>) -> Result<StagedLayer, ArchiveError> {
    let mut arriving = Arriving { from, piece: Bytes::new(), has_ended: false };
    let staged = images.stage_layer(&mut arriving, &ArchiveLimits::default())?;
    // What an archive leaves unread counts for its digest all the same.
    io::copy(&mut arriving, &mut io::sink()).map_err(|source| ArchiveError::Read { offset: 0, source })?;
    Ok(staged)
}

/// What goes through the channel.
enum Piece {
    Bytes(Bytes),
    /// All is there, and is what it should be.
    End,
}

/// The other end of the channel.
struct Arriving {
    from: mpsc::Receiver<Piece>,
    piece: Bytes,
    has_ended: bool,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.has_ended {
            match self.from.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.piece = bytes,
                Some(Piece::End) => self.has_ended = true,
                // Not the archive's end: whoever fetched it gave up.
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = self.piece.len().min(into.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Why fetching ended.
enum Ended {
    Cause(Cause),
    /// The unpacker takes no more: it has its own reason.
    Unheard,
}

impl From<Cause> for Ended {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

/// What has arrived of a layer so far.
struct Arrived<'a> {
    blob: &'a Descriptor,
    what: String,
    bytes: u64,
    hasher: Sha256,
    /// Which version the first answer was of.
    validator: Option<HeaderValue>,
    /// Whether the server is asked for the rest alone.
    by_range: bool,
    tally: Tally<'a>,
    to: mpsc::Sender<Piece>,
}

/// Fetches a layer into `to`.
async fn fetch(session: &Session, job: &Job, to: mpsc::Sender<Piece>) -> Result<(), Ended> {
    let what = format!("the layer {}", job.blob.digest);
    if job.blob.size_bytes > BLOB_BYTES_MAX {
        return Err(Cause::TooLarge { what, max_bytes: BLOB_BYTES_MAX }.into());
    }
    let tally = Tally::new(session.progress(), job.index);
    let hasher = Sha256::new();
    let mut arrived = Arrived { blob: &job.blob, what, bytes: 0, hasher, validator: None, by_range: true, tally, to };
    let mut tries = session.tries();
    loop {
        let before = arrived.bytes;
        match arrived.go_on(session).await {
            Ok(()) => break,
            Err(Ended::Cause(cause)) => tries.after(cause, arrived.bytes - before).await?,
            Err(Ended::Unheard) => return Err(Ended::Unheard),
        }
    }
    let is = Digest::new(arrived.hasher.finalize().into());
    if is != job.blob.digest {
        return Err(Cause::Digest { what: arrived.what, said: job.blob.digest.to_string(), is: is.to_string() }.into());
    }
    arrived.to.send(Piece::End).await.map_err(|_| Ended::Unheard)
}

impl Arrived<'_> {
    /// One try: asks for what is missing, and takes what comes.
    async fn go_on(&mut self, session: &Session) -> Result<(), Ended> {
        let from = if self.by_range { self.bytes } else { 0 };
        let ask = Ask::get(&self.what).from(from, self.validator.clone());
        let answered = session.once(&ask, &format!("blobs/{}", self.blob.digest)).await;
        let mut answer = answered.map_err(|cause| match cause {
            Cause::NotThere { .. } => Cause::NoBlob { what: self.what.clone() },
            other => other,
        })?;
        let begins = self.begins(&answer, from)?;
        self.check_said(&answer, begins)?;
        if self.validator.is_none() {
            // A weak one says "much the same", and bytes are not counted in that.
            self.validator = answer.headers().get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")).cloned();
        }
        self.take(&mut answer, begins).await
    }

    /// At which byte the answer begins.
    fn begins(&mut self, answer: &Answer, from: u64) -> Result<u64, Cause> {
        let again = |arrived: &mut Self| {
            arrived.by_range = false;
            Cause::Ended { host: answer.endpoint().to_string() }
        };
        match answer.status() {
            StatusCode::OK => Ok(0),
            StatusCode::PARTIAL_CONTENT if from > 0 => match answer.header(header::CONTENT_RANGE).and_then(content_range) {
                Some((begins, total)) if begins == from => match total.filter(|total| *total != self.blob.size_bytes) {
                    None => Ok(begins),
                    Some(total) => Err(self.has(total.to_string())),
                },
                // It begins elsewhere, or does not say where: it is asked for the whole.
                _ => Err(again(self)),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => Err(again(self)),
            status => Err(Cause::Status { what: self.what.clone(), status: status.as_u16() }),
        }
    }

    /// Refuses an answer that says it has another length.
    fn check_said(&self, answer: &Answer, begins: u64) -> Result<(), Cause> {
        match answer.said_bytes().map(|said| said.saturating_add(begins)) {
            Some(said) if said != self.blob.size_bytes => Err(self.has(said.to_string())),
            _ => Ok(()),
        }
    }

    fn has(&self, has: impl Into<String>) -> Cause {
        Cause::Size { what: self.what.clone(), said: self.blob.size_bytes, has: has.into() }
    }

    /// Takes the body of an answer that begins at byte `at`, and passes over what is here already, if it is still the same.
    async fn take(&mut self, answer: &mut Answer, mut at: u64) -> Result<(), Ended> {
        let mut again = (at < self.bytes).then(Sha256::new);
        loop {
            let piece = match answer.piece().await {
                // Everything is there. That the server does not end properly is its own affair.
                Err(_) if again.is_none() && self.bytes == self.blob.size_bytes => return Ok(()),
                piece => piece?,
            };
            let Some(mut piece) = piece else { break };
            if piece.len() as u64 > self.blob.size_bytes - at {
                return Err(self.has("more").into());
            }
            at += piece.len() as u64;
            if let Some(hasher) = &mut again {
                let missing = usize::try_from(at.saturating_sub(self.bytes)).unwrap_or(usize::MAX).min(piece.len());
                let known = piece.split_to(piece.len() - missing);
                hasher.update(&known);
                if at < self.bytes {
                    continue;
                }
                if again.take().map(Sha256::finalize) != Some(self.hasher.clone().finalize()) {
                    return Err(Cause::Changed { what: self.what.clone() }.into());
                }
            }
            self.hand_on(piece).await?;
        }
        if self.bytes == self.blob.size_bytes {
            return Ok(());
        }
        if answer.ends_with_the_connection() {
            return Err(Cause::Ended { host: answer.endpoint().to_string() }.into());
        }
        Err(self.has(format!("only {at}")).into())
    }

    async fn hand_on(&mut self, piece: Bytes) -> Result<(), Ended> {
        if piece.is_empty() {
            return Ok(());
        }
        self.hasher.update(&piece);
        self.bytes += piece.len() as u64;
        self.tally.received(self.bytes);
        self.to.send(Piece::Bytes(piece)).await.map_err(|_| Ended::Unheard)
    }
}

/// First byte and length of the whole, of `bytes 100-199/200`; the length may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (begins, _last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((begins.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_part_begins_is_read_or_not_believed() {
        for (text, expected) in [
            ("bytes 100-199/200", Some((100, Some(200)))),
            ("bytes 100-199/*", Some((100, None))),
            ("bytes */200", None),
            ("bytes 1-2", None),
            ("bytes -1-2/3", None),
            ("bytes 1-2/99999999999999999999999", None),
            ("items 1-2/3", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
