//! Which screening lists are in force, and screening every customer again when they have changed: how far it is, and which node
//! goes on.
//!
//! Each content that lists had is known by a fingerprint and has one row. The row that was begun last is that of the lists in
//! force, by which alone customers are cleared; each [node](super::nodes) says which lists it has. Lists that come back after
//! others were in force start from the first customer.

use std::time::Duration;

use uuid::Uuid;

use super::tasks::NodeLease;
use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;

/// A fingerprint of lists.
pub type Fingerprint = [u8; 32];

row! {
    struct NewestRow {
        fingerprint: Vec<u8>,
        started_at: Timestamp,
        used: bool,
        said: Option<Vec<u8>>,
    }
}

/// The lists in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// What they say.
    pub fingerprint: Fingerprint,
    /// Since when.
    pub started_at: Timestamp,
    /// Whether another node has them.
    pub used: bool,
    /// What this node has said that it has.
    pub said: Option<Fingerprint>,
}

/// The lists in force, as they are for a node; `None` where there never were any.
pub async fn in_force(on: &mut impl Connection, node: Uuid) -> Result<Option<InForce>, Error> {
    let row: Option<NewestRow> = on
        .query(
            "SELECT fingerprint, started_at, \
             EXISTS (SELECT 1 FROM nodes WHERE screening_lists = fingerprint AND id <> $1) AS used, \
             (SELECT screening_lists FROM nodes WHERE id = $1) AS said \
             FROM screening_scans ORDER BY started_at DESC, fingerprint DESC LIMIT 1",
        )
        .bind(node)
        .optional()
        .await?;
    let Some(NewestRow { fingerprint, started_at, used, said }) = row else { return Ok(None) };
    let fingerprint = Fingerprint::try_from(fingerprint.as_slice())
        .map_err(|_| Error::unreadable("screening_scans.fingerprint", &fingerprint.len().to_string()))?;
    let said = said.and_then(|said| Fingerprint::try_from(said.as_slice()).ok());
    Ok(Some(InForce { fingerprint, started_at, used, said }))
}

/// Whether lists of this fingerprint were in force before, or are.
pub async fn is_known(on: &mut impl Connection, fingerprint: &Fingerprint) -> Result<bool, Error> {
    let (known,): (bool,) = on
        .query("SELECT EXISTS (SELECT 1 FROM screening_scans WHERE fingerprint = $1)")
        .bind(fingerprint.as_slice())
        .one()
        .await?;
    Ok(known)
}

/// Says that a node has the lists of `fingerprint`. `false` when it is no node any more.
pub async fn uses(tx: &mut Tx, node: Uuid, fingerprint: &Fingerprint) -> Result<bool, Error> {
    let known = tx
        .query("UPDATE nodes SET screening_lists = $2 WHERE id = $1")
        .bind(node)
        .bind(fingerprint.as_slice())
        .execute()
        .await?;
    Ok(known == 1)
}

/// Puts the lists of `fingerprint` in force in the place of `newest`: everybody is to be screened by them.
pub async fn begin(
    tx: &mut Tx,
    fingerprint: &Fingerprint,
    newest: Option<&InForce>,
    now: Timestamp,
) -> Result<(), Error> {
    // Where this node's clock is behind the one that began the last, this one is the newer all the same.
    let started_at = newest.map_or(now, |newest| now.max(newest.started_at + Duration::from_micros(1)));
    tx.query(
        "INSERT INTO screening_scans (fingerprint, started_at, position, leased_until, used_until) \
         VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (fingerprint) DO UPDATE SET started_at = excluded.started_at, position = excluded.position, \
         lease = NULL, node = NULL, leased_until = excluded.leased_until, finished_at = NULL, used_until = excluded.used_until",
    )
    .bind(fingerprint.as_slice())
    .bind(started_at)
    .bind(Uuid::nil())
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Whether everybody has been screened by the lists of `fingerprint`, since they were [put in force](begin).
pub async fn is_finished(on: &mut impl Connection, fingerprint: &Fingerprint) -> Result<bool, Error> {
    let row: Option<(Option<Timestamp>,)> = on
        .query("SELECT finished_at FROM screening_scans WHERE fingerprint = $1")
        .bind(fingerprint.as_slice())
        .optional()
        .await?;
    Ok(row.is_some_and(|(finished_at,)| finished_at.is_some()))
}

/// Goes on as `node` under `lease`. Gives the customer up to whom all have been screened; `None` when another node goes on, or when
/// there is nothing to do.
pub async fn claim(
    tx: &mut Tx,
    fingerprint: &Fingerprint,
    NodeLease { id, node }: NodeLease,
) -> Result<Option<Uuid>, Error> {
    let row: Option<(Uuid,)> = tx
        .query(
            "UPDATE screening_scans SET lease = $2, node = $3 \
             WHERE fingerprint = $1 AND finished_at IS NULL AND (node IS NULL OR node = $3) RETURNING position",
        )
        .bind(fingerprint.as_slice())
        .bind(id)
        .bind(node)
        .optional()
        .await?;
    Ok(row.map(|(position,)| position))
}

/// Notes that every customer up to `position` has been screened. `false` when the lease was lost.
pub async fn advance(tx: &mut Tx, fingerprint: &Fingerprint, position: Uuid, lease: Uuid) -> Result<bool, Error> {
    let moved = tx
        .query("UPDATE screening_scans SET position = $3 WHERE fingerprint = $1 AND lease = $2")
        .bind(fingerprint.as_slice())
        .bind(lease)
        .bind(position)
        .execute()
        .await?;
    Ok(moved == 1)
}

/// Notes that everybody has been screened. `false` when the lease was lost.
pub async fn finish(tx: &mut Tx, fingerprint: &Fingerprint, lease: Uuid, now: Timestamp) -> Result<bool, Error> {
    let ended = tx
        .query("UPDATE screening_scans SET finished_at = $3, lease = NULL, node = NULL WHERE fingerprint = $1 AND lease = $2")
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
