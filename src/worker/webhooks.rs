//! Webhooks: claims deliveries fairly, signs and sends them, and writes down what came of each.

mod fairness;
mod settlement;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use metrics::{counter, gauge, histogram};
use uuid::Uuid;

use super::{Backlog, Failure, Queue, Taken};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::delivery::{Attempt, Pace};
use crate::domain::reach::Reach;
use crate::outbound::signed::{Envelope, Signer};
use crate::outbound::standard::{Message, Secret};
use crate::outbound::{self, Answer, Client, DEADLINE, Request};
use crate::store::deliveries::{self, Claimed, Lease, Wanted};
use crate::store::webhooks::{self, Ready};
use crate::store::{Change, Error, Store, Tx};
use fairness::{Place, Places};
use settlement::{Ended, Settlement};

/// How long a claim counts: an attempt, and time to write it down.
const LEASE: Duration = Duration::from_secs(30);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The queue of deliveries.
pub struct Webhooks {
    store: Store,
    clock: Clock,
    client: Client,
    signer: Signer,
    options: Options,
    places: Arc<Places>,
    settlement: Arc<Settlement>,
    /// Which subscription the next claim begins with.
    turn: AtomicUsize,
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
            signer,
            options,
            places: Places::new(options.rate),
            settlement: Settlement::new(store.clone()),
            turn: AtomicUsize::new(0),
            store,
            clock,
        }
    }

    /// How many deliveries of each subscription to look for: an even share for each, as far as it has places.
    fn shares(&self, ready: &[Arc<Ready>], limit: usize) -> Vec<Share> {
        let (mut left, now) = (limit, self.clock.monotonic());
        let share = |(index, ready_one): (usize, &Arc<Ready>)| {
            let free = self.places.free(&ready_one.subscription, now);
            let count = left.div_ceil(ready.len() - index).min(free);
            left -= count;
            Share { of: Arc::clone(ready_one), count, whole: count == free }
        };
        ready.iter().enumerate().map(share).collect()
    }

    /// Takes what was found under one lease, in one transaction; what of it others have not.
    async fn take(&self, found: Vec<Claimed>, shares: &[Share], now: Timestamp) -> Result<Vec<Job>, Error> {
        let lease = Lease { id: self.clock.id(), until: now + LEASE };
        let key = |it: &Claimed| (it.delivery.subscription_id, it.delivery.event_id);
        let claim = Claim { found: found.iter().map(key).collect(), lease, now };
        let mine: HashSet<_> = self.store.transact(&claim).await?.into_iter().collect();
        let began = self.clock.monotonic();
        let job = |claimed: Claimed| {
            let of = claimed.delivery.subscription_id;
            let ready = Arc::clone(&shares.iter().find(|share| share.of.subscription.id == of)?.of);
            Some(Job { claimed, ready, lease: lease.id, _place: Places::take(&self.places, of, began) })
        };
        Ok(found.into_iter().filter(|it| mine.contains(&key(it))).filter_map(job).collect())
    }

    async fn attempt(&self, job: &Job) -> Sent {
        let (at, began) = (self.clock.now(), self.clock.monotonic());
        let Claimed { delivery, body, traceparent } = &job.claimed;
        if delivery.attempts.is_empty() {
            histogram!("webhook_first_attempt_lag_seconds").record(at.since(delivery.due_since).as_secs_f64());
        }
        let subscription = &job.ready.subscription;
        let secrets: Vec<Secret> = subscription.live_secrets(at).filter_map(|text| Secret::parse(text).ok()).collect();
        let (id, nonce) = (delivery.event_id.to_string(), self.clock.nonce(22));
        let message = Message { id: &id, at, body };
        let url = &subscription.settings.callback_url;
        let mut headers = match self.signer.headers(Envelope { url, message, nonce: &nonce }, &secrets) {
            Ok(headers) => headers,
            Err(error) => {
                tracing::error!(webhook = %subscription.id, %error, "cannot sign a delivery");
                let error = Some("the delivery could not be signed".to_owned());
                let attempt = Attempt { at, status: None, latency_ms: 0, error, response: None };
                return Sent { attempt, retry_after: None };
            }
        };
        if let Some(value) = traceparent.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(TRACEPARENT, value);
        }
        let reach = if self.options.private_callbacks && job.ready.sandbox { Reach::Private } else { Reach::Global };
        let answer = self.client.post(Request { url: url.as_str(), reach, headers, body: body.clone() }).await;
        let took = self.clock.monotonic().saturating_sub(began);
        histogram!("webhook_attempt_duration_seconds").record(took.as_secs_f64());
        sent(answer, at)
    }
}

