//! GetCustomer.

use super::api::Read;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use crate::api::v1::{Customer, GetCustomerRequest};
use crate::domain::{Code, Error};
use crate::store::customers;

impl Read for GetCustomerRequest {
    type Reply = Customer;

    async fn read(self, cx: &Context<'_>) -> Outcome<Customer> {
        let id = convert::id(&self.customer_id, not_found())?;
        let found = customers::get(&mut cx.api.store.reader().await?, cx.programme().id, id).await?;
        Ok(convert::customer(&found.ok_or_else(not_found)?))
    }
}

/// No such customer, or another programme's: the same answer.
pub(super) fn not_found() -> Error {
    Error::new(
        Code::CustomerNotFound,
        "The programme has no customer with this id. GET /v1/customers lists those it has.",
    )
}
