//! How much a listener takes on.

use std::time::Duration;

/// Sizes, times and counts of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest header list, in bytes; answered 431 beyond it. At least 8 KiB: hyper's smallest read buffer.
    pub header_bytes: usize,
    /// Time to read a request's headers, from its first byte on HTTP/1, from the connection's start for its first request.
    pub header_timeout: Duration,
    /// Time a connection may go without a byte in either direction.
    pub idle_timeout: Duration,
    /// Time by which a peer may be behind [`RESPONSE_RATE`] with a response; then it gets GOAWAY, and is closed after
    /// the same time again.
    pub stall_timeout: Duration,
    /// Responses of one connection that may be stalled at once; with more it is cut.
    pub stalled_responses: usize,
    /// Open connections. With one more, an idle one of the client that holds most gives way, else one that waits for nothing
    /// but its peer, or the new one is refused.
    pub connections: usize,
    /// Concurrent HTTP/2 streams per connection.
    pub streams: u32,
    /// Requests being answered at once, those whose body is still arriving not counted; more are shed.
    pub requests: usize,
    /// Bytes of request bodies in memory, arriving or being answered.
    pub body_bytes: usize,
    /// Bytes of the longest gRPC message that is read.
    pub message_bytes: usize,
    /// Bytes of responses in memory that their readers have not taken. With more, the connection with most of them, of the
    /// client with most, is cut.
    pub response_bytes: usize,
    /// Percent of `requests`, `body_bytes` and `connections` that one client may take.
    pub client_share: usize,
    /// In each such span a request's body must be complete or bring [`BODY_RATE`] bytes a second.
    pub body_timeout: Duration,
    /// Time until a response must begin, once the request is complete.
    pub request_deadline: Duration,
    /// Time that requests in flight get when the listener stops.
    pub shutdown_grace: Duration,
    /// Time for the TLS handshake.
    pub tls_timeout: Duration,
}

/// Bytes a second that a request's body must bring, so that who sends slowly but steadily is left alone.
pub const BODY_RATE: usize = 1024;

/// Bytes a second that a response's reader must take, for the same reason.
pub const RESPONSE_RATE: u64 = 128;

impl Limits {
    /// One client's share of a whole, at least 1.
    pub(super) fn share(&self, whole: usize) -> usize {
        (whole / 100 * self.client_share + whole % 100 * self.client_share / 100).max(1)
    }
}

/// How much of a listener's budget is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests being answered.
    pub slots: usize,
    /// Bodies in memory, in whole or in part.
    pub bodies: usize,
    /// What they take in bytes.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            stalled_responses: 8,
            connections: 4096,
            streams: 256,
            requests: 1024,
            body_bytes: 64 * 1024 * 1024,
            message_bytes: 1024 * 1024 + 2 * 16 * 1024,
            response_bytes: 32 * 1024 * 1024,
            client_share: 25,
            body_timeout: Duration::from_secs(15),
            request_deadline: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(25),
            tls_timeout: Duration::from_secs(10),
        }
    }
}
