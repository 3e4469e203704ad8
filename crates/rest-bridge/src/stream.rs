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
    /// Whether a message is a heartbeat: it sets nothing but that field.
    pub heartbeat: Option<fn(&Res) -> bool>,
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

/// The body: a frame a message, an error frame if the call fails, a sign of life when there is nothing to say for long.
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
        let Ok(next) = tokio::time::timeout(quiet, self.messages.message()).await else {
            return Some(self.alive(None));
        };
        let status = match next {
            Ok(None) => return None,
            Ok(Some(message)) if self.frame.heartbeat.is_some_and(|is| is(&message)) => {
                return Some(self.alive(Some(&message)));
            }
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

    /// Bytes that mean nothing, and the id to resume from where there is one. An event source remembers an id without data
    /// (HTML standard, section 9.2.6). Readers of NDJSON pass over empty lines (its specification, section 3.1).
    fn alive(&self, message: Option<&Res>) -> Bytes {
        match self.form {
            Form::Events => format!(": keep-alive\n{}\n", message.map(|it| self.id(it)).unwrap_or_default()).into(),
            _ => Bytes::from_static(b"\n"),
        }
    }

    /// The line of a message's SSE id, empty where it has none.
    fn id(&self, message: &Res) -> String {
        let id = self.frame.id.and_then(|id| id(message));
        let id = id.filter(|id| !id.is_empty() && !id.contains(['\n', '\r', '\0']));
        id.map(|id| format!("id: {id}\n")).unwrap_or_default()
    }

    fn write(&self, message: &Res) -> Option<Bytes> {
        let mut json = Writer::with_capacity(256);
        (self.frame.encode)(&mut json, message);
        let json = json.finish().ok()?;
        if self.form != Form::Events {
            return Some([json.as_slice(), b"\n"].concat().into());
        }
        Some([self.id(message).as_bytes(), b"data: ", &json, b"\n\n"].concat().into())
    }
}
