//! Verifies every trail: reads customers and their events side by side, in pages, so that its memory does not grow with
//! the database.

pub mod checkpoints;
pub mod keys;
pub mod seals;

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Store, Tx, customers, events};
use crate::domain::audit::{Entity, Fault, Trail};
use crate::domain::event::{Chain, Event, Hash};

/// Customers, and events, that are read at a time.
const PAGE: i64 = 500;

/// How much was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Customers.
    pub customers: u64,
    /// Events.
    pub events: u64,
}

/// What [`verify`] tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Something is wrong.
    Fault(Fault),
    /// So much was read.
    Progress(Read),
}

row! {
    struct AuditRow {
        id: Uuid,
        status: String,
        version: i64,
        external_id: String,
        chain_id: String,
        event_seq: i64,
        event_head: Vec<u8>,
        event_key: Option<Vec<u8>>,
    }
}

impl AuditRow {
    /// Its trail, nothing of it read yet.
    fn trail(&self, on: &impl Connection) -> Trail {
        let key = self.event_key.as_ref().map(|sealed| customers::open_key(on, self.id, sealed)).transpose();
        let mut trail = Trail::new(self.id, key.as_ref().ok().copied().flatten());
        if let Err(error) = key {
            trail.add_fault(format!("its key does not open: {error}"));
        }
        trail
    }

    fn chain(&self) -> Chain {
        let head = Hash::try_from(self.event_head.as_slice()).unwrap_or([0xff; 32]);
        Chain { seq: self.event_seq, head, ..Chain::default() }
    }

    fn entity(&self) -> Entity {
        let personal = [("externalId", &self.external_id), ("chainId", &self.chain_id)];
        Entity {
            entity_type: "customer".to_owned(),
            id: self.id,
            status: self.status.clone(),
            version: self.version,
            personal: personal.into_iter().map(|(name, text)| (name.to_owned(), text.as_str().into())).collect(),
        }
    }
}

row! {
    struct ChildRow {
        customer_id: Uuid,
        entity_type: String,
        id: Uuid,
        status: String,
        version: i64,
        chain_id: Option<String>,
        name: Option<String>,
        billing_address: Option<String>,
        shipping_address: Option<String>,
    }
}

impl ChildRow {
    fn entity(self) -> Entity {
        // An address that somebody has made unreadable is none that an event says.
        let address = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        let personal = [
            ("chainId", self.chain_id.map(Value::String)),
            ("name", self.name.map(Value::String)),
            ("billingAddress", self.billing_address.map(address)),
            ("shippingAddress", self.shipping_address.map(address)),
        ];
        let personal = personal.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let Self { entity_type, id, status, version, .. } = self;
        Entity { entity_type, id, status, version, personal }
    }
}

/// The accounts and cards of the customers from one id to another, by customer. As many as these customers' trails tell
/// of, which are in memory too.
async fn children(on: &mut impl Connection, (first, last): (Uuid, Uuid)) -> Result<BTreeMap<Uuid, Vec<Entity>>, Error> {
    let rows: Vec<ChildRow> = on
        .query(
            "SELECT customer_id, 'account' AS entity_type, id, status, version, chain_id, NULL AS name, \
             NULL AS billing_address, NULL AS shipping_address FROM accounts WHERE customer_id BETWEEN $1 AND $2 UNION ALL \
             SELECT a.customer_id, 'card' AS entity_type, c.id, c.status, c.version, NULL AS chain_id, c.name, \
             c.billing_address, c.shipping_address FROM accounts a JOIN cards c ON c.account_id = a.id WHERE a.customer_id BETWEEN $1 AND $2",
        )
        .bind(first)
        .bind(last)
        .all()
        .await?;
    let mut found: BTreeMap<Uuid, Vec<Entity>> = BTreeMap::new();
    for row in rows {
        found.entry(row.customer_id).or_default().push(row.entity());
    }
    Ok(found)
}

