//! Deliveries that are claimed and wait for a place of their subscription, so that not every few attempts need a look into
//! the store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::domain::Timestamp;
use crate::store::deliveries::{Claimed, Lease};
use crate::store::webhooks::Ready;

/// The lines of all subscriptions.
#[derive(Default)]
pub(super) struct Ahead(Mutex<HashMap<Uuid, Line>>);

/// Those of one subscription, in the order in which they were claimed.
pub(super) struct Line {
    /// The subscription, as it was at the last look.
    pub(super) of: Arc<Ready>,
    /// The last look gave all that it asked for: there is probably more.
    pub(super) more: bool,
    waiting: VecDeque<(Claimed, Lease)>,
}

impl Ahead {
    /// Every line that has something to begin or to ask for.
    pub(super) fn lines(&self) -> MutexGuard<'_, HashMap<Uuid, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait, of each subscription.
    pub(super) fn waiting(&self) -> HashMap<Uuid, usize> {
        self.lines().iter().map(|(&id, line)| (id, line.waiting.len())).collect()
    }

    /// Says that a look is being taken: it will tell who has more.
    pub(super) fn looking(&self) {
        self.lines().values_mut().for_each(|line| line.more = false);
    }

    /// Lines up what a look gave.
    pub(super) fn extend(&self, of: &Arc<Ready>, claimed: Vec<(Claimed, Lease)>, more: bool) {
        let mut lines = self.lines();
        let line = lines.entry(of.subscription.id).or_insert_with(|| Line {
            of: Arc::clone(of),
            more,
            waiting: VecDeque::new(),
        });
        line.of = Arc::clone(of);
        line.more = more;
        line.waiting.extend(claimed);
    }

    /// Takes out all that waits.
    pub(super) fn clear(&self) -> Vec<(Claimed, Lease)> {
        let lines = std::mem::take(&mut *self.lines());
        lines.into_values().flat_map(|line| line.waiting).collect()
    }
}

impl Line {
    /// The next one whose lease lasts until then; those before it are left to their leases' ends.
    pub(super) fn next(&mut self, until: Timestamp) -> Option<(Claimed, Lease)> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|(_, lease)| lease.until >= until)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
