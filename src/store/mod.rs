//! The store: the only SQL, on SQLite and PostgreSQL alike.
//!
//! [`Store::begin`] gives a [`Tx`], the value that *is* the transaction: statements run on it, [`Tx::commit`] makes them
//! last, dropping it undoes them. [`Store::reader`] gives a [`Reader`] for reading alone. [`Store::transact`] runs a
//! [`Change`], again if PostgreSQL asks for it; its [`Mode`] says whether it takes locks, and whether it may share a transaction with
//! others.
//!
//! One SQL text with `$1` serves both databases; what must differ is in `dialect`. Values: see `value`.
//!
//! ```text
//! row! { pub struct Customer { pub id: Uuid, pub status: String, pub created_at: Timestamp } }
//!
//! pub async fn insert(tx: &mut Tx, customer: &Customer) -> Result<(), Error> {
//!     tx.query("INSERT INTO customers (id, status, created_at) VALUES ($1, $2, $3)")
//!         .bind(customer.id).bind(customer.status.as_str()).bind(customer.created_at).execute().await?;
//!     Ok(())
//! }
//!
//! pub async fn page(on: &mut impl Connection, filter: &Filter) -> Result<Vec<Customer>, Error> {
//!     let mut query = on.query("SELECT id, status, created_at FROM customers WHERE programme_id = $1").bind(filter.programme);
//!     if let Some(status) = &filter.status { query = query.push(" AND status = ").push_bind(status.as_str()); }
//!     if let Some((at, id)) = filter.after {
//!         query = query.push(" AND (created_at, id) < (").push_bind(at).push(", ").push_bind(id).push(")");
//!     }
//!     query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(filter.limit).all().await
//! }
//!
//! let store = Store::open("sqlite://data/customerd.db", StoreOptions::default()).await?;
//! let mut tx = store.begin().await?;
//! insert(&mut tx, &customer).await?;      // Err(e) if e.is_unique("customers", &["id"])
//! tx.commit().await?;                     // durable from here on
//! let found = page(&mut store.reader().await?, &filter).await?;
//! ```

mod batch;
mod change;
mod combiner;
mod dialect;
mod draft;
mod error;
mod migrate;
mod options;
mod postgres;
mod query;
mod sqlite;
mod sqlite_file;
mod sqlite_readers;
mod sqlite_wal;
mod standing;
mod tx;
mod value;
mod writer;

pub mod accounts;
pub mod acts;
pub mod audit;
pub mod cards;
pub mod children;
pub mod clear;
pub mod customers;
pub mod deliveries;
pub mod events;
pub mod idempotency;
pub mod keyring;
pub mod nodes;
pub mod operators;
pub mod programmes;
pub mod reseal;
pub mod screening_scans;
pub mod signing_keys;
pub mod tasks;
pub mod verifications;
pub mod webhooks;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use batch::{Lengths, Rows, write_rows};
pub use change::{Change, Mode, Retry};
pub use dialect::Dialect;
pub use draft::Effect;
pub use error::{Error, Unique};
pub use options::{Migrations, StoreOptions};
pub use query::Query;
pub use sqlx::types::Text;
pub use standing::{OperatorStanding, Owner, Precondition, Revoked, Standing, holds, still_valid};
pub use tx::{Connection, Reader, Tx};

pub use value::{Row, Value};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::sealing::Sealer;
use combiner::{CombinedTx, Combiner};
use postgres::PgStore;
use sqlite::SqliteStore;
use tx::Rerun;

/// Gauges and counters for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// Open connections.
    pub connections: u32,
    /// Open connections that are not in use; SQLite's writing connection is not counted.
    pub idle: u32,
    /// Callers that wait for a connection (SQLite: to write).
    pub waiting: usize,
    /// Transactions committed since the store was opened.
    pub transactions: u64,
    /// Commits that were synced to disk for them: fewer on SQLite, where transactions share them.
    pub commits: u64,
}

/// The database. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    sealer: Sealer,
    tickets: AtomicU64,
    commits: tx::Commits,
    combiner: Arc<Combiner>,
}

enum Database {
    Sqlite(Box<SqliteStore>),
    Postgres(PgStore),
}

