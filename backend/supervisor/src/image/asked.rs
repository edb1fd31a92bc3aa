//! What a server asks of images and registries.

use std::sync::Arc;

use belljar_model::image::{Platform, Pruned, Summary};
use belljar_model::{ContainerId, Image, ImageName, Invalid, Pull};
use tokio::io::AsyncRead;

use super::{Commit, Deleted, Export, KnownRegistry, Login, Prune, Pulling, Repair, Verified};
use super::{change, commit, import, login, out, pull, summaries, summary};
use crate::{Error, Supervisor};

impl Supervisor {
    /// Every image under each of its names, `host` first, then by name, then those that have none.
    pub fn images(&self) -> Vec<Image> {
        self.shared.images.all()
    }

    /// Every image as [`Supervisor::images`], with who uses it and what it shares.
    pub fn image_summaries(&self) -> Vec<Summary> {
        summaries(&self.shared)
    }

    /// The image that `key` means: a name in any form, an id, or a beginning of one that fits no other.
    pub fn find_image(&self, key: &str) -> Result<Summary, Error> {
        Ok(summary(&self.shared, self.shared.images.find(key)?))
    }

    /// Pulls an image, or watches who does already. It goes on while what is returned is held, or kept ([`Pulling::keep`]).
    pub fn pull_image(&self, name: &ImageName, platform: Option<Platform>) -> Result<Pulling, Error> {
        pull::pull(&self.shared, name, platform)
    }

    /// Every pull under way, by name.
    pub fn pulls(&self) -> Vec<Pull> {
        self.shared.images.pulls.all()
    }

    /// Tells no more of a pull of this name that failed: whoever asked knows.
    pub fn dismiss_pull(&self, name: &ImageName) {
        self.shared.images.pulls.dismiss(name);
    }

    /// Ends the pulls of this name, whoever watches them; of one that failed nothing is told any more.
    pub fn cancel_pull(&self, name: &ImageName) -> Result<(), Error> {
        let not_found = || Error::NotFound { what: "pull of", key: name.to_string() };
        self.shared.images.pulls.cancel(name).then_some(()).ok_or_else(not_found)
    }

    /// Brings an archive in, a root file system or an image, under a name that is not taken; without one, under those that the archive has.
    pub async fn import_image(&self, name: Option<ImageName>, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Image, Error> {
        import::import(Arc::clone(&self.shared), name, archive).await
    }

    /// An image as an archive that other tools read, as it is written.
    pub async fn export_image(&self, key: &str) -> Result<Export, Error> {
        out::export(&self.shared, key).await
    }

    /// Makes an image of what a container changed.
    pub async fn commit(&self, id: &ContainerId, what: Commit) -> Result<Image, Error> {
        commit::commit(self, id, what).await
    }

    /// Compares images with their digests, every byte of them: these, or all. What is damaged is fetched anew where that is asked for.
    pub async fn verify_images(&self, keys: &[String], repair: Repair) -> Result<Verified, Error> {
        out::verify(&self.shared, keys, repair).await
    }

    /// Gives the image that `key` means one more name. One that was another image's goes over; an image that loses its last name so
    /// stays without one while containers stand on it, and goes otherwise.
    pub async fn tag_image(&self, key: &str, name: ImageName) -> Result<Image, Error> {
        change::tag(Arc::clone(&self.shared), key.to_owned(), name).await
    }

    /// Takes a name off an image, and with its last one the image, which no container may be made of. By an id: the image with all
    /// its names, where they are of one repository.
    pub async fn delete_image(&self, key: &str) -> Result<Deleted, Error> {
        change::delete(Arc::clone(&self.shared), key.to_owned()).await
    }

    /// What [`Supervisor::prune_images`] would take now.
    pub fn prunable_images(&self, which: &Prune) -> Pruned {
        change::prunable(&self.shared, which)
    }

    /// Deletes images that no container is made of, and their layers.
    pub async fn prune_images(&self, which: Prune) -> Result<Pruned, Error> {
        change::prune(Arc::clone(&self.shared), which).await
    }

    /// Where somebody is logged in, by host. Secrets are not shown.
    pub async fn registries(&self) -> Result<Vec<KnownRegistry>, Error> {
        Ok(self.shared.store.registries().await?.into_iter().map(KnownRegistry::from).collect())
    }

    /// Where somebody is logged in at this registry.
    pub async fn registry(&self, host: &str) -> Result<KnownRegistry, Error> {
        let not_found = || Error::NotFound { what: "login at", key: host.to_owned() };
        let host = login::host(host).map_err(|_: Invalid| not_found())?;
        self.shared.store.registry(&host).await?.map(KnownRegistry::from).ok_or_else(not_found)
    }

    /// Logs in at a registry, which is asked whether it takes that.
    pub async fn log_in(&self, host: &str, how: Login) -> Result<KnownRegistry, Error> {
        login::save(&self.shared, login::host(host)?, how).await
    }

    /// Forgets a login.
    pub async fn log_out(&self, host: &str) -> Result<(), Error> {
        login::forget(&self.shared, &login::host(host)?).await
    }
}
