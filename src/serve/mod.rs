//! The listeners: accept loops with timers and limits, TLS, request ids, shedding, graceful shutdown.
//!
//! Nothing of ours but the clock: what a listener serves is a tower service that it is given, what it needs to know are
//! values ([`Limits`], a rustls configuration).
//!
//! A door is put together as [`Identify`] around its metrics around [`Guard`] around its routes, run by a [`Listener`].

mod activity;
mod body;
mod budget;
mod client;
mod connection;
mod connections;
mod exchange;
mod framing;
mod guard;
mod identify;
mod limits;
mod listener;
mod malformed;
mod messages;
mod progress;
mod refusal;
mod response;
mod secure;
mod shutdown;
mod streams;
mod tls;
mod trace;
mod unread;
mod watched;

pub use client::{CLIENT_ADDRESS, Client, Clients};
pub use exchange::Peer;
pub use guard::{Guard, GuardLayer};
pub use identify::{Identify, IdentifyLayer, REQUEST_ID, RequestId};
pub use limits::{BODY_RATE, Limits, RESPONSE_RATE, Usage};
pub use listener::{BindError, Listener};
pub use malformed::MalformedLayer;
pub use progress::Anonymous;
pub use refusal::{RATE_LIMITED, REQUEST_TIMEOUT, Row, UNAVAILABLE};
pub use shutdown::{Shutdown, on_signals};
pub use tls::{Certificates, TlsError, TlsFiles};
pub use trace::{TRACEPARENT, TraceParent};
