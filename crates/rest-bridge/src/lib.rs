//! The runtime under the REST routes that `rest-bridge-build` generates from `google.api.http` annotations.
//!
//! A request goes: route, size, content type, [`Gate::head`], body, [`Gate::admit`], decode, the call (of a service's trait in this process, or
//! through the generated tonic client over a [`Transport`]), encode. Every refusal on the way, and every `tonic::Status`, becomes one `application/problem+json`.
//!
//! Decisions where ProtoJSON or `google.api.http` leave room:
//! - enum values are lower case without the enum's prefix, out and in; a zero value `…_UNSPECIFIED` is left out of the
//!   output (in lists and maps it is `unspecified`) and refused in the input; a value this build does not know is written as
//!   its number;
//! - an absent body is an empty message; any body on a call that takes none is refused;
//! - path literals are compared as sent, without percent-decoding; an encoded slash stays inside its segment;
//! - every 401 carries `WWW-Authenticate: Bearer`;
//! - in a query `+` is a space; a parameter that is no list may be given once;
//! - a streaming call without `Accept` answers NDJSON; if it shares its path with a unary call, that one answers.

mod accept;
mod body;
mod bridge;
pub mod codec;
mod deadline;
mod direct;
pub mod exchange;
pub mod fail;
mod gate;
pub mod input;
pub mod json;
mod nearest;
mod options;
mod percent;
mod problem;
mod route;
mod stream;
mod transport;

pub use bridge::{Answer, Api, Bridge, router, template};
pub use direct::{Called, Underway, Watch, Watched};
pub use exchange::Exchange;
pub use gate::{Early, Gate, Head, Incoming, Problem, reason};
pub use options::Options;
pub use problem::problem_response;
pub use route::{Capture, Leaf, Node, RequestBody, Route};
pub use stream::Follow;
pub use transport::{Local, Remote, Transport, TransportFuture};

/// What generated code names, so that its crate need not depend on it.
#[doc(hidden)]
pub mod reexport {
    pub use futures::future::BoxFuture;
    pub use {axum, http, prost_types, tonic};
}
