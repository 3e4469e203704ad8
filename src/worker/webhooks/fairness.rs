//! Who may have how many attempts under way, and how many a second: a receiver that hangs must not take the places of the
//! others, nor a subscription with much to send their turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::webhook::Subscription;

/// Attempts under way at the most, of all subscriptions.
pub(super) const CEILING: usize = 1024;
/// Of one that answers.
const SHARE: usize = 16;
/// Of one whose last attempts all failed: enough to notice that it is back.
const FAILING_SHARE: usize = 2;
/// Claimed ahead for one that answers quickly.
const AHEAD: usize = 64;
/// Attempts that have ended in less than this since the last look into the store say how quickly.
const QUICK: Duration = Duration::from_millis(100);
/// How many failures in a row make it so.
const FAILURES: u32 = 5;
/// The part of all free places that one subscription may have, but one at least. So the fewer there are, the less anybody
/// gets (dynamic thresholds, Choudhury and Hahne 1998): while 200 subscriptions hang, the next still finds a place.
const PART: usize = 64;

/// The attempts under way and the rate of each subscription, on this node.
pub(super) struct Places {
    /// Attempts a second of one subscription, and how many may come at once after a pause.
    rate: u32,
    taken: Mutex<Taken>,
    room: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_subscription: HashMap<Uuid, Own>,
}

#[derive(Default)]
struct Own {
    under_way: usize,
    /// How many attempts must end until somebody is told of room; 0 when nobody asked.
    awaits: usize,
    /// How many have ended since the last look into the store, and when that was.
    ended: usize,
    looked: Duration,
    /// When, on the clock's monotonic time, what was sent will have been within the rate (GCRA's theoretical arrival time).
    paid: Duration,
}

impl Own {
    /// How many more may be begun now within this rate.
    fn within(&self, rate: u32, now: Duration) -> usize {
        let ahead = self.paid.saturating_sub(now).as_secs_f64() * f64::from(rate);
        (f64::from(rate) - ahead).max(0.0) as usize
    }
}

impl Places {
    /// Nothing is under way yet.
    pub(super) fn new(rate: u32) -> Arc<Self> {
        Arc::new(Self { rate: rate.max(1), taken: Mutex::default(), room: Notify::new() })
    }

    /// How many more attempts a subscription may begin now. Of one that is disabled only one, as a probe.
    pub(super) fn free(&self, subscription: &Subscription, now: Duration) -> usize {
        let taken = self.taken();
        let free = CEILING.saturating_sub(taken.all);
        let share = if subscription.disabled_reason.is_some() {
            1
        } else if subscription.failures >= FAILURES {
            FAILING_SHARE
        } else {
            SHARE
        };
        let share = share.min((free / PART).max(1)).min(free);
        taken
            .by_subscription
            .get(&subscription.id)
            .map_or(share, |own| share.saturating_sub(own.under_way).min(own.within(self.rate, now)))
    }

    /// How many to have claimed after a look into the store: those that are [`free`](Self::free) to begin, and of one that is well
    /// twice what has ended since the last look, if that was just now. So what is claimed ahead is begun soon, and the subscription
    /// is still what it was.
    pub(super) fn wanted(&self, subscription: &Subscription, now: Duration) -> usize {
        let free = self.free(subscription, now);
        let well = subscription.disabled_reason.is_none() && subscription.failures == 0;
        self.taken().by_subscription.get_mut(&subscription.id).map_or(free, |own| {
            let since = now.saturating_sub(std::mem::replace(&mut own.looked, now));
            let ended = std::mem::take(&mut own.ended);
            let ahead = if well && since < QUICK { (2 * ended).min(AHEAD) } else { 0 };
            (free + ahead).min(free.max(own.within(self.rate, now)))
        })
    }

