//! PostgreSQL: a pool, READ COMMITTED with row locks, limits on how long anything may take.

mod checkout;
mod connect;
mod guard;
mod lost;
mod migrations;
mod monitor;
mod outage;
mod pool;
mod session;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Connection, PgConnection};
use tokio_util::task::AbortOnDropHandle;

use super::dialect::Dialect;
use super::error::Error;
use super::query::PgStatement;
use super::tx::Rerun;
use super::{Stats, StoreOptions, migrate};
pub(super) use checkout::Checkout;
use connect::Servers;
use lost::{Loss, loss};
use migrations::Migrations;
use pool::{Limits, PgPool};

/// How much longer than the server's own limit a statement may take as seen from here.
const MARGIN: Duration = Duration::from_secs(2);
/// How often, a tenth of a second apart, the end of earlier transactions is polled for.
const POLLS: u32 = 300;

pub(super) struct PgStore {
    pool: PgPool,
    servers: Servers,
    monitor: AbortOnDropHandle<()>,
    pub(super) most: u32,
    waiting: AtomicUsize,
    commits: Arc<AtomicU64>,
}

/// A transaction; after a failed or cancelled statement it can only be rolled back.
pub(super) struct PgTx {
    connection: Checkout,
    sound: bool,
    /// Its statements run on their own.
    pub(super) optimistic: bool,
    /// Whether to run it again, after it failed.
    pub(super) rerun: Option<Rerun>,
    commits: Arc<AtomicU64>,
}

impl PgStore {
    pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<Self, Error> {
        let servers = Servers::new(url, options)?;
        let mut connection = servers.connect().await.map_err(|error| servers.refused(&error))?;
        let limit = options.statement_timeout + MARGIN;
        guard::deadline(limit, servers.check(&mut connection)).await.map_err(|_| silent())??;
        let mut migrations = Migrations(&mut connection);
        let migrate = migrate::open(&mut migrations, Dialect::Postgres, options.migrations);
        if options.migrations.may_migrate() {
            migrate.await?;
        } else {
            guard::deadline(limit, migrate).await.map_err(|_| silent())??;
        }
        let limits =
            Limits { connections: options.max_connections, acquire: options.acquire_timeout, statement: limit };
        let pool = PgPool::new(servers.clone(), limits);
        let monitor = AbortOnDropHandle::new(tokio::spawn(monitor::run(Arc::clone(pool.shared()), connection)));
        let most = options.max_connections;
        Ok(Self { pool, servers, monitor, most, waiting: AtomicUsize::new(0), commits: Arc::default() })
    }

    pub(super) async fn begin(&self, durable: bool) -> Result<PgTx, Error> {
        let mut tx = self.checked_out(false).await?;
        tx.connection.begin(durable).await?;
        Ok(tx)
    }

    async fn checked_out(&self, optimistic: bool) -> Result<PgTx, Error> {
        let connection = self.reader().await?;
        Ok(PgTx { connection, sound: true, optimistic, rerun: None, commits: Arc::clone(&self.commits) })
    }

    /// A transaction that is never begun: it reads what is committed, and its one statement that writes is its commit. Behind a pooler
    /// each statement would be a transaction of four round trips: one that is begun costs less, and locks.
    pub(super) async fn begin_optimistic(&self) -> Result<PgTx, Error> {
        if self.servers.session().is_per_transaction() { self.begin(true).await } else { self.checked_out(true).await }
    }

    pub(super) async fn reader(&self) -> Result<Checkout, Error> {
        let _waiting = Waiting::count(&self.waiting);
        self.pool.checkout().await
    }

    /// Whether it took writes when the monitor last asked, at most a few seconds ago; otherwise why not.
    pub(super) fn can_write(&self) -> Result<(), Error> {
        self.pool.shared().outage.reason().map_or(Ok(()), |reason| Err(Error::Unavailable(reason)))
    }

