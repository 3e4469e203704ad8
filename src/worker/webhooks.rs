//! Webhooks: claims deliveries fairly, signs and sends them, and writes down what came of each.

mod ahead;
mod claim;
mod fairness;
mod hands;
mod horizon;
mod look;
mod settlement;
mod signing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use metrics::{counter, gauge, histogram};
use uuid::Uuid;

use super::{Backlog, Failure, Queue, Taken};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::delivery::{Attempt, Outcome, Pace};
use crate::domain::reach::Reach;
use crate::outbound::signed::{Envelope, Signer};
use crate::outbound::standard::{Message, Secret};
use crate::outbound::{self, Answer, Client, DEADLINE, Target};
use crate::store::deliveries::{self, Claimed};
use crate::store::webhooks::{self, Ready};
use crate::store::{Error, Reader, Store};
use ahead::Ahead;
use claim::{End, Take, Want};
use fairness::{Place, Places};
use hands::{Hands, Held};
use horizon::Horizon;
use look::{Found, Look, asked};
use settlement::{Ended, Settlement};
use signing::Signing;

/// How much of its lease an attempt must still have when it begins.
const FRESH: Duration = DEADLINE.saturating_add(Duration::from_secs(7));
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The queue of deliveries.
pub struct Webhooks {
    store: Store,
    clock: Clock,
    client: Client,
    signing: Signing,
    options: Options,
    /// This node's name in claims.
    node: Uuid,
    places: Arc<Places>,
    hands: Arc<Hands>,
    ahead: Ahead,
    horizon: Horizon,
    settlement: Arc<Settlement>,
    /// Which subscription the next claim begins with.
    turn: AtomicUsize,
    /// The second of the clock's monotonic time in which the places were last gone through.
    tidied: AtomicU64,
}

/// What can be chosen about sending.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether sandbox programmes may have private callbacks.
    pub private_callbacks: bool,
    /// Attempts a second to one subscription at the most, on this node.
    pub rate: u32,
}

impl Webhooks {
    /// The queue of a store, which sends with `client` and signs with the service's own key.
    pub fn new(store: Store, clock: Clock, (client, signer): (Client, Signer), options: Options) -> Self {
        Self {
            client,
            signing: Signing::new(signer),
            options,
            node: clock.id(),
            places: Places::new(options.rate),
            hands: Arc::default(),
            ahead: Ahead::default(),
            horizon: Horizon::default(),
            settlement: Settlement::new(store.clone()),
            turn: AtomicUsize::new(0),
            tidied: AtomicU64::new(0),
            store,
            clock,
        }
    }

    /// How many deliveries of each subscription to look for: an even share for each, as far as it has places or may have some
    /// claimed ahead.
    fn shares(&self, ready: &[Arc<To>], limit: usize) -> Vec<Share> {
        let (now, waiting) = (self.clock.monotonic(), self.ahead.waiting());
        let mut left = limit.saturating_sub(waiting.values().sum());
        let share = |(index, to): (usize, &Arc<To>)| {
            let subscription = &to.ready.subscription;
            let wanted = self.places.wanted(subscription, now);
            let wanted = wanted.saturating_sub(waiting.get(&subscription.id).copied().unwrap_or(0));
            let count = left.div_ceil(ready.len() - index).min(wanted);
            left -= count;
            Share { to: Arc::clone(to), count, whole: count == wanted }
        };
        ready.iter().enumerate().map(share).collect()
    }

    /// Claims what was found, in one transaction: gives what of it others were not quicker to take, by subscription.
    async fn take(&self, mut reader: Reader, found: Vec<Found>, now: Timestamp) -> Result<InHand, Error> {
        let (mut due, mut wants) = (Vec::new(), Vec::new());
        let looked: Vec<_> = found.iter().map(|found| (found.webhook_id, found.due.len(), found.end)).collect();
        for Found { webhook_id, due: found, others, .. } in found.into_iter().filter(|found| !found.due.is_empty()) {
            let events = found.iter().map(|due| due.event_id).collect();
            wants.push(Want { webhook_id, in_hand: self.hands.of(webhook_id), found: events, others });
            due.extend(found);
        }
        let read = deliveries::read(&mut reader, due).await?;
        drop(reader);
        let mut mine = HashMap::new();
        if !wants.is_empty() {
            for taken in self.store.transact(&Take { node: self.node, now, wants }).await? {
                self.hands.set_until(taken.webhook_id, Some(taken.until));
                mine.insert(taken.webhook_id, taken);
            }
        }
        let mut claimed = InHand::new();
        for mut it in read {
            let (id, event) = (it.delivery.subscription_id, it.delivery.event_id);
            if let Some(taken) = mine.get(&id).filter(|taken| taken.events.contains(&event)) {
                if taken.over.contains(&event) {
                    it.delivery.next_attempt_at = Some(now);
                }
                let held = Hands::take(&self.hands, id, event);
                claimed.entry(id).or_default().push((it, held));
            }
        }
        for (id, found, end) in looked {
            let all = claimed.get(&id).map_or(0, Vec::len) == found;
            self.hands.looked(id, end.filter(|_| all));
        }
        Ok(claimed)
    }

