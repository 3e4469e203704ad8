//! What the service says about itself: log lines, metrics, health.

mod log;
mod metrics;
mod observe;
mod record;
mod routes;
mod rpcs;

pub use log::{in_colour, init, lines};
pub use metrics::Metrics;
pub use observe::{Matched, Observe, ObserveLayer, Observed};
pub use routes::{Check, Readiness, routes};
pub use rpcs::Rpcs;

#[cfg(test)]
mod tests;
