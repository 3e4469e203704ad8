//! Seals the chains that have hashes of version 1: verifies each, and appends the event that says so.
//!
//! A batch is one transaction. A crash leaves whole batches, and the next start goes on. Nodes that start at once share the
//! customers: each passes over those that another one has locked. While nodes of before version 2 still run, they go on with
//! version 1 where they append, behind the seal: such events verify by their own version.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::{PAGE, events_between};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::audit::{Fault, Trail};
use crate::domain::commitment::CustomerKey;
use crate::domain::event::{Chain, Hash, Seal};
use crate::store::change::pause;
use crate::store::value::row;
use crate::store::{Connection, Error, Store, Tx, customers, events};

/// Customers in one transaction.
const BATCH: i64 = 100;
/// How long to wait for what others have locked.
const RETRY: Duration = Duration::from_millis(50);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Chains that are sealed now.
    pub chains: u64,
    /// Those among them that did not verify.
    pub broken: u64,
}

/// What [`seal`] reports while it runs.
#[derive(Debug)]
pub enum Notice {
    /// A chain did not verify: it is sealed as broken.
    Broken(Fault),
    /// So many are sealed.
    Progress(Sealed),
}

row! {
    struct Unsealed {
        id: Uuid,
        programme_id: Uuid,
        event_seq: i64,
        event_head: Vec<u8>,
    }
}

/// Seals every chain that has hashes of version 1.
///
/// # Errors
///
/// Those of the store.
pub async fn seal(store: &Store, clock: &Clock, mut report: impl FnMut(Notice) + Send) -> Result<Sealed, Error> {
    let mut sealed = Sealed::default();
    while let Some(first) = next(store).await? {
        let before = sealed.chains;
        let mut after = Some(first);
        while let Some(from) = after {
            let mut tx = store.begin().await?;
            match batch(&mut tx, from, clock).await {
                Ok(done) => {
                    tx.commit().await?;
                    sealed.chains += done.chains;
                    sealed.broken += done.faults.len() as u64;
                    done.faults.into_iter().map(Notice::Broken).for_each(&mut report);
                    report(Notice::Progress(sealed));
                    after = done.after;
                }
                Err(error) if error.is_retry() => tx.rollback().await?,
                Err(error) => return Err(error),
            }
        }
        if sealed.chains == before {
            // Another transaction has what is left locked: a node that seals, or a change.
            pause(RETRY).await;
        }
    }
    Ok(sealed)
}

/// The first customer whose chain is not sealed.
async fn next(store: &Store) -> Result<Option<Uuid>, Error> {
    let mut reader = store.reader().await?;
    let query = reader.query("SELECT id FROM customers WHERE hash_version = 1 ORDER BY id LIMIT 1");
    let row: Option<(Uuid,)> = query.optional().await?;
    Ok(row.map(|(id,)| id))
}

/// What one batch did.
struct Done {
    chains: u64,
    faults: Vec<Fault>,
    after: Option<Uuid>,
}

/// A customer's new end of chain.
struct Closed {
    id: Uuid,
    chain: Chain,
    key: Vec<u8>,
}

async fn batch(tx: &mut Tx, from: Uuid, clock: &Clock) -> Result<Done, Error> {
    let rows: Vec<Unsealed> = tx
        .query(
            "SELECT id, programme_id, event_seq, event_head FROM customers WHERE hash_version = 1 AND id >= $1 \
             ORDER BY id LIMIT $2",
        )
        .bind(from)
        .bind(BATCH)
        .for_update_skip_locked()
        .all()
        .await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Done { chains: 0, faults: Vec::new(), after: None });
    };
    let after = Some(last.id).filter(|_| rows.len() as i64 == BATCH);
    let (first, upto) = (first.id, last.id);
    let mut ends: BTreeMap<Uuid, End> = rows.iter().map(|row| (row.id, End::new(row.id))).collect();
    let mut page_after = (first, 0);
    loop {
        let page = events_between(tx, page_after, upto).await?;
        page_after = page.last().map_or(page_after, |event| (event.customer_id, event.seq));
        let full = page.len() as i64 == PAGE;
        for event in &page {
            if let Some(end) = ends.get_mut(&event.customer_id) {
                end.trail.add(event);
                end.at = end.at.max(event.created_at);
            }
        }
        if !full {
            break;
        }
    }
    let mut done = Done { chains: 0, faults: Vec::new(), after };
    let (mut seals, mut closed) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(end) = ends.remove(&row.id) else { continue };
        done.chains += 1;
        let key = CustomerKey::new(clock.random());
        let head = Hash::try_from(row.event_head.as_slice()).unwrap_or([0xff; size_of::<Hash>()]);
        let mut chain = Chain { seq: row.event_seq, head, at: end.at, key: Some(key) };
        let fault = end.trail.end_of_chain(&chain).into_iter().next();
        if row.event_seq > 0 {
            let (id, programme_id, customer_id, now) = (clock.id(), row.programme_id, row.id, clock.now());
            let seal = Seal { id, programme_id, customer_id, key, now };
            let what = fault.as_ref().map(ToString::to_string);
            seals.push(chain.seal(&seal, what.as_deref()));
        }
        done.faults.extend(fault);
        closed.push(Closed { id: row.id, chain, key: customers::seal_key(tx, row.id, &key).await? });
    }
    events::insert_seals(tx, &seals).await?;
    close(tx, &closed).await?;
    Ok(done)
}

async fn close(tx: &mut Tx, closed: &[Closed]) -> Result<(), Error> {
    for it in closed {
        tx.query(
            "UPDATE customers SET hash_version = 2, event_seq = $2, event_head = $3, event_at = $4, event_key = $5 WHERE id = $1",
        )
        .bind(it.id)
        .bind(it.chain.seq)
        .bind(it.chain.head.as_slice())
        .bind(it.chain.at)
        .bind(it.key.as_slice())
        .execute()
        .await?;
    }
    Ok(())
}

/// The end of a chain as its events tell it.
struct End {
    trail: Trail,
    at: Timestamp,
}

impl End {
    fn new(customer_id: Uuid) -> Self {
        Self { trail: Trail::new(customer_id, None), at: Timestamp::EPOCH }
    }
}
