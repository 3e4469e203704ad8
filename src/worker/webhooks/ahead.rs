//! Deliveries that are claimed and wait for a place of their subscription, so that not every few attempts need a look into
//! the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::To;
use super::hands::Held;
use crate::domain::Timestamp;
use crate::store::deliveries::Claimed;

/// The lines of all subscriptions.
#[derive(Default)]
pub(super) struct Ahead(Mutex<HashMap<Uuid, Line>>);

/// Those of one subscription, in the order in which they were claimed.
pub(super) struct Line {
    /// The subscription, as it was at the last look.
    pub(super) to: Arc<To>,
    /// Until when they are this node's.
    until: Timestamp,
    /// The last look gave all that it asked for: there is probably more.
    pub(super) more: bool,
    waiting: VecDeque<(Claimed, Held)>,
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

    /// Lines up what a look gave: until when it is this node's, and whether there is more.
    pub(super) fn extend(&self, to: &Arc<To>, claimed: Vec<(Claimed, Held)>, (until, more): (Timestamp, bool)) {
        let mut lines = self.lines();
        let line = lines.entry(to.ready.subscription.id).or_insert_with(|| Line {
            to: Arc::clone(to),
            until,
            more,
            waiting: VecDeque::new(),
        });
        line.to = Arc::clone(to);
        line.until = until;
        line.more = more;
        line.waiting.extend(claimed);
    }

    /// Lets go of what waits for subscriptions that may not be sent to any more: those that are not ready.
    pub(super) fn only(&self, ready: &[Arc<To>]) {
        let ready: HashSet<Uuid> = ready.iter().map(|to| to.ready.subscription.id).collect();
        self.lines().retain(|id, line| line.waiting.is_empty() || ready.contains(id));
    }

    /// Lets go of all that waits.
    pub(super) fn clear(&self) {
        self.lines().clear();
    }
}

impl Line {
    /// The next one, if it is this node's until then. If not, lets go of the whole line: another look takes it up again.
    pub(super) fn next(&mut self, until: Timestamp) -> Option<(Claimed, Held)> {
        if self.until < until && !self.waiting.is_empty() {
            self.waiting.clear();
            self.more = true;
        }
        self.waiting.pop_front()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
