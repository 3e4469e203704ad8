//! What can go wrong in the store, told apart by what the caller can do about it.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::error::DatabaseError;

/// What to do where a pooler is found that the service was not told of.
pub(super) const THROUGH_A_POOLER: &str = "Behind a pooler, whatever its mode, customerd needs --database-pooler transaction \
    (CUSTOMERD_DATABASE_POOLER); without it, connect to PostgreSQL itself";

/// Why the store could not do what was asked.
///
/// No variant shows a bound value: messages may be logged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database URL cannot be used; the text says what one looks like.
    #[error("database URL: {0}")]
    Url(String),
    /// The database cannot be opened; the text says what to do.
    #[error("cannot open the database: {0}")]
    Open(String),
    /// A newer customerd has migrated this database. Running on would misread it.
    #[error(
        "the database is newer than this binary: it has migration {database}, this binary knows up to {binary}. \
         Run the customerd that migrated it, or a newer one"
    )]
    Newer {
        /// A migration of the database that this binary does not know.
        database: i64,
        /// The newest migration this binary knows.
        binary: i64,
    },
    /// The database lacks migrations and the caller asked not to run them.
    #[error("the database is at migration {database}, this binary needs {binary}: run `customerd migrate`")]
    Behind {
        /// The newest migration of the database, 0 if none.
        database: i64,
        /// The newest migration this binary knows.
        binary: i64,
    },
    /// A migration failed or was changed after it had run.
    #[error("migration: {0}")]
    Migration(String),
    /// A row with these values exists already.
    #[error("already exists: {0}")]
    Unique(Unique),
    /// A collected write that had to change a row changed none, because another transaction was first: nothing was written. See
    /// [`Effect::Required`](super::Effect::Required).
    #[error("another transaction was first")]
    NotApplied,
    /// The database gave this transaction up in favour of another (serialization failure, deadlock): run it again.
    #[error("conflict with another transaction: {0}")]
    Retry(Arc<sqlx::Error>),
    /// The database cannot be reached, is locked, full or out of connections, or did not answer in time. After a commit
    /// the outcome is unknown.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// An earlier statement of this transaction failed or was cancelled: it can only be rolled back.
    #[error("the transaction failed earlier and was rolled back")]
    Failed,
    /// [`Query::one`](super::Query::one) found no row.
    #[error("no row found")]
    NotFound,
    /// A column holds what this binary cannot read: written by a newer one, or by hand.
    #[error("cannot read {0}")]
    Unreadable(String),
    /// A sealed column does not open.
    #[error(transparent)]
    Sealed(#[from] crate::sealing::Error),
    /// A statement the database refused, or a value it could not carry: a mistake in the programme.
    #[error("{0}")]
    Sql(Arc<sqlx::Error>),
}

/// The uniqueness rule that a statement broke, named alike on both databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// The table.
    pub table: String,
    /// The columns that must be unique together, in the order of the index.
    pub columns: Vec<String>,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.table, self.columns.join(", "))
    }
}

impl Error {
    /// [`Error::Unreadable`]: `value` stands in `column`. Never call it with a secret.
    pub fn unreadable(column: &str, value: &str) -> Self {
        Self::Unreadable(format!("{column}: {value:?}"))
    }

    /// Whether running the whole transaction again may succeed.
    pub const fn is_retry(&self) -> bool {
        matches!(self, Self::Retry(_))
    }

    /// Whether this is a breach of the uniqueness of `columns` in `table`.
    pub fn is_unique(&self, table: &str, columns: &[&str]) -> bool {
        matches!(self, Self::Unique(unique) if unique.table == table && unique.columns == columns)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut => Self::Unavailable("no connection became free in time".to_owned()),
            // Protocol: a proxy that has no server to lead to accepts and closes.
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            sqlx::Error::Database(database) => from_database(database.as_ref()).unwrap_or_else(|kind| match kind {
                Kind::Retry => Self::Retry(Arc::new(error)),
                Kind::Other => Self::Sql(Arc::new(error)),
            }),
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

enum Kind {
    Retry,
    Other,
}

fn from_database(error: &dyn DatabaseError) -> Result<Error, Kind> {
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    if error.is_unique_violation() {
        return unique(error).map(Error::Unique).ok_or(Kind::Other);
    }
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        let what = match primary(&code) {
            5 | 6 => "the file is locked by another process: stop it, or use another file",
            9 => "reading took too long",
            13 => "the disk is full",
            7 | 8 | 10 | 14 => "the file cannot be read or written",
            _ => return Err(Kind::Other),
        };
        return Ok(Error::Unavailable(format!("{what} ({})", error.message())));
    }
    match code.as_ref() {
        "40001" | "40P01" => Err(Kind::Retry),
        // Division by zero, by which collected writes undo themselves.
        "22012" => Ok(Error::NotApplied),
        // Statement and lock timeouts, shutdown, out of resources, a broken connection.
        "57014" | "55P03" | "25P03" | "25P04" => Ok(Error::Unavailable(error.message().to_owned())),
        // A standby.
        "25006" => Ok(Error::Unavailable(error.message().to_owned())),
        // A session that is not the one which prepared the statement, or in which somebody else has.
        "26000" | "42P05" => Ok(Error::Unavailable(format!("{}. {THROUGH_A_POOLER}", error.message()))),
        code if ["57P", "53", "58", "08"].iter().any(|class| code.starts_with(class)) => {
            Ok(Error::Unavailable(error.message().to_owned()))
        }
        _ => Err(Kind::Other),
    }
}

/// SQLite's primary result code: the low byte of the extended one.
pub(super) fn primary(code: &str) -> i32 {
    code.parse::<i32>().unwrap_or(0) & 0xff
}

/// SQLite names table and columns in its message (`UNIQUE constraint failed: t.a, t.b`); PostgreSQL names the table in a
/// field and the columns in the detail (`Key (a, b)=(…) already exists.`), whose frame may be translated.
fn unique(error: &dyn DatabaseError) -> Option<Unique> {
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        let (_, keys) = error.detail()?.split_once('(')?;
        let (columns, _) = keys.split_once(")=(")?;
        let columns = columns.split(", ").map(str::to_owned).collect();
        return Some(Unique { table: error.table()?.to_owned(), columns });
    }
    let (_, keys) = error.message().split_once(": ")?;
    let keys: Option<Vec<_>> = keys.split(", ").map(|key| key.split_once('.')).collect();
    let keys = keys?;
    let table = keys.first()?.0.to_owned();
    Some(Unique { table, columns: keys.into_iter().map(|(_, column)| column.to_owned()).collect() })
}
