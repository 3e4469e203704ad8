//! Signed checkpoints of the audit trail.
//!
//! A customer's chain does not show that it was cut at its end, or that the customer is gone with all of it. A checkpoint says
//! how many events there were up to a position, and covers their hashes; each covers the one before, and is signed. Who cannot
//! sign cannot hide a deletion; who can, cannot hide it from a copy of a later checkpoint that is kept elsewhere.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use super::event::Hash;

/// Sets these hashes and signatures apart from every other use of them.
const DOMAIN: &str = "customerd checkpoint 1";

/// What was committed up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The last position.
    pub position: i64,
    /// Events up to there.
    pub events: i64,
    /// Over their hashes, in the order of their positions.
    pub running_hash: Hash,
}

impl Extent {
    /// Goes on by the event at the next position.
    pub fn extend(&mut self, position: i64, hash: &[u8]) {
        let mut running = Sha256::new();
        running.update(self.running_hash);
        running.update(position.to_be_bytes());
        running.update((hash.len() as u64).to_be_bytes());
        running.update(hash);
        *self = Self { position, events: self.events + 1, running_hash: running.finalize().into() };
    }
}

/// A checkpoint; in JSON with hashes and the signature in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// From 1, without gaps.
    pub seq: i64,
    /// What it covers.
    pub extent: Extent,
    /// The hash of the checkpoint before; zeros for the first.
    pub previous_hash: Hash,
    /// When it was made.
    pub created_at: Timestamp,
    /// Ed25519 over [`signed`](Self::signed).
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// The one that follows `last`, not signed yet.
    pub fn after(last: Option<&Self>, extent: Extent, now: Timestamp) -> Self {
        let (seq, previous_hash, at) =
            last.map_or((0, Hash::default(), now), |last| (last.seq, last.hash(), last.created_at));
        Self { seq: seq + 1, extent, previous_hash, created_at: now.max(at), signature: Vec::new() }
    }

    /// The bytes that are signed.
    pub fn signed(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.as_bytes().to_vec();
        for number in [self.seq, self.extent.position, self.extent.events, self.created_at.micros()] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.extent.running_hash);
        bytes.extend_from_slice(&self.previous_hash);
        bytes
    }

    /// SHA-256 over what is signed and the signature.
    pub fn hash(&self) -> Hash {
        Sha256::new().chain_update(self.signed()).chain_update(&self.signature).finalize().into()
    }

    /// On one line.
    pub fn json(&self) -> String {
        let json = Json {
            seq: self.seq,
            position: self.extent.position,
            events: self.extent.events,
            running_hash: hex::encode(self.extent.running_hash),
            previous_hash: hex::encode(self.previous_hash),
            created_at: self.created_at.json(),
            signature: hex::encode(&self.signature),
        };
        // Texts and numbers always serialise.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// Reads what [`json`](Self::json) wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let bytes = |name: &str, text: &str| hex::decode(text).map_err(|error| format!("{name}: {error}"));
        let hash = |name: &str, text: &str| {
            Hash::try_from(bytes(name, text)?).map_err(|_| format!("{name}: not the hash of 32 bytes"))
        };
        Ok(Self {
            seq: json.seq,
            extent: Extent {
                position: json.position,
                events: json.events,
                running_hash: hash("runningHash", &json.running_hash)?,
            },
            previous_hash: hash("previousHash", &json.previous_hash)?,
            created_at: json.created_at.parse().map_err(|error| format!("createdAt: {error}"))?,
            signature: bytes("signature", &json.signature)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    seq: i64,
    position: i64,
    events: i64,
    running_hash: String,
    previous_hash: String,
    created_at: String,
    signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut extent = Extent::default();
        extent.extend(1, &[1; 32]);
        extent.extend(2, &[2; 32]);
        Checkpoint { signature: vec![7; 64], ..Checkpoint::after(None, extent, Timestamp(1_000_001)) }
    }

    #[test]
    fn a_checkpoint_is_read_back_from_its_line() {
        let line = checkpoint().json();
        insta::assert_snapshot!(line.split(",\"runningHash").next().unwrap_or_default(), @r#"{"seq":1,"position":2,"events":2"#);
        assert_eq!(Checkpoint::parse(&line), Ok(checkpoint()));
        for (from, to) in
            [("\"seq\":1", "\"seq\":\"1\""), ("\"seq\":1", "\"seq\":1,\"more\":1"), ("1970", "x"), ("0707", "07zz")]
        {
            assert!(Checkpoint::parse(&line.replacen(from, to, 1)).is_err(), "{from} to {to}");
        }
    }

    #[test]
    fn every_field_counts() {
        let it = checkpoint();
        let extent = it.extent;
        let others = [
            Checkpoint { seq: 2, ..it.clone() },
            Checkpoint { extent: Extent { position: 3, ..extent }, ..it.clone() },
            Checkpoint { extent: Extent { events: 3, ..extent }, ..it.clone() },
            Checkpoint { extent: Extent { running_hash: [0; 32], ..extent }, ..it.clone() },
            Checkpoint { previous_hash: [1; 32], ..it.clone() },
            Checkpoint { created_at: Timestamp(1), ..it.clone() },
        ];
        for other in others {
            assert_ne!(other.signed(), it.signed());
            assert_ne!(other.hash(), it.hash());
        }
        assert_ne!(Checkpoint { signature: vec![8; 64], ..it.clone() }.hash(), it.hash());
    }

    #[test]
    fn an_extent_depends_on_order_place_and_hash() {
        let extent = |events: &[(i64, u8)]| {
            let mut extent = Extent::default();
            events.iter().for_each(|(position, hash)| extent.extend(*position, &[*hash; 32]));
            extent.running_hash
        };
        let all = [extent(&[(1, 1), (2, 2)]), extent(&[(1, 2), (2, 1)]), extent(&[(1, 1), (3, 2)]), extent(&[(1, 1)])];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn the_next_checkpoint_is_not_earlier() {
        let first = checkpoint();
        let next = Checkpoint::after(Some(&first), first.extent, Timestamp(5));
        assert_eq!((next.seq, next.previous_hash, next.created_at), (2, first.hash(), first.created_at));
    }
}
