//! Every change of names and images: tag, delete, prune, and the end of what nobody needs any more.
//!
//! ```text
//! decide (under the lock that admits containers) ──▶ memory ──▶ rows and events, in one transaction ──▶ layers, by folder
//! ```
//!
//! Rows go before layers: what is cut off in between are layers of nobody, and the next start sweeps them. One change is under way
//! at a time ([`Shelf::changing`](super::Shelf)).

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use belljar_images::Digest;
use belljar_model::image::Pruned;
use belljar_model::{EventKind, Image, ImageName, Invalid, NewEvent, size};
use belljar_store::ImageChange;

use super::rows::{By, Rows, layers};
use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Error, Notice, crash};

/// What is decided: what changes, and what is told of it.
pub(super) type Decision = (ImageChange, Vec<NewEvent>);

/// Which unused images a prune takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// What is meant.
    pub scope: PruneScope,
    /// Of these only, by digest: what an earlier look was told. `None` for all.
    pub only: Option<BTreeSet<String>>,
}

/// Which unused images a prune means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PruneScope {
    /// Those that have lost their last name.
    #[default]
    Nameless,
    /// Those with a name too.
    All,
}

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Names that are gone.
    pub names: Vec<ImageName>,
    /// The image that is gone with its last name, by digest; `None` where others remain.
    pub digest: Option<String>,
}

/// Carries out what `decide` says, which sees the images while no container can be admitted. The caller holds `changing`.
pub(super) async fn apply(shared: &Shared, decide: impl FnOnce(&Rows) -> Result<Decision, Error>) -> Result<(), Error> {
    let (before, change, events) = {
        let mut rows = shared.images.rows.write().unwrap_or_else(PoisonError::into_inner);
        let (change, events) = decide(&rows)?;
        let before = rows.clone();
        rows.apply(&change);
        (before, change, events)
    };
    let gone: BTreeSet<String> = change.remove.iter().cloned().collect();
    crash::here("image.layers");
    match shared.store.change_images(change, events).await {
        Ok(events) => events.into_iter().for_each(|event| shared.notify(Notice::Event(event))),
        Err(error) => {
            *shared.images.rows.write().unwrap_or_else(PoisonError::into_inner) = before;
            return Err(error.into());
        }
    }
    crash::here("image.row");
    remove_layers(shared, before.layers_of_only(&gone).into_keys().collect()).await
}

/// Removes those of the layers that no image has now.
pub(super) async fn remove_layers(shared: &Shared, candidates: Vec<String>) -> Result<(), Error> {
    for layer in candidates {
        if shared.images.rows().uses(&layer) {
            continue;
        }
        let digest: Digest = layer.parse().map_err(|invalid: Invalid| Error::failed("remove the layer", layer.clone(), invalid))?;
        let folder = shared.images.folder.clone();
        let removed = crate::blocking(move || folder.remove_layer(&digest)).await;
        removed.map_err(|error| Error::failed("remove the layer", layer, error))?;
        crash::here("image.layer_removed");
    }
    Ok(())
}

pub(super) fn event(kind: EventKind, subject: impl ToString, message: impl Into<String>) -> NewEvent {
    NewEvent { at_ms: now_ms(), kind, container: None, subject: subject.to_string(), message: message.into() }
}

/// The change by which `names` mean the image `digest` from now on. An image that loses its last name by that goes with it, unless
/// containers stand on it: then it stays without one.
pub(super) fn name(shared: &Shared, rows: &Rows, names: &[ImageName], digest: &str) -> Decision {
    let (mut change, mut events) = (ImageChange::default(), Vec::new());
    for name in names {
        change.name.push((name.clone(), digest.to_owned()));
        let Some(old) = rows.digest_of(name).filter(|old| *old != digest) else { continue };
        let left = rows.names_of(old).into_iter().any(|other| !names.contains(&other));
        let containers = shared.registry.made_of(old);
        if left {
            continue;
        }
        let Some(image) = rows.with(old) else { continue };
        if containers.is_empty() {
            if !change.remove.contains(old) {
                change.remove.push(old.clone());
                let message = format!("deleted: its name went to {}, and nobody needs it", short(digest));
                events.push(event(EventKind::ImageDeleted, image.short_digest(), message));
            }
        } else {
            let message = format!("its name {name} went to {}; it stays for {}", short(digest), containers.join(", "));
            events.push(event(EventKind::ImageUntagged, image.short_digest(), message));
        }
    }
    (change, events)
}

/// The first twelve digits of a digest.
pub(super) fn short(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..12).unwrap_or(digits)
}

/// Gives the image that `key` means one more name, which may be another's until now.
pub(super) async fn tag(shared: Arc<Shared>, key: String, to: ImageName) -> Result<Image, Error> {
    check_new_name("name", &to)?;
    let tag = async move {
        let _changing = shared.images.changing.lock().await;
        if shared.images.is_host(&key) {
            return Err(of_the_host());
        }
        apply(&shared, |rows| {
            let (image, _) = rows.find(&key)?;
            let (mut change, mut events) = name(&shared, rows, std::slice::from_ref(&to), &image.digest);
            if rows.digest_of(&to) == Some(&image.digest) {
                change.name.clear();
            } else {
                events.insert(0, event(EventKind::ImageTagged, &to, format!("is now a name of {}", image.short_digest())));
            }
            Ok((change, events))
        })
        .await?;
        shared.images.find(to.as_str())
    };
    super::joined(tokio::spawn(tag)).await
}

