//! ReplayWebhook: the deliveries of a span of time again.

use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::{convert, webhooks};
use crate::api::v1::{ReplayResponse, ReplayWebhookRequest};
use crate::domain::delivery::DeliveryStatus;
use crate::domain::{Error, Timestamp};
use crate::store::Tx;
use crate::store::deliveries::{self, Span};

/// Deliveries that one call sends again at the most: what one transaction can carry without holding up others.
const LIMIT: i64 = 20_000;

pub(crate) struct ReplayWebhook {
    programme_id: Uuid,
    webhook_id: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    status: Option<DeliveryStatus>,
    include_succeeded: bool,
    now: Timestamp,
}

impl Prepare for ReplayWebhookRequest {
    type Change = ReplayWebhook;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<ReplayWebhook> {
        let (since, until) = (convert::moment_up("since", self.since)?, convert::moment_up("until", self.until)?);
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Error::invalid("until", "OUT_OF_RANGE", "Must be later than since.").into());
        }
        Ok(ReplayWebhook {
            programme_id: cx.programme().id,
            webhook_id: self.webhook_id,
            since,
            until,
            status: webhooks::wanted_status(self.status)?,
            include_succeeded: self.include_succeeded,
            now: cx.now,
        })
    }
}

impl Change for ReplayWebhook {
    type Reply = ReplayResponse;

    async fn apply(&self, tx: &mut Tx) -> Outcome<ReplayResponse> {
        let webhook_id = webhooks::hold(tx, self.programme_id, webhooks::id(&self.webhook_id)?).await?.id;
        let span = Span {
            webhook_id,
            since: self.since,
            until: self.until,
            status: self.status,
            include_succeeded: self.include_succeeded,
            limit: LIMIT,
        };
        let count = deliveries::replay(tx, span, self.now).await?;
        Ok(ReplayResponse { count: u32::try_from(count).unwrap_or(u32::MAX) })
    }
}
