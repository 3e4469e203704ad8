//! Which node sends the deliveries of a subscription.
//!
//! A lease has an owner and an epoch, which grows with every new owner. It lasts until the owner [releases](release) it or has no
//! row among the [nodes](crate::store::nodes) any more.

use uuid::Uuid;

use crate::domain::Timestamp;
use crate::store::value::row;
use crate::store::{Connection, Error, Lengths, Rows, Tx, write_rows};

/// A subscription that a node may send to until its epoch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The subscription.
    pub webhook_id: Uuid,
    /// The node.
    pub node: Uuid,
    /// How many owners it has had.
    pub epoch: i64,
}

row! {
    /// A subscription for which something waits, if it may be sent to now or later.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Pending {
        /// The subscription.
        pub webhook_id: Uuid,
        /// When the first of its deliveries is due.
        pub next_attempt_at: Timestamp,
        /// When it is tried next, if it is disabled.
        pub probe_at: Option<Timestamp>,
        /// Its owner.
        pub node: Option<Uuid>,
        /// The epoch of the owner, or of the last one.
        pub epoch: Option<i64>,
    }
}

/// The subscriptions that have a pending delivery: one index lookup for each, and nothing for those that have none.
const WITH_PENDING: &str = "WITH RECURSIVE waiting (id) AS (\
     SELECT (SELECT webhook_id FROM deliveries WHERE status = 'pending' \
     ORDER BY webhook_id, next_attempt_at, event_id LIMIT 1) \
     UNION ALL \
     SELECT (SELECT d.webhook_id FROM deliveries d WHERE d.status = 'pending' AND d.webhook_id > waiting.id \
     ORDER BY d.webhook_id, d.next_attempt_at, d.event_id LIMIT 1) FROM waiting WHERE waiting.id IS NOT NULL) ";

/// Every subscription for which something waits, but for those that are disabled for good or whose programme is disabled.
pub async fn pending(on: &mut impl Connection) -> Result<Vec<Pending>, Error> {
    on.query(WITH_PENDING)
        .push(
            "SELECT webhook_id, next_attempt_at, probe_at, node, epoch FROM (SELECT w.id AS webhook_id, \
             (SELECT d.next_attempt_at FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'pending' \
             ORDER BY d.webhook_id, d.next_attempt_at, d.event_id LIMIT 1) AS next_attempt_at, w.probe_at, l.node, l.epoch \
             FROM waiting JOIN webhooks w ON w.id = waiting.id JOIN programmes p ON p.id = w.programme_id \
             LEFT JOIN webhook_leases l ON l.webhook_id = w.id WHERE NOT w.deleted AND NOT p.disabled \
             AND (w.disabled_reason IS NULL OR w.probe_at IS NOT NULL)) AS found WHERE next_attempt_at IS NOT NULL",
        )
        .all()
        .await
}

/// Leases those of these subscriptions that no other node has.
pub async fn lease(tx: &mut Tx, node: Uuid, webhooks: &[Uuid]) -> Result<Vec<Lease>, Error> {
    let mut leases = Vec::new();
    // Two nodes lock rows in the same order.
    let mut webhooks = webhooks.to_vec();
    webhooks.sort_unstable();
    for webhooks in webhooks.chunks(Lengths::All.most()) {
        let mut query = tx.query("INSERT INTO webhook_leases (webhook_id, node, epoch) VALUES ");
        for (index, webhook) in webhooks.iter().enumerate() {
            query = query.push(if index == 0 { "" } else { ", " });
            let from = query.bound();
            query = query.bind(*webhook).bind(node).bind(1_i64).push_tuple(from);
        }
        let rows: Vec<(Uuid, i64)> = query
            .push(
                " ON CONFLICT (webhook_id) DO UPDATE SET node = excluded.node, epoch = webhook_leases.epoch + 1 \
                 WHERE webhook_leases.node IS NULL RETURNING webhook_id, epoch",
            )
            .once()
            .all()
            .await?;
        leases.extend(rows.into_iter().map(|(webhook_id, epoch)| Lease { webhook_id, node, epoch }));
    }
    Ok(leases)
}

/// Gives leases back, so that any node may take them.
pub async fn release(tx: &mut Tx, leases: &[Lease]) -> Result<(), Error> {
    let text = Rows {
        head: "WITH v (webhook_id, node, epoch) AS (VALUES ",
        tail: ") UPDATE webhook_leases SET node = NULL FROM v WHERE webhook_leases.webhook_id = v.webhook_id \
               AND webhook_leases.node = v.node AND webhook_leases.epoch = v.epoch",
        lengths: Lengths::Few,
    };
    write_rows(tx, text, leases, |query, lease| query.bind(lease.webhook_id).bind(lease.node).bind(lease.epoch))
        .await?;
    tx.leaves_work();
    Ok(())
}

/// Deliveries that wait for longer than they may, subscription and event, at most `limit`: the time of their attempt was set by a clock
/// that is ahead of `latest`.
pub async fn ahead_of(on: &mut impl Connection, latest: Timestamp, limit: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    on.query(WITH_PENDING)
        .push(
            "SELECT d.webhook_id, d.event_id FROM waiting JOIN deliveries d ON d.webhook_id = waiting.id \
             WHERE d.status = 'pending' AND d.scheduled_at IS NOT NULL AND d.scheduled_at > $1 AND d.next_attempt_at > $1 \
             UNION ALL \
             SELECT d.webhook_id, d.event_id FROM waiting JOIN deliveries d ON d.webhook_id = waiting.id \
             WHERE d.status = 'pending' AND d.scheduled_at IS NULL AND d.created_at > $1 AND d.next_attempt_at > $1 LIMIT $2",
        )
        .bind(latest)
        .bind(limit)
        .all()
        .await
}

/// Makes deliveries due that are pending: subscription and event.
pub async fn make_due(tx: &mut Tx, late: &[(Uuid, Uuid)], now: Timestamp) -> Result<(), Error> {
    for (webhook_id, event_id) in late {
        tx.query(
            "UPDATE deliveries SET next_attempt_at = $3, scheduled_at = $3 \
             WHERE webhook_id = $1 AND event_id = $2 AND status = 'pending'",
        )
        .bind(*webhook_id)
        .bind(*event_id)
        .bind(now.at_once())
        .execute()
        .await?;
    }
    tx.leaves_work();
    Ok(())
}
