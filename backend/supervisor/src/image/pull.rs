//! Images on their way from registries: one task for each, however many ask for it.
//!
//! ```text
//! asker ──▶ Pulling ─┐                      ┌─▶ registry client ─▶ layers
//! asker ──▶ Pulling ─┴─ one task ───────────┴─▶ row, name, event; then everybody is told
//! ```
//!
//! A pull goes on while somebody watches it, or until somebody cancels it; with the last [`Pulling`] that is dropped it ends, and
//! nothing of it is left that no other image needs. Who wants it to go on unwatched says so ([`Pulling::keep`]).
//!
//! What failed is an event, and is told among the pulls with its reason until somebody dismisses it or pulls it again: who began it
//! may have looked elsewhere meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use belljar_images::config::host_platform;
use belljar_images::registry::{Client, Kind, PullError, Pulled, Settings, Snapshot, Wanted};
use belljar_model::image::{ImageKind, Platform};
use belljar_model::pull::PullState;
use belljar_model::{EventKind, Image, ImageName, Invalid, NewEvent, Pull, Reference, size};
use belljar_store::{Documents, Durability, ImageChange};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::change::{apply, event, forget_layers, name, short};
use super::login;
use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Error, ErrorKind, Notice};

/// Pulls under way at once; each holds connections and threads.
const PULLS_MAX: usize = 16;

/// Failed pulls that are told until somebody dismisses them; with more than that, the oldest are forgotten. The events have them all.
const FAILED_KEPT: usize = 16;

/// What is pulled for which platform.
type Key = (ImageName, Option<Platform>);

/// What became of a pull.
type Outcome = Result<ImageName, Failed>;

/// A pull that failed, for everybody who asked.
#[derive(Debug, Clone)]
struct Failed {
    kind: ErrorKind,
    problem: String,
}

/// All pulls under way, and who does them.
pub(super) struct Pulls {
    pub(super) client: Client,
    running: Mutex<BTreeMap<Key, Running>>,
    failed: Mutex<BTreeMap<Key, Pull>>,
}

struct Running {
    picture: watch::Receiver<Pull>,
    outcome: watch::Receiver<Option<Outcome>>,
    interest: Weak<Interest>,
    /// Somebody wants it who does not watch.
    kept: Option<Arc<Interest>>,
}

/// As long as anybody has it, the pull goes on.
#[derive(Debug)]
struct Interest(CancellationToken);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A pull that is watched.
#[derive(Debug)]
pub struct Pulling {
    picture: watch::Receiver<Pull>,
    outcome: watch::Receiver<Option<Outcome>>,
    interest: Arc<Interest>,
    shared: Weak<Shared>,
    key: Key,
}

impl Pulling {
    /// The pull as it is now.
    pub fn now(&self) -> Pull {
        self.picture.borrow().clone()
    }

    /// The pull once it is otherwise than when it was last looked at; as it is at once where it is over.
    pub async fn next(&mut self) -> Pull {
        if !self.picture.borrow().is_over() {
            // Its task ends only after the last picture.
            drop(self.picture.changed().await);
        }
        self.picture.borrow_and_update().clone()
    }

    /// Waits for the end of the pull.
    pub async fn finish(mut self) -> Result<Image, Error> {
        let outcome = match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let shared = self.shared.upgrade().ok_or_else(closing)?;
        match outcome {
            Some(Ok(name)) => shared.images.find(name.as_str()),
            Some(Err(Failed { kind, problem })) => Err(Error::PullFailed { kind, problem }),
            None => Err(closing()),
        }
    }

    /// Lets the pull go on when nobody watches it any more.
    pub fn keep(self) {
        if let Some(shared) = self.shared.upgrade()
            && let Some(running) = shared.images.pulls.running().get_mut(&self.key)
        {
            running.kept = Some(self.interest);
        }
    }
}

fn closing() -> Error {
    Error::Unavailable { because: "the server is closing".to_owned() }
}

impl Pulls {
    pub(super) fn new(folder: belljar_images::Images, settings: Settings) -> Self {
        Self { client: Client::new(folder, settings), running: Mutex::default(), failed: Mutex::default() }
    }

