//! ActivateCard.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::move_card::MoveCard;
use crate::api::v1::ActivateCardRequest;
use crate::domain::card::Move;

impl Prepare for ActivateCardRequest {
    type Change = MoveCard;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<MoveCard> {
        Ok(MoveCard::new(cx, self.card_id, Move::Activate))
    }
}
