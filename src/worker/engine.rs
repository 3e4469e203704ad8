//! Claim, do, settle: the loop that every queue runs in.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use metrics::{counter, gauge, histogram};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::node::Membership;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::Store;

/// How often to look for what other processes left in the store, and for what a missed wake-up would leave waiting.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// After how long something is claimed again that could not be settled.
const AGAIN: Duration = Duration::from_secs(10);
/// How often the backlog is measured.
const MEASURE: Duration = Duration::from_secs(15);

/// What keeps a queue from its work. It is logged, and the work tried again.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Says when to claim no more.
pub type Stop = Shared<BoxFuture<'static, ()>>;

/// One kind of work that waits in the store. See the [module](super) for how to add one.
pub trait Queue: Send + Sync + 'static {
    /// What was claimed: everything that doing it takes, and the lease to settle it under.
    type Item: Send + Sync + 'static;
    /// What doing it gave.
    type Done: Send;

    /// The name in metrics and logs.
    const NAME: &'static str;
    /// How long [`perform`](Self::perform) may take; `None` where it keeps a deadline of its own.
    const DEADLINE: Option<Duration>;
    /// Items at work at once, those that take longer than [`PATIENCE`](Self::PATIENCE) not counted.
    const CONCURRENCY: usize = 64;
    /// Items at work at once, counted all: what a partner that hangs can pile up.
    const CEILING: usize = 1024;
    /// After this long an item gives its place to the next, so that a partner that hangs for some does not hold up others.
    const PATIENCE: Duration = Duration::from_millis(250);

    /// When the next item falls due; `None` when nothing waits. A cheap read.
    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, Failure>> + Send;

    /// Claims at most `limit` items that are due at `now`, in one short transaction: nobody else gets them while `node` is alive.
    fn claim(
        &self,
        node: Uuid,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Taken<Self::Item>, Failure>> + Send;

    /// The id of an item.
    fn id(item: &Self::Item) -> Uuid;

    /// Gives back whatever `node` has claimed, but for these items: a claim that nobody heard the outcome of, or an item that could not
    /// be settled.
    fn give_back(&self, node: Uuid, in_flight: &[Uuid]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Does it: calls out, with no transaction open.
    fn perform(&self, item: &Self::Item) -> impl Future<Output = Self::Done> + Send;

    /// Writes down what came of it, in one transaction that first looks whether the lease and the state that the item
    /// is about are still what they were. `done` is `None` when the deadline came first. Gives the outcome's name for
    /// metrics, such as `clear` or `retry`.
    fn settle(
        &self,
        item: Self::Item,
        done: Option<Self::Done>,
    ) -> impl Future<Output = Result<&'static str, Failure>> + Send;

    /// How many items wait (it may stop counting at some thousands) and since when the first is due.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, Failure>> + Send;
}

/// What a claim gave.
#[derive(Debug)]
pub struct Taken<T> {
    /// What is to be done.
    pub items: Vec<T>,
    /// Whether the next claim is likely to find more that is due.
    pub more: bool,
}

impl<T> Taken<T> {
    /// What a claim of at most `limit` gave.
    pub fn of(items: Vec<T>, limit: usize) -> Self {
        Self { more: items.len() >= limit, items }
    }
}

/// What waits in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many items.
    pub waiting: i64,
    /// When the first fell due, or will.
    pub due: Option<Timestamp>,
}

/// What runs queues.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    clock: Clock,
    stop: Stop,
    pub(super) node: Membership,
}

impl Engine {
    /// An engine that claims until `stop` is done.
    pub fn new(store: Store, clock: Clock, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        let node = Membership::new(clock.clone());
        Self { store, clock, stop: stop.boxed().shared(), node }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// This node among the others.
    pub(super) fn node(&self) -> &Membership {
        &self.node
    }

    /// Done when it is to claim no more.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.clone().now_or_never().is_some()
    }

    /// Does `work`, all that [runs](Self::run) in this engine, as a node that others see to be alive.
    pub async fn live<T>(&self, work: impl Future<Output = T>) -> T {
        let (done, ended) = oneshot::channel::<()>();
        let (node, store) = (self.node.clone(), self.store.clone());
        let stop: Stop = ended.map(|_| ()).boxed().shared();
        // A task of its own, so that work that takes long does not keep it from saying so.
        let beats = tokio::spawn(async move { node.run(&store, stop).await });
        let output = work.await;
        drop(done);
        if beats.await.is_err() {
            tracing::error!("the task that says that this node is alive panicked");
        }
        output
    }

