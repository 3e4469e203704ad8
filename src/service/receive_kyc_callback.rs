//! ReceiveKycCallback.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::api::{Api, Open};
use super::failure::{Failure, Outcome};
use crate::api::v1::{CallbackHeader, ReceiveKycCallbackRequest};
use crate::domain::kyc::{Callback, Outcome as Weighed};
use crate::domain::{Code, Error};
use crate::kyc::{KycProvider as _, Refused};
use crate::lifecycle::verification;
use crate::store::{self, Tx, customers, programmes};

impl Open for ReceiveKycCallbackRequest {
    type Reply = ();

    async fn answer(self, api: &Api) -> Outcome<()> {
        let kyc = &api.settings.kyc;
        let read = match headers(&self.headers) {
            Some(headers) if self.provider == kyc.name() => kyc.parse_callback(&headers, &self.body),
            _ => Err(Refused::Unexpected),
        };
        match read {
            Ok(Some(callback)) => api.store.transact(&Receive { api, callback: &callback }).await,
            // Authentic, but about nothing that we keep.
            Ok(None) => Ok(()),
            Err(refused) => {
                tracing::warn!(provider = kyc.name(), %refused, "a verification callback was refused");
                Err(refusal(refused).into())
            }
        }
    }
}

/// A forger learns nothing but that it did not work.
fn refusal(refused: Refused) -> Error {
    match refused {
        Refused::Unexpected | Refused::Digest | Refused::Forged => {
            Error::new(Code::Unauthenticated, "The callback is not authentic.")
        }
        Refused::Malformed(what) => {
            Error::invalid("body", "INVALID_VALUE", format!("The callback is malformed: {what}."))
        }
    }
}

fn headers(fields: &[CallbackHeader]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(&field.value).ok()?);
    }
    Some(headers)
}

/// Whether a programme is a sandbox, disabled or not: what happened to its customers meanwhile is recorded all the same.
async fn in_sandbox(tx: &mut Tx, programme_id: Uuid) -> Outcome<bool> {
    Ok(programmes::get(tx, programme_id).await?.is_some_and(|programme| programme.sandbox))
}

struct Receive<'a> {
    api: &'a Api,
    callback: &'a Callback,
}

impl store::Change for Receive<'_> {
    type Out = ();
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let customer = self.callback.customer_id;
        let Some(mut held) = customers::lock(tx, customer).await? else {
            tracing::info!(%customer, "a verification callback names no customer of ours");
            return Ok(());
        };
        if self.callback.test_mode && !in_sandbox(tx, held.customer.programme_id).await? {
            tracing::warn!(%customer, "a verification callback of the provider's test mode says nothing about a live customer");
            return Ok(());
        }
        let weighed = verification::decide(tx, &mut held, self.callback, &self.api.clock).await?;
        match weighed {
            Weighed::Ignored(why) => tracing::info!(%customer, ?why, "a verification callback changed nothing"),
            Weighed::Changed(state) => {
                tracing::info!(%customer, status = state.status.as_str(), "verification decided")
            }
        }
        Ok(())
    }
}
