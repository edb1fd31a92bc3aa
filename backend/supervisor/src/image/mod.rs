//! Images: the folder and the rows, kept in step.
//!
//! ```text
//! rows      what is known, in memory; finds          change   names and images come and go, and layers with them
//! pull      images come from registries        login    who somebody is at a registry
//! import    archives come in                    out      they go out, and are examined         mend     what is damaged is fetched anew
//! commit    a container becomes an image        asked    what a server asks
//! ```
//!
//! An image *is* its digest. Names lead to it, may be several, and may go over to another one; a container stands on the digest that
//! it was made of, and keeps it. This module must never know what a container may do. Start reading at [`Shelf`].

mod asked;
mod change;
mod commit;
mod docker_config;
mod import;
mod login;
mod mend;
mod out;
mod platform;
mod pull;
mod rows;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use belljar_images::registry::{Proxies, Settings};
use belljar_images::{Digest, HostImage};
use belljar_model::image::{ImageLayer, Summary};
use belljar_model::{Container, Draft, Image, ImageName, Invalid, Mount, PullPolicy};
use belljar_store::Store;
use tokio::sync::{Mutex, RwLock as Gate, Semaphore};

use crate::Error;
use crate::shared::Shared;
pub use change::{Deleted, Prune, PruneScope};
pub use commit::{Commit, Pause};
pub(crate) use commit::{let_all_go, let_go};
pub use login::{KnownRegistry, Login};
pub use mend::Mended;
pub use out::{Damage, Export, Repair, Verified};
pub use pull::Pulling;
use pull::Pulls;
use rows::{Rows, not_found};

/// Archives that are unpacked at once; more wait. Each has a thread, and up to 200 MiB of memory in the worst case.
const IMPORTS_MAX: usize = 4;

/// Every image.
pub(crate) struct Shelf {
    folder: belljar_images::Images,
    host: HostImage,
    rows: RwLock<Rows>,
    /// One layer is put in its place, or removed, at a time: one that two archives share must not be removed while the
    /// second one gets its row. Nobody waits for a client while holding it.
    changing: Mutex<()>,
    /// Read by who starts a container, written by who sets damaged layers aside.
    pub(crate) mending: Gate<()>,
    /// Archives that may be unpacked at the moment.
    imports: Semaphore,
    /// Images on their way.
    pulls: Pulls,
}

impl Shelf {
    fn new(folder: belljar_images::Images, host: HostImage, rows: Vec<Image>) -> Self {
        let pulls = Pulls::new(folder.clone(), Settings { proxies: Proxies::from_environment(), ..Settings::default() });
        let imports = Semaphore::new(IMPORTS_MAX);
        Self { folder, host, rows: RwLock::new(Rows::new(rows)), changing: Mutex::new(()), mending: Gate::new(()), imports, pulls }
    }

    fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_host(&self, key: &str) -> bool {
        key == ImageName::HOST
    }

    /// Every image under each of its names, `host` first, then by name, then those without one.
    pub(crate) fn all(&self) -> Vec<Image> {
        std::iter::once(self.host.image.clone()).chain(self.rows().all()).collect()
    }

    /// The image that `key` means: a name in any form, an id, or a beginning of one.
    pub(crate) fn find(&self, key: &str) -> Result<Image, Error> {
        if self.is_host(key) { Ok(self.host.image.clone()) } else { self.rows().find(key).map(|(image, _)| image) }
    }

    /// Runs `work` while the image cannot be deleted; refused where it has been meanwhile.
    pub(crate) fn with<T>(&self, image: &Image, mounts: &[Mount], work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let rows = self.rows();
        let is_gone = |mount: &&Mount| mount.image_digest().is_some_and(|digest| rows.with(digest).is_none());
        if let Some(Mount::Image { image, .. }) = mounts.iter().find(is_gone) {
            return Err(missing(image));
        }
        if image.name.is_host() || rows.with(&image.digest).is_some() {
            return work();
        }
        Err(missing(image.name.as_str()))
    }

    /// The folders that the root of a container consists of, top first.
    pub(crate) fn layers(&self, container: &Container) -> Result<Vec<ImageLayer>, Error> {
        let own = self.own_layers(container)?;
        let mut layers: Vec<ImageLayer> = Vec::new();
        for mount in &container.config.mounts {
            let Mount::Image { image, digest } = mount else { continue };
            let pinned = digest.as_deref().and_then(|digest| self.rows().with(digest)).ok_or_else(|| not_found(image))?;
            let stacked = self.folder.layers(&pinned).map_err(|error| Error::failed("find the layers of", image.clone(), error))?;
            for layer in stacked {
                // The kernel takes no folder twice, and what lies below is there already.
                if own.iter().chain(&layers).all(|known| known.path != layer.path) {
                    layers.push(ImageLayer { at: ImageLayer::EVERYWHERE.to_owned(), ..layer });
                }
            }
        }
        Ok(layers.into_iter().chain(own).collect())
    }

