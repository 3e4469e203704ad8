//! The service's own secrets, one per purpose, shared by all nodes on a database.

use secrecy::SecretSlice;

use super::error::Error;
use super::tx::{Connection, Tx};
use super::value::row;
use crate::domain::Timestamp;

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
