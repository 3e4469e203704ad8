//! One change of one entity: what the audit trail keeps, and what webhooks and streams carry.
//!
//! The events of a customer, its accounts and its cards form one hash chain, so that an entry cannot be altered, removed
//! or slipped in without every later hash changing. What the chain does not show is a cut at its end: keep the head
//! elsewhere to see that.

use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Timestamp;
use super::customer::Customer;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntityType {
    /// A customer.
    Customer,
    /// An account.
    Account,
    /// A card.
    Card,
}

impl EntityType {
    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Account => "account",
            Self::Card => "card",
        }
    }

    /// The entity type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Customer, Self::Account, Self::Card].into_iter().find(|entity| entity.as_str() == name)
    }

    /// The event type, which is also the webhook type.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Customer => "customer.updated",
            Self::Account => "account.updated",
            Self::Card => "card.updated",
        }
    }
}

/// Who caused a change, and what of its request goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `programme`, `operator:<name>`, `owner`, `screening`, `kyc`, `simulator`, `deployment` or `issuing`.
    pub actor: String,
    /// The W3C `traceparent` of the request, carried on to webhooks.
    pub traceparent: Option<String>,
}

impl Origin {
    /// A part of the service itself, outside any request.
    pub fn internal(actor: &str) -> Self {
        Self { actor: actor.to_owned(), traceparent: None }
    }
}

/// A change about to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The programme.
    pub programme_id: Uuid,
    /// The customer that the entity is or belongs to.
    pub customer_id: Uuid,
    /// What changed.
    pub entity_type: EntityType,
    /// Its id.
    pub entity_id: Uuid,
    /// Why: the name of the move, with the reason after a colon where one was given.
    pub cause: String,
    /// The status before; `None` for a creation.
    pub from: Option<&'static str>,
    /// The status after.
    pub to: &'static str,
    /// The version after.
    pub version: i64,
    /// When the entity changed.
    pub at: Timestamp,
    /// The entity after the change, as the JSON members that follow `webhookType` and `eventId` in a webhook.
    pub entity: serde_json::Map<String, serde_json::Value>,
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// UUIDv7; the `eventId` of webhooks and streams.
    pub id: Uuid,
    /// The programme.
    pub programme_id: Uuid,
    /// The customer that the entity is or belongs to.
    pub customer_id: Uuid,
    /// The place in the customer's chain, from 1.
    pub seq: i64,
    /// `customer`, `account` or `card`.
    pub entity_type: String,
    /// The entity's id.
    pub entity_id: Uuid,
    /// Who.
    pub actor: String,
    /// Why.
    pub cause: String,
    /// The status before; `None` for a creation.
    pub from: Option<String>,
    /// The status after.
    pub to: String,
    /// The entity's version after.
    pub version: i64,
    /// When.
    pub created_at: Timestamp,
    /// The webhook's body, byte for byte.
    pub body: String,
    /// The `traceparent` of the request that caused it.
    pub traceparent: Option<String>,
    /// The hash of the event before in the chain; zeros for the first.
    pub previous_hash: Hash,
    /// [`Event::digest`].
    pub hash: Hash,
}

impl Event {
    /// SHA-256 over the previous hash, then each field as its length (u64, big-endian) and its bytes, in the order of
    /// the struct from `id` to `body`; an absent `from` counts as an empty one. The trace is not part of the record.
    pub fn digest(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(self.previous_hash);
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
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
        field(self.body.as_bytes());
        hash.finalize().into()
    }

    /// `customer.updated`, `account.updated` or `card.updated`.
    pub fn event_type(&self) -> &'static str {
        EntityType::parse(&self.entity_type).unwrap_or(EntityType::Customer).event_type()
    }
}

/// The end of a customer's chain of events: kept with the customer, so that appending needs no look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// How many events there are.
    pub seq: i64,
    /// The hash of the last; zeros when there is none.
    pub head: Hash,
    /// The time of the last; no later event has an earlier one.
    pub at: Timestamp,
}

impl Default for Chain {
    fn default() -> Self {
        Self { seq: 0, head: Hash::default(), at: Timestamp::EPOCH }
    }
}

impl Chain {
    /// The time of a change that is made `now`: that of the last event where this node's clock is behind the one that gave it.
    pub fn next_time(&self, now: Timestamp) -> Timestamp {
        now.max(self.at)
    }

