//! Whether a customer's trail of events is whole, and says what the rows say.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use super::Timestamp;
use super::commitment::{Body, CustomerKey, personal};
use super::event::{Chain, Event, SEAL, Sealed};

/// A fault in a customer's trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose trail.
    pub customer_id: Uuid,
    /// The event at fault, its place and id; `None` where it is not one event.
    pub event: Option<(i64, Uuid)>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "customer {}: ", self.customer_id)?;
        if let Some((seq, id)) = self.event {
            write!(f, "event {id} at place {seq}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What the row of a customer, an account or a card says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// `customer`, `account` or `card`.
    pub entity_type: String,
    /// Its id.
    pub id: Uuid,
    /// Its status.
    pub status: String,
    /// Its version.
    pub version: i64,
    /// Its personal data, by the names of members of its events; those without a value are left out.
    pub personal: BTreeMap<String, Value>,
}

impl Entity {
    /// What an event says of its entity.
    fn after(event: &Event) -> Self {
        let body = Body::read(&event.body);
        let members = body.iter().flat_map(Body::members);
        let personal = members
            .filter(|(name, _)| personal(&event.entity_type, name))
            .map(|(name, text)| (name.to_owned(), serde_json::from_str(text).unwrap_or_default()))
            .filter(|(_, value): &(String, Value)| !value.is_null())
            .collect();
        Self {
            entity_type: event.entity_type.clone(),
            id: event.entity_id,
            status: event.to.clone(),
            version: event.version,
            personal,
        }
    }

    /// The names of personal members whose values differ.
    fn altered<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let names = self.personal.keys().chain(other.personal.keys().filter(|name| !self.personal.contains_key(*name)));
        names.filter(|name| self.personal.get(*name) != other.personal.get(*name)).map(String::as_str).collect()
    }
}

/// A customer's trail while it is read, oldest event first. Takes as much memory as the customer has entities.
#[derive(Debug)]
pub struct Trail {
    customer_id: Uuid,
    end: Chain,
    /// The time of the last event where its hash is of version 2: only from there on do times never go back.
    last: Option<Timestamp>,
    entities: HashMap<Uuid, Entity>,
    /// Whether an event holds personal data that no key proves.
    unproven: bool,
    faults: Vec<Fault>,
}

impl Trail {
    /// Nothing read yet. With the customer's key, commitments are compared with the values that they are for.
    pub fn new(customer_id: Uuid, key: Option<CustomerKey>) -> Self {
        let end = Chain { key, ..Chain::default() };
        Self { customer_id, end, last: None, entities: HashMap::new(), unproven: false, faults: Vec::new() }
    }

    /// Reads the next event. Each is held against the one before as it is stored, so that one alteration is one fault.
    pub fn add(&mut self, event: &Event) {
        let at = Some((event.seq, event.id));
        if event.seq != self.end.seq + 1 {
            self.fault(at, format!("it follows place {}: events are missing", self.end.seq));
        }
        if event.previous_hash != self.end.head {
            self.fault(at, "its previous hash is not the hash of the event before".to_owned());
        }
        if event.digest() != Some(event.hash) {
            self.fault(at, "its hash is not that of its content: it was altered".to_owned());
        } else if self.uncommitted(event) {
            self.fault(at, "its personal data is not what it was committed to: it was altered".to_owned());
        }
        if event.hash_version != 1 && self.last.is_some_and(|last| event.created_at < last) {
            self.fault(at, "its time is before that of the event before".to_owned());
        }
        self.last = Some(event.created_at).filter(|_| event.hash_version != 1);
        let before = self.end;
        self.end = Chain { seq: event.seq, head: event.hash, at: event.created_at, ..before };
        if event.entity_type == SEAL {
            return self.seal(event, &before);
        }
        let (status, version) = match self.entities.get(&event.entity_id) {
            Some(entity) => (Some(entity.status.clone()), entity.version),
            None => (None, 0),
        };
        if event.version != version + 1 {
            let what = format!("version {} of the {} follows version {version}", event.version, event.entity_type);
            self.fault(at, what);
        }
        if event.from != status {
            let (from, status) = (event.from.as_deref().unwrap_or("nothing"), status.as_deref().unwrap_or("nothing"));
            self.fault(at, format!("the {} comes from {from}, but was {status}", event.entity_type));
        }
        let entity = Entity::after(event);
        self.unproven |= event.hash_version == 2 && self.end.key.is_none() && !entity.personal.is_empty();
        self.entities.insert(event.entity_id, entity);
    }

