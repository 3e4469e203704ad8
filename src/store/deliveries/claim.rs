//! Claims and their end.

use uuid::Uuid;

use super::row::{self, DeliveryRow};
use crate::domain::Timestamp;
use crate::domain::delivery::Delivery;
use crate::store::value::row;
use crate::store::{Connection, Error, Rows, Tx, write_rows};

/// A delivery to be sent, under a lease.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub delivery: Delivery,
    /// What is sent.
    pub body: String,
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
        status: String,
        attempts: String,
        tries: i64,
        due_since: Timestamp,
        next_attempt_at: Option<Timestamp>,
        lease: Option<Uuid>,
        created_at: Timestamp,
        body: Option<String>,
        event_body: Option<String>,
        traceparent: Option<String>,
    }
}

impl DueRow {
    fn read(self) -> Result<Claimed, Error> {
        let body = self.body.or(self.event_body);
        let body = body.ok_or_else(|| Error::unreadable("deliveries.event_id", "no such event"))?;
        let row = DeliveryRow {
            webhook_id: self.webhook_id,
            event_id: self.event_id,
            webhook_type: self.webhook_type,
            status: self.status,
            attempts: self.attempts,
            tries: self.tries,
            due_since: self.due_since,
            next_attempt_at: self.next_attempt_at,
            lease: self.lease,
            created_at: self.created_at,
        };
        Ok(Claimed { delivery: row.read()?.0, body, traceparent: self.traceparent })
    }
}

/// At most `limit` due deliveries of a subscription, the longest due first. Under `fifo` only such whose entity has no
/// earlier one pending. Nobody owns them yet.
pub async fn due(
    on: &mut impl Connection,
    (webhook_id, fifo): (Uuid, bool),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Claimed>, Error> {
    let mut query = on
        .query(
            "SELECT d.webhook_id, d.event_id, d.webhook_type, d.status, d.attempts, d.tries, d.due_since, d.next_attempt_at, \
             d.lease, d.created_at, d.body, e.body AS event_body, e.traceparent FROM deliveries d \
             LEFT JOIN events e ON e.id = d.event_id WHERE d.webhook_id = $1 AND d.status = 'pending' AND d.next_attempt_at <= $2",
        )
        .bind(webhook_id)
        .bind(now);
    if fifo {
        query = query.push(
            " AND NOT EXISTS (SELECT 1 FROM deliveries earlier WHERE earlier.webhook_id = d.webhook_id \
             AND earlier.entity_id = d.entity_id AND earlier.version < d.version AND earlier.status = 'pending')",
        );
    }
    let rows: Vec<DueRow> = query.push(" ORDER BY d.next_attempt_at, d.event_id LIMIT ").push_bind(limit).all().await?;
    rows.into_iter().map(DueRow::read).collect()
}

/// Takes what [`due`] gave under a lease, and keeps of it what nobody else took in between.
pub async fn claim(tx: &mut Tx, found: Vec<Claimed>, (lease, now): (Lease, Timestamp)) -> Result<Vec<Claimed>, Error> {
    if found.is_empty() {
        return Ok(found);
    }
    // A row that another claim took has a later time by now, which this statement sees even if it had to wait for it.
    let taken: Vec<(Uuid, Uuid)> = tx
        .query(
            "UPDATE deliveries SET next_attempt_at = $1, lease = $2 WHERE status = 'pending' AND next_attempt_at <= $3 \
             AND (webhook_id, event_id) IN (VALUES ",
        )
        .bind(lease.until)
        .bind(lease.id)
        .bind(now)
        .push_pairs(found.iter().map(|it| (it.delivery.subscription_id, it.delivery.event_id)))
        .push(") RETURNING webhook_id, event_id")
        .once()
        .all()
        .await?;
    let taken: std::collections::HashSet<_> = taken.into_iter().collect();
    let mine = |it: &Claimed| taken.contains(&(it.delivery.subscription_id, it.delivery.event_id));
    Ok(found.into_iter().filter(mine).collect())
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
        head: "WITH v (webhook_id, event_id, lease, status, attempts, tries, next_attempt_at) AS (VALUES ",
        tail: ") UPDATE deliveries SET status = v.status, attempts = v.attempts, tries = v.tries, \
               next_attempt_at = v.next_attempt_at, lease = NULL FROM v WHERE deliveries.webhook_id = v.webhook_id \
               AND deliveries.event_id = v.event_id AND deliveries.lease = v.lease",
    };
    write_rows(tx, text, settled, |query, Settled { delivery, lease }| {
        query
            .bind(delivery.subscription_id)
            .bind(delivery.event_id)
            .bind(*lease)
            .bind(delivery.status.as_str())
            .bind(row::text(&delivery.attempts))
            .bind(i64::from(delivery.tries))
            .bind(delivery.next_attempt_at)
    })
    .await
}

/// When the next delivery of a subscription that may be sent to is due: past or future; of one that is disabled for
/// failing, when it is probed. One look into an index for each subscription.
pub async fn due_at(on: &mut impl Connection) -> Result<Option<Timestamp>, Error> {
    let row: (Option<Timestamp>,) = on
        .query(
            "SELECT min(CASE WHEN probe_at > due THEN probe_at ELSE due END) FROM (SELECT w.probe_at, \
             (SELECT min(d.next_attempt_at) FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'pending') AS due \
             FROM webhooks w WHERE w.deleted = $1 AND (w.disabled_reason IS NULL OR w.probe_at IS NOT NULL)) waiting",
        )
        .bind(false)
        .one()
        .await?;
    Ok(row.0)
}
