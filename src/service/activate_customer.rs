//! ActivateCustomer.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::move_customer::MoveCustomer;
use crate::api::v1::ActivateCustomerRequest;
use crate::domain::customer::Move;

impl Prepare for ActivateCustomerRequest {
    type Change = MoveCustomer;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<MoveCustomer> {
        Ok(MoveCustomer::new(cx, self.customer_id, Move::Activate))
    }
}
