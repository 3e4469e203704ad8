//! What an event's hash covers of personal data: commitments in the place of values.
//!
//! A commitment is HMAC-SHA256 under the customer's key over the event, the member's name and its value. While the key exists,
//! it proves the value; once the key is destroyed, nothing can be learned of the value from it, not even by trying every
//! likely one, and the chain still verifies.

use std::fmt;

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{EntityType, Hash};

/// Bytes of a commitment.
pub const COMMITMENT: usize = 32;
/// Bytes of a customer's key.
pub const KEY: usize = 32;

/// Sets these HMACs apart from every other use of the key.
const DOMAIN: &[u8] = b"customerd commitment 1";
/// Sets these HMACs apart as well.
const PUBLIC_HASH: &[u8] = b"customerd public hash 1";

/// The key of one customer, under which its personal data is committed to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CustomerKey([u8; KEY]);

impl CustomerKey {
    /// Of random bytes.
    pub const fn new(bytes: [u8; KEY]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be sealed.
    pub const fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// The commitments to the personal members of an event's body, in their order, one after the other.
    pub fn commitments(&self, event_id: Uuid, entity_type: &str, body: &Body<'_>) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut all = Vec::new();
        for (name, value) in body.0.iter().filter(|(name, _)| personal(entity_type, name)) {
            let mut tag = hmac::Context::with_key(&key);
            tag.update(DOMAIN);
            tag.update(event_id.as_bytes());
            tag.update(&(name.len() as u64).to_be_bytes());
            tag.update(name.as_bytes());
            tag.update(value.get().as_bytes());
            all.extend_from_slice(tag.sign().as_ref());
        }
        all
    }

    /// An event's hash as partners read it: HMAC-SHA256 of it. It changes whenever the hash does, and the hashes of a trail
    /// still chain; but nobody learns by trying which actor and which cause the hash covers, which partners may not read. The
    /// zeros before a first event stay zeros.
    pub fn public_hash(&self, hash: &Hash) -> Hash {
        if *hash == Hash::default() {
            return *hash;
        }
        let mut tag = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        tag.update(PUBLIC_HASH);
        tag.update(hash);
        // A tag of SHA-256 has the length of a hash.
        tag.sign().as_ref().try_into().unwrap_or_default()
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey")
    }
}

/// Whether a member of the body of an event of such an entity is personal.
pub fn personal(entity_type: &str, name: &str) -> bool {
    match EntityType::parse(entity_type) {
        Some(EntityType::Customer) => matches!(name, "externalId" | "chainId"),
        Some(EntityType::Account) => name == "chainId",
        Some(EntityType::Card) => matches!(name, "name" | "billingAddress" | "shippingAddress"),
        None => false,
    }
}

/// The members of an event's body in their order, each value as it is written.
#[derive(Debug)]
pub struct Body<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Body<'a> {
    /// Reads a body; `None` where it is not an object written as this service writes them, without white space between its
    /// members.
    pub fn read(text: &'a str) -> Option<Self> {
        let body: Self = serde_json::from_str(text).ok()?;
        (body.write() == text).then_some(body)
    }

    /// The members.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    fn write(&self) -> String {
        let mut text = String::from("{");
        for (at, (name, value)) in self.members().enumerate() {
            text.push_str(if at == 0 { "" } else { "," });
            // A string always serialises.
            text.push_str(&serde_json::to_string(name).unwrap_or_default());
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn commitments(key: u8, (id, kind): (Uuid, &str), body: &str) -> Vec<u8> {
        CustomerKey::new([key; KEY]).commitments(id, kind, &Body::read(body).unwrap())
    }

    #[test]
    fn a_commitment_depends_on_key_event_member_and_value() {
        let body = r#"{"id":"1","externalId":"u-1","chainId":"c","status":"active"}"#;
        let one = commitments(1, (ID, "customer"), body);
        assert_eq!(one.len(), 2 * COMMITMENT);
        assert_eq!(one, commitments(1, (ID, "customer"), &body.replace("active", "inactive")));
        assert_ne!(one, commitments(2, (ID, "customer"), body));
        assert_ne!(one, commitments(1, (Uuid::nil(), "customer"), body));
        let other = commitments(1, (ID, "customer"), &body.replace("u-1", "u-2"));
        assert!(one[..COMMITMENT] != other[..COMMITMENT] && one[COMMITMENT..] == other[COMMITMENT..]);
        // The same value under another name.
        let swapped = commitments(1, (ID, "customer"), &body.replace("\"c\"", "\"u-1\""));
        assert_ne!(swapped[..COMMITMENT], swapped[COMMITMENT..]);
    }

    #[test]
    fn a_public_hash_depends_on_the_key_and_the_hash() {
        let (one, two) = (CustomerKey::new([1; KEY]), CustomerKey::new([2; KEY]));
        let all = [one.public_hash(&[1; 32]), one.public_hash(&[2; 32]), two.public_hash(&[1; 32]), [1; 32]];
        assert!((0..all.len()).all(|at| !all[at + 1..].contains(&all[at])));
        assert_eq!(one.public_hash(&[0; 32]), [0; 32]);
    }

    #[test]
    fn what_is_personal_depends_on_the_entity() {
        let card = r#"{"name":null,"billingAddress":{"city":"B"},"shippingAddress":{},"maskedPan":null}"#;
        assert_eq!(commitments(1, (ID, "card"), card).len(), 3 * COMMITMENT);
        assert_eq!(commitments(1, (ID, "account"), r#"{"chainId":"c","externalId":"x"}"#).len(), COMMITMENT);
        assert_eq!(commitments(1, (ID, "chain"), r#"{"chainId":"c"}"#), [0_u8; 0]);
    }

    #[test]
    fn a_body_is_read_as_it_is_written_and_nothing_else_is() {
        for good in ["{}", r#"{"a":1,"b":[1, 2],"a":{"x": null}}"#, r#"{"é":"\u00e9"}"#] {
            assert_eq!(Body::read(good).map(|body| body.write()).as_deref(), Some(good));
        }
        for bad in ["", "[]", "null", " {}", "{} ", r#"{"a": 1}"#, r#"{"a":1 }"#, r#"{"a":1}}"#, r#"{"\u0061":1}"#] {
            assert!(Body::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", CustomerKey::new([1; KEY])), "CustomerKey");
    }
}
