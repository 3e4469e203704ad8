//! A clock that a test moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::domain::Timestamp;

pub(super) struct Manual {
    now: watch::Sender<Now>,
    seed: u64,
    drawn: AtomicU64,
}

#[derive(Clone, Copy)]
struct Now {
    wall: Timestamp,
    monotonic: Duration,
}

impl Manual {
    pub(super) fn new(start: Timestamp, seed: u64) -> Self {
        let now = Now { wall: start, monotonic: Duration::ZERO };
        Self { now: watch::Sender::new(now), seed, drawn: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now.borrow().wall
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.borrow().monotonic
    }

    pub(super) fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = Now { wall: now.wall + by, monotonic: now.monotonic + by });
    }

    pub(super) fn set(&self, wall: Timestamp) {
        self.now.send_modify(|now| now.wall = wall);
    }

    /// The hash of seed and a counter, block by block.
    pub(super) fn fill(&self, bytes: &mut [u8]) {
        for block in bytes.chunks_mut(32) {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let hash = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(drawn.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
        }
    }

    /// Waits for the monotonic time.
    pub(super) async fn sleep_to(&self, deadline: Duration) {
        // The sender lives as long as `self`: the wait ends only when the time has come.
        let _ = self.now.subscribe().wait_for(|now| now.monotonic >= deadline).await;
    }
}
