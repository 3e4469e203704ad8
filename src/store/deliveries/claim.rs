//! What is due, who has it in hand, and its end.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use uuid::Uuid;

use super::row;
use crate::domain::Timestamp;
use crate::domain::delivery::{Delivery, DeliveryStatus};
use crate::store::value::row;
use crate::store::{Connection, Dialect, Error, Lengths, Rows, Tx, write_rows};

/// A delivery to be sent, under a lease: pending, whenever it was due.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub delivery: Delivery,
    /// What is sent.
    pub body: Bytes,
    /// The `traceparent` of the request that caused the event.
    pub traceparent: Option<String>,
    /// The `X-Request-Id` of the request that caused it.
    pub request_id: Option<String>,
}

/// A delivery that is due, as it is stored.
pub struct Due {
    /// The subscription.
    pub webhook_id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// Since when.
    pub next_attempt_at: Timestamp,
    rest: DueRest,
}

/// Its type, attempts, tries, the beginning of its window, and the body of a trial.
type DueRest = (String, String, i64, Timestamp, Option<String>);
/// By place, not by name: there are many.
type DueRow = (Uuid, Uuid, Timestamp, String, String, i64, Timestamp, Option<String>);

row! {
    struct BodyRow {
        id: Uuid,
        body: String,
        traceparent: Option<String>,
        request_id: Option<String>,
    }
}

/// What events say, each once however many subscriptions it goes to.
type Bodies = HashMap<Uuid, (Bytes, Option<String>, Option<String>)>;

impl From<DueRow> for Due {
    fn from((webhook_id, event_id, next_attempt_at, webhook_type, attempts, tries, due_since, body): DueRow) -> Self {
        let rest = (webhook_type, attempts, tries, due_since, body);
        Self { webhook_id, event_id, next_attempt_at, rest }
    }
}

impl Due {
    fn read(self, bodies: &Bodies) -> Result<Claimed, Error> {
        let Self { webhook_id, event_id, next_attempt_at, rest: (webhook_type, attempts, tries, due_since, body) } =
            self;
        let (body, traceparent, request_id) = match body {
            Some(body) => (body.into(), None, None),
            None => bodies
                .get(&event_id)
                .cloned()
                .ok_or_else(|| Error::unreadable("deliveries.event_id", "no such event"))?,
        };
        let delivery = Delivery {
            id: Delivery::id_of(webhook_id, event_id),
            subscription_id: webhook_id,
            event_id,
            webhook_type: row::webhook_type(&webhook_type)?,
            status: DeliveryStatus::Pending,
            attempts: row::attempts(&attempts)?,
            tries: u32::try_from(tries).unwrap_or(u32::MAX),
            due_since,
            next_attempt_at: Some(next_attempt_at),
        };
        Ok(Claimed { delivery, body, traceparent, request_id })
    }
}

/// What to look for on behalf of one subscription.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The subscription.
    pub webhook_id: Uuid,
    /// Only deliveries whose entity has no earlier one pending.
    pub fifo: bool,
    /// After this one in the order of time and event.
    pub after: (Timestamp, Uuid),
    /// How many at the most, the longest due first.
    pub limit: i64,
}

/// Up to so many subscriptions the text is kept prepared.
const PREPARED: usize = 8;

/// Due deliveries of some subscriptions, those that somebody has in hand among them.
pub async fn due(on: &mut impl Connection, wanted: &[Wanted], now: Timestamp) -> Result<Vec<Due>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = on.query("");
    for (index, one) in wanted.iter().enumerate() {
        query = query
            .push(if index == 0 { "" } else { " UNION ALL " })
            .push(
                "SELECT * FROM (SELECT webhook_id, event_id, next_attempt_at, webhook_type, attempts, tries, due_since, body \
                 FROM deliveries d WHERE d.status = 'pending' AND d.webhook_id = ",
            )
            .push_bind(one.webhook_id)
            .push(" AND (d.next_attempt_at, d.event_id) > (")
            .push_bind(one.after.0)
            .push(", ")
            .push_bind(one.after.1)
            .push(") AND d.next_attempt_at <= ")
            .push_bind(now);
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
    Ok(rows.into_iter().map(Due::from).collect())
}

/// All that it takes to send them.
pub async fn read(on: &mut impl Connection, due: Vec<Due>) -> Result<Vec<Claimed>, Error> {
    let events: BTreeSet<Uuid> = due.iter().filter(|row| row.rest.4.is_none()).map(|row| row.event_id).collect();
    let bodies = bodies(on, &events.into_iter().collect::<Vec<_>>()).await?;
    due.into_iter().map(|row| row.read(&bodies)).collect()
}

