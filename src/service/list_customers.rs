//! ListCustomers.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::{convert, paging};
use crate::api::v1::{ListCustomersRequest, ListCustomersResponse};
use crate::domain::customer;
use crate::store::customers::{self, Filter};

impl Read for ListCustomersRequest {
    type Reply = ListCustomersResponse;
    const OWNED: bool = true;

    fn is_found(reply: &ListCustomersResponse) -> bool {
        !reply.customers.is_empty()
    }

    async fn read(self, cx: &Context<'_>) -> Outcome<ListCustomersResponse> {
        let size = paging::size(self.page_size)?;
        let chain_id = self.chain_id.map(|text| convert::chain_account("chainId", &text, &cx.api.settings.chains));
        if let Some(external_id) = &self.external_id {
            customer::external_id("externalId", external_id)?;
        }
        let filter = Filter {
            programme_id: cx.programme().id,
            status: convert::customer_status("status", self.status)?,
            chain_id: chain_id.transpose()?.map(|account| account.to_string()),
            external_id: self.external_id,
            created_after: convert::moment("createdAfter", self.created_after)?,
            created_before: convert::moment_up("createdBefore", self.created_before)?,
            after: paging::after(&self.page_token)?,
            limit: size + 1,
        };
        let mut page = customers::page(&mut cx.api.store.reader().await?, &filter, cx.caller.standing()).await?;
        let next_page_token = paging::cut(&mut page, size, |customer| (customer.created_at, customer.id));
        Ok(ListCustomersResponse { customers: page.iter().map(convert::customer).collect(), next_page_token })
    }
}
