//! One event on its way to one subscription: pending until it is delivered or dead.

use std::time::Duration;

use uuid::Uuid;

use super::backoff::Failure;
use super::timestamp::Timestamp;
use super::webhook::WebhookType;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// To be attempted, the first time or again.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// Given up: kept, listed and replayable.
    Dead,
}

impl DeliveryStatus {
    /// The name in the API and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead].into_iter().find(|it| it.as_str() == name)
    }
}

/// One attempt, as the deliveries API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// The HTTP status, if the answer got that far.
    pub status: Option<u16>,
    /// From its beginning to the answer's last byte that was waited for.
    pub latency_ms: u32,
    /// Why it failed, if not by the status.
    pub error: Option<String>,
    /// The first part of the body, at most 1 KiB of printable text.
    pub response: Option<String>,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx, read to its end or to the body limit.
    Delivered,
    /// 410: the receiver wants nothing any more.
    Gone,
    /// Anything else, redirects included.
    Failed,
}

impl Attempt {
    /// Judges the attempt. An answer that did not end in time, or broke off, is a failure whatever its status.
    pub fn outcome(&self) -> Outcome {
        match (self.error.is_some(), self.status) {
            (false, Some(200..=299)) => Outcome::Delivered,
            (false, Some(410)) => Outcome::Gone,
            _ => Outcome::Failed,
        }
    }

    /// When it was over.
    pub fn ended_at(&self) -> Timestamp {
        self.at + Duration::from_millis(u64::from(self.latency_ms))
    }
}

/// What decides when a failed delivery is tried again, besides its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// The receiver's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Any random number.
    pub random: u64,
    /// For how long its programme was disabled since the attempt before: no part of the delivery's window.
    pub paused: Duration,
}

/// A delivery, without its payload: that is the event's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `deliveryId` of the API.
    pub id: Uuid,
    /// The subscription it goes to.
    pub subscription_id: Uuid,
    /// The event it carries; `webhook-id` on the wire.
    pub event_id: Uuid,
    /// The event's type.
    pub webhook_type: WebhookType,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Every attempt ever made, oldest first, those before a replay included.
    pub attempts: Vec<Attempt>,
    /// How many of them belong to the present window.
    pub tries: u32,
    /// When the present window began: with its first attempt, and before that when the delivery fell due. Moved on by what was no
    /// part of the window: see [`Self::settle`].
    pub due_since: Timestamp,
    /// When the next attempt is due; present while pending.
    pub next_attempt_at: Option<Timestamp>,
}

impl Delivery {
    /// The id of the delivery of an event to a subscription: the event's, the random bits of its second half mixed with
    /// the subscription's. It needs not be stored, so that one statement can write the deliveries of an event.
    pub fn id_of(subscription_id: Uuid, event_id: Uuid) -> Uuid {
        // All but the variant, which stays.
        const MIXED: u128 = 0x3fff_ffff_ffff_ffff;
        Uuid::from_u128(event_id.as_u128() ^ (subscription_id.as_u128() & MIXED))
    }

    /// The event of the delivery to a subscription with this id: the inverse of [`Self::id_of`].
    pub fn event_of(subscription_id: Uuid, delivery_id: Uuid) -> Uuid {
        Self::id_of(subscription_id, delivery_id)
    }

    /// Records an attempt and moves on: 2xx delivered; 410 dead, as the receiver said so for good; else pending until the
    /// backoff's next moment, or dead when its window is over.
    ///
    /// The window is spent by attempts and by the waits that were asked for between them, never by what the clock says alone: a clock
    /// that is a day ahead for a moment ends no window, and what a disabled subscription or a stopped service kept waiting for days has
    /// the attempts that it would have had.
    pub fn settle(&mut self, attempt: Attempt, pace: Pace) -> Outcome {
        let (outcome, now) = (attempt.outcome(), attempt.ended_at());
        let elapsed = self.spent(attempt.at, pace.paused) + now.since(attempt.at);
        self.due_since = now - elapsed;
        self.attempts.push(attempt);
        self.tries = self.tries.saturating_add(1);
        let delay = match outcome {
            Outcome::Failed => {
                Failure { attempts: self.tries, elapsed, retry_after: pace.retry_after, random: pace.random }
                    .next_delay()
            }
            Outcome::Delivered | Outcome::Gone => None,
        };
        self.next_attempt_at = delay.map(|delay| now + delay);
        self.status = match (outcome, delay) {
            (Outcome::Delivered, _) => DeliveryStatus::Delivered,
            (_, Some(_)) => DeliveryStatus::Pending,
            (_, None) => DeliveryStatus::Dead,
        };
        outcome
    }

