//! Reading a request's body, and no more of it than the limit.

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt as _;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};

use crate::fail::refusal;
use crate::gate::reason;

/// How often the connection gets its turn to deliver a body that came with the headers.
const TURNS: usize = 3;

/// A body on its way in.
pub(crate) struct Reader {
    body: Body,
    limit: usize,
    /// One frame, the usual case, is not copied.
    first: Bytes,
    whole: Vec<u8>,
}

impl Reader {
    /// Refuses what says that it is too long before any of it is read.
    pub(crate) fn new(body: Body, limit: usize) -> Result<Self, Status> {
        let reader = Self { body, limit, first: Bytes::new(), whole: Vec::new() };
        if reader.body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(reader.too_large());
        }
        Ok(reader)
    }

    /// Whether there is a body, as far as the headers tell.
    pub(crate) fn announced(&self) -> Option<bool> {
        if self.body.is_end_stream() { Some(false) } else { (self.body.size_hint().lower() > 0).then_some(true) }
    }

    /// Waits for the first byte, or for the end of a body that has none.
    pub(crate) async fn begins(&mut self) -> Result<bool, Status> {
        while self.first.is_empty() && self.whole.is_empty() {
            if !self.next().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for all of it.
    pub(crate) async fn read(mut self) -> Result<Bytes, Status> {
        while self.next().await? {}
        Ok(if self.whole.is_empty() { self.first } else { self.whole.into() })
    }

    /// All of it, if it has come already; nothing else is waited for.
    pub(crate) async fn arrived(self) -> Option<Bytes> {
        let mut reading = Box::pin(self.read());
        for _ in 0..TURNS {
            if let Some(read) = reading.as_mut().now_or_never() {
                return read.ok();
            }
            tokio::task::yield_now().await;
        }
        None
    }

    /// Reads one frame; false at the end.
    async fn next(&mut self) -> Result<bool, Status> {
        if self.body.is_end_stream() {
            return Ok(false);
        }
        let Some(frame) = self.body.frame().await else { return Ok(false) };
        let frame = frame.map_err(|_| Status::cancelled("the body ended before it was complete"))?;
        let Ok(data) = frame.into_data() else { return Ok(true) };
        if data.len() > self.limit - self.first.len() - self.whole.len() {
            return Err(self.too_large());
        }
        if self.first.is_empty() && self.whole.is_empty() && self.body.is_end_stream() {
            self.first = data;
        } else {
            // A frame would keep the connection's whole read buffer while the rest is awaited.
            grow(&mut self.whole, data.len());
            self.whole.extend_from_slice(&data);
        }
        Ok(true)
    }

    fn too_large(&self) -> Status {
        let message = format!("The body may have at most {} bytes.", self.limit);
        refusal(Code::InvalidArgument, reason::PAYLOAD_TOO_LARGE, &message)
    }
}

/// Makes room for so many bytes more, and at most for a quarter more than there are then: memory is counted by what has arrived, and a
/// vector left to itself doubles. What `Content-Length` announces is not taken in advance: it may never come.
fn grow(whole: &mut Vec<u8>, more: usize) {
    if whole.capacity() - whole.len() < more {
        whole.reserve_exact(more.max((whole.len() + more) / 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_little_more_than_has_arrived() {
        for step in [1, 1000, 16_384] {
            let mut whole = Vec::new();
            while whole.len() < 100_000 {
                grow(&mut whole, step);
                whole.resize(whole.len() + step, 0);
                assert!(
                    whole.capacity() <= whole.len() + whole.len() / 4 + 1,
                    "{} of {}",
                    whole.len(),
                    whole.capacity()
                );
            }
        }
    }
}
