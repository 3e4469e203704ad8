//! GetCustomerChallenge.

use uuid::Uuid;

use super::api::{Api, Read};
use super::challenge;
use super::context::Context;
use super::convert::timestamp;
use super::failure::{Failure, Outcome};
use super::move_customer::hold;
use crate::api::v1::{Challenge, GetCustomerChallengeRequest};
use crate::domain::customer::Status;
use crate::domain::{Error, Timestamp};
use crate::store::{self, Tx, customers};

/// Reads, and writes where no challenge is live: a transaction of its own, which needs no idempotency key, because asking
/// again gives the same challenge.
impl Read for GetCustomerChallengeRequest {
    type Reply = Challenge;

    async fn read(self, cx: &Context<'_>) -> Outcome<Challenge> {
        let live = Live { api: cx.api, programme_id: cx.programme().id, customer_id: self.customer_id, now: cx.now };
        let challenge = cx.api.store.transact(&live).await?;
        Ok(Challenge { challenge: challenge.text, expires_at: Some(timestamp(challenge.expires_at)) })
    }
}

struct Live<'a> {
    api: &'a Api,
    programme_id: Uuid,
    customer_id: String,
    now: Timestamp,
}

impl store::Change for Live<'_> {
    type Out = customers::Challenge;
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<customers::Challenge> {
        let mut held = hold(tx, self.programme_id, &self.customer_id).await?;
        let status = held.customer.status;
        if status != Status::Initiating {
            return Err(Error::transition("customer", status, "asked to prove ownership").into());
        }
        if let Some(live) = held.challenge.take_if(|challenge| self.now < challenge.expires_at) {
            return Ok(live);
        }
        let account = challenge::account(&held.customer)?;
        let fresh = challenge::issue(self.api, account, challenge::CUSTOMER, self.now)?;
        held.challenge = Some(fresh.clone());
        customers::update(tx, &mut held).await?;
        Ok(fresh)
    }
}
