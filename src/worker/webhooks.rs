//! Webhooks: which subscriptions this node sends to, and a task for each of those for which something is due.
//!
//! 1. The poll asks which subscriptions have a delivery that is due, leases those that no node has, and starts their tasks.
//! 2. A [task](subscription) scans for what is due of its subscription, sends it, at most 16 at once, and ends when nothing is.
//! 3. The [recorder] writes what came of attempts, of all subscriptions together.
//!
//! A lease outlives its task: it costs nothing while nothing is due. Where one node is busy with more than its share of the
//! subscriptions, it gives some back.

mod attempt;
mod pace;
mod queue;
mod recorder;
mod signing;
mod subscription;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use metrics::gauge;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::engine::POLL;
use super::{Backlog, Engine, Failure};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::timestamp::SKEW;
use crate::domain::webhook::PROBE_EVERY;
use crate::outbound::Client;
use crate::outbound::signed::Signer;
use crate::store::deliveries::{self, Lease, Pending};
use crate::store::{Change, Error, Reader, Store, Tx};
use attempt::Sender;
use recorder::Recorder;
use signing::Signing;
use subscription::{Signal, Task};

/// Subscriptions beyond its share that a node leases in one poll, so that none waits for a node that does not come.
const FEW: usize = 16;
/// A task that has been at work for so long is busy.
const BUSY: Duration = Duration::from_secs(2);
/// How long a subscription that was given back is left to others.
const YIELDED: Duration = Duration::from_secs(3);
/// Scans at once: the rest of the store's connections are for others.
const SCANS: usize = 4;
/// How many deliveries are made due at once because a clock was wrong.
const MENDED: i64 = 500;

/// What sends webhooks.
pub struct Webhooks {
    sender: Sender,
    options: Options,
}

/// What can be chosen about sending.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether sandbox programmes may have private callbacks.
    pub private_callbacks: bool,
    /// Attempts a second to one subscription at most, whichever node sends.
    pub rate: u32,
}

impl Webhooks {
    /// Sends with `client` and signs with the service's own key.
    pub fn new(clock: Clock, (client, signer): (Client, Signer), options: Options) -> Self {
        Self { sender: Sender { clock, client, signing: Signing::new(signer) }, options }
    }

    /// Sends until the engine stops, then finishes what is in flight.
    pub async fn run(self, engine: Engine) {
        let shared = Arc::new(Shared {
            recorder: Recorder::new(engine.store().clone()),
            sender: self.sender,
            options: self.options,
            permits: Arc::new(Semaphore::new(pace::PERMITS)),
            scans: Semaphore::new(SCANS),
            tasks: Mutex::default(),
            again: Notify::new(),
            engine,
        });
        let send = async {
            tokio::select! {
                biased;
                () = shared.send() => {}
                // It never ends by itself.
                () = shared.recorder.run() => {}
            }
        };
        tokio::join!(send, shared.engine.measure("webhooks", || backlog(shared.store())));
    }
}

/// What the tasks of all subscriptions share.
struct Shared {
    engine: Engine,
    sender: Sender,
    recorder: Recorder,
    options: Options,
    /// Of attempts in flight.
    permits: Arc<Semaphore>,
    scans: Semaphore,
    tasks: Mutex<HashMap<Uuid, Running>>,
    /// Something falls due at another time than the last poll knew.
    again: Notify,
}

/// A subscription's task.
struct Running {
    lease: Lease,
    signal: Arc<Signal>,
    began: Duration,
}

/// What the poll remembers.
#[derive(Default)]
struct Memory {
    /// When it last did what need not be done at each poll.
    tidied: Option<Duration>,
    /// Subscriptions that were given back, and when.
    yielded: HashMap<Uuid, Duration>,
}

impl Shared {
    fn store(&self) -> &Store {
        self.engine.store()
    }

