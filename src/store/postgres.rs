//! PostgreSQL: a pool, READ COMMITTED with row locks, limits on how long anything may take.

mod connect;
mod guard;
mod lost;
mod monitor;
mod outage;
mod pool;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Connection, PgConnection};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::dialect::Dialect;
use super::error::Error;
use super::query::PgStatement;
use super::tx::Rerun;
use super::{Stats, StoreOptions, migrate};
use connect::Servers;
use lost::{Loss, loss};
pub(super) use pool::Checkout;
use pool::{Limits, PgPool};

/// How much longer than the server's own limit a statement may take as seen from here.
const MARGIN: Duration = Duration::from_secs(2);
/// How often BEGIN is sent again, on another connection, where the one that was pooled is dead.
const BEGINS: u32 = 3;
/// How often, a tenth of a second apart, the end of earlier transactions is polled for.
const POLLS: u32 = 300;

pub(super) struct PgStore {
    pool: PgPool,
    servers: Servers,
    monitor: AbortOnDropHandle<()>,
    pub(super) most: u32,
    runtime: Handle,
    waiting: AtomicUsize,
    commits: Arc<AtomicU64>,
}

/// A transaction; after a failed or cancelled statement it can only be rolled back.
pub(super) struct PgTx {
    /// `None` only while it is dropped.
    connection: Option<Checkout>,
    /// BEGIN was sent and neither COMMIT nor ROLLBACK was answered.
    open: bool,
    sound: bool,
    /// Its statements run on their own.
    pub(super) optimistic: bool,
    /// Whether to run it again, after it failed.
    pub(super) rerun: Option<Rerun>,
    runtime: Handle,
    commits: Arc<AtomicU64>,
}

impl PgStore {
    pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<Self, Error> {
        let servers = Servers::new(url, options)?;
        let mut connection = servers.connect().await.map_err(|error| servers.refused(&error))?;
        let limit = options.statement_timeout + MARGIN;
        guard::deadline(limit, connect::check_encoding(&mut connection)).await.map_err(|_| silent())??;
        if options.migrations.may_migrate() {
            // Migrations may take longer than a request: no limits meanwhile, here or there.
            sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut connection).await?;
            migrate::open(&mut connection, Dialect::Postgres, options.migrations).await?;
            sqlx::raw_sql("RESET statement_timeout; RESET lock_timeout").execute(&mut connection).await?;
        } else {
            let open = migrate::open(&mut connection, Dialect::Postgres, options.migrations);
            guard::deadline(limit, open).await.map_err(|_| silent())??;
        }
        let limits =
            Limits { connections: options.max_connections, acquire: options.acquire_timeout, statement: limit };
        let pool = PgPool::new(servers.clone(), limits);
        let (most, runtime) = (options.max_connections, Handle::current());
        let monitor = AbortOnDropHandle::new(runtime.spawn(monitor::run(Arc::clone(pool.shared()), connection)));
        Ok(Self { pool, servers, monitor, most, runtime, waiting: AtomicUsize::new(0), commits: Arc::default() })
    }

    pub(super) async fn begin(&self, durable: bool) -> Result<PgTx, Error> {
        let sql = if durable { "BEGIN" } else { "BEGIN; SET LOCAL synchronous_commit = off" };
        let mut begun = 1;
        loop {
            let mut tx = self.checked_out(false).await?;
            tx.open = true;
            let Some(connection) = &mut tx.connection else { return Err(Error::Failed) };
            match connection.control(sql).await {
                Ok(()) => return Ok(tx),
                // Nothing was lost with a connection that turns out to be dead, or that stays silent.
                Err(error) if loss(&error).is_some() && connection.is_reused() && begun < BEGINS => begun += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn checked_out(&self, optimistic: bool) -> Result<PgTx, Error> {
        let _waiting = Waiting::count(&self.waiting);
        let connection = Some(self.pool.checkout().await?);
        let (runtime, commits) = (self.runtime.clone(), Arc::clone(&self.commits));
        Ok(PgTx { connection, open: false, sound: true, optimistic, rerun: None, runtime, commits })
    }

    /// A transaction that is never begun: it reads what is committed, and its one statement that writes is its commit.
    pub(super) async fn begin_optimistic(&self) -> Result<PgTx, Error> {
        self.checked_out(true).await
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
        let Some(connection) = self.connection.as_mut().filter(|_| sound) else { return Err(Error::Failed) };
        match connection.run(PgStatement { sql, arguments, persistent }).await {
            Ok(answer) => {
                self.sound = true;
                Ok(answer)
            }
            Err(error) => {
                // What was begun is undone with its session.
                if loss(&error).is_some_and(Loss::may_rerun) {
                    self.rerun = Some(Rerun::Same);
                }
                Err(error.into())
            }
        }
    }

    /// It is to do what only a transaction that was begun can.
    pub(super) const fn outgrow(&mut self) -> Error {
        self.rerun = Some(Rerun::Locked);
        self.sound = false;
        Error::Failed
    }

    /// Sends the statement that ends the transaction; the connection is fit for the next one then.
    async fn end(&mut self, commit: bool) -> Result<(), Error> {
        let connection = self.connection.as_mut().ok_or(Error::Failed)?;
        if commit {
            connection.commit().await?;
        } else {
            connection.control("ROLLBACK").await?;
        }
        self.open = false;
        Ok(())
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
            self.end(false).await?;
            return Err(Error::Failed);
        }
        self.end(true).await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Error> {
        if self.optimistic {
            return Ok(());
        }
        self.end(false).await
    }
}

impl Drop for PgTx {
    /// Rolls back in a task of its own. A connection that does not answer even that in time is closed.
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take().filter(|connection| self.open && !connection.is_lost()) {
            self.runtime.spawn(async move {
                // The connection knows by itself whether it was lost.
                let _ = connection.control("ROLLBACK").await;
            });
        }
    }
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
