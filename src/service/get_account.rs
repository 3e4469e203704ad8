//! GetAccount.

use super::api::Find;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use crate::api::v1::{self, GetAccountRequest};
use crate::domain::Error;
use crate::store::accounts;

impl Find for GetAccountRequest {
    type Reply = v1::Account;

    async fn find(&self, cx: &Context<'_>) -> Outcome<Option<v1::Account>> {
        let id = convert::account_id(&self.account_id)?;
        let found = accounts::get_owned(&mut cx.api.store.reader().await?, cx.owner(), id).await?;
        Ok(found.as_ref().map(convert::account))
    }

    fn missing() -> Error {
        convert::account_not_found()
    }
}
