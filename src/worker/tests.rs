//! The engine, with work that exists in memory only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Backlog, Engine, Failure, Queue, Taken};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::{Store, StoreOptions};

/// An item that never ends.
const HANGS: u32 = 0;
/// How long it may.
const LONG: Duration = Duration::from_hours(10_000);

struct Fake {
    waiting: Arc<Mutex<VecDeque<u32>>>,
    clock: Clock,
    settled: mpsc::UnboundedSender<(u32, bool)>,
}

impl Queue for Fake {
    type Item = u32;
    type Done = ();

    const NAME: &'static str = "fake";
    const DEADLINE: Option<Duration> = Some(LONG);
    const CONCURRENCY: usize = 2;

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        Ok((!self.waiting.lock().unwrap().is_empty()).then(|| self.clock.now()))
    }

    async fn claim(&self, _: Timestamp, limit: usize) -> Result<Taken<u32>, Failure> {
        let mut waiting = self.waiting.lock().unwrap();
        let count = limit.min(waiting.len());
        Ok(Taken::of(waiting.drain(..count).collect(), limit))
    }

    async fn perform(&self, item: &u32) {
        if *item == HANGS {
            std::future::pending::<()>().await;
        }
    }

    async fn settle(&self, item: u32, done: Option<()>) -> Result<&'static str, Failure> {
        self.settled.send((item, done.is_some()))?;
        Ok("done")
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        Ok(Backlog::default())
    }
}

struct Scene {
    clock: Clock,
    store: Store,
    waiting: Arc<Mutex<VecDeque<u32>>>,
    settled: mpsc::UnboundedReceiver<(u32, bool)>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn with(items: &[u32]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        let waiting = Arc::new(Mutex::new(VecDeque::from(items.to_vec())));
        let (sender, settled) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let engine = Engine::new(store.clone(), clock.clone(), async {
            let _ = stopped.await;
        });
        let queue = Fake { waiting: Arc::clone(&waiting), clock: clock.clone(), settled: sender };
        let running = tokio::spawn(engine.run(queue));
        Self { clock, store, waiting, settled, stop, running, _directory: directory }
    }

    /// The next item that is settled, while time goes by in such steps.
    async fn next(&mut self, step: Duration) -> (u32, bool) {
        loop {
            tokio::select! {
                biased;
                settled = self.settled.recv() => return settled.unwrap(),
                () = tokio::task::yield_now() => self.clock.advance(step),
            };
        }
    }
}

#[tokio::test]
async fn what_hangs_gives_its_place_away_until_its_deadline() {
    let mut scene = Scene::with(&[HANGS, HANGS, 1, 2, 3]).await;
    let mut quick = Vec::new();
    for _ in 0..3 {
        quick.push(scene.next(Duration::from_millis(50)).await);
    }
    quick.sort_unstable();
    assert_eq!(quick, [(1, true), (2, true), (3, true)]);
    assert!(scene.clock.monotonic() < LONG);
    for _ in 0..2 {
        assert_eq!(scene.next(LONG).await, (HANGS, false));
    }
}

#[tokio::test]
async fn work_that_is_committed_wakes_the_engine() {
    let mut scene = Scene::with(&[]).await;
    // The engine has looked and sleeps: time stands still from here on.
    tokio::task::yield_now().await;
    scene.waiting.lock().unwrap().push_back(7);
    let mut tx = scene.store.begin().await.unwrap();
    tx.leaves_work();
    tx.commit().await.unwrap();
    assert_eq!(scene.settled.recv().await, Some((7, true)));
    assert_eq!(scene.clock.monotonic(), Duration::ZERO);
}

#[tokio::test]
async fn after_the_stop_what_is_held_is_finished_and_nothing_is_claimed() {
    let mut scene = Scene::with(&[HANGS, HANGS, 1]).await;
    while scene.waiting.lock().unwrap().len() > 1 {
        tokio::task::yield_now().await;
    }
    scene.stop.send(()).unwrap();
    while !scene.running.is_finished() {
        scene.clock.advance(LONG);
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.settled.recv().await, Some((HANGS, false)));
    assert_eq!(scene.settled.recv().await, Some((HANGS, false)));
    assert_eq!(scene.settled.recv().await, None);
    assert_eq!(*scene.waiting.lock().unwrap(), [1]);
}

/// Claims two at a time, and begins one after another.
struct Ahead {
    waiting: Mutex<VecDeque<u32>>,
    line: Mutex<VecDeque<u32>>,
    room: Notify,
    clock: Clock,
    done: mpsc::UnboundedSender<String>,
    /// A claim takes until then.
    claims: tokio::sync::Semaphore,
    /// How often it was asked for what is at hand when nothing could be begun.
    vain: AtomicUsize,
}

