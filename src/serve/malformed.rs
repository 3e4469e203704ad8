//! gRPC messages that do not parse are the caller's fault, and are answered as such, with the details of every error.
//!
//! tonic calls it INTERNAL when a message is cut off, is missing, has another flag than 0 and 1 before it, or is marked as
//! compressed on a call that names no `grpc-encoding`; so the framing is followed here as well (gRPC over HTTP/2,
//! "Length-Prefixed-Message"). What is whole and no protobuf the codec refuses.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use tower::{Layer, Service};

use super::identify::RequestId;

/// The stable code and the `ErrorInfo` domain of the error table (`api`), which this room does not know.
const CODE: &str = "VALIDATION_FAILED";
const DOMAIN: &str = "customerd";
/// The domain under which the codec refuses.
const CODEC: &str = "rest-bridge";

/// Makes the layer that responds to messages that do not parse.
#[derive(Debug, Clone)]
pub struct MalformedLayer;

impl<S> Layer<S> for MalformedLayer {
    type Service = Malformed<S>;

    fn layer(&self, inner: S) -> Malformed<S> {
        Malformed { inner }
    }
}

/// Responds INVALID_ARGUMENT where a message does not parse.
#[derive(Debug, Clone)]
pub struct Malformed<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Malformed<S>
where
    S: Service<Request<Followed<B>>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let id = request.extensions().get::<RequestId>().cloned();
        let broken = Arc::new(AtomicBool::new(false));
        let followed = Arc::clone(&broken);
        let compressed = request.headers().contains_key("grpc-encoding");
        let messages = Messages { compressed, ..Messages::default() };
        let request = request.map(|body| Followed { body, messages, broken: followed });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let detail = match Status::from_header_map(response.headers()) {
                Some(status) if status.code() == Code::Internal && broken.load(Relaxed) => {
                    "The message is not framed as gRPC frames messages, or is not whole.".to_owned()
                }
                Some(status) if status.code() == Code::InvalidArgument && is_codecs(&status) => {
                    status.message().to_owned()
                }
                _ => return Ok(response),
            };
            Ok(refusal(detail, id.as_ref()).into_http())
        })
    }
}

fn is_codecs(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == CODEC)
}

fn refusal(detail: String, id: Option<&RequestId>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(CODE, DOMAIN, std::collections::HashMap::<String, String>::new());
    details.set_bad_request(vec![FieldViolation {
        field: String::new(),
        description: detail.clone(),
        reason: "MALFORMED_MESSAGE".to_owned(),
        localized_message: None,
    }]);
    if let Some(id) = id {
        details.set_request_info(id.as_str(), "");
    }
    Status::with_error_details(Code::InvalidArgument, detail, details)
}

/// The framing of a body's messages.
#[derive(Debug, Default)]
struct Messages {
    head: [u8; 5],
    /// Whether messages may be marked as compressed.
    compressed: bool,
    read: usize,
    left: usize,
    count: usize,
}

impl Messages {
    /// Takes bytes; whether they are well-formed so far.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.read < self.head.len() {
                let count = bytes.len().min(self.head.len() - self.read);
                self.head[self.read..self.read + count].copy_from_slice(&bytes[..count]);
                (self.read, bytes) = (self.read + count, &bytes[count..]);
                if self.head[0] > u8::from(self.compressed) {
                    return false;
                }
                if self.read < self.head.len() {
                    return true;
                }
                let [_, length @ ..] = self.head;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            }
            let count = bytes.len().min(self.left);
            (self.left, bytes) = (self.left - count, &bytes[count..]);
            if self.left == 0 {
                (self.read, self.count) = (0, self.count + 1);
            }
        }
        true
    }

    /// Whether there was a message, and nothing after the last.
    fn is_whole(&self) -> bool {
        self.read == 0 && self.count > 0
    }
}

/// A request body whose framing is followed.
#[derive(Debug)]
pub struct Followed<B> {
    body: B,
    messages: Messages,
    broken: Arc<AtomicBool>,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Followed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let fine = match &polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => self.messages.take(data),
                None => true,
            },
            Poll::Ready(None) => self.messages.is_whole(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => true,
        };
        if !fine {
            self.broken.store(true, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // A reader that is told of the end in advance never polls for it, and the framing could not be checked.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_are_well_formed() {
        let whole = [0, 0, 0, 0, 2, 7, 7];
        for split in 0..=whole.len() {
            let mut messages = Messages::default();
            assert!(messages.take(&whole[..split]) && messages.take(&whole[split..]) && messages.is_whole(), "{split}");
        }
        let broken: [&[u8]; 5] = [&[], &[0], &[0, 0, 0, 0, 2, 7], &[0, 0, 0, 0, 0, 0], &[0, 255, 255, 255, 255, 1]];
        for bytes in broken {
            let mut messages = Messages::default();
            assert!(messages.take(bytes) && !messages.is_whole(), "{bytes:?}");
        }
        assert!(!Messages::default().take(&[1]));
        let mut compressed = Messages { compressed: true, ..Messages::default() };
        assert!(compressed.take(&[1, 0, 0, 0, 0]) && compressed.is_whole());
        assert!(!compressed.take(&[2]));
    }
}
