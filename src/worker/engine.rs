//! Claim, do, settle: the loop that every queue runs in.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use metrics::{counter, gauge, histogram};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::Store;

/// How often to look for what other processes left in the store, and for what a missed wake-up would leave waiting.
const POLL: Duration = Duration::from_secs(1);
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
    /// How long [`perform`](Self::perform) may take; `None` where it keeps a deadline of its own. The lease must be longer, by at
    /// least what settling takes.
    const DEADLINE: Option<Duration>;
    /// Items at work at once, those that take longer than [`PATIENCE`](Self::PATIENCE) not counted.
    const CONCURRENCY: usize = 64;
    /// Items at work at once, counted all: what a partner that hangs can pile up.
    const CEILING: usize = 1024;
    /// After this long an item gives its place to the next, so that a partner that hangs for some does not hold up others.
    const PATIENCE: Duration = Duration::from_millis(250);

    /// When the next item falls due; `None` when nothing waits. A cheap read.
    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, Failure>> + Send;

    /// Claims at most `limit` items that are due at `now`, in one short transaction: nobody else gets them before their
    /// lease is over.
    fn claim(&self, now: Timestamp, limit: usize) -> impl Future<Output = Result<Taken<Self::Item>, Failure>> + Send;

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

    /// What was claimed ahead and may be begun now, at most `limit`; and whether another claim is worth while. Most queues give all
    /// that they claim at once.
    fn at_hand(&self, limit: usize) -> Taken<Self::Item> {
        let _ = limit;
        Taken { items: Vec::new(), more: false, next: None }
    }

    /// Done when it is worth while to ask for what is [at hand](Self::at_hand), though nothing has been claimed; by itself never.
    fn room(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Gives back what was claimed and is not under way, now that nothing will be begun any more; once more when all has ended.
    fn release(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

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
    /// When more falls due, if that is known and in future.
    pub next: Option<Timestamp>,
}

impl<T> Taken<T> {
    /// What a claim of at most `limit` gave.
    pub fn of(items: Vec<T>, limit: usize) -> Self {
        Self { more: items.len() >= limit, items, next: None }
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
}

impl Engine {
    /// An engine that claims until `stop` is done.
    pub fn new(store: Store, clock: Clock, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { store, clock, stop: stop.boxed().shared() }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Works on a queue until told to stop, then finishes what it has claimed.
    pub async fn run<Q: Queue>(self, queue: Q) {
        let queue = Arc::new(queue);
        tokio::join!(self.pump(&queue), self.measure(&*queue));
    }

    /// Waits that long. `false` when told to stop.
    pub(super) async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.clone() => false,
            () = self.clock.sleep(wait) => true,
        }
    }

    async fn pump<Q: Queue>(&self, queue: &Arc<Q>) {
        let at_work = AtWork::new(Arc::clone(queue), self.clock.clone());
        let mut commits = self.store.committed();
        let mut more = false;
        while self.stop.clone().now_or_never().is_none() {
            // Before looking: what is committed while we look wakes us again.
            commits.mark_unchanged();
            let found = {
                let mut claim = pin!(self.claim(&**queue, at_work.free(), more));
                loop {
                    tokio::select! {
                        biased;
                        found = claim.as_mut() => break found,
                        // What was claimed before goes on meanwhile.
                        () = at_work.room() => {
                            at_work.begin_at_hand();
                            // A queue that is told of room all the time must not keep the claim from its turn.
                            tokio::task::yield_now().await;
                        }
                    }
                }
            };
            at_work.begin(found.items);
            more = at_work.begin_at_hand() || found.more;
            loop {
                tokio::select! {
                    biased;
                    () = self.stop.clone() => break,
                    // When more is waiting, the next claim is worth while once half of the places are free.
                    () = at_work.half_free(), if more => break,
                    // The store lives as long as this engine: the channel is not closed.
                    _ = commits.changed(), if !more => break,
                    () = at_work.room() => {
                        if at_work.begin_at_hand() && !more {
                            more = true;
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    () = self.clock.sleep_until(found.again), if !more => break,
                }
            }
        }
        release(&**queue).await;
        at_work.ended().await;
        release(&**queue).await;
    }

    /// Claims if anything is due; without looking first if the last claim left something.
    async fn claim<Q: Queue>(&self, queue: &Q, free: usize, left: bool) -> Found<Q::Item> {
        let now = self.clock.now();
        let idle = |again| Found { items: Vec::new(), more: false, again };
        let found = async {
            let due = if left { Some(now) } else { queue.next_due().await? };
            match due {
                Some(due) if due <= now && free > 0 => {
                    let Taken { items, more, next } = queue.claim(now, free).await?;
                    Ok(Found { items, more, again: next.map_or(now + POLL, |next| next.min(now + POLL)) })
                }
                Some(due) if due <= now => Ok(Found { more: true, ..idle(now) }),
                Some(due) => Ok(idle(due.min(now + POLL))),
                None => Ok(idle(now + POLL)),
            }
        };
        found.await.unwrap_or_else(|error: Failure| {
            tracing::warn!(queue = Q::NAME, %error, "cannot claim work");
            idle(now + POLL)
        })
    }

    async fn measure<Q: Queue>(&self, queue: &Q) {
        while self.pause(MEASURE).await {
            match queue.backlog().await {
                Ok(backlog) => {
                    let lag = backlog.due.map_or(0.0, |due| self.clock.now().since(due).as_secs_f64());
                    gauge!("worker_queue_depth", "queue" => Q::NAME).set(backlog.waiting as f64);
                    gauge!("worker_queue_lag_seconds", "queue" => Q::NAME).set(lag);
                }
                Err(error) => tracing::warn!(queue = Q::NAME, %error, "cannot measure the backlog"),
            }
        }
    }
}

async fn release<Q: Queue>(queue: &Q) {
    if let Err(error) = queue.release().await {
        tracing::warn!(queue = Q::NAME, %error, "cannot give back what was claimed: it is taken up again when its lease is over");
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
}

impl<Q: Queue> AtWork<Q> {
    fn new(queue: Arc<Q>, clock: Clock) -> Self {
        let [places, all] = [Q::CONCURRENCY, Q::CEILING].map(|count| Arc::new(Semaphore::new(count)));
        Self { queue, clock, places, all, tasks: TaskTracker::new() }
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

    /// Done when there is [room](Queue::room), and a place.
    async fn room(&self) {
        let _ = self.places.acquire().await;
        let _ = self.all.acquire().await;
        self.queue.room().await;
    }

    fn begin(&self, items: Vec<Q::Item>) {
        for item in items {
            // Only the pump takes places: there is one for each of them.
            let places = [&self.places, &self.all].map(|places| Arc::clone(places).try_acquire_owned());
            if let [Ok(place), Ok(of_all)] = places {
                let work = work(Arc::clone(&self.queue), self.clock.clone(), item, place);
                self.tasks.spawn(async move {
                    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                        tracing::error!(
                            queue = Q::NAME,
                            "the worker broke off: the item is taken up again when its lease is over"
                        );
                    }
                    drop(of_all);
                });
            }
        }
    }

    /// Whether another claim is worth while.
    fn begin_at_hand(&self) -> bool {
        let Taken { items, more, .. } = self.queue.at_hand(self.free());
        self.begin(items);
        more
    }

    /// Done when all that was begun has ended.
    async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Found<T> {
    items: Vec<T>,
    /// Whether there may be more that is due.
    more: bool,
    /// When to look again at the latest.
    again: Timestamp,
}

async fn work<Q: Queue>(queue: Arc<Q>, clock: Clock, item: Q::Item, place: OwnedSemaphorePermit) {
    let began = clock.monotonic();
    let done = match Q::DEADLINE {
        Some(deadline) => in_time::<Q>(&*queue, &clock, (&item, deadline), place).await,
        None => Some(queue.perform(&item).await),
    };
    let outcome = queue.settle(item, done).await.unwrap_or_else(|error| {
        tracing::warn!(queue = Q::NAME, %error, "cannot settle: the item is taken up again when its lease is over");
        "unsettled"
    });
    counter!("worker_items_total", "queue" => Q::NAME, "outcome" => outcome).increment(1);
    let took = clock.monotonic().saturating_sub(began);
    histogram!("worker_item_duration_seconds", "queue" => Q::NAME).record(took.as_secs_f64());
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
