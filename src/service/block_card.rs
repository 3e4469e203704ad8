//! BlockCard.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::move_card::MoveCard;
use crate::api::v1::BlockCardRequest;
use crate::domain::card::Move;

impl Prepare for BlockCardRequest {
    type Change = MoveCard;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<MoveCard> {
        MoveCard::operators(cx, self.card_id, (Move::Block, self.reason))
    }
}
