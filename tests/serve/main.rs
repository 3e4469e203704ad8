//! The listeners, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bodies;
mod connections;
mod house;
mod layers;
mod shutdown;
mod signals;
mod stalled;
mod tls;
