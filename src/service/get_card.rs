//! GetCard.

use super::api::Read;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use crate::api::v1::{self, GetCardRequest};
use crate::store::cards;

impl Read for GetCardRequest {
    type Reply = v1::Card;

    async fn read(self, cx: &Context<'_>) -> Outcome<v1::Card> {
        let found = cards::get(&mut cx.api.store.reader().await?, convert::card_id(&self.card_id)?).await?;
        let own = found.filter(|card| card.programme_id == cx.programme().id);
        Ok(convert::card(&own.ok_or_else(convert::card_not_found)?))
    }
}
