//! gRPC messages that do not parse are the caller's fault, and are answered as such, with the details of every error.
//!
//! tonic calls it INTERNAL when a message is cut off, is missing, has another flag than 0 and 1 before it, or is marked as
//! compressed on a call that names no `grpc-encoding`; so the framing is followed here as well. What is whole and no protobuf
//! the codec refuses.

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
use super::messages::Messages;

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
        let messages = Messages::new(compressed);
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
                Some(data) => {
                    self.messages.take(data);
                    self.messages.is_well_formed()
                }
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
