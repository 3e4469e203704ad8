//! Webhooks: claims deliveries fairly, signs and sends them, and writes down what came of each.

mod fairness;
mod settlement;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use metrics::{counter, gauge, histogram};
use uuid::Uuid;

use super::{Backlog, Failure, Queue};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::delivery::{Attempt, Pace};
use crate::domain::reach::Reach;
use crate::outbound::signed::{Envelope, Signer};
use crate::outbound::standard::{Message, Secret};
use crate::outbound::{self, Answer, Client, DEADLINE, Request};
use crate::store::deliveries::{self, Claimed, Lease};
use crate::store::webhooks::{self, Ready};
use crate::store::{Error, Store};
use fairness::{Place, Places};
use settlement::{Ended, Settlement};

/// How long a claim counts: an attempt, and time to write it down.
const LEASE: Duration = Duration::from_secs(45);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The queue of deliveries.
pub struct Webhooks {
    store: Store,
    clock: Clock,
    client: Client,
    signer: Signer,
    /// Whether sandbox programmes may have private callbacks.
    private_callbacks: bool,
    places: Arc<Places>,
    settlement: Settlement,
    /// Which subscription the next claim begins with.
    turn: AtomicUsize,
    /// Whether the last claim left due deliveries behind for want of places: then every settlement is worth another look.
    withheld: AtomicBool,
}

impl Webhooks {
    /// The queue of a store, which sends with `client` and signs with the service's own key.
    pub fn new(store: Store, clock: Clock, (client, signer): (Client, Signer), private_callbacks: bool) -> Self {
        Self {
            client,
            signer,
            private_callbacks,
            places: Arc::default(),
            settlement: Settlement::new(store.clone()),
            turn: AtomicUsize::new(0),
            withheld: AtomicBool::new(false),
            store,
            clock,
        }
    }

    /// Claims the due deliveries of one subscription, as many as it has places for and at most `limit`.
    async fn claim_of(&self, ready: &Arc<Ready>, now: Timestamp, limit: usize) -> Result<Vec<Job>, Error> {
        let subscription = &ready.subscription;
        let wanted = limit.min(self.places.free(subscription));
        if wanted == 0 {
            self.withheld.store(true, Ordering::Relaxed);
            return Ok(Vec::new());
        }
        let of = (subscription.id, subscription.settings.fifo);
        // In a statement of its own, which holds nothing up: the claim proper sees what others took in between.
        let found = deliveries::due(&mut self.store.reader().await?, of, now, wanted as i64).await?;
        if found.len() == wanted {
            self.withheld.store(true, Ordering::Relaxed);
        }
        let job = |claimed| Job {
            claimed,
            ready: Arc::clone(ready),
            lease: Uuid::nil(),
            _place: Places::take(&self.places, of.0),
        };
        Ok(found.into_iter().map(job).collect())
    }

    /// Takes what was found under one lease, in one transaction.
    async fn take(&self, found: Vec<Job>, now: Timestamp) -> Result<Vec<Job>, Error> {
        let lease = Lease { id: self.clock.id(), until: now + LEASE };
        let mut tx = self.store.begin().await?;
        let rows = found.iter().map(|job| job.claimed.clone()).collect();
        let taken = deliveries::claim(&mut tx, rows, (lease, now)).await?;
        tx.commit().await?;
        let taken: std::collections::HashSet<_> = taken.iter().map(|it| it.delivery.id).collect();
        let mine = found.into_iter().filter(|job| taken.contains(&job.claimed.delivery.id));
        Ok(mine.map(|job| Job { lease: lease.id, ..job }).collect())
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
        let message = Message { id: &id, at, body: body.as_bytes() };
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
        let reach = if self.private_callbacks && job.ready.sandbox { Reach::Private } else { Reach::Global };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = self.client.post(Request { url: url.as_str(), reach, headers, body }).await;
        let took = self.clock.monotonic().saturating_sub(began);
        histogram!("webhook_attempt_duration_seconds").record(took.as_secs_f64());
        sent(answer, at)
    }
}

fn sent(answer: Answer, at: Timestamp) -> Sent {
    let retry_after = answer.retry_after;
    Sent { attempt: answer.into_attempt(at), retry_after }
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
    const CEILING: usize = fairness::CEILING;

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        Ok(deliveries::due_at(&mut self.store.reader().await?).await?)
    }

    async fn claim(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, Failure> {
        self.withheld.store(false, Ordering::Relaxed);
        let mut ready: Vec<_> =
            webhooks::ready(&mut self.store.reader().await?, now).await?.into_iter().map(Arc::new).collect();
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len();
        ready.rotate_left(first);
        // An even share for each, and what some do not need for those that come after them.
        let (mut found, mut left) = (Vec::new(), limit);
        for (index, subscription) in ready.iter().enumerate() {
            let share = left.div_ceil(ready.len() - index);
            let jobs = self.claim_of(subscription, now, share).await?;
            left -= jobs.len();
            found.extend(jobs);
        }
        if found.is_empty() { Ok(found) } else { Ok(self.take(found, now).await?) }
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
            // Another one of its entity may go now, or another one of whatever had to wait.
            wake: subscription.settings.fifo || self.withheld.load(Ordering::Relaxed),
        };
        // The place is free by the time that the settlement wakes the next claim.
        drop(job);
        self.settlement.write(ended).await?;
        counter!("webhook_attempts_total", "outcome" => name).increment(1);
        Ok(name)
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        let mut reader = self.store.reader().await?;
        let (waiting, dead) = deliveries::open(&mut reader).await?;
        gauge!("webhook_deliveries_dead").set(dead as f64);
        gauge!("webhook_deliveries_pending").set(waiting as f64);
        Ok(Backlog { waiting, due: deliveries::due_at(&mut reader).await? })
    }
}
