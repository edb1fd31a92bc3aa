//! What a container changed, as a new layer of a new image.
//!
//! A running container is frozen while its files are read, so that they fit together, and goes on afterwards; it may be asked not to be.
//! Whatever becomes of the commit meanwhile, it goes on: [`frozen`].

mod frozen;

use std::sync::Arc;

use belljar_images::config::{Changes, configuration_of, host_platform};
use belljar_images::{ImportLimits, NewImage, PlacedLayer};
use belljar_model::image::{ImageConfig, ImageKind};
use belljar_model::{Config, Container, ContainerId, EventKind, Image, ImageName, Invalid, instruction, size};
use belljar_store::{Documents, ImageChange};

use super::change::{apply, check_new_name, event, name as change_of_name, remove_layers};
use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Error, Supervisor, crash};
use frozen::Frozen;
pub(crate) use frozen::{let_all_go, let_go};

/// What is to become of a container's changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Name of the new image; none where it shall have only its id.
    pub name: Option<ImageName>,
    /// Who made it.
    pub author: Option<String>,
    /// What is written about it.
    pub message: Option<String>,
    /// What it says otherwise than the container, as lines of a Dockerfile.
    pub changes: Vec<String>,
    /// What happens to a container that runs.
    pub pause: Pause,
}

/// What happens to a container that runs while its files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pause {
    /// It is frozen.
    #[default]
    Meanwhile,
    /// It goes on, and its files may not fit together.
    No,
}

/// Longest author or message of a commit, in bytes.
const WORDS_BYTES_MAX: usize = 4096;

pub(super) async fn commit(supervisor: &Supervisor, id: &ContainerId, commit: Commit) -> Result<Image, Error> {
    let container = supervisor.shared.registry.snapshot(id)?;
    if container.config.image.is_host() {
        let problem = "is made of the host's own userland, which is no layer that an image could keep";
        return Err(Invalid::new("image", format!("{} {problem}", container.config.name)).into());
    }
    if let Some(name) = &commit.name {
        check_new_name("name", name)?;
    }
    for (field, words) in [("author", &commit.author), ("message", &commit.message)] {
        if words.as_ref().is_some_and(|words| words.len() > WORDS_BYTES_MAX) {
            return Err(Invalid::new(field, format!("must have at most {WORDS_BYTES_MAX} bytes")).into());
        }
    }
    let config = config(&supervisor.shared, &container, &commit.changes)?;
    let supervisor = supervisor.clone();
    super::joined(tokio::spawn(async move { make(&supervisor, container, commit, config).await })).await
}

/// What the new image's containers begin with: what this one was begun with.
fn config(shared: &Shared, container: &Container, changes: &[String]) -> Result<ImageConfig, Error> {
    let below = container.image_digest.as_deref().map(|digest| shared.images.find(digest)).transpose()?;
    let below = below.map(|image| image.contents.config.clone()).unwrap_or_default();
    let Config { command, env, labels, user, workdir, stop_signal, health, exposed_ports, .. } = container.config.clone();
    let (entrypoint, command) = match command.strip_prefix(&below.entrypoint[..]) {
        Some(rest) if !below.entrypoint.is_empty() => (below.entrypoint.clone(), rest.to_vec()),
        _ => (Vec::new(), command),
    };
    let mut config = ImageConfig {
        entrypoint,
        command,
        env,
        user: user.map(String::from),
        workdir,
        volumes: below.volumes.clone(),
        exposed_ports,
        stop_signal: Some(stop_signal.to_string()),
        labels,
        health,
    };
    for (index, line) in changes.iter().enumerate() {
        instruction::apply(&mut config, line).map_err(|invalid| Invalid::new(format!("changes[{index}]"), invalid.problem))?;
    }
    Ok(config)
}

