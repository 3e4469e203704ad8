//! DecideVerification: what an operator decides about a customer's identity.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::move_customer::hold;
use super::once::Change;
use super::reason;
use crate::api::v1::{self, DecideVerificationRequest, VerificationDecision};
use crate::domain::Error;
use crate::domain::event::Origin;
use crate::lifecycle::decision::{self, Decision};
use crate::store::Tx;

pub(crate) struct DecideVerification {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    customer_id: String,
    approve: bool,
    reason: String,
}

impl Prepare for DecideVerificationRequest {
    type Change = DecideVerification;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<DecideVerification> {
        let approve = match VerificationDecision::try_from(self.decision) {
            Ok(VerificationDecision::Approve) => true,
            Ok(VerificationDecision::Reject) => false,
            Ok(VerificationDecision::Unspecified) => {
                return Err(Error::invalid("decision", "REQUIRED", "Must be given.").into());
            }
            Err(_) => return Err(Error::invalid("decision", "INVALID_VALUE", "Must be approve or reject.").into()),
        };
        reason::check(&self.reason)?;
        Ok(DecideVerification {
            api: cx.api.clone(),
            origin: cx.origin.clone(),
            programme_id: cx.programme().id,
            customer_id: self.customer_id,
            approve,
            reason: self.reason,
        })
    }
}

impl Change for DecideVerification {
    type Reply = v1::Customer;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Customer> {
        let mut held = hold(tx, self.programme_id, &self.customer_id).await?;
        let made = Decision { approve: self.approve, reason: &self.reason, origin: &self.origin };
        decision::decide(tx, &mut held, made, &self.api.clock).await?;
        Ok(convert::customer(&held.customer))
    }
}
