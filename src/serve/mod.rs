//! The listeners: accept loops with timers and limits, TLS, shedding, graceful shutdown. Nothing of ours but the clock.

mod limits;

pub use limits::Limits;
