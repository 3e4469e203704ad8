//! What a call rests on, asked in the very statement that it needs anyway.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::query::Query;
use super::{Connection, Error, Lengths};
use crate::domain::Timestamp;

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

/// What must still hold of a caller who was let in from the cache, in the statement that reads or writes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Of a programme that calls.
    Programme(Standing),
    /// Of an operator that calls.
    Operator(OperatorStanding),
}

/// What an operator's call rests on: its token was not replaced or revoked and has not expired, and the programme that it changes
/// something of is not disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorStanding {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Now.
    pub now: Timestamp,
    /// The programme that must not be disabled, if any.
    pub enabled: Option<Uuid>,
}

/// Whose row is asked for, and what must hold while it is read.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The programme.
    pub programme_id: Uuid,
    /// Nothing is found where this has ended.
    pub standing: Option<&'a Precondition>,
}

impl From<Uuid> for Owner<'_> {
    fn from(programme_id: Uuid) -> Self {
        Self { programme_id, standing: None }
    }
}

impl Precondition {
    fn narrow<'c>(&self, query: Query<'c>) -> Query<'c> {
        match self {
            Self::Programme(standing) => standing.narrow(query),
            Self::Operator(standing) => standing.narrow(query),
        }
    }
}

impl OperatorStanding {
    fn narrow<'c>(&self, query: Query<'c>) -> Query<'c> {
        let query = query
            .push("EXISTS (SELECT 1 FROM operators WHERE token_hash = ")
            .push_bind(self.token_hash.to_vec())
            .push(" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ")
            .push_bind(self.now)
            .push("))");
        match self.enabled {
            None => query,
            Some(programme_id) => query
                .push(" AND EXISTS (SELECT 1 FROM programmes WHERE id = ")
                .push_bind(programme_id)
                .push(" AND NOT disabled)"),
        }
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
pub(super) fn and<'c>(query: Query<'c>, standing: Option<&Precondition>) -> Query<'c> {
    match standing {
        Some(standing) => standing.narrow(query.push(" AND ")),
        None => query,
    }
}

/// Whether it holds.
pub async fn holds(on: &mut impl Connection, standing: &Precondition) -> Result<bool, Error> {
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
