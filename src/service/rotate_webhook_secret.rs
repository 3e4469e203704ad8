//! RotateWebhookSecret: a new secret, the old one signing beside it for a while.

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::webhooks;
use crate::api::v1::{RotateWebhookSecretRequest, RotateWebhookSecretResponse};
use crate::domain::Timestamp;
use crate::store::{self, Tx};

pub(crate) struct RotateWebhookSecret {
    programme_id: Uuid,
    webhook_id: String,
    secret: SecretString,
    now: Timestamp,
}

impl Prepare for RotateWebhookSecretRequest {
    type Change = RotateWebhookSecret;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<RotateWebhookSecret> {
        let (programme_id, secret) = (cx.programme().id, cx.api.webhook_secret());
        Ok(RotateWebhookSecret { programme_id, webhook_id: self.webhook_id, secret, now: cx.now })
    }
}

impl Change for RotateWebhookSecret {
    type Reply = RotateWebhookSecretResponse;

    async fn apply(&self, tx: &mut Tx) -> Outcome<RotateWebhookSecretResponse> {
        let mut held = webhooks::hold(tx, self.programme_id, webhooks::id(&self.webhook_id)?).await?;
        held.rotate_secret(self.secret.clone(), self.now);
        store::webhooks::update(tx, &held).await?;
        Ok(RotateWebhookSecretResponse { secret: self.secret.expose_secret().to_owned() })
    }
}
