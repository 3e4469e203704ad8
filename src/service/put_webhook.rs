//! PutWebhook: creates a subscription, or changes and revives one.

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::webhooks;
use crate::api::v1;
use crate::domain::callback_url::CallbackUrl;
use crate::domain::webhook::{Settings, Subscription};
use crate::domain::{Error, Timestamp};
use crate::store::{self, Tx, deliveries};

pub(crate) struct PutWebhook {
    programme_id: Uuid,
    /// The subscription to change.
    existing: Option<Uuid>,
    /// The id of a new one.
    id: Uuid,
    secret: SecretString,
    callback_url: CallbackUrl,
    types: Vec<crate::domain::webhook::WebhookType>,
    fifo: Option<bool>,
    now: Timestamp,
}

impl Prepare for v1::PutWebhookRequest {
    type Change = PutWebhook;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<PutWebhook> {
        let url = match self.callback_url.as_str() {
            "" => Err(Error::invalid("callbackUrl", "REQUIRED", "Must be given.")),
            text => CallbackUrl::parse(text, webhooks::reach(cx)).map_err(Error::from),
        };
        let types = match self.types.as_slice() {
            [] => Err(Error::invalid("types", "REQUIRED", "Must name at least one event type.")),
            names => webhooks::types(names),
        };
        let (callback_url, types) = match (url, types) {
            (Ok(url), Ok(types)) => (url, types),
            (Err(mut first), Err(second)) => {
                first.violations.extend(second.violations);
                return Err(Error::violations(first.violations).into());
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error.into()),
        };
        Ok(PutWebhook {
            programme_id: cx.programme().id,
            existing: self.id.as_deref().map(webhooks::id).transpose()?,
            id: cx.api.clock.id(),
            secret: cx.api.webhook_secret(),
            callback_url,
            types,
            fifo: self.fifo,
            now: cx.now,
        })
    }
}

impl Change for PutWebhook {
    type Reply = v1::Webhook;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Webhook> {
        let settings = |fifo| Settings {
            callback_url: self.callback_url.clone(),
            types: self.types.iter().copied().collect(),
            fifo: self.fifo.unwrap_or(fifo),
        };
        if let Some(id) = self.existing {
            let mut held = webhooks::hold(tx, self.programme_id, id).await?;
            let disabled = held.disabled_reason.is_some();
            held.update(settings(held.settings.fifo), self.now);
            store::webhooks::update(tx, &held).await?;
            if disabled {
                deliveries::hasten(tx, id, self.now).await?;
            }
            return Ok(webhooks::message(&(&held).into()));
        }
        let subscription = Subscription {
            id: self.id,
            programme_id: self.programme_id,
            settings: settings(false),
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: self.secret.clone(),
            previous_secret: None,
            created_at: self.now,
            updated_at: self.now,
        };
        store::webhooks::insert(tx, &subscription).await?;
        let secret = Some(self.secret.expose_secret().to_owned());
        Ok(v1::Webhook { secret, ..webhooks::message(&(&subscription).into()) })
    }

    fn targets(reply: &v1::Webhook) -> Option<Vec<String>> {
        Some(vec![reply.id.clone()])
    }
}
