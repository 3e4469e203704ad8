//! Pooled connections to PostgreSQL. Every await on one has a deadline.
//!
//! sqlx's pool pings each connection that is returned, waits without end for a peer that has gone silent, and keeps what it has
//! when the database moves. Here a connection whose last statement was answered is pooled as it is, and the connections belong
//! to a *generation*: when one of them shows that its server is gone, the generation ends, and every connection of it is closed
//! instead of being used again. So a fail-over costs one failed statement, not one for each connection.
//!
//! A *cut* ends a generation in which nothing is answered any more (see [`monitor`](super::monitor)): its statements in flight
//! fail soon, and their permits no longer count.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::checkout::Checkout;
use super::connect::Servers;
use super::guard::deadline;
use super::lost::Loss;
use super::outage::Outage;
use crate::store::error::Error;

/// A connection that was idle for longer is pinged before it is used: a firewall may have forgotten it.
const PING_AFTER: Duration = Duration::from_secs(5);
/// How long a connection may be idle, and how long it may be used at all: the server keeps caches for each session.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);
const AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long closing waits for what is in flight, and then for the server to read the farewell.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// What the pool keeps to.
pub(super) struct Limits {
    /// Connections at most.
    pub(super) connections: u32,
    /// How long to wait for a permit.
    pub(super) acquire: Duration,
    /// How long a statement or COMMIT may take, as seen from here.
    pub(super) statement: Duration,
}

/// The connections of one store.
pub(in crate::store) struct PgPool(Arc<Shared>);

pub(super) struct Shared {
    pub(super) servers: Servers,
    pub(super) outage: Outage,
    /// Asks the monitor for a probe.
    pub(super) suspicion: Notify,
    pub(super) limits: Limits,
    state: Mutex<State>,
    open: Arc<AtomicU32>,
    /// Statements on connections of an earlier generation than this are to end.
    cut: watch::Sender<u64>,
    pub(super) runtime: Handle,
}

struct State {
    generation: u64,
    permits: Arc<Semaphore>,
    /// The one that was idle for longest first.
    idle: VecDeque<Idle>,
    closed: bool,
}

struct Idle {
    pooled: Pooled,
    since: Instant,
}

pub(super) struct Pooled {
    pub(super) connection: PgConnection,
    pub(super) generation: u64,
    made: Instant,
    _open: Open,
}

/// Counts an open connection.
struct Open(Arc<AtomicU32>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PgPool {
    pub(super) fn new(servers: Servers, limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.connections as usize));
        let state = State { generation: 0, permits, idle: VecDeque::new(), closed: false };
        Self(Arc::new(Shared {
            servers,
            outage: Outage::default(),
            suspicion: Notify::new(),
            limits,
            state: Mutex::new(state),
            open: Arc::default(),
            cut: watch::Sender::new(0),
            runtime: Handle::current(),
        }))
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// A connection, waiting for a permit if need be.
    pub(in crate::store) async fn checkout(&self) -> Result<Checkout, Error> {
        let permit =
            deadline(self.0.limits.acquire, self.0.permit()).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        let mut checkout = Checkout::new(&self.0, permit);
        while let Some(idle) = self.0.take() {
            let ping = now().saturating_duration_since(idle.since) >= PING_AFTER;
            if checkout.reuse(idle.pooled, ping).await {
                return Ok(checkout);
            }
        }
        checkout.connect().await?;
        Ok(checkout)
    }

    /// Waits for what is in flight, though not for long, then closes all.
    pub(super) async fn close(&self) {
        let permits = {
            let mut state = self.0.state();
            state.closed = true;
            Arc::clone(&state.permits)
        };
        let _ = deadline(CLOSE_DEADLINE, permits.acquire_many(self.0.limits.connections)).await;
        permits.close();
        let idle = std::mem::take(&mut self.0.state().idle);
        let farewells = idle.into_iter().map(|idle| idle.pooled.connection.close());
        let _ = deadline(FAREWELL_DEADLINE, futures::future::join_all(farewells)).await;
    }

    /// Open connections, and those of them that are idle.
    pub(super) fn sizes(&self) -> (u32, u32) {
        let idle = u32::try_from(self.0.state().idle.len()).unwrap_or(u32::MAX);
        (self.0.open.load(Ordering::Relaxed), idle)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        loop {
            let permits = {
                let state = self.state();
                if state.closed {
                    return Err(sqlx::Error::PoolClosed);
                }
                Arc::clone(&state.permits)
            };
            // Closed by a cut: there are new ones.
            if let Ok(permit) = permits.acquire_owned().await
                && !self.is_closed()
            {
                return Ok(permit);
            }
        }
    }

    fn take(&self) -> Option<Idle> {
        self.state().idle.pop_back()
    }

    /// Pools a connection whose last statement was answered.
    pub(super) fn put(&self, pooled: Pooled) {
        let since = now();
        let mut state = self.state();
        let fit = !state.closed && pooled.generation == state.generation;
        if fit && since.saturating_duration_since(pooled.made) < AGE_MAX {
            state.idle.push_back(Idle { pooled, since });
        }
    }

    /// Closes what was idle for long.
    pub(super) fn prune(&self) {
        let now = now();
        let mut state = self.state();
        let old = state.idle.partition_point(|idle| now.saturating_duration_since(idle.since) > IDLE_MAX);
        let old: Vec<_> = state.idle.drain(..old).collect();
        drop(state);
        drop(old);
    }

    pub(super) async fn connect(&self) -> Result<Pooled, Error> {
        // Read before it is made: where the generation ends meanwhile, it may lead to the server that is gone.
        let generation = self.state().generation;
        let open = Open(Arc::clone(&self.open));
        self.open.fetch_add(1, Ordering::Relaxed);
        match self.servers.connect().await {
            Ok(connection) => Ok(Pooled { connection, generation, made: now(), _open: open }),
            Err(error) => {
                self.outage.begin(&error);
                self.suspicion.notify_one();
                Err(Error::Unavailable(error.to_string()))
            }
        }
    }

    /// Says that a connection was lost by this error: the others of its generation are suspect.
    pub(super) fn lost(&self, pooled: &Pooled, loss: Loss, error: &sqlx::Error) {
        if loss.ends_generation() {
            self.end(pooled.generation);
            self.outage.begin(error);
            self.suspicion.notify_one();
        }
    }

    /// What says which generations are cut.
    pub(super) fn cuts(&self) -> watch::Receiver<u64> {
        self.cut.subscribe()
    }

    /// Ends the generation of a connection, unless it has ended already.
    fn end(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.generation += 1;
            let idle = std::mem::take(&mut state.idle);
            drop(state);
            drop(idle);
        }
    }

    /// Ends the generation: none of its connections is used again.
    pub(super) fn end_generation(&self) {
        let generation = self.state().generation;
        self.end(generation);
    }

    /// Ends the generation, and its statements in flight.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.generation += 1;
        let idle = std::mem::take(&mut state.idle);
        let permits = Arc::new(Semaphore::new(self.limits.connections as usize));
        let before = std::mem::replace(&mut state.permits, permits);
        let generation = state.generation;
        drop(state);
        drop(idle);
        before.close();
        self.cut.send_replace(generation);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a connection is idle decides nothing but whether it is pinged")]
pub(super) fn now() -> Instant {
    Instant::now()
}
