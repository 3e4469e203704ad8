//! PutSigningKey: registers a public key that verifies the programme's signatures.

use uuid::Uuid;

use super::api::Prepare;
use super::context::Context;
use super::convert::timestamp;
use super::failure::Outcome;
use super::once::Change;
use crate::api::v1;
use crate::domain::{Code, Error};
use crate::signature::PublicKey;
use crate::store::{Tx, signing_keys};

pub(crate) struct PutSigningKey {
    programme_id: Uuid,
    key: signing_keys::SigningKey,
    /// By the bearer alone: only a programme without keys may.
    unsigned: bool,
}

impl Prepare for v1::PutSigningKeyRequest {
    type Change = PutSigningKey;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<PutSigningKey> {
        if self.public_key.is_empty() {
            return Err(Error::invalid("publicKey", "REQUIRED", "Must be given.").into());
        }
        let key = PublicKey::parse(&self.public_key)
            .map_err(|error| Error::invalid("publicKey", "INVALID_PUBLIC_KEY", error.to_string()))?;
        let key = signing_keys::SigningKey {
            key_id: cx.api.clock.id().to_string(),
            algorithm: key.algorithm().name().to_owned(),
            public_key: key.spki_der().to_vec(),
            created_at: cx.now,
        };
        Ok(PutSigningKey { programme_id: cx.programme().id, key, unsigned: cx.caller.is_unsigned() })
    }
}

impl Change for PutSigningKey {
    type Reply = v1::SigningKey;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::SigningKey> {
        // Also where a lost answer is asked for again: its idempotency key, written below us, gives it then.
        if self.unsigned && signing_keys::any_held(tx, self.programme_id).await? {
            let detail = "The programme has a signing key since. Sign this call by it.";
            return Err(Error::new(Code::SigningKeyExists, detail).into());
        }
        if !signing_keys::insert(tx, self.programme_id, &self.key).await? {
            return Err(Error::new(Code::SigningKeyExists, "The programme has this public key already.").into());
        }
        Ok(message(&self.key))
    }

    fn targets(reply: &v1::SigningKey) -> Option<Vec<String>> {
        Some(vec![reply.key_id.clone()])
    }
}

/// A key as a message.
pub(super) fn message(key: &signing_keys::SigningKey) -> v1::SigningKey {
    v1::SigningKey {
        key_id: key.key_id.clone(),
        algorithm: key.algorithm.clone(),
        created_at: Some(timestamp(key.created_at)),
    }
}