    fn clock(&self) -> &Clock {
        self.engine.clock()
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<Uuid, Running>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self: &Arc<Self>) {
        let (tracker, mut memory) = (TaskTracker::new(), Memory::default());
        let mut commits = self.store().committed();
        while let Some(node) = self.engine.alive().await {
            // Before the poll: what is committed during it wakes us again. So with the time.
            commits.mark_unchanged();
            let began = self.clock().monotonic();
            let wait = match self.poll(node, &mut memory, &tracker).await {
                Ok(wait) => wait.min(POLL),
                Err(error) => {
                    tracing::warn!(%error, "cannot poll for webhooks");
                    POLL
                }
            };
            tokio::select! {
                biased;
                () = self.engine.stop() => break,
                _ = commits.changed() => {}
                () = self.again.notified() => {}
                () = self.clock().sleep_to(began + wait) => {}
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// Starts the tasks of this node's subscriptions that have something due. After what time to poll again at the latest.
    async fn poll(self: &Arc<Self>, node: Uuid, memory: &mut Memory, tracker: &TaskTracker) -> Result<Duration, Error> {
        let (now, began) = (self.clock().now(), self.clock().monotonic());
        let mut reader = self.store().reader().await?;
        let tidies = memory.tidied.is_none_or(|at| began.saturating_sub(at) >= POLL);
        if tidies {
            memory.tidied = Some(began);
            memory.yielded.retain(|_, at| began.saturating_sub(*at) < YIELDED);
            self.sender.signing.refresh(&mut reader, now).await?;
            self.mend_times(&mut reader, now).await?;
        }
        let pending = deliveries::pending(&mut reader).await?;
        drop(reader);
        let (due, later): (Vec<Pending>, Vec<Pending>) = pending.into_iter().partition(|it| due_at(it, now) <= now);
        let share = due.len().div_ceil(self.engine.node().nodes());
        let mut leases = Vec::new();
        let mut free = Vec::new();
        for it in &due {
            match (it.node, it.epoch) {
                (Some(owner), Some(epoch)) if owner == node => {
                    leases.push(Lease { webhook_id: it.webhook_id, node, epoch });
                }
                (None, _) if !memory.yielded.contains_key(&it.webhook_id) => free.push(it.webhook_id),
                _ => {}
            }
        }
        free.truncate(share.saturating_sub(leases.len()).max(FEW));
        if !free.is_empty() {
            leases.extend(self.store().transact(&Take { node, webhooks: free }).await?);
        }
        for lease in leases {
            self.start(lease, tracker);
        }
        if tidies {
            self.give_back(share, memory, began);
        }
        let next = later.iter().map(|it| due_at(it, now)).min();
        Ok(next.map_or(POLL, |next| next.since(now)))
    }

    /// Starts a subscription's task, or tells the one that there is.
    fn start(self: &Arc<Self>, lease: Lease, tracker: &TaskTracker) {
        let mut tasks = self.tasks();
        if let Some(running) = tasks.get(&lease.webhook_id) {
            running.signal.wake.notify_one();
            return;
        }
        let signal = Arc::new(Signal::default());
        let task = Task::new(Arc::clone(self), lease, Arc::clone(&signal));
        tasks.insert(lease.webhook_id, Running { lease, signal: Arc::clone(&signal), began: task.began });
        drop(tasks);
        let shared = Arc::clone(self);
        tracker.spawn(async move {
            let ended = tokio::spawn(task.run()).await;
            if ended.is_err() {
                tracing::error!(webhook = %lease.webhook_id, "a task panicked: what it had in flight is sent again");
                shared.forget(&lease, &signal);
            }
        });
    }

    /// Ends a task that has nothing to do, unless it was told of more just now and `goes_on` if so.
    fn finish(&self, lease: &Lease, signal: &Arc<Signal>, goes_on: bool) -> bool {
        let mut tasks = self.tasks();
        if signal.wake.notified().now_or_never().is_some() {
            if goes_on {
                return false;
            }
            // Another task of it may.
            self.again.notify_one();
        }
        tasks.remove(&lease.webhook_id);
        true
    }

    fn forget(&self, lease: &Lease, signal: &Arc<Signal>) {
        let mut tasks = self.tasks();
        if tasks.get(&lease.webhook_id).is_some_and(|running| Arc::ptr_eq(&running.signal, signal)) {
            tasks.remove(&lease.webhook_id);
        }
    }

    /// Where this node is busy with more than its share of what is due, has the surplus given back.
    fn give_back(&self, share: usize, memory: &mut Memory, now: Duration) {
        if self.engine.node().nodes() < 2 {
            return;
        }
        let tasks = self.tasks();
        let stays = |running: &&Running| !running.signal.yields.load(Ordering::Relaxed);
        let busy = tasks.values().filter(|running| now.saturating_sub(running.began) >= BUSY).filter(stays);
        for running in busy.skip(share) {
            running.signal.yields.store(true, Ordering::Relaxed);
            running.signal.wake.notify_one();
            memory.yielded.insert(running.lease.webhook_id, now);
        }
    }

    async fn release(&self, lease: Lease) {
        if let Err(error) = self.store().transact(&Release(lease)).await {
            tracing::warn!(webhook = %lease.webhook_id, %error, "cannot give a subscription back: this node goes on");
        }
    }

    /// Makes due what was scheduled by a clock that was ahead: it would wait until this one is there.
    async fn mend_times(&self, reader: &mut Reader, now: Timestamp) -> Result<(), Error> {
        let late = deliveries::ahead_of(reader, now + SKEW, MENDED).await?;
        if !late.is_empty() {
            tracing::warn!(deliveries = late.len(), "scheduled by a clock that was ahead: due now");
            self.store().transact(&MakeDue { late, now }).await?;
        }
        Ok(())
    }
}

/// When something of a subscription is due that may be sent. A probe that is later than it can be was set by a clock that was ahead.
fn due_at(it: &Pending, now: Timestamp) -> Timestamp {
    let probe = it.probe_at.filter(|at| *at <= now + PROBE_EVERY);
    probe.map_or(it.next_attempt_at, |at| at.max(it.next_attempt_at))
}

async fn backlog(store: &Store) -> Result<Backlog, Failure> {
    let mut reader = store.reader().await?;
    let (waiting, dead) = deliveries::open(&mut reader).await?;
    gauge!("webhook_deliveries_dead").set(dead as f64);
    gauge!("webhook_deliveries_pending").set(waiting as f64);
    let pending = deliveries::pending(&mut reader).await?;
    let due = pending.iter().map(|it| it.probe_at.map_or(it.next_attempt_at, |at| at.max(it.next_attempt_at))).min();
    // A failed attempt moves a delivery into the future, which must not hide since when it has been waiting.
    let retried = deliveries::retried_since(&mut reader).await?;
    Ok(Backlog { waiting, due: [due, retried].into_iter().flatten().min() })
}

struct Take {
    node: Uuid,
    webhooks: Vec<Uuid>,
}

impl Change for Take {
    type Out = Vec<Lease>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Vec<Lease>, Error> {
        deliveries::lease(tx, self.node, &self.webhooks).await
    }
}

struct Release(Lease);

impl Change for Release {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        deliveries::release(tx, &[self.0]).await
    }
}

struct MakeDue {
    late: Vec<(Uuid, Uuid)>,
    now: Timestamp,
}

impl Change for MakeDue {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        deliveries::make_due(tx, &self.late, self.now).await
    }
}
