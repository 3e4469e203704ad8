//! How busy the store is, for `/metrics`.

use std::time::Duration;

use metrics::{counter, gauge};

use crate::clock::Clock;
use crate::store::Store;

/// Keeps the numbers at most five seconds old. Runs until dropped.
pub(super) async fn run(store: Store, clock: Clock) {
    loop {
        let stats = store.stats();
        gauge!("store_connections").set(f64::from(stats.connections));
        gauge!("store_connections_idle").set(f64::from(stats.idle));
        gauge!("store_waiting").set(stats.waiting as f64);
        if let Some(bytes) = store.wal_bytes() {
            gauge!("store_wal_bytes").set(bytes as f64);
        }
        counter!("store_transactions_total").absolute(stats.transactions);
        counter!("store_commits_total").absolute(stats.commits);
        clock.sleep(Duration::from_secs(5)).await;
    }
}
