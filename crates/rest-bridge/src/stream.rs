//! Server streaming over HTTP: NDJSON, or server-sent events (HTML standard, section 9.2).

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tonic::Status;
use tonic::codec::Streaming;

use crate::accept::Form;
use crate::exchange::{Encode, EventId, Exchange};
use crate::gate::Gate;
use crate::json::Writer;

/// How a message of a stream is written.
#[derive(Debug)]
pub struct Follow<Res> {
    /// The message itself.
    pub encode: Encode<Res>,
    /// The field that is the SSE `id`.
    pub id: Option<EventId<Res>>,
}

impl<Res> Clone for Follow<Res> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Res> Copy for Follow<Res> {}

/// What the generator of frames keeps between two of them.
struct State<G, Res> {
    exchange: Exchange<G>,
    messages: Streaming<Res>,
    frame: Follow<Res>,
    form: Form,
    ended: bool,
}

/// The body: a frame a message, an error frame if the call fails, a comment when an event stream is silent for long.
///
/// Dropping the body drops the call.
pub(crate) fn follow<G: Gate, Res: Send + 'static>(
    exchange: Exchange<G>,
    messages: Streaming<Res>,
    frame: Follow<Res>,
    form: Form,
) -> Body {
    let state = State { exchange, messages, frame, form, ended: false };
    Body::from_stream(futures::stream::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        let quiet = state.exchange.shared.options.keep_alive;
        let bytes = state.next(quiet).await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), state))
    }))
}

impl<G: Gate, Res> State<G, Res> {
    async fn next(&mut self, quiet: Duration) -> Option<Bytes> {
        let next = match self.form {
            Form::Events => match tokio::time::timeout(quiet, self.messages.message()).await {
                Ok(next) => next,
                Err(_) => return Some(Bytes::from_static(b": keep-alive\n\n")),
            },
            _ => self.messages.message().await,
        };
        let status = match next {
            Ok(None) => return None,
            Ok(Some(message)) => match self.write(&message) {
                Some(frame) => return Some(frame),
                None => Status::internal("the answer has no JSON form"),
            },
            Err(status) => status,
        };
        self.ended = true;
        let problem = self.exchange.rendered(&status).json;
        let (before, after): (&[u8], &[u8]) = match self.form {
            Form::Events => (b"event: error\ndata: ", b"\n\n"),
            _ => (b"{\"error\":", b"}\n"),
        };
        Some([before, &problem, after].concat().into())
    }

    fn write(&self, message: &Res) -> Option<Bytes> {
        let mut json = Writer::with_capacity(256);
        (self.frame.encode)(&mut json, message);
        let json = json.finish().ok()?;
        if self.form != Form::Events {
            return Some([json.as_slice(), b"\n"].concat().into());
        }
        let id =
            self.frame.id.and_then(|id| id(message)).filter(|id| !id.is_empty() && !id.contains(['\n', '\r', '\0']));
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        Some([id.as_bytes(), b"data: ", &json, b"\n\n"].concat().into())
    }
}
