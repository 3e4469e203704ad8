//! A clock that a test moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::domain::Timestamp;

pub(super) struct Manual {
    start: Timestamp,
    now: watch::Sender<Timestamp>,
    seed: u64,
    drawn: AtomicU64,
}

impl Manual {
    pub(super) fn new(start: Timestamp, seed: u64) -> Self {
        Self { start, now: watch::Sender::new(start), seed, drawn: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now().since(self.start)
    }

    pub(super) fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = *now + by);
    }

    /// The hash of seed and a counter, block by block.
    pub(super) fn fill(&self, bytes: &mut [u8]) {
        for block in bytes.chunks_mut(32) {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let hash = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(drawn.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
        }
    }

    pub(super) async fn sleep_until(&self, moment: Timestamp) {
        // The sender lives as long as `self`: the wait ends only when the moment has come.
        let _ = self.now.subscribe().wait_for(|now| *now >= moment).await;
    }

    pub(super) async fn sleep_to(&self, deadline: Duration) {
        self.sleep_until(self.start + deadline).await;
    }
}
