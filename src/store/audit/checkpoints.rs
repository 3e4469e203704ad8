//! Checkpoints of the audit trail: making and verifying them.

use std::collections::BTreeMap;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::checkpoint::{Checkpoint, Extent};
use crate::domain::event::Hash;
use crate::signature::{PrivateKey, PublicKey};
use crate::store::value::row;
use crate::store::{Connection, Error, Store, events};

use super::keys;

/// Events read at a time.
const PAGE: i64 = 1000;
/// Events that one checkpoint adds at most: what was reached is kept, however much there is.
const MOST: i64 = 100_000;
/// Missing positions that are named; the rest are counted.
const NAMED: usize = 5;

row! {
    struct CheckpointRow {
        seq: i64,
        position: i64,
        events: i64,
        running_hash: Vec<u8>,
        previous_hash: Vec<u8>,
        created_at: Timestamp,
        signature: Vec<u8>,
    }
}

impl From<CheckpointRow> for Checkpoint {
    /// As it stands: hashes that somebody has made unreadable read as one that nothing has.
    fn from(row: CheckpointRow) -> Self {
        let hash = |bytes: &[u8]| Hash::try_from(bytes).unwrap_or([0xff; size_of::<Hash>()]);
        let extent = Extent { position: row.position, events: row.events, running_hash: hash(&row.running_hash) };
        let (seq, created_at, signature) = (row.seq, row.created_at, row.signature);
        Self { seq, extent, previous_hash: hash(&row.previous_hash), created_at, signature }
    }
}

/// The newest checkpoint.
pub async fn last(on: &mut impl Connection) -> Result<Option<Checkpoint>, Error> {
    let row: Option<CheckpointRow> = on
        .query(
            "SELECT seq, position, events, running_hash, previous_hash, created_at, signature FROM audit_checkpoints \
             ORDER BY seq DESC LIMIT 1",
        )
        .optional()
        .await?;
    Ok(row.map(Checkpoint::from))
}

/// Whether there are events that no checkpoint covers.
pub async fn is_due(store: &Store) -> Result<bool, Error> {
    events::place(store).await?;
    let mut reader = store.reader().await?;
    let covered = last(&mut reader).await?.map_or(0, |last| last.extent.position);
    let query = reader.query("SELECT position FROM events WHERE position > $1 ORDER BY position LIMIT 1").bind(covered);
    let next: Option<(i64,)> = query.optional().await?;
    Ok(next.is_some())
}

/// Makes checkpoints up to the last committed event; those that were made. One that another node makes at the same time is
/// made once.
pub async fn make(store: &Store, key: &PrivateKey, clock: &Clock) -> Result<Vec<Checkpoint>, Error> {
    events::place(store).await?;
    let mut made = Vec::new();
    loop {
        let mut reader = store.reader().await?;
        let before = last(&mut reader).await?;
        let mut extent = before.as_ref().map_or_else(Extent::default, |before| before.extent);
        let upto = extent.position.saturating_add(MOST);
        extend(&mut reader, &mut extent, upto).await?;
        drop(reader);
        if before.as_ref().map_or(0, |before| before.extent.position) == extent.position {
            return Ok(made);
        }
        let mut checkpoint = Checkpoint::after(before.as_ref(), extent, clock.now());
        checkpoint.signature = key
            .sign(&checkpoint.signed())
            .map_err(|error| Error::unreadable("audit_keys.sealed_key", &error.to_string()))?;
        if insert(store, &checkpoint).await? {
            made.push(checkpoint);
        }
    }
}

/// Extends by the events after it up to a position; the positions among them that have no event.
async fn extend(on: &mut impl Connection, extent: &mut Extent, upto: i64) -> Result<Missing, Error> {
    let mut missing = Missing::default();
    loop {
        let page: Vec<(i64, Vec<u8>)> = on
            .query(
                "SELECT position, hash FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
            )
            .bind(extent.position)
            .bind(upto)
            .bind(PAGE)
            .all()
            .await?;
        for (position, hash) in &page {
            missing.between(extent.position, *position);
            extent.extend(*position, hash);
        }
        if (page.len() as i64) < PAGE {
            return Ok(missing);
        }
    }
}

/// Inserts a checkpoint; `false` where another node was quicker.
async fn insert(store: &Store, it: &Checkpoint) -> Result<bool, Error> {
    let mut tx = store.begin().await?;
    let inserted = tx
        .query(
            "INSERT INTO audit_checkpoints (seq, position, events, running_hash, previous_hash, created_at, signature) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(it.seq)
        .bind(it.extent.position)
        .bind(it.extent.events)
        .bind(it.extent.running_hash.as_slice())
        .bind(it.previous_hash.as_slice())
        .bind(it.created_at)
        .bind(it.signature.as_slice())
        .execute()
        .await?;
    tx.commit().await?;
    Ok(inserted == 1)
}

/// Positions without an event.
#[derive(Debug, Default)]
struct Missing {
    count: i64,
    named: Vec<i64>,
}

impl Missing {
    /// Adds those between two positions that follow one another.
    fn between(&mut self, before: i64, after: i64) {
        let gap = before.saturating_add(1)..after;
        self.count += (after - before - 1).max(0);
        self.named.extend(gap.take(NAMED - self.named.len().min(NAMED)));
    }

    fn shown(&self) -> String {
        let named: Vec<_> = self.named.iter().map(i64::to_string).collect();
        let more = if self.count > NAMED as i64 { ", …" } else { "" };
        format!("{} missing, at positions {}{more}", self.count, named.join(", "))
    }
}

/// What [`verify`] read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Covered {
    /// Checkpoints.
    pub checkpoints: u64,
    /// The time of the oldest event that is behind all of them: a deletion among those does not show.
    pub until: Option<Timestamp>,
}

