//! One attempt: signed, sent, judged.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use metrics::histogram;

use super::Options;
use super::signing::Signing;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::delivery::{Attempt, Outcome, Pace};
use crate::domain::reach::Reach;
use crate::outbound::signed::Envelope;
use crate::outbound::standard::{Message, Secret};
use crate::outbound::{self, Answer, Client, Target};
use crate::store::deliveries::{Attempted, Due, Lease};
use crate::store::webhooks::Recipient;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where deliveries of a subscription go, read once for all that a scan finds.
pub(super) struct To {
    pub(super) recipient: Recipient,
    target: Result<Target, outbound::Error>,
    /// With which they are signed.
    secrets: Vec<Secret>,
}

impl To {
    pub(super) fn new(recipient: Recipient, options: Options, now: Timestamp) -> Self {
        let subscription = &recipient.subscription;
        let reach = if options.private_callbacks && recipient.sandbox { Reach::Private } else { Reach::Global };
        let target = Target::new(subscription.settings.callback_url.as_str(), reach);
        let secrets = subscription.live_secrets(now).filter_map(|text| Secret::parse(text).ok()).collect();
        Self { recipient, target, secrets }
    }

    /// Whether it had no failure to its name.
    pub(super) const fn is_healthy(&self) -> bool {
        self.recipient.subscription.failing_since.is_none() && self.recipient.subscription.disabled_reason.is_none()
    }
}

/// An attempt that was made.
pub(super) struct Sent {
    attempt: Attempt,
    retry_after: Option<Duration>,
}

/// What sends.
pub(super) struct Sender {
    pub(super) clock: Clock,
    pub(super) client: Client,
    pub(super) signing: Signing,
}

impl Sender {
    /// Sends a delivery; what the receiver said.
    pub(super) async fn send(&self, to: &To, due: &Due) -> Sent {
        let (at, began) = (self.clock.now(), self.clock.monotonic());
        let Due { delivery, body, traceparent, request_id, .. } = due;
        if delivery.attempts.is_empty() {
            histogram!("webhook_first_attempt_lag_seconds").record(at.since(delivery.due_since).as_secs_f64());
        }
        let (id, nonce) = (delivery.event_id.to_string(), self.clock.nonce(22));
        let message = Message { id: &id, at, body };
        let subscription = &to.recipient.subscription;
        let url = &subscription.settings.callback_url;
        let signer = self.signing.signer();
        let mut headers = match signer.headers(Envelope { url, message, nonce: &nonce }, &to.secrets) {
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
        let answer = match &to.target {
            Ok(target) => self.client.post(target, headers, body.clone()).await,
            Err(error) => Answer { error: Some(error.clone()), ..Answer::default() },
        };
        let took = self.clock.monotonic().saturating_sub(began);
        histogram!("webhook_attempt_duration_seconds").record(took.as_secs_f64());
        let retry_after = answer.retry_after;
        Sent { attempt: answer.into_attempt(at), retry_after }
    }

    /// What the attempt makes of its delivery.
    pub(super) fn judge(&self, sent: Sent, (to, due): (&To, Due), lease: Lease) -> (Attempted, Outcome) {
        let random = match sent.attempt.outcome() {
            Outcome::Failed => u64::from_be_bytes(self.clock.random()),
            Outcome::Delivered | Outcome::Gone => 0,
        };
        let at = sent.attempt.ended_at();
        let mut delivery = due.delivery;
        let due = delivery.next_attempt_at.unwrap_or(delivery.due_since);
        let before = delivery.attempts.last().map_or(due, Attempt::ended_at);
        let paused = to.recipient.pauses.after(before);
        let outcome = delivery.settle(sent.attempt, Pace { retry_after: sent.retry_after, random, paused });
        (Attempted { delivery, due, at, lease }, outcome)
    }
}
