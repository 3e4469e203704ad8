//! SQLite: one writing connection ([`writer`](super::writer)) and a few that only read, on one file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, Sqlite, SqliteConnection};

use super::change::pause;
use super::dialect::Dialect;
use super::error::{Error, primary};
use super::pool::{Lent, Pool};
use super::writer::{Limits, Member, Writer};
use super::{Migrations, Stats, StoreOptions, migrate};

/// Texts kept prepared on each connection.
const STATEMENTS: usize = 512;
/// Rows that a connection's thread gives before it waits for them to be taken: more than nearly all statements have, as each
/// wait is two switches of threads.
const ROWS: usize = 2048;
/// Connections that read, at most. Each is a thread and is opened when first needed.
const READERS: u32 = 4;

pub(super) struct SqliteStore {
    writer: Arc<Writer>,
    readers: Pool<Sqlite>,
    options: SqliteConnectOptions,
}

impl SqliteStore {
    pub(super) async fn open(path: &Path, options: &StoreOptions) -> Result<Self, Error> {
        let run = options.migrations == Migrations::Run;
        if !run && !path.exists() {
            return Err(Error::Open(migrate::absent(&format!("there is no file {}", path.display()))));
        }
        if run && let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(directory).await.map_err(|error| {
                Error::Open(format!("cannot create the directory {}: {error}", directory.display()))
            })?;
        }
        if run {
            // It holds secrets (the webhooks'), so that a new one is its owner's alone, as are the log files, which take its
            // mode. Never opens a file that is there: closing it would release the locks that this process has on it.
            let _ = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
        }
        let base = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(options.lock_timeout)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS)
            .row_buffer_size(ROWS);
        let write = base
            .clone()
            .create_if_missing(run)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What a statement might have to take back goes to a file in the system's temporary directory otherwise.
            .pragma("temp_store", "memory")
            .thread_name(|_| "sqlite-writer".to_owned());
        let mut connection = connect(&write, options.lock_timeout).await.map_err(|error| refused(path, &error))?;
        // Nobody was told of a migration: one that a crash takes back is run again. So none waits for the disk, and what is written
        // later syncs what they have written.
        sqlx::raw_sql("PRAGMA synchronous = NORMAL").execute(&mut connection).await?;
        migrate::open(&mut connection, Dialect::Sqlite, options.migrations).await?;
        sqlx::raw_sql("PRAGMA synchronous = FULL").execute(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .connect_lazy_with(base.pragma("query_only", "1").thread_name(|_| "sqlite-reader".to_owned()));
        let readers = Pool::new(readers, READERS, options.acquire_timeout);
        let limits = Limits { group: options.group_limit, wait: options.acquire_timeout };
        let options = write.create_if_missing(false);
        Ok(Self { writer: Writer::new(connection, options.clone(), limits), readers, options })
    }

    pub(super) async fn begin(&self, durable: bool) -> Result<Member, Error> {
        self.writer.begin(durable).await
    }

    pub(super) async fn reader(&self) -> Result<Lent<Sqlite>, Error> {
        Ok(self.readers.lend().await?)
    }

    /// VACUUM writes every page again, and the checkpoint empties the log. Nobody else may be reading an older state.
    ///
    /// The copy that VACUUM makes is as large as the database: a temporary file that has no name as soon as it is open, so that
    /// nothing of it outlives the process, in SQLITE_TMPDIR, TMPDIR, /var/tmp or /tmp. What secrets it holds are sealed by now.
    pub(super) async fn remove_traces(&self) -> Result<(), Error> {
        let mut connection = self.options.connect().await?;
        let vacuum = "PRAGMA secure_delete = ON; PRAGMA temp_store = FILE; VACUUM";
        sqlx::raw_sql(vacuum).execute(&mut connection).await?;
        let (busy, ..): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
        connection.close().await?;
        match busy {
            0 => Ok(()),
            _ => Err(Error::Unavailable("the write-ahead log is in use by another process".to_owned())),
        }
    }

    /// VACUUM INTO reads one state of the database and waits for no writer. A relative path could be taken for a URI.
    pub(super) async fn copy_to(&self, file: &str) -> Result<(), Error> {
        let mut connection = self.options.connect().await?;
        sqlx::query("VACUUM INTO $1").bind(file).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        self.readers.close().await;
        self.writer.close().await
    }

    pub(super) fn stats(&self) -> Stats {
        let (commits, transactions) = self.writer.commits();
        let (connections, idle) = self.readers.sizes();
        Stats {
            database: Dialect::Sqlite.name(),
            connections: connections + 1,
            idle,
            waiting: self.writer.waiting(),
            transactions,
            commits,
        }
    }
}

/// Between two tries of [`connect`].
const PAUSE: Duration = Duration::from_millis(20);

/// Connects. The switch to the write-ahead log takes the file for a moment and, unlike every statement after it, does not
/// wait for its turn: nodes that start at once on a new file would meet there, so it is tried again. One try waits at most
/// `patience` for a lock, all of them together at most twice that.
async fn connect(options: &SqliteConnectOptions, patience: Duration) -> Result<SqliteConnection, sqlx::Error> {
    let mut locked = None;
    let connected = tokio::time::timeout(patience * 2, async {
        loop {
            match options.connect().await {
                Err(error) if is_locked(&error) => locked = Some(error),
                connected => return connected,
            }
            pause(PAUSE).await;
        }
    });
    match (connected.await, locked) {
        (Ok(connected), _) => connected,
        (Err(_), Some(error)) => Err(error),
        // Not for a lock: the disk itself does not answer.
        (Err(_), None) => Err(sqlx::Error::PoolTimedOut),
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.map(|code| primary(&code)), Some(5 | 6))
}

/// Says what to do about a file that cannot be opened.
fn refused(path: &Path, error: &sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code());
    let path = path.display();
    Error::Open(match code.map(|code| primary(&code)) {
        Some(5 | 6) => format!("{path} is locked by another process: stop it, or use another file ({error})"),
        Some(8) => format!("{path} is not writable: let this user write to the file and its directory ({error})"),
        Some(14) => format!(
            "{path} cannot be opened: it must be a file that this user may read and write, in a directory it may write \
             to ({error})"
        ),
        Some(26) => format!("{path} is not an SQLite database: name another file ({error})"),
        _ => format!("{path}: {error}"),
    })
}