fn sent(answer: Answer, at: Timestamp) -> Sent {
    let retry_after = answer.retry_after;
    Sent { attempt: answer.into_attempt(at), retry_after }
}

/// How many deliveries of a subscription to look for.
struct Share {
    of: Arc<Ready>,
    count: usize,
    /// It has no places for more.
    whole: bool,
}

impl Share {
    fn wanted(&self) -> Wanted {
        let subscription = &self.of.subscription;
        Wanted { webhook_id: subscription.id, fifo: subscription.settings.fifo, limit: self.count as i64 }
    }
}

/// A claim of deliveries that were found.
struct Claim {
    found: Vec<(Uuid, Uuid)>,
    lease: Lease,
    now: Timestamp,
}

impl Change for Claim {
    type Out = Vec<(Uuid, Uuid)>;
    type Error = Error;

    // Lost in a crash it is as if its lease were over: what it took is sent again.
    const DURABLE: bool = false;

    async fn apply(&self, tx: &mut Tx) -> Result<Self::Out, Error> {
        deliveries::claim(tx, &self.found, (self.lease, self.now)).await
    }
}

/// A delivery under way.
pub struct Job {
    claimed: Claimed,
    ready: Arc<Ready>,
    lease: Uuid,
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
    // The client keeps the contract's; this one is for whatever it does not foresee.
    const DEADLINE: Duration = DEADLINE.saturating_add(Duration::from_secs(5));
    // Those that are being written down too; what one subscription may have under way is another matter.
    const CONCURRENCY: usize = 1024;
    const CEILING: usize = fairness::CEILING;

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        Ok(deliveries::due_at(&mut self.store.reader().await?, self.clock.now()).await?)
    }

    async fn claim(&self, now: Timestamp, limit: usize) -> Result<Taken<Job>, Failure> {
        self.places.forget(self.clock.monotonic());
        // In statements of their own, which hold nothing up: the claim proper sees what others took in between.
        let mut reader = self.store.reader().await?;
        let mut ready: Vec<_> = webhooks::ready(&mut reader, now).await?.into_iter().map(Arc::new).collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
        ready.rotate_left(first);
        let shares = self.shares(&ready, limit);
        let wanted: Vec<_> = shares.iter().filter(|share| share.count > 0).map(Share::wanted).collect();
        let found = deliveries::due(&mut reader, &wanted, now).await?;
        drop(reader);
        let count = found.len();
        let items = if found.is_empty() { Vec::new() } else { self.take(found, &shares, now).await? };
        // What another node was quicker to take, it took instead of others. A full share may have left some, for which there are
        // places already, or will be.
        let mut more = items.len() < count;
        let began = self.clock.monotonic();
        for Share { of, count, whole } in &shares {
            let id = of.subscription.id;
            if items.iter().filter(|job| job.ready.subscription.id == id).count() < *count {
                continue;
            }
            if *whole {
                self.places.want(id, *count, began);
            } else {
                more = true;
            }
        }
        Ok(Taken { items, more })
    }

    async fn perform(&self, job: &Job) -> Sent {
        self.attempt(job).await
    }

    async fn settle(&self, job: Job, done: Option<Sent>) -> Result<&'static str, Failure> {
        let sent = done.unwrap_or_else(|| {
            let error = outbound::Error::Deadline;
            sent(Answer { error: Some(error), latency: Self::DEADLINE, ..Answer::default() }, self.clock.now())
        });
        let random = u64::from_be_bytes(self.clock.random());
        let at = sent.attempt.ended_at();
        let mut delivery = job.claimed.delivery.clone();
        let outcome = delivery.settle(sent.attempt, Pace { retry_after: sent.retry_after, random });
        let name = delivery.status.as_str();
        let name = if name == "pending" { "retry" } else { name };
        let subscription = &job.ready.subscription;
        let ended = Ended {
            settled: deliveries::Settled { delivery, lease: job.lease },
            outcome,
            at,
            healthy: subscription.failing_since.is_none() && subscription.disabled_reason.is_none(),
            // Another one of its entity may go now.
            wake: subscription.settings.fifo,
        };
        // Frees the place: the next attempts may be under way while this one is written down.
        drop(job);
        self.settlement.write(ended).await?;
        counter!("webhook_attempts_total", "outcome" => name).increment(1);
        Ok(name)
    }

    async fn room(&self) {
        self.places.room().await;
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        let mut reader = self.store.reader().await?;
        let (waiting, dead) = deliveries::open(&mut reader).await?;
        gauge!("webhook_deliveries_dead").set(dead as f64);
        gauge!("webhook_deliveries_pending").set(waiting as f64);
        Ok(Backlog { waiting, due: deliveries::due_at(&mut reader, self.clock.now()).await? })
    }
}