    /// How much of the window is spent when an attempt begins: what was when the last one ended, and the wait since then. Times are
    /// compared only where one attempt gave both, or where the schedule says how far they may be apart.
    fn spent(&self, at: Timestamp, paused: Duration) -> Duration {
        let Some(last) = self.attempts.last().map(Attempt::ended_at).filter(|_| self.tries > 0) else {
            return Duration::ZERO;
        };
        let scheduled = self.next_attempt_at.map_or(Duration::ZERO, |at| at.since(last));
        last.since(self.due_since) + at.since(last).saturating_sub(paused).min(scheduled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backoff::WINDOW;

    const START: Timestamp = Timestamp(1_795_347_600_000_000);

    fn delivery() -> Delivery {
        Delivery {
            id: Uuid::from_u128(1),
            subscription_id: Uuid::from_u128(2),
            event_id: Uuid::from_u128(3),
            webhook_type: WebhookType::CustomerUpdated,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            tries: 0,
            due_since: START,
            next_attempt_at: Some(START),
        }
    }

    fn attempt(status: impl Into<Option<u16>>, at: Timestamp) -> Attempt {
        Attempt { at, status: status.into(), latency_ms: 250, error: None, response: None }
    }

    #[test]
    fn ids_differ_by_subscription_and_lead_back_to_the_event() {
        let event = Uuid::from_u128(0x019a_ab12_7c00_7123_8456_0000_0000_0001);
        let (a, b) = (Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_00aa), Uuid::from_u128(0xbb));
        assert_ne!(Delivery::id_of(a, event), Delivery::id_of(b, event));
        assert_eq!(Delivery::event_of(a, Delivery::id_of(a, event)), event);
        assert_eq!(Delivery::id_of(a, event).get_version_num(), 7);
        assert_eq!(Delivery::id_of(a, event).get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn statuses_and_what_they_mean() {
        for (status, outcome) in [
            (200, Outcome::Delivered),
            (204, Outcome::Delivered),
            (299, Outcome::Delivered),
            (199, Outcome::Failed),
            (300, Outcome::Failed),
            (301, Outcome::Failed),
            (307, Outcome::Failed),
            (400, Outcome::Failed),
            (404, Outcome::Failed),
            (410, Outcome::Gone),
            (429, Outcome::Failed),
            (500, Outcome::Failed),
            (503, Outcome::Failed),
        ] {
            assert_eq!(attempt(status, START).outcome(), outcome, "{status}");
        }
        for status in [None, Some(200), Some(410)] {
            let broken = Attempt { error: Some("deadline".into()), ..attempt(status, START) };
            assert_eq!(broken.outcome(), Outcome::Failed, "{status:?}");
        }
    }

    #[test]
    fn delivered_and_gone_end_it() {
        for (status, outcome, end) in
            [(202, Outcome::Delivered, DeliveryStatus::Delivered), (410, Outcome::Gone, DeliveryStatus::Dead)]
        {
            let mut it = delivery();
            assert_eq!(it.settle(attempt(status, START), Pace::default()), outcome);
            assert_eq!((it.status, it.next_attempt_at, it.attempts.len()), (end, None, 1));
        }
    }

    #[test]
    fn failures_wait_from_the_end_of_the_attempt_and_honour_retry_after() {
        let mut it = delivery();
        assert_eq!(it.settle(attempt(500, START), Pace::default()), Outcome::Failed);
        assert_eq!(it.next_attempt_at, Some(START + Duration::from_secs(1)));
        let pace = Pace { retry_after: Some(Duration::from_secs(120)), ..Pace::default() };
        it.settle(attempt(429, START + Duration::from_secs(1)), pace);
        assert_eq!(it.next_attempt_at, Some(START + Duration::from_millis(121_250)));
        assert_eq!((it.status, it.tries), (DeliveryStatus::Pending, 2));
    }

    #[test]
    fn the_window_begins_with_its_first_attempt() {
        let (mut it, late) = (delivery(), START + 3 * WINDOW);
        it.settle(attempt(503, late), Pace::default());
        assert_eq!((it.status, it.due_since), (DeliveryStatus::Pending, late));
    }

    /// Fails at each time that the schedule says, until it is dead; the times.
    fn fails_on(it: &mut Delivery) -> Vec<Timestamp> {
        let mut times = Vec::new();
        while let Some(at) = it.next_attempt_at {
            times.push(at);
            it.settle(attempt(503, at), Pace::default());
        }
        times
    }

    /// Fails so often, at the times that the schedule says.
    fn failing(tries: usize) -> Delivery {
        let mut it = delivery();
        for _ in 0..tries {
            it.settle(attempt(503, it.next_attempt_at.unwrap()), Pace::default());
        }
        it
    }

    #[test]
    fn what_waits_longer_than_it_was_to_has_the_attempts_that_it_would_have_had() {
        let all = fails_on(&mut delivery()).len();
        for tries in 1..all {
            let mut it = failing(tries);
            let late = it.next_attempt_at.unwrap() + 3 * WINDOW;
            it.settle(attempt(503, late), Pace::default());
            assert_eq!(fails_on(&mut it).len() + tries + 1, all, "{tries}");
        }
    }

    #[test]
    fn the_window_stands_still_while_the_programme_is_disabled() {
        let last = |it: &mut Delivery| fails_on(it).last().copied().unwrap();
        let (undisturbed, pause) = (last(&mut failing(9)), Duration::from_mins(50));
        let mut it = failing(9);
        // It was disabled during the wait, all but for ten minutes of it.
        let ten_minutes = Duration::from_mins(10);
        let back = it.attempts.last().unwrap().ended_at() + ten_minutes + pause;
        assert!(back > it.next_attempt_at.unwrap());
        it.settle(attempt(503, back), Pace { paused: pause, ..Pace::default() });
        assert_eq!(last(&mut it), undisturbed + pause);
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_ends_no_window() {
        let undisturbed = fails_on(&mut delivery());
        for tries in 2..undisturbed.len() - 1 {
            for ahead in [Duration::from_hours(1), WINDOW, 30 * WINDOW] {
                // What is due by then is attempted, and again when the clock is right: its time is set anew.
                let mut it = failing(tries);
                let now = it.attempts.last().unwrap().ended_at();
                it.settle(attempt(503, now + ahead), Pace::default());
                assert_eq!(it.status, DeliveryStatus::Pending, "{tries}");
                it.next_attempt_at = Some(now);
                it.settle(attempt(503, now), Pace::default());
                let times = fails_on(&mut it);
                // It has spent the wait that it was in, at most, and one attempt more.
                let wait = undisturbed[tries].since(undisturbed[tries - 1]);
                assert!(times.last().unwrap().since(START) + wait + Duration::from_secs(9) >= WINDOW, "{tries}");
            }
            for behind in [Duration::from_hours(1), WINDOW, 30 * WINDOW] {
                let mut it = failing(tries);
                let now = it.next_attempt_at.unwrap();
                // Nothing was due by then; an attempt that had begun ends then.
                it.settle(attempt(503, now - behind), Pace::default());
                it.next_attempt_at = Some(now);
                let times = fails_on(&mut it);
                assert!(times.last().unwrap().since(START) <= WINDOW + Duration::from_hours(9), "{tries}");
            }
        }
    }

    #[test]
    fn dead_after_the_window() {
        let mut it = delivery();
        while let Some(at) = it.next_attempt_at {
            it.settle(attempt(None, at), Pace::default());
        }
        assert_eq!(it.status, DeliveryStatus::Dead);
        assert_eq!(it.attempts.last().map(|it| it.at), Some(START + WINDOW));
    }
}
