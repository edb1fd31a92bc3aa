//! Files of a container: copied out and in, put back, reset. The work is done by a process of the spawner's
//! ([`belljar_monitor::files`]), never by this one, which has threads and the host's rights.
//! Who may do so when is [`crate::desks`]'s to say.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use belljar_archive::{Entry, Kind, Writer};
use belljar_linux::error::Context;
use belljar_model::files::{Moved, Owners, PathStat};
use belljar_model::overlay::{Difference, Role, Stack};
use belljar_model::{Container, ContainerId, EventKind, Invalid, NewEvent};
use belljar_monitor::files::{Act, Order, Root, WORD_BYTES_MAX, Why, Word};
use belljar_runtime::Spec;
use belljar_runtime::overlay::{self, Undone};
use belljar_runtime::quota;
use belljar_runtime::spec::{OverlayTree, Tree};
use belljar_store::Durability;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::clock::now_ms;
use crate::desks::{OPERATIONS_MAX, Seat, sit_down};
use crate::launch::{Watched, next_word, watched};
use crate::shared::Shared;
use crate::{Error, Notice, Supervisor, inspect};

impl Supervisor {
    /// The layers of the container's root.
    pub async fn stack(&self, id: &ContainerId) -> Result<Stack, Error> {
        self.inspect(id, inspect::stack_of).await?
    }

    /// The layers of the container's root with all that is known of each: its size, its digest, the command that made it.
    pub async fn overlay(&self, id: &ContainerId) -> Result<Stack, Error> {
        overlay(&self.shared, id).await
    }

    /// Bytes of the container's own layer when it was last measured; `None` where it was not yet.
    pub fn upper_bytes(&self, id: &ContainerId) -> Option<u64> {
        crate::quota::of(&self.shared, id).map(|quota| quota.bytes).or_else(|| self.shared.uppers.bytes(id))
    }

    /// How a file of the container differs from what the layers below have.
    pub async fn difference(&self, id: &ContainerId, path: &str) -> Result<Difference, Error> {
        difference(self.stack(id).await?, path).await
    }

    /// What is at a path of the container, whether it is alive or not.
    pub async fn look(&self, id: &ContainerId, path: &str) -> Result<PathStat, Error> {
        look(&self.shared, id, path).await
    }

    /// Copies what is at a path of the container out, as a tar archive.
    pub async fn pack(&self, id: &ContainerId, path: &str) -> Result<Packing, Error> {
        pack(&self.shared, id, path).await
    }

    /// Copies what a tar archive (plain, gzip or zstd) holds into a folder of the container.
    pub async fn unpack(
        &self,
        id: &ContainerId,
        path: &str,
        owners: Owners,
        archive: impl AsyncRead + Send + Unpin,
    ) -> Result<Moved, Error> {
        unpack(&self.shared, id, path, owners, archive).await
    }

    /// Writes one file into a folder of the container: what `content` reads, to its end.
    pub async fn put(&self, id: &ContainerId, folder: &str, name: &str, content: impl AsyncRead + Send + Unpin) -> Result<Moved, Error> {
        put(&self.shared, id, (folder, name), content).await
    }

    /// Puts a path of the container back to what the layers below its own say.
    pub async fn undo(&self, id: &ContainerId, path: &str) -> Result<Moved, Error> {
        undo(&self.shared, id, path).await
    }

    /// Empties the own layer of a container that rests.
    pub async fn reset(&self, id: &ContainerId) -> Result<(), Error> {
        reset(&self.shared, id).await
    }
}

/// Bytes of a block of an archive.
const BLOCK_BYTES: u64 = 512;
/// Bytes of an archive that are handed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// Somebody at work. Dropping it ends that.
#[derive(Debug)]
struct Work {
    container: Container,
    tells: Watched,
    leave: watch::Receiver<u64>,
    _seat: Seat,
    _place: OwnedSemaphorePermit,
}

/// The layers of a container's root.
fn layers_of(shared: &Shared, container: &Container) -> Result<OverlayTree, Error> {
    let written = container.state.is_alive().then(|| inspect::written_spec(&shared.bundle(&container.id).spec())).flatten();
    let spec = match written {
        Some(spec) => spec,
        None => Spec::for_container(container, &shared.images.layers(container)?, &shared.home, 0)?,
    };
    match spec.root.tree {
        Tree::Overlay(layers) => Ok(layers),
        Tree::Folder(_) => Err(Error::Refused { name: container.config.name.clone(), because: "has no layers" }),
    }
}

