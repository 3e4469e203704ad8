//! GetAccount.

use uuid::Uuid;

use super::api::Read;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use crate::api::v1::{self, GetAccountRequest};
use crate::domain::account::Account;
use crate::store::{Reader, accounts};

impl Read for GetAccountRequest {
    type Reply = v1::Account;

    async fn read(self, cx: &Context<'_>) -> Outcome<v1::Account> {
        let found = find(&mut cx.api.store.reader().await?, cx.programme().id, &self.account_id).await?;
        Ok(convert::account(&found))
    }
}

/// A programme's account.
pub(super) async fn find(reader: &mut Reader, programme_id: Uuid, account_id: &str) -> Outcome<Account> {
    let found = accounts::get(reader, convert::account_id(account_id)?).await?;
    Ok(found.filter(|account| account.programme_id == programme_id).ok_or_else(convert::account_not_found)?)
}
