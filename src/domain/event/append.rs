//! The end of a chain, and what is added to it.

use serde::Serialize;
use uuid::Uuid;

use super::{Body, Draft, Event, Hash, Origin, SEAL, SEALED};
use crate::domain::Timestamp;
use crate::domain::commitment::{self, CustomerKey};

/// The end of a customer's chain of events: kept with the customer, so that appending needs no look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// How many events there are.
    pub seq: i64,
    /// The hash of the last; zeros when there is none.
    pub head: Hash,
    /// The time of the last; no later event has an earlier one.
    pub at: Timestamp,
    /// What personal data is committed to under. Without one the chain goes on with hashes of version 1: it is of before
    /// version 2, and not sealed yet.
    pub key: Option<CustomerKey>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { seq: 0, head: Hash::default(), at: Timestamp::EPOCH, key: None }
    }
}

impl Chain {
    /// A new customer's.
    pub fn new(key: CustomerKey) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// The time of a change that is made `now`: that of the last event where this node's clock is behind the one that gave it.
    pub fn next_time(&self, now: Timestamp) -> Timestamp {
        now.max(self.at)
    }

    /// Makes `draft` the next event of the chain. Times never go back along it.
    pub fn append(&mut self, id: Uuid, draft: Draft, origin: &Origin) -> Event {
        let body = Body { webhook_type: draft.entity_type.event_type(), event_id: id, entity: &draft.entity };
        // A map of strings, numbers and arrays always serialises.
        let body = serde_json::to_string(&body).unwrap_or_default();
        let entity_type = draft.entity_type.as_str();
        let committed =
            self.key.and_then(|key| Some(key.commitments(id, entity_type, &commitment::Body::read(&body)?)));
        self.close(Event {
            id,
            programme_id: draft.programme_id,
            customer_id: draft.customer_id,
            seq: self.seq + 1,
            entity_type: entity_type.to_owned(),
            entity_id: draft.entity_id,
            actor: origin.actor.clone(),
            cause: draft.cause,
            from: draft.from.map(str::to_owned),
            to: draft.to.to_owned(),
            version: draft.version,
            created_at: self.next_time(draft.at),
            body,
            traceparent: origin.traceparent.clone(),
            request_id: origin.request_id.clone(),
            previous_hash: self.head,
            hash: Hash::default(),
            hash_version: if committed.is_some() { 2 } else { 1 },
            commitments: committed.unwrap_or_default(),
        })
    }

    /// Seals a chain of version 1: an event that is no change says how many events were before it, the hash of the last, and
    /// whether they verified (`fault` says why not). From here on the chain has hashes of version 2.
    pub fn seal(&mut self, seal: &Seal, fault: Option<&str>) -> Event {
        self.key = Some(seal.key);
        let previous = hex::encode(self.head);
        let body = SealBody { webhook_type: SEALED, event_id: seal.id, events: self.seq, head: &previous, fault };
        self.close(Event {
            id: seal.id,
            programme_id: seal.programme_id,
            customer_id: seal.customer_id,
            seq: self.seq + 1,
            entity_type: SEAL.to_owned(),
            entity_id: seal.customer_id,
            actor: "migration".to_owned(),
            cause: SEALED.to_owned(),
            from: None,
            to: if fault.is_none() { "sealed" } else { "broken" }.to_owned(),
            version: 2,
            created_at: self.next_time(seal.now),
            // Texts and numbers always serialise.
            body: serde_json::to_string(&body).unwrap_or_default(),
            traceparent: None,
            request_id: None,
            previous_hash: self.head,
            hash: Hash::default(),
            hash_version: 2,
            commitments: Vec::new(),
        })
    }

    /// The event with its hash, now the last of the chain.
    fn close(&mut self, mut event: Event) -> Event {
        // An event made here has a hash: its body is one, and it has a commitment for each personal member.
        event.hash = event.digest().unwrap_or_default();
        *self = Self { seq: event.seq, head: event.hash, at: event.created_at, key: self.key };
        event
    }
}

/// What a chain is sealed with.
#[derive(Debug, Clone, Copy)]
pub struct Seal {
    /// The seal's own id.
    pub id: Uuid,
    /// Whose.
    pub programme_id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// The customer's key from now on.
    pub key: CustomerKey,
    /// When.
    pub now: Timestamp,
}

/// What a seal says of the chain before it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SealBody<'a> {
    webhook_type: &'a str,
    event_id: Uuid,
    events: i64,
    head: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
}

/// A seal as it is read back.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// How many events it covers.
    pub events: i64,
    /// The hash of the last of them.
    pub head: String,
    /// Why they did not verify.
    pub fault: Option<String>,
}
