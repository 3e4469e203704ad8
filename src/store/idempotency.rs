//! Answers kept under idempotency keys.

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::reseal::{Batch, Which};
use super::standing::{self, Precondition, Standing};
use super::value::row;
use super::{Connection, Effect, Error, Lengths, Rows, Tx};
use crate::domain::Timestamp;
use crate::sealing::Place;

/// A stored response. In the database the reply is sealed: it may show secrets, and links that work without signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Keyed hash over the call and its message.
    pub fingerprint: Vec<u8>,
    /// gRPC status code; 0 is a reply.
    pub status: i32,
    /// The encoded reply, or the encoded `google.rpc.Status`.
    pub reply: Vec<u8>,
}

row! {
    struct StoredRow {
        fingerprint: Vec<u8>,
        status: i32,
        sealed_reply: Vec<u8>,
    }
}

/// The primary key, for sealing.
fn row_id(scope: Uuid, key: Uuid) -> [u8; 32] {
    let mut id = [0; 32];
    id[..16].copy_from_slice(scope.as_bytes());
    id[16..].copy_from_slice(key.as_bytes());
    id
}

const fn place(row: &[u8]) -> Place<'_> {
    Place::new("idempotency_keys", "sealed_reply", row)
}

/// Where an answer is kept.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Whose key it is: the programme's id, or what stands for an operator and the programme that it acts for. The column is
    /// named `programme_id`.
    pub scope: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// Now: an answer that expired before may be overwritten.
    pub now: Timestamp,
    /// When the answer may be forgotten.
    pub expires_at: Timestamp,
}

/// What must hold for a response to be kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// Of the caller.
    pub precondition: Option<&'a Precondition>,
    /// Version 0.1 has kept no response to the same request, by these fingerprints, in this scope.
    pub unscoped: Option<(Uuid, &'a [Vec<u8>])>,
}

/// Keeps a response.
///
/// # Errors
///
/// When it is sent, [`Error::NotApplied`] where the key holds another response already, or the conditions do not hold: on PostgreSQL
/// this waits for a transaction that is about to write the same key.
pub async fn put(tx: &mut Tx, slot: Slot, answer: &Stored, conditions: Conditions<'_>) -> Result<(), Error> {
    let sealed = tx.seal(place(&row_id(slot.scope, slot.key)), &answer.reply).await?;
    if let (Some(Precondition::Programme(standing)), None) = (conditions.precondition, conditions.unscoped) {
        return insert(tx, slot, (answer, sealed), standing);
    }
    let query = tx
        .write(
            "INSERT INTO idempotency_keys (programme_id, key, fingerprint, status, sealed_reply, expires_at, scoped) \
             SELECT $1, $2, $3, $4, $5, $6, true WHERE true",
        )
        .bind(slot.scope)
        .bind(slot.key)
        .bind(answer.fingerprint.as_slice())
        .bind(answer.status)
        .bind(sealed)
        .bind(slot.expires_at);
    let mut query = standing::and(query, conditions.precondition);
    if let Some((scope, fingerprints)) = conditions.unscoped {
        query = query
            .push(" AND NOT EXISTS (SELECT 1 FROM idempotency_keys old WHERE old.key = $2 AND NOT old.scoped AND old.programme_id = ")
            .push_bind(scope)
            .push(" AND old.expires_at > ")
            .push_bind(slot.now)
            .push(" AND old.fingerprint IN ")
            .push_list(fingerprints.iter().map(Vec::as_slice))
            .push(")");
    }
    query
        .push(
            " ON CONFLICT (programme_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
             status = excluded.status, sealed_reply = excluded.sealed_reply, expires_at = excluded.expires_at, \
             scoped = excluded.scoped \
             WHERE idempotency_keys.expires_at <= ",
        )
        .push_bind(slot.now)
        .collect(Effect::Required)
}