    fn failed(&self) -> MutexGuard<'_, BTreeMap<Key, Pull>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a failed pull from now on.
    fn remember(&self, key: Key, pull: Pull) {
        let mut failed = self.failed();
        failed.insert(key, pull);
        while failed.len() > FAILED_KEPT {
            let oldest = failed.iter().min_by_key(|(_, pull)| pull.began_at_ms).map(|(key, _)| key.clone());
            oldest.and_then(|key| failed.remove(&key));
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Key, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every pull under way, by name; then those that failed.
    pub(super) fn all(&self) -> Vec<Pull> {
        let mut all: Vec<Pull> = self.running().values().map(|running| running.picture.borrow().clone()).collect();
        all.extend(self.failed().values().cloned());
        all
    }

    /// Ends the pulls of this name, and tells no more of those that failed; whether there was one.
    pub(super) fn cancel(&self, name: &ImageName) -> bool {
        let was_told = self.dismiss(name);
        let running = self.running();
        let tokens = running.iter().filter(|((of, _), _)| of == name).filter_map(|(_, running)| running.interest.upgrade());
        tokens.map(|interest| interest.0.cancel()).count() > 0 || was_told
    }

    /// Tells no more of failed pulls of this name; whether there was one.
    pub(super) fn dismiss(&self, name: &ImageName) -> bool {
        let mut failed = self.failed();
        let before = failed.len();
        failed.retain(|(of, _), _| of != name);
        failed.len() < before
    }
}

/// Pulls an image, or watches who does already. It goes on while the answer is held.
pub(super) fn pull(shared: &Arc<Shared>, asked: &ImageName, platform: Option<Platform>) -> Result<Pulling, Error> {
    let reference = asked.reference().ok_or_else(|| Invalid::new("image", "is none of a registry: it cannot be pulled"))?;
    // A tag beside a digest says nothing.
    let reference = reference.digest().map_or(reference.clone(), |digest| reference.with_digest(digest));
    let key = (ImageName::from(&reference), platform);
    let mut running = shared.images.pulls.running();
    let watched = |running: &Running, interest| Pulling {
        picture: running.picture.clone(),
        outcome: running.outcome.clone(),
        interest,
        shared: Arc::downgrade(shared),
        key: key.clone(),
    };
    if let Some((running, interest)) = running.get(&key).and_then(|running| Some((running, running.interest.upgrade()?)))
        && !interest.0.is_cancelled()
    {
        return Ok(watched(running, interest));
    }
    if running.len() >= PULLS_MAX {
        return Err(Error::Unavailable { because: format!("{PULLS_MAX} images are being pulled already, which is the most at once") });
    }
    let began = Pull { name: key.0.clone(), state: PullState::Resolving, layers: Vec::new(), began_at_ms: now_ms() };
    let (picture, pictures) = watch::channel(began);
    let (outcome, outcomes) = watch::channel(None);
    let interest = Arc::new(Interest(CancellationToken::new()));
    let new = Running { picture: pictures, outcome: outcomes, interest: Arc::downgrade(&interest), kept: None };
    let pulling = watched(&new, Arc::clone(&interest));
    let cancelled = interest.0.clone();
    running.insert(key.clone(), new);
    shared.images.pulls.failed().remove(&key);
    tokio::spawn(run(Arc::clone(shared), Work { key, reference, cancelled, picture, outcome }));
    Ok(pulling)
}

struct Work {
    key: Key,
    reference: Reference,
    cancelled: CancellationToken,
    picture: watch::Sender<Pull>,
    outcome: watch::Sender<Option<Outcome>>,
}

async fn run(shared: Arc<Shared>, work: Work) {
    let outcome = match bring(&shared, &work).await {
        // From here on it is a moment, which nobody interrupts.
        Ok(pulled) => place(&shared, &work, pulled).await.map_err(|error| failure(&error)),
        Err(failed) => Err(failed),
    };
    let is_failed = outcome.is_err() && !work.cancelled.is_cancelled();
    {
        let mut running = shared.images.pulls.running();
        // It may have been cancelled, and asked for again since.
        if running.get(&work.key).is_some_and(|running| running.picture.same_channel(&work.picture.subscribe())) {
            running.remove(&work.key);
            if let Err(Failed { problem, .. }) = &outcome
                && is_failed
            {
                let state = PullState::Failed { problem: problem.clone() };
                shared.images.pulls.remember(work.key.clone(), Pull { state, ..work.picture.borrow().clone() });
            }
        }
    }
    if let Err(Failed { problem, .. }) = &outcome
        && is_failed
    {
        tell(&shared, event(EventKind::ImagePullFailed, &work.key.0, format!("not pulled: {problem}"))).await;
    }
    let state = match &outcome {
        Ok(manifest_digest) => PullState::Done { manifest_digest: manifest_digest.clone() },
        Err(failed) => PullState::Failed { problem: failed.problem.clone() },
    };
    work.outcome.send_replace(Some(outcome.map(|_| work.key.0)));
    work.picture.send_modify(|pull| pull.state = state);
}

async fn tell(shared: &Shared, event: NewEvent) {
    match shared.store.tell(event, Durability::Deferred).await {
        Ok(told) => told.into_iter().for_each(|event| shared.notify(Notice::Event(event))),
        Err(error) => tracing::error!(error = crate::error::chain(&error), "that a pull failed could not be recorded"),
    }
}

/// Has the registry's client bring it, and passes its pictures on.
async fn bring(shared: &Shared, work: &Work) -> Result<Pulled, Failed> {
    let platform = work.key.1.clone().unwrap_or_else(host_platform);
    let credentials = login::of(shared, work.reference.registry()).await.map_err(|error| failure(&error))?;
    let wanted = Wanted { reference: work.reference.clone(), platform, credentials };
    let (progress, mut pictures) = watch::channel(Snapshot::default());
    let pulling = shared.images.pulls.client.pull(&wanted, &progress);
    tokio::pin!(pulling);
    loop {
        tokio::select! {
            biased;
            () = work.cancelled.cancelled() => {
                return Err(Failed { kind: ErrorKind::Conflict, problem: format!("the pull of {} was cancelled", work.key.0) });
            }
            pulled = &mut pulling => {
                pass_on(&mut pictures, &work.picture);
                return pulled.map_err(|error| refused(&error));
            }
            Ok(()) = pictures.changed() => pass_on(&mut pictures, &work.picture),
        }
    }
}

fn pass_on(pictures: &mut watch::Receiver<Snapshot>, to: &watch::Sender<Pull>) {
    let Snapshot { state, layers } = pictures.borrow_and_update().clone();
    to.send_modify(|pull| (pull.state, pull.layers) = (state, layers));
}

fn refused(error: &PullError) -> Failed {
    let kind = match error.kind() {
        // A registry does not say which of both it is, to whom it is none of their business.
        Kind::NotFound | Kind::Denied => ErrorKind::NotFound,
        Kind::RateLimited | Kind::Unavailable => ErrorKind::Unavailable,
        Kind::Invalid => ErrorKind::Invalid,
        Kind::Local => ErrorKind::Internal,
    };
    Failed { kind, problem: crate::error::chain(error) }
}

fn failure(error: &Error) -> Failed {
    Failed { kind: error.kind(), problem: crate::error::chain(error) }
}

/// Gives what was pulled its row and its name; the digest of its manifest.
async fn place(shared: &Shared, work: &Work, pulled: Pulled) -> Result<String, Error> {
    let Pulled { manifest_digest, manifest, config, contents, pins } = pulled;
    let manifest_digest = manifest_digest.to_string();
    let image = Image {
        name: work.key.0.clone(),
        kind: ImageKind::Oci,
        digest: belljar_images::Digest::of(&config).to_string(),
        manifest_digest: Some(manifest_digest.clone()),
        size_bytes: contents.layers.iter().map(|layer| layer.size_bytes).sum(),
        entries: contents.layers.iter().map(|layer| layer.entries).sum(),
        created_at_ms: now_ms(),
        contents: Arc::new(contents),
    };
    let _changing = shared.images.changing.lock().await;
    let names = [image.name.clone()];
    let placed = apply(shared, |rows| {
        let (mut change, mut events) = name(shared, rows, &names, &image.digest);
        let message = if rows.digest_of(&image.name) == Some(&image.digest) {
            format!("pulled again: {} is up to date", short(&image.digest))
        } else {
            format!("pulled: {} in {} layers, {}", short(&image.digest), image.contents.layers.len(), size::display(image.size_bytes))
        };
        events.insert(0, event(EventKind::ImagePulled, &image.name, message));
        change = ImageChange { put: Some((image.clone(), Some(Documents { manifest, config }))), ..change };
        Ok((change, events))
    })
    .await;
    drop(pins);
    if placed.is_err() {
        forget_layers(shared, &image).await?;
    }
    placed.map(|()| manifest_digest)
}
