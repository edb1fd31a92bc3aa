//! Volumes: the folder and the rows, kept in step, and who has which.
//!
//! A volume is used from the moment at which a container that names it is admitted: who deletes one looks at the registry, and who
//! makes one for a container waits until that is over. What is in a volume is never removed but by a delete or a prune that asked for
//! it, or with the container that it was made for. A folder without a row gets one back; a row without a folder is told, and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use belljar_model::host::Space;
use belljar_model::mount::{VolumeMount, names};
use belljar_model::volume::{Kept, Measure, User, Volume, VolumeFile};
use belljar_model::{Config, Container, EventKind, Invalid, Mount, NewEvent, VolumeName, Wanted};
use belljar_runtime::volume as disk;
use belljar_store::{Durability, Store};
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock as Gate, Semaphore};

use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Error, Notice, Supervisor};

mod fill;
mod prune;

pub use prune::VolumeScope;
use prune::{prunable, prune};

pub(crate) use fill::fill_all;

/// Most volumes of an instance.
pub const VOLUMES_MAX: usize = 16_384;
/// A figure younger than this is not looked for again by who only lists.
const FRESH: Duration = Duration::from_secs(60);
/// Longest that one who asks for a volume waits for its figure; it is there the next time.
const MEASURE_PATIENCE: Duration = Duration::from_secs(2);

/// Every volume by its name.
pub(crate) struct Volumes {
    folder: PathBuf,
    rows: RwLock<BTreeMap<VolumeName, Row>>,
    /// Volumes whose folder is there, of those found at the opening: what else has a row is told.
    found: BTreeSet<VolumeName>,
    /// One is made or deleted at a time.
    changing: Mutex<()>,
    /// One is measured at a time: a walk keeps a disk busy.
    measuring: Arc<Semaphore>,
}

struct Row {
    volume: Volume,
    measure: Option<Measure>,
    /// Held by every container that is about to have it mounted, and alone by who fills it.
    gate: Arc<Gate<()>>,
}

impl Row {
    fn of(volume: Volume) -> Self {
        Self { volume, measure: None, gate: Arc::default() }
    }
}

impl Volumes {
    fn rows(&self) -> RwLockReadGuard<'_, BTreeMap<VolumeName, Row>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_rows<T>(&self, change: impl FnOnce(&mut BTreeMap<VolumeName, Row>) -> T) -> T {
        change(&mut self.rows.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder of volumes.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    fn gate(&self, name: &VolumeName) -> Option<Arc<Gate<()>>> {
        self.rows().get(name).map(|row| Arc::clone(&row.gate))
    }

    /// Keeps the volumes of these mounts from being filled while they are about to be mounted.
    pub(crate) async fn hold(&self, mounts: &[Mount]) -> Vec<OwnedRwLockReadGuard<()>> {
        let mut held = Vec::new();
        for gate in mounts.iter().filter_map(|mount| self.gate(mount.volume()?.source.as_ref()?)) {
            held.push(gate.read_owned().await);
        }
        held
    }
}

impl Supervisor {
    /// Every volume, by name. How much is in each is told as far as it is known, and looked for meanwhile.
    pub fn volumes(&self) -> Vec<Kept> {
        all(&self.shared)
    }

    /// One volume; measured now, where that does not take too long.
    pub async fn volume(&self, name: &VolumeName) -> Result<Kept, Error> {
        one(&self.shared, name).await
    }

    /// How full the disk of the data folder is.
    pub fn space(&self) -> Option<Space> {
        crate::space::look(&self.shared.home.folders.data_dir)
    }

    /// Makes a volume; without a name one is made up.
    pub async fn create_volume(&self, name: Option<VolumeName>, labels: BTreeMap<String, String>) -> Result<Kept, Error> {
        let shared = Arc::clone(&self.shared);
        crate::image::joined(tokio::spawn(async move { create(&shared, name, labels).await })).await
    }

    /// Deletes a volume that no container has, with everything in it.
    pub async fn delete_volume(&self, name: &VolumeName) -> Result<(), Error> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        crate::image::joined(tokio::spawn(async move { delete(&shared, &name).await })).await
    }

