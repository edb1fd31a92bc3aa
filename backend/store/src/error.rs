//! What the database can say instead of an answer.

use std::path::PathBuf;

use belljar_model::{ContainerId, ContainerName};

/// The database failed, or holds what it cannot hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, or is no database.
    #[error("could not open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// Its tables could not be brought to this version's form.
    #[error("could not migrate the database {}", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("could not {operation}")]
    Statement {
        /// What was tried: `record a container`.
        operation: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// A row cannot be read as what it should be.
    #[error("the row {key} of table {table} holds no valid {column}")]
    Row {
        /// The table.
        table: &'static str,
        /// Which row.
        key: String,
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A word of the database that is none of the model's.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is none of the words that it can be")]
struct UnknownWord {
    word: String,
}

impl Error {
    pub(crate) fn statement(operation: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Error::Statement { operation, source }
    }

    pub(crate) fn row<E: std::error::Error + Send + Sync + 'static>(
        table: &'static str,
        key: String,
        column: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Error::Row { table, key, column, source: Box::new(source) }
    }

    pub(crate) fn word(table: &'static str, key: String, column: &'static str, word: String) -> Self {
        Self::row(table, key, column)(UnknownWord { word })
    }
}

/// A container could not be inserted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// The name belongs to another container.
    #[error("the name {name} is taken by container {}", id.short())]
    NameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it.
        id: ContainerId,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}
