//! Archives on their way in. They are unpacked beside everything else that happens, and get their names in one change.

use std::sync::Arc;

use belljar_images::{ImportError, ImportLimits, Imported, Unpacked};
use belljar_model::image::{Contents, ImageKind, LayerInfo};
use belljar_model::{EventKind, Image, ImageName, Invalid, size};
use belljar_store::ImageChange;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::change::{apply, check_new_name, event, forget_layers};
use crate::Error;
use crate::clock::now_ms;
use crate::shared::Shared;

/// Unpacks an archive and gives it a name. It is done even when whoever asked goes away meanwhile, and leaves nothing
/// behind where it fails.
pub(crate) async fn import(shared: Arc<Shared>, name: ImageName, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Image, Error> {
    if name.is_host() || shared.images.rows().digest_of(&name).is_some() {
        return Err(Error::ImageExists { image: name });
    }
    check_new_name("name", &name)?;
    let import = async move {
        let unpacked = unpack(&shared, archive).await.map_err(|error| not_imported(&name, error))?;
        let _changing = shared.images.changing.lock().await;
        let in_place = crate::blocking(move || unpacked.put_in_place()).await;
        let image = image(name.clone(), in_place.map_err(|error| not_imported(&name, error))?);
        let placed = place(&shared, &image).await;
        if placed.is_err() {
            forget_layers(&shared, &image).await?;
        }
        placed.map(|()| image)
    };
    super::joined(tokio::spawn(import)).await
}

async fn unpack(shared: &Shared, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Unpacked, ImportError> {
    // It is never closed, so there is nothing to do about an error.
    let _one_of_few = shared.images.imports.acquire().await;
    let folder = shared.images.folder.clone();
    let bridge = SyncIoBridge::new(archive);
    crate::blocking(move || folder.unpack(bridge, &ImportLimits::default())).await
}

fn not_imported(name: &ImageName, error: ImportError) -> Error {
    if error.is_invalid() {
        return Invalid::new("archive", crate::error::chain(&error)).into();
    }
    Error::failed("import", format!("image {name}"), error)
}

fn image(name: ImageName, imported: Imported) -> Image {
    let Imported { digest, size_bytes, entries, .. } = imported;
    let digest = digest.to_string();
    let layer = LayerInfo { diff_id: digest.clone(), digest: None, size_bytes, entries, command: None };
    let contents = Arc::new(Contents { layers: vec![layer], ..Contents::default() });
    Image { name, kind: ImageKind::Rootfs, digest, manifest_digest: None, size_bytes, entries, created_at_ms: now_ms(), contents }
}

async fn place(shared: &Shared, image: &Image) -> Result<(), Error> {
    apply(shared, |rows| {
        if rows.digest_of(&image.name).is_some() {
            return Err(Error::ImageExists { image: image.name.clone() });
        }
        let message = format!("imported: {} entries, {}", image.entries, size::display(image.size_bytes));
        let name = vec![(image.name.clone(), image.digest.clone())];
        let change = ImageChange { put: Some((image.clone(), None)), name, ..ImageChange::default() };
        Ok((change, vec![event(EventKind::ImageImported, &image.name, message)]))
    })
    .await
}