    /// What a prune would delete.
    pub async fn prunable_volumes(&self, which: VolumeScope) -> Result<Vec<Kept>, Error> {
        prunable(&self.shared, which).await
    }

    /// Deletes the volumes that no container has, and says which those were.
    pub async fn prune_volumes(&self, which: VolumeScope) -> Result<Vec<Kept>, Error> {
        let shared = Arc::clone(&self.shared);
        crate::image::joined(tokio::spawn(async move { prune(&shared, which).await })).await
    }

    /// What is in a folder of a volume.
    pub async fn volume_files(&self, name: &VolumeName, path: &str) -> Result<Vec<VolumeFile>, Error> {
        let (folder, path) = (data(&self.shared, name)?, path.to_owned());
        crate::blocking(move || disk::browse::list(&folder, &path)).await.map_err(browse_error)
    }

    /// A file of a volume, open, and its size.
    pub async fn volume_file(&self, name: &VolumeName, path: &str) -> Result<(std::fs::File, u64), Error> {
        let (folder, path) = (data(&self.shared, name)?, path.to_owned());
        crate::blocking(move || disk::browse::read(&folder, &path)).await.map_err(browse_error)
    }

    /// Refuses mappings of ids that the host cannot make.
    pub(crate) async fn check_idmaps(&self, mounts: &[Mount]) -> Result<(), Error> {
        if mounts.iter().all(|mount| mount.idmap().is_none()) {
            return Ok(());
        }
        let (shared, mounts) = (Arc::clone(&self.shared), mounts.to_vec());
        Ok(crate::blocking(move || crate::around::check_idmaps(&shared, &mounts)).await?)
    }
}

/// Opens the folder and reads the rows.
pub(crate) async fn open(folder: PathBuf, store: &Store) -> Result<Volumes, Error> {
    let rows = store.load_volumes().await?;
    let place = folder.clone();
    let found = crate::blocking(move || disk::open(&place)).await;
    let found = found.map_err(|error| Error::failed("open", "the folder of volumes", error))?;
    let rows = rows.into_iter().map(|volume| (volume.name.clone(), Row::of(volume))).collect();
    let (changing, measuring) = (Mutex::default(), Arc::new(Semaphore::new(1)));
    Ok(Volumes { folder, rows: RwLock::new(rows), found: found.into_iter().collect(), changing, measuring })
}

/// Once every container is known: folders get their rows back, what is missing is told, and what was made for a container that is
/// gone goes.
pub(crate) async fn settle(shared: &Shared) -> Result<(), Error> {
    let known: BTreeSet<VolumeName> = shared.volumes.rows().keys().cloned().collect();
    for name in shared.volumes.found.difference(&known) {
        let volume = Volume { name: name.clone(), anonymous: name.looks_made(), labels: BTreeMap::new(), created_at_ms: now_ms() };
        let event = event(EventKind::VolumeFound, name, "its folder was there without a row, and is kept".to_owned());
        put_down(shared, volume, event, Durability::Deferred).await?;
    }
    for name in known.difference(&shared.volumes.found) {
        let message = format!("its folder is missing: {}", disk::data_of(&shared.volumes.folder, name).display());
        tracing::error!(volume.name = %name, "a volume's folder is missing");
        tell(shared, event(EventKind::VolumeFound, name, message)).await;
    }
    let own: Vec<VolumeName> =
        shared.volumes.rows().values().filter(|row| row.volume.anonymous).map(|row| row.volume.name.clone()).collect();
    for name in own.into_iter().filter(|name| users(shared, name).is_empty()) {
        remove(shared, &name, "was made for a container that is gone").await?;
    }
    Ok(())
}

fn event(kind: EventKind, name: &VolumeName, message: String) -> NewEvent {
    NewEvent { at_ms: now_ms(), kind, container: None, subject: name.to_string(), message }
}

async fn tell(shared: &Shared, event: NewEvent) {
    match shared.store.tell(event, Durability::Deferred).await {
        Ok(told) => told.into_iter().for_each(|event| shared.notify(Notice::Event(event))),
        Err(error) => tracing::error!(error = crate::error::chain(&error), "an event of a volume could not be recorded"),
    }
}

