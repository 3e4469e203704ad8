//! PostgreSQL: a pool, READ COMMITTED with row locks, limits on how long anything may take.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{Connection, Executor, PgConnection, Postgres};
use tokio::runtime::Handle;

use super::dialect::Dialect;
use super::error::Error;
use super::pool::{Lent, Pool};
use super::query::on_postgres;
use super::tx::Rerun;
use super::{Migrations, Stats, StoreOptions, migrate};

/// Texts kept prepared on each connection.
const STATEMENTS: usize = 256;
/// A connection idle for longer is checked before it is used: the server may have gone away meanwhile.
const CHECK_AFTER: Duration = Duration::from_secs(5);
/// How often, a tenth of a second apart, the end of earlier transactions is polled for.
const POLLS: u32 = 300;

pub(super) struct PgStore {
    pool: Pool<Postgres>,
    options: PgConnectOptions,
    pub(super) most: u32,
    runtime: Handle,
    waiting: AtomicUsize,
    commits: Arc<AtomicU64>,
}

/// A transaction; after a failed or cancelled statement it can only be rolled back.
pub(super) struct PgTx {
    /// `None` only while it is dropped.
    connection: Option<Lent<Postgres>>,
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
        let connect = connect_options(url, options)?;
        let mut connection = PgConnection::connect_with(&connect).await.map_err(|error| refused(&connect, &error))?;
        if options.migrations != Migrations::Check {
            // Migrations may take longer than a request: no limits on this connection.
            sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut connection).await?;
        }
        migrate::open(&mut connection, Dialect::Postgres, options.migrations).await?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move { Ok(meta.idle_for < CHECK_AFTER || connection.ping().await.is_ok()) })
            })
            .connect_lazy_with(connect.clone());
        let (most, runtime) = (options.max_connections, Handle::current());
        let pool = Pool::new(pool, most, options.acquire_timeout);
        Ok(Self { pool, options: connect, most, runtime, waiting: AtomicUsize::new(0), commits: Arc::default() })
    }

    pub(super) async fn begin(&self, durable: bool) -> Result<PgTx, Error> {
        let _waiting = Waiting::count(&self.waiting);
        let sql = if durable { "BEGIN" } else { "BEGIN; SET LOCAL synchronous_commit = off" };
        let mut tx = self.open_tx(sql).await;
        // After a restart of the server every pooled connection is dead, and nothing was lost with them yet.
        for _ in 0..self.most {
            if !tx.as_ref().is_err_and(is_dead) {
                break;
            }
            tx = self.open_tx(sql).await;
        }
        Ok(tx?)
    }

    async fn open_tx(&self, sql: &'static str) -> Result<PgTx, sqlx::Error> {
        let mut connection = self.pool.lend().await?;
        connection.working();
        let (runtime, commits) = (self.runtime.clone(), Arc::clone(&self.commits));
        let connection = Some(connection);
        let mut tx = PgTx { connection, open: true, sound: true, optimistic: false, rerun: None, runtime, commits };
        tx.control(sql).await?;
        Ok(tx)
    }

    /// A transaction that is never begun: it reads what is committed, and its one statement that writes is its commit.
    pub(super) async fn begin_optimistic(&self) -> Result<PgTx, Error> {
        let _waiting = Waiting::count(&self.waiting);
        let connection = Some(self.pool.lend().await?);
        let (runtime, commits) = (self.runtime.clone(), Arc::clone(&self.commits));
        Ok(PgTx { connection, open: false, sound: true, optimistic: true, rerun: None, runtime, commits })
    }

    pub(super) async fn reader(&self) -> Result<Lent<Postgres>, Error> {
        let _waiting = Waiting::count(&self.waiting);
        Ok(self.pool.lend().await?)
    }

    /// VACUUM FULL writes the tables again without their dead tuples. Samples of their columns are in the statistics, which
    /// the owner of the database may rewrite as well.
    pub(super) async fn remove_traces(&self) -> Result<(), Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
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
        connection.working();
        match on_postgres(connection, sql, arguments, persistent).await {
            Ok(answer) => {
                self.sound = true;
                if self.optimistic {
                    connection.done();
                }
                Ok(answer)
            }
            Err(error) => {
                if self.optimistic && is_dead(&error) {
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

    async fn control(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        connection.execute(sql).await?;
        Ok(())
    }

    /// Sends the statement that ends the transaction; the connection is fit for the next one then.
    async fn end(&mut self, sql: &'static str) -> Result<(), Error> {
        self.control(sql).await?;
        self.open = false;
        if let Some(connection) = &mut self.connection {
            connection.done();
        }
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
            self.end("ROLLBACK").await?;
            return Err(Error::Failed);
        }
        self.end("COMMIT").await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Error> {
        if self.optimistic {
            return Ok(());
        }
        self.end("ROLLBACK").await
    }
}

impl Drop for PgTx {
    /// Rolls back in a task of its own. A connection that cannot even do that goes to sqlx, whose ping finds it dead.
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take().filter(|_| self.open) {
            self.runtime.spawn(async move {
                if connection.execute("ROLLBACK").await.is_ok() {
                    connection.done();
                }
            });
        }
    }
}

/// The connection had been closed by the server.
fn is_dead(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(error, sqlx::Error::Io(_)) || code.is_some_and(|code| code.starts_with("57P"))
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

fn connect_options(url: &str, options: &StoreOptions) -> Result<PgConnectOptions, Error> {
    check_parameters(url)?;
    let millis = |limit: Duration| format!("{}ms", limit.as_millis());
    // The cause may quote the URL, and with it the password.
    let connect = PgConnectOptions::from_str(url)
        .map_err(|_| Error::Url("expected postgres://user:password@host:5432/database".to_owned()))?;
    Ok(connect.application_name("customerd").statement_cache_capacity(STATEMENTS).options([
        ("statement_timeout", millis(options.statement_timeout)),
        ("lock_timeout", millis(options.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(options.idle_in_transaction_timeout)),
        ("default_transaction_isolation", "read committed".to_owned()),
        // Every join here goes from a few rows to others by an index, and every page is a range of one, in its order. Without
        // statistics, as in a new database, the planner would rather hash a whole table, or collect and sort all that is left
        // of a range for each of its pages.
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("enable_bitmapscan", "off".to_owned()),
        // No statement runs for as long as compiling it would take, and what the planner cannot do without one of the above costs,
        // on paper, enough to be compiled.
        ("jit", "off".to_owned()),
    ]))
}

/// The parameters that sqlx reads from a URL. What it does not know it warns of and leaves away, so that a misspelt `sslmode`
/// would go without TLS.
const PARAMETERS: [&str; 19] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
    "options[NAME]",
];

fn check_parameters(url: &str) -> Result<(), Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let known = |name: &str| {
        PARAMETERS.contains(&name) || name.strip_prefix("options[").is_some_and(|rest| rest.ends_with(']'))
    };
    match url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !known(name)) {
        Some((name, _)) => {
            let all = PARAMETERS.join(", ");
            Err(Error::Url(format!("the parameter {name:?} is not known; known are {all}")))
        }
        None => Ok(()),
    }
}

