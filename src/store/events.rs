//! The audit trail and outbox.

mod order;

pub use order::{Wanted, Watched, last_position, place, plain_cursors_until, stream};

use std::sync::Arc;

use uuid::Uuid;

use super::value::row;
use super::{Connection, Dialect, Effect, Error, Lengths, Query, Rows, Tx, deliveries, write_rows};
use crate::domain::Timestamp;
use crate::domain::event::{Event, Hash};

/// The columns of an event, in the order of [`bind`]; the position comes after them.
macro_rules! columns {
    () => {
        "id, programme_id, customer_id, seq, entity_type, entity_id, actor, cause, from_status, to_status, version, \
         created_at, body, traceparent, request_id, previous_hash, hash, hash_version, commitments"
    };
}
row! {
    pub(super) struct EventRow {
        id: Uuid,
        programme_id: Uuid,
        customer_id: Uuid,
        seq: i64,
        entity_type: String,
        entity_id: Uuid,
        actor: String,
        cause: String,
        from_status: Option<String>,
        to_status: String,
        version: i64,
        created_at: Timestamp,
        body: String,
        traceparent: Option<String>,
        request_id: Option<String>,
        previous_hash: Vec<u8>,
        hash: Vec<u8>,
        hash_version: i32,
        commitments: Option<Vec<u8>>,
    }
}

/// What an [`EventRow`] is read by.
pub(super) const SELECT: &str = concat!("SELECT ", columns!(), " FROM events");

impl EventRow {
    /// The event as it stands, even where somebody has made its hashes unreadable: those read as a hash that no chain has.
    pub(super) fn lenient(self) -> Event {
        let hash = |bytes: &[u8]| Hash::try_from(bytes).unwrap_or([0xff; size_of::<Hash>()]);
        Event {
            previous_hash: hash(&self.previous_hash),
            hash: hash(&self.hash),
            hash_version: self.hash_version,
            commitments: self.commitments.unwrap_or_default(),
            id: self.id,
            programme_id: self.programme_id,
            customer_id: self.customer_id,
            seq: self.seq,
            entity_type: self.entity_type,
            entity_id: self.entity_id,
            actor: self.actor,
            cause: self.cause,
            from: self.from_status,
            to: self.to_status,
            version: self.version,
            created_at: self.created_at,
            body: self.body,
            traceparent: self.traceparent,
            request_id: self.request_id,
        }
    }

    fn read(self) -> Result<Event, Error> {
        for (column, bytes) in [("events.previous_hash", &self.previous_hash), ("events.hash", &self.hash)] {
            if bytes.len() != size_of::<Hash>() {
                return Err(Error::unreadable(column, &format!("{} bytes", bytes.len())));
            }
        }
        Ok(self.lenient())
    }
}

/// Inserts what [`bind`] binds, and perhaps the position.
macro_rules! insert {
    ($($rest:expr),*) => {
        concat!("INSERT INTO events (", columns!(), $($rest),*)
    };
}

/// Events of one change that are collected with the rest of it; more are written at once.
const FEW: usize = 4;

/// Inserts events, those of one chain in its order. On SQLite with their positions: see [`order`].
const fn text(dialect: Dialect) -> Rows {
    match dialect {
        Dialect::Postgres => Rows { head: insert!(") VALUES "), tail: "", lengths: Lengths::All },
        Dialect::Sqlite => Rows {
            head: insert!(
                ", position) SELECT *, (SELECT COALESCE(MAX(position), 0) FROM events WHERE position IS NOT NULL) + ",
                "row_number() OVER (ORDER BY column4) FROM (VALUES "
            ),
            tail: ")",
            lengths: Lengths::All,
        },
    }
}

/// Binds the columns of an event, in the order of `columns!`.
fn bind<'c>(query: Query<'c>, event: &Event) -> Query<'c> {
    query
        .bind(event.id)
        .bind(event.programme_id)
        .bind(event.customer_id)
        .bind(event.seq)
        .bind(event.entity_type.as_str())
        .bind(event.entity_id)
        .bind(event.actor.as_str())
        .bind(event.cause.as_str())
        .bind(event.from.as_deref())
        .bind(event.to.as_str())
        .bind(event.version)
        .bind(event.created_at)
        .bind(event.body.as_str())
        .bind(event.traceparent.as_deref())
        .bind(event.request_id.as_deref())
        .bind(event.previous_hash.as_slice())
        .bind(event.hash.as_slice())
        .bind(event.hash_version)
        .bind(Some(event.commitments.as_slice()).filter(|all| !all.is_empty()))
}

/// Records consecutive events of one customer's chain, each with its deliveries: collected where they are few, two
/// statements for every few hundred.
pub async fn insert(tx: &mut Tx, events: &[Event]) -> Result<(), Error> {
    tx.send_if_long().await?;
    match events {
        many if many.len() > FEW => {
            write_rows(tx, text(tx.dialect()), many, bind).await?;
            deliveries::insert_all(tx, many).await?;
        }
        few => {
            for event in few {
                let (text, event) = (text(tx.dialect()), Arc::new(event.clone()));
                let recorded = Arc::clone(&event);
                tx.insert(text, Effect::Any, move |query| bind(query, &recorded))?;
                deliveries::insert(tx, event)?;
            }
        }
    }
    if !events.is_empty() {
        tx.records_events();
    }
    Ok(())
}

/// Records seals, each of another customer's chain. Their positions are below zero, where no consumer reads, not even one of
/// an earlier version: they are no changes.
pub(super) async fn insert_seals(tx: &mut Tx, seals: &[Event]) -> Result<(), Error> {
    let text = Rows { head: insert!(", position) VALUES "), tail: "", lengths: Lengths::All };
    // The last 62 bits of a UUIDv7 are random.
    let position = |event: &Event| -1 - (event.id.as_u128() & ((1 << 62) - 1)) as i64;
    write_rows(tx, text, seals, |query, event| bind(query, event).bind(position(event))).await?;
    Ok(())
}

/// At most `limit` events of a customer's chain before place `before` (the end with `None`), newest first.
pub async fn trail(
    on: &mut impl Connection,
    customer_id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Event>, Error> {
    let rows: Vec<EventRow> = on
        .query(SELECT)
        .push(" WHERE customer_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3")
        .bind(customer_id)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .all()
        .await?;
    rows.into_iter().map(EventRow::read).collect()
}