/// Refuses names that no image can be given.
pub(super) fn check_new_name(field: &str, name: &ImageName) -> Result<(), Error> {
    if name.is_host() {
        return Err(Invalid::new(field, "is the name of the host's own userland").into());
    }
    match name.reference() {
        Some(reference) if reference.digest().is_none() => Ok(()),
        _ => Err(Invalid::new(field, "must be a name with a tag: a digest is what an image is, and cannot be given to it").into()),
    }
}

fn of_the_host() -> Error {
    Invalid::new("image", "is the host's own userland, which is always there, and always as the host is").into()
}

/// Takes a name off an image; with its last one the image goes, if no container is made of it. By its id it goes with all its names,
/// if they are of one repository.
pub(super) async fn delete(shared: Arc<Shared>, key: String) -> Result<Deleted, Error> {
    let delete = async move {
        let _changing = shared.images.changing.lock().await;
        if shared.images.is_host(&key) {
            return Err(of_the_host());
        }
        let mut deleted = Deleted { names: Vec::new(), digest: None };
        apply(&shared, |rows| {
            let (image, by) = rows.find(&key)?;
            let (change, events) = decide_delete(&shared, rows, &image, &by)?;
            deleted = Deleted { names: change.unname.clone(), digest: change.remove.first().cloned() };
            Ok((change, events))
        })
        .await?;
        Ok(deleted)
    };
    super::joined(tokio::spawn(delete)).await
}

fn decide_delete(shared: &Shared, rows: &Rows, image: &Image, by: &By) -> Result<Decision, Error> {
    let names = rows.names_of(&image.digest);
    if let (By::Name(name), [_, _, ..]) = (by, &names[..]) {
        let left = names.iter().filter(|other| *other != name).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let told = event(EventKind::ImageUntagged, name, format!("is no longer a name of {}, which is still {left}", image.short_digest()));
        return Ok((ImageChange { unname: vec![name.clone()], ..ImageChange::default() }, vec![told]));
    }
    let repositories: BTreeSet<_> = names.iter().filter_map(|name| Some(name.reference()?.familiar_repository())).collect();
    if repositories.len() > 1 {
        return Err(Error::ImageHasNames { image: image.short_digest().to_owned(), names });
    }
    let containers = shared.registry.made_of(&image.digest);
    if !containers.is_empty() {
        return Err(Error::ImageInUse { image: image.name.clone(), containers });
    }
    let told = event(EventKind::ImageDeleted, &image.name, "deleted");
    Ok((ImageChange { unname: names, remove: vec![image.digest.clone()], ..ImageChange::default() }, vec![told]))
}

/// What a prune would take now.
pub(super) fn prunable(shared: &Shared, prune: &Prune) -> Pruned {
    let rows = shared.images.rows();
    pruned(&rows, &unused(shared, &rows, prune))
}

fn unused(shared: &Shared, rows: &Rows, prune: &Prune) -> BTreeSet<String> {
    let meant = |image: &&Image| {
        let named = !rows.names_of(&image.digest).is_empty();
        let asked = prune.only.as_ref().is_none_or(|only| only.contains(&image.digest));
        asked && (!named || prune.scope == PruneScope::All) && shared.registry.made_of(&image.digest).is_empty()
    };
    rows.each().filter(meant).map(|image| image.digest.clone()).collect()
}

fn pruned(rows: &Rows, digests: &BTreeSet<String>) -> Pruned {
    let layers = rows.layers_of_only(digests);
    let images = digests.iter().filter_map(|digest| rows.with(digest)).collect();
    Pruned { images, freed_bytes: layers.values().sum(), layers: layers.into_keys().collect() }
}

/// Takes what nobody uses.
pub(super) async fn prune(shared: Arc<Shared>, prune: Prune) -> Result<Pruned, Error> {
    let work = async move {
        let _changing = shared.images.changing.lock().await;
        let mut taken = Pruned::default();
        apply(&shared, |rows| {
            let digests = unused(&shared, rows, &prune);
            taken = pruned(rows, &digests);
            let tell = |image: &Image| {
                let own = rows.layers_of_only(&BTreeSet::from([image.digest.clone()])).values().sum();
                event(EventKind::ImageDeleted, &image.name, format!("pruned: nobody used it ({})", size::display(own)))
            };
            let events = taken.images.iter().map(tell).collect();
            let unname = digests.iter().flat_map(|digest| rows.names_of(digest)).collect();
            Ok((ImageChange { unname, remove: digests.into_iter().collect(), ..ImageChange::default() }, events))
        })
        .await?;
        Ok(taken)
    };
    super::joined(tokio::spawn(work)).await
}

/// The layers of an image that was not placed go again, where nobody has them.
pub(super) async fn forget_layers(shared: &Shared, image: &Image) -> Result<(), Error> {
    remove_layers(shared, layers(image).into_iter().map(str::to_owned).collect()).await
}
