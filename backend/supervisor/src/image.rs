//! Images: the folder and the rows, kept in step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use belljar_images::{Digest, HostImage, ImportError, ImportLimits, Imported, Unpacked};
use belljar_model::image::{ImageKind, ImageLayer};
use belljar_model::{EventKind, Image, ImageName, Invalid, NewEvent, size};
use belljar_store::Store;
use tokio::io::AsyncRead;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::io::SyncIoBridge;

use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Error, Notice};

/// Archives that are unpacked at once; more wait. Each has a thread, and up to 200 MiB of memory in the worst case.
const IMPORTS_MAX: usize = 4;

/// Every image by its name.
pub(crate) struct Shelf {
    folder: belljar_images::Images,
    host: HostImage,
    rows: RwLock<BTreeMap<ImageName, Image>>,
    /// One layer is put in its place, or removed, at a time: one that two archives share must not be removed while the
    /// second one gets its row. Nobody waits for a client while holding it.
    changing: Mutex<()>,
    /// Archives that may be unpacked at the moment.
    imports: Semaphore,
}

impl Shelf {
    pub(crate) fn new(folder: belljar_images::Images, host: HostImage, rows: Vec<Image>) -> Self {
        let rows = rows.into_iter().map(|image| (image.name.clone(), image)).collect();
        Self { folder, host, rows: RwLock::new(rows), changing: Mutex::new(()), imports: Semaphore::new(IMPORTS_MAX) }
    }

    fn rows(&self) -> RwLockReadGuard<'_, BTreeMap<ImageName, Image>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every image, `host` first, then by name.
    pub(crate) fn all(&self) -> Vec<Image> {
        std::iter::once(self.host.image.clone()).chain(self.rows().values().cloned()).collect()
    }

    /// Runs `work` while the image cannot be deleted; refused where there is none of that name.
    pub(crate) fn with<T>(&self, name: &ImageName, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let rows = self.rows();
        if name.is_host() || rows.contains_key(name) {
            return work();
        }
        let problem = format!("there is no image {name} here: import it first, or use {}, the host's own userland", ImageName::HOST);
        Err(Invalid::new("image", problem).into())
    }

    /// The folders that an image consists of, top first.
    pub(crate) fn layers(&self, name: &ImageName) -> Result<Vec<ImageLayer>, Error> {
        if name.is_host() {
            return Ok(self.host.layers.clone());
        }
        let image = self.rows().get(name).cloned().ok_or_else(|| not_found(name))?;
        self.folder.layers(&image).map_err(|error| Error::failed("find the layers of", name.to_string(), error))
    }

    fn uses(&self, digest: &str) -> bool {
        self.rows().values().any(|image| image.digest == digest)
    }
}

/// Opens the folder and reads the rows; makes the host's skeleton as the host is now.
pub(crate) async fn open(folder: &Path, store: &Store) -> Result<Shelf, Error> {
    let failed = |error| Error::failed("open", "the folder of images", error);
    let folder = belljar_images::Images::open(folder).map_err(failed)?;
    let host = folder.host().map_err(failed)?;
    Ok(Shelf::new(folder, host, store.load_images().await?))
}

