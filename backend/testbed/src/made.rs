//! What takes long to make and is the same each time: made once below `target/images`, and found there by everybody else.
//! It must never know what is made.
//!
//! ```text
//! target/images/<name>.lock            flock: one process makes it, the others wait for that
//! target/images/<name>-<recipe>/       whole, by one rename; the recipe is a digest of what it is made by
//! target/images/<name>-<recipe>.part/  half done, removed by the next attempt
//! target/images/<name>-<recipe>.failed what went wrong, so that the next test says so at once instead of trying again
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// How long a failure is believed before it is tried again.
const FAILURE_KEPT: Duration = Duration::from_secs(600);

/// Why it could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This machine lacks something that is named; who needs it skips.
    Missing(String),
    /// It should have worked.
    Failed(String),
}

/// The folder `name` as `recipe` makes it. `make` fills an empty folder, and is called where there is none yet.
pub fn once(name: &str, recipe: &[&str], make: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<PathBuf, Failure> {
    once_in(&cache(), name, recipe, make)
}

/// Where everything of this kind lies.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace").join("target/images")
}

fn once_in(cache: &Path, name: &str, recipe: &[&str], make: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<PathBuf, Failure> {
    let whole = cache.join(format!("{name}-{}", digest(recipe)));
    if whole.exists() {
        return Ok(whole);
    }
    fs::create_dir_all(cache).expect("the target folder can be written");
    let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock can be made");
    lock.lock().expect("a lock can be waited for");
    if whole.exists() {
        return Ok(whole);
    }
    let note = whole.with_extension("failed");
    if let Some(failure) = remembered(&note) {
        return Err(failure);
    }
    sweep(cache, name);
    let part = whole.with_extension("part");
    fs::create_dir_all(&part).expect("a folder can be made");
    match make(&part) {
        Ok(()) => fs::rename(&part, &whole).map(|()| whole).map_err(|error| Failure::Failed(error.to_string())),
        Err(failure) => {
            let told = match &failure {
                Failure::Missing(what) => format!("missing {what}"),
                Failure::Failed(why) => format!("failed {why}"),
            };
            fs::write(note, told).expect("a note can be written");
            Err(failure)
        }
    }
}

/// What of a recipe names its result.
fn digest(recipe: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in recipe {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A failure that is not old yet.
fn remembered(note: &Path) -> Option<Failure> {
    let age = fs::metadata(note).ok()?.modified().ok()?.elapsed().ok()?;
    let told = fs::read_to_string(note).ok().filter(|_| age < FAILURE_KEPT)?;
    let (kind, what) = told.split_once(' ')?;
    Some(if kind == "missing" { Failure::Missing(what.to_owned()) } else { Failure::Failed(what.to_owned()) })
}

/// Removes what other recipes, and attempts that were cut off, left of this name. The caller holds the lock.
fn sweep(cache: &Path, name: &str) {
    let is_ours = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.split('.').next().unwrap_or_default().chars().all(|digit| digit.is_ascii_hexdigit()))
    };
    let entries = fs::read_dir(cache).expect("the cache can be listed").flatten().map(|entry| entry.path());
    for path in entries.filter(is_ours) {
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.expect("what is old can be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> impl FnOnce(&Path) -> Result<(), Failure> {
        move |folder| fs::write(folder.join("it"), text).map_err(|error| Failure::Failed(error.to_string()))
    }

    fn never(_: &Path) -> Result<(), Failure> {
        panic!("it was there already")
    }

    #[test]
    fn it_is_made_once_and_again_when_the_recipe_changes() {
        let cache = tempfile::tempdir().expect("a folder");
        let first = once_in(cache.path(), "jar", &["a"], write("one")).expect("it can be made");
        assert_eq!(once_in(cache.path(), "jar", &["a"], never), Ok(first.clone()));
        let other = once_in(cache.path(), "jar-lid", &["a"], write("lid")).expect("it can be made");
        let second = once_in(cache.path(), "jar", &["b"], write("two")).expect("it can be made");
        assert_eq!(fs::read_to_string(second.join("it")).expect("the file"), "two");
        assert!(!first.exists(), "what another recipe made is gone");
        assert!(other.exists(), "what has another name stays");
    }

    #[test]
    fn what_was_cut_off_is_made_anew() {
        let cache = tempfile::tempdir().expect("a folder");
        let part = cache.path().join(format!("jar-{}.part", digest(&["a"])));
        fs::create_dir(&part).expect("a folder");
        fs::write(part.join("half"), "").expect("a file");
        let made = once_in(cache.path(), "jar", &["a"], write("whole")).expect("it can be made");
        assert!(made.join("it").exists() && !made.join("half").exists());
    }

    #[test]
    fn a_failure_is_told_again_without_another_attempt() {
        let cache = tempfile::tempdir().expect("a folder");
        let failure = Failure::Missing("a mirror that answers".to_owned());
        assert_eq!(once_in(cache.path(), "jar", &["a"], |_| Err(failure.clone())), Err(failure.clone()));
        assert_eq!(once_in(cache.path(), "jar", &["a"], never), Err(failure));
    }

    #[test]
    fn two_at_once_make_it_once() {
        let cache = tempfile::tempdir().expect("a folder");
        let counted = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    once_in(cache.path(), "jar", &["a"], |folder| {
                        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        write("one")(folder)
                    })
                });
            }
        });
        assert_eq!(counted.into_inner(), 1);
    }
}