impl Store {
    /// Opens `sqlite://path` (relative or absolute, taken literally) or `postgres://…`, migrates or checks it.
    ///
    /// The errors say what to do: [`Error::Url`], [`Error::Open`], [`Error::Newer`], [`Error::Behind`],
    /// [`Error::Migration`].
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, Error> {
        let database = match url.split_once("://") {
            Some(("sqlite", _)) if options.transaction_pooler => {
                return Err(Error::Url("a pooler is for PostgreSQL: leave --database-pooler out".to_owned()));
            }
            Some(("sqlite", path)) if !path.is_empty() && !path.contains(['?', '#']) => {
                Database::Sqlite(Box::new(SqliteStore::open(Path::new(path), &options).await?))
            }
            Some(("postgres" | "postgresql", _)) => Database::Postgres(PgStore::open(url, &options).await?),
            // The rest may hold a password: not shown.
            other => {
                let scheme = other.map_or("none", |(scheme, _)| scheme);
                return Err(Error::Url(format!(
                    "expected sqlite://path/to/file.db (without parameters) or postgres://user:password@host/database; \
                     the scheme given is {scheme}"
                )));
            }
        };
        let tickets = AtomicU64::new(u64::from(std::process::id()));
        let commits = tx::Commits { work: watch::Sender::new(()), events: watch::Sender::new(()) };
        let sealer = Sealer::new(Clock::system());
        Ok(Self(Arc::new(Inner { database, sealer, tickets, commits, combiner: Arc::default() })))
    }

    /// Opens a transaction, waiting for a connection if need be; [`Error::Unavailable`] after
    /// [`acquire_timeout`](StoreOptions::acquire_timeout). Who holds one must not begin another: on SQLite it would
    /// wait for itself.
    pub async fn begin(&self) -> Result<Tx, Error> {
        self.begin_as(true).await
    }

    async fn begin_as(&self, durable: bool) -> Result<Tx, Error> {
        match &self.0.database {
            Database::Sqlite(store) => {
                Ok(Tx::sqlite(store.begin(durable).await?, self.0.sealer.clone(), self.0.commits.clone()))
            }
            Database::Postgres(store) => {
                Ok(Tx::postgres(store.begin(durable).await?, self.0.sealer.clone(), self.0.commits.clone()))
            }
        }
    }

    /// A connection for reading.
    pub async fn reader(&self) -> Result<Reader, Error> {
        match &self.0.database {
            Database::Sqlite(store) => Ok(Reader::sqlite(store.reader().await?, self.0.sealer.clone())),
            Database::Postgres(store) => Ok(Reader::postgres(store.reader().await?, self.0.sealer.clone())),
        }
    }

    /// Begins, applies, commits; again, after a short and growing wait, while the error is one that a new run may not
    /// meet, at most eight times in all.
    pub async fn transact<C: Change>(&self, change: &C) -> Result<C::Out, C::Error> {
        let mut attempt = 1;
        let (mut mode, mut dead) = (change.mode(), 0);
        loop {
            let error = match self.attempt(change, mode).await {
                Ok(out) => return Ok(out),
                Err((_, Some(Rerun::Fallback))) => {
                    mode = mode.fallback();
                    continue;
                }
                // After a restart of the server every pooled connection is dead.
                Err((_, Some(Rerun::Same))) if dead < self.connections() => {
                    dead += 1;
                    continue;
                }
                Err((error, _)) if error.is_retry() => error,
                Err((error, _)) => return Err(error),
            };
            let ticket = self.0.tickets.fetch_add(1, Ordering::Relaxed);
            let Some(wait) = change::wait(attempt, ticket) else { return Err(error) };
            change::pause(wait).await;
            attempt += 1;
        }
    }

    async fn attempt<C: Change>(&self, change: &C, mode: Mode) -> Result<C::Out, (C::Error, Option<Rerun>)> {
        let begun = match mode {
            // What is written in the clear reads first whether it may.
            Mode::Combined if self.0.sealer.has_key() => Ok(self.begin_combined()),
            Mode::Combined | Mode::Optimistic => self.begin_optimistic().await,
            Mode::Locking => self.begin_as(C::DURABLE).await,
        };
        let mut tx = begun.map_err(|error| (error.into(), None))?;
        match change.apply(&mut tx).await {
            Ok(out) => match tx.settle().await {
                Ok(()) => Ok(out),
                Err(error) => Err((error.into(), tx.rerun())),
            },
            Err(error) => {
                let rerun = tx.rerun();
                // The change's own error matters more than a failing rollback, which dropping would hide as well.
                let _ = tx.rollback().await;
                Err((error, rerun))
            }
        }
    }