async fn bodies(on: &mut impl Connection, events: &[Uuid]) -> Result<Bodies, Error> {
    let mut bodies = Bodies::with_capacity(events.len());
    for events in events.chunks(Lengths::Few.most()) {
        let rows: Vec<BodyRow> = on
            .query("SELECT id, body, traceparent, request_id FROM events WHERE id IN ")
            .push_list(Lengths::Few.fill(events).copied())
            .all()
            .await?;
        bodies.extend(rows.into_iter().map(|row| (row.id, (Bytes::from(row.body), row.traceparent, row.request_id))));
    }
    Ok(bodies)
}

row! {
    struct ClaimRow {
        webhook_id: Uuid,
        node: Uuid,
        until: Timestamp,
        events: Vec<u8>,
    }
}

/// What a node has in hand of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The subscription.
    pub webhook_id: Uuid,
    /// The node.
    pub node: Uuid,
    /// Until when nobody else takes them.
    pub until: Timestamp,
    /// [Marks](mark) of the events; some of them may have been settled since.
    pub events: Vec<u64>,
}

/// What stands for an event in claims: the half of its id that is random, to be short. Two that are the same would only let one node
/// leave a delivery to the other.
pub fn mark(event_id: Uuid) -> u64 {
    event_id.as_u64_pair().1
}

impl From<ClaimRow> for Claim {
    fn from(row: ClaimRow) -> Self {
        let events = row.events.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        Self { webhook_id: row.webhook_id, node: row.node, until: row.until, events }
    }
}

/// What nodes have in hand of these subscriptions.
pub async fn claims(on: &mut impl Connection, webhooks: &[Uuid]) -> Result<Vec<Claim>, Error> {
    let mut claims = Vec::new();
    for webhooks in webhooks.chunks(Lengths::Few.most()) {
        let rows: Vec<ClaimRow> = on
            .query("SELECT webhook_id, node, until, events FROM delivery_claims WHERE webhook_id IN ")
            .push_list(Lengths::Few.fill(webhooks).copied())
            .all()
            .await?;
        claims.extend(rows.into_iter().map(Claim::from));
    }
    Ok(claims)
}

/// Of these subscriptions those that nobody else claims from just now: nobody does until the transaction ends.
pub async fn lock(tx: &mut Tx, webhooks: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    if tx.dialect() == Dialect::Sqlite {
        // Nobody else writes.
        return Ok(webhooks.to_vec());
    }
    let mut locked = Vec::new();
    for webhooks in webhooks.chunks(Lengths::Few.most()) {
        let rows: Vec<(Uuid,)> = tx
            .query("SELECT id FROM webhooks WHERE id IN ")
            .push_list(Lengths::Few.fill(webhooks).copied())
            .push(" ORDER BY id")
            .for_update_skip_locked()
            .all()
            .await?;
        locked.extend(rows.into_iter().map(|row| row.0));
    }
    Ok(locked)
}

/// Which of these deliveries are pending: subscription and event.
pub async fn pending(on: &mut impl Connection, found: &[(Uuid, Uuid)]) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let mut pending = Vec::new();
    for found in found.chunks(Lengths::Few.most()) {
        // To the table by its key, here and below: SQLite would go through every pending delivery for an IN; PostgreSQL through all
        // that was ever pending where its statistics are from a time when nothing was. No index goes with the CASE.
        let rows: Vec<(Uuid, Uuid)> = on
            .query("WITH v (webhook_id, event_id) AS (VALUES ")
            .push_pairs(Lengths::Few.fill(found).copied())
            .push(
                ") SELECT d.webhook_id, d.event_id FROM v CROSS JOIN deliveries d WHERE d.webhook_id = v.webhook_id \
                 AND d.event_id = v.event_id AND CASE d.status WHEN 'pending' THEN true ELSE false END",
            )
            .all()
            .await?;
        pending.extend(rows);
    }
    Ok(pending)
}

/// Takes deliveries over from whoever had them in hand for too long: what it still writes down of them does not count. Those
/// that are pending, subscription and event.
pub async fn take_over(tx: &mut Tx, found: &[(Uuid, Uuid)], now: Timestamp) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let mut taken = Vec::new();
    for found in found.chunks(Lengths::Few.most()) {
        let rows: Vec<(Uuid, Uuid)> = tx
            .query("WITH v (webhook_id, event_id) AS (VALUES ")
            .push_pairs(Lengths::Few.fill(found).copied())
            .push(") UPDATE deliveries SET next_attempt_at = ")
            .push_bind(now)
            .push(
                " FROM v WHERE deliveries.webhook_id = v.webhook_id AND deliveries.event_id = v.event_id \
                 AND CASE deliveries.status WHEN 'pending' THEN true ELSE false END \
                 RETURNING deliveries.webhook_id, deliveries.event_id",
            )
            .all()
            .await?;
        taken.extend(rows);
    }
    Ok(taken)
}

