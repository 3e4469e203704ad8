//! TestWebhook: a trial delivery, with no event behind it.

use serde::Serialize;
use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::webhooks;
use crate::api::v1::TestWebhookRequest;
use crate::domain::Timestamp;
use crate::domain::delivery::{Delivery, DeliveryStatus};
use crate::domain::webhook::WebhookType;
use crate::store::{Tx, deliveries};

pub(crate) struct TestWebhook {
    programme_id: Uuid,
    webhook_id: String,
    event_id: Uuid,
    now: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    webhook_type: &'static str,
    event_id: Uuid,
    webhook_id: Uuid,
    created_at: String,
}

impl Prepare for TestWebhookRequest {
    type Change = TestWebhook;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<TestWebhook> {
        let (programme_id, event_id) = (cx.programme().id, cx.api.clock.id());
        Ok(TestWebhook { programme_id, webhook_id: self.webhook_id, event_id, now: cx.now })
    }
}

impl Change for TestWebhook {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let webhook_id = webhooks::hold(tx, self.programme_id, webhooks::id(&self.webhook_id)?).await?.id;
        let body = Body {
            webhook_type: WebhookType::Test.as_str(),
            event_id: self.event_id,
            webhook_id,
            created_at: self.now.json(),
        };
        let delivery = Delivery {
            id: Delivery::id_of(webhook_id, self.event_id),
            subscription_id: webhook_id,
            event_id: self.event_id,
            webhook_type: WebhookType::Test,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            tries: 0,
            due_since: self.now,
            next_attempt_at: Some(self.now),
        };
        // Texts and ids always serialise.
        let body = serde_json::to_string(&body).unwrap_or_default();
        Ok(deliveries::insert_trial(tx, &delivery, &body).await?)
    }
}
