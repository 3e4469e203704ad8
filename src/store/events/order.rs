//! The order of events that consumers see.
//!
//! Nothing may ever appear behind a cursor that was handed out. On SQLite one transaction writes at a time: an event is
//! numbered on from the last as it is written, and becomes visible in that order.
//!
//! On PostgreSQL transactions overlap, and neither ids nor times are in the order of commits. There an event gets its
//! position after its commit: [`place`] holds the one row of `event_order`, looks which committed events have none, and
//! numbers them on from the last. Whoever holds the row commits before the next one looks, so positions become visible in
//! their order and without gaps. No sequence, no advisory lock: a row lock is all it needs, which PostgreSQL-compatible
//! distributed engines have.

use std::collections::HashMap;

use uuid::Uuid;

use crate::domain::event::EntityType;
use crate::store::value::row;
use crate::store::{Connection, Dialect, Error, Lengths, Rows, Store, Tx, write_rows};

/// Events placed in one transaction at the most.
const BATCH: i64 = 1000;

/// Gives every committed event its position. Costs one look into an index when there is nothing to do, and nothing on
/// SQLite.
pub async fn place(store: &Store) -> Result<(), Error> {
    if store.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    loop {
        let waiting: Option<(Uuid,)> = store
            .reader()
            .await?
            .query("SELECT id FROM events WHERE position IS NULL ORDER BY id LIMIT 1")
            .optional()
            .await?;
        if waiting.is_none() {
            return Ok(());
        }
        let mut tx = store.begin().await?;
        match place_batch(&mut tx).await {
            Ok(full) => {
                tx.commit().await?;
                if !full {
                    return Ok(());
                }
            }
            // Another node was quicker; it has placed them, or the next round does.
            Err(error) if error.is_retry() => tx.rollback().await?,
            Err(error) => return Err(error),
        }
    }
}

row! {
    struct Unplaced {
        id: Uuid,
        customer_id: Uuid,
        seq: i64,
    }
}

/// Places a batch; whether it was a full one.
async fn place_batch(tx: &mut Tx) -> Result<bool, Error> {
    let last: (i64,) = tx.query("SELECT position FROM event_order WHERE id = 1").for_update().one().await?;
    let waiting: Vec<Unplaced> = tx
        .query("SELECT id, customer_id, seq FROM events WHERE position IS NULL ORDER BY id LIMIT $1")
        .bind(BATCH)
        .all()
        .await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let count = waiting.len() as i64;
    let placed: Vec<(Uuid, i64)> =
        in_order(waiting).into_iter().zip(last.0 + 1..).map(|(event, position)| (event.id, position)).collect();
    let text = Rows {
        head: "WITH v (id, position) AS (VALUES ",
        tail: ") UPDATE events SET position = v.position FROM v WHERE events.id = v.id",
        lengths: Lengths::Few,
    };
    write_rows(tx, text, &placed, |query, (id, position)| query.bind(*id).bind(*position)).await?;
    tx.query("UPDATE event_order SET position = $1 WHERE id = 1").bind(last.0 + count).execute().await?;
    Ok(count == BATCH)
}

/// In order of ids, which is about that of time; but each customer's events in the order of its chain, even where the
/// clocks of two nodes differ.
fn in_order(waiting: Vec<Unplaced>) -> Vec<Unplaced> {
    let owners: Vec<Uuid> = waiting.iter().map(|event| event.customer_id).collect();
    let mut chains: HashMap<Uuid, Vec<Unplaced>> = HashMap::new();
    for event in waiting {
        chains.entry(event.customer_id).or_default().push(event);
    }
    for chain in chains.values_mut() {
        chain.sort_by_key(|event| std::cmp::Reverse(event.seq));
    }
    owners.iter().filter_map(|owner| chains.get_mut(owner)?.pop()).collect()
}

/// The position of a programme's last event that has one; 0 without any.
pub async fn last_position(on: &mut impl Connection, programme_id: Uuid) -> Result<i64, Error> {
    let row: (i64,) = on
        .query("SELECT COALESCE(MAX(position), 0) FROM events WHERE programme_id = $1 AND position IS NOT NULL")
        .bind(programme_id)
        .one()
        .await?;
    Ok(row.0)
}

/// Up to which position cursors were given in the clear, by the versions before they were encrypted.
pub async fn plain_cursors_until(on: &mut impl Connection) -> Result<i64, Error> {
    let row: (i64,) = on.query("SELECT until_position FROM plain_cursors").one().await?;
    Ok(row.0)
}

/// Which events a consumer wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this programme.
    pub programme_id: Uuid,
    /// Of these entities; all with none.
    pub entities: Vec<EntityType>,
    /// Of this customer with its accounts and cards.
    pub customer_id: Option<Uuid>,
}

row! {
    /// An event on a stream.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Watched {
        /// Its place in the order.
        pub position: i64,
        /// The webhook's body.
        pub body: String,
    }
}

/// At most `limit` events after a position, in order.
pub async fn stream(on: &mut impl Connection, wanted: &Wanted, after: i64, limit: i64) -> Result<Vec<Watched>, Error> {
    let mut query = on
        .query("SELECT position, body FROM events WHERE programme_id = $1 AND position > $2")
        .bind(wanted.programme_id)
        .bind(after);
    if let Some(customer_id) = wanted.customer_id {
        query = query.push(" AND customer_id = ").push_bind(customer_id);
    }
    if !wanted.entities.is_empty() {
        query = query.push(" AND entity_type IN ").push_list(wanted.entities.iter().map(|entity| entity.as_str()));
    }
    query.push(" ORDER BY position LIMIT ").push_bind(limit).all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_keep_their_order_in_the_places_they_have() {
        let event =
            |id, customer, seq| Unplaced { id: Uuid::from_u128(id), customer_id: Uuid::from_u128(customer), seq };
        let ordered = in_order(vec![event(1, 7, 2), event(2, 8, 1), event(3, 7, 1), event(4, 7, 3)]);
        let ids: Vec<_> = ordered.iter().map(|event| event.id.as_u128()).collect();
        assert_eq!(ids, [3, 2, 1, 4]);
    }
}
