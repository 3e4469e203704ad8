//! ListAccounts.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::get_customer::not_found;
use super::{convert, paging};
use crate::api::v1::{ListAccountsRequest, ListAccountsResponse};
use crate::store::accounts::{self, Filter, Of};
use crate::store::customers;

impl Read for ListAccountsRequest {
    type Reply = ListAccountsResponse;
    const OWNED: bool = true;

    fn is_found(reply: &ListAccountsResponse) -> bool {
        !reply.accounts.is_empty()
    }

    async fn read(self, cx: &Context<'_>) -> Outcome<ListAccountsResponse> {
        let size = paging::size(self.page_size)?;
        let chain_id = self.chain_id.map(|text| convert::chain_account("chainId", &text, &cx.api.settings.chains));
        let mut filter = Filter {
            of: Of::Programme(cx.programme().id),
            status: convert::account_status("status", self.status)?,
            chain_id: chain_id.transpose()?.map(|account| account.to_string()),
            created_after: convert::moment("createdAfter", self.created_after)?,
            created_before: convert::moment_up("createdBefore", self.created_before)?,
            after: paging::after(&self.page_token)?,
            limit: size + 1,
        };
        let parent =
            if self.customer_id.is_empty() { None } else { Some(convert::id(&self.customer_id, not_found())?) };
        filter.of = parent.map_or(filter.of, Of::Parent);
        let mut reader = cx.api.store.reader().await?;
        let mut page = accounts::page(&mut reader, &filter, cx.caller.standing()).await?;
        match (parent, page.first()) {
            (_, Some(first)) if first.programme_id != cx.programme().id => return Err(not_found().into()),
            (Some(id), None) => {
                customers::get_owned(&mut reader, cx.programme().id, id).await?.ok_or_else(not_found)?;
            }
            _ => {}
        }
        let next_page_token = paging::cut(&mut page, size, |account| (account.created_at, account.id));
        Ok(ListAccountsResponse { accounts: page.iter().map(convert::account).collect(), next_page_token })
    }
}
