//! RejectCustomer.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::move_customer::MoveCustomer;
use crate::api::v1::RejectCustomerRequest;
use crate::domain::customer::Move;
use crate::domain::text;

/// Characters of a reason at most.
const REASON: usize = 256;

impl Prepare for RejectCustomerRequest {
    type Change = MoveCustomer;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<MoveCustomer> {
        cx.operators_only()?;
        text::printable("reason", &self.reason, REASON)?;
        Ok(MoveCustomer::new(cx, self.customer_id, Move::Reject).because(self.reason))
    }
}
