//! ReplayDelivery: one delivery again, whatever came of it.

use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::{convert, webhooks};
use crate::api::v1::{ReplayDeliveryRequest, ReplayResponse};
use crate::domain::delivery::Delivery;
use crate::domain::{Code, Error, Timestamp};
use crate::store::{Tx, deliveries};

pub(crate) struct ReplayDelivery {
    programme_id: Uuid,
    webhook_id: String,
    delivery_id: String,
    now: Timestamp,
}

impl Prepare for ReplayDeliveryRequest {
    type Change = ReplayDelivery;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<ReplayDelivery> {
        let programme_id = cx.programme().id;
        Ok(ReplayDelivery { programme_id, webhook_id: self.webhook_id, delivery_id: self.delivery_id, now: cx.now })
    }
}

impl Change for ReplayDelivery {
    type Reply = ReplayResponse;

    async fn apply(&self, tx: &mut Tx) -> Outcome<ReplayResponse> {
        let webhook_id = webhooks::hold(tx, self.programme_id, webhooks::id(&self.webhook_id)?).await?.id;
        let event_id = Delivery::event_of(webhook_id, convert::id(&self.delivery_id, not_found())?);
        if deliveries::replay_one(tx, webhook_id, event_id, self.now).await? {
            return Ok(ReplayResponse { count: 1 });
        }
        Err(not_found().into())
    }
}

fn not_found() -> Error {
    let detail =
        "The webhook has no delivery with this id. GET /v1/webhooks/{webhookId}/deliveries lists those it has.";
    Error::new(Code::DeliveryNotFound, detail)
}
