//! What this node has in hand: deliveries that it has claimed and that are not settled. They are still due in the store, where
//! only a list of them for each subscription says that somebody has them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::domain::Timestamp;

/// How long looks may go on where the last one ended, while there is more than can be taken. What was committed late, behind
/// that, waits no longer.
const AHEAD: Duration = Duration::from_millis(100);

/// The hands of a node, one for each subscription.
#[derive(Default)]
pub(super) struct Hands(Mutex<HashMap<Uuid, Hand>>);

#[derive(Default)]
struct Hand {
    /// Until when what is claimed is this node's; none when nothing is claimed in the store.
    until: Option<Timestamp>,
    events: HashSet<Uuid>,
    /// What was put down since the last look began: that look may have seen it as due.
    down: Vec<Uuid>,
    /// Where the last look ended, if there was more, and when one was last taken from the beginning.
    end: Option<(Timestamp, Uuid)>,
    begun: Duration,
}

/// A part of what is due, to be looked at.
pub(super) struct Part {
    /// What comes after this; everything if there is none.
    pub(super) after: Option<(Timestamp, Uuid)>,
    /// How many of the first are in hand.
    pub(super) held: usize,
}

impl Hands {
    /// Says that a look begins: from now on what is put down was settled after it.
    pub(super) fn look(&self) {
        for hand in self.hands().values_mut() {
            for event in hand.down.drain(..) {
                hand.events.remove(&event);
            }
        }
    }

    /// Where to look for more of a subscription.
    pub(super) fn part(&self, subscription: Uuid, now: Duration) -> Part {
        let mut hands = self.hands();
        let Some(hand) = hands.get_mut(&subscription) else { return Part { after: None, held: 0 } };
        if hand.end.is_some() && now.saturating_sub(hand.begun) < AHEAD {
            return Part { after: hand.end, held: 0 };
        }
        hand.begun = now;
        Part { after: None, held: hand.events.len() }
    }

    /// Says where the next look goes on; `None` when it begins at the beginning.
    pub(super) fn looked(&self, subscription: Uuid, end: Option<(Timestamp, Uuid)>) {
        self.hands().entry(subscription).or_default().end = end;
    }

    /// Whether it is in hand, or was when the look began.
    pub(super) fn has(&self, subscription: Uuid, event: Uuid) -> bool {
        self.hands().get(&subscription).is_some_and(|hand| hand.events.contains(&event))
    }

    /// Whether anything is.
    pub(super) fn any(&self) -> bool {
        self.hands().values().any(|hand| hand.events.len() > hand.down.len())
    }

    /// What is in hand of a subscription.
    pub(super) fn of(&self, subscription: Uuid) -> Vec<Uuid> {
        self.hands().get(&subscription).map_or_else(Vec::new, |hand| hand.events.iter().copied().collect())
    }

    /// Until when that is this node's.
    pub(super) fn until(&self, subscription: Uuid) -> Option<Timestamp> {
        self.hands().get(&subscription)?.until
    }

    /// Says until when it is, or that nothing is claimed any more.
    pub(super) fn set_until(&self, subscription: Uuid, until: Option<Timestamp>) {
        self.hands().entry(subscription).or_default().until = until;
    }

    /// All subscriptions of which something is claimed.
    pub(super) fn claimed(&self) -> Vec<Uuid> {
        self.hands().iter().filter(|(_, hand)| hand.until.is_some()).map(|(&id, _)| id).collect()
    }

    /// Takes a delivery into hand.
    pub(super) fn take(hands: &Arc<Self>, subscription: Uuid, event: Uuid) -> Held {
        hands.hands().entry(subscription).or_default().events.insert(event);
        Held { hands: Arc::clone(hands), subscription, event }
    }

    /// Forgets subscriptions of which nothing is in hand, and nobody must know of it.
    pub(super) fn forget(&self, now: Timestamp) {
        self.hands().retain(|_, hand| !hand.events.is_empty() || hand.until > Some(now));
    }

    fn hands(&self) -> MutexGuard<'_, HashMap<Uuid, Hand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery in hand, until this is dropped.
pub(super) struct Held {
    hands: Arc<Hands>,
    subscription: Uuid,
    event: Uuid,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(hand) = self.hands.hands().get_mut(&self.subscription) {
            hand.down.push(self.event);
        }
    }
}
