//! SignCustomerChallenge.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::challenge;
use super::context::Context;
use super::failure::Outcome;
use super::move_customer::hold;
use super::once::Change;
use crate::api::v1::SignCustomerChallengeRequest;
use crate::domain::customer::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::{Code, Error, Timestamp};
use crate::lifecycle::{Step, moves};
use crate::store::customers::Held;
use crate::store::{Tx, customers};

pub(crate) struct SignCustomerChallenge {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    signed: SignCustomerChallengeRequest,
    now: Timestamp,
}

impl Prepare for SignCustomerChallengeRequest {
    type Change = SignCustomerChallenge;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<SignCustomerChallenge> {
        challenge::given(&self.challenge, &self.signature)?;
        let origin = Origin { actor: "owner".to_owned(), ..cx.origin.clone() };
        let programme_id = cx.programme().id;
        Ok(SignCustomerChallenge { api: cx.api.clone(), origin, programme_id, signed: self, now: cx.now })
    }
}

impl Change for SignCustomerChallenge {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let mut held = hold(tx, self.programme_id, &self.signed.customer_id).await?;
        if let Err(refusal) = self.check(&held) {
            if refusal.code == Code::ChallengeSignatureInvalid {
                self.reissue(tx, &mut held).await?;
            }
            return Err(refusal.into());
        }
        let step = Step { by: Move::ProveOwnership, reason: None, origin: &self.origin };
        moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(())
    }
}

impl SignCustomerChallenge {
    /// Whether the signature proves the account. A customer in another status is left to the move to refuse.
    fn check(&self, held: &Held) -> Result<(), Error> {
        let account = challenge::account(&held.customer)?;
        let proof = challenge::Proof { account, challenge: &self.signed.challenge, signature: &self.signed.signature };
        if held.customer.status == Status::Initiating {
            proof.check(held.challenge.as_ref(), self.now)
        } else {
            proof.readable()
        }
    }

    /// Puts another challenge in the place of the one that was signed wrongly.
    async fn reissue(&self, tx: &mut Tx, held: &mut Held) -> Outcome<()> {
        let account = challenge::account(&held.customer)?;
        held.challenge = Some(challenge::issue(&self.api, account, challenge::CUSTOMER, self.now)?);
        customers::update(tx, held).await?;
        Ok(())
    }
}
