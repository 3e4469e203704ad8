//! What an event's hash covers.

use sha2::{Digest, Sha256};

use super::{Event, Hash};
use crate::domain::commitment::{Body, COMMITMENT, personal};

/// Sets these hashes apart from those of version 1 and from every other use of SHA-256.
const VERSION_2: &[u8] = b"customerd event 2";

impl Event {
    /// The hash of the event by its version; `None` where it can have none: the version is unknown, the body is not one, or
    /// there are not as many commitments as personal members.
    pub fn digest(&self) -> Option<Hash> {
        match self.hash_version {
            1 => Some(self.first_version()),
            2 => self.second_version(),
            _ => None,
        }
    }

    /// SHA-256 over the previous hash, then each field as its length (u64, big-endian) and its bytes, in the order of
    /// the struct from `id` to `body`; an absent `from` counts as an empty one. The trace is not part of the record.
    fn first_version(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(self.previous_hash);
        let mut field = |bytes: &[u8]| update(&mut hash, bytes);
        self.fields(&mut field);
        field(self.body.as_bytes());
        hash.finalize().into()
    }

    /// SHA-256 over the domain, the previous hash and the fields as in version 1 up to `created_at`; then of each member of
    /// the body, in its order, the name and the value as it is written, and for a personal member a zero byte and its
    /// commitment in place of the value. So the hash needs neither the customer's key nor any personal value.
    fn second_version(&self) -> Option<Hash> {
        let mut hash = Sha256::new();
        hash.update(VERSION_2);
        hash.update(self.previous_hash);
        self.fields(&mut |bytes| update(&mut hash, bytes));
        // Version 1 cannot tell an absent status from an empty one.
        hash.update([u8::from(self.from.is_some())]);
        let mut commitments = self.commitments.chunks(COMMITMENT);
        for (name, value) in Body::read(&self.body)?.members() {
            update(&mut hash, name.as_bytes());
            if personal(&self.entity_type, name) {
                let commitment = commitments.next().filter(|commitment| commitment.len() == COMMITMENT)?;
                hash.update([0]);
                hash.update(commitment);
            } else {
                hash.update([1]);
                update(&mut hash, value.as_bytes());
            }
        }
        commitments.next().is_none().then(|| hash.finalize().into())
    }

    fn fields(&self, field: &mut impl FnMut(&[u8])) {
        field(self.id.as_bytes());
        field(self.programme_id.as_bytes());
        field(self.customer_id.as_bytes());
        field(&self.seq.to_be_bytes());
        field(self.entity_type.as_bytes());
        field(self.entity_id.as_bytes());
        field(self.actor.as_bytes());
        field(self.cause.as_bytes());
        field(self.from.as_deref().unwrap_or_default().as_bytes());
        field(self.to.as_bytes());
        field(&self.version.to_be_bytes());
        field(&self.created_at.micros().to_be_bytes());
    }
}

fn update(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
