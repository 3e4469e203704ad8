//! How a store is opened, and what that does about migrations.

use std::time::Duration;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Whether to run migrations. Default: run.
    pub migrations: Migrations,
    /// PostgreSQL connections at most. Default 16.
    pub max_connections: u32,
    /// Connections lead through a pooler, which gives each transaction another session (PostgreSQL). Default: no.
    pub transaction_pooler: bool,
    /// How long to wait for a connection, or in SQLite's line of writers. Default 10 s.
    pub acquire_timeout: Duration,
    /// How long one statement may take (PostgreSQL). Default 10 s.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a row lock (PostgreSQL), or for another process that writes to the file
    /// (SQLite). Default 5 s.
    pub lock_timeout: Duration,
    /// How long a statement outside a transaction may read (SQLite), since it keeps the write-ahead log from being emptied.
    /// Default 5 s.
    pub read_timeout: Duration,
    /// How long a transaction may idle between statements before the server ends it (PostgreSQL). Default 30 s.
    pub idle_in_transaction_timeout: Duration,
    /// Transactions that may share one commit (SQLite). Default 64.
    pub group_limit: usize,
}

/// What opening a store does about missing migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// Create the database file if it is missing (SQLite) and run them.
    Run,
    /// Run them where there is no database yet, an empty one or no file (SQLite); refuse one that lacks any with
    /// [`Error::Behind`](super::Error::Behind).
    Create,
    /// Run them where there is a database of this service already; anything else is refused with
    /// [`Error::Open`](super::Error::Open).
    Existing,
    /// Refuse a database that lacks any with [`Error::Behind`](super::Error::Behind), and what is no database of this service as
    /// `Existing` does.
    Check,
    /// Leave a database of this service as it is, of whatever version; anything else is refused with
    /// [`Error::Open`](super::Error::Open).
    Ignore,
}

impl Migrations {
    pub(super) const fn may_migrate(self) -> bool {
        matches!(self, Self::Run | Self::Create | Self::Existing)
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            migrations: Migrations::Run,
            max_connections: 16,
            transaction_pooler: false,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(30),
            group_limit: 64,
        }
    }
}
