//! Pulling an image from a registry: the [distribution specification]'s reading half, against servers that may be slow, broken or hostile.
//!
//! ```text
//! reference ─▶ session: scheme, login ─▶ manifest for the platform ─▶ configuration ─▶ layers, side by side ─▶ all in their places
//! ```
//!
//! What a registry says is believed when its digest is right, and not before. Nothing is in its place until everything is there; what a
//! pull that failed leaves is what other pulls need. Plain HTTP is spoken on loopback only. The HTTP client is hyper with rustls, put
//! together here ([`wire`]) rather than a larger one: which address is connected to, what is sent where a redirect leads, and how much is
//! read at once are exactly what must be decided here.
//!
//! This module must never know the database, nor who waits for the image: two pulls of one name are the caller's to make one.
//! Start reading at [`Client::pull`], then [`session`], then [`layer`].
//!
//! [distribution specification]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

mod address;
mod auth;
mod challenge;
mod error;
mod layer;
mod limits;
mod manifest;
mod patience;
mod progress;
mod proxy;
mod session;
mod shelf;
mod tls;
mod wire;

pub use auth::Credentials;
pub use error::{Cause, Kind, PullError};
pub use patience::Patience;
pub use progress::Snapshot;
pub use proxy::Proxies;

use std::sync::Arc;

use belljar_model::Reference;
use belljar_model::image::{Contents, Platform};
use belljar_model::pull::{PullLayer, PullLayerState};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::config::layer_info;
use crate::digest::Digest;
use crate::pins::Pin;
use crate::store::Images;
use layer::{Job, Means};
use limits::PULL_LIMIT;
use manifest::Found;
use progress::Progress;
use session::{Opening, Session};
use shelf::{Held, Shelf};
use tls::Authorities;
use wire::Wire;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The way through proxies.
    pub proxies: Proxies,
    /// How often, and how long.
    pub patience: Patience,
    /// Authorities that are believed beside the machine's, as DER.
    pub authorities: Vec<Vec<u8>>,
}

/// What is to be pulled.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub reference: Reference,
    /// For which machine.
    pub platform: Platform,
    /// As whom.
    pub credentials: Option<Credentials>,
}

/// An image that is here, whole.
#[derive(Debug)]
pub struct Pulled {
    /// Digest of what the name leads to in the registry: of the index where there is one. [`Client::resolve`] gives the same until
    /// there is a newer one.
    pub manifest_digest: Digest,
    /// The manifest for the platform, as it was sent.
    pub manifest: Vec<u8>,
    /// The configuration, as it was sent. Its digest is what the image *is*.
    pub config: Vec<u8>,
    /// What it says and consists of.
    pub contents: Contents,
    /// Hold its layers until a row of the database does.
    pub pins: Vec<Pin>,
}

/// Pulls images into one folder of them. Whoever shares it shares connections, and layers on their way.
pub struct Client {
    images: Images,
    wire: Arc<Wire>,
    shelf: Shelf,
    patience: Patience,
}

impl Client {
    /// A client that talks to nobody yet.
    pub fn new(images: Images, settings: Settings) -> Self {
        let authorities = Authorities::with(settings.authorities.into_iter().map(CertificateDer::from).collect());
        let wire = Wire::new(authorities, settings.proxies, settings.patience.stall);
        Self { images, wire, shelf: Shelf::default(), patience: settings.patience }
    }

    /// Pulls an image. How far it is goes to `progress`; that it is done, or not, is what this returns. Dropping the future ends the
    /// pull, and what it had brought is removed on another thread.
    pub async fn pull(&self, wanted: &Wanted, progress: &watch::Sender<Snapshot>) -> Result<Pulled, PullError> {
        let progress = Arc::new(Progress::new(progress.clone()));
        let pulled = tokio::time::timeout(PULL_LIMIT, self.pull_patiently(wanted, progress)).await;
        pulled.unwrap_or(Err(Cause::Patience { hours: PULL_LIMIT.as_secs() / 3600 })).map_err(|cause| failed(wanted, cause))
    }

    /// The digest of what a name leads to just now, without fetching it.
    pub async fn resolve(&self, wanted: &Wanted) -> Result<Digest, PullError> {
        let progress = Arc::new(Progress::new(watch::Sender::default()));
        let resolved = async { manifest::resolve(&*self.open(wanted, progress).await?, &wanted.reference).await };
        resolved.await.map_err(|cause| failed(wanted, cause))
    }