/// Inserts responses whose programmes are live and whose credentials are unchanged.
macro_rules! insert {
    ($column:literal, $condition:literal) => {
        Rows {
            head: concat!(
                "WITH v (programme_id, key, fingerprint, status, sealed_reply, expires_at, now, caller, generation",
                $column,
                ") AS (VALUES "
            ),
            tail: concat!(
                ") INSERT INTO idempotency_keys (programme_id, key, fingerprint, status, sealed_reply, expires_at, scoped) \
                 SELECT v.programme_id, v.key, v.fingerprint, v.status, v.sealed_reply, v.expires_at, true FROM v \
                 WHERE EXISTS (SELECT 1 FROM programmes p WHERE p.id = v.caller AND p.generation = v.generation AND NOT p.disabled)",
                $condition,
                " ON CONFLICT (programme_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status, \
                 sealed_reply = excluded.sealed_reply, expires_at = excluded.expires_at, scoped = excluded.scoped \
                 WHERE idempotency_keys.expires_at <= (SELECT v.now FROM v WHERE v.programme_id = idempotency_keys.programme_id \
                 AND v.key = idempotency_keys.key)"
            ),
            lengths: Lengths::All,
        }
    };
}

/// [`put`] for a programme, in the form that the [combined](super::Mode::Combined) creates of most callers need.
fn insert(tx: &mut Tx, slot: Slot, (answer, sealed): (&Stored, Vec<u8>), caller: &Standing) -> Result<(), Error> {
    let text = match caller.key_id {
        None => insert!("", ""),
        Some(_) => insert!(
            ", key_id",
            " AND EXISTS (SELECT 1 FROM signing_keys k WHERE k.programme_id = v.caller AND k.key_id = v.key_id)"
        ),
    };
    let (fingerprint, status, caller) = (answer.fingerprint.clone(), answer.status, caller.clone());
    tx.insert(text, Effect::Required, move |query| {
        let query = query
            .bind(slot.scope)
            .bind(slot.key)
            .bind(fingerprint.as_slice())
            .bind(status)
            .bind(sealed.as_slice())
            .bind(slot.expires_at)
            .bind(slot.now)
            .bind(caller.programme_id)
            .bind(caller.generation);
        match &caller.key_id {
            None => query,
            Some(key_id) => query.bind(key_id.as_str()),
        }
    })
}

/// The live answer under a key.
pub async fn get(on: &mut impl Connection, slot: Slot) -> Result<Option<Stored>, Error> {
    read(on, slot, "").await
}

/// The live answer under a key that a node of version 0.1 wrote, for which operators' keys and the programme's were the same.
pub async fn get_unscoped(on: &mut impl Connection, slot: Slot) -> Result<Option<Stored>, Error> {
    read(on, slot, " AND NOT scoped").await
}

async fn read(on: &mut impl Connection, slot: Slot, narrowed: &'static str) -> Result<Option<Stored>, Error> {
    let sealer = on.sealer().clone();
    let row: Option<StoredRow> = on
        .query(
            "SELECT fingerprint, status, sealed_reply FROM idempotency_keys \
             WHERE programme_id = $1 AND key = $2 AND expires_at > $3",
        )
        .bind(slot.scope)
        .bind(slot.key)
        .bind(slot.now)
        .push(narrowed)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let reply = sealer.open(place(&row_id(slot.scope, slot.key)), &row.sealed_reply)?;
    Ok(Some(Stored { fingerprint: row.fingerprint, status: row.status, reply: reply.expose_secret().to_vec() }))
}

/// Seals the replies of at most `limit` rows after a row.
pub(super) async fn reseal(
    tx: &mut Tx,
    which: Which,
    (after, limit): ((Uuid, Uuid), i64),
) -> Result<Batch<(Uuid, Uuid)>, Error> {
    let sealer = tx.sealer().clone();
    let rows: Vec<(Uuid, Uuid, Vec<u8>)> = tx
        .query(
            "SELECT programme_id, key, sealed_reply FROM idempotency_keys WHERE (programme_id, key) > ($1, $2) \
             ORDER BY programme_id, key LIMIT $3",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .for_update()
        .all()
        .await?;
    let mut batch = Batch { sealed: 0, last: rows.last().map(|(programme_id, key, _)| (*programme_id, *key)) };
    for (programme_id, key, reply) in rows {
        let Some(sealed) = which.reseal(&sealer, place(&row_id(programme_id, key)), &reply)? else { continue };
        let update = tx.query("UPDATE idempotency_keys SET sealed_reply = $3 WHERE programme_id = $1 AND key = $2");
        batch.sealed += update.bind(programme_id).bind(key).bind(sealed).execute().await?;
    }
    Ok(batch)
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
