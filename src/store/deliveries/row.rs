//! A delivery as it is stored.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Timestamp;
use crate::domain::delivery::{Attempt, Delivery, DeliveryStatus};
use crate::domain::webhook::WebhookType;
use crate::store::Error;
use crate::store::value::row;

/// Attempts kept of a delivery, the newest: one window has at most 24, so only replays reach it.
const KEPT: usize = 50;

row! {
    pub(super) struct DeliveryRow {
        pub(super) webhook_id: Uuid,
        pub(super) event_id: Uuid,
        pub(super) webhook_type: String,
        pub(super) status: String,
        pub(super) attempts: String,
        pub(super) tries: i64,
        pub(super) due_since: Timestamp,
        pub(super) next_attempt_at: Option<Timestamp>,
        pub(super) created_at: Timestamp,
    }
}

impl DeliveryRow {
    /// The delivery, and when it was recorded.
    pub(super) fn read(self) -> Result<(Delivery, Timestamp), Error> {
        let status = DeliveryStatus::from_name(&self.status)
            .ok_or_else(|| Error::unreadable("deliveries.status", &self.status))?;
        let delivery = Delivery {
            id: Delivery::id_of(self.webhook_id, self.event_id),
            subscription_id: self.webhook_id,
            event_id: self.event_id,
            webhook_type: webhook_type(&self.webhook_type)?,
            status,
            attempts: attempts(&self.attempts)?,
            tries: u32::try_from(self.tries).unwrap_or(u32::MAX),
            due_since: self.due_since,
            // What is due at once was written as due before it was made.
            next_attempt_at: self.next_attempt_at.map(|at| at.max(self.created_at)),
        };
        Ok((delivery, self.created_at))
    }
}

/// The type of a stored name.
pub(super) fn webhook_type(name: &str) -> Result<WebhookType, Error> {
    WebhookType::from_name(name).ok_or_else(|| Error::unreadable("deliveries.webhook_type", name))
}

#[derive(Serialize, Deserialize)]
struct Stored {
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    latency_ms: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<String>,
}

/// The attempts of a stored text.
pub(super) fn attempts(text: &str) -> Result<Vec<Attempt>, Error> {
    let stored: Vec<Stored> =
        serde_json::from_str(text).map_err(|error| Error::unreadable("deliveries.attempts", &error.to_string()))?;
    let read = |it: Stored| Attempt {
        at: Timestamp::from_micros(it.at),
        status: it.status,
        latency_ms: it.latency_ms,
        error: it.error,
        response: it.response,
    };
    Ok(stored.into_iter().map(read).collect())
}

/// The newest attempts as they are stored.
pub(super) fn text(attempts: &[Attempt]) -> String {
    let from = attempts.len().saturating_sub(KEPT);
    let stored = attempts[from..].iter().map(|it| Stored {
        at: it.at.micros(),
        status: it.status,
        latency_ms: it.latency_ms,
        error: it.error.clone(),
        response: it.response.clone(),
    });
    // Numbers and strings always serialise.
    serde_json::to_string(&stored.collect::<Vec<_>>()).unwrap_or_else(|_| "[]".to_owned())
}
