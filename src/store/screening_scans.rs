//! Screening every customer again when the lists have changed: how far it is, and which node goes on.
//!
//! Each content that lists had is known by a fingerprint and has one row. The row that was begun last is that of the lists in
//! force; lists that come back after others were in force start from the first customer.

use std::time::Duration;

use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;

/// A fingerprint of lists.
pub type Fingerprint = [u8; 32];

row! {
    struct Newest {
        fingerprint: Vec<u8>,
        started_at: Timestamp,
    }
}

/// Makes the lists of `fingerprint` those in force: unless they are already, everybody is to be screened by them, from
/// `after` on. `false` when they are.
pub async fn begin(tx: &mut Tx, fingerprint: &Fingerprint, now: Timestamp, after: Timestamp) -> Result<bool, Error> {
    let newest: Option<Newest> = tx
        .query("SELECT fingerprint, started_at FROM screening_scans ORDER BY started_at DESC LIMIT 1")
        .optional()
        .await?;
    if newest.as_ref().is_some_and(|newest| newest.fingerprint == fingerprint) {
        return Ok(false);
    }
    // Where this node's clock is behind the one that began the last, this one is the newer all the same.
    let started_at = newest.map_or(now, |newest| now.max(newest.started_at + Duration::from_micros(1)));
    tx.query(
        "INSERT INTO screening_scans (fingerprint, started_at, position, leased_until) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (fingerprint) DO UPDATE SET started_at = excluded.started_at, position = excluded.position, \
         lease = NULL, leased_until = excluded.leased_until, finished_at = NULL",
    )
    .bind(fingerprint.as_slice())
    .bind(started_at)
    .bind(Uuid::nil())
    .bind(after)
    .execute()
    .await?;
    Ok(true)
}

/// Whether everybody has been screened by the lists of `fingerprint`, as far as [`begin`] asked for it.
pub async fn is_finished(on: &mut impl Connection, fingerprint: &Fingerprint) -> Result<bool, Error> {
    let row: Option<(Option<Timestamp>,)> = on
        .query("SELECT finished_at FROM screening_scans WHERE fingerprint = $1")
        .bind(fingerprint.as_slice())
        .optional()
        .await?;
    Ok(row.is_some_and(|(finished_at,)| finished_at.is_some()))
}

/// Goes on under `lease` until `until`. Gives the customer up to whom all have been screened; `None` when another node goes
/// on, when it is not time yet, or when there is nothing to do.
pub async fn claim(
    tx: &mut Tx,
    fingerprint: &Fingerprint,
    now: Timestamp,
    (lease, until): (Uuid, Timestamp),
) -> Result<Option<Uuid>, Error> {
    let row: Option<(Uuid,)> = tx
        .query(
            "UPDATE screening_scans SET lease = $2, leased_until = $3 \
             WHERE fingerprint = $1 AND finished_at IS NULL AND leased_until <= $4 RETURNING position",
        )
        .bind(fingerprint.as_slice())
        .bind(lease)
        .bind(until)
        .bind(now)
        .optional()
        .await?;
    Ok(row.map(|(position,)| position))
}

/// Notes that every customer up to `position` has been screened, and keeps the lease until `until`. `false` when the lease was
/// lost.
pub async fn advance(
    tx: &mut Tx,
    fingerprint: &Fingerprint,
    position: Uuid,
    (lease, until): (Uuid, Timestamp),
) -> Result<bool, Error> {
    let moved = tx
        .query("UPDATE screening_scans SET position = $3, leased_until = $4 WHERE fingerprint = $1 AND lease = $2")
        .bind(fingerprint.as_slice())
        .bind(lease)
        .bind(position)
        .bind(until)
        .execute()
        .await?;
    Ok(moved == 1)
}

/// Notes that everybody has been screened. `false` when the lease was lost.
pub async fn finish(tx: &mut Tx, fingerprint: &Fingerprint, lease: Uuid, now: Timestamp) -> Result<bool, Error> {
    let ended = tx
        .query("UPDATE screening_scans SET finished_at = $3, lease = NULL WHERE fingerprint = $1 AND lease = $2")
        .bind(fingerprint.as_slice())
        .bind(lease)
        .bind(now)
        .execute()
        .await?;
    Ok(ended == 1)
}

/// The customers after `position`, in order of their ids, that a hit would end: id and CAIP-10 account id.
pub async fn customers(on: &mut impl Connection, position: Uuid, limit: i64) -> Result<Vec<(Uuid, String)>, Error> {
    on.query(
        "SELECT id, chain_id FROM customers WHERE id > $1 AND status IN ('screening', 'verifying', 'active', 'inactive') \
         ORDER BY id LIMIT $2 + 0",
    )
    .bind(position)
    .bind(limit)
    .all()
    .await
}
