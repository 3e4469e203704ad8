//! GetWebhook.

use super::api::Find;
use super::context::Context;
use super::failure::Outcome;
use super::webhooks;
use crate::api::v1::{GetWebhookRequest, Webhook};
use crate::domain::Error;
use crate::store;

impl Find for GetWebhookRequest {
    type Reply = Webhook;

    async fn find(&self, cx: &Context<'_>) -> Outcome<Option<Webhook>> {
        let id = webhooks::id(&self.webhook_id)?;
        let found = store::webhooks::get_owned(&mut cx.api.store.reader().await?, cx.owner(), id).await?;
        Ok(found.as_ref().map(webhooks::message))
    }

    fn missing() -> Error {
        webhooks::not_found()
    }
}