    /// Whether a value is not the one that was committed to. Without a key nobody can tell; such values must be erased.
    fn uncommitted(&self, event: &Event) -> bool {
        let Some(key) = self.end.key.filter(|_| event.hash_version == 2) else { return false };
        let body = Body::read(&event.body);
        body.is_none_or(|body| key.commitments(event.id, &event.entity_type, &body) != event.commitments)
    }

    fn seal(&mut self, event: &Event, before: &Chain) {
        let at = Some((event.seq, event.id));
        match serde_json::from_str::<Sealed>(&event.body) {
            Ok(sealed) => {
                if (sealed.events, sealed.head) != (before.seq, hex::encode(before.head)) {
                    self.fault(at, "it does not seal the events before it".to_owned());
                }
                if let Some(fault) = sealed.fault {
                    self.fault(at, format!("the chain did not verify when it was sealed: {fault}"));
                }
            }
            Err(error) => self.fault(at, format!("it is not readable as a seal: {error}")),
        }
    }

    /// The faults of the chain alone, whatever the rows of its entities say.
    pub fn end_of_chain(mut self, chain: &Chain) -> Vec<Fault> {
        self.ends(chain);
        self.faults
    }

    fn ends(&mut self, chain: &Chain) {
        if (chain.seq, chain.head) != (self.end.seq, self.end.head) {
            let what = format!("its chain ends at place {}, its events at {}", chain.seq, self.end.seq);
            let what = if chain.seq == self.end.seq { format!("{what}, with another hash") } else { what };
            self.fault(None, what);
        }
    }

    /// Everything was read: holds the trail against the customer's end of the chain (`None` where there is no customer)
    /// and the rows of its entities. Gives the faults.
    pub fn end(mut self, chain: Option<Chain>, rows: &[Entity]) -> Vec<Fault> {
        match chain {
            None => self.fault(None, "it has events, but does not exist".to_owned()),
            Some(chain) => self.ends(&chain),
        }
        for row in rows {
            let told = self.entities.remove(&row.id);
            self.row(row, told.as_ref());
        }
        if chain.is_some() && self.unproven {
            self.fault(
                None,
                "its key is gone, but its events still hold personal data, which nothing proves".to_owned(),
            );
        }
        if chain.is_some() {
            let mut gone: Vec<Entity> = std::mem::take(&mut self.entities).into_values().collect();
            gone.sort_by_key(|entity| entity.id);
            for entity in gone {
                self.fault(None, format!("{} {} has events, but does not exist", entity.entity_type, entity.id));
            }
        }
        self.faults
    }

    /// Holds the row of an entity against what its last event says. Without the customer's key its personal data is erased
    /// from the events, so that there is nothing to hold it against.
    fn row(&mut self, row: &Entity, told: Option<&Entity>) {
        let Entity { entity_type, id, status, version, .. } = row;
        let same = |told: &&Entity| (&told.entity_type, &told.status, told.version) == (entity_type, status, *version);
        let Some(told) = told.filter(same) else {
            let told =
                told.map_or_else(|| "nothing".to_owned(), |told| format!("{}, version {}", told.status, told.version));
            return self
                .fault(None, format!("{entity_type} {id} is {status}, version {version}; its events say {told}"));
        };
        if self.end.key.is_none() && told.personal.is_empty() {
            return;
        }
        for name in row.altered(told) {
            self.fault(None, format!("the {name} of {entity_type} {id} is not what its events say: it was altered"));
        }
    }

    /// Something else is wrong with the customer.
    pub fn add_fault(&mut self, what: String) {
        self.fault(None, what);
    }

    fn fault(&mut self, event: Option<(i64, Uuid)>, what: String) {
        self.faults.push(Fault { customer_id: self.customer_id, event, what });
    }
}

#[cfg(test)]
mod tests;
