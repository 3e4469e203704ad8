//! What never changes about callers, remembered: who a programme is, and which key a key id names.
//!
//! What may change (whether the programme is live, the generation of its credentials, whether the key is still
//! registered) is never taken from here: a caller that is let in by memory has a [`Precondition`](crate::store::Precondition), and the
//! statement that reads or writes for it asks the database whether that holds.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::domain::operator::Operator;
use crate::domain::programme::Programme;
use crate::signature::PublicKey;

/// Programmes remembered at most; past that, some other one is forgotten.
const PROGRAMMES: usize = 10_000;
/// Operators remembered at most.
const OPERATORS: usize = 1_000;
/// Keys remembered of one programme; past that, the one that was met first is forgotten.
const KEYS: usize = 8;

/// Of one programme.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) programme: Programme,
    /// Each under its id. Ids are ours and never used again.
    pub(crate) keys: Vec<(String, PublicKey)>,
}

/// Per node, in memory, bounded.
#[derive(Debug, Default)]
pub(crate) struct Known {
    programmes: Mutex<HashMap<Uuid, Arc<Facts>>>,
    /// By the hash of the token.
    operators: Mutex<HashMap<[u8; 32], Arc<Operator>>>,
}

impl Known {
    /// An operator as it was: its name, its role and its programmes never change.
    pub(crate) fn operator(&self, token_hash: &[u8; 32]) -> Option<Arc<Operator>> {
        self.operators.lock().unwrap_or_else(PoisonError::into_inner).get(token_hash).cloned()
    }

    /// Adds what the database said.
    pub(crate) fn remember_operator(&self, token_hash: [u8; 32], operator: &Operator) {
        let mut all = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut all, &token_hash, OPERATORS);
        all.entry(token_hash).or_insert_with(|| Arc::new(operator.clone()));
    }

    pub(crate) fn get(&self, programme_id: Uuid) -> Option<Arc<Facts>> {
        self.programmes.lock().unwrap_or_else(PoisonError::into_inner).get(&programme_id).cloned()
    }

    /// Adds what the database said.
    pub(crate) fn remember(&self, programme: &Programme, keys: Vec<(String, PublicKey)>) {
        let mut all = self.programmes.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut all, &programme.id, PROGRAMMES);
        let facts = all
            .entry(programme.id)
            .or_insert_with(|| Arc::new(Facts { programme: programme.clone(), keys: Vec::new() }));
        let new: Vec<_> = keys.into_iter().filter(|(id, _)| facts.keys.iter().all(|(known, _)| known != id)).collect();
        if !new.is_empty() {
            let facts = Arc::make_mut(facts);
            facts.keys.extend(new);
            let surplus = facts.keys.len().saturating_sub(KEYS);
            facts.keys.drain(..surplus);
        }
    }
}

/// Forgets some other one where there are `most`.
fn make_room<K: Copy + Eq + Hash, V>(all: &mut HashMap<K, V>, new: &K, most: usize) {
    if all.len() >= most && !all.contains_key(new) {
        let other = all.keys().next().copied();
        other.map(|other| all.remove(&other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Algorithm, PrivateKey};

    #[test]
    fn memory_is_bounded() {
        let known = Known::default();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap().public_key().clone();
        let programme = |id| Programme { id: Uuid::from_u128(id), name: String::new(), sandbox: false };
        for id in 0..=PROGRAMMES as u128 {
            known.remember(&programme(id), Vec::new());
        }
        assert_eq!(known.programmes.lock().unwrap().len(), PROGRAMMES);
        let last = programme(PROGRAMMES as u128);
        for id in 0..20 {
            known.remember(&last, vec![(id.to_string(), key.clone())]);
        }
        let facts = known.get(last.id).unwrap();
        let ids: Vec<_> = facts.keys.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["12", "13", "14", "15", "16", "17", "18", "19"]);
    }
}
