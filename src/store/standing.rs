//! What a call rests on, asked in the very statement that it needs anyway.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::query::Query;
use super::{Connection, Error, Lengths};

/// What a call rests on and what may end at any moment: its programme is live, its credentials are those that its token
/// was issued under, the key that signed the request is registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// Why a call's precondition no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The programme is disabled, or its credentials have changed.
    Credentials,
    /// The key is no longer registered.
    SigningKey,
}

/// For each of these whether it still holds, and if not why: two statements for hundreds of them.
pub async fn still_valid(on: &mut impl Connection, standings: &[&Standing]) -> Result<Vec<Option<Revoked>>, Error> {
    let programmes: HashSet<Uuid> = standings.iter().map(|standing| standing.programme_id).collect();
    let programmes: Vec<Uuid> = programmes.into_iter().collect();
    let key_ids: HashSet<&str> = standings.iter().filter_map(|standing| standing.key_id.as_deref()).collect();
    let key_ids: Vec<&str> = key_ids.into_iter().collect();
    let mut generations: HashMap<Uuid, i64> = HashMap::new();
    for programmes in programmes.chunks(Lengths::Few.most()) {
        let rows: Vec<(Uuid, i64)> = on
            .query("SELECT id, generation FROM programmes WHERE NOT disabled AND id IN ")
            .push_list(Lengths::Few.fill(programmes).copied())
            .all()
            .await?;
        generations.extend(rows);
    }
    let mut keys: HashSet<(Uuid, String)> = HashSet::new();
    for key_ids in key_ids.chunks(Lengths::Few.most()) {
        let rows: Vec<(Uuid, String)> = on
            .query("SELECT programme_id, key_id FROM signing_keys WHERE key_id IN ")
            .push_list(Lengths::Few.fill(key_ids).copied())
            .all()
            .await?;
        keys.extend(rows);
    }
    let revoked = |standing: &&Standing| {
        let key = |key_id: &String| keys.contains(&(standing.programme_id, key_id.clone()));
        match generations.get(&standing.programme_id) {
            Some(generation) if *generation == standing.generation => {
                (!standing.key_id.as_ref().is_none_or(key)).then_some(Revoked::SigningKey)
            }
            _ => Some(Revoked::Credentials),
        }
    };
    Ok(standings.iter().map(revoked).collect())
}
