//! What a call rests on, asked in the very statement that it needs anyway.

use uuid::Uuid;

use super::query::Query;
use super::{Connection, Error};

/// What a call rests on and what may end at any moment: its programme is live, its credentials are those that its token
/// was issued under, the key that signed the request is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The programme.
    pub programme_id: Uuid,
    /// The generation of its credentials.
    pub generation: i64,
    /// The key; none for callers that do not sign.
    pub key_id: Option<String>,
}

/// Whose row is asked for, and what must hold while it is read.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The programme.
    pub programme_id: Uuid,
    /// Nothing is found where this has ended.
    pub standing: Option<&'a Standing>,
}

impl From<Uuid> for Owner<'_> {
    fn from(programme_id: Uuid) -> Self {
        Self { programme_id, standing: None }
    }
}

impl Standing {
    fn narrow<'c>(&self, query: Query<'c>) -> Query<'c> {
        let query = query
            .push("EXISTS (SELECT 1 FROM programmes WHERE id = ")
            .push_bind(self.programme_id)
            .push(" AND generation = ")
            .push_bind(self.generation)
            .push(" AND NOT disabled)");
        match &self.key_id {
            None => query,
            Some(key_id) => query
                .push(" AND EXISTS (SELECT 1 FROM signing_keys WHERE programme_id = ")
                .push_bind(self.programme_id)
                .push(" AND key_id = ")
                .push_bind(key_id.as_str())
                .push(")"),
        }
    }
}

/// Adds `AND`, and that it holds.
pub(super) fn and<'c>(query: Query<'c>, standing: Option<&Standing>) -> Query<'c> {
    match standing {
        Some(standing) => standing.narrow(query.push(" AND ")),
        None => query,
    }
}

/// Whether it holds.
pub async fn holds(on: &mut impl Connection, standing: &Standing) -> Result<bool, Error> {
    let row: Option<(i64,)> = standing.narrow(on.query("SELECT CAST(1 AS BIGINT) WHERE ")).optional().await?;
    Ok(row.is_some())
}
