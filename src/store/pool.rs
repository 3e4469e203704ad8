//! Lends connections without asking the database about each one that comes back.
//!
//! sqlx's pool pings every connection that is returned to it: a round trip to PostgreSQL, a hop to the connection's
//! thread on SQLite, as dear as the look-up that it follows. Here a connection that has just done what it was asked stays
//! *warm* and goes to the next caller as it is. Every other one (its last statement failed or was cancelled, it has rested
//! for long, or was warm for long) goes back to sqlx, which pings it and replaces the old and the broken.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Database;
use sqlx::pool::PoolConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that has rested for longer is checked before it is used: the server may have gone away meanwhile.
const REST: Duration = Duration::from_secs(5);
/// How long a connection may be warm before sqlx sees it again.
const WARMTH: Duration = Duration::from_secs(60);

/// The connections of one store.
pub(super) struct Pool<DB: Database> {
    cold: sqlx::Pool<DB>,
    warm: Arc<Warm<DB>>,
    room: Arc<Semaphore>,
    patience: Duration,
}

/// A connection at work. Mark it [`working`](Self::working) before a statement and [`done`](Self::done) after it has
/// succeeded; dropped in between it is not trusted.
pub(super) struct Lent<DB: Database> {
    /// `None` only while it is dropped.
    connection: Option<PoolConnection<DB>>,
    warm: Arc<Warm<DB>>,
    since: Instant,
    sound: bool,
    _room: OwnedSemaphorePermit,
}

struct Rested<DB: Database> {
    connection: PoolConnection<DB>,
    /// Warm since.
    since: Instant,
    /// At rest since.
    rested: Instant,
}

/// Those at rest, the longest first; `None` once the pool is closed.
struct Warm<DB: Database>(Mutex<Option<VecDeque<Rested<DB>>>>);

impl<DB: Database> Pool<DB> {
    /// Lends `most` connections at a time; a caller waits for `patience` at the most.
    pub(super) fn new(cold: sqlx::Pool<DB>, most: u32, patience: Duration) -> Self {
        let room = Arc::new(Semaphore::new(most as usize));
        Self { cold, warm: Arc::new(Warm(Mutex::new(Some(VecDeque::new())))), room, patience }
    }

    pub(super) async fn lend(&self) -> Result<Lent<DB>, sqlx::Error> {
        let room = tokio::time::timeout(self.patience, Arc::clone(&self.room).acquire_owned());
        let room = room.await.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let now = now();
        let (connection, since) = match self.warm.take(now) {
            Some(rested) => (rested.connection, rested.since),
            // There is one: whoever else holds any has a place in the room.
            None => (self.cold.acquire().await?, now),
        };
        Ok(Lent { connection: Some(connection), warm: Arc::clone(&self.warm), since, sound: true, _room: room })
    }

    /// Waits for those at work, then closes all.
    pub(super) async fn close(&self) {
        self.room.close();
        let warm = self.warm.list().take();
        drop(warm);
        self.cold.close().await;
    }

    /// Open connections, and those of them that are at rest.
    pub(super) fn sizes(&self) -> (u32, u32) {
        let warm = self.warm.list().as_ref().map_or(0, VecDeque::len);
        (self.cold.size(), u32::try_from(warm + self.cold.num_idle()).unwrap_or(u32::MAX))
    }
}

impl<DB: Database> Warm<DB> {
    fn list(&self) -> MutexGuard<'_, Option<VecDeque<Rested<DB>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that rested for the shortest time; those that rested for too long go back to sqlx.
    fn take(&self, now: Instant) -> Option<Rested<DB>> {
        let mut list = self.list();
        let rested = list.as_mut()?;
        let long = rested.partition_point(|one| now.duration_since(one.rested) > REST);
        let cooled: Vec<_> = rested.drain(..long).collect();
        let found = rested.pop_back();
        drop(list);
        drop(cooled);
        found
    }
}

impl<DB: Database> Drop for Warm<DB> {
    fn drop(&mut self) {
        // Without the pool there is nothing to return to, and perhaps no runtime to do it on.
        for rested in self.list().take().into_iter().flatten() {
            drop(rested.connection.leak());
        }
    }
}

impl<DB: Database> Lent<DB> {
    /// A statement is about to be sent.
    pub(super) const fn working(&mut self) {
        self.sound = false;
    }

    /// The statement succeeded and its answer was read to the end.
    pub(super) const fn done(&mut self) {
        self.sound = true;
    }
}

impl<DB: Database> Deref for Lent<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "it is there until the drop")]
    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect("lent")
    }
}

impl<DB: Database> DerefMut for Lent<DB> {
    #[expect(clippy::expect_used, reason = "it is there until the drop")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("lent")
    }
}

impl<DB: Database> Drop for Lent<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (since, rested) = (self.since, now());
        if self.sound
            && rested.duration_since(since) < WARMTH
            && let Some(list) = &mut *self.warm.list()
        {
            list.push_back(Rested { connection, since, rested });
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a connection rests decides nothing but whether it is asked")]
fn now() -> Instant {
    Instant::now()
}
