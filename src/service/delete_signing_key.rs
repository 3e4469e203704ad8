//! DeleteSigningKey and DeleteSigningKeys: one key, or every key of the programme.

use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::once::Change;
use crate::api::v1::{DeleteSigningKeyRequest, DeleteSigningKeysRequest};
use crate::domain::{Code, Error};
use crate::store::{Tx, signing_keys};

pub(crate) struct DeleteSigningKeys {
    programme_id: Uuid,
    /// Every key with `None`.
    key_id: Option<String>,
}

impl Prepare for DeleteSigningKeyRequest {
    type Change = DeleteSigningKeys;
    const ENDS_STANDING: bool = true;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<DeleteSigningKeys> {
        Ok(DeleteSigningKeys { programme_id: cx.programme().id, key_id: Some(self.key_id) })
    }
}

impl Prepare for DeleteSigningKeysRequest {
    type Change = DeleteSigningKeys;
    const ENDS_STANDING: bool = true;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<DeleteSigningKeys> {
        Ok(DeleteSigningKeys { programme_id: cx.programme().id, key_id: None })
    }
}

impl Change for DeleteSigningKeys {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let absent = || {
            let detail = "The programme has no such signing key. GET /v1/auth/signing lists those it has.";
            Error::new(Code::SigningKeyNotFound, detail)
        };
        let key_id = self.key_id.as_deref().map(|id| convert::id(id, absent())).transpose()?.map(|id| id.to_string());
        if signing_keys::delete(tx, self.programme_id, key_id.as_deref()).await? == 0 {
            return Err(absent().into());
        }
        Ok(())
    }
}
