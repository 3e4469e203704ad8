//! What is noted of one request, when it is over.

use std::borrow::Cow;
use std::time::Duration;

use metrics::{SharedString, counter, gauge, histogram};
use tracing::Span;

use super::observe::Door;
use crate::clock::Clock;

/// One request under way. Ends once: by [`Record::end`], or given up when dropped before.
pub(super) struct Record {
    pub(super) door: Door,
    pub(super) clock: Clock,
    pub(super) begun: Duration,
    /// The route's pattern, or the RPC's name.
    pub(super) route: SharedString,
    /// The HTTP method.
    pub(super) method: &'static str,
    pub(super) span: Span,
    pub(super) over: bool,
}

impl Record {
    /// Counts it in.
    pub(super) fn begin(self) -> Self {
        gauge!(self.door.in_flight()).increment(1.0);
        self
    }

    /// It is over, with this status: HTTP's number or gRPC's name.
    pub(super) fn end(&mut self, status: Cow<'static, str>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        gauge!(self.door.in_flight()).decrement(1.0);
        let taken = self.clock.monotonic().saturating_sub(self.begun);
        let (seconds, route) = (taken.as_secs_f64(), self.route.clone());
        match self.door {
            Door::Http => {
                counter!("http_requests_total", "method" => self.method, "route" => route, "status" => status.clone())
                    .increment(1);
                histogram!("http_request_duration_seconds", "method" => self.method, "route" => self.route.clone())
                    .record(seconds);
            }
            Door::Grpc | Door::InProcess => {
                counter!("grpc_requests_total", "rpc" => route, "code" => status.clone()).increment(1);
                histogram!("grpc_request_duration_seconds", "rpc" => self.route.clone()).record(seconds);
            }
        }
        self.log(&status, taken);
    }

    fn log(&self, status: &str, taken: Duration) {
        // Whole microseconds, and no digits behind them.
        let latency_ms = (taken.as_secs_f64() * 1e6).round() / 1e3;
        let (method, route) = (self.method, &*self.route);
        match self.door {
            Door::Http => {
                tracing::info!(target: "customerd::access", parent: &self.span, method, route, status, latency_ms, "request");
            }
            Door::Grpc => {
                tracing::info!(target: "customerd::access", parent: &self.span, rpc = route, status, latency_ms, "request");
            }
            Door::InProcess => {
                tracing::debug!(target: "customerd::access", parent: &self.span, rpc = route, status, latency_ms, "request");
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Cow::Borrowed(self.door.given_up()));
    }
}