    /// Works on a queue until told to stop, then finishes what it has claimed.
    pub async fn run<Q: Queue>(self, queue: Q) {
        let queue = Arc::new(queue);
        tokio::join!(self.pump(&queue), self.measure(Q::NAME, || queue.backlog()));
    }

    /// Waits that long. `false` when told to stop.
    pub(super) async fn pause(&self, wait: Duration) -> bool {
        self.pause_to(self.clock.monotonic() + wait).await
    }

    /// Waits until then, on the monotonic time. `false` when told to stop.
    pub(super) async fn pause_to(&self, deadline: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.clone() => false,
            () = self.clock.sleep_to(deadline) => true,
        }
    }

    /// Waits until this node is alive: its id. `None` when told to stop.
    pub(super) async fn alive(&self) -> Option<Uuid> {
        tokio::select! {
            biased;
            () = self.stop.clone() => None,
            id = self.node.alive() => Some(id),
        }
    }

    async fn pump<Q: Queue>(&self, queue: &Arc<Q>) {
        let at_work = AtWork::new(Arc::clone(queue), self.clock.clone());
        let mut commits = self.store.committed();
        let mut more = false;
        while let Some(node) = self.alive().await {
            // Before the poll: what is committed during it wakes us again. So with the time.
            commits.mark_unchanged();
            let began = self.clock.monotonic();
            at_work.give_back(node, began).await;
            let found = self.claim(&**queue, node, (at_work.free(), more)).await;
            if found.failed {
                at_work.lost();
            }
            at_work.begin(found.items);
            more = found.more;
            tokio::select! {
                biased;
                () = self.stop.clone() => break,
                // When more is waiting, the next claim is worth while once half of the places are free.
                () = at_work.half_free(), if more => {}
                // The store lives as long as this engine: the channel is not closed.
                _ = commits.changed(), if !more => {}
                () = self.clock.sleep_to(began + found.wait), if !more => {}
            }
        }
        at_work.ended().await;
    }

    /// Claims if anything is due; without asking for that first if the last claim left something.
    async fn claim<Q: Queue>(&self, queue: &Q, node: Uuid, (free, left): (usize, bool)) -> Found<Q::Item> {
        let now = self.clock.now();
        let idle = |wait| Found { items: Vec::new(), more: false, wait, failed: false };
        let found = async {
            let due = if left { Some(now) } else { queue.next_due().await? };
            match due {
                Some(due) if due <= now && free > 0 => {
                    let Taken { items, more } = queue.claim(node, now, free).await?;
                    Ok(Found { items, more, ..idle(POLL) })
                }
                Some(due) if due <= now => Ok(Found { more: true, ..idle(POLL) }),
                Some(due) => Ok(idle(due.since(now).min(POLL))),
                None => Ok(idle(POLL)),
            }
        };
        found.await.unwrap_or_else(|error: Failure| {
            tracing::warn!(queue = Q::NAME, %error, "cannot claim work");
            Found { failed: true, ..idle(POLL) }
        })
    }

    /// Measures a backlog now and then, until told to stop.
    pub(super) async fn measure<F>(&self, queue: &'static str, backlog: impl Fn() -> F)
    where
        F: Future<Output = Result<Backlog, Failure>>,
    {
        while self.pause(MEASURE).await {
            match backlog().await {
                Ok(backlog) => {
                    let lag = backlog.due.map_or(0.0, |due| self.clock.now().since(due).as_secs_f64());
                    gauge!("worker_queue_depth", "queue" => queue).set(backlog.waiting as f64);
                    gauge!("worker_queue_lag_seconds", "queue" => queue).set(lag);
                }
                Err(error) => tracing::warn!(queue, %error, "cannot measure the backlog"),
            }
        }
    }
}

/// Items under way.
struct AtWork<Q> {
    queue: Arc<Q>,
    clock: Clock,
    /// Of those that hold others up.
    places: Arc<Semaphore>,
    /// Of all.
    all: Arc<Semaphore>,
    tasks: TaskTracker,
    known: Arc<Mutex<Known>>,
}

/// What is claimed, as far as this node knows.
#[derive(Default)]
struct Known {
    in_flight: HashSet<Uuid>,
    /// Since when something may be claimed that is not in flight, on the monotonic time.
    lost: Option<Duration>,
}

