//! SignAccountChallenge.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::challenge;
use super::context::Context;
use super::failure::Outcome;
use super::move_account::hold;
use super::once::Change;
use crate::api::v1::SignAccountChallengeRequest;
use crate::domain::account::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::{Code, Error, Timestamp};
use crate::lifecycle::{Step, account_moves};
use crate::store::accounts::Held;
use crate::store::{Tx, accounts};

pub(crate) struct SignAccountChallenge {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    signed: SignAccountChallengeRequest,
    now: Timestamp,
}

impl Prepare for SignAccountChallengeRequest {
    type Change = SignAccountChallenge;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<SignAccountChallenge> {
        let missing = Error::invalid("ownerId", "REQUIRED", "Must be given.").violations;
        let missing = missing.into_iter().filter(|_| self.owner_id.is_empty());
        let others = challenge::given(&self.challenge, &self.signature).err().into_iter().flat_map(|e| e.violations);
        let violations: Vec<_> = missing.chain(others).collect();
        if !violations.is_empty() {
            return Err(Error::violations(violations).into());
        }
        let origin = Origin { actor: "owner".to_owned(), ..cx.origin.clone() };
        let programme_id = cx.programme().id;
        Ok(SignAccountChallenge { api: cx.api.clone(), origin, programme_id, signed: self, now: cx.now })
    }
}

impl Change for SignAccountChallenge {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let mut held = hold(tx, Some(self.programme_id), &self.signed.account_id).await?;
        if let Err(refusal) = self.check(&held) {
            if refusal.code == Code::ChallengeSignatureInvalid {
                let owner = challenge::account(&held.customer.customer)?;
                held.challenge = Some(challenge::issue(&self.api, owner, challenge::ACCOUNT, self.now)?);
                accounts::update(tx, &mut held).await?;
            }
            return Err(refusal.into());
        }
        let step = Step { by: Move::Sign, reason: None, origin: &self.origin };
        account_moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(())
    }
}

impl SignAccountChallenge {
    /// Whether the owner's key signed. An account in another status is left to the move to refuse.
    fn check(&self, held: &Held) -> Result<(), Error> {
        let customer = &held.customer.customer;
        if Uuid::try_parse(&self.signed.owner_id) != Ok(customer.id) {
            let detail = "The account is not this customer's. Give the id of the customer that owns it as ownerId.";
            return Err(Error::new(Code::OwnerMismatch, detail));
        }
        let account = challenge::account(customer)?;
        let proof = challenge::Proof { account, challenge: &self.signed.challenge, signature: &self.signed.signature };
        if held.account.status == Status::Initiating {
            proof.check(held.challenge.as_ref(), self.now)
        } else {
            proof.readable()
        }
    }
}