    fn begin_combined(&self) -> Tx {
        let combined = CombinedTx::new(self.clone(), Arc::clone(&self.0.combiner));
        Tx::combined(combined, self.dialect(), self.0.sealer.clone(), self.0.commits.clone())
    }

    async fn begin_optimistic(&self) -> Result<Tx, Error> {
        match &self.0.database {
            Database::Sqlite(_) => self.begin_as(true).await,
            Database::Postgres(store) => {
                let (sealer, commits) = (self.0.sealer.clone(), self.0.commits.clone());
                Ok(Tx::postgres(store.begin_optimistic().await?, sealer, commits))
            }
        }
    }

    fn connections(&self) -> u32 {
        match &self.0.database {
            Database::Sqlite(_) => 0,
            Database::Postgres(store) => store.most,
        }
    }

    /// Waits for what is under way, then closes every connection; SQLite's file is left without a write-ahead log.
    pub async fn close(&self) -> Result<(), Error> {
        match &self.0.database {
            Database::Sqlite(store) => store.close().await,
            Database::Postgres(store) => {
                store.close().await;
                Ok(())
            }
        }
    }

    /// Changes whenever a transaction of this process that [left work](Tx::leaves_work) behind has been committed. What
    /// other processes leave is not heard of: look for it now and then.
    pub fn committed(&self) -> watch::Receiver<()> {
        self.0.commits.work.subscribe()
    }

    /// Changes whenever a transaction of this process that recorded events has been committed. The same holds of other
    /// processes.
    pub fn recorded(&self) -> watch::Receiver<()> {
        self.0.commits.events.subscribe()
    }

    /// What seals the columns that hold secrets. Without a key, until it is given one, they are kept in the clear.
    pub fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    /// Rewrites what held secrets in the clear, so that nothing of them is left in free pages and the write-ahead log
    /// (SQLite), or in dead tuples and statistics (PostgreSQL; its own write-ahead log is recycled by checkpoints).
    pub(super) async fn remove_traces(&self) -> Result<(), Error> {
        match &self.0.database {
            Database::Sqlite(store) => store.remove_traces().await,
            Database::Postgres(store) => store.remove_traces().await,
        }
    }

    /// Writes a copy of an SQLite database, as it is when this is called, to the empty file at the absolute path `file`.
    /// Other transactions go on meanwhile; the write-ahead log grows until the copy is finished. The copy is not synced.
    pub async fn copy_to(&self, file: &str) -> Result<(), Error> {
        match &self.0.database {
            Database::Sqlite(store) => store.copy_to(file).await,
            Database::Postgres(_) => Err(Error::Open("PostgreSQL is copied by pg_dump".to_owned())),
        }
    }

    /// About how many bytes a copy of an SQLite database has.
    pub async fn copy_size(&self) -> Result<u64, Error> {
        let sql = "SELECT (page_count - freelist_count) * page_size \
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let (bytes,): (i64,) = self.reader().await?.query(sql).one().await?;
        Ok(bytes.unsigned_abs())
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match &self.0.database {
            Database::Sqlite(_) => Dialect::Sqlite,
            Database::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Whether it can write, as far as that can be told apart from whether it answers: an SQLite file must be the one at its
    /// path, on a disk with room; on PostgreSQL this is what was found within the last seconds, and costs nothing.
    /// [`Error::Unavailable`] says what is wrong.
    pub async fn can_write(&self) -> Result<(), Error> {
        match &self.0.database {
            Database::Sqlite(store) => store.can_write().await,
            Database::Postgres(store) => store.can_write(),
        }
    }

    /// The size of SQLite's write-ahead log, bytes.
    pub fn wal_bytes(&self) -> Option<u64> {
        match &self.0.database {
            Database::Sqlite(store) => Some(store.wal_bytes()),
            Database::Postgres(_) => None,
        }
    }

    /// Pool and queue sizes, counters.
    pub fn stats(&self) -> Stats {
        match &self.0.database {
            Database::Sqlite(store) => store.stats(),
            Database::Postgres(store) => store.stats(),
        }
    }
}
