//! What all tasks of one instance have in common.

use std::sync::Arc;

use belljar_model::{ContainerId, Host};
use belljar_runtime::cgroup::{Cgroup, Hierarchies};
use belljar_runtime::idmap::Mapper;
use belljar_runtime::{Bundle, Instance};
use belljar_store::Store;
use tokio::sync::{Semaphore, broadcast};

use crate::Notice;
use crate::desks::Desks;
use crate::diagnosis::Diagnosis;
use crate::health::Board;
use crate::history::History;
use crate::hold::Hold;
use crate::image::Shelf;
use crate::launch::Launch;
use crate::quota::Quotas;
use crate::ranges::Ranges;
use crate::registry::Registry;
use crate::sample::Samples;
use crate::sources::Looks;
use crate::upper::Uppers;
use crate::volume::Volumes;

/// Most notices that somebody may lag behind before being told so.
pub(crate) const NOTICES_MAX: usize = 1024;

/// Asks which cgroup hierarchies there are. The tests' own finds none.
pub(crate) type Probe = fn() -> belljar_linux::Result<Hierarchies>;

/// One instance of Belljar.
pub(crate) struct Shared {
    /// Its name and folders.
    pub(crate) home: Instance,
    /// What keeps other servers away from it.
    pub(crate) _hold: Hold,
    pub(crate) store: Store,
    pub(crate) launcher: Box<dyn Launch>,
    pub(crate) probe: Probe,
    /// The hierarchies as they were then: what serves where they cannot be found out again.
    pub(crate) at_opening: Hierarchies,
    pub(crate) host: Host,
    /// Tells whether owners of files can be mapped; `None` where nobody is to be asked.
    pub(crate) mapper: Option<Mapper>,
    /// Which container has which user ids.
    pub(crate) ranges: Ranges,
    pub(crate) images: Shelf,
    pub(crate) volumes: Volumes,
    pub(crate) registry: Registry,
    pub(crate) samples: Samples,
    pub(crate) diagnosis: Diagnosis,
    /// What containers' checks found.
    pub(crate) health: Board,
    pub(crate) history: Arc<History>,
    pub(crate) looks: Looks,
    /// Places for further programs in containers.
    pub(crate) execs: Arc<Semaphore>,
    /// Who works on the files of which container.
    pub(crate) desks: Desks,
    /// How much each container's own layer takes.
    pub(crate) uppers: Uppers,
    /// What it may take.
    pub(crate) quotas: Quotas,
    pub(crate) notices: broadcast::Sender<Notice>,
}

impl Shared {
    pub(crate) fn bundle(&self, id: &ContainerId) -> Bundle {
        Bundle::new(&self.home.folders.data_dir, &self.home.folders.run_dir, id)
    }

    /// The hierarchies as they are now. Another engine that starts may mount one at any time, and what monitors make in it
    /// has to be found there.
    pub(crate) fn hierarchies(&self) -> Hierarchies {
        (self.probe)().unwrap_or_else(|error| {
            tracing::warn!(error = crate::error::chain(&error), "the cgroup hierarchies are taken to be as at the start");
            self.at_opening.clone()
        })
    }

    pub(crate) fn cgroup(&self, id: &ContainerId) -> Cgroup {
        self.cgroup_in(&self.hierarchies(), id)
    }

    /// As [`Shared::cgroup`], for who has just asked for the hierarchies.
    pub(crate) fn cgroup_in(&self, hierarchies: &Hierarchies, id: &ContainerId) -> Cgroup {
        Cgroup::at(hierarchies, &format!("{}/{id}", self.home.name))
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // Nobody may be listening.
        drop(self.notices.send(notice));
    }

    /// Gives a range of ids back; one that cannot be given back is found to be nobody's later.
    pub(crate) fn give_back(&self, base: u32, id: &ContainerId) {
        if let Err(error) = self.ranges.release(base, id) {
            tracing::warn!(container.id = id.short(), error = crate::error::chain(&error), "its range of user ids could not be given back");
        }
    }

    /// The container is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.registry.remove(id);
        self.samples.forget(id);
        self.diagnosis.forget(id);
        self.diagnosis.forget_layer(id);
        self.desks.forget(id);
        self.uppers.forget(id);
        self.quotas.forget(id);
        self.health.forget(id);
        self.notify(Notice::Removed(id.clone()));
    }
}
