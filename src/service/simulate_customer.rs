//! SimulateCustomerVerified, SimulateCustomerRejected.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::failure::Outcome;
use super::move_customer::hold;
use super::once::Change;
use crate::api::v1::{SimulateCustomerRejectedRequest, SimulateCustomerVerifiedRequest};
use crate::domain::customer::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::kyc::{KycState, KycStatus};
use crate::lifecycle::{Step, moves};
use crate::store::Tx;
use crate::store::verifications::{self, Verification};

/// A customer driven to an end by real moves, each with its event.
pub(crate) struct Simulate {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    customer_id: String,
    by: Move,
}

impl Simulate {
    fn new(cx: &Context<'_>, customer_id: String, by: Move) -> Outcome<Self> {
        cx.sandbox_only()?;
        let origin = Origin { actor: "simulator".to_owned(), ..cx.origin.clone() };
        Ok(Self { api: cx.api.clone(), origin, programme_id: cx.programme().id, customer_id, by })
    }
}

impl Prepare for SimulateCustomerVerifiedRequest {
    type Change = Simulate;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Simulate> {
        Simulate::new(cx, self.customer_id, Move::Approve)
    }
}

impl Prepare for SimulateCustomerRejectedRequest {
    type Change = Simulate;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Simulate> {
        Simulate::new(cx, self.customer_id, Move::Reject)
    }
}

impl Change for Simulate {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let mut held = hold(tx, self.programme_id, &self.customer_id).await?;
        let step = Step { by: self.by, reason: None, origin: &self.origin };
        if self.by == Move::Approve && held.customer.status == Status::Screening {
            moves::make(tx, &mut held, Step { by: Move::Clear, ..step }, &self.api.clock).await?;
        }
        moves::make(tx, &mut held, step, &self.api.clock).await?;
        // In a provider's stead: what a provider asked for before is answered by this.
        let status = if self.by == Move::Approve { KycStatus::Approved } else { KycStatus::Rejected };
        let updated_at = held.customer.updated_at;
        let decided_at_ms = Some(updated_at.micros() / 1000);
        let state = KycState { status, decided_at_ms, ..KycState::default() };
        let verification = Verification { state, provider: Some("simulator".to_owned()), updated_at };
        Ok(verifications::put(tx, held.customer.id, &verification).await?)
    }
}
