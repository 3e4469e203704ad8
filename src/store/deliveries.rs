//! Events on their way to subscriptions.
//!
//! A delivery is written in the transaction of its event, one row for each subscription that wants it. One node at a time
//! [leases](lease) a subscription: it scans for what is due, sends it and [records](record) what came of it. What is in flight is still
//! pending in the store, so that nothing is lost with a node; at worst something is sent again.

mod lease;
mod row;
mod scan;

use std::sync::Arc;

use uuid::Uuid;

pub use lease::{Lease, Pending, ahead_of, lease, make_due, pending, release};
pub use scan::{Attempted, Due, RECORDED, Scan, due, record};

use super::{Connection, Effect, Error, Lengths, Query, Rows, Tx, write_rows};
use crate::domain::Timestamp;
use crate::domain::delivery::{Delivery, DeliveryStatus};
use crate::domain::event::Event;
use row::DeliveryRow;

/// The deliveries of events: one for each subscription that wants it, disabled or not. For a programme without subscriptions it
/// ends at an index. CROSS keeps SQLite from going through all subscriptions instead of the rows.
const OF_EVENTS: Rows = Rows {
    head: "WITH v (event_id, entity_id, version, created_at, next_attempt_at, webhook_type, programme_id, deleted, types) \
           AS (VALUES ",
    tail: ") INSERT INTO deliveries (event_id, entity_id, version, status, attempts, tries, due_since, next_attempt_at, \
           created_at, webhook_id, webhook_type) SELECT v.event_id, v.entity_id, v.version, 'pending', '[]', 0, v.created_at, \
           v.next_attempt_at, v.created_at, w.id, v.webhook_type FROM v CROSS JOIN webhooks w \
           WHERE w.programme_id = v.programme_id AND w.deleted = v.deleted AND w.types LIKE v.types",
    lengths: Lengths::All,
};

fn bind<'q>(query: Query<'q>, event: &Event) -> Query<'q> {
    query
        .bind(event.id)
        .bind(event.entity_id)
        .bind(event.version)
        .bind(event.created_at)
        .bind(event.created_at.at_once())
        .bind(event.event_type())
        .bind(event.programme_id)
        .bind(false)
        .bind(format!("%{}%", event.event_type()))
}

/// Writes the deliveries of an event.
pub(super) fn insert(tx: &mut Tx, event: Arc<Event>) -> Result<(), Error> {
    tx.insert(OF_EVENTS, Effect::WakesWorkers, move |query| bind(query, &event))
}

/// Writes the deliveries of many events.
pub(super) async fn insert_all(tx: &mut Tx, events: &[Event]) -> Result<(), Error> {
    if write_rows(tx, OF_EVENTS, events, bind).await? > 0 {
        tx.leaves_work();
    }
    Ok(())
}

/// Writes a delivery that has no event behind it: a trial.
pub async fn insert_trial(tx: &mut Tx, delivery: &Delivery, body: &str) -> Result<(), Error> {
    tx.query(
        "INSERT INTO deliveries (webhook_id, event_id, webhook_type, entity_id, version, body, status, attempts, tries, \
         due_since, next_attempt_at, created_at) VALUES ($1, $2, $3, $2, 1, $4, 'pending', '[]', 0, $5, $6, $5)",
    )
    .bind(delivery.subscription_id)
    .bind(delivery.event_id)
    .bind(delivery.webhook_type.as_str())
    .bind(body)
    .bind(delivery.due_since)
    .bind(delivery.due_since.at_once())
    .execute()
    .await?;
    tx.leaves_work();
    Ok(())
}

/// Which deliveries of a subscription to list: newest first.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// Of which subscription.
    pub webhook_id: Uuid,
    /// That stand so.
    pub status: Option<DeliveryStatus>,
    /// Recorded after this, exclusive.
    pub created_after: Option<Timestamp>,
    /// Recorded before this, exclusive.
    pub created_before: Option<Timestamp>,
    /// After this one (its time and event) in the list: where the last page ended.
    pub after: Option<(Timestamp, Uuid)>,
    /// How many at the most.
    pub limit: i64,
}

/// A condition that holds for one status, in the words of the index that serves it.
const fn standing(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Pending => " AND status = 'pending' AND status <> 'delivered'",
        DeliveryStatus::Delivered => " AND status = 'delivered'",
        DeliveryStatus::Dead => " AND status = 'dead' AND status <> 'delivered'",
    }
}

