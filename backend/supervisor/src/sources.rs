//! What mounts take from the host, looked at before a container is made of it.
//!
//! A path may lie on a mount whose server does not answer; whoever looks at it then waits in the kernel, and nothing ends
//! that wait. So each look has a thread of its own and a limit, and so has the number of looks that are still waiting.

use std::fs::Metadata;
use std::sync::Arc;
use std::time::Duration;

use belljar_model::{Invalid, Limits, Mount};
use tokio::sync::Semaphore;

use crate::Error;

/// Longest wait for a path to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Most looks at once. Those that hang keep a thread each, of the few hundred that all waiting work of the server shares.
const LOOKS_MAX: usize = 16;

/// What a mount takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// A folder or a file.
    Anything,
    Folder,
}

/// The looks of one instance.
pub(crate) struct Looks {
    free: Arc<Semaphore>,
    limit: Duration,
}

impl Default for Looks {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(LOOKS_MAX)), limit: ANSWER_LIMIT }
    }
}

impl Looks {
    /// What a mount takes from the host must be there, and answer; a layer must be a folder.
    pub(crate) async fn check(&self, mounts: &[Mount]) -> Result<(), Error> {
        for (index, mount) in mounts.iter().enumerate() {
            let (source, needed) = match mount {
                Mount::Bind { source, .. } => (source, Needed::Anything),
                Mount::Layer { source } => (source, Needed::Folder),
                Mount::Image { .. } | Mount::Volume(_) | Mount::Tmpfs { .. } => continue,
            };
            let path = source.clone();
            let found = self.look(move || std::fs::metadata(path)).await?;
            refuse(source, needed, found).map_err(|message| Invalid::new(format!("mounts[{index}].source"), message))?;
        }
        Ok(())
    }

    /// What a limit names the disk by must be there, and answer.
    pub(crate) async fn check_disks(&self, limits: &Limits) -> Result<(), Error> {
        for (index, limit) in limits.io.iter().enumerate() {
            let path = limit.device.clone();
            let found = self.look(move || std::fs::metadata(path)).await?;
            let refused = refuse(&limit.device, Needed::Anything, found);
            refused.map_err(|message| Invalid::new(format!("limits.io[{index}].device"), message))?;
        }
        Ok(())
    }

    /// `None` where there was no answer in time.
    async fn look(
        &self,
        look: impl FnOnce() -> std::io::Result<Metadata> + Send + 'static,
    ) -> Result<Option<std::io::Result<Metadata>>, Error> {
        let free = tokio::time::timeout(self.limit, Arc::clone(&self.free).acquire_owned()).await;
        let Ok(Ok(place)) = free else {
            let because = format!("{LOOKS_MAX} paths of the host that do not answer are still waited for; ask again later");
            return Err(Error::Unavailable { because });
        };
        let looked = crate::blocking(move || {
            let found = look();
            drop(place);
            found
        });
        Ok(tokio::time::timeout(self.limit, looked).await.ok())
    }
}

fn refuse(source: &str, needed: Needed, found: Option<std::io::Result<Metadata>>) -> Result<(), String> {
    match found {
        None => Err(format!("{source} does not answer within {} s", ANSWER_LIMIT.as_secs())),
        Some(Err(error)) => Err(format!("{source} cannot be used: {error}")),
        Some(Ok(metadata)) if needed == Needed::Folder && !metadata.is_dir() => Err(format!("{source} must be a folder")),
        Some(Ok(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_path_that_does_not_answer_is_told_and_keeps_its_place_until_it_does() {
        let looks = Looks { free: Arc::new(Semaphore::new(1)), limit: Duration::from_millis(20) };
        let (answer, answered) = mpsc::channel::<()>();
        let hangs = looks.look(move || {
            let _ = answered.recv();
            std::fs::metadata("/")
        });
        let found = hangs.await.expect("a place was free");
        assert_eq!(refuse("/nfs", Needed::Anything, found), Err("/nfs does not answer within 5 s".to_owned()));
        let next = looks.look(|| std::fs::metadata("/")).await.expect_err("its place is taken");
        assert_eq!(next.kind(), crate::ErrorKind::Unavailable);
        drop(answer);
        let patient = Looks { limit: ANSWER_LIMIT, ..looks };
        assert!(matches!(patient.look(|| std::fs::metadata("/")).await, Ok(Some(Ok(_)))));
    }
}
