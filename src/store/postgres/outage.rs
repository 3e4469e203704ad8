//! An outage of the database is logged twice: when it begins and when it ends. Every call in between would say the same.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::pool::now;

/// Whether the database can be written to, and since when not.
#[derive(Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Default)]
struct State {
    since: Option<Instant>,
    /// What the monitor found wrong at its last probe.
    found: Option<String>,
}

impl Outage {
    /// Something failed that tells of an outage.
    pub(super) fn begin(&self, reason: &dyn Display) {
        let mut state = self.state();
        if state.since.is_none() {
            state.since = Some(now());
            drop(state);
            tracing::warn!(%reason, "the connection to the database was lost; calls may answer 503 until it is back");
        }
    }

    /// The monitor found this wrong.
    pub(super) fn found(&self, reason: String) {
        self.begin(&reason);
        self.state().found = Some(reason);
    }

    /// The monitor found that the database takes writes. Returns whether it was not so at the last probe.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state();
        let (since, found) = (state.since.take(), state.found.take());
        drop(state);
        if let Some(since) = since {
            let seconds = now().saturating_duration_since(since).as_secs_f64();
            tracing::info!("the database is back after {seconds:.1} s");
        }
        found.is_some()
    }

    /// What was wrong at the last probe.
    pub(super) fn reason(&self) -> Option<String> {
        self.state().found.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