async fn put_down(shared: &Shared, volume: Volume, event: NewEvent, durability: Durability) -> Result<(), Error> {
    let told = shared.store.insert_volume(&volume, event, durability).await?;
    shared.volumes.change_rows(|rows| rows.insert(volume.name.clone(), Row::of(volume)));
    told.into_iter().for_each(|event| shared.notify(Notice::Event(event)));
    Ok(())
}

/// Who has a volume, by name.
fn users(shared: &Shared, name: &VolumeName) -> Vec<User> {
    users_where(shared, name, |_| true)
}

/// Those of them that stay: a container that could not be deleted whole needs nothing any more that was made for it alone.
fn users_that_stay(shared: &Shared, name: &VolumeName) -> Vec<User> {
    let is_own = shared.volumes.rows().get(name).is_some_and(|row| row.volume.anonymous);
    users_where(shared, name, |container| !is_own || container.wanted != Wanted::Deleted)
}

fn users_where(shared: &Shared, name: &VolumeName, counts: impl Fn(&Container) -> bool) -> Vec<User> {
    let of = |container: &Container| {
        if !counts(container) {
            return None;
        }
        let mounts = container.config.mounts.iter().filter_map(Mount::volume).filter(|mount| mount.source.as_ref() == Some(name));
        let user = |mount: &VolumeMount| User {
            container: container.config.name.to_string(),
            target: mount.target.clone(),
            readonly: mount.readonly,
        };
        Some(mounts.map(user).collect::<Vec<_>>())
    };
    let mut users: Vec<User> = shared.registry.collect(of).into_iter().flatten().collect();
    users.sort_by(|left, right| (&left.container, &left.target).cmp(&(&right.container, &right.target)));
    users
}

fn not_found(name: &str) -> Error {
    Error::NotFound { what: "volume", key: name.to_owned() }
}

fn random_name() -> Result<VolumeName, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::failed("make", "a random name", error))?;
    Ok(VolumeName::from_bytes(bytes))
}

/// Gives a container volumes of its own: where the image wants one and nothing else is mounted, and where one was asked for without a
/// name.
pub(crate) fn give_own(config: &mut Config, wanted: &BTreeSet<String>) -> Result<(), Error> {
    let place = |target: &str| names(target).map(str::to_owned).collect::<Vec<_>>();
    let taken: BTreeSet<Vec<String>> = config.mounts.iter().filter_map(Mount::target).map(place).collect();
    for target in wanted.iter().filter(|target| !taken.contains(&place(target))) {
        let mount = Mount::Volume(VolumeMount::of(None, target));
        let refused = |invalid: Invalid| Invalid::new("image", format!("wants a volume at {target}, which {}", invalid.problem));
        mount.check("image").map_err(refused)?;
        config.mounts.push(mount);
    }
    for mount in &mut config.mounts {
        if let Mount::Volume(volume) = mount
            && volume.source.is_none()
        {
            (volume.source, volume.anonymous) = (Some(random_name()?), true);
        }
    }
    // With what was added, it must be as good as what was asked.
    Ok(config.check()?)
}

/// Makes a volume that somebody asked for by name, or with a made-up one.
pub(crate) async fn create(shared: &Shared, name: Option<VolumeName>, labels: BTreeMap<String, String>) -> Result<Kept, Error> {
    belljar_model::container::check_labels(&labels)?;
    let name = name.map_or_else(random_name, Ok)?;
    let volume = Volume { name: name.clone(), anonymous: false, labels, created_at_ms: now_ms() };
    let _changing = shared.volumes.changing.lock().await;
    if shared.volumes.rows().contains_key(&name) {
        return Err(Error::VolumeExists { volume: name });
    }
    make(shared, volume, Durability::Durable).await?;
    kept(shared, &name)
}

