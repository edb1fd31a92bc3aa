//! Volumes that nobody needs: shown, and removed with what earlier removals left half done.

use std::collections::BTreeSet;
use std::sync::Arc;

use belljar_model::VolumeName;
use belljar_model::volume::Kept;
use belljar_runtime::volume as disk;

use super::{delete, one, users_that_stay};
use crate::Error;
use crate::shared::Shared;

/// Which volumes a prune is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeScope {
    /// Those that were made for a container alone, and that none has any more.
    Anonymous,
    /// All that no container has.
    All,
}

/// What a prune would delete, measured.
pub(crate) async fn prunable(shared: &Arc<Shared>, which: VolumeScope) -> Result<Vec<Kept>, Error> {
    let names: Vec<VolumeName> = {
        let rows = shared.volumes.rows();
        rows.values().filter(|row| which == VolumeScope::All || row.volume.anonymous).map(|row| row.volume.name.clone()).collect()
    };
    let mut unused = Vec::new();
    for name in names.into_iter().filter(|name| users_that_stay(shared, name).is_empty()) {
        match one(shared, &name).await {
            Ok(kept) => unused.push(kept),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(unused)
}

/// Deletes what no container has, and says what that was. One that somebody took meanwhile stays.
pub(crate) async fn prune(shared: &Arc<Shared>, which: VolumeScope) -> Result<Vec<Kept>, Error> {
    let mut gone = Vec::new();
    clear(shared).await?;
    for kept in prunable(shared, which).await? {
        match delete(shared, &kept.volume.name).await {
            Ok(()) => gone.push(kept),
            Err(Error::VolumeInUse { .. } | Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Removes what a removal left that broke: its row is gone, and its folder could not be.
async fn clear(shared: &Shared) -> Result<(), Error> {
    // Nobody makes or removes one meanwhile: what has no row now is nobody's.
    let _changing = shared.volumes.changing.lock().await;
    let known: BTreeSet<VolumeName> = shared.volumes.rows().keys().cloned().collect();
    let folder = shared.volumes.folder();
    let cleared = crate::blocking(move || disk::clear(&folder, &known)).await;
    cleared.map_err(|error| Error::failed("remove what is left of", "volumes", error))
}