async fn begin(
    shared: &Arc<Shared>,
    id: &ContainerId,
    path: &str,
    act: impl FnOnce(&OverlayTree) -> Act,
    data: Option<OwnedFd>,
) -> Result<Work, Error> {
    let no_place = || Error::Unavailable { because: format!("{OPERATIONS_MAX} copies of files are under way just now; ask again later") };
    let place = Arc::clone(&shared.desks.places).try_acquire_owned().map_err(|_| no_place())?;
    let (container, seat, leave) = sit_down(shared, id).await?;
    let layers = layers_of(shared, &container)?;
    let act = act(&layers);
    let writes = !matches!(act, Act::Look | Act::Pack);
    if writes && container.config.read_only {
        return Err(Error::Refused { name: container.config.name.clone(), because: "has a read-only root" });
    }
    let root = match container.init.filter(|_| container.state.is_alive()) {
        Some(first) => Root::Running(first),
        None => {
            let made = shared.bundle(id).create();
            made.map_err(|error| Error::failed("make the folders of", container.config.name.to_string(), error))?;
            Root::Layers(layers)
        }
    };
    let order = Order { root, path: path.to_owned(), act };
    let launched = Arc::clone(shared);
    let failed = |error: belljar_linux::Error| Error::failed("work on the files of", container.config.name.to_string(), error);
    let tells = crate::blocking(move || launched.launcher.files(&order, data)).await.map_err(failed)?;
    let tells = watched(tells).map_err(|error| Error::failed("wait for", "a copy", error))?;
    Ok(Work { container, tells, leave, _seat: seat, _place: place })
}

impl Work {
    /// What it says next. Cancel safe.
    async fn word(&mut self) -> Result<Word, Error> {
        let name = self.container.config.name.clone();
        let word = tokio::select! {
            word = next_word(&self.tells, WORD_BYTES_MAX) => word,
            // The sender lives as long as the desk, which is kept by our seat at it.
            _ = self.leave.changed() => return Err(Error::Refused { name, because: "is being started anew, or deleted: the copy was ended" }),
        };
        match word {
            Some(Word::Failed { why, message }) => Err(failed(&self.container, why, message)),
            Some(word) => Ok(word),
            None => Err(Error::Unavailable { because: format!("the copy ended half-way: nothing more was heard of {name}") }),
        }
    }

    async fn found(&mut self) -> Result<PathStat, Error> {
        match self.word().await? {
            Word::Found(stat) => Ok(stat),
            Word::Done(_) | Word::Failed { .. } => Err(self.mistaken()),
        }
    }

    async fn done(&mut self) -> Result<Moved, Error> {
        match self.word().await? {
            Word::Done(moved) => Ok(moved),
            Word::Found(_) | Word::Failed { .. } => Err(self.mistaken()),
        }
    }

    fn mistaken(&self) -> Error {
        Error::Unavailable { because: format!("the copy of {} went wrong: an answer of another kind came", self.container.config.name) }
    }
}

fn failed(container: &Container, why: Why, message: String) -> Error {
    let name = container.config.name.clone();
    match why {
        Why::NotFound => Error::NotFound { what: "path in it:", key: message },
        Why::Invalid => Invalid::new("path", message).into(),
        Why::Conflict => Error::FilesRefused { name, because: message },
        Why::Full => Error::Unavailable { because: format!("there is no room: {message}") },
        Why::Internal => Error::failed("work on the files of", name.to_string(), message),
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let made = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", || "pipe".into());
    made.map_err(|error| Error::failed("make", "a pipe", error))
}

/// What is at a path of a container.
pub(crate) async fn look(shared: &Arc<Shared>, id: &ContainerId, path: &str) -> Result<PathStat, Error> {
    begin(shared, id, path, |_| Act::Look, None).await?.found().await
}

/// Something of a container that is on its way out, as a tar archive. Dropping it ends that.
#[derive(Debug)]
pub struct Packing {
    work: Work,
    stat: PathStat,
    pipe: Option<pipe::Receiver>,
}

/// Begins to copy what is at a path out.
pub(crate) async fn pack(shared: &Arc<Shared>, id: &ContainerId, path: &str) -> Result<Packing, Error> {
    let (ours, theirs) = pair()?;
    let mut work = begin(shared, id, path, |_| Act::Pack, Some(theirs)).await?;
    let stat = work.found().await?;
    let pipe = pipe::Receiver::from_owned_fd(ours).map_err(|error| Error::failed("read", "a pipe", error))?;
    Ok(Packing { work, stat, pipe: Some(pipe) })
}

impl Packing {
    /// What it is.
    pub fn stat(&self) -> &PathStat {
        &self.stat
    }

    /// The next bytes of the archive; `None` at its end. An error means that it is not whole.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        let pipe = self.pipe.as_mut()?;
        let mut piece = vec![0; PIECE_BYTES];
        match pipe.read(&mut piece).await {
            Ok(0) => {
                self.pipe = None;
                self.work.done().await.err().map(Err)
            }
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(piece))
            }
            Err(error) => {
                self.pipe = None;
                Some(Err(Error::failed("read", "an archive", error)))
            }
        }
    }
}

