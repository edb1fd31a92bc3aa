//! The database: rows in, nouns of the model out. The only SQL of Belljar.
//!
//! This crate must never know that a container runs, what an image is on disk, or who asks. A change and the events that
//! tell of it are committed in one transaction.
//!
//! One connection writes, so nobody ever waits for a lock of SQLite; two more read beside it (WAL). A transaction is one
//! batch of statements, sent to the connection's thread at once: five journeys to that thread and back would cost more
//! than the statements themselves. Start reading at [`Store`], then [`writer`].

mod access;
mod ballast;
mod container;
mod error;
mod event;
mod history;
mod image;
mod registry;
mod setting;
mod volume;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

pub use access::{NewSession, SecretHash, Session, User};
pub use error::{Error, InsertError};
pub use event::{EVENTS_KEPT, EVENTS_PAGE_MAX, EventQuery};
pub use history::{DATABASE_BYTES_KEPT, Slot};
pub use image::{Documents, ImageChange};
pub use registry::{Login, Registry};
pub use writer::Durability;

use ballast::Ballast;
use writer::Writer;

/// Most connections that read at the same time; each costs a thread and its page cache.
const READERS_MAX: u32 = 2;
/// Page cache of the connection that writes, in KiB: the tables of a home fit, and the server stays small.
const WRITER_CACHE_KIB: u32 = 512;
/// Page cache of each connection that reads, in KiB.
const READER_CACHE_KIB: u32 = 256;
/// How long a connection waits for another program (`sqlite3` in a shell) that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that reads is kept without work.
const READER_IDLE: Duration = Duration::from_secs(60);
/// The write-ahead log is cut to this after a checkpoint, in bytes.
const WAL_BYTES_KEPT: u32 = 4 << 20;

/// The database of one instance. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Arc<Writer>,
    readers: SqlitePool,
}

impl Store {
    /// Opens the file, makes it where it is missing, and brings its tables to this version's form.
    pub async fn open(path: &Path) -> Result<Store, Error> {
        let open_failed = |source| Error::Open { path: path.to_owned(), source };
        let mut connection = options(path, WRITER_CACHE_KIB).connect().await.map_err(open_failed)?;
        migrate(&mut connection, path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(0)
            .idle_timeout(READER_IDLE)
            .test_before_acquire(false)
            .connect_lazy_with(options(path, READER_CACHE_KIB).pragma("query_only", "ON"));
        Ok(Store { writer: Arc::new(Writer::new(connection, Ballast::take_up(path))), readers })
    }

    /// Closes every connection, after what is under way is done. Dropping the store does so too, without waiting.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn options(path: &Path, cache_kib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", format!("-{cache_kib}"))
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string())
        .disable_statement_logging()
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let migrated = sqlx::migrate!("../../migrations").run(connection).await;
    migrated.map_err(|source| Error::Migrate { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
