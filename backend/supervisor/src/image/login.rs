//! Logins of registries: kept sealed in the database, or where Docker keeps them.
//!
//! The key is 32 random bytes in a file of its own, beside the database and not in it: a copy of the database alone opens nothing.
//! Each secret is sealed with a nonce of its own and for one host and one user, so none can be put in another's place
//! (ChaCha20-Poly1305, RFC 8439). A secret is never shown again, and never in a log.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use belljar_images::registry::{Credentials, Kind};
use belljar_model::{EventKind, Invalid, Reference};
use belljar_store::{Login as Kept, Registry};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::change::event;
use super::docker_config;
use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Error, Notice};

/// Longest name of a user of a registry, in bytes.
const USERNAME_BYTES_MAX: usize = 255;
/// Longest password or token of a registry, in bytes: tokens of clouds have some thousands.
const SECRET_BYTES_MAX: usize = 64 << 10;
/// The file of the key, in the data folder.
const KEY_FILE: &str = "registries.key";
const KEY_BYTES: usize = 32;

/// How somebody is known at a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// By a name and a password, or a token in its place.
    Password {
        /// Name.
        username: String,
        /// Password.
        password: String,
    },
    /// As this file in the form of Docker's `config.json` says, whenever something is pulled.
    DockerConfig {
        /// The file, absolute.
        path: String,
    },
}

/// A registry that somebody is logged in to, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRegistry {
    /// Its host, with its port where it has one.
    pub host: String,
    /// As whom; `None` where a file says it.
    pub username: Option<String>,
    /// The file that says it.
    pub docker_config: Option<String>,
    /// Since when, in Unix milliseconds.
    pub saved_at_ms: i64,
}

impl From<Registry> for KnownRegistry {
    fn from(registry: Registry) -> Self {
        let (username, docker_config) = match registry.login {
            Kept::Sealed { username, .. } => (Some(username), None),
            Kept::DockerConfig { path } => (None, Some(path)),
        };
        Self { host: registry.host, username, docker_config, saved_at_ms: registry.saved_at_ms }
    }
}

/// The host of a registry as references have it.
pub(super) fn host(text: &str) -> Result<String, Invalid> {
    let wrong = || Invalid::new("host", format!("{text:?} is no registry: write its host, with a port where it has one"));
    // Docker's own address of its registry is no host.
    let text = if text == "https://index.docker.io/v1/" { belljar_model::reference::DEFAULT_REGISTRY } else { text };
    let reference: Reference = format!("{text}/a").parse().map_err(|_| wrong())?;
    if text.contains('/') || reference.repository() != "a" && reference.repository() != "library/a" {
        return Err(wrong());
    }
    Ok(reference.registry().to_owned())
}

/// Keeps a login, after the registry has taken it.
pub(super) async fn save(shared: &Arc<Shared>, host: String, login: Login) -> Result<KnownRegistry, Error> {
    let credentials = match &login {
        Login::Password { username, password } => {
            check("username", username, USERNAME_BYTES_MAX)?;
            check("password", password, SECRET_BYTES_MAX)?;
            if username.contains(':') {
                return Err(Invalid::new("username", "must not have a colon").into());
            }
            Credentials::Password { user: username.clone(), password: password.clone() }
        }
        Login::DockerConfig { path } => of_file(path, &host).await?,
    };
    shared.images.pulls.client.check_login(&host, credentials).await.map_err(|cause| {
        let problem = format!("could not log in to {host}: {}", crate::error::chain(&cause));
        match cause.kind() {
            Kind::Denied => Invalid::new("password", format!("was refused by {host}")).into(),
            Kind::Local => Error::failed("log in to", host.clone(), problem),
            _ => Error::Unavailable { because: problem },
        }
    })?;
    let (login, message) = match login {
        Login::Password { username, password } => {
            let key = key(shared).await?;
            let sealed = seal(&key, &host, &username, &password)?;
            let message = format!("logged in as {username}");
            (Kept::Sealed { username, sealed }, message)
        }
        Login::DockerConfig { path } => {
            let message = format!("logged in as {path} says");
            (Kept::DockerConfig { path }, message)
        }
    };
    let registry = Registry { host, login, saved_at_ms: now_ms() };
    let event = event(EventKind::RegistryLogin, &registry.host, message);
    shared.store.save_registry(&registry, event).await?.into_iter().for_each(|event| shared.notify(Notice::Event(event)));
    Ok(registry.into())
}

fn check(field: &str, text: &str, bytes_max: usize) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(Invalid::new(field, format!("must have 1 to {bytes_max} bytes, and no control characters")));
    }
    Ok(())
}

