//! ActivateAccount.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::move_account::MoveAccount;
use crate::api::v1::ActivateAccountRequest;
use crate::domain::account::Move;

impl Prepare for ActivateAccountRequest {
    type Change = MoveAccount;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<MoveAccount> {
        Ok(MoveAccount::new(cx, self.account_id, Move::Activate))
    }
}