    /// Takes a place.
    pub(super) fn take(places: &Arc<Self>, subscription: Uuid, now: Duration) -> Place {
        let mut taken = places.taken();
        taken.all += 1;
        let own = taken.by_subscription.entry(subscription).or_default();
        own.under_way += 1;
        own.paid = own.paid.max(now) + Duration::from_secs(1) / places.rate;
        drop(taken);
        Place { places: Arc::clone(places), subscription }
    }

    /// Forgets what is wanted, and subscriptions with nothing under way that have been within their rate for long enough.
    pub(super) fn forget(&self, now: Duration) {
        self.taken().by_subscription.retain(|_, own| {
            own.awaits = 0;
            own.under_way > 0 || own.paid > now
        });
    }

    /// Says that a subscription has more to send than it had places for, having taken so many: [`room`](Self::room) tells when
    /// it is worth while to begin more. That is when half of its attempts have ended, or all of those just taken, as the others may hang.
    pub(super) fn want(&self, subscription: Uuid, took: usize, now: Duration) {
        if let Some(own) = self.taken().by_subscription.get_mut(&subscription) {
            let half = own.under_way.div_ceil(2);
            own.awaits = if took > 0 { half.min(took) } else { half };
            // All have ended since it was looked at. One that is over its rate must wait for its time.
            if own.under_way == 0 && own.within(self.rate, now) > 0 {
                self.room.notify_one();
            }
        }
    }

    /// Whether it [wants](Self::want) room and has not been told of any.
    pub(super) fn awaits(&self, subscription: Uuid) -> bool {
        self.taken().by_subscription.get(&subscription).is_some_and(|own| own.awaits > 0)
    }

