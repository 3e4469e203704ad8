//! SQLite: one writing connection ([`writer`](super::writer)) and a few that only read, on one file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection};

use super::change::pause;
use super::dialect::Dialect;
use super::error::{Error, primary};
use super::sqlite_file::{DatabaseFile, trouble};
use super::sqlite_readers::{ReadLimits, Readers, SqliteReader};
use super::sqlite_wal;
use super::writer::{Limits, Member, Writer};
use super::{Migrations, Stats, StoreOptions, migrate};

/// Texts kept prepared on each connection.
const STATEMENTS: usize = 512;
/// Rows that a connection's thread gives before it waits for them to be taken: more than nearly all statements have, as each
/// wait is two switches of threads.
const ROWS: usize = 2048;
/// Pages that the writer keeps, in KiB below zero: those that many deliveries touch, which it would read again for each batch of
/// them otherwise. Memory is taken as they are read. Not more: after most commits SQLite walks all of them.
const WRITER_CACHE: &str = "-8192";
/// Sets what is there already: page 1 is written all the same. Nobody else uses this number of SQLite's.
const PROBE: &str = "PRAGMA user_version = 0";

pub(super) struct SqliteStore {
    writer: Arc<Writer>,
    readers: Readers,
    file: Arc<DatabaseFile>,
    options: SqliteConnectOptions,
    /// The transactions committed when it was last asked whether it can write.
    seen: AtomicU64,
}

impl SqliteStore {
    pub(super) async fn open(path: &Path, options: &StoreOptions) -> Result<Self, Error> {
        let run = matches!(options.migrations, Migrations::Run | Migrations::Create);
        if !run && !path.exists() {
            return Err(Error::Open(migrate::absent(&format!("there is no file {}", path.display()))));
        }
        if run && let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(directory).await.map_err(|error| {
                let why = trouble(directory).unwrap_or_else(|| error.to_string());
                Error::Open(format!("cannot create the directory {}: {why}", directory.display()))
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
            .pragma("journal_size_limit", sqlite_wal::SHORT.to_string())
            // What a statement might have to take back goes to a file in the system's temporary directory otherwise.
            .pragma("temp_store", "memory")
            .pragma("cache_size", WRITER_CACHE)
            .thread_name(|_| "sqlite-writer".to_owned());
        let mut connection = connect(&write, options.lock_timeout).await.map_err(|error| refused(path, &error))?;
        let file = Arc::new(DatabaseFile::at(path)?);
        migrate(&mut connection, options.migrations).await.map_err(|error| match (error, trouble(path)) {
            (Error::Unavailable(_) | Error::Migration(_) | Error::Sql(_), Some(trouble)) => Error::Open(trouble),
            (error, _) => error,
        })?;
        let reading = base.pragma("query_only", "1").thread_name(|_| "sqlite-reader".to_owned());
        let limits = ReadLimits { acquire: options.acquire_timeout, statement: options.read_timeout };
        let readers = Readers::new(reading, Arc::clone(&file), limits);
        let limits = Limits { group: options.group_limit, wait: options.acquire_timeout };
        let options = write.create_if_missing(false);
        let writer = Writer::new(connection, options.clone(), Arc::clone(&file), limits);
        sqlite_wal::watch(&writer, readers.gate(), Arc::clone(&file), options.clone());
        Ok(Self { writer, readers, file, options, seen: AtomicU64::new(0) })
    }

    /// Whether it can write. Where nothing was written since it was last asked, it tries.
    pub(super) async fn can_write(&self) -> Result<(), Error> {
        self.file.check()?;
        self.file.has_room()?;
        let (_, committed) = self.writer.commits();
        if self.seen.swap(committed, Ordering::Relaxed) != committed {
            return Ok(());
        }
        let mut probe = self.writer.begin(true).await?;
        probe.run(PROBE.into(), SqliteArguments::default(), true).await?;
        probe.commit().await?;
        self.seen.store(self.writer.commits().1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn wal_bytes(&self) -> u64 {
        self.file.wal_bytes()
    }

    pub(super) async fn begin(&self, durable: bool) -> Result<Member, Error> {
        self.writer.begin(durable).await
    }

    pub(super) async fn reader(&self) -> Result<SqliteReader, Error> {
        self.readers.acquire().await
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

/// Nobody was told of a migration: one that a crash takes back is run again. So none waits for the disk, and what is written
/// later syncs what they have written.
async fn migrate(connection: &mut SqliteConnection, how: Migrations) -> Result<(), Error> {
    sqlx::raw_sql("PRAGMA synchronous = NORMAL").execute(&mut *connection).await?;
    migrate::open(connection, Dialect::Sqlite, how).await?;
    sqlx::raw_sql("PRAGMA synchronous = FULL").execute(connection).await?;
    Ok(())
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
    if let Some(trouble) = trouble(path) {
        return Error::Open(format!("{trouble} ({error})"));
    }
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
