//! The one connection that writes: a batch at a time, each a transaction, as safe as was asked.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use crate::ballast::Ballast;

/// How safe a commit is when it returns. The log is one file, written in order: what is durable makes durable whatever was
/// committed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a kill of the server, and a power cut only once a later commit was [`Durability::Durable`].
    Deferred,
    /// It survives a power cut, as does everything before it.
    Durable,
}

impl Durability {
    /// With `FULL`, SQLite syncs the write-ahead log after each commit; with `NORMAL` only before a checkpoint.
    fn pragma(self) -> &'static str {
        match self {
            Durability::Deferred => "PRAGMA synchronous = NORMAL",
            Durability::Durable => "PRAGMA synchronous = FULL",
        }
    }
}

/// Makes a transaction of statements. `IMMEDIATE`: the lock is taken before anything is read, so that it cannot be lost half-way.
macro_rules! batch {
    ($($sql:expr),+ $(,)?) => { concat!("BEGIN IMMEDIATE; ", $($sql, "; "),+, "COMMIT") };
}
pub(crate) use batch;

/// The parameters of a batch, in order: `Result<SqliteArguments, sqlx::Error>`.
macro_rules! arguments {
    ($($value:expr),+ $(,)?) => {{
        let mut arguments = sqlx::sqlite::SqliteArguments::default();
        Ok::<_, sqlx::error::BoxDynError>(())
            $(.and_then(|()| sqlx::Arguments::add(&mut arguments, $value)))+
            .map(|()| arguments)
            .map_err(sqlx::Error::Encode)
    }};
}
pub(crate) use arguments;

/// Whether the disk had no room (`SQLITE_FULL`, result code 13).
fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "13")
}

#[derive(Debug)]
pub(crate) struct Writer {
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    connection: SqliteConnection,
    ballast: Ballast,
    /// What the connection is set to.
    durability: Durability,
    /// Whether a batch began of which nobody saw the end: it failed, or who waited for it went away.
    unfinished: bool,
}

impl Writer {
    pub(crate) fn new(connection: SqliteConnection, ballast: Ballast) -> Self {
        let state = State { connection, ballast, durability: Durability::Deferred, unfinished: false };
        Self { state: Mutex::new(Some(state)) }
    }

    /// Runs one `batch!` and returns the rows of its `RETURNING` clauses. Parameters are numbered through the whole batch.
    pub(crate) async fn commit(
        &self,
        batch: &'static str,
        arguments: SqliteArguments,
        durability: Durability,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut guard = self.state.lock().await;
        let state = State::of(&mut guard)?;
        state.prepare(durability).await?;
        match state.run(batch, arguments.clone()).await {
            Err(error) if is_full(&error) && state.ballast.drop_for_room() => state.run(batch, arguments).await,
            done => done,
        }
    }

    /// As [`Writer::commit`] of what need not be durable, and may fail on a full disk: the room kept for that is not for it.
    pub(crate) async fn commit_where_room_is(&self, batch: &'static str, arguments: SqliteArguments) -> Result<(), sqlx::Error> {
        let mut guard = self.state.lock().await;
        let state = State::of(&mut guard)?;
        state.prepare(Durability::Deferred).await?;
        state.run(batch, arguments).await.map(drop)
    }

    /// Keeps room for a full disk again, where there is some: after something was removed.
    pub(crate) async fn take_up_ballast(&self) {
        if let Some(state) = self.state.lock().await.as_mut() {
            state.ballast.take_up_again();
        }
    }

    /// Sets something of the connection.
    #[cfg(test)]
    pub(crate) async fn set(&self, pragma: &'static str) {
        let mut guard = self.state.lock().await;
        let state = State::of(&mut guard).expect("it is open");
        sqlx::raw_sql(pragma).execute(&mut state.connection).await.expect("set");
    }

    pub(crate) async fn close(&self) {
        if let Some(state) = self.state.lock().await.take() {
            // The file is whole without it: closing well only spares the next opening some work.
            let _ = state.connection.close().await;
        }
    }
}

impl State {
    fn of<'a>(guard: &'a mut MutexGuard<'_, Option<State>>) -> Result<&'a mut State, sqlx::Error> {
        guard.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Ends what is unfinished, and sets how safe the next commit is.
    async fn prepare(&mut self, durability: Durability) -> Result<(), sqlx::Error> {
        self.roll_back_what_is_unfinished().await?;
        if self.durability != durability {
            // Never as a cached statement: SQLite carries this pragma out when it is prepared, not when it is stepped.
            sqlx::raw_sql(durability.pragma()).execute(&mut self.connection).await?;
            self.durability = durability;
        }
        Ok(())
    }

    async fn run(&mut self, batch: &'static str, arguments: SqliteArguments) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.unfinished = true;
        match sqlx::query_with(batch, arguments).fetch_all(&mut self.connection).await {
            Ok(rows) => {
                self.unfinished = false;
                Ok(rows)
            }
            Err(error) => {
                self.roll_back_what_is_unfinished().await?;
                Err(error)
            }
        }
    }

    async fn roll_back_what_is_unfinished(&mut self) -> Result<(), sqlx::Error> {
        if !self.unfinished {
            return Ok(());
        }
        // Some failures end the transaction by themselves (a full disk); then there is nothing to roll back, and it says so.
        match sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await {
            Ok(_) | Err(sqlx::Error::Database(_)) => {
                self.unfinished = false;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
