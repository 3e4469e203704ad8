//! How much the service takes on.

use std::time::Duration;

use super::{ByteSize, ClientArgs, RateLimit, Span};
use crate::serve::Limits;

/// Sizes, times and counts of the two listeners.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Largest request body
    #[arg(long, env = "CUSTOMERD_BODY_LIMIT", value_name = "SIZE", default_value = "1MiB")]
    pub body_limit: ByteSize,

    /// Largest list of request headers (at least 8KiB; gRPC takes 64KiB at least, for what a REST front carries)
    #[arg(long, env = "CUSTOMERD_HEADER_LIMIT", value_name = "SIZE", default_value = "16KiB", value_parser = header_limit)]
    pub header_limit: ByteSize,

    /// Request bodies in memory at once, over both listeners (half for each); more are answered 503 with Retry-After
    #[arg(long, env = "CUSTOMERD_BODY_MEMORY", value_name = "SIZE", default_value = "64MiB")]
    pub body_memory: ByteSize,

    /// In each such span a request's body must be complete or bring 1KiB for each second; else 408
    #[arg(long, env = "CUSTOMERD_BODY_TIMEOUT", value_name = "TIME", default_value = "15s")]
    pub body_timeout: Span,

    /// Requests in flight at once, for each listener; one whose body is not complete is not counted; more are answered 503
    /// with Retry-After
    #[arg(long, env = "CUSTOMERD_MAX_CONCURRENT_REQUESTS", value_name = "N", default_value = "1024",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_concurrent_requests: u32,

    /// Open connections per listener; with one more, one that is idle, or waits for nothing but its peer, gives way, of the
    /// client that holds most, or the new one is refused
    #[arg(long, env = "CUSTOMERD_MAX_CONNECTIONS", value_name = "N", default_value = "4096",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Concurrent HTTP/2 streams per connection; those of trusted proxies and REST fronts have no limit
    #[arg(long, env = "CUSTOMERD_MAX_STREAMS", value_name = "N", default_value = "256",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// Event streams that one programme may follow on this node at once (operators' apart); more are answered 429
    #[arg(long, env = "CUSTOMERD_MAX_EVENT_STREAMS", value_name = "N", default_value = "100",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_event_streams: u32,

    /// Time to read a request's headers
    #[arg(long, env = "CUSTOMERD_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub header_timeout: Span,

    /// Time until a complete request must be answered; a stream's time until it begins
    #[arg(long, env = "CUSTOMERD_REQUEST_DEADLINE", value_name = "TIME", default_value = "30s")]
    pub request_deadline: Span,

    /// Time a connection may be silent
    #[arg(long, env = "CUSTOMERD_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s")]
    pub idle_timeout: Span,

    /// After SIGTERM, time in which the node is not ready (/readyz, gRPC health) but still accepts, so that load balancers
    /// notice before its listeners close; a second signal ends it
    #[arg(long, env = "CUSTOMERD_DRAIN_DELAY", value_name = "TIME", default_value = "0s", value_parser = Span::or_none)]
    pub drain_delay: Span,

    /// Time that requests in flight get once the listeners are closed, after SIGTERM and --drain-delay
    #[arg(long, env = "CUSTOMERD_SHUTDOWN_GRACE", value_name = "TIME", default_value = "25s")]
    pub shutdown_grace: Span,

    /// Requests per programme and window, such as 100/1s [default: no limit]
    #[arg(long, env = "CUSTOMERD_RATE_LIMIT", value_name = "N/TIME")]
    pub rate_limit: Option<RateLimit>,
}

impl LimitArgs {
    /// The longest message that the services read: a body as long as may be, or a partner's callback with its headers.
    pub fn message_limit(&self) -> usize {
        const CALLBACK: usize = 1 << 20;
        self.body_limit.0.max(CALLBACK) + 2 * self.header_limit.0
    }

    /// As the listeners take them together.
    pub fn limits(&self, clients: &ClientArgs) -> Limits {
        Limits {
            header_bytes: self.header_limit.0,
            header_timeout: self.header_timeout.0,
            idle_timeout: self.idle_timeout.0,
            stall_timeout: Duration::from_secs(30),
            stalled_responses: 8,
            connections: self.max_connections as usize,
            streams: self.max_streams,
            requests: self.max_concurrent_requests as usize,
            body_bytes: self.body_memory.0,
            message_bytes: self.message_limit(),
            response_bytes: 32 * 1024 * 1024,
            client_share: clients.client_share.0.into(),
            body_timeout: self.body_timeout.0,
            request_deadline: self.request_deadline.0,
            shutdown_grace: self.shutdown_grace.0,
            tls_timeout: Duration::from_secs(10),
        }
    }
}

/// hyper reads HTTP/1 headers into a buffer that it cannot make smaller than 8 KiB.
fn header_limit(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size.0 < 8192 { Err("want at least 8KiB".to_owned()) } else { Ok(size) }
}
