//! What the application sets once.

use std::time::Duration;

use http::HeaderName;

/// Limits and header lists of a bridge.
#[derive(Debug, Clone)]
pub struct Options {
    /// Largest request body in bytes; reading stops there. Default: 1 MiB.
    pub body_limit: usize,
    /// Deadline of each unary call, sent as `grpc-timeout` and kept here too. A shorter `Request-Timeout` (seconds) or
    /// `Grpc-Timeout` header of the client wins. Default: none.
    pub deadline: Option<Duration>,
    /// Request headers that become metadata; no other does. Default: `authorization`, `x-request-id`, `traceparent`,
    /// `tracestate`, `idempotency-key`, `accept-language`.
    pub forward: Vec<HeaderName>,
    /// Response metadata, of answers and of errors, that becomes headers; no other does. Default: `idempotent-replayed`,
    /// `retry-after`, `ratelimit`, `ratelimit-policy`, `x-request-id`, `traceparent`.
    pub reply: Vec<HeaderName>,
    /// After how much silence a stream shows that it is alive: SSE by a comment, NDJSON by an empty line. Default: 12 s, so
    /// that a watcher who allows 15 s never sees them pass.
    pub keep_alive: Duration,
    /// The `domain` of the `ErrorInfo` of requests that do not decode. Default: `rest-bridge`.
    pub error_domain: String,
}

impl Default for Options {
    fn default() -> Self {
        let names = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect();
        Self {
            body_limit: 1024 * 1024,
            deadline: None,
            forward: names(&[
                "authorization",
                "x-request-id",
                "traceparent",
                "tracestate",
                "idempotency-key",
                "accept-language",
            ]),
            reply: names(&[
                "idempotent-replayed",
                "retry-after",
                "ratelimit",
                "ratelimit-policy",
                "x-request-id",
                "traceparent",
            ]),
            keep_alive: Duration::from_secs(12),
            error_domain: "rest-bridge".to_owned(),
        }
    }
}
