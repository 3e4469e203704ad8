//! The body of a response, on a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body as _, Frame, SizeHint};

use super::activity::Activity;
use super::progress::{Anonymous, Progress};
use super::secure;

/// A request is in flight while this lives.
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

/// A response that is being sent: until its body and every chunk of it are gone, which is when its request ends.
struct Sending {
    progress: Arc<Progress>,
    id: u64,
    begun: Begun,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.progress.ends();
        self.begun.0.response_ends(self.id);
    }
}

/// A response body whose progress is watched.
pub(super) struct Tracked {
    body: Body,
    waker: Waker,
    sending: Arc<Sending>,
}

impl Tracked {
    fn new(body: Body, begun: Begun, anonymous: bool) -> Self {
        let length = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let (id, progress) = begun.0.response_begins(length, anonymous);
        let waker = Waker::from(Arc::clone(&progress));
        Self { body, waker, sending: Arc::new(Sending { progress, id, begun }) }
    }
}

/// A response as it leaves: watched, and with the headers that all have.
pub(super) fn tracked(mut response: Response<Body>, begun: Begun, hsts: bool) -> Response<Tracked> {
    secure::add(response.headers_mut(), hsts);
    let anonymous = response.extensions().get::<Anonymous>().is_some();
    response.map(|body| Tracked::new(body, begun, anonymous))
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.sending.progress.body_ends();
    }
}

impl http_body::Body for Tracked {
    type Data = Chunk;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, axum::Error>>> {
        let this = &mut *self;
        let sending = &this.sending;
        sending.progress.asked(cx.waker());
        let polled = Pin::new(&mut this.body).poll_frame(&mut Context::from_waker(&this.waker));
        polled.map_ok(|frame| {
            sending.progress.queued(frame.data_ref().map_or(0, Bytes::len));
            frame.map_data(|bytes| Chunk { bytes, sending: Arc::clone(sending) })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of a body on its way into the socket.
pub(super) struct Chunk {
    bytes: Bytes,
    sending: Arc<Sending>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.sending.progress.took(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.sending.progress.took(self.bytes.len());
    }
}
