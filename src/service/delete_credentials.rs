//! DeleteCredentials: access ends.

use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use crate::api::v1::DeleteCredentialsRequest;
use crate::domain::Timestamp;
use crate::store::{Tx, programmes};

pub(crate) struct DeleteCredentials {
    programme_id: Uuid,
    now: Timestamp,
}

impl Prepare for DeleteCredentialsRequest {
    type Change = DeleteCredentials;
    const ENDS_STANDING: bool = true;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<DeleteCredentials> {
        Ok(DeleteCredentials { programme_id: cx.programme().id, now: cx.now })
    }
}

impl Change for DeleteCredentials {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        programmes::set_credentials(tx, self.programme_id, None, self.now).await?;
        Ok(())
    }
}
