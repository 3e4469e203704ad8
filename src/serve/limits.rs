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
    /// Open connections; more wait in the kernel's accept queue.
    pub connections: usize,
    /// Concurrent HTTP/2 streams per connection.
    pub streams: u32,
    /// Requests at work at once; more are shed.
    pub requests: usize,
    /// Time until a response must begin.
    pub request_deadline: Duration,
    /// Time that requests in flight get when the listener stops.
    pub shutdown_grace: Duration,
    /// Time for the TLS handshake.
    pub tls_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            connections: 4096,
            streams: 256,
            requests: 1024,
            request_deadline: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(25),
            tls_timeout: Duration::from_secs(10),
        }
    }
}
