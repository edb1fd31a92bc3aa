//! What a server asks of images.

use std::sync::Arc;

use belljar_model::image::{Pruned, Summary};
use belljar_model::{Image, ImageName};
use tokio::io::AsyncRead;

use super::{Deleted, Prune, delete, import, prunable, prune, summaries, summary, tag};
use crate::{Error, Supervisor};

impl Supervisor {
    /// Every image under each of its names, `host` first, then by name, then those that have none.
    pub fn images(&self) -> Vec<Image> {
        self.shared.images.all()
    }

    /// Brings a root file system archive in under a name that is not taken.
    pub async fn import_image(&self, name: ImageName, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Image, Error> {
        import(Arc::clone(&self.shared), name, archive).await
    }

    /// Every image as [`Supervisor::images`], with who uses it and what it shares.
    pub fn image_summaries(&self) -> Vec<Summary> {
        summaries(&self.shared)
    }

    /// The image that `key` means: a name in any form, an id, or a beginning of one that fits no other.
    pub fn find_image(&self, key: &str) -> Result<Summary, Error> {
        Ok(summary(&self.shared, self.shared.images.find(key)?))
    }

    /// Gives the image that `key` means one more name. One that was another image's goes over; an image that loses its last name so
    /// stays without one while containers stand on it, and goes otherwise.
    pub async fn tag_image(&self, key: &str, name: ImageName) -> Result<Image, Error> {
        tag(Arc::clone(&self.shared), key.to_owned(), name).await
    }

    /// Takes a name off an image, and with its last one the image, which no container may be made of. By an id: the image with all
    /// its names, where they are of one repository.
    pub async fn delete_image(&self, key: &str) -> Result<Deleted, Error> {
        delete(Arc::clone(&self.shared), key.to_owned()).await
    }

    /// What [`Supervisor::prune_images`] would take now.
    pub fn prunable_images(&self, prune: &Prune) -> Pruned {
        prunable(&self.shared, prune)
    }

    /// Deletes images that no container is made of, and their layers.
    pub async fn prune_images(&self, which: Prune) -> Result<Pruned, Error> {
        prune(Arc::clone(&self.shared), which).await
    }
}
