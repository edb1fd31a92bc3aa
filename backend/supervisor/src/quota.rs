//! What each container's own layer takes of the disk, and what it may: put into force when the layer is made, changed while the
//! container lives or rests, read whenever somebody asks. Everything that a number decides is `belljar_runtime::quota`'s.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use belljar_model::overlay::LayerQuota;
use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId, ContainerName, Failure, Invalid, Limits, size};
use belljar_runtime::Bundle;
use belljar_runtime::quota::{self, LayerLimit};

use crate::Error;
use crate::shared::Shared;

/// The fields of a usage that are read here.
pub(crate) const FIELDS: [&str; 4] = ["disk_bytes", "disk_bytes_max", "disk_inodes", "disk_inodes_max"];

/// The projects of the layers of one instance.
#[derive(Debug)]
pub(crate) struct Quotas {
    /// The folder of the layers, by which their file system is asked; `None` where it cannot be opened: then nothing is counted.
    folder: Option<File>,
    /// What was looked up of each container: its project, or that it has none.
    known: Mutex<HashMap<ContainerId, Option<u32>>>,
}

impl Quotas {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: File::open(folder).ok(), known: Mutex::default() }
    }

    /// The project that a container's own layer is in.
    pub(crate) fn project(&self, id: &ContainerId, bundle: &Bundle) -> Option<u32> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(id.clone()).or_insert_with(|| quota::project_of(bundle))
    }

    fn note(&self, id: &ContainerId, project: Option<u32>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), project);
    }

    /// The container is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// What a project takes now; `None` where nothing is counted any more.
    fn read(&self, project: u32) -> Option<LayerQuota> {
        let read = belljar_linux::quota::read(self.folder.as_ref()?, project).ok()?;
        Some(LayerQuota { project, bytes: read.bytes, inodes: read.inodes, bytes_max: read.bytes_max, inodes_max: read.inodes_max })
    }

    /// Writes down in a usage what a project takes now. Nothing is allocated.
    pub(crate) fn fill(&self, project: u32, usage: &mut Usage) {
        let read = self.read(project);
        usage.disk_bytes = read.map(|quota| quota.bytes);
        usage.disk_inodes = read.map(|quota| quota.inodes);
        usage.disk_bytes_max = read.and_then(|quota| quota.bytes_max);
        usage.disk_inodes_max = read.and_then(|quota| quota.inodes_max);
    }
}

/// What a container's own layer takes and may take, now; `None` where its file system does not count that.
pub(crate) fn of(shared: &Shared, id: &ContainerId) -> Option<LayerQuota> {
    shared.quotas.read(shared.quotas.project(id, &shared.bundle(id))?)
}

/// The same, of a container whose layer is limited.
pub(crate) fn limited(shared: &Shared, container: &Container) -> Option<LayerQuota> {
    field(&container.config.limits).and_then(|_| of(shared, &container.id))
}

/// Puts the empty folders of a layer into a project, and limits it as asked.
pub(crate) fn begin(shared: &Shared, (id, name): (&ContainerId, &ContainerName), limits: &Limits) -> Result<(), Error> {
    let bundle = shared.bundle(id);
    let failed = |error: belljar_linux::Error| Error::failed("limit the layer of", name.to_string(), error);
    let project = quota::claim(&bundle).map_err(failed)?;
    shared.quotas.note(id, project);
    set(shared, (id, name), limits)
}

/// Says what the layer may take. Where it is in no project that is nothing, or refused.
pub(crate) fn set(shared: &Shared, (id, name): (&ContainerId, &ContainerName), limits: &Limits) -> Result<(), Error> {
    let bundle = shared.bundle(id);
    let (bytes, inodes) = (limits.disk_bytes, limits.disk_inodes);
    match shared.quotas.project(id, &bundle) {
        Some(project) => {
            let limited = quota::limit(&bundle.work(), &LayerLimit { project, bytes, inodes });
            limited.map_err(|source| Error::LimitRefused { name: name.clone(), field: field(limits).map(str::to_owned), source })
        }
        None => match field(limits) {
            Some(field) => Err(Invalid::new(field, format!("cannot be enforced: {}", why_without(&bundle))).into()),
            None => Ok(()),
        },
    }
}

/// Changes what the layer may take, at once. Less than it takes now is refused: the kernel would take it, and leave a container that can
/// write nothing any more.
pub(crate) fn change(shared: &Shared, (id, name): (&ContainerId, &ContainerName), (from, to): (&Limits, &Limits)) -> Result<(), Error> {
    if (from.disk_bytes, from.disk_inodes) == (to.disk_bytes, to.disk_inodes) {
        return Ok(());
    }
    if let Some(used) = of(shared, id) {
        let below = |asked: Option<u64>, before: Option<u64>, used: u64| asked.is_some_and(|asked| asked < used && before != Some(asked));
        let (field, takes) = if below(to.disk_bytes, from.disk_bytes, used.bytes) {
            ("limits.disk_bytes", size::display(used.bytes))
        } else if below(to.disk_inodes, from.disk_inodes, used.inodes) {
            ("limits.disk_inodes", format!("{} files and folders", used.inodes))
        } else {
            return set(shared, (id, name), to);
        };
        return Err(Error::LayerTooFull { name: name.clone(), field, takes });
    }
    adopt_empty(shared, (id, name))?;
    set(shared, (id, name), to)
}

/// The project of a container that is about to start; the failure where its limits could not hold.
pub(crate) fn for_start(shared: &Shared, (id, name): (&ContainerId, &ContainerName), limits: &Limits) -> Result<Option<u32>, Failure> {
    let failure = |cause: String| Failure { step: "limit".into(), object: "its own layer".into(), cause };
    adopt_empty(shared, (id, name)).map_err(|error| failure(crate::error::chain(&error)))?;
    let bundle = shared.bundle(id);
    match (shared.quotas.project(id, &bundle), field(limits)) {
        (None, Some(_)) => Err(failure(why_without(&bundle))),
        (project, _) => Ok(project),
    }
}

/// A layer in no project that nothing is in yet can still come into one: its file system may have got quotas meanwhile, or a reset been
/// cut off.
fn adopt_empty(shared: &Shared, (id, name): (&ContainerId, &ContainerName)) -> Result<(), Error> {
    let bundle = shared.bundle(id);
    let is_empty = |folder: PathBuf| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if shared.quotas.project(id, &bundle).is_none() && is_empty(bundle.upper()) && is_empty(bundle.work()) {
        return begin(shared, (id, name), &Limits::default());
    }
    Ok(())
}

fn why_without(bundle: &Bundle) -> String {
    quota::why_not(bundle.dir()).unwrap_or_else(|| {
        "its own layer was made while its file system had no project quotas, and what is in it cannot join one: reset it (belljar reset), or \
         create the container anew"
            .to_owned()
    })
}

/// The first limit of a layer that is asked for.
fn field(limits: &Limits) -> Option<&'static str> {
    match (limits.disk_bytes, limits.disk_inodes) {
        (Some(_), _) => Some("limits.disk_bytes"),
        (None, Some(_)) => Some("limits.disk_inodes"),
        (None, None) => None,
    }
}
