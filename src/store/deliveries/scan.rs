//! What is due of one subscription, and what came of it.

use bytes::Bytes;
use uuid::Uuid;

use super::lease::Lease;
use super::row;
use crate::domain::Timestamp;
use crate::domain::delivery::{Delivery, DeliveryStatus};
use crate::store::value::row;
use crate::store::{Connection, Effect, Error, Lengths, Tx};

/// A delivery that is due, and all that it takes to send it.
#[derive(Debug, Clone)]
pub struct Due {
    /// The delivery.
    pub delivery: Delivery,
    /// What keeps order, where order is kept.
    pub entity_id: Uuid,
    /// Its place in that order.
    pub version: i64,
    /// Where order is kept: the place of the last delivery of its entity before this one that is still pending.
    pub predecessor: Option<i64>,
    /// What is sent.
    pub body: Bytes,
    /// The `traceparent` of the request that caused the event.
    pub traceparent: Option<String>,
    /// The `X-Request-Id` of the request that caused it.
    pub request_id: Option<String>,
}

/// What to scan for.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    /// Of which subscription.
    pub webhook_id: Uuid,
    /// Leave out what waits for an earlier delivery of its entity that is to be tried again later.
    pub fifo: bool,
    /// After this one in the order of time and event.
    pub after: (Timestamp, Uuid),
    /// How many at most, the longest due first.
    pub limit: i64,
}

row! {
    struct DueRow {
        event_id: Uuid,
        next_attempt_at: Timestamp,
        webhook_type: String,
        attempts: String,
        tries: i64,
        due_since: Timestamp,
        entity_id: Uuid,
        version: i64,
        predecessor: Option<i64>,
        trial: Option<String>,
        body: Option<String>,
        traceparent: Option<String>,
        request_id: Option<String>,
    }
}

impl DueRow {
    fn read(self, webhook_id: Uuid) -> Result<Due, Error> {
        let body = self.trial.or(self.body).ok_or_else(|| Error::unreadable("deliveries.event_id", "no such event"))?;
        let delivery = Delivery {
            id: Delivery::id_of(webhook_id, self.event_id),
            subscription_id: webhook_id,
            event_id: self.event_id,
            webhook_type: row::webhook_type(&self.webhook_type)?,
            status: DeliveryStatus::Pending,
            attempts: row::attempts(&self.attempts)?,
            tries: u32::try_from(self.tries).unwrap_or(u32::MAX),
            due_since: self.due_since,
            next_attempt_at: Some(self.next_attempt_at),
        };
        Ok(Due {
            delivery,
            entity_id: self.entity_id,
            version: self.version,
            predecessor: self.predecessor,
            body: body.into(),
            traceparent: self.traceparent,
            request_id: self.request_id,
        })
    }
}

/// The due deliveries of a subscription.
pub async fn due(on: &mut impl Connection, scan: Scan, now: Timestamp) -> Result<Vec<Due>, Error> {
    let mut query = on
        .query(
            "SELECT d.event_id, d.next_attempt_at, d.webhook_type, d.attempts, d.tries, d.due_since, d.entity_id, d.version, \
             d.predecessor, d.body AS trial, e.body, e.traceparent, e.request_id FROM (SELECT d.*, ",
        )
        .push(match scan.fifo {
            true => {
                "(SELECT max(p.version) FROM deliveries p WHERE p.webhook_id = $1 AND p.entity_id = d.entity_id \
                 AND p.version < d.version AND p.status = 'pending')"
            }
            false => "CAST(NULL AS BIGINT)",
        })
        .push(
            " AS predecessor FROM deliveries d WHERE d.status = 'pending' AND d.webhook_id = $1 \
             AND (d.next_attempt_at, d.event_id) > ($2, $3) AND d.next_attempt_at <= $4",
        );
    if scan.fifo {
        query = query.push(
            " AND (SELECT p.next_attempt_at FROM deliveries p WHERE p.webhook_id = $1 AND p.entity_id = d.entity_id \
             AND p.status = 'pending' ORDER BY p.webhook_id, p.entity_id, p.version LIMIT 1) <= $4",
        );
    }
    // SQLite plans by a bare parameter in LIMIT: it would prepare the statement again whenever the number is another.
    let rows: Vec<DueRow> = query
        .push(
            " ORDER BY d.next_attempt_at, d.event_id LIMIT $5 + 0) AS d LEFT JOIN events e ON e.id = d.event_id \
             ORDER BY d.next_attempt_at, d.event_id",
        )
        .bind(scan.webhook_id)
        .bind(scan.after.0)
        .bind(scan.after.1)
        .bind(now)
        .bind(scan.limit)
        .all()
        .await?;
    rows.into_iter().map(|row| row.read(scan.webhook_id)).collect()
}

