//! GetCard.

use super::api::Find;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use crate::api::v1::{self, GetCardRequest};
use crate::domain::Error;
use crate::store::cards;

impl Find for GetCardRequest {
    type Reply = v1::Card;

    async fn find(&self, cx: &Context<'_>) -> Outcome<Option<v1::Card>> {
        let id = convert::card_id(&self.card_id)?;
        let found = cards::get_owned(&mut cx.api.store.reader().await?, cx.owner(), id).await?;
        Ok(found.as_ref().map(convert::card))
    }

    fn missing() -> Error {
        convert::card_not_found()
    }
}
