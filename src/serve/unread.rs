//! How much of responses is in memory because their readers have not taken it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use tokio::sync::Notify;

/// Of all connections of a listener.
#[derive(Debug)]
pub(super) struct Unread {
    limit: i64,
    bytes: AtomicI64,
    exceeded: Notify,
}

/// Of one connection.
#[derive(Debug)]
pub(super) struct Account {
    bytes: AtomicI64,
    listener: Arc<Unread>,
}

impl Unread {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Arc::new(Self { limit, bytes: AtomicI64::new(0), exceeded: Notify::new() })
    }

    /// Whether so many bytes are too many.
    pub(super) fn is_exceeded_by(&self, bytes: i64) -> bool {
        bytes > self.limit
    }

    /// Waits until there is more than may be.
    pub(super) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}

impl Account {
    pub(super) fn new(listener: Arc<Unread>) -> Self {
        Self { bytes: AtomicI64::new(0), listener }
    }

    pub(super) fn add(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.fetch_add(bytes, Relaxed);
        let before = self.listener.bytes.fetch_add(bytes, Relaxed);
        if self.listener.is_exceeded_by(before.saturating_add(bytes)) {
            self.listener.exceeded.notify_one();
        }
    }

    pub(super) fn subtract(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.fetch_sub(bytes, Relaxed);
        self.listener.bytes.fetch_sub(bytes, Relaxed);
    }

    /// What this connection has. Less than nothing for the moment in which one thread subtracts what another is about to add.
    pub(super) fn bytes(&self) -> i64 {
        self.bytes.load(Relaxed)
    }
}
