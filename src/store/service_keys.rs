//! The service's own secrets, one per purpose, shared by all nodes on a database.

use secrecy::{ExposeSecret as _, SecretSlice};

use super::error::Error;
use super::tx::{Connection, Tx};
use super::value::row;
use crate::domain::Timestamp;
use crate::signature::{Algorithm, KeyError, PrivateKey};

row! {
    struct Stored {
        secret: Vec<u8>,
    }
}

/// The secret called `name`: the stored one if there is one, else `fresh`, which is stored. So every node of a
/// database ends up with the same.
pub async fn service_key(tx: &mut Tx, name: &str, fresh: &[u8], now: Timestamp) -> Result<SecretSlice<u8>, Error> {
    tx.query("INSERT INTO service_keys (name, secret, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(fresh)
        .bind(now)
        .execute()
        .await?;
    let stored: Stored = tx.query("SELECT secret FROM service_keys WHERE name = $1").bind(name).one().await?;
    Ok(stored.secret.into())
}

/// The key that signs webhooks, beside the subscriptions' secrets. Made when it is first asked for.
///
/// # Errors
///
/// Those of the store; [`Error::Unreadable`] when the cryptographic library makes or reads no key.
pub async fn webhook_key(tx: &mut Tx, now: Timestamp) -> Result<PrivateKey, Error> {
    let unreadable = |error: KeyError| Error::unreadable("service_keys.secret", &error.to_string());
    let fresh = PrivateKey::generate(Algorithm::Ed25519).map_err(unreadable)?.to_pem();
    let pem = service_key(tx, "webhooks", fresh.expose_secret().as_bytes(), now).await?;
    let pem = String::from_utf8_lossy(pem.expose_secret());
    PrivateKey::parse(&pem).map_err(unreadable)
}