/// Removes half-done work and layers that no row and no container that lives needs.
pub(crate) async fn sweep(shared: &Arc<Shared>) {
    let images = shared.images.all();
    let mut in_use: Vec<Digest> = images.iter().filter_map(|image| image.digest.parse().ok()).collect();
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

fn not_found(name: &ImageName) -> Error {
    Error::NotFound { what: "image", key: name.to_string() }
}

fn event(kind: EventKind, name: &ImageName, message: String) -> NewEvent {
    NewEvent { at_ms: now_ms(), kind, container: None, subject: name.to_string(), message }
}

/// Unpacks an archive and gives it a name. It is done even when whoever asked goes away meanwhile, and leaves nothing
/// behind where it fails.
pub(crate) async fn import(shared: Arc<Shared>, name: ImageName, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Image, Error> {
    if name.is_host() || shared.images.rows().contains_key(&name) {
        return Err(Error::ImageExists { image: name });
    }
    let import = async move {
        let unpacked = unpack(&shared, archive).await.map_err(|error| not_imported(&name, error))?;
        let _changing = shared.images.changing.lock().await;
        let in_place = crate::blocking(move || unpacked.put_in_place()).await;
        let imported = in_place.map_err(|error| not_imported(&name, error))?;
        let digest = imported.digest;
        let placed = place(&shared, name, imported).await;
        if placed.is_err() && !shared.images.uses(&digest.to_string()) {
            remove_layer(&shared, digest).await?;
        }
        placed
    };
    joined(tokio::spawn(import)).await
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

async fn place(shared: &Shared, name: ImageName, imported: Imported) -> Result<Image, Error> {
    if shared.images.rows().contains_key(&name) {
        return Err(Error::ImageExists { image: name });
    }
    let Imported { digest, size_bytes, entries, .. } = imported;
    let (digest, created_at_ms) = (digest.to_string(), now_ms());
    let contents = Arc::default();
    let image = Image { name, kind: ImageKind::Rootfs, digest, manifest_digest: None, size_bytes, entries, created_at_ms, contents };
    let message = format!("imported: {entries} entries, {}", size::display(size_bytes));
    let event = shared.store.insert_image(&image, event(EventKind::ImageImported, &image.name, message)).await?;
    shared.images.rows.write().unwrap_or_else(PoisonError::into_inner).insert(image.name.clone(), image.clone());
    if let Some(event) = event {
        shared.notify(Notice::Event(event));
    }
    Ok(image)
}

/// Deletes an image that no container is made of: row first, then the layer, unless another image is the same archive.
pub(crate) async fn delete(shared: Arc<Shared>, name: ImageName) -> Result<(), Error> {
    if name.is_host() {
        return Err(Invalid::new("image", "is the host's own userland, which is always there").into());
    }
    let delete = async move {
        let _changing = shared.images.changing.lock().await;
        let image = take_off(&shared, &name)?;
        let event = event(EventKind::ImageDeleted, &name, "deleted".to_owned());
        match shared.store.remove_image(&name, event).await {
            Ok(event) => event.into_iter().for_each(|event| shared.notify(Notice::Event(event))),
            Err(error) => {
                shared.images.rows.write().unwrap_or_else(PoisonError::into_inner).insert(name, image);
                return Err(error.into());
            }
        }
        if shared.images.uses(&image.digest) {
            return Ok(());
        }
        match image.digest.parse() {
            Ok(digest) => remove_layer(&shared, digest).await,
            Err(invalid) => Err(Error::failed("remove the layer of", name.to_string(), invalid)),
        }
    };
    joined(tokio::spawn(delete)).await
}

/// Takes an image off the shelf, if no container is made of it. New containers are admitted under the reading side of the
/// same lock, so none can come in between.
fn take_off(shared: &Shared, name: &ImageName) -> Result<Image, Error> {
    let mut rows = shared.images.rows.write().unwrap_or_else(PoisonError::into_inner);
    let containers = shared.registry.made_of(name);
    if !containers.is_empty() {
        return Err(Error::ImageInUse { image: name.clone(), containers });
    }
    rows.remove(name).ok_or_else(|| not_found(name))
}

async fn remove_layer(shared: &Shared, digest: Digest) -> Result<(), Error> {
    let folder = shared.images.folder.clone();
    let removed = crate::blocking(move || folder.remove_layer(&digest)).await;
    removed.map_err(|error| Error::failed("remove the layer", digest.to_string(), error))
}

async fn joined<T>(task: tokio::task::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    task.await.unwrap_or_else(|error| Err(Error::failed("finish", "what was begun", error)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio::io::AsyncWriteExt;

    use crate::testing::Bench;

    /// Bytes of a block of an archive.
    const BLOCK: usize = 512;

    /// An archive of one folder, which belongs to whoever runs this.
    fn archive() -> Vec<u8> {
        let mut header = [0; BLOCK];
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        for (start, text) in [(0, "d/".to_owned()), (100, "755".to_owned()), (108, format!("{uid:o}")), (116, format!("{gid:o}"))] {
            header[start..start + text.len()].copy_from_slice(text.as_bytes());
        }
        header[148..156].fill(b' ');
        header[156] = b'5';
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [&header[..], &[0; 2 * BLOCK]].concat()
    }

    #[tokio::test]
    async fn whoever_sends_an_archive_slowly_is_in_nobodys_way() {
        let bench = Bench::new().await;
        let (slow, fast) = ("slow".parse().expect("a name"), "fast".parse().expect("a name"));
        // A pipe this short is written to only as it is read: what follows happens while the archive is under way.
        let (mut client, pipe) = tokio::io::duplex(BLOCK / 8);
        let import = tokio::spawn({
            let supervisor = bench.supervisor.clone();
            async move { supervisor.import_image(slow, pipe).await }
        });
        let archive = archive();
        client.write_all(&archive[..BLOCK]).await.expect("read");
        bench.supervisor.import_image(fast, Cursor::new(archive.clone())).await.expect("imported");
        bench.supervisor.delete_image(&"fast".parse().expect("a name")).await.expect("deleted");
        client.write_all(&archive[BLOCK..]).await.expect("read");
        drop(client);
        let image = import.await.expect("ended").expect("imported");
        let layers = bench.supervisor.shared.images.layers(&image.name).expect("layers");
        assert!(std::path::Path::new(&layers[0].path).join("d").is_dir(), "the same layer was deleted meanwhile, and is there again");
    }
}