/// Makes what is missing of a container's volumes; says which were.
pub(crate) async fn ensure(shared: &Shared, container: &Container) -> Result<Vec<VolumeName>, Error> {
    let mut made = Vec::new();
    for mount in container.config.mounts.iter().filter_map(Mount::volume) {
        let Some(name) = &mount.source else { continue };
        let _changing = shared.volumes.changing.lock().await;
        if !shared.volumes.rows().contains_key(name) {
            let (name, anonymous) = (name.clone(), mount.anonymous);
            // The container's own row makes it durable, and nobody is told of either before.
            make(shared, Volume { name: name.clone(), anonymous, labels: BTreeMap::new(), created_at_ms: now_ms() }, Durability::Deferred)
                .await?;
            made.push(name);
        }
    }
    Ok(made)
}

/// The folder first: one without a row gets one at the next opening, and a row without a folder would be a loss.
async fn make(shared: &Shared, volume: Volume, durability: Durability) -> Result<(), Error> {
    if shared.volumes.rows().len() >= VOLUMES_MAX {
        return Err(Error::Unavailable {
            because: format!("there are {VOLUMES_MAX} volumes, which is the most that one instance can have"),
        });
    }
    let (folder, name) = (shared.volumes.folder(), volume.name.clone());
    let made = crate::blocking(move || disk::create(&folder, &name)).await;
    made.map_err(|error| Error::failed("make", format!("volume {}", volume.name), error))?;
    crate::crash::here("volume.folder");
    let message = if volume.anonymous { "made for a container alone" } else { "created" };
    let event = event(EventKind::VolumeCreated, &volume.name, message.to_owned());
    put_down(shared, volume, event, durability).await?;
    crate::crash::here("volume.inserted");
    Ok(())
}

/// Deletes a volume that no container has.
pub(crate) async fn delete(shared: &Shared, name: &VolumeName) -> Result<(), Error> {
    if !shared.volumes.rows().contains_key(name) {
        return Err(not_found(name.as_str()));
    }
    remove(shared, name, "deleted, with everything in it").await
}

/// Row first, then the folder, which becomes nobody's by one rename: a crash in between leaves all of it or nothing.
async fn remove(shared: &Shared, name: &VolumeName, message: &str) -> Result<(), Error> {
    let _changing = shared.volumes.changing.lock().await;
    let mut containers: Vec<String> = users_that_stay(shared, name).into_iter().map(|user| user.container).collect();
    containers.dedup();
    if !containers.is_empty() {
        return Err(Error::VolumeInUse { volume: name.clone(), containers });
    }
    let told = shared.store.remove_volume(name, event(EventKind::VolumeDeleted, name, message.to_owned())).await?;
    shared.volumes.change_rows(|rows| rows.remove(name));
    told.into_iter().for_each(|event| shared.notify(Notice::Event(event)));
    crate::crash::here("volume.row");
    let (folder, gone) = (shared.volumes.folder(), name.clone());
    let removed = crate::blocking(move || disk::remove(&folder, &gone)).await;
    removed.map_err(|error| Error::failed("remove", format!("volume {name}"), error))
}

/// Removes the volumes that were made for a container that goes, where nobody else has them. It is still in the registry.
pub(crate) async fn remove_own(shared: &Shared, container: &Container) -> Result<(), Error> {
    for mount in container.config.mounts.iter().filter_map(Mount::volume).filter(|mount| mount.anonymous) {
        let Some(name) = &mount.source else { continue };
        let others = users(shared, name).into_iter().any(|user| user.container != container.config.name.as_str());
        if others || !shared.volumes.rows().contains_key(name) {
            continue;
        }
        remove_while(shared, name).await?;
    }
    Ok(())
}

/// Removes a volume whose only user is going.
async fn remove_while(shared: &Shared, name: &VolumeName) -> Result<(), Error> {
    let _changing = shared.volumes.changing.lock().await;
    let event = event(EventKind::VolumeDeleted, name, "deleted with its container".to_owned());
    let told = shared.store.remove_volume(name, event).await?;
    shared.volumes.change_rows(|rows| rows.remove(name));
    told.into_iter().for_each(|event| shared.notify(Notice::Event(event)));
    crate::crash::here("delete.volume_row");
    let (folder, gone) = (shared.volumes.folder(), name.clone());
    let removed = crate::blocking(move || disk::remove(&folder, &gone)).await;
    removed.map_err(|error| Error::failed("remove", format!("volume {name}"), error))
}

