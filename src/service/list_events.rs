//! ListEvents.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::{events, paging};
use crate::api::v1::{ListEventsRequest, ListEventsResponse};
use crate::store;

impl Read for ListEventsRequest {
    type Reply = ListEventsResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListEventsResponse> {
        let size = paging::size(self.page_size)?;
        let wanted = events::wanted(cx, &self.types, self.customer_id.as_deref())?;
        let after = events::position(cx, &self.cursor).await?;
        store::events::place(&cx.api.store).await?;
        let mut reader = cx.api.store.reader().await?;
        // Before the page: whatever was placed by then is in it, so a page that is not full has seen all up to there. The
        // programme's own last event: a cursor that moved with those of others would tell of them.
        let placed = store::events::last_position(&mut reader, wanted.programme_id).await?;
        let page = store::events::stream(&mut reader, &wanted, after, size).await?;
        let last = page.last().map_or(after, |event| event.position);
        let full = page.len() as i64 == size;
        let next_cursor = events::cursor(cx.api, wanted.programme_id, if full { last } else { last.max(placed) })?;
        let messages =
            page.iter().map(|event| events::message(cx.api, wanted.programme_id, event)).collect::<Outcome<_>>()?;
        Ok(ListEventsResponse { events: messages, next_cursor })
    }
}
