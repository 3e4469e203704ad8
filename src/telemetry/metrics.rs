//! Numbers for Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::clock::Clock;

/// Upper bounds of the duration histograms, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The recorder belongs to the process, however many services a test starts in it.
static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// The process's metrics. Whatever is recorded with the `metrics` macros ends up here.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    clock: Clock,
}

impl Metrics {
    /// Starts recording, if nobody has.
    pub fn install(clock: Clock) -> Self {
        let handle = INSTALLED.get_or_init(|| {
            let recorder = recorder();
            let handle = recorder.handle();
            if let Err(error) = metrics::set_global_recorder(recorder) {
                tracing::warn!(%error, "metrics are recorded elsewhere: /metrics stays empty");
            }
            describe();
            handle
        });
        Self { handle: handle.clone(), clock }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        gauge!("process_uptime_seconds").set(self.clock.monotonic().as_secs_f64());
        if let Some(bytes) = resident() {
            gauge!("process_resident_memory_bytes").set(bytes);
        }
        self.handle.render()
    }

    /// Folds recorded durations into their buckets every five seconds, so that memory does not grow where nobody
    /// scrapes. Runs until dropped.
    pub async fn upkeep(self) {
        loop {
            self.clock.sleep(Duration::from_secs(5)).await;
            self.handle.run_upkeep();
        }
    }
}

/// A recorder whose histograms named `…_seconds` have buckets.
pub(super) fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new();
    // Refused only for an empty list of buckets.
    let bucketed = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS);
    bucketed.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder()
}

fn describe() {
    describe_counter!("http_requests_total", "REST requests by route, method and status");
    describe_histogram!("http_request_duration_seconds", "Time until the response was complete");
    describe_gauge!("http_requests_in_flight", "REST requests without a complete response");
    describe_counter!("grpc_requests_total", "RPCs by name and status code, in process ones included");
    describe_histogram!("grpc_request_duration_seconds", "Time until the status was sent");
    describe_gauge!("grpc_requests_in_flight", "RPCs without a status");
    describe_gauge!("worker_queue_depth", "Items waiting, by queue; counting stops at some thousands");
    describe_gauge!(
        "worker_queue_lag_seconds",
        "How long the first waiting item has been due, by queue; of tasks also since the first that waits for another try was written"
    );
    describe_gauge!(
        "screening_lists_outdated",
        "1 while other screening lists than this node's are in force, so that it screens nobody; else 0"
    );
    describe_gauge!("screening_list_age_seconds", "How old the list in force is, by the time of its file");
    describe_counter!(
        "screening_list_reload_failures_total",
        "Tries to read a changed list that failed: the old one stays in force"
    );
    describe_counter!("worker_items_total", "Items settled, by queue and outcome");
    describe_histogram!("worker_item_duration_seconds", "From the claim of an item to its settlement, by queue");
    describe_counter!("worker_swept_rows_total", "Expired rows removed");
    describe_counter!("webhook_attempts_total", "Attempts to deliver, by outcome: delivered, retry or dead");
    describe_histogram!("webhook_attempt_duration_seconds", "From the beginning of an attempt to its end");
    describe_histogram!("webhook_first_attempt_lag_seconds", "From the event to the first attempt");
    describe_gauge!("webhook_deliveries_pending", "Deliveries to be sent, or sent again");
    describe_gauge!("webhook_deliveries_dead", "Deliveries given up, which can be replayed");
    describe_gauge!("store_connections", "Connections to the database");
    describe_gauge!("store_connections_idle", "Those that nobody uses");
    describe_gauge!("store_waiting", "Callers that wait for a connection, or on SQLite to write");
    describe_counter!("store_transactions_total", "Transactions committed");
    describe_counter!("store_commits_total", "Commits synced to disk for them");
    describe_gauge!("store_wal_bytes", "Size of SQLite's write-ahead log");
    describe_gauge!("process_uptime_seconds", "Time since start");
    describe_gauge!("process_resident_memory_bytes", "Memory resident (Linux)");
}

/// `VmRSS` of `/proc/self/status`, where there is one.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn rendered() {
        let recorder = recorder();
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        let metrics = Metrics { handle: recorder.handle(), clock: clock.clone() };
        clock.advance(Duration::from_millis(1500));
        let text = metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("x_seconds").record(0.003);
            metrics.render()
        });
        assert!(text.contains("process_uptime_seconds 1.5\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"0.0025\"} 0\nx_seconds_bucket{le=\"0.005\"} 1\n"), "{text}");
        if cfg!(target_os = "linux") {
            assert!(resident().unwrap() > 1_000_000.0);
        }
    }
}