/// Verifies every checkpoint, and what they say of the events, against the database and against copies that were kept
/// elsewhere; tells `fault` what is wrong.
///
/// # Errors
///
/// Those of the store.
pub async fn verify(
    store: &Store,
    copies: &[Checkpoint],
    mut fault: impl FnMut(String) + Send,
) -> Result<Covered, Error> {
    let mut reader = store.reader().await?;
    let mut keys = Vec::new();
    for key in keys::public_keys(&mut reader).await? {
        match key {
            Ok(key) => keys.push(key),
            Err(error) => fault(format!("a key that signs checkpoints cannot be trusted: {error}")),
        }
    }
    let mut by_seq: BTreeMap<i64, Vec<&Checkpoint>> = BTreeMap::new();
    for copy in copies {
        // All of them count: what was made anew was logged as well, after the one whose place it has.
        let same = by_seq.entry(copy.seq).or_default();
        if !same.contains(&copy) {
            same.push(copy);
        }
    }
    for (seq, same) in by_seq.iter().filter(|(_, same)| same.len() > 1) {
        let times: Vec<_> = same.iter().map(|copy| copy.created_at.json()).collect();
        fault(format!("checkpoint {seq} was copied as made at {}: it was made again", times.join(" and at ")));
    }
    let mut copies = by_seq;
    let made = !keys.is_empty();
    let mut walk = Walk { keys, before: None, fault };
    let mut covered = Covered::default();
    loop {
        let after = walk.before.as_ref().map_or(0, |before| before.seq).max(0);
        let rows: Vec<CheckpointRow> = reader
            .query(
                "SELECT seq, position, events, running_hash, previous_hash, created_at, signature \
                 FROM audit_checkpoints WHERE seq > $1 ORDER BY seq LIMIT $2",
            )
            .bind(after)
            .bind(PAGE)
            .all()
            .await?;
        covered.checkpoints += rows.len() as u64;
        let full = rows.len() as i64 == PAGE;
        for stored in rows.into_iter().map(Checkpoint::from) {
            // Copies of what is not there any more.
            let kept = copies.split_off(&stored.seq);
            for copy in std::mem::replace(&mut copies, kept).into_values().flatten() {
                walk.copy(&mut reader, copy).await?;
            }
            if copies.remove(&stored.seq).is_some_and(|same| same.iter().any(|copy| **copy != stored)) {
                walk.fault(&stored, "it is not the one that was copied: it was made again");
            }
            walk.next(&mut reader, stored).await?;
        }
        if !full {
            break;
        }
    }
    for copy in copies.into_values().flatten() {
        walk.copy(&mut reader, copy).await?;
    }
    let position = walk.before.as_ref().map_or(0, |before| before.extent.position);
    covered.until = uncovered(&mut reader, position).await?;
    if made && covered == Covered::default() {
        (walk.fault)("checkpoints were signed here, but there are neither checkpoints nor events: deleted".to_owned());
    }
    Ok(covered)
}

/// The time of the oldest event behind a position; one that seals a chain is behind none, and the chain covers it.
async fn uncovered(on: &mut impl Connection, position: i64) -> Result<Option<Timestamp>, Error> {
    let query = on.query("SELECT MIN(created_at) FROM events WHERE position > $1 OR position IS NULL");
    let (oldest,): (Option<Timestamp>,) = query.bind(position).one().await?;
    Ok(oldest)
}

/// Checkpoints while they are read, oldest first.
struct Walk<F> {
    /// Oldest first. Once one has signed, no earlier one may.
    keys: Vec<PublicKey>,
    before: Option<Checkpoint>,
    fault: F,
}

impl<F: FnMut(String) + Send> Walk<F> {
    fn fault(&mut self, at: &Checkpoint, what: &str) {
        (self.fault)(format!("checkpoint {} of {}: {what}", at.seq, at.created_at.json()));
    }

    /// A copied one that the database has not.
    async fn copy(&mut self, on: &mut impl Connection, copy: &Checkpoint) -> Result<(), Error> {
        self.fault(copy, "it was copied and is not in the database: checkpoints were deleted");
        self.next(on, copy.clone()).await
    }

    /// Compares a checkpoint with the one before and with the events between them. Each is compared with what the one
    /// before says, so that one alteration is one fault.
    async fn next(&mut self, on: &mut impl Connection, it: Checkpoint) -> Result<(), Error> {
        let (seq, previous, mut extent, since) = match &self.before {
            Some(before) => (before.seq, before.hash(), before.extent, before.created_at.json()),
            None => (0, Hash::default(), Extent::default(), "the beginning".to_owned()),
        };
        if it.seq != seq + 1 {
            self.fault(&it, &format!("it follows checkpoint {seq}: checkpoints are missing"));
        } else if it.previous_hash != previous {
            self.fault(&it, "it does not follow the checkpoint before: one of them was altered or replaced");
        }
        let signed = it.signed();
        if let Some(by) = self.keys.iter().position(|key| key.verifies(&signed, &it.signature)) {
            self.keys.drain(..by);
        } else {
            self.fault(&it, "its signature is not by this service's key: it was altered or made by another");
        }
        let mut missing = extend(on, &mut extent, it.extent.position).await?;
        missing.between(extent.position, it.extent.position.saturating_add(1));
        // The count says how many, the positions which.
        if missing.count > 0 {
            let what = format!("of the events committed since {since}, {}: deleted since then", missing.shown());
            self.fault(&it, &what);
        } else if extent != it.extent {
            let what = format!("the events committed since {since} are not those that it covers: altered since then");
            self.fault(&it, &what);
        }
        self.before = Some(it);
        Ok(())
    }
}