/// Says where it was refused and what to do; never the password.
fn refused(options: &PgConnectOptions, error: &sqlx::Error) -> Error {
    let place = options.get_socket().map_or_else(
        || format!("{}:{}", options.get_host(), options.get_port()),
        |socket| socket.display().to_string(),
    );
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    let code = error.as_database_error().and_then(|error| error.code());
    Error::Open(match code.as_deref() {
        Some("28P01" | "28000") => {
            format!("PostgreSQL at {place} refuses user {user}: check the user and password in the URL ({error})")
        }
        Some("3D000") => {
            format!("PostgreSQL at {place} has no database {database}: create it with `createdb {database}`")
        }
        Some("53300") => {
            format!("PostgreSQL at {place} has no connection left: raise max_connections or lower the pool")
        }
        _ => format!(
            "cannot connect to PostgreSQL at {place}: {error}. Is it running, and are host and port in the URL right?"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_named_and_their_values_are_not() {
        let options = StoreOptions::default();
        for good in [
            "postgres://me@db/c",
            "postgres://me@db/c?sslmode=verify-full&sslrootcert=%2Fca.pem",
            "postgres:///c?host=%2Frun%2Fpostgresql&options[search_path]=customers",
        ] {
            assert!(connect_options(good, &options).is_ok(), "{good}");
        }
        for (bad, name) in [
            ("postgres://me@db/c?ssl_mode=require", "ssl_mode"),
            ("postgres://me@db/c?sslmode=require&sslMode=hunter2", "sslMode"),
            ("postgres://me:hunter2@db/c?pgbouncer=true", "pgbouncer"),
        ] {
            let error = connect_options(bad, &options).unwrap_err().to_string();
            assert!(
                error.contains(&format!("the parameter {name:?} is not known; known are application_name, ")),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
