//! CompleteIssuance, FailIssuance.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::failure::Outcome;
use super::move_card::hold;
use super::once::Change;
use super::{convert, lease, reason};
use crate::api::v1::{self, CompleteIssuanceRequest, FailIssuanceRequest};
use crate::domain::Error;
use crate::domain::card::{Issued, Move, Status};
use crate::domain::event::Origin;
use crate::domain::operator::Operator;
use crate::lifecycle::{Step, card_moves};
use crate::store::{Tx, tasks};

/// What an issuing service reports.
pub(crate) struct Reported {
    api: Api,
    origin: Origin,
    operator: Operator,
    card_id: String,
    lease_id: Uuid,
    end: End,
}

enum End {
    Issued(Issued),
    Failed(String),
}

impl Prepare for CompleteIssuanceRequest {
    type Change = Reported;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Reported> {
        let (name, network, last_four) = (self.name, self.network, self.last_four);
        let issued = Issued { name, network, last_four, expiration_date: self.expiration_date };
        let found = issued.violations();
        if !found.is_empty() {
            return Err(Error::violations(found).into());
        }
        let (api, origin, operator) = (cx.api.clone(), cx.origin.clone(), cx.operator()?.clone());
        let lease_id = lease::id(&self.lease_id)?;
        Ok(Reported { api, origin, operator, card_id: self.card_id, lease_id, end: End::Issued(issued) })
    }
}

impl Prepare for FailIssuanceRequest {
    type Change = Reported;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Reported> {
        reason::check(&self.reason)?;
        let (api, origin, operator) = (cx.api.clone(), cx.origin.clone(), cx.operator()?.clone());
        let lease_id = lease::id(&self.lease_id)?;
        Ok(Reported { api, origin, operator, card_id: self.card_id, lease_id, end: End::Failed(self.reason) })
    }
}

impl Change for Reported {
    type Reply = v1::Card;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Card> {
        let mut held = hold(tx, None, &self.card_id).await?;
        if !self.operator.may_name(held.card.programme_id) {
            return Err(convert::card_not_found().into());
        }
        let status = held.card.status;
        if status != Status::Issuing {
            return Err(Error::transition("card", status, "issued").into());
        }
        if !tasks::settle(tx, held.card.id, self.lease_id).await? {
            return Err(lease::lost().into());
        }
        let (by, reason) = match &self.end {
            End::Issued(issued) => {
                held.card.issued = Some(issued.clone());
                (Move::Issue, None)
            }
            End::Failed(reason) => (Move::Fail, Some(reason.as_str())),
        };
        let step = Step { by, reason, origin: &self.origin };
        card_moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(convert::card(&held.card))
    }
}