impl Queue for Arc<Ahead> {
    type Item = u32;
    type Done = ();

    const NAME: &'static str = "ahead";
    const DEADLINE: Option<Duration> = Some(LONG);
    const CONCURRENCY: usize = 2;

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        Ok((!self.waiting.lock().unwrap().is_empty()).then(|| self.clock.now()))
    }

    async fn claim(&self, _: Timestamp, _: usize) -> Result<Taken<u32>, Failure> {
        self.claims.acquire().await?.forget();
        let claimed: Vec<_> = { self.waiting.lock().unwrap().drain(..2).collect() };
        self.done.send(format!("claimed {claimed:?}"))?;
        self.line.lock().unwrap().extend(claimed);
        Ok(Taken { items: Vec::new(), more: false, next: None })
    }

    fn at_hand(&self, limit: usize) -> Taken<u32> {
        let mut line = self.line.lock().unwrap();
        if limit == 0 {
            // There is room as far as this queue is concerned.
            self.vain.fetch_add(1, Ordering::Relaxed);
            self.room.notify_one();
            return Taken { items: Vec::new(), more: false, next: None };
        }
        let items: Vec<_> = line.pop_front().into_iter().collect();
        Taken { items, more: line.is_empty() && !self.waiting.lock().unwrap().is_empty(), next: None }
    }

    async fn room(&self) {
        self.room.notified().await;
    }

    async fn release(&self) -> Result<(), Failure> {
        Ok(self.done.send(format!("released {:?}", self.line.lock().unwrap()))?)
    }

    async fn perform(&self, item: &u32) {
        if *item == HANGS {
            std::future::pending::<()>().await;
        }
    }

    async fn settle(&self, item: u32, _: Option<()>) -> Result<&'static str, Failure> {
        self.done.send(format!("settled {item}"))?;
        self.room.notify_one();
        Ok("done")
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        Ok(Backlog::default())
    }
}

struct AheadScene {
    queue: Arc<Ahead>,
    story: mpsc::UnboundedReceiver<String>,
    clock: Clock,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl AheadScene {
    /// One claim may be made.
    async fn with(items: &[u32]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        let (done, story) = mpsc::unbounded_channel();
        let queue = Arc::new(Ahead {
            waiting: Mutex::new(items.iter().copied().collect()),
            line: Mutex::default(),
            room: Notify::new(),
            clock: clock.clone(),
            done,
            claims: tokio::sync::Semaphore::new(1),
            vain: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let engine = Engine::new(store, clock.clone(), async {
            let _ = stopped.await;
        });
        let running = tokio::spawn(engine.run(Arc::clone(&queue)));
        Self { queue, story, clock, stop, running, _directory: directory }
    }

    async fn next(&mut self) -> String {
        self.story.recv().await.unwrap()
    }
}

#[tokio::test]
async fn what_is_claimed_ahead_goes_on_during_the_next_claim_and_is_given_back_at_the_end() {
    let mut scene = AheadScene::with(&[1, 2, 3, 4, 5, 6]).await;
    assert_eq!(scene.next().await, "claimed [1, 2]");
    assert_eq!(scene.next().await, "settled 1");
    // The second begins the next claim, which is not made yet.
    assert_eq!(scene.next().await, "settled 2");
    scene.queue.line.lock().unwrap().push_back(7);
    scene.queue.room.notify_one();
    assert_eq!(scene.next().await, "settled 7");
    let (queue, mut story) = (scene.queue, scene.story);
    let mut next = async || story.recv().await.unwrap();
    scene.stop.send(()).unwrap();
    queue.claims.add_permits(1);
    assert_eq!(next().await, "claimed [3, 4]");
    assert_eq!(next().await, "released [4]");
    assert_eq!(next().await, "settled 3");
    scene.running.await.unwrap();
    assert_eq!(*queue.waiting.lock().unwrap(), [5, 6]);
}

#[tokio::test]
async fn a_full_engine_does_not_ask_over_and_over() {
    let mut scene = AheadScene::with(&[HANGS, HANGS]).await;
    assert_eq!(scene.next().await, format!("claimed [{HANGS}, {HANGS}]"));
    for _ in 0..100 {
        scene.queue.room.notify_one();
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.queue.vain.load(Ordering::Relaxed), 0);
    scene.stop.send(()).unwrap();
    while !scene.running.is_finished() {
        scene.clock.advance(LONG);
        tokio::task::yield_now().await;
    }
}