impl<Q: Queue> AtWork<Q> {
    fn new(queue: Arc<Q>, clock: Clock) -> Self {
        let [places, all] = [Q::CONCURRENCY, Q::CEILING].map(|count| Arc::new(Semaphore::new(count)));
        Self { queue, clock, places, all, tasks: TaskTracker::new(), known: Arc::default() }
    }

    /// How many more may be begun.
    fn free(&self) -> usize {
        self.places.available_permits().min(self.all.available_permits())
    }

    /// Done when half of the places are free, and one of all.
    async fn half_free(&self) {
        let half = u32::try_from(Q::CONCURRENCY.div_ceil(2)).unwrap_or(u32::MAX);
        // They are never closed, and only the pump takes from them.
        let _ = self.places.acquire_many(half).await;
        let _ = self.all.acquire().await;
    }

    fn begin(&self, items: Vec<Q::Item>) {
        for item in items {
            // Only the pump takes places: there is one for each of them.
            let places = [&self.places, &self.all].map(|places| Arc::clone(places).try_acquire_owned());
            if let [Ok(place), Ok(of_all)] = places {
                let (id, known, clock) = (Q::id(&item), Arc::clone(&self.known), self.clock.clone());
                Known::of(&known).in_flight.insert(id);
                let work = work(Arc::clone(&self.queue), self.clock.clone(), item, place);
                self.tasks.spawn(async move {
                    let settled = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                        tracing::error!(queue = Q::NAME, "a task panicked: it is claimed again in {AGAIN:?}");
                        false
                    });
                    let mut known = Known::of(&known);
                    known.in_flight.remove(&id);
                    if !settled {
                        known.lost.get_or_insert(clock.monotonic());
                    }
                    drop(of_all);
                });
            }
        }
    }

    /// Notes that something may be claimed that is not in flight.
    fn lost(&self) {
        Known::of(&self.known).lost.get_or_insert(self.clock.monotonic());
    }

    /// Gives back, after a while, what is claimed and not in flight.
    async fn give_back(&self, node: Uuid, now: Duration) {
        let in_flight: Vec<Uuid> = {
            let known = Known::of(&self.known);
            if known.lost.is_none_or(|lost| now.saturating_sub(lost) < AGAIN) {
                return;
            }
            known.in_flight.iter().copied().collect()
        };
        match self.queue.give_back(node, &in_flight).await {
            Ok(()) => Known::of(&self.known).lost = None,
            Err(error) => tracing::warn!(queue = Q::NAME, %error, "cannot give back what was claimed"),
        }
    }

    /// Done when all that was begun has ended.
    async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Known {
    fn of(known: &Mutex<Self>) -> MutexGuard<'_, Self> {
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Found<T> {
    items: Vec<T>,
    /// Whether there may be more that is due.
    more: bool,
    /// After what time to poll again at the latest.
    wait: Duration,
    /// Nobody knows what was claimed.
    failed: bool,
}

/// Does an item, and whether it was settled.
async fn work<Q: Queue>(queue: Arc<Q>, clock: Clock, item: Q::Item, place: OwnedSemaphorePermit) -> bool {
    let began = clock.monotonic();
    let done = match Q::DEADLINE {
        Some(deadline) => in_time::<Q>(&*queue, &clock, (&item, deadline), place).await,
        None => Some(queue.perform(&item).await),
    };
    let settled = queue.settle(item, done).await;
    if let Err(error) = &settled {
        tracing::warn!(queue = Q::NAME, %error, "cannot settle: the task is claimed again in {AGAIN:?}");
    }
    let (is_settled, outcome) = (settled.is_ok(), settled.unwrap_or("unsettled"));
    counter!("worker_items_total", "queue" => Q::NAME, "outcome" => outcome).increment(1);
    let took = clock.monotonic().saturating_sub(began);
    histogram!("worker_item_duration_seconds", "queue" => Q::NAME).record(took.as_secs_f64());
    is_settled
}

/// What doing it gave, if it did in time. The place is free after a while, whatever becomes of it.
async fn in_time<Q: Queue>(
    queue: &Q,
    clock: &Clock,
    (item, deadline): (&Q::Item, Duration),
    place: OwnedSemaphorePermit,
) -> Option<Q::Done> {
    let mut performed = Box::pin(clock.timeout(deadline, queue.perform(item)));
    if let Ok(done) = clock.timeout(Q::PATIENCE, performed.as_mut()).await {
        return done.ok();
    }
    drop(place);
    performed.await.ok()
}
