//! Operators: internal services that may act for any programme over gRPC.

use uuid::Uuid;

use super::{Connection, Error, Tx};
use crate::domain::Timestamp;

/// Inserts an operator. `false` when the name is taken.
pub async fn insert(tx: &mut Tx, id: Uuid, (name, token_hash): (&str, &[u8]), at: Timestamp) -> Result<bool, Error> {
    let inserted = tx
        .query(
            "INSERT INTO operators (id, name, token_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(name)
        .bind(token_hash)
        .bind(at)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// The name of the operator whose token has this SHA-256 hash.
pub async fn by_token(on: &mut impl Connection, token_hash: &[u8]) -> Result<Option<String>, Error> {
    let row: Option<(String,)> =
        on.query("SELECT name FROM operators WHERE token_hash = $1").bind(token_hash).optional().await?;
    Ok(row.map(|(name,)| name))
}
