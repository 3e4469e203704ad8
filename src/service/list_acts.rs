//! ListActs.

use super::api::Read;
use super::context::Context;
use super::convert::{self, timestamp};
use super::failure::Outcome;
use super::paging;
use crate::api::v1::{self, ListActsRequest, ListActsResponse};
use crate::store::acts::{self, Act, ActFilter};

impl Read for ListActsRequest {
    type Reply = ListActsResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListActsResponse> {
        let size = paging::size(self.page_size)?;
        let since = convert::moment_up("since", self.since)?;
        let filter = ActFilter { since, before: paging::after(&self.page_token)?, limit: size + 1 };
        let mut page = acts::page(&mut cx.api.store.reader().await?, &filter).await?;
        let next_page_token = paging::cut(&mut page, size, |act| (act.at, act.id));
        Ok(ListActsResponse { acts: page.into_iter().map(message).collect(), next_page_token })
    }
}

fn message(act: Act) -> v1::Act {
    v1::Act {
        id: act.id.to_string(),
        at: Some(timestamp(act.at)),
        actor: act.actor,
        act: act.act,
        target_type: act.target_type,
        target_id: act.target_id,
        programme_id: act.programme_id.map(|id| id.to_string()),
        reason: act.reason,
        client: act.client,
        request_id: act.request_id,
        outcome: act.outcome,
    }
}