/// Writes down what a node has in hand of subscriptions that it has [locked](lock), instead of what it had.
pub async fn claim(tx: &mut Tx, claims: &[Claim]) -> Result<(), Error> {
    let text = Rows {
        head: "INSERT INTO delivery_claims (webhook_id, node, until, events) VALUES ",
        tail: " ON CONFLICT (webhook_id, node) DO UPDATE SET until = excluded.until, events = excluded.events",
        lengths: Lengths::All,
    };
    write_rows(tx, text, claims, |query, Claim { webhook_id, node, until, events }| {
        let events: Vec<u8> = events.iter().flat_map(|mark| mark.to_be_bytes()).collect();
        query.bind(*webhook_id).bind(*node).bind(*until).bind(events)
    })
    .await?;
    Ok(())
}

/// Ends claims, each of a subscription and a node: what is not settled is anybody's.
pub async fn end(tx: &mut Tx, claims: &[(Uuid, Uuid)]) -> Result<(), Error> {
    for (webhook_id, node) in claims {
        tx.query("DELETE FROM delivery_claims WHERE webhook_id = $1 AND node = $2")
            .bind(*webhook_id)
            .bind(*node)
            .execute()
            .await?;
    }
    tx.leaves_work();
    Ok(())
}

/// An attempt's end.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The delivery as the attempt left it.
    pub delivery: Delivery,
    /// When it was due.
    pub due: Timestamp,
}

/// Records ends of attempts; how many counted. Those that somebody has [taken over](take_over) are passed over: it sends them
/// again.
pub async fn settle(tx: &mut Tx, settled: &[&Settled]) -> Result<u64, Error> {
    let text = Rows {
        head: "WITH v (webhook_id, event_id, due, status, attempts, tries, due_since, next_attempt_at) AS (VALUES ",
        tail: ") UPDATE deliveries SET status = v.status, attempts = v.attempts, tries = v.tries, due_since = v.due_since, \
               next_attempt_at = v.next_attempt_at FROM v WHERE deliveries.webhook_id = v.webhook_id \
               AND deliveries.event_id = v.event_id \
               AND CASE deliveries.status WHEN 'pending' THEN deliveries.next_attempt_at = v.due ELSE false END",
        lengths: Lengths::Few,
    };
    write_rows(tx, text, settled, |query, Settled { delivery, due }| {
        query
            .bind(delivery.subscription_id)
            .bind(delivery.event_id)
            .bind(*due)
            .bind(delivery.status.as_str())
            .bind(row::text(&delivery.attempts))
            .bind(i64::from(delivery.tries))
            .bind(delivery.due_since)
            .bind(delivery.next_attempt_at)
    })
    .await
}

/// When the next delivery of a subscription that may be sent to is due: since `since` at the longest (since whenever, where the
/// subscription or its programme has changed since then), or in future; of one that is disabled for failing, when it is probed. Those
/// that somebody is sending are counted, those of a disabled programme are not. One index lookup for each subscription.
pub async fn due_at(on: &mut impl Connection, since: Timestamp) -> Result<Option<Timestamp>, Error> {
    let row: (Option<Timestamp>,) = on
        .query(
            "SELECT min(CASE WHEN probe_at > due THEN probe_at ELSE due END) FROM (SELECT w.probe_at, \
             (SELECT min(d.next_attempt_at) FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'pending' \
             AND d.next_attempt_at >= CASE WHEN w.disabled_reason IS NULL AND w.updated_at < $1 AND p.updated_at < $1 THEN $1 \
             ELSE $2 END) AS due FROM webhooks w JOIN programmes p ON p.id = w.programme_id \
             WHERE NOT w.deleted AND NOT p.disabled AND (w.disabled_reason IS NULL OR w.probe_at IS NOT NULL)) waiting",
        )
        .bind(since)
        .bind(Timestamp::EPOCH)
        .one()
        .await?;
    Ok(row.0)
}

/// Since when the oldest pending delivery that was attempted waits for another attempt: since its first one. Of the
/// subscriptions that [`due_at`] counts. One entry of an index for each.
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

/// When the first pending delivery of a subscription that is not disabled, nor its programme, fell due, or will: those that
/// somebody is sending are counted.
pub async fn first_pending(on: &mut impl Connection) -> Result<Option<Timestamp>, Error> {
    let row: (Option<Timestamp>,) = on
        .query(
            "SELECT min(due) FROM (SELECT (SELECT min(d.next_attempt_at) FROM deliveries d WHERE d.webhook_id = w.id \
             AND d.status = 'pending') AS due FROM webhooks w JOIN programmes p ON p.id = w.programme_id \
             WHERE NOT w.deleted AND NOT p.disabled AND w.disabled_reason IS NULL) waiting",
        )
        .one()
        .await?;
    Ok(row.0)
}
