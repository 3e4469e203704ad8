//! The service's own key, as it signs deliveries: another takes over when an operator rotates it.

use std::sync::{Arc, PoisonError, RwLock};

use super::Reader;
use crate::domain::Timestamp;
use crate::outbound::signed::Signer;
use crate::store::Error;
use crate::store::keyring::{self, Purpose};

/// The key in use.
pub(super) struct Signing(RwLock<Arc<Signer>>);

impl Signing {
    pub(super) fn new(signer: Signer) -> Self {
        Self(RwLock::new(Arc::new(signer)))
    }

    pub(super) fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the key that the keyring says signs, if it is another.
    pub(super) async fn refresh(&self, reader: &mut Reader, now: Timestamp) -> Result<(), Error> {
        let keyring = keyring::load(reader, now).await?;
        let Some(key) = keyring.into_iter().find(|key| key.purpose == Purpose::Webhook && key.signs()) else {
            return Ok(());
        };
        if key.kid != self.signer().key_id() {
            let signer = Signer::new(key.private_key()?, key.kid);
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(signer);
            tracing::info!("another key signs webhooks");
        }
        Ok(())
    }
}
