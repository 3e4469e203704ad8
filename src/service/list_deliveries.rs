//! ListDeliveries: what was sent to a subscription, and how it went.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::{convert, paging, webhooks};
use crate::api::v1::{ListDeliveriesRequest, ListDeliveriesResponse};
use crate::store;
use crate::store::deliveries::{self, Filter};

impl Read for ListDeliveriesRequest {
    type Reply = ListDeliveriesResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListDeliveriesResponse> {
        let size = paging::size(self.page_size)?;
        let filter = Filter {
            webhook_id: webhooks::id(&self.webhook_id)?,
            status: webhooks::wanted_status(self.status)?,
            created_after: convert::moment("createdAfter", self.created_after)?,
            created_before: convert::moment_up("createdBefore", self.created_before)?,
            after: paging::after(&self.page_token)?,
            limit: size + 1,
        };
        let mut reader = cx.api.store.reader().await?;
        let known = store::webhooks::get_owned(&mut reader, cx.programme().id, filter.webhook_id).await?;
        known.ok_or_else(webhooks::not_found)?;
        let mut page = deliveries::page(&mut reader, &filter).await?;
        let next_page_token = paging::cut(&mut page, size, |(it, created_at)| (*created_at, it.event_id));
        Ok(ListDeliveriesResponse { deliveries: page.iter().map(webhooks::delivery).collect(), next_page_token })
    }
}