    /// VACUUM FULL writes the tables again without their dead tuples. Samples of their columns are in the statistics, which
    /// the owner of the database may rewrite as well.
    pub(super) async fn remove_traces(&self) -> Result<(), Error> {
        if self.servers.session().is_per_transaction() {
            let text = "tables are not rewritten through a pooler: start once without --database-pooler, connected to PostgreSQL itself";
            return Err(Error::Unavailable(text.to_owned()));
        }
        let mut connection = self.servers.connect().await?;
        sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = '60s'").execute(&mut connection).await?;
        // ANALYZE leaves the statistics of a table that is empty by now as they were; a column that is rewritten loses them.
        let emptied = "ALTER TABLE service_keys ALTER COLUMN secret TYPE bytea USING secret";
        sqlx::raw_sql(emptied).execute(&mut connection).await?;
        let tables = "ANALYZE service_keyring, webhooks, idempotency_keys, audit_keys, customers";
        sqlx::raw_sql(tables).execute(&mut connection).await?;
        wait_for_earlier_transactions(&mut connection).await?;
        let tables = "VACUUM (FULL) service_keys, service_keyring, webhooks, idempotency_keys, audit_keys, customers";
        sqlx::raw_sql(tables).execute(&mut connection).await?;
        if let Err(error) = sqlx::raw_sql("VACUUM FULL pg_catalog.pg_statistic").execute(&mut connection).await {
            tracing::warn!(%error, "cannot rewrite the statistics, which may hold samples of what was in the clear");
        }
        Ok(connection.close().await?)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
        self.monitor.abort();
    }

    pub(super) fn stats(&self) -> Stats {
        let commits = self.commits.load(Ordering::Relaxed);
        let (connections, idle) = self.pool.sizes();
        Stats {
            database: Dialect::Postgres.name(),
            connections,
            idle,
            waiting: self.waiting.load(Ordering::Relaxed),
            transactions: commits,
            commits,
        }
    }
}

/// Waits until no transaction can see what was replaced before now: VACUUM, FULL too, keeps dead tuples that one may still
/// see. Transactions in any database of the cluster count, because VACUUM FULL goes by a snapshot of its own, which has
/// them; snapshots count in this database.
async fn wait_for_earlier_transactions(connection: &mut PgConnection) -> Result<(), Error> {
    let now = "SELECT CAST(pg_current_xact_id() AS text)";
    let (now,): (String,) = sqlx::query_as(now).fetch_one(&mut *connection).await?;
    for _ in 0..POLLS {
        let (ended,): (bool,) = sqlx::query_as(
            "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= CAST($1 AS xid8) AND NOT EXISTS ( \
               SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
               AND age(backend_xmin) > age(CAST(CAST($1 AS xid8) AS xid)))",
        )
        .bind(&now)
        .fetch_one(&mut *connection)
        .await?;
        if ended {
            return Ok(());
        }
        sqlx::raw_sql("SELECT pg_sleep(0.1)").execute(&mut *connection).await?;
    }
    Err(Error::Unavailable("a transaction that began before still runs on the database server".to_owned()))
}

impl PgTx {
    pub(super) async fn run(
        &mut self,
        sql: Cow<'static, str>,
        arguments: PgArguments,
        persistent: bool,
    ) -> Result<(u64, Vec<PgRow>), Error> {
        let sound = std::mem::replace(&mut self.sound, false);
        if !sound {
            return Err(Error::Failed);
        }
        match self.connection.run(PgStatement { sql, arguments, persistent }).await {
            Ok(answer) => {
                self.sound = true;
                Ok(answer)
            }
            Err(error) => {
                // What was begun is undone with its session.
                if loss(&error).is_some_and(Loss::may_rerun) {
                    self.rerun = Some(Rerun::Same);
                } else if is_lock_timeout(&error) {
                    self.rerun = Some(Rerun::Alone);
                }
                Err(error.into())
            }
        }
    }

    /// It is to do what only a transaction that was begun can.
    pub(super) const fn outgrow(&mut self) -> Error {
        self.rerun = Some(Rerun::Fallback);
        self.sound = false;
        Error::Failed
    }

    /// PostgreSQL answers COMMIT of a failed transaction by rolling it back without an error: hence `sound`.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        if self.optimistic {
            if !self.sound {
                return Err(Error::Failed);
            }
            self.commits.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if !self.sound {
            self.connection.end(false).await?;
            return Err(Error::Failed);
        }
        self.connection.end(true).await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Error> {
        if self.optimistic {
            return Ok(());
        }
        Ok(self.connection.end(false).await?)
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}

fn silent() -> Error {
    Error::Open("PostgreSQL accepts connections and does not answer".to_owned())
}

/// Counts callers that wait for a connection.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
