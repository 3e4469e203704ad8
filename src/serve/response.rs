//! The body of a response, on a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::activity::Activity;

/// A request is at work for as long as this lives.
pub(super) struct Begun(Arc<Activity>);

impl Begun {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        activity.request_begins();
        Self(activity)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// A response body that ends its request when it is dropped.
pub(super) struct Tracked {
    body: Body,
    _begun: Begun,
}

impl Tracked {
    pub(super) fn new(body: Body, begun: Begun) -> Self {
        Self { body, _begun: begun }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