/// An attempt that has ended, as the delivery has it.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// The delivery as the attempt left it.
    pub delivery: Delivery,
    /// When it was due.
    pub due: Timestamp,
    /// When the attempt ended.
    pub at: Timestamp,
    /// Under which it was made.
    pub lease: Lease,
}

/// Attempts that are recorded together at most.
pub const RECORDED: usize = 256;

/// Records attempts, at most [`RECORDED`]. What was made under a lease that is another node's by now does not count: that node
/// sends it again.
pub fn record(tx: &mut Tx, attempted: &[&Attempted]) -> Result<(), Error> {
    attempted.chunks(Lengths::Few.most()).try_for_each(|attempted| record_few(tx, attempted))
}

fn record_few(tx: &mut Tx, attempted: &[&Attempted]) -> Result<(), Error> {
    let mut query = tx.write(
        "WITH v (webhook_id, event_id, node, epoch, due, status, attempts, tries, due_since, next_attempt_at, scheduled_at) \
         AS (VALUES ",
    );
    for (index, it) in Lengths::Few.fill(attempted).enumerate() {
        query = query.push(if index == 0 { "" } else { ", " });
        let (from, delivery) = (query.bound(), &it.delivery);
        query = query
            .bind(delivery.subscription_id)
            .bind(delivery.event_id)
            .bind(it.lease.node)
            .bind(it.lease.epoch)
            .bind(it.due)
            .bind(delivery.status.as_str())
            .bind(row::text(&delivery.attempts))
            .bind(i64::from(delivery.tries))
            .bind(delivery.due_since)
            .bind(delivery.next_attempt_at)
            .bind(it.at)
            .push_tuple(from);
    }
    // To the table by its whole key: no index goes with the CASE, and a subquery that gives a value is not joined, as EXISTS would be,
    // which PostgreSQL, without statistics, took for a reason to read all deliveries of the subscription.
    query
        .push(
            ") UPDATE deliveries SET status = v.status, attempts = v.attempts, tries = v.tries, due_since = v.due_since, \
             next_attempt_at = v.next_attempt_at, scheduled_at = v.scheduled_at FROM v \
             WHERE deliveries.webhook_id = v.webhook_id AND deliveries.event_id = v.event_id \
             AND CASE deliveries.status WHEN 'pending' THEN deliveries.next_attempt_at = v.due ELSE false END \
             AND (SELECT l.epoch FROM webhook_leases l WHERE l.webhook_id = v.webhook_id AND l.node = v.node) = v.epoch",
        )
        .collect(Effect::Any)
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

    use super::*;
    use crate::domain::webhook::WebhookType;
    use crate::store::{Store, StoreOptions};

    fn attempted(number: usize) -> Attempted {
        let (event_id, webhook_id) = (Uuid::from_u128(number as u128), Uuid::nil());
        let delivery = Delivery {
            id: event_id,
            subscription_id: webhook_id,
            event_id,
            webhook_type: WebhookType::CustomerUpdated,
            status: DeliveryStatus::Delivered,
            attempts: Vec::new(),
            tries: 1,
            due_since: Timestamp(0),
            next_attempt_at: None,
        };
        let lease = Lease { webhook_id, node: Uuid::nil(), epoch: 1 };
        Attempted { delivery, due: Timestamp(0), at: Timestamp(1), lease }
    }

    #[tokio::test]
    async fn sqlite_looks_up_each_delivery_that_is_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/plan.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let mut other = SqliteConnection::connect(&url).await.unwrap();
        for count in [1, 16, 128, 129, RECORDED] {
            let all: Vec<_> = (0..count).map(attempted).collect();
            let mut tx = store.begin().await.unwrap();
            record(&mut tx, &all.iter().collect::<Vec<_>>()).unwrap();
            let text = tx.take_text().unwrap().unwrap();
            for statement in text.split("; ") {
                let explained = format!("EXPLAIN QUERY PLAN {statement}");
                let rows = sqlx::query(AssertSqlSafe(explained)).fetch_all(&mut other).await.unwrap();
                let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
                let looked_up =
                    "SEARCH deliveries USING INDEX sqlite_autoindex_deliveries_1 (webhook_id=? AND event_id=?)";
                assert!(plan.iter().any(|step| step == looked_up), "{count}: {plan:?}");
            }
            tx.rollback().await.unwrap();
        }
    }
}
