//! SQLite's reading connections: a few, each a thread of its own, opened when it is first needed.
//!
//! A statement that reads keeps the write-ahead log from being emptied, so each of them ends after a time limit: a progress
//! handler, which SQLite calls while a statement runs, compares the time with the connection's deadline.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use super::sqlite_file::DatabaseFile;

/// Connections that read, at most.
const READERS: u32 = 4;
/// Instructions of SQLite's virtual machine between two looks at the time: well under a millisecond of them.
const INSTRUCTIONS: i32 = 10_000;

/// The reading connections of one store.
pub(super) struct Readers {
    options: SqliteConnectOptions,
    file: Arc<DatabaseFile>,
    idle: Arc<Idle>,
    permits: Arc<Semaphore>,
    limits: ReadLimits,
}

/// How long a caller waits for a connection, and how long a statement may read.
#[derive(Clone, Copy)]
pub(super) struct ReadLimits {
    pub(super) acquire: Duration,
    pub(super) statement: Duration,
}

/// See [`Readers::gate`].
pub(super) struct Gate(Arc<Semaphore>);

impl Gate {
    /// Waits until no statement of this store reads; none does until what this gives is dropped. `None` where one goes on for
    /// longer than `patience`.
    pub(super) async fn close(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let all = Arc::clone(&self.0).acquire_many_owned(READERS);
        tokio::time::timeout(patience, all).await.ok()?.ok()
    }
}

/// `None` once the store is closed.
struct Idle(Mutex<Option<Vec<Opened>>>);

struct Opened {
    connection: SqliteConnection,
    deadline: Arc<Deadline>,
}

/// When the statement of a connection must have ended, in microseconds after `base`.
struct Deadline {
    base: Instant,
    at: AtomicU64,
}

/// A connection at work. Mark it [`working`](Self::working) before a statement and [`done`](Self::done) after it has
/// succeeded; dropped in between, its statement is interrupted and it is not used again.
pub(super) struct SqliteReader {
    /// `None` only while it is dropped.
    opened: Option<Opened>,
    idle: Arc<Idle>,
    limit: Duration,
    sound: bool,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions, file: Arc<DatabaseFile>, limits: ReadLimits) -> Self {
        let idle = Arc::new(Idle(Mutex::new(Some(Vec::new()))));
        Self { options, file, idle, permits: Arc::new(Semaphore::new(READERS as usize)), limits }
    }

    pub(super) async fn acquire(&self) -> Result<SqliteReader, Error> {
        let permit = tokio::time::timeout(self.limits.acquire, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let pooled = self.idle.list().as_mut().and_then(Vec::pop);
        let opened = match pooled {
            Some(opened) => opened,
            None => Box::pin(self.open()).await?,
        };
        let limit = self.limits.statement;
        Ok(SqliteReader { opened: Some(opened), idle: Arc::clone(&self.idle), limit, sound: true, _permit: permit })
    }

    async fn open(&self) -> Result<Opened, Error> {
        // Another file in its place would be read as if it were ours.
        self.file.check()?;
        let mut connection = self.options.connect().await?;
        let deadline = Arc::new(Deadline { base: now(), at: AtomicU64::new(u64::MAX) });
        let watched = Arc::clone(&deadline);
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || !watched.has_passed());
        Ok(Opened { connection, deadline })
    }

    /// What keeps this store from reading for a moment.
    pub(super) fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.permits))
    }

    /// Waits for those at work, which end within their limit, then closes all.
    pub(super) async fn close(&self) {
        let _ = tokio::time::timeout(self.limits.statement, self.permits.acquire_many(READERS)).await;
        self.permits.close();
        let idle = self.idle.list().take();
        for opened in idle.into_iter().flatten() {
            // Nothing depends on how a connection that only reads is closed.
            let _ = opened.connection.close().await;
        }
    }

    /// Open connections, and those of them that are idle.
    pub(super) fn sizes(&self) -> (u32, u32) {
        let idle = u32::try_from(self.idle.list().as_ref().map_or(0, Vec::len)).unwrap_or(u32::MAX);
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(READERS);
        (READERS.saturating_sub(free) + idle, idle)
    }
}

impl Idle {
    fn list(&self) -> MutexGuard<'_, Option<Vec<Opened>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deadline {
    fn set(&self, limit: Duration) {
        let at = u64::try_from((self.base.elapsed() + limit).as_micros()).unwrap_or(u64::MAX);
        self.at.store(at, Ordering::Relaxed);
    }

    fn has_passed(&self) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != u64::MAX && self.base.elapsed().as_micros() >= u128::from(at)
    }
}

impl SqliteReader {
    /// A statement is about to be sent.
    pub(super) fn working(&mut self) {
        self.sound = false;
        if let Some(opened) = &self.opened {
            opened.deadline.set(self.limit);
        }
    }

    /// The statement succeeded and its response was read to the end.
    pub(super) const fn done(&mut self) {
        self.sound = true;
    }
}

impl Deref for SqliteReader {
    type Target = SqliteConnection;

    #[expect(clippy::expect_used, reason = "it is there until the drop")]
    fn deref(&self) -> &SqliteConnection {
        &self.opened.as_ref().expect("acquired").connection
    }
}

impl DerefMut for SqliteReader {
    #[expect(clippy::expect_used, reason = "it is there until the drop")]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.opened.as_mut().expect("acquired").connection
    }
}

impl Drop for SqliteReader {
    fn drop(&mut self) {
        let Some(opened) = self.opened.take() else { return };
        if !self.sound {
            opened.deadline.set(Duration::ZERO);
        } else if let Some(list) = &mut *self.idle.list() {
            list.push(opened);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline of the room's own, which no data depends on")]
fn now() -> Instant {
    Instant::now()
}
