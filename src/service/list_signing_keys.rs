//! ListSigningKeys.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::put_signing_key::message;
use crate::api::v1::{ListSigningKeysRequest, ListSigningKeysResponse};
use crate::store::signing_keys;

impl Read for ListSigningKeysRequest {
    type Reply = ListSigningKeysResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListSigningKeysResponse> {
        let keys = signing_keys::list(&mut cx.api.store.reader().await?, cx.programme().id).await?;
        Ok(ListSigningKeysResponse { keys: keys.iter().map(message).collect() })
    }
}
