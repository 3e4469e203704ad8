//! DecideSandbox.

use uuid::Uuid;

use super::api::{Api, Open};
use super::failure::{Failure, Outcome};
use super::sandbox;
use crate::api::v1::{DecideSandboxRequest, SandboxDecision};
use crate::domain::Error;
use crate::kyc::{Choice, Sandbox};
use crate::lifecycle::verification;
use crate::store::{self, Tx, customers, verifications};

impl Open for DecideSandboxRequest {
    type Reply = ();

    async fn answer(self, api: &Api) -> Outcome<()> {
        let choice = match SandboxDecision::try_from(self.decision) {
            Ok(SandboxDecision::Approve) => Choice::Approve,
            Ok(SandboxDecision::Decline) => Choice::Decline,
            Ok(SandboxDecision::MoreInformation) => Choice::MoreInformation,
            Ok(SandboxDecision::Unspecified) | Err(_) => {
                let message = "Must be approve, decline or more_information.";
                return Err(Error::invalid("decision", "INVALID_VALUE", message).into());
            }
        };
        let customer_id = sandbox::subject(api, &self.token).await?.customer.id;
        api.store.transact(&Decide { api, customer_id, choice }).await
    }
}

struct Decide<'a> {
    api: &'a Api,
    customer_id: Uuid,
    choice: Choice,
}

impl store::Change for Decide<'_> {
    type Out = ();
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let Some(mut held) = customers::lock(tx, self.customer_id).await? else { return Ok(()) };
        let status = held.customer.status;
        if !sandbox::open(status) {
            return Err(Error::transition("customer", status, "decided about").into());
        }
        // A person's second click is a newer decision, even within one millisecond.
        let known = verifications::get_any(tx, self.customer_id).await?;
        let last = known.and_then(|known| known.state.decided_at_ms).unwrap_or(i64::MIN);
        let now_ms = (self.api.clock.now().micros() / 1000).max(last.saturating_add(1));
        let callback = Sandbox::callback(self.customer_id, self.choice, (self.api.clock.id(), now_ms));
        verification::decide(tx, &mut held, &callback, &self.api.clock).await?;
        Ok(())
    }
}
