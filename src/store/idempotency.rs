//! Answers kept under idempotency keys.

use uuid::Uuid;

use super::standing::{self, Standing};
use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;

row! {
    /// A stored answer.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Stored {
        /// Keyed hash over the call and its message.
        pub fingerprint: Vec<u8>,
        /// gRPC status code; 0 is a reply.
        pub status: i32,
        /// The encoded reply, or the encoded `google.rpc.Status`.
        pub reply: Vec<u8>,
    }
}

/// Where an answer is kept.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// The programme.
    pub programme_id: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// Now: an answer that expired before may be overwritten.
    pub now: Timestamp,
    /// When the answer may be forgotten.
    pub expires_at: Timestamp,
}

/// Keeps an answer. `false` when the key holds another one already, or the caller's `standing` has ended: on PostgreSQL
/// this waits for a transaction that is about to write the same key.
pub async fn put(tx: &mut Tx, slot: Slot, answer: &Stored, standing: Option<&Standing>) -> Result<bool, Error> {
    let query = tx
        .query(
            "INSERT INTO idempotency_keys (programme_id, key, fingerprint, status, reply, expires_at) \
             SELECT $1, $2, $3, $4, $5, $6 WHERE true",
        )
        .bind(slot.programme_id)
        .bind(slot.key)
        .bind(answer.fingerprint.as_slice())
        .bind(answer.status)
        .bind(answer.reply.as_slice())
        .bind(slot.expires_at);
    let written = standing::and(query, standing)
        .push(
            " ON CONFLICT (programme_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
             status = excluded.status, reply = excluded.reply, expires_at = excluded.expires_at \
             WHERE idempotency_keys.expires_at <= ",
        )
        .push_bind(slot.now)
        .execute()
        .await?;
    Ok(written == 1)
}

/// The live answer under a key.
pub async fn get(on: &mut impl Connection, slot: Slot) -> Result<Option<Stored>, Error> {
    on.query(
        "SELECT fingerprint, status, reply FROM idempotency_keys WHERE programme_id = $1 AND key = $2 AND expires_at > $3",
    )
    .bind(slot.programme_id)
    .bind(slot.key)
    .bind(slot.now)
    .optional()
    .await
}

/// Forgets at most `limit` expired answers; how many.
pub async fn sweep(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, Error> {
    tx.query(
        "DELETE FROM idempotency_keys WHERE (programme_id, key) IN \
         (SELECT programme_id, key FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}
