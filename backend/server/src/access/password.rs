//! Passwords: argon2id, off the threads that answer requests, and few at a time.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use belljar_api::problem::Kind;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::fault::{Answer, Fault};

/// Longest password, in bytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1024;
/// Passwords that are hashed at the same time: each takes 19 MiB and a processor for a few tens of milliseconds.
const CONCURRENT_MAX: usize = 2;
/// Passwords that may wait for their turn; whoever comes then is sent away.
const WAITING_MAX: usize = 16;

/// Hashes passwords.
pub(crate) struct Passwords {
    turns: Semaphore,
    queue: Semaphore,
}

impl Passwords {
    /// With nobody waiting.
    pub(crate) fn new() -> Self {
        Self { turns: Semaphore::new(CONCURRENT_MAX), queue: Semaphore::new(WAITING_MAX) }
    }

    /// The PHC string of a password, with the algorithm's recommended costs and a random salt.
    pub(crate) async fn hash(&self, password: &str) -> Answer<String> {
        let password = password.to_owned();
        let hashed = self.in_turn(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())).await?;
        hashed.map_err(|error| Fault::internal(&error))
    }

    /// Whether the password is the one of this PHC string.
    pub(crate) async fn verify(&self, password: &str, hash: String) -> Answer<bool> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let password = password.to_owned();
        self.in_turn(move || {
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let busy = |_| Fault::new(Kind::Unavailable, "too many sign in at the same time: try again");
        let _waiting = self.queue.try_acquire().map_err(busy)?;
        // Neither semaphore is ever closed, and the work does not panic; both would be a failure of ours.
        let _turn = self.turns.acquire().await.map_err(|error| Fault::internal(&error))?;
        spawn_blocking(work).await.map_err(|error| Fault::internal(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_hashed_with_argon2id_and_known_again() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse").await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.verify("correct horse", hash.clone()).await.ok(), Some(true));
        assert_eq!(passwords.verify("correct horsf", hash.clone()).await.ok(), Some(false));
        assert_ne!(passwords.hash("correct horse").await.ok(), Some(hash));
    }

    #[tokio::test]
    async fn an_endless_password_is_wrong_without_being_hashed() {
        assert_eq!(Passwords::new().verify(&"x".repeat(PASSWORD_BYTES_MAX + 1), String::new()).await.ok(), Some(false));
    }
}