    /// Makes `draft` the next event of the chain. Times never go back along it.
    pub fn append(&mut self, id: Uuid, draft: Draft, origin: &Origin) -> Event {
        let body = Body { webhook_type: draft.entity_type.event_type(), event_id: id, entity: &draft.entity };
        let mut event = Event {
            id,
            programme_id: draft.programme_id,
            customer_id: draft.customer_id,
            seq: self.seq + 1,
            entity_type: draft.entity_type.as_str().to_owned(),
            entity_id: draft.entity_id,
            actor: origin.actor.clone(),
            cause: draft.cause,
            from: draft.from.map(str::to_owned),
            to: draft.to.to_owned(),
            version: draft.version,
            created_at: self.next_time(draft.at),
            // A map of strings, numbers and arrays always serialises.
            body: serde_json::to_string(&body).unwrap_or_default(),
            traceparent: origin.traceparent.clone(),
            previous_hash: self.head,
            hash: Hash::default(),
        };
        event.hash = event.digest();
        *self = Self { seq: event.seq, head: event.hash, at: event.created_at };
        event
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    webhook_type: &'a str,
    event_id: Uuid,
    #[serde(flatten)]
    entity: &'a serde_json::Map<String, serde_json::Value>,
}

/// The JSON members of an entity in a webhook.
///
/// `value` must serialise to an object, as every entity's view does; anything else gives no members.
pub fn members<T: Serialize>(value: &T) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CustomerView<'a> {
    id: Uuid,
    external_id: &'a str,
    chain_id: &'a str,
    status: &'static str,
    created_at: String,
    updated_at: String,
    version: i64,
}

impl Customer {
    /// The event of a change of this customer, which is as it was left by the change.
    pub fn event(&self, from: Option<super::customer::Status>, cause: impl Into<String>) -> Draft {
        let view = CustomerView {
            id: self.id,
            external_id: &self.external_id,
            chain_id: &self.chain_id,
            status: self.status.as_str(),
            created_at: self.created_at.json(),
            updated_at: self.updated_at.json(),
            version: self.version,
        };
        Draft {
            programme_id: self.programme_id,
            customer_id: self.id,
            entity_type: EntityType::Customer,
            entity_id: self.id,
            cause: cause.into(),
            from: from.map(super::customer::Status::as_str),
            to: self.status.as_str(),
            version: self.version,
            at: self.updated_at,
            entity: members(&view),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::customer::{Move, Status};

    fn customer() -> Customer {
        Customer {
            id: Uuid::from_u128(1),
            programme_id: Uuid::from_u128(2),
            external_id: "u-1".into(),
            chain_id: "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".into(),
            status: Status::Initiating,
            created_at: Timestamp(1_000_000),
            updated_at: Timestamp(1_000_000),
            version: 1,
        }
    }

    #[test]
    fn events_chain_and_any_change_shows() {
        let mut customer = customer();
        let mut chain = Chain::default();
        let origin = Origin::internal("programme");
        let first = chain.append(Uuid::from_u128(3), customer.event(None, "created"), &origin);
        let from = customer.make(Move::ProveOwnership, Timestamp(2)).unwrap();
        let second = chain.append(
            Uuid::from_u128(4),
            customer.event(Some(from), Move::ProveOwnership.as_str()),
            &Origin::internal("owner"),
        );
        assert_eq!((first.seq, second.seq), (1, 2));
        assert_eq!(first.previous_hash, [0; 32]);
        assert_eq!(second.previous_hash, first.hash);
        assert_eq!(second.hash, second.digest());
        assert_eq!(chain.head, second.hash);
        let altered = Event { cause: "another".into(), ..second.clone() };
        assert_ne!(altered.digest(), second.hash);
        // Fields cannot bleed into one another.
        let shifted = Event { actor: "owne".into(), cause: format!("r{}", second.cause), ..second.clone() };
        assert_ne!(shifted.digest(), second.hash);
    }

    #[test]
    fn the_body_is_the_webhook() {
        let event = Chain::default().append(
            Uuid::from_u128(3),
            customer().event(None, "created"),
            &Origin::internal("programme"),
        );
        insta::assert_snapshot!(event.body, @r#"{"webhookType":"customer.updated","eventId":"00000000-0000-0000-0000-000000000003","id":"00000000-0000-0000-0000-000000000001","externalId":"u-1","chainId":"eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb","status":"initiating","createdAt":"1970-01-01T00:00:01Z","updatedAt":"1970-01-01T00:00:01Z","version":1}"#);
    }
}
