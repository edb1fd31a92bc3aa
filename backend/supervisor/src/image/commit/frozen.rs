//! A container that is frozen for the sake of its files, and goes on whatever becomes of the one who froze it.
//!
//! ```text
//! mark (a file that a reboot takes) ─▶ frozen ─▶ files are read ─▶ let go ─▶ mark removed
//!      └─ a server that comes back, or closes, lets go whom it finds so marked
//! ```
//! It must never know what is read meanwhile. Whom a person paused has no mark, and stays paused.

use belljar_model::machine::Request;
use belljar_model::{Container, ContainerId, State};
use belljar_runtime::Bundle;

use crate::reconcile::ids_in;
use crate::shared::Shared;
use crate::{Answer, Error, Supervisor, crash};

/// A container that is frozen. [`Frozen::end`] lets it go; where that is never reached, the next start does.
pub(super) struct Frozen {
    supervisor: Supervisor,
    id: ContainerId,
}

impl Frozen {
    /// Freezes a container that runs; `None` where it does not, or somebody froze it first.
    pub(super) async fn begin(supervisor: &Supervisor, container: &Container) -> Result<Option<Self>, Error> {
        let id = container.id.clone();
        if supervisor.shared.registry.snapshot(&id)?.state != State::Running {
            return Ok(None);
        }
        let mark = supervisor.shared.bundle(&id).held();
        let failed = |error| Error::failed("mark as frozen", container.config.name.to_string(), error);
        std::fs::write(&mark, []).map_err(failed)?;
        crash::here("commit.marked");
        let frozen = Self { supervisor: supervisor.clone(), id };
        match supervisor.ask(&frozen.id, Request::Pause).await {
            Ok(Answer::Done(_)) => {
                crash::here("commit.frozen");
                Ok(Some(frozen))
            }
            Ok(Answer::AlreadySo(_)) => {
                forget(&mark)?;
                Ok(None)
            }
            // It may be frozen all the same, where only the database could not take it.
            Err(error) => {
                frozen.end().await?;
                Err(error)
            }
        }
    }

    /// Lets it go. An error only where the server closes, and nobody can tell any more whether it was frozen until now.
    pub(super) async fn end(self) -> Result<(), Error> {
        let asked = self.supervisor.ask(&self.id, Request::Resume).await;
        crash::here("commit.let_go");
        let now = self.supervisor.shared.registry.snapshot(&self.id)?;
        match asked {
            // With its mark the next start tries again.
            Err(error) if now.state == State::Paused => {
                let error = crate::error::chain(&error);
                tracing::error!(container.id = self.id.short(), error, "a container that was frozen for a commit stays so");
                Ok(())
            }
            // It runs, or ended meanwhile, whatever the database said to it.
            _ => forget(&self.supervisor.shared.bundle(&self.id).held()),
        }
    }
}

fn forget(mark: &std::path::Path) -> Result<(), Error> {
    match std::fs::remove_file(mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed("remove the mark", mark.display().to_string(), error))
        }
        _ => Ok(()),
    }
}

/// Lets a container go on that was frozen for the sake of its files by a server that is gone; whether it was.
pub(crate) async fn let_go(shared: &Shared, id: &ContainerId) -> bool {
    let (bundle, cgroup) = (shared.bundle(id), shared.cgroup(id));
    let work = move || {
        let was_frozen = Bundle::held(&bundle).exists() && cgroup.is_frozen();
        if was_frozen {
            cgroup.thaw().map_err(|error| Error::failed("thaw", "it", error))?;
        }
        forget(&bundle.held()).map(|()| was_frozen)
    };
    crate::blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(container.id = id.short(), error = crate::error::chain(&error), "it was frozen for a commit, and stays so");
        false
    })
}

/// The same for all, by a server that closes while it reads their files.
pub(crate) async fn let_all_go(shared: &Shared) {
    for id in ids_in(&shared.home.folders.run_dir.join("containers")) {
        if shared.bundle(&id).held().exists() {
            let_go(shared, &id).await;
        }
    }
}
