//! Archives on their way in. They are unpacked beside everything else that happens, and get their names in one change.

use std::sync::Arc;

use belljar_images::{BringError, Brought, BroughtImage, Digest, ImportLimits, Imported, Pin};
use belljar_model::image::{Contents, ImageKind, LayerInfo};
use belljar_model::{EventKind, Image, ImageName, Invalid, size};
use belljar_store::{Documents, ImageChange};
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::change::{apply, check_new_name, event, forget_layers, name as change_of_name};
use crate::Error;
use crate::clock::now_ms;
use crate::shared::Shared;

/// An image that is in its place and has no row yet.
struct New {
    image: Image,
    documents: Option<Documents>,
    names: Vec<ImageName>,
    _pins: Vec<Pin>,
}

/// Unpacks an archive and gives it a name; without one, those that it brings along. It is done even when whoever asked goes away
/// meanwhile, and leaves nothing behind where it fails.
pub(super) async fn import(
    shared: Arc<Shared>,
    name: Option<ImageName>,
    archive: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Image, Error> {
    if let Some(name) = &name {
        check_free(&shared, name)?;
        check_new_name("name", name)?;
    }
    let import = async move {
        let brought = bring(&shared, name.clone(), archive).await.map_err(|error| not_imported(name.as_ref(), error))?;
        let new = new(name.clone(), brought)?;
        let _changing = shared.images.changing.lock().await;
        let placed = place(&shared, name.as_ref(), &new).await;
        let New { image, _pins: pins, .. } = new;
        drop(pins);
        if placed.is_err() {
            forget_layers(&shared, &image).await?;
        }
        placed.map(|()| image)
    };
    super::joined(tokio::spawn(import)).await
}

fn check_free(shared: &Shared, name: &ImageName) -> Result<(), Error> {
    if name.is_host() || shared.images.rows().digest_of(name).is_some() {
        return Err(Error::ImageExists { image: name.clone() });
    }
    Ok(())
}

async fn bring(shared: &Shared, name: Option<ImageName>, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Brought, BringError> {
    // It is never closed, so there is nothing to do about an error.
    let _one_of_few = shared.images.imports.acquire().await;
    let folder = shared.images.folder.clone();
    let bridge = SyncIoBridge::new(archive);
    let wanted = name.and_then(|name| name.reference());
    crate::blocking(move || folder.bring(bridge, &ImportLimits::default(), wanted.as_ref())).await
}

fn not_imported(name: Option<&ImageName>, error: BringError) -> Error {
    if error.is_invalid() {
        return Invalid::new("archive", crate::error::chain(&error)).into();
    }
    Error::failed("import", name.map_or("an image".to_owned(), |name| format!("image {name}")), error)
}

fn new(name: Option<ImageName>, brought: Brought) -> Result<New, Error> {
    match brought {
        Brought::Rootfs(imported, pin) => {
            let name = name.ok_or_else(|| Invalid::new("name", "is required: the archive is a root file system, which has none"))?;
            Ok(New { image: rootfs(name.clone(), &imported), documents: None, names: vec![name], _pins: vec![pin] })
        }
        Brought::Oci(brought) => {
            let BroughtImage { manifest, config, digest, contents, names, pins } = *brought;
            let names: Vec<ImageName> = match name {
                Some(name) => vec![name],
                None => names.iter().map(ImageName::from).filter(|name| check_new_name("name", name).is_ok()).collect(),
            };
            let first = names.first().cloned().ok_or_else(|| Invalid::new("name", "is required: the image in the archive has none"))?;
            let image = Image {
                name: first,
                kind: ImageKind::Oci,
                digest: digest.to_string(),
                manifest_digest: Some(Digest::of(&manifest).to_string()),
                size_bytes: contents.layers.iter().map(|layer| layer.size_bytes).sum(),
                entries: contents.layers.iter().map(|layer| layer.entries).sum(),
                created_at_ms: now_ms(),
                contents: Arc::new(contents),
            };
            Ok(New { image, documents: Some(Documents { manifest, config }), names, _pins: pins })
        }
    }
}

fn rootfs(name: ImageName, imported: &Imported) -> Image {
    let Imported { digest, size_bytes, entries, .. } = *imported;
    let digest = digest.to_string();
    let layer = LayerInfo { diff_id: digest.clone(), digest: None, size_bytes, entries, command: None };
    let contents = Arc::new(Contents { layers: vec![layer], ..Contents::default() });
    Image { name, kind: ImageKind::Rootfs, digest, manifest_digest: None, size_bytes, entries, created_at_ms: now_ms(), contents }
}

async fn place(shared: &Shared, asked: Option<&ImageName>, new: &New) -> Result<(), Error> {
    apply(shared, |rows| {
        if let Some(name) = asked.filter(|name| rows.digest_of(name).is_some()) {
            return Err(Error::ImageExists { image: name.clone() });
        }
        let image = &new.image;
        let (change, mut events) = change_of_name(shared, rows, &new.names, &image.digest);
        let message = format!("imported: {} entries, {}", image.entries, size::display(image.size_bytes));
        events.insert(0, event(EventKind::ImageImported, &image.name, message));
        Ok((ImageChange { put: Some((image.clone(), new.documents.clone())), ..change }, events))
    })
    .await
}
