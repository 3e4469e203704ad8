//! Claims and their end.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use uuid::Uuid;

use super::row;
use crate::domain::Timestamp;
use crate::domain::delivery::{Delivery, DeliveryStatus};
use crate::store::value::row;
use crate::store::{Connection, Error, Lengths, Rows, Tx, write_rows};

/// A delivery to be sent, under a lease: pending, whenever it was due.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub delivery: Delivery,
    /// What is sent.
    pub body: Bytes,
    /// The `traceparent` of the request that caused the event.
    pub traceparent: Option<String>,
}

/// A worker's right to send what it claimed.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Names the claim.
    pub id: Uuid,
    /// Until when it counts.
    pub until: Timestamp,
}

row! {
    struct DueRow {
        webhook_id: Uuid,
        event_id: Uuid,
        webhook_type: String,
        attempts: String,
        tries: i64,
        due_since: Timestamp,
        body: Option<String>,
    }
}

row! {
    struct BodyRow {
        id: Uuid,
        body: String,
        traceparent: Option<String>,
    }
}

/// What events say, each once however many subscriptions it goes to.
type Bodies = HashMap<Uuid, (Bytes, Option<String>)>;

impl DueRow {
    fn read(self, bodies: &Bodies) -> Result<Claimed, Error> {
        let (body, traceparent) = match self.body {
            Some(body) => (body.into(), None),
            None => bodies
                .get(&self.event_id)
                .cloned()
                .ok_or_else(|| Error::unreadable("deliveries.event_id", "no such event"))?,
        };
        let delivery = Delivery {
            id: Delivery::id_of(self.webhook_id, self.event_id),
            subscription_id: self.webhook_id,
            event_id: self.event_id,
            webhook_type: row::webhook_type(&self.webhook_type)?,
            status: DeliveryStatus::Pending,
            attempts: row::attempts(&self.attempts)?,
            tries: u32::try_from(self.tries).unwrap_or(u32::MAX),
            due_since: self.due_since,
            next_attempt_at: None,
        };
        Ok(Claimed { delivery, body, traceparent })
    }
}

/// What to look for on behalf of one subscription.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The subscription.
    pub webhook_id: Uuid,
    /// Only deliveries whose entity has no earlier one pending.
    pub fifo: bool,
    /// Due since then or later.
    pub since: Timestamp,
    /// How many at the most, the longest due first.
    pub limit: i64,
}

/// Up to so many subscriptions the text is kept prepared.
const PREPARED: usize = 8;

/// Due deliveries of some subscriptions. Nobody owns them yet.
pub async fn due(on: &mut impl Connection, wanted: &[Wanted], now: Timestamp) -> Result<Vec<Claimed>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = on.query("");
    for (index, one) in wanted.iter().enumerate() {
        query = query
            .push(if index == 0 { "" } else { " UNION ALL " })
            .push(
                "SELECT * FROM (SELECT webhook_id, event_id, webhook_type, attempts, tries, due_since, body \
                 FROM deliveries d WHERE d.status = 'pending' AND d.webhook_id = ",
            )
            .push_bind(one.webhook_id)
            .push(" AND d.next_attempt_at >= ")
            .push_bind(one.since)
            .push(" AND d.next_attempt_at <= ")
            .push_bind(now)
            .push(" AND (d.leased_until IS NULL OR d.leased_until <= ")
            .push_bind(now)
            .push(")");
        if one.fifo {
            query = query.push(
                " AND NOT EXISTS (SELECT 1 FROM deliveries earlier WHERE earlier.webhook_id = d.webhook_id \
                 AND earlier.entity_id = d.entity_id AND earlier.version < d.version AND earlier.status = 'pending')",
            );
        }
        // SQLite plans by a bare parameter here: it would prepare the statement anew whenever the number is another.
        query = query.push(" ORDER BY d.next_attempt_at, d.event_id LIMIT ").push_bind(one.limit).push(" + 0) AS one");
    }
    if wanted.len() > PREPARED {
        query = query.once();
    }
    let rows: Vec<DueRow> = query.all().await?;
    let events: BTreeSet<Uuid> = rows.iter().filter(|row| row.body.is_none()).map(|row| row.event_id).collect();
    let bodies = bodies(on, &events.into_iter().collect::<Vec<_>>()).await?;
    rows.into_iter().map(|row| row.read(&bodies)).collect()
}

async fn bodies(on: &mut impl Connection, events: &[Uuid]) -> Result<Bodies, Error> {
    let mut bodies = Bodies::with_capacity(events.len());
    for events in events.chunks(Lengths::Few.most()) {
        let rows: Vec<BodyRow> = on
            .query("SELECT id, body, traceparent FROM events WHERE id IN ")
            .push_list(Lengths::Few.fill(events).copied())
            .all()
            .await?;
        bodies.extend(rows.into_iter().map(|row| (row.id, (Bytes::from(row.body), row.traceparent))));
    }
    Ok(bodies)
}

/// Takes what [`due`] gave under a lease: subscription and event of those that nobody else took, or is just taking.
pub async fn claim(
    tx: &mut Tx,
    found: &[(Uuid, Uuid)],
    (lease, now): (Lease, Timestamp),
) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let mut mine = Vec::with_capacity(found.len());
    for found in found.chunks(Lengths::Few.most()) {
        mine.extend(claim_some(tx, found, (lease, now)).await?);
    }
    Ok(mine)
}

