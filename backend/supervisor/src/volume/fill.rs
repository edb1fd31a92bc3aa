//! A new container's empty volumes get what its image has at their place, as in Docker.
//!
//! Only one that nobody has mounted is filled: it becomes full by one rename, and who had the empty folder would go on with that.
//! So who fills a volume holds its gate alone, and who starts a container holds those of all its volumes.

use std::path::PathBuf;
use std::time::Duration;

use belljar_model::mount::VolumeMount;
use belljar_model::{Container, EventKind, Mount, VolumeName, size};
use belljar_monitor::files::{Act, Order, Root, WORD_BYTES_MAX, Word};
use belljar_runtime::Spec;
use belljar_runtime::spec::{OverlayTree, Tree};
use belljar_runtime::volume::{fill, is_empty};
use rustix::io::Errno;

use crate::launch::{next_word, watched};
use crate::shared::Shared;
use crate::{Error, crash};

/// Longest time that the copy for one volume may take.
const FILL_LIMIT: Duration = Duration::from_secs(1800);

/// Fills the volumes of a container that has never run. Where one cannot be filled, the container is not to be, and the volume is as
/// empty as it was.
pub(crate) async fn fill_all(shared: &Shared, container: &Container) -> Result<(), Error> {
    let is_filled = |mount: &&VolumeMount| !mount.nocopy && mount.subpath.is_none();
    for mount in container.config.mounts.iter().filter_map(Mount::volume).filter(is_filled) {
        if let Some(name) = &mount.source {
            fill_one(shared, container, (name, &mount.target)).await?;
        }
    }
    Ok(())
}

async fn fill_one(shared: &Shared, container: &Container, (name, target): (&VolumeName, &str)) -> Result<(), Error> {
    let Some(gate) = shared.volumes.gate(name) else { return Ok(()) };
    let _alone = gate.write_owned().await;
    let failed = |operation, error: belljar_linux::Error| Error::failed(operation, format!("volume {name}"), error);
    let (folder, volume) = (shared.volumes.folder(), name.clone());
    let empty = crate::blocking(move || is_empty(&folder, &volume)).await.map_err(|error| failed("look into", error))?;
    if !empty || is_mounted(shared, container, name) {
        return Ok(());
    }
    let layers = layers(shared, container)?;
    let (folder, volume) = (shared.volumes.folder(), name.clone());
    let filling = crate::blocking(move || fill::begin(&folder, &volume)).await.map_err(|error| failed("fill", error))?;
    crash::here("fill.begun");
    let moved = match copy(shared, layers, (target, filling)).await {
        Ok(moved) => moved,
        Err(because) => {
            give_up(shared, name).await;
            return Err(Error::FillFailed { volume: name.clone(), image: container.config.image.to_string(), because });
        }
    };
    crash::here("fill.copied");
    let (folder, volume) = (shared.volumes.folder(), name.clone());
    match crate::blocking(move || fill::finish(&folder, &volume)).await {
        // A person on the host was quicker, and knows best.
        Err(error) if matches!(error.errno, Errno::NOTEMPTY | Errno::EXIST) => give_up(shared, name).await,
        finished => finished.map_err(|error| failed("fill", error))?,
    }
    crash::here("fill.placed");
    if moved.entries > 0 {
        let what =
            format!("{} entries, {}, from {target} of image {}", moved.entries, size::display(moved.size_bytes), container.config.image);
        let left = if moved.passed_over > 0 { format!("; {} devices and sockets were left out", moved.passed_over) } else { String::new() };
        super::tell(shared, super::event(EventKind::VolumeFilled, name, format!("filled with {what}{left}"))).await;
    }
    Ok(())
}

/// Whether another container has it mounted just now.
fn is_mounted(shared: &Shared, container: &Container, name: &VolumeName) -> bool {
    let has = |other: &Container| {
        let of_volume = |mount: &VolumeMount| mount.source.as_ref() == Some(name);
        let alive = other.id != container.id && other.state.is_alive();
        (alive && other.config.mounts.iter().filter_map(Mount::volume).any(of_volume)).then_some(())
    };
    !shared.registry.collect(has).is_empty()
}

fn layers(shared: &Shared, container: &Container) -> Result<OverlayTree, Error> {
    let image = shared.images.layers(container)?;
    match Spec::for_container(container, &image, &shared.home, 0)?.root.tree {
        Tree::Overlay(tree) => Ok(tree),
        Tree::Folder(folder) => Err(Error::failed("read the layers in", folder.display().to_string(), Errno::INVAL)),
    }
}

/// Lets a process of its own copy; the error is a sentence.
async fn copy(shared: &Shared, layers: OverlayTree, (target, into): (&str, PathBuf)) -> Result<belljar_model::files::Moved, String> {
    let order = Order { root: Root::Layers(layers), path: target.to_owned(), act: Act::Fill(into) };
    let said = |error: &dyn std::error::Error| crate::error::chain(error);
    let tells = shared.launcher.files(&order, None).map_err(|error| said(&error))?;
    let tells = watched(tells).map_err(|error| said(&error))?;
    match tokio::time::timeout(FILL_LIMIT, next_word(&tells, WORD_BYTES_MAX)).await {
        Ok(Some(Word::Done(moved))) => Ok(moved),
        Ok(Some(Word::Failed { message, .. })) => Err(message),
        Ok(Some(Word::Found(_)) | None) => Err("the process that copies ended without a word".to_owned()),
        Err(_) => Err(format!("it was not done after {} minutes", FILL_LIMIT.as_secs() / 60)),
    }
}

async fn give_up(shared: &Shared, name: &VolumeName) {
    let (folder, volume) = (shared.volumes.folder(), name.clone());
    if let Err(error) = crate::blocking(move || fill::give_up(&folder, &volume)).await {
        tracing::error!(volume.name = %name, error = crate::error::chain(&error), "half of a copy could not be removed; the next start removes it");
    }
}
