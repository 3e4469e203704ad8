//! Who may have how many attempts under way: a receiver that hangs must not take the places of the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::domain::webhook::Subscription;

/// Attempts under way at the most, of all subscriptions.
pub(super) const CEILING: usize = 1024;
/// Of one that answers.
const SHARE: usize = 16;
/// Of one whose last attempts all failed: enough to notice that it is back.
const FAILING_SHARE: usize = 2;
/// How many failures in a row make it so.
const FAILURES: u32 = 5;
/// The part of all free places that one subscription may have, but one at least. So the fewer there are, the less anybody
/// gets (dynamic thresholds, Choudhury and Hahne 1998): while 200 subscriptions hang, the next still finds a place.
const PART: usize = 64;

/// The attempts under way, by subscription.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<Uuid, usize>>);

impl Places {
    /// How many more attempts a subscription may have now. Of one that is disabled only one, as a probe.
    pub(super) fn free(&self, subscription: &Subscription) -> usize {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&subscription.id).copied().unwrap_or(0);
        let free = CEILING.saturating_sub(taken.values().sum());
        let share = if subscription.disabled_reason.is_some() {
            1
        } else if subscription.failures >= FAILURES {
            FAILING_SHARE
        } else {
            SHARE
        };
        share.min((free / PART).max(1)).saturating_sub(own).min(free)
    }

    /// Takes a place.
    pub(super) fn take(places: &Arc<Self>, subscription: Uuid) -> Place {
        *places.0.lock().unwrap_or_else(PoisonError::into_inner).entry(subscription).or_default() += 1;
        Place { places: Arc::clone(places), subscription }
    }
}

/// A place taken, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    subscription: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.subscription) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.subscription);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::callback_url::CallbackUrl;
    use crate::domain::reach::Reach;
    use crate::domain::webhook::{DisabledReason, Settings};

    fn subscription(id: u128) -> Subscription {
        Subscription {
            id: Uuid::from_u128(id),
            programme_id: Uuid::nil(),
            settings: Settings {
                callback_url: CallbackUrl::parse("https://example.com", Reach::Global).unwrap(),
                types: std::collections::BTreeSet::new(),
                fifo: false,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: "".into(),
            previous_secret: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn shares_by_health_and_places_come_back() {
        let places = Arc::new(Places::default());
        let healthy = subscription(1);
        let failing = Subscription { failures: 5, ..subscription(2) };
        let disabled = Subscription { disabled_reason: Some(DisabledReason::Failing), ..subscription(3) };
        assert_eq!([&healthy, &failing, &disabled].map(|it| places.free(it)), [16, 2, 1]);
        let held = [1, 1, 2, 3].map(|id| Places::take(&places, Uuid::from_u128(id)));
        assert_eq!([&healthy, &failing, &disabled].map(|it| places.free(it)), [13, 1, 0]);
        drop(held);
        assert_eq!([&healthy, &failing, &disabled].map(|it| places.free(it)), [16, 2, 1]);
    }

    #[test]
    fn however_many_hang_another_finds_a_place() {
        let places = Arc::new(Places::default());
        let mut held = Vec::new();
        for id in 0..200 {
            for _ in 0..places.free(&subscription(id)) {
                held.push(Places::take(&places, Uuid::from_u128(id)));
            }
        }
        assert!(places.free(&subscription(1000)) >= 1, "{} taken", held.len());
    }
}