    /// Done when a subscription that wants it has room again.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place taken, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    subscription: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_subscription.get_mut(&self.subscription) {
            own.under_way = own.under_way.saturating_sub(1);
            own.ended += 1;
            if own.awaits > 0 {
                own.awaits -= 1;
                if own.awaits == 0 {
                    self.places.room.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

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

    const START: Duration = Duration::from_hours(5);

    #[test]
    fn shares_by_health_and_places_come_back() {
        let places = Places::new(1000);
        let healthy = subscription(1);
        let failing = Subscription { failures: 5, ..subscription(2) };
        let disabled = Subscription { disabled_reason: Some(DisabledReason::Failing), ..subscription(3) };
        assert_eq!([&healthy, &failing, &disabled].map(|it| places.free(it, START)), [16, 2, 1]);
        let held = [1, 1, 2, 3].map(|id| Places::take(&places, Uuid::from_u128(id), START));
        assert_eq!([&healthy, &failing, &disabled].map(|it| places.free(it, START)), [13, 1, 0]);
        drop(held);
        assert_eq!([&healthy, &failing, &disabled].map(|it| places.free(it, START)), [16, 2, 1]);
    }

    #[test]
    fn however_many_hang_another_finds_a_place() {
        let places = Places::new(1000);
        let mut held = Vec::new();
        for id in 0..200 {
            for _ in 0..places.free(&subscription(id), START) {
                held.push(Places::take(&places, Uuid::from_u128(id), START));
            }
        }
        assert!(places.free(&subscription(1000), START) >= 1, "{} taken", held.len());
    }

    /// Whether somebody has been told of room since it was last asked.
    fn told(places: &Places) -> bool {
        places.room().now_or_never().is_some()
    }

    #[test]
    fn who_wants_room_is_told_when_half_is_free() {
        let places = Places::new(1000);
        let id = Uuid::from_u128(1);
        let mut held: Vec<_> = (0..SHARE).map(|_| Places::take(&places, id, START)).collect();
        places.want(id, SHARE, START);
        held.truncate(SHARE / 2 + 1);
        assert!(!told(&places) && places.awaits(id));
        held.pop();
        assert!(told(&places) && !places.awaits(id));
        held.pop();
        assert!(!told(&places), "once is enough");
        // Those that hang are not waited for.
        held.extend((0..2).map(|_| Places::take(&places, id, START)));
        places.want(id, 2, START);
        held.pop();
        assert!(!told(&places));
        held.pop();
        assert!(told(&places));
        // They may all have ended while the claim was made.
        places.forget(START);
        held.clear();
        assert!(!told(&places));
        places.want(id, 0, START);
        assert!(told(&places));
    }

    #[test]
    fn quick_ones_may_have_more_claimed() {
        let places = Places::new(1000);
        let (it, failing) = (subscription(1), Subscription { failures: 1, ..subscription(1) });
        let send = |count| drop((0..count).map(|_| Places::take(&places, it.id, START)).collect::<Vec<_>>());
        assert_eq!(places.wanted(&it, START), 16);
        send(4);
        assert_eq!(places.wanted(&it, START), 16, "it was never looked for before");
        send(4);
        assert_eq!(places.wanted(&it, START + QUICK / 2), 16 + 8);
        assert_eq!(places.wanted(&it, START + QUICK / 2), 16, "nothing has ended since");
        send(100);
        assert_eq!(places.wanted(&it, START + QUICK), 16 + AHEAD);
        send(4);
        assert_eq!(places.wanted(&failing, START + QUICK), 16);
        send(4);
        assert_eq!(places.wanted(&it, START + QUICK * 2), 16, "that was long ago");
        // Those under way count among the places.
        let _held: Vec<_> = (0..10).map(|_| Places::take(&places, it.id, START)).collect();
        send(4);
        assert_eq!(places.wanted(&it, START + QUICK * 2), 5 + 8);
    }

    #[test]
    fn nobody_has_more_claimed_than_its_rate_allows() {
        let places = Places::new(20);
        let it = subscription(1);
        drop((0..8).map(|_| Places::take(&places, it.id, START)).collect::<Vec<_>>());
        places.wanted(&it, START);
        drop((0..8).map(|_| Places::take(&places, it.id, START)).collect::<Vec<_>>());
        assert_eq!(places.wanted(&it, START), 4);
    }

    #[test]
    fn who_is_over_its_rate_is_not_told() {
        let places = Places::new(2);
        let id = Uuid::from_u128(1);
        let held: Vec<_> = (0..2).map(|_| Places::take(&places, id, START)).collect();
        drop(held);
        places.want(id, 0, START);
        assert!(!told(&places));
        places.want(id, 0, START + Duration::from_secs(1));
        assert!(told(&places));
    }

    /// The largest number of attempts that are begun in this time, by whoever begins all that it may every 10 ms.
    fn begun(places: &Arc<Places>, seconds: u64) -> usize {
        let it = subscription(1);
        let steps = (0..seconds * 100).map(|step| START + Duration::from_millis(10 * step));
        let begin = |now| {
            let held: Vec<_> = (0..places.free(&it, now)).map(|_| Places::take(places, it.id, now)).collect();
            held.len()
        };
        steps.map(begin).sum()
    }

    #[test]
    fn the_rate_holds_after_a_first_burst() {
        // A second's worth at once, then as many each second.
        assert_eq!(begun(&Places::new(50), 10), 50 + 10 * 50 - 1);
        // Others have their own.
        let places = Places::new(50);
        begun(&places, 1);
        assert_eq!(places.free(&subscription(2), START + Duration::from_secs(1)), SHARE);
    }

    #[test]
    fn what_is_forgotten_has_no_debt() {
        let places = Places::new(10);
        let held: Vec<_> = (0..10).map(|_| Places::take(&places, Uuid::from_u128(1), START)).collect();
        assert_eq!(places.free(&subscription(1), START), 0);
        places.forget(START + Duration::from_secs(5));
        drop(held);
        places.forget(START);
        assert_eq!(places.free(&subscription(1), START + Duration::from_millis(500)), 5);
        places.forget(START + Duration::from_secs(1));
        assert!(places.taken().by_subscription.is_empty());
    }
}
