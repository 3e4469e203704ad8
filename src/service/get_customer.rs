//! GetCustomer.

use super::api::Find;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use crate::api::v1::{Customer, GetCustomerRequest};
use crate::domain::{Code, Error};
use crate::store::customers;

impl Find for GetCustomerRequest {
    type Reply = Customer;

    async fn find(&self, cx: &Context<'_>) -> Outcome<Option<Customer>> {
        let id = convert::id(&self.customer_id, not_found())?;
        let found = customers::get_owned(&mut cx.api.store.reader().await?, cx.owner(), id).await?;
        Ok(found.as_ref().map(convert::customer))
    }

    fn missing() -> Error {
        not_found()
    }
}

/// No such customer, or another programme's: the same answer.
pub(super) fn not_found() -> Error {
    Error::new(
        Code::CustomerNotFound,
        "The programme has no customer with this id. GET /v1/customers lists those it has.",
    )
}
