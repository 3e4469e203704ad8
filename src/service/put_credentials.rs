//! PutCredentials: a new API key and secret. Every earlier token dies.

use secrecy::SecretString;
use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::password;
use crate::api::v1::PutCredentialsRequest;
use crate::domain::{Code, Error, Timestamp, programme};
use crate::store::{self, Tx, programmes};

pub(crate) struct PutCredentials {
    programme_id: Uuid,
    api_key: Uuid,
    api_secret_hash: String,
    now: Timestamp,
}

impl Prepare for PutCredentialsRequest {
    type Change = PutCredentials;
    const ENDS_STANDING: bool = true;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<PutCredentials> {
        let api_key = programme::credentials(&self.api_key, &self.api_secret)?;
        let api_secret_hash = password::hash(SecretString::from(self.api_secret), cx.api.clock.random()).await?;
        Ok(PutCredentials { programme_id: cx.programme().id, api_key, api_secret_hash, now: cx.now })
    }
}

impl Change for PutCredentials {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let new = Some((self.api_key, self.api_secret_hash.as_str()));
        let taken = || Error::new(Code::ApiKeyExists, "Another programme has this API key. Choose a new random UUID.");
        match programmes::set_credentials(tx, self.programme_id, new, self.now).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(taken().into()),
            // Two programmes took the key at the same moment; this one lost, and its transaction is over.
            Err(store::Error::Unique(_)) => Err(Error::new(Code::Unavailable, taken().detail).into()),
            Err(error) => Err(error.into()),
        }
    }
}