async fn make(supervisor: &Supervisor, container: Container, commit: Commit, config: ImageConfig) -> Result<Image, Error> {
    let shared = &supervisor.shared;
    let layer = layer(supervisor, &container, commit.pause).await?;
    let diff_id = layer.diff_id.to_string();
    let made = place(shared, &container, (commit, config), layer).await;
    if made.is_err() {
        let _changing = shared.images.changing.lock().await;
        // The layer that was made for it goes again, unless somebody else has the same.
        remove_layers(shared, vec![diff_id]).await?;
    }
    made
}

/// Makes an image with this layer on top, and gives it its row and its name.
async fn place(
    shared: &Arc<Shared>,
    container: &Container,
    (commit, config): (Commit, ImageConfig),
    layer: PlacedLayer,
) -> Result<Image, Error> {
    let made = image(shared, container, (&commit, config), &layer).await?;
    let NewImage { manifest, manifest_digest, config, digest, contents } = made;
    let image = Image {
        name: match &commit.name {
            Some(name) => name.clone(),
            None => digest.to_string().parse()?,
        },
        kind: ImageKind::Oci,
        digest: digest.to_string(),
        manifest_digest: Some(manifest_digest.to_string()),
        size_bytes: contents.layers.iter().map(|layer| layer.size_bytes).sum(),
        entries: contents.layers.iter().map(|layer| layer.entries).sum(),
        created_at_ms: now_ms(),
        contents: Arc::new(contents),
    };
    let _changing = shared.images.changing.lock().await;
    apply(shared, |rows| {
        let (change, mut events) = change_of_name(shared, rows, commit.name.as_slice(), &image.digest);
        let changed = size::display(layer.facts.size_bytes);
        events.insert(
            0,
            event(EventKind::ImageCommitted, &image.name, format!("made of {}: {changed} in a new layer", container.config.name)),
        );
        Ok((ImageChange { put: Some((image.clone(), Some(Documents { manifest, config }))), ..change }, events))
    })
    .await?;
    Ok(image)
}

/// The container's changes as a layer in its place.
async fn layer(supervisor: &Supervisor, container: &Container, pause: Pause) -> Result<PlacedLayer, Error> {
    let frozen = match pause {
        Pause::Meanwhile => Frozen::begin(supervisor, container).await?,
        Pause::No => None,
    };
    let (folder, upper) = (supervisor.shared.images.folder.clone(), supervisor.shared.bundle(&container.id).upper());
    let staged = crate::blocking(move || folder.pack_layer(&upper, &ImportLimits::default())).await;
    crash::here("commit.packed");
    // What it writes from here on is none of the layer's: it does not wait for the disk.
    if let Some(frozen) = frozen {
        frozen.end().await?;
    }
    let object = || format!("what {} changed", container.config.name);
    let staged = staged.map_err(|error| Error::failed("make a layer of", object(), error))?;
    let placed = crate::blocking(move || staged.put_in_place()).await;
    placed.map_err(|error| Error::failed("make a layer of", object(), error))
}

async fn image(
    shared: &Arc<Shared>,
    container: &Container,
    (commit, config): (&Commit, ImageConfig),
    layer: &PlacedLayer,
) -> Result<NewImage, Error> {
    let digest = container.image_digest.clone().unwrap_or_default();
    let below = shared.images.find(&digest)?;
    let documents = match shared.store.image_documents(&digest).await? {
        Some(documents) => documents.config,
        None => {
            let layer = digest.parse().map_err(|invalid: Invalid| Error::failed("read", format!("image {digest}"), invalid))?;
            configuration_of(&host_platform(), &layer, below.created_at_ms)
        }
    };
    let changes = Changes {
        made_at_ms: now_ms(),
        author: commit.author.clone(),
        comment: commit.message.clone(),
        command: Some(container.config.command.join(" ")),
        config: Some(config),
    };
    let made = shared.images.folder.make_image((&documents, &below.contents), layer, &changes);
    made.map_err(|error| Error::failed("make an image of", container.config.name.to_string(), error))
}
