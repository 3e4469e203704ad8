//! One change of one entity: what the audit trail keeps, and what webhooks and streams carry.
//!
//! The events of a customer, its accounts and its cards form one hash chain, so that an entry cannot be altered, removed
//! or slipped in without every later hash changing. What the chain does not show is a cut at its end: that is what
//! [checkpoints](super::checkpoint) are for.

use serde::Serialize;
use uuid::Uuid;

use super::Timestamp;
use super::customer::Customer;

mod append;
mod digest;

pub use append::{Chain, Seal, Sealed};

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
    /// The `X-Request-Id` of the request, carried on to webhooks.
    pub request_id: Option<String>,
}

impl Origin {
    /// A part of the service itself, outside any request.
    pub fn internal(actor: &str) -> Self {
        Self { actor: actor.to_owned(), traceparent: None, request_id: None }
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
    /// The `X-Request-Id` of the request that caused it.
    pub request_id: Option<String>,
    /// The hash of the event before in the chain; zeros for the first.
    pub previous_hash: Hash,
    /// [`Event::digest`].
    pub hash: Hash,
    /// How the hash is computed: 1 or 2.
    pub hash_version: i32,
    /// Version 2: the commitments to the personal members of the body, in their order, 32 bytes each.
    pub commitments: Vec<u8>,
}

/// The entity type of an event that is no change: it seals what is before it in the chain ([`Chain::seal`]).
pub const SEAL: &str = "chain";

impl Event {
    /// `customer.updated`, `account.updated`, `card.updated`, or `chain.sealed` for a seal.
    pub fn event_type(&self) -> &'static str {
        EntityType::parse(&self.entity_type).map_or(SEALED, EntityType::event_type)
    }
}

/// The cause and the type of an event that seals a chain.
pub const SEALED: &str = "chain.sealed";

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
        assert_eq!(Some(second.hash), second.digest());
        assert_eq!(chain.head, second.hash);
        let altered = Event { cause: "another".into(), ..second.clone() };
        assert_ne!(altered.digest(), Some(second.hash));
        // Fields cannot bleed into one another.
        let shifted = Event { actor: "owne".into(), cause: format!("r{}", second.cause), ..second.clone() };
        assert_ne!(shifted.digest(), Some(second.hash));
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
