//! Free space of the data folder's file system: looked at all the time, told once when it becomes little.

use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use belljar_model::host::{SPACE_USED_PERCENT_MAX, Space};
use belljar_model::{EventKind, NewEvent, size};
use belljar_store::Durability;

use crate::Notice;
use crate::clock::now_ms;
use crate::shared::Shared;

/// Pause between two looks: a disk of a home fills in minutes, not in seconds.
const PAUSE: Duration = Duration::from_secs(5);

/// How full the file system of a folder is; `None` where it does not say.
pub(crate) fn look(folder: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(Space {
        total_bytes: bytes(stat.f_blocks),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        free_bytes: bytes(stat.f_bavail),
        inodes_total: stat.f_files,
        inodes_free: stat.f_favail,
    })
}

/// Looks until the supervisor is gone. What was told is told again only once there was room in between.
pub(crate) async fn watch(shared: Weak<Shared>) {
    let mut told = false;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let folder = shared.home.folders.data_dir.clone();
        let space = crate::blocking(move || look(&folder)).await;
        let little = space.and_then(|space| words(&space));
        if let Some(message) = little.as_ref().filter(|_| !told) {
            tell(&shared, message).await;
        }
        told = little.is_some();
        drop(shared);
        tokio::time::sleep(PAUSE).await;
    }
}

/// What there is little of; `None` where there is enough.
fn words(space: &Space) -> Option<String> {
    let percent = space.used_percent();
    if percent >= SPACE_USED_PERCENT_MAX {
        return Some(format!("{percent} % of the disk is used, {} are free", size::display(space.free_bytes)));
    }
    let percent = space.inodes_used_percent();
    let little = percent >= SPACE_USED_PERCENT_MAX;
    little.then(|| format!("{percent} % of the disk's inodes are used, {} files more can be made", space.inodes_free))
}

async fn tell(shared: &Shared, message: &str) {
    let folder = shared.home.folders.data_dir.display().to_string();
    tracing::warn!(folder, "{message}");
    let event = NewEvent { at_ms: now_ms(), kind: EventKind::SpaceLow, container: None, subject: folder, message: message.to_owned() };
    match shared.store.tell(event, Durability::Deferred).await {
        Ok(told) => told.into_iter().for_each(|event| shared.notify(Notice::Event(event))),
        Err(error) => tracing::error!(error = crate::error::chain(&error), "that could not be recorded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_what_is_used_to_the_limit_of_bytes_or_of_inodes() {
        let space = |used: u64, inodes_free: u64| Space {
            total_bytes: 110 << 20,
            used_bytes: used << 20,
            free_bytes: (100 - used) << 20,
            inodes_total: 1000,
            inodes_free,
        };
        assert_eq!(words(&space(94, 500)), None);
        assert_eq!(words(&space(95, 500)).as_deref(), Some("95 % of the disk is used, 5 MiB are free"));
        assert_eq!(words(&space(10, 50)).as_deref(), Some("95 % of the disk's inodes are used, 50 files more can be made"));
        assert_eq!(words(&Space { inodes_total: 0, inodes_free: 0, ..space(10, 0) }), None, "btrfs counts no inodes");
        assert!(look(Path::new("/")).is_some_and(|space| space.total_bytes >= space.used_bytes));
    }
}
