//! The public keys that verify programmes' signatures, and the nonces those signatures used.

use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;

row! {
    /// A signing key.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SigningKey {
        /// The `keyid`.
        pub key_id: String,
        /// Its algorithm, named as in RFC 9421.
        pub algorithm: String,
        /// SubjectPublicKeyInfo, DER.
        pub public_key: Vec<u8>,
        /// When it was registered.
        pub created_at: Timestamp,
    }
}

/// Inserts a key. `false` when the programme has this public key already.
pub async fn insert(tx: &mut Tx, programme_id: Uuid, key: &SigningKey) -> Result<bool, Error> {
    let inserted = tx
        .query(
            "INSERT INTO signing_keys (programme_id, key_id, algorithm, public_key, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(programme_id)
        .bind(key.key_id.as_str())
        .bind(key.algorithm.as_str())
        .bind(key.public_key.as_slice())
        .bind(key.created_at)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// A programme's keys, newest first.
pub async fn list(on: &mut impl Connection, programme_id: Uuid) -> Result<Vec<SigningKey>, Error> {
    on.query(
        "SELECT key_id, algorithm, public_key, created_at FROM signing_keys WHERE programme_id = $1 \
         ORDER BY created_at DESC, key_id DESC",
    )
    .bind(programme_id)
    .all()
    .await
}

/// Whether the programme has any key.
pub async fn any(on: &mut impl Connection, programme_id: Uuid) -> Result<bool, Error> {
    let row: Option<(String,)> = on
        .query("SELECT key_id FROM signing_keys WHERE programme_id = $1 LIMIT 1")
        .bind(programme_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// The same, and nobody else's transaction adds a first key before this one ends.
pub async fn any_held(tx: &mut Tx, programme_id: Uuid) -> Result<bool, Error> {
    let programme = tx.query("SELECT id FROM programmes WHERE id = $1").bind(programme_id).for_update();
    let _: Option<(Uuid,)> = programme.optional().await?;
    any(tx, programme_id).await
}

/// Removes one key, or all with `None`; how many there were.
pub async fn delete(tx: &mut Tx, programme_id: Uuid, key_id: Option<&str>) -> Result<u64, Error> {
    let query = tx.query("DELETE FROM signing_keys WHERE programme_id = $1").bind(programme_id);
    match key_id {
        Some(key_id) => query.push(" AND key_id = ").push_bind(key_id).execute().await,
        None => query.execute().await,
    }
}

/// A nonce that a verified signature used.
#[derive(Debug, Clone, Copy)]
pub struct Nonce<'a> {
    /// Whose key.
    pub programme_id: Uuid,
    /// Which key.
    pub key_id: &'a str,
    /// The nonce.
    pub nonce: &'a str,
    /// The present moment.
    pub now: Timestamp,
    /// When the signature is too old to be accepted anyway.
    pub expires_at: Timestamp,
}

/// Remembers a nonce. `false` when the key used it before and the signature of that time could be accepted still.
pub async fn use_nonce(tx: &mut Tx, nonce: Nonce<'_>) -> Result<bool, Error> {
    let inserted = tx
        .query(
            "INSERT INTO signature_nonces (programme_id, key_id, nonce, expires_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (programme_id, key_id, nonce) DO UPDATE SET expires_at = excluded.expires_at \
             WHERE signature_nonces.expires_at < $5",
        )
        .bind(nonce.programme_id)
        .bind(nonce.key_id)
        .bind(nonce.nonce)
        .bind(nonce.expires_at)
        .bind(nonce.now)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Forgets at most `limit` nonces whose signatures are over; how many.
pub async fn sweep_nonces(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, Error> {
    tx.query(
        "DELETE FROM signature_nonces WHERE (programme_id, key_id, nonce) IN \
         (SELECT programme_id, key_id, nonce FROM signature_nonces WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}
