//! GetAccountChallenge.

use uuid::Uuid;

use super::api::{Api, Read};
use super::challenge;
use super::context::Context;
use super::convert::timestamp;
use super::failure::{Failure, Outcome};
use super::move_account::hold;
use crate::api::v1::{Challenge, GetAccountChallengeRequest};
use crate::domain::account::Status;
use crate::domain::{Error, Timestamp};
use crate::store::{self, Tx, accounts, customers};

/// As for a customer's challenge: asking again gives the same one, so that no idempotency key is needed.
impl Read for GetAccountChallengeRequest {
    type Reply = Challenge;

    async fn read(self, cx: &Context<'_>) -> Outcome<Challenge> {
        let live = Live { api: cx.api, programme_id: cx.programme().id, account_id: self.account_id, now: cx.now };
        let challenge = cx.api.store.transact(&live).await?;
        Ok(Challenge { challenge: challenge.text, expires_at: Some(timestamp(challenge.expires_at)) })
    }
}

struct Live<'a> {
    api: &'a Api,
    programme_id: Uuid,
    account_id: String,
    now: Timestamp,
}

impl store::Change for Live<'_> {
    type Out = customers::Challenge;
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<customers::Challenge> {
        let mut held = hold(tx, Some(self.programme_id), &self.account_id).await?;
        let status = held.account.status;
        if status != Status::Initiating {
            return Err(Error::transition("account", status, "signed for").into());
        }
        if let Some(live) = held.challenge.take_if(|challenge| self.now < challenge.expires_at) {
            return Ok(live);
        }
        let owner = challenge::account(&held.customer.customer)?;
        let fresh = challenge::issue(self.api, owner, challenge::ACCOUNT, self.now)?;
        held.challenge = Some(fresh.clone());
        accounts::update(tx, &mut held).await?;
        Ok(fresh)
    }
}