/// A page of deliveries, each with the time when it was recorded.
pub async fn page(on: &mut impl Connection, filter: &Filter) -> Result<Vec<(Delivery, Timestamp)>, Error> {
    let mut query = on
        .query(
            "SELECT webhook_id, event_id, webhook_type, status, attempts, tries, due_since, next_attempt_at, created_at \
             FROM deliveries WHERE webhook_id = $1",
        )
        .bind(filter.webhook_id);
    if let Some(status) = filter.status {
        query = query.push(standing(status));
    }
    if let Some(after) = filter.created_after {
        query = query.push(" AND created_at > ").push_bind(after);
    }
    if let Some(before) = filter.created_before {
        query = query.push(" AND created_at < ").push_bind(before);
    }
    if let Some((at, id)) = filter.after {
        query = query.push(" AND (created_at, event_id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    let rows: Vec<DeliveryRow> =
        query.push(" ORDER BY created_at DESC, event_id DESC LIMIT ").push_bind(filter.limit).all().await?;
    rows.into_iter().map(DeliveryRow::read).collect()
}

/// When a delivery that is replayed now is due: one that is due already stays where it is, as it may just be sent. Then that
/// attempt's end decides.
const REPLAYED: &str = "status = 'pending', tries = 0, due_since = $2, scheduled_at = $2, \
    next_attempt_at = CASE WHEN status = 'pending' AND next_attempt_at < $2 THEN next_attempt_at ELSE $3 END";

/// Sends a delivery again, whatever came of it. `false` when there is none. One that is just being sent is left to end.
pub async fn replay_one(tx: &mut Tx, webhook_id: Uuid, event_id: Uuid, now: Timestamp) -> Result<bool, Error> {
    let replayed = tx
        .query("UPDATE deliveries SET ")
        .push(REPLAYED)
        .push(" WHERE webhook_id = $1 AND event_id = $4")
        .bind(webhook_id)
        .bind(now)
        .bind(now.at_once())
        .bind(event_id)
        .execute()
        .await?;
    if replayed > 0 {
        tx.leaves_work();
    }
    Ok(replayed > 0)
}

/// Which deliveries of a subscription to send again.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Of which subscription.
    pub webhook_id: Uuid,
    /// Recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Recorded before this time.
    pub until: Option<Timestamp>,
    /// That stand so; with `None` all but the delivered ones.
    pub status: Option<DeliveryStatus>,
    /// The delivered ones too.
    pub include_succeeded: bool,
    /// How many at the most, the oldest first.
    pub limit: i64,
}

/// Sends deliveries again; how many. Those that are just being sent are left to end.
pub async fn replay(tx: &mut Tx, span: Span, now: Timestamp) -> Result<u64, Error> {
    let mut query = tx
        .query("UPDATE deliveries SET ")
        .push(REPLAYED)
        .push(" WHERE webhook_id = $1 AND event_id IN (SELECT event_id FROM deliveries WHERE webhook_id = $1")
        .bind(span.webhook_id)
        .bind(now)
        .bind(now.at_once());
    query = match (span.status, span.include_succeeded) {
        (Some(status), false) => query.push(standing(status)),
        (Some(DeliveryStatus::Delivered), true) => query.push(" AND status = 'delivered'"),
        (Some(status), true) => query.push(" AND status IN ('delivered', ").push_bind(status.as_str()).push(")"),
        (None, false) => query.push(" AND status <> 'delivered'"),
        (None, true) => query,
    };
    if let Some(since) = span.since {
        query = query.push(" AND created_at >= ").push_bind(since);
    }
    if let Some(until) = span.until {
        query = query.push(" AND created_at < ").push_bind(until);
    }
    let count = query.push(" ORDER BY created_at, event_id LIMIT ").push_bind(span.limit).push(")").execute().await?;
    if count > 0 {
        tx.leaves_work();
    }
    Ok(count)
}

/// Makes everything that waits for a subscription due: it has been revived.
pub async fn hasten(tx: &mut Tx, webhook_id: Uuid, now: Timestamp) -> Result<(), Error> {
    tx.query(
        "UPDATE deliveries SET next_attempt_at = $3, scheduled_at = $2 \
         WHERE webhook_id = $1 AND status = 'pending' AND next_attempt_at > $2",
    )
    .bind(webhook_id)
    .bind(now)
    .bind(now.at_once())
    .execute()
    .await?;
    tx.leaves_work();
    Ok(())
}

/// How many deliveries are pending and how many are dead, of all subscriptions.
pub async fn open(on: &mut impl Connection) -> Result<(i64, i64), Error> {
    on.query(
        "SELECT (SELECT count(*) FROM deliveries WHERE status = 'pending' AND status <> 'delivered'), \
         (SELECT count(*) FROM deliveries WHERE status = 'dead' AND status <> 'delivered')",
    )
    .one()
    .await
}

/// Since when the oldest pending delivery that was attempted waits for another attempt: since its first one. Of the
/// subscriptions that [`pending`] gives. One entry of an index for each.
pub async fn retried_since(on: &mut impl Connection) -> Result<Option<Timestamp>, Error> {
    let row: (Option<Timestamp>,) = on
        .query(
            "SELECT min(since) FROM (SELECT (SELECT min(d.due_since) FROM deliveries d WHERE d.webhook_id = w.id \
             AND d.status = 'pending' AND d.tries > 0) AS since FROM webhooks w JOIN programmes p ON p.id = w.programme_id \
             WHERE NOT w.deleted AND NOT p.disabled AND (w.disabled_reason IS NULL OR w.probe_at IS NOT NULL)) waiting",
        )
        .one()
        .await?;
    Ok(row.0)
}