    /// Lines up what was claimed of these shares, in which not everything may have been found.
    fn line_up(&self, shares: &[Share], mut claimed: InHand) {
        for Share { to, count, whole } in shares {
            let id = to.ready.subscription.id;
            let claimed = claimed.remove(&id).unwrap_or_default();
            let more = *whole && claimed.len() == *count;
            // Of one of which nothing is claimed nothing is under way that could make room.
            if let Some(until) = self.hands.until(id) {
                self.ahead.extend(to, claimed, (until, more));
            }
        }
    }

    async fn attempt(&self, job: &Job) -> Sent {
        let (at, began) = (self.clock.now(), self.clock.monotonic());
        let Claimed { delivery, body, traceparent, request_id } = &job.claimed;
        if delivery.attempts.is_empty() {
            histogram!("webhook_first_attempt_lag_seconds").record(at.since(delivery.due_since).as_secs_f64());
        }
        let To { ready: Ready { subscription, .. }, target, secrets } = &*job.to;
        let (id, nonce) = (delivery.event_id.to_string(), self.clock.nonce(22));
        let message = Message { id: &id, at, body };
        let url = &subscription.settings.callback_url;
        let mut headers = match self.signing.signer().headers(Envelope { url, message, nonce: &nonce }, secrets) {
            Ok(headers) => headers,
            Err(error) => {
                tracing::error!(webhook = %subscription.id, %error, "cannot sign a delivery");
                let error = Some("the delivery could not be signed".to_owned());
                let attempt = Attempt { at, status: None, latency_ms: 0, error, response: None };
                return Sent { attempt, retry_after: None };
            }
        };
        for (name, value) in [(TRACEPARENT, traceparent), (REQUEST_ID, request_id)] {
            if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        let answer = match target {
            Ok(target) => self.client.post(target, headers, body.clone()).await,
            Err(error) => Answer { error: Some(error.clone()), ..Answer::default() },
        };
        let took = self.clock.monotonic().saturating_sub(began);
        histogram!("webhook_attempt_duration_seconds").record(took.as_secs_f64());
        sent(answer, at)
    }
}

fn sent(answer: Answer, at: Timestamp) -> Sent {
    let retry_after = answer.retry_after;
    Sent { attempt: answer.into_attempt(at), retry_after }
}

/// Where deliveries of a subscription go, read once for all that a look finds.
struct To {
    ready: Ready,
    target: Result<Target, outbound::Error>,
    /// With which they are signed.
    secrets: Vec<Secret>,
}

impl To {
    fn new(ready: Ready, options: Options, now: Timestamp) -> Self {
        let subscription = &ready.subscription;
        let reach = if options.private_callbacks && ready.sandbox { Reach::Private } else { Reach::Global };
        let target = Target::new(subscription.settings.callback_url.as_str(), reach);
        let secrets = subscription.live_secrets(now).filter_map(|text| Secret::parse(text).ok()).collect();
        Self { ready, target, secrets }
    }
}

/// What was claimed, of each subscription.
type InHand = HashMap<Uuid, Vec<(Claimed, Held)>>;

/// How many deliveries of a subscription to look for.
struct Share {
    to: Arc<To>,
    count: usize,
    /// It may have no more than that.
    whole: bool,
}

/// A delivery under way.
pub struct Job {
    claimed: Claimed,
    held: Held,
    to: Arc<To>,
    /// Its place among its subscription's, free again when this is dropped.
    _place: Place,
}

/// An attempt that was made.
pub struct Sent {
    attempt: Attempt,
    retry_after: Option<Duration>,
}

impl Queue for Webhooks {
    type Item = Job;
    type Done = Sent;

    const NAME: &'static str = "webhooks";
    // The client keeps the contract's.
    const DEADLINE: Option<Duration> = None;
    // Those that are being written down too; what one subscription may have under way is another matter.
    const CONCURRENCY: usize = 1024;
    const CEILING: usize = fairness::CEILING;

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        // What is in hand is due as well, as far as the store can tell: only a look finds what else is.
        if self.hands.any() {
            return Ok(Some(self.clock.now()));
        }
        let mut reader = self.store.reader().await?;
        let since = self.horizon.get(&mut reader, &self.clock).await?;
        Ok(deliveries::due_at(&mut reader, since).await?)
    }