    fn own_layers(&self, container: &Container) -> Result<Vec<ImageLayer>, Error> {
        let name = &container.config.image;
        if name.is_host() {
            return Ok(self.host.layers.clone());
        }
        let pinned = container.image_digest.as_deref().and_then(|digest| self.rows().with(digest));
        let image = pinned.ok_or_else(|| not_found(name.as_str()))?;
        self.folder.layers(&image).map_err(|error| Error::failed("find the layers of", name.to_string(), error))
    }

    /// Finds the images whose layers are stacked: from now on each is what it is now.
    pub(crate) fn pin(&self, mounts: &mut [Mount]) -> Result<(), Error> {
        for (index, mount) in mounts.iter_mut().enumerate() {
            if let Mount::Image { image, digest } = mount {
                let problem = format!("there is no image {image} here: pull or import it first");
                let found = self.find(image).map_err(|_| Invalid::new(format!("mounts[{index}].image"), problem))?;
                *digest = Some(found.digest.clone());
                *image = found.name.to_string();
            }
        }
        Ok(())
    }
}

/// The image that a container is to be made of, pulled where that is asked for.
pub(crate) async fn wanted(shared: &Arc<Shared>, draft: &Draft) -> Result<Image, Error> {
    let image = found(shared, draft).await?;
    platform::check(&image)?;
    Ok(image)
}

async fn found(shared: &Arc<Shared>, draft: &Draft) -> Result<Image, Error> {
    let found = shared.images.find(&draft.image);
    let is_here = !matches!(found, Err(Error::NotFound { .. }));
    let name = &draft.config.image;
    if name.is_host() || draft.pull == PullPolicy::Never || (is_here && draft.pull == PullPolicy::Missing) {
        return if is_here { found } else { Err(missing(&draft.image)) };
    }
    pull::pull(shared, name, None)?.finish().await
}

/// What a request is told that names an image which is not here.
pub(crate) fn missing(key: &str) -> Error {
    let problem = format!("there is no image {key} here: pull or import it first, or use {}, the host's own userland", ImageName::HOST);
    Invalid::new("image", problem).into()
}

/// Opens the folder and reads the rows; makes the host's skeleton as the host is now.
pub(crate) async fn open(folder: &Path, store: &Store) -> Result<Shelf, Error> {
    let failed = |error| Error::failed("open", "the folder of images", error);
    let folder = belljar_images::Images::open(folder).map_err(failed)?;
    let host = folder.host().map_err(failed)?;
    Ok(Shelf::new(folder, host, store.load_images().await?))
}

/// Every image with what it shares and who uses it: one for each name.
pub(crate) fn summaries(shared: &Shared) -> Vec<Summary> {
    let images = shared.images.all();
    images.into_iter().map(|image| summary(shared, image)).collect()
}

/// An image with what it shares and who uses it.
pub(crate) fn summary(shared: &Shared, image: Image) -> Summary {
    if image.name.is_host() {
        let containers = shared.registry.made_of_host();
        return Summary { names: vec![image.name.clone()], containers, own_bytes: 0, shared_bytes: 0, image };
    }
    let containers = shared.registry.made_of(&image.digest);
    shared.images.rows().summary(image, containers)
}

/// Removes half-done work and layers that no row and no container that lives needs.
pub(crate) async fn sweep(shared: &Arc<Shared>) {
    let layers = |image: &Image| rows::layers(image).into_iter().filter_map(|layer| layer.parse().ok()).collect::<Vec<Digest>>();
    let mut in_use: Vec<Digest> = shared.images.rows().each().flat_map(layers).collect();
    in_use.extend(shared.images.host.image.digest.parse::<Digest>().ok());
    // A container that lives since before an upgrade of the host has the skeleton of that time mounted.
    for id in shared.registry.collect(|container| container.state.is_alive().then(|| container.id.clone())) {
        let spec = crate::inspect::written_spec(&shared.bundle(&id).spec());
        let layers = spec.into_iter().flat_map(|spec| spec.root.tree.image_layers().to_vec());
        in_use.extend(layers.filter_map(|layer| format!("sha256:{}", layer.path.rsplit('/').next()?).parse::<Digest>().ok()));
    }
    let folder = shared.images.folder.clone();
    match crate::blocking(move || folder.sweep(&in_use)).await {
        Ok(swept) if swept.removed.is_empty() => {}
        Ok(swept) => tracing::info!(removed = swept.removed.join(" "), "removed what was left in the folder of images"),
        Err(error) => tracing::error!(error = crate::error::chain(&error), "the folder of images could not be swept"),
    }
}

/// Waits for what is done even when nobody waits for it any more.
pub(crate) async fn joined<T>(task: tokio::task::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    task.await.unwrap_or_else(|error| Err(Error::failed("finish", "what was begun", error)))
}

#[cfg(test)]
mod tests;
