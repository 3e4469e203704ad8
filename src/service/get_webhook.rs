//! GetWebhook.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::webhooks;
use crate::api::v1::{GetWebhookRequest, Webhook};
use crate::store;

impl Read for GetWebhookRequest {
    type Reply = Webhook;

    async fn read(self, cx: &Context<'_>) -> Outcome<Webhook> {
        let id = webhooks::id(&self.webhook_id)?;
        let found = store::webhooks::get(&mut cx.api.store.reader().await?, cx.programme().id, id).await?;
        Ok(webhooks::message(&found.ok_or_else(webhooks::not_found)?))
    }
}
