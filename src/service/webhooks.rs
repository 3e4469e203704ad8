//! What the RPCs about subscriptions have in common.

use uuid::Uuid;

use super::context::Context;
use super::convert::{self, timestamp};
use super::failure::Outcome;
use crate::api::v1;
use crate::domain::delivery::{Attempt, Delivery, DeliveryStatus};
use crate::domain::reach::Reach;
use crate::domain::webhook::{DisabledReason, Subscription, Summary, WebhookType};
use crate::domain::{Code, Error, Timestamp, Violation};
use crate::store::{Tx, webhooks};

/// No such subscription, or another programme's: the same answer.
pub(super) fn not_found() -> Error {
    Error::new(Code::WebhookNotFound, "The programme has no webhook with this id. GET /v1/webhooks lists those it has.")
}

/// The id of a subscription.
pub(super) fn id(text: &str) -> Result<Uuid, Error> {
    convert::id(text, not_found())
}

/// A programme's subscription held for a change.
pub(super) async fn hold(tx: &mut Tx, programme_id: Uuid, id: Uuid) -> Outcome<Subscription> {
    let held = webhooks::lock(tx, id).await?.filter(|it| it.programme_id == programme_id);
    Ok(held.ok_or_else(not_found)?)
}

/// How far the caller's callbacks may reach.
pub(super) fn reach(cx: &Context<'_>) -> Reach {
    if cx.api.settings.private_callbacks && cx.programme().sandbox { Reach::Private } else { Reach::Global }
}

/// Event types from a list of names; one violation for each name that is none.
pub(super) fn types(names: &[String]) -> Result<Vec<WebhookType>, Error> {
    let mut known = Vec::with_capacity(names.len());
    let mut violations = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match name.parse::<WebhookType>() {
            Ok(webhook_type) => known.push(webhook_type),
            Err(unknown) => violations.push(Violation {
                field: format!("types[{index}]"),
                code: "INVALID_VALUE",
                message: format!("It {unknown}."),
            }),
        }
    }
    if violations.is_empty() { Ok(known) } else { Err(Error::violations(violations)) }
}

/// A subscription as a message, without its secret.
pub(super) fn message(it: &Summary) -> v1::Webhook {
    let status = if it.disabled_reason.is_none() { v1::WebhookStatus::Active } else { v1::WebhookStatus::Disabled };
    v1::Webhook {
        id: it.id.to_string(),
        callback_url: it.settings.callback_url.as_str().to_owned(),
        types: it.settings.types.iter().map(|it| it.as_str().to_owned()).collect(),
        status: status.into(),
        disabled_reason: it.disabled_reason.map(DisabledReason::as_str).map(str::to_owned),
        fifo: it.settings.fifo,
        secret: None,
        created_at: Some(timestamp(it.created_at)),
        updated_at: Some(timestamp(it.updated_at)),
    }
}

/// A delivery as a message.
pub(super) fn delivery((it, created_at): &(Delivery, Timestamp)) -> v1::Delivery {
    v1::Delivery {
        id: it.id.to_string(),
        event_id: it.event_id.to_string(),
        webhook_type: it.webhook_type.as_str().to_owned(),
        status: status(it.status).into(),
        attempts: it.attempts.iter().map(attempt).collect(),
        next_attempt_at: it.next_attempt_at.map(timestamp),
        created_at: Some(timestamp(*created_at)),
    }
}

fn attempt(it: &Attempt) -> v1::DeliveryAttempt {
    v1::DeliveryAttempt {
        at: Some(timestamp(it.at)),
        status: it.status.map(u32::from),
        latency_ms: it.latency_ms,
        error: it.error.clone(),
        response: it.response.clone(),
    }
}

const fn status(status: DeliveryStatus) -> v1::DeliveryStatus {
    match status {
        DeliveryStatus::Pending => v1::DeliveryStatus::Pending,
        DeliveryStatus::Delivered => v1::DeliveryStatus::Delivered,
        DeliveryStatus::Dead => v1::DeliveryStatus::Dead,
    }
}

/// A filter by status. `Unspecified` counts as none.
pub(super) fn wanted_status(value: Option<i32>) -> Result<Option<DeliveryStatus>, Error> {
    match value.map(v1::DeliveryStatus::try_from) {
        None | Some(Ok(v1::DeliveryStatus::Unspecified)) => Ok(None),
        Some(Ok(v1::DeliveryStatus::Pending)) => Ok(Some(DeliveryStatus::Pending)),
        Some(Ok(v1::DeliveryStatus::Delivered)) => Ok(Some(DeliveryStatus::Delivered)),
        Some(Ok(v1::DeliveryStatus::Dead)) => Ok(Some(DeliveryStatus::Dead)),
        Some(Err(_)) => Err(Error::invalid("status", "INVALID_VALUE", "Must be pending, delivered or dead.")),
    }
}
