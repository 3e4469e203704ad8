//! RejectCustomer.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::move_customer::MoveCustomer;
use super::reason;
use crate::api::v1::RejectCustomerRequest;
use crate::domain::customer::Move;

impl Prepare for RejectCustomerRequest {
    type Change = MoveCustomer;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<MoveCustomer> {
        reason::check(&self.reason)?;
        Ok(MoveCustomer::new(cx, self.customer_id, Move::Reject).because(self.reason))
    }
}