/// Verifies every customer's trail while the service may be at work: pages are read without locks, and a trail that looks
/// wrong is read again with its customer held, so that a change under way is no fault.
///
/// # Errors
///
/// Those of the store.
pub async fn verify(store: &Store, mut on: impl FnMut(Found) + Send) -> Result<Read, Error> {
    let (mut read, mut after) = (Read::default(), Uuid::nil());
    loop {
        let mut reader = store.reader().await?;
        let rows: Vec<AuditRow> = reader
            .query(
                "SELECT id, status, version, external_id, chain_id, event_seq, event_head, event_key FROM customers \
                 WHERE id > $1 ORDER BY id LIMIT $2",
            )
            .bind(after)
            .bind(PAGE)
            .all()
            .await?;
        read.customers += rows.len() as u64;
        let last = (rows.len() as i64) < PAGE;
        let upto = rows.last().filter(|_| !last).map_or(Uuid::max(), |row| row.id);
        let mut trails: BTreeMap<Uuid, Trail> = rows.iter().map(|row| (row.id, row.trail(&reader))).collect();
        let mut from = (after, i64::MAX);
        loop {
            let page = events_between(&mut reader, from, upto).await?;
            for event in &page {
                trails.entry(event.customer_id).or_insert_with(|| Trail::new(event.customer_id, None)).add(event);
            }
            read.events += page.len() as u64;
            on(Found::Progress(read));
            match page.last() {
                Some(event) if page.len() as i64 == PAGE => from = (event.customer_id, event.seq),
                _ => break,
            }
        }
        let mut below = match (rows.first(), rows.last()) {
            (Some(first), Some(last)) => children(&mut reader, (first.id, last.id)).await?,
            _ => BTreeMap::new(),
        };
        drop(reader);
        let mut rows = rows.into_iter().map(|row| (row.id, row)).collect::<BTreeMap<_, _>>();
        for (id, trail) in trails {
            let row = rows.remove(&id);
            let below = below.remove(&id).unwrap_or_default();
            let entities: Vec<Entity> = row.iter().map(AuditRow::entity).chain(below).collect();
            if !trail.end(row.as_ref().map(AuditRow::chain), &entities).is_empty() {
                again(store, id).await?.into_iter().map(Found::Fault).for_each(&mut on);
            }
        }
        if last {
            return Ok(read);
        }
        after = upto;
    }
}

/// The faults of one customer's trail, with the customer held.
async fn again(store: &Store, customer_id: Uuid) -> Result<Vec<Fault>, Error> {
    let mut tx = store.begin().await?;
    let faults = held(&mut tx, customer_id).await;
    tx.rollback().await?;
    faults
}

async fn held(tx: &mut Tx, customer_id: Uuid) -> Result<Vec<Fault>, Error> {
    let row: Option<AuditRow> = tx
        .query(
            "SELECT id, status, version, external_id, chain_id, event_seq, event_head, event_key FROM customers WHERE id = $1",
        )
        .bind(customer_id)
        .for_update()
        .optional()
        .await?;
    let mut trail = row.as_ref().map_or_else(|| Trail::new(customer_id, None), |row| row.trail(tx));
    let mut from = (customer_id, 0);
    loop {
        let page = events_between(tx, from, customer_id).await?;
        page.iter().for_each(|event| trail.add(event));
        match page.last() {
            Some(event) if page.len() as i64 == PAGE => from = (customer_id, event.seq),
            _ => break,
        }
    }
    let below = children(tx, (customer_id, customer_id)).await?.remove(&customer_id).unwrap_or_default();
    let entities: Vec<Entity> = row.iter().map(AuditRow::entity).chain(below).collect();
    Ok(trail.end(row.as_ref().map(AuditRow::chain), &entities))
}

/// A page of events after a place, up to a customer, in the order of customers and places.
async fn events_between(
    on: &mut impl Connection,
    (customer_id, seq): (Uuid, i64),
    upto: Uuid,
) -> Result<Vec<Event>, Error> {
    on.query(events::SELECT)
        .push(" WHERE (customer_id, seq) > (")
        .push_bind(customer_id)
        .push(", ")
        .push_bind(seq)
        .push(") AND customer_id <= ")
        .push_bind(upto)
        .push(" ORDER BY customer_id, seq LIMIT ")
        .push_bind(PAGE)
        .all()
        .await
        .map(|rows: Vec<events::EventRow>| rows.into_iter().map(events::EventRow::lenient).collect())
}