/// Copies what an archive holds into a folder of a container.
pub(crate) async fn unpack(
    shared: &Arc<Shared>,
    id: &ContainerId,
    path: &str,
    owners: Owners,
    mut archive: impl AsyncRead + Send + Unpin,
) -> Result<Moved, Error> {
    let (theirs, ours) = pair()?;
    let mut work = begin(shared, id, path, |_| Act::Unpack(owners), Some(theirs)).await?;
    let mut pipe = pipe::Sender::from_owned_fd(ours).map_err(|error| Error::failed("write", "a pipe", error))?;
    let moved = {
        let sent = async {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                match archive.read(&mut piece).await {
                    Ok(0) => return Ok(()),
                    // It says itself why it reads no further.
                    Ok(length) if pipe.write_all(&piece[..length]).await.is_err() => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::select! {
            sent = sent => sent.map(|()| None),
            done = work.done() => Ok(Some(done)),
        }
    };
    drop(pipe);
    let moved = match moved {
        Ok(Some(done)) => done?,
        Ok(None) => work.done().await?,
        Err(error) => return Err(Error::failed("read", "an archive that was sent", error)),
    };
    let message = format!("{} entries were copied into {path}", moved.entries);
    tell(shared, &work.container, message).await;
    Ok(moved)
}

/// Writes one file. An archive says first how long each is, so it is kept on disk until its end is known, under no name.
pub(crate) async fn put(
    shared: &Arc<Shared>,
    id: &ContainerId,
    (folder, name): (&str, &str),
    mut content: impl AsyncRead + Send + Unpin,
) -> Result<Moved, Error> {
    use tokio::io::AsyncSeekExt as _;
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(Invalid::new("file", "has a name that no file can have").into());
    }
    let failed = |error: std::io::Error| Error::failed("keep", "a file that was sent", error);
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let opened = rustix::fs::open(shared.home.folders.data_dir.join("containers"), flags, mode);
    let mut file = tokio::fs::File::from_std(std::fs::File::from(opened.map_err(|errno| failed(errno.into()))?));
    let size = tokio::io::copy(&mut content, &mut file).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    file.rewind().await.map_err(failed)?;
    let seconds = now_ms() / 1000;
    let kind = Kind::File { size };
    let entry = Entry { name: name.as_bytes(), kind, device: None, mode: 0o644, uid: 0, gid: 0, mtime: (seconds, 0), xattrs: &[] };
    let mut head = Vec::new();
    Writer::new(&mut head).entry(&entry).map_err(failed)?;
    // To the end of its block, and two blocks of nothing.
    let end = vec![0; (BLOCK_BYTES - size % BLOCK_BYTES) as usize % BLOCK_BYTES as usize + 2 * BLOCK_BYTES as usize];
    let archive = std::io::Cursor::new(head).chain(file.take(size)).chain(std::io::Cursor::new(end));
    unpack(shared, id, folder, Owners::Root, archive).await
}

/// Puts a path back to what the layers below say.
pub(crate) async fn undo(shared: &Arc<Shared>, id: &ContainerId, path: &str) -> Result<Moved, Error> {
    let is_undone = {
        let (container, _seat, _) = sit_down(shared, id).await?;
        match container.state.is_alive() {
            true => None,
            false => {
                let (stack, path) = (inspect::stack_of(shared, &container)?, path.to_owned());
                let undone = crate::blocking(move || overlay::undo(&stack, &path)).await.map_err(inspect::overlay_error)?;
                Some((container, undone))
            }
        }
    };
    let (container, moved) = match is_undone {
        Some((_, Undone::AlreadySo)) => return Ok(Moved::default()),
        Some((container, Undone::Removed)) => (container, Moved { entries: 1, ..Moved::default() }),
        Some((_, Undone::HiddenAbove)) | None => {
            let mut work = begin(shared, id, path, |layers| Act::Restore(layers.clone()), None).await?;
            (work.container.clone(), work.done().await?)
        }
    };
    tell(shared, &container, format!("{path} was put back to what its image says")).await;
    Ok(moved)
}

/// Empties the upper layer of a container that rests.
pub(crate) async fn reset(shared: &Arc<Shared>, id: &ContainerId) -> Result<(), Error> {
    let (container, _seat, _) = sit_down(shared, id).await?;
    if container.state.is_alive() {
        let because = "is alive: stop it first, since its processes stand on what a reset removes";
        return Err(Error::Refused { name: container.config.name.clone(), because });
    }
    let (emptied, reset) = (Arc::clone(shared), container.clone());
    crate::blocking(move || empty(&emptied, &reset)).await?;
    tell(shared, &container, "reset to its image: its own layer is empty".to_owned()).await;
    Ok(())
}

/// Its layer anew, in the project that it was in, and as limited as it was.
fn empty(shared: &Shared, container: &Container) -> Result<(), Error> {
    let (bundle, name) = (shared.bundle(&container.id), &container.config.name);
    let remove = || [bundle.upper(), bundle.work()].iter().try_for_each(|folder| belljar_linux::removal::remove(folder));
    let made = quota::keep(&bundle).and_then(|()| remove()).and_then(|()| bundle.create());
    made.map_err(|error| Error::failed("empty the layer of", name.to_string(), error))?;
    crate::quota::begin(shared, (&container.id, name), &container.config.limits)
}

/// How a file differs from the layers below.
pub(crate) async fn difference(stack: Stack, path: &str) -> Result<Difference, Error> {
    let path = path.to_owned();
    crate::blocking(move || overlay::difference(&stack, &path)).await.map_err(inspect::overlay_error)
}

/// The layers of a container's root with all that is known of each: sizes, digests, and what made them.
pub(crate) async fn overlay(shared: &Arc<Shared>, id: &ContainerId) -> Result<Stack, Error> {
    let container = shared.registry.snapshot(id)?;
    let shared = Arc::clone(shared);
    crate::blocking(move || {
        let mut stack = inspect::stack_of(&shared, &container)?;
        describe(&shared, &container, &mut stack);
        stack.quota = crate::quota::of(&shared, &container.id);
        // What is counted all the time need not be walked.
        let counted = || overlay::sizes(&stack).ok().map(|sizes| sizes.upper_bytes);
        let bytes = stack.quota.map(|quota| quota.bytes).or_else(counted);
        if let Some(upper) = stack.layers.first_mut() {
            upper.size_bytes = bytes;
        }
        if let Some(bytes) = bytes {
            shared.uppers.note(&container.id, bytes);
        }
        Ok(stack)
    })
    .await
}

/// Tells of an image's layers what the image says of them.
fn describe(shared: &Shared, container: &Container, stack: &mut Stack) {
    // Its name may mean another one by now.
    let is_its = |digest: &str| container.image_digest.as_deref() == Some(digest);
    let Some(image) = shared.images.all().into_iter().find(|image| is_its(&image.digest)) else { return };
    for layer in stack.layers.iter_mut().filter(|layer| layer.role == Role::Image && layer.at.is_empty()) {
        // A layer's folder is named by the digest of its archive.
        let folder = Path::new(&layer.path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_it = |digest: &str| digest.strip_prefix("sha256:") == Some(folder);
        if let Some(info) = image.contents.layers.iter().find(|info| is_it(&info.diff_id)) {
            layer.digest = Some(info.diff_id.clone());
            layer.size_bytes = Some(info.size_bytes);
            layer.command.clone_from(&info.command);
        } else if is_it(&image.digest) {
            layer.digest = Some(image.digest.clone());
            layer.size_bytes = Some(image.size_bytes);
        }
    }
}

/// What was changed from outside is an event. One that could not be recorded happened all the same.
async fn tell(shared: &Arc<Shared>, container: &Container, message: String) {
    shared.uppers.stale(&container.id);
    let event = NewEvent {
        at_ms: now_ms(),
        kind: EventKind::FilesChanged,
        container: Some(container.id.clone()),
        subject: container.config.name.to_string(),
        message,
    };
    match shared.store.tell(event, Durability::Deferred).await {
        Ok(Some(event)) => shared.notify(Notice::Event(event)),
        Ok(None) => {}
        Err(error) => {
            tracing::error!(
                container.id = container.id.short(),
                error = crate::error::chain(&error),
                "a change of files could not be recorded"
            )
        }
    }
    shared.notify(Notice::Container(container.id.clone()));
}
