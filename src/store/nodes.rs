//! Nodes that run a worker, and who of them is alive.
//!
//! Each counts its beats in its row; others watch the counter by their own monotonic clocks, and [remove] a row that does
//! not change. Leases name their node by a foreign key: they end with its row, and none can be taken by a node without one.

use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;

row! {
    /// A node, as it is stored.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Node {
        /// Its id.
        pub id: Uuid,
        /// How often it has said that it is alive.
        pub beats: i64,
    }
}

/// Enters a node. Its id is one that no node ever had.
pub async fn insert(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<(), Error> {
    tx.query("INSERT INTO nodes (id, beats, started_at) VALUES ($1, 0, $2)").bind(id).bind(now).execute().await?;
    Ok(())
}

/// Says that a node is alive. `false` when others have removed it.
pub async fn beat(tx: &mut Tx, id: Uuid) -> Result<bool, Error> {
    Ok(tx.query("UPDATE nodes SET beats = beats + 1 WHERE id = $1").bind(id).execute().await? == 1)
}

/// Every node.
pub async fn all(on: &mut impl Connection) -> Result<Vec<Node>, Error> {
    on.query("SELECT id, beats FROM nodes ORDER BY id").all().await
}

/// Removes a node, and with it every lease that it has; with `beats` only if it has not been alive since. Whether it did.
pub async fn remove(tx: &mut Tx, id: Uuid, beats: Option<i64>) -> Result<bool, Error> {
    let mut query = tx.query("DELETE FROM nodes WHERE id = $1").bind(id);
    if let Some(beats) = beats {
        query = query.push(" AND beats = ").push_bind(beats);
    }
    let removed = query.execute().await? == 1;
    if removed {
        tx.leaves_work();
    }
    Ok(removed)
}
