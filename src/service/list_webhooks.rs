//! ListWebhooks.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::{paging, webhooks};
use crate::api::v1::{ListWebhooksRequest, ListWebhooksResponse};
use crate::store;

impl Read for ListWebhooksRequest {
    type Reply = ListWebhooksResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListWebhooksResponse> {
        let (size, after) = (paging::size(self.page_size)?, paging::after(&self.page_token)?);
        let mut reader = cx.api.store.reader().await?;
        let mut page = store::webhooks::page(&mut reader, cx.programme().id, after, size + 1).await?;
        let next_page_token = paging::cut(&mut page, size, |it| (it.created_at, it.id));
        Ok(ListWebhooksResponse { webhooks: page.iter().map(webhooks::message).collect(), next_page_token })
    }
}