/// Forgets a login; [`Error::NotFound`] where there is none.
pub(super) async fn forget(shared: &Arc<Shared>, host: &str) -> Result<(), Error> {
    if shared.store.registry(host).await?.is_none() {
        return Err(Error::NotFound { what: "login at", key: host.to_owned() });
    }
    let event = event(EventKind::RegistryLogout, host, "logged out");
    shared.store.remove_registry(host, event).await?.into_iter().for_each(|event| shared.notify(Notice::Event(event)));
    Ok(())
}

/// Who pulls from this registry; nobody in particular where nobody is logged in.
pub(super) async fn of(shared: &Shared, host: &str) -> Result<Option<Credentials>, Error> {
    match shared.store.registry(host).await?.map(|registry| registry.login) {
        None => Ok(None),
        Some(Kept::DockerConfig { path }) => of_file(&path, host).await.map(Some),
        Some(Kept::Sealed { username, sealed }) => {
            let key = key(shared).await?;
            let password = open(&key, host, &username, sealed).ok_or_else(|| {
                let because = format!("the login of {host} cannot be opened with {KEY_FILE}: log in again");
                Error::Unavailable { because }
            })?;
            Ok(Some(Credentials::Password { user: username, password }))
        }
    }
}

async fn of_file(path: &str, host: &str) -> Result<Credentials, Error> {
    let (path, host) = (PathBuf::from(path), host.to_owned());
    Ok(crate::blocking(move || docker_config::credentials(&path, &host)).await?)
}

fn aad(host: &str, username: &str) -> Aad<Vec<u8>> {
    Aad::from([host.as_bytes(), &[0], username.as_bytes()].concat())
}

fn sealed_with(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, Error> {
    let unusable = |_| Error::failed("use", "the key of registries", std::io::Error::other("it is none"));
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(unusable)
}

/// Nonce, and then what is sealed.
fn seal(key: &[u8; KEY_BYTES], host: &str, username: &str, password: &str) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| Error::failed("make", "a random number", error))?;
    let mut bytes = password.as_bytes().to_vec();
    let failed = |_| Error::failed("seal", "a password", std::io::Error::other("it is too long"));
    sealed_with(key)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(host, username), &mut bytes).map_err(failed)?;
    Ok([&nonce[..], &bytes].concat())
}

fn open(key: &[u8; KEY_BYTES], host: &str, username: &str, sealed: Vec<u8>) -> Option<String> {
    let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = bytes.to_vec();
    let opened = sealed_with(key).ok()?.open_in_place(nonce, aad(host, username), &mut bytes).ok()?;
    String::from_utf8(opened.to_vec()).ok()
}

async fn key(shared: &Shared) -> Result<[u8; KEY_BYTES], Error> {
    let path = shared.home.folders.data_dir.join(KEY_FILE);
    crate::blocking(move || read_or_make(&path).map_err(|source| Error::File { operation: "read or make", path, source })).await
}

/// The key; a new one where there is none yet. It is whole before it has its name.
fn read_or_make(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    match OpenOptions::new().read(true).open(path) {
        Ok(mut file) => return file.read_exact(&mut key).map(|()| key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    let beside = path.with_extension("key.new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&key)?;
    file.sync_all()?;
    // Whoever was first wins: no key is ever overwritten.
    match std::fs::hard_link(&beside, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return read_or_make(path),
        linked => linked?,
    }
    std::fs::remove_file(&beside)?;
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_sealed_opens_for_its_host_and_user_alone_and_is_never_the_same_twice() {
        let key = [7; KEY_BYTES];
        let sealed = seal(&key, "registry.example", "ann", "secret").expect("sealed");
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
        assert_ne!(sealed, seal(&key, "registry.example", "ann", "secret").expect("sealed"), "another nonce");
        assert_eq!(open(&key, "registry.example", "ann", sealed.clone()).as_deref(), Some("secret"));
        let mut spoilt = sealed.clone();
        spoilt[NONCE_LEN] ^= 1;
        for (key, host, user, sealed) in [
            (&key, "other.example", "ann", sealed.clone()),
            (&key, "registry.example", "bob", sealed.clone()),
            (&[8; KEY_BYTES], "registry.example", "ann", sealed.clone()),
            (&key, "registry.example", "ann", spoilt),
            (&key, "registry.example", "ann", sealed[..NONCE_LEN - 1].to_vec()),
        ] {
            assert_eq!(open(key, host, user, sealed), None, "{host} {user}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEY_FILE);
        let key = read_or_make(&path).expect("made");
        assert_eq!(read_or_make(&path).expect("read"), key);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing beside it");
        std::fs::write(&path, b"short").expect("written");
        assert!(read_or_make(&path).is_err(), "half a key is no key, and is not replaced");
    }

    #[test]
    fn a_registry_is_a_host_and_nothing_else() {
        for (text, registry) in [
            ("registry.example:5000", "registry.example:5000"),
            ("index.docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(registry));
        }
        for text in ["", "a/b", "registry.example/x", "nginx", "a b.c", "http://registry.example"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