async fn claim_some(
    tx: &mut Tx,
    found: &[(Uuid, Uuid)],
    (lease, now): (Lease, Timestamp),
) -> Result<Vec<(Uuid, Uuid)>, Error> {
    // From the rows that are wanted to the table by its key: SQLite would go through every pending delivery for an IN. So would
    // PostgreSQL where its statistics are from a time when nothing was pending; no index goes with the CASE.
    tx.query("WITH v (webhook_id, event_id) AS (VALUES ")
        .push_pairs(Lengths::Few.fill(found).copied())
        .push(
            "), mine AS (SELECT d.webhook_id, d.event_id FROM v CROSS JOIN deliveries d WHERE d.webhook_id = v.webhook_id \
             AND d.event_id = v.event_id AND CASE d.status WHEN 'pending' THEN d.next_attempt_at <= ",
        )
        .push_bind(now)
        .push(" AND (d.leased_until IS NULL OR d.leased_until <= ")
        .push_bind(now)
        .push(") ELSE false END")
        .for_update_skip_locked()
        .push(") UPDATE deliveries SET leased_until = ")
        .push_bind(lease.until)
        .push(", lease = ")
        .push_bind(lease.id)
        .push(
            " FROM mine WHERE deliveries.webhook_id = mine.webhook_id AND deliveries.event_id = mine.event_id \
             RETURNING deliveries.webhook_id, deliveries.event_id",
        )
        .all()
        .await
}

/// Ends leases of deliveries that were not begun: subscription, event and lease of each.
pub async fn release(tx: &mut Tx, claimed: &[(Uuid, Uuid, Uuid)]) -> Result<(), Error> {
    let text = Rows {
        head: "WITH v (webhook_id, event_id, lease) AS (VALUES ",
        tail: ") UPDATE deliveries SET lease = NULL, leased_until = NULL FROM v WHERE deliveries.webhook_id = v.webhook_id \
               AND deliveries.event_id = v.event_id AND deliveries.lease = v.lease",
        lengths: Lengths::Few,
    };
    write_rows(tx, text, claimed, |query, &(webhook_id, event_id, lease)| {
        query.bind(webhook_id).bind(event_id).bind(lease)
    })
    .await?;
    tx.leaves_work();
    Ok(())
}

/// An attempt's end.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The delivery as the attempt left it.
    pub delivery: Delivery,
    /// The lease that it was sent under.
    pub lease: Uuid,
}

/// Records ends of attempts; how many counted. Those whose lease was lost are passed over: another worker has sent them
/// since, or they were replayed.
pub async fn settle(tx: &mut Tx, settled: &[Settled]) -> Result<u64, Error> {
    let text = Rows {
        head: "WITH v (webhook_id, event_id, lease, status, attempts, tries, due_since, next_attempt_at) AS (VALUES ",
        tail: ") UPDATE deliveries SET status = v.status, attempts = v.attempts, tries = v.tries, due_since = v.due_since, \
               next_attempt_at = v.next_attempt_at, lease = NULL, leased_until = NULL FROM v WHERE deliveries.webhook_id = v.webhook_id \
               AND deliveries.event_id = v.event_id AND deliveries.lease = v.lease",
        lengths: Lengths::Few,
    };
    write_rows(tx, text, settled, |query, Settled { delivery, lease }| {
        query
            .bind(delivery.subscription_id)
            .bind(delivery.event_id)
            .bind(*lease)
            .bind(delivery.status.as_str())
            .bind(row::text(&delivery.attempts))
            .bind(i64::from(delivery.tries))
            .bind(delivery.due_since)
            .bind(delivery.next_attempt_at)
    })
    .await
}

/// When the next delivery of a subscription that may be sent to is due: since `since` at the longest (since whenever, where the
/// subscription has changed since then), or in future; of one that is disabled for failing, when it is probed. Those that somebody
/// is sending are not counted. One look into an index for each subscription.
pub async fn due_at(
    on: &mut impl Connection,
    (since, now): (Timestamp, Timestamp),
) -> Result<Option<Timestamp>, Error> {
    let row: (Option<Timestamp>,) = on
        .query(
            "SELECT min(CASE WHEN probe_at > due THEN probe_at ELSE due END) FROM (SELECT w.probe_at, \
             (SELECT min(d.next_attempt_at) FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'pending' \
             AND d.next_attempt_at >= CASE WHEN w.disabled_reason IS NULL AND w.updated_at < $1 THEN $1 ELSE $3 END \
             AND (d.leased_until IS NULL OR d.leased_until <= $2)) AS due \
             FROM webhooks w WHERE NOT w.deleted AND (w.disabled_reason IS NULL OR w.probe_at IS NOT NULL)) waiting",
        )
        .bind(since)
        .bind(now)
        .bind(Timestamp::EPOCH)
        .one()
        .await?;
    Ok(row.0)
}

/// When the first pending delivery of a subscription that is not disabled fell due, or will: those that somebody is sending
/// are counted.
pub async fn first_pending(on: &mut impl Connection) -> Result<Option<Timestamp>, Error> {
    let row: (Option<Timestamp>,) = on
        .query(
            "SELECT min(due) FROM (SELECT (SELECT min(d.next_attempt_at) FROM deliveries d WHERE d.webhook_id = w.id \
             AND d.status = 'pending') AS due FROM webhooks w WHERE NOT w.deleted AND w.disabled_reason IS NULL) waiting",
        )
        .one()
        .await?;
    Ok(row.0)
}
