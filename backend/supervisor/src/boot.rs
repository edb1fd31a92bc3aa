//! Whether the machine was booted since the instance was last opened.
//!
//! A process is known by its pid and its start, counted in ticks from boot. After another boot both may be somebody else's,
//! so what was noted before is forgotten before anybody looks for it, or sends it a signal.

use std::path::Path;

use belljar_model::Container;

use crate::Error;
use crate::shared::Shared;

/// The kernel's name of this boot, random each time (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The setting that keeps it.
pub(crate) const KEY: &str = "boot_id";

/// This boot, and whether it is the one of the last opening.
pub(crate) struct Boot {
    id: String,
    noted: Option<String>,
}

impl Boot {
    /// Asks the kernel and the database.
    pub(crate) async fn look(shared: &Shared) -> Result<Self, Error> {
        let failed = |source| Error::File { operation: "read", path: BOOT_ID.into(), source };
        let id = std::fs::read_to_string(Path::new(BOOT_ID)).map_err(failed)?.trim_end().to_owned();
        Ok(Self { id, noted: shared.store.setting(KEY).await? })
    }

    /// A database that never noted one is of an earlier Belljar, perhaps of a minute ago: what it says is looked for.
    fn is_another(&self) -> bool {
        self.noted.as_ref().is_some_and(|noted| *noted != self.id)
    }

    /// Forgets every process of an earlier boot: those of the rows, and those that monitors noted, where the folder of what
    /// lives only while the machine is up lies on a disk.
    pub(crate) fn forget_processes(&self, shared: &Shared, rows: &mut [Container]) -> Result<(), Error> {
        if !self.is_another() {
            return Ok(());
        }
        for row in rows {
            (row.init, row.monitor) = (None, None);
        }
        for id in crate::reconcile::ids_in(&shared.home.folders.run_dir.join("containers")) {
            let path = shared.bundle(&id).alive();
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::File { operation: "remove", path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes this boot, once no row speaks of an earlier one's processes any more.
    pub(crate) async fn note(self, shared: &Shared) -> Result<(), Error> {
        if self.noted.as_ref() != Some(&self.id) {
            shared.store.save_setting(KEY, &self.id).await?;
        }
        Ok(())
    }
}