    /// Shows a login to a registry: an error where it is not taken. One that lets everybody in takes any.
    pub async fn check_login(&self, registry: &str, credentials: Credentials) -> Result<(), Cause> {
        let opening = Opening {
            registry: registry.to_owned(),
            // The root of what it answers, and no repository.
            repository: ".".to_owned(),
            credentials: Some(credentials),
            patience: self.patience,
            progress: Arc::new(Progress::new(watch::Sender::default())),
        };
        let session = Session::open(self.wire.clone(), opening).await?;
        session.once(&session::Ask::get("the login"), "").await.map(drop)
    }

    async fn open(&self, wanted: &Wanted, progress: Arc<Progress>) -> Result<Arc<Session>, Cause> {
        let opening = Opening {
            registry: wanted.reference.registry().to_owned(),
            repository: wanted.reference.repository().to_owned(),
            credentials: wanted.credentials.clone(),
            patience: self.patience,
            progress,
        };
        Session::open(self.wire.clone(), opening).await.map(Arc::new)
    }

    async fn pull_patiently(&self, wanted: &Wanted, progress: Arc<Progress>) -> Result<Pulled, Cause> {
        let session = self.open(wanted, progress.clone()).await?;
        let found = manifest::find(&session, &wanted.reference, &wanted.platform).await?;
        // Before any is looked for: what is found now is still there at the end.
        let pins: Vec<Pin> = found.config.diff_ids.iter().map(|diff_id| self.images.pin(diff_id)).collect();
        progress.layers(found.manifest.layers.iter().map(to_come).collect());
        let held = self.bring(&session, wanted.reference.registry(), &found).await?;
        let (held, placed) = tokio::task::spawn_blocking(move || {
            let placed = held.put_in_place();
            (held, placed)
        })
        .await
        .map_err(|_| Cause::GivenUp { digest: found.digest.to_string() })?;
        drop(held);
        placed.map_err(|source| Cause::Keep { digest: found.digest.to_string(), source })?;
        self.pulled(found, pins)
    }

    /// Has all layers on disk or on the shelf, or none of those that only this pull wants.
    async fn bring(&self, session: &Arc<Session>, registry: &str, found: &Found) -> Result<Held, Cause> {
        let (alive, mut gone) = mpsc::channel(1);
        let places = self.shelf.places(registry);
        let means = Means { session: session.clone(), images: self.images.clone(), places, alive };
        let slots: Vec<_> = found.config.diff_ids.iter().map(|diff_id| self.shelf.slot(diff_id)).collect();
        let mut bringing = JoinSet::new();
        for (index, ((blob, diff_id), slot)) in found.manifest.layers.iter().zip(&found.config.diff_ids).zip(&slots).enumerate() {
            let job = Job { index, blob: blob.clone(), diff_id: *diff_id, slot: slot.clone() };
            bringing.spawn(layer::bring(means.clone(), job));
        }
        drop(means);
        let held = Held::new(slots);
        let mut brought = Ok(());
        while let (Ok(()), Some(joined)) = (&brought, bringing.join_next().await) {
            brought = joined.unwrap_or_else(|_| Err(Cause::GivenUp { digest: found.digest.to_string() }));
        }
        bringing.shutdown().await;
        // Each thread that still unpacks finds that nothing comes any more, and removes what it had.
        let _all_gone: Option<()> = gone.recv().await;
        match brought {
            Ok(()) => Ok(held),
            Err(cause) => {
                held.let_go().await;
                Err(cause)
            }
        }
    }

    fn pulled(&self, found: Found, pins: Vec<Pin>) -> Result<Pulled, Cause> {
        let layers = found.config.diff_ids.iter().zip(&found.manifest.layers).map(|(diff_id, blob)| {
            let facts = self.images.layer(diff_id).ok_or_else(|| Cause::GivenUp { digest: blob.digest.to_string() })?;
            Ok(layer_info(diff_id, Some(&blob.digest), (facts.size_bytes, facts.entries)))
        });
        let layers = layers.collect::<Result<_, Cause>>()?;
        let contents = found.config.contents(layers);
        Ok(Pulled { manifest_digest: found.digest, manifest: found.manifest_bytes, config: found.config_bytes, contents, pins })
    }
}

fn failed(wanted: &Wanted, cause: Cause) -> PullError {
    PullError { image: wanted.reference.familiar(), registry: wanted.reference.registry().to_owned(), cause: Box::new(cause) }
}

fn to_come(blob: &crate::config::Descriptor) -> PullLayer {
    PullLayer { digest: blob.digest.to_string(), total_bytes: blob.size_bytes, received_bytes: 0, state: PullLayerState::Waiting }
}