/// Takes back the volumes that were made for a container that came to nothing.
pub(crate) async fn take_back(shared: &Shared, container: &Container, made: &[VolumeName]) {
    for name in made {
        let others = users(shared, name).into_iter().any(|user| user.container != container.config.name.as_str());
        if !others
            && shared.volumes.rows().contains_key(name)
            && let Err(error) = remove_while(shared, name).await
        {
            tracing::error!(volume.name = %name, error = crate::error::chain(&error), "a volume that nobody needs could not be removed");
        }
    }
}

fn kept(shared: &Shared, name: &VolumeName) -> Result<Kept, Error> {
    let (volume, measure) = {
        let rows = shared.volumes.rows();
        let row = rows.get(name).ok_or_else(|| not_found(name.as_str()))?;
        (row.volume.clone(), row.measure)
    };
    let path = disk::data_of(&shared.volumes.folder, name).display().to_string();
    Ok(Kept { volume, path, measure, users: users(shared, name) })
}

/// Every volume by name, with figures as far as they are known; those that are old are looked for meanwhile.
pub(crate) fn all(shared: &Arc<Shared>) -> Vec<Kept> {
    let names: Vec<VolumeName> = shared.volumes.rows().keys().cloned().collect();
    let all: Vec<Kept> = names.iter().filter_map(|name| kept(shared, name).ok()).collect();
    let fresh_ms = i64::try_from(FRESH.as_millis()).unwrap_or(i64::MAX);
    let is_old = |kept: &&Kept| kept.measure.is_none_or(|measure| now_ms().saturating_sub(measure.at_ms) > fresh_ms);
    let old: Vec<VolumeName> = all.iter().filter(is_old).map(|kept| kept.volume.name.clone()).collect();
    // Where a round is under way, this one's turn is the next time that somebody lists.
    if let (false, Ok(turn)) = (old.is_empty(), Arc::clone(&shared.volumes.measuring).try_acquire_owned()) {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            for name in old {
                measure(&shared, &name).await;
            }
            drop(turn);
        });
    }
    all
}

/// One volume, measured now, where that does not take too long.
pub(crate) async fn one(shared: &Arc<Shared>, name: &VolumeName) -> Result<Kept, Error> {
    kept(shared, name)?;
    let (looking, looked) = (Arc::clone(shared), name.clone());
    // It goes on where nobody waits any more.
    let measured = tokio::spawn(async move {
        let turn = looking.volumes.measuring.acquire().await;
        measure(&looking, &looked).await;
        drop(turn);
    });
    drop(tokio::time::timeout(MEASURE_PATIENCE, measured).await);
    kept(shared, name)
}

async fn measure(shared: &Shared, name: &VolumeName) {
    let folder = disk::data_of(&shared.volumes.folder, name);
    match crate::blocking(move || disk::measure(&folder, now_ms())).await {
        Ok(measure) => shared.volumes.change_rows(|rows| {
            if let Some(row) = rows.get_mut(name) {
                row.measure = Some(measure);
            }
        }),
        Err(error) => tracing::warn!(volume.name = %name, error = crate::error::chain(&error), "a volume could not be measured"),
    }
}

/// What is in a volume, in the words of a request.
pub(crate) fn browse_error(error: disk::browse::Error) -> Error {
    use disk::browse::Error as Browse;
    match error {
        Browse::NotFound { path } => Error::NotFound { what: "file or folder", key: path },
        Browse::NotA { .. } | Browse::TooMany { .. } => Invalid::new("path", error.to_string()).into(),
        error @ Browse::Read { .. } => Error::failed("read", "the volume", error),
    }
}

/// The folder of what is in a volume that is there.
pub(crate) fn data(shared: &Shared, name: &VolumeName) -> Result<PathBuf, Error> {
    if !shared.volumes.rows().contains_key(name) {
        return Err(not_found(name.as_str()));
    }
    Ok(disk::data_of(&shared.volumes.folder, name))
}
