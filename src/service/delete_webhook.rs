//! DeleteWebhook: nothing more is sent from then on; what is left of it is swept by the worker.

use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::webhooks;
use crate::api::v1::DeleteWebhookRequest;
use crate::store::{self, Tx};

pub(crate) struct DeleteWebhook {
    programme_id: Uuid,
    id: String,
}

impl Prepare for DeleteWebhookRequest {
    type Change = DeleteWebhook;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<DeleteWebhook> {
        Ok(DeleteWebhook { programme_id: cx.programme().id, id: self.webhook_id })
    }
}

impl Change for DeleteWebhook {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        if store::webhooks::delete(tx, self.programme_id, webhooks::id(&self.id)?).await? {
            return Ok(());
        }
        Err(webhooks::not_found().into())
    }
}
