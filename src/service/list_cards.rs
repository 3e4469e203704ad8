//! ListCards.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::{convert, paging};
use crate::api::v1::{ListCardsRequest, ListCardsResponse};
use crate::store::accounts::{self, Of};
use crate::store::cards::{self, Filter};

impl Read for ListCardsRequest {
    type Reply = ListCardsResponse;
    const OWNED: bool = true;

    fn is_found(reply: &ListCardsResponse) -> bool {
        !reply.cards.is_empty()
    }

    async fn read(self, cx: &Context<'_>) -> Outcome<ListCardsResponse> {
        let size = paging::size(self.page_size)?;
        let mut filter = Filter {
            of: Of::Programme(cx.programme().id),
            status: convert::card_status("status", self.status)?,
            created_after: convert::moment("createdAfter", self.created_after)?,
            created_before: convert::moment_up("createdBefore", self.created_before)?,
            after: paging::after(&self.page_token)?,
            limit: size + 1,
        };
        let parent = if self.account_id.is_empty() { None } else { Some(convert::account_id(&self.account_id)?) };
        filter.of = parent.map_or(filter.of, Of::Parent);
        let mut reader = cx.api.store.reader().await?;
        let mut page = cards::page(&mut reader, &filter, cx.caller.standing()).await?;
        let own = |programme_id| programme_id == cx.programme().id;
        match (parent, page.first()) {
            (_, Some(first)) if !own(first.programme_id) => return Err(convert::account_not_found().into()),
            (Some(id), None) => {
                accounts::get_owned(&mut reader, cx.programme().id, id)
                    .await?
                    .ok_or_else(convert::account_not_found)?;
            }
            _ => {}
        }
        let next_page_token = paging::cut(&mut page, size, |card| (card.created_at, card.id));
        Ok(ListCardsResponse { cards: page.iter().map(convert::card).collect(), next_page_token })
    }
}
