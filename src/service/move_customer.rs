//! What deactivating, activating and rejecting a customer have in common.

use uuid::Uuid;

use super::api::Api;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::get_customer::not_found;
use super::once::Change;
use crate::api::v1;
use crate::domain::customer::Move;
use crate::domain::event::Origin;
use crate::lifecycle::{Step, moves};
use crate::store::customers::{self, Held};
use crate::store::{Mode, Tx};

/// One move of one customer.
pub(crate) struct MoveCustomer {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    customer_id: String,
    by: Move,
    reason: Option<String>,
}

impl MoveCustomer {
    /// The move, made by the caller.
    pub(super) fn new(cx: &Context<'_>, customer_id: String, by: Move) -> Self {
        let programme_id = cx.programme().id;
        Self { api: cx.api.clone(), origin: cx.origin.clone(), programme_id, customer_id, by, reason: None }
    }

    /// The same, for a reason.
    pub(super) fn because(self, reason: String) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

impl Change for MoveCustomer {
    type Reply = v1::Customer;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Customer> {
        let mut held = hold(tx, self.programme_id, &self.customer_id).await?;
        let step = Step { by: self.by, reason: self.reason.as_deref(), origin: &self.origin };
        moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(convert::customer(&held.customer))
    }

    fn mode(&self) -> Mode {
        // A rejection writes the customer's row twice.
        if self.by == Move::Reject { Mode::Locking } else { Mode::Optimistic }
    }
}

/// Holds a programme's customer. Inside the change, so that the answer for an id that does not exist is kept under the
/// idempotency key as well.
pub(super) async fn hold(tx: &mut Tx, programme_id: Uuid, customer_id: &str) -> Outcome<Held> {
    let id = convert::id(customer_id, not_found())?;
    let held = customers::lock(tx, id).await?;
    Ok(held.filter(|held| held.customer.programme_id == programme_id).ok_or_else(not_found)?)
}
