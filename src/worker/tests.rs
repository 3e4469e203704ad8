//! The engine, with work that exists in memory only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

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

    fn id(item: &u32) -> Uuid {
        Uuid::from_u128((*item).into())
    }

    async fn give_back(&self, _: Uuid, _: &[Uuid]) -> Result<(), Failure> {
        Ok(())
    }

    async fn claim(&self, _: Uuid, _: Timestamp, limit: usize) -> Result<Taken<u32>, Failure> {
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
        let running = tokio::spawn(async move { engine.live(engine.clone().run(queue)).await });
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