    /// Lines up what it claims: see [`at_hand`](Self::at_hand).
    async fn claim(&self, now: Timestamp, limit: usize) -> Result<Taken<Job>, Failure> {
        let began = self.clock.monotonic();
        let tidies = self.tidied.swap(began.as_secs(), Ordering::Relaxed) != began.as_secs();
        if tidies {
            self.places.forget(began);
            self.hands.forget(now);
        }
        self.ahead.looking();
        // In statements of their own, which hold nothing up: the claim proper sees what others took in between.
        let mut reader = self.store.reader().await?;
        if tidies {
            self.signing.refresh(&mut reader, now).await?;
        }
        let since = self.horizon.get(&mut reader, &self.clock).await?;
        let ready = webhooks::ready(&mut reader, (since, now)).await?;
        let mut ready: Vec<_> = ready.into_iter().map(|ready| Arc::new(To::new(ready, self.options, now))).collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
        ready.rotate_left(first);
        self.ahead.only(&ready);
        let shares = self.shares(&ready, limit);
        let look = Look { node: self.node, hands: &self.hands, now, began };
        let found = look.find(&mut reader, &asked(&shares, since)).await?;
        let count: usize = found.iter().map(|found| found.due.len()).sum();
        let next = match count {
            0 => deliveries::due_at(&mut reader, now).await?.filter(|next| *next > now),
            _ => None,
        };
        let claimed = self.take(reader, found, now).await?;
        let taken: usize = claimed.values().map(Vec::len).sum();
        self.line_up(&shares, claimed);
        // What another node was quicker to take, it took instead of others; and not everybody may have got a whole share.
        Ok(Taken { items: Vec::new(), more: taken < count || shares.iter().any(|share| !share.whole), next })
    }

    async fn room(&self) {
        self.places.room().await;
    }

    fn at_hand(&self, limit: usize) -> Taken<Job> {
        let (until, began) = (self.clock.now() + FRESH, self.clock.monotonic());
        let (mut items, mut more) = (Vec::new(), false);
        self.ahead.lines().retain(|&id, line| {
            if self.places.awaits(id) {
                return true;
            }
            let (free, before) = (self.places.free(&line.to.ready.subscription, began), items.len());
            while items.len() < limit.min(before + free)
                && let Some((claimed, held)) = line.next(until)
            {
                let place = Places::take(&self.places, id, began);
                items.push(Job { claimed, held, to: Arc::clone(&line.to), _place: place });
            }
            let begun = items.len() - before;
            let look = line.more && begun < free;
            more |= look;
            let wants = line.more || line.waiting() > 0;
            // Where there is nothing to begin before the next look, room is of no use: it would be told of at once, over and over.
            if wants && (begun > 0 || line.waiting() > 0 || !look) {
                self.places.want(id, begun, began);
            }
            wants
        });
        Taken { items, more, next: None }
    }

    async fn release(&self) -> Result<(), Failure> {
        self.ahead.clear();
        self.hands.look();
        let (mut wants, mut over) = (Vec::new(), Vec::new());
        for webhook_id in self.hands.claimed() {
            let in_hand = self.hands.of(webhook_id);
            if in_hand.is_empty() {
                self.hands.set_until(webhook_id, None);
                over.push((webhook_id, self.node));
            } else {
                wants.push(Want { webhook_id, in_hand, found: Vec::new(), others: Vec::new() });
            }
        }
        if !wants.is_empty() {
            self.store.transact(&Take { node: self.node, now: self.clock.now(), wants }).await?;
        }
        if !over.is_empty() {
            self.store.transact(&End(over)).await?;
        }
        Ok(())
    }

    async fn perform(&self, job: &Job) -> Sent {
        self.attempt(job).await
    }

    async fn settle(&self, job: Job, done: Option<Sent>) -> Result<&'static str, Failure> {
        let sent = done.unwrap_or_else(|| {
            let error = outbound::Error::Deadline;
            sent(Answer { error: Some(error), latency: DEADLINE, ..Answer::default() }, self.clock.now())
        });
        let random = match sent.attempt.outcome() {
            Outcome::Failed => u64::from_be_bytes(self.clock.random()),
            Outcome::Delivered | Outcome::Gone => 0,
        };
        let at = sent.attempt.ended_at();
        let mut delivery = job.claimed.delivery.clone();
        let due = delivery.next_attempt_at.unwrap_or(delivery.due_since);
        let before = delivery.attempts.last().map_or(due, Attempt::ended_at);
        let paused = job.to.ready.pauses.after(before);
        let outcome = delivery.settle(sent.attempt, Pace { retry_after: sent.retry_after, random, paused });
        let name = delivery.status.as_str();
        let name = if name == "pending" { "retry" } else { name };
        let subscription = &job.to.ready.subscription;
        let ended = Ended {
            settled: deliveries::Settled { delivery, due },
            _held: job.held,
            outcome,
            at,
            healthy: subscription.failing_since.is_none() && subscription.disabled_reason.is_none(),
            // Another one of its entity may go now.
            wake: subscription.settings.fifo,
        };
        // Frees the place: the next attempts may be under way while this one is written down.
        drop(job._place);
        self.settlement.write(ended).await?;
        counter!("webhook_attempts_total", "outcome" => name).increment(1);
        Ok(name)
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        let mut reader = self.store.reader().await?;
        let (waiting, dead) = deliveries::open(&mut reader).await?;
        gauge!("webhook_deliveries_dead").set(dead as f64);
        gauge!("webhook_deliveries_pending").set(waiting as f64);
        // A failed attempt moves a delivery into the future, which must not hide since when it has been waiting.
        let due =
            [deliveries::due_at(&mut reader, Timestamp::EPOCH).await?, deliveries::retried_since(&mut reader).await?];
        Ok(Backlog { waiting, due: due.into_iter().flatten().min() })
    }
}
