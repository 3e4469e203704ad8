//! Customers.

mod page;

pub use page::{Filter, page};

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::reseal::{Batch, Which};
use super::standing;
use super::value::row;
use super::{Connection, Effect, Error, Lengths, Owner, Rows, Tx};
use crate::domain::Timestamp;
use crate::domain::commitment::CustomerKey;
use crate::domain::customer::{Customer, Status};
use crate::domain::event::{Chain, Hash};
use crate::domain::reason::PublicReason;
use crate::sealing::Place;

row! {
    #[derive(Debug)]
    struct CustomerRow {
        id: Uuid,
        programme_id: Uuid,
        external_id: String,
        chain_id: String,
        status: String,
        created_at: Timestamp,
        updated_at: Timestamp,
        version: i64,
    }
}

impl CustomerRow {
    fn read(self) -> Result<Customer, Error> {
        let status = Status::parse(&self.status).ok_or_else(|| Error::unreadable("customers.status", &self.status))?;
        Ok(Customer {
            id: self.id,
            programme_id: self.programme_id,
            external_id: self.external_id,
            chain_id: self.chain_id,
            status,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        })
    }
}

/// The live ownership challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The bytes to sign.
    pub text: Vec<u8>,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// A customer held for a change: no other transaction changes it, or adds to its chain, until this one ends.
#[derive(Debug, Clone)]
pub struct Held {
    /// The customer.
    pub customer: Customer,
    /// The end of its chain of events.
    pub chain: Chain,
    /// Its live challenge.
    pub challenge: Option<Challenge>,
    /// It certainly has no accounts.
    pub childless: bool,
    /// What [`update`] insists on.
    read: Read,
}

/// By what a customer's row is known to be as it was read: what everybody who changes the customer or what belongs to it changes.
#[derive(Debug, Clone, Default)]
struct Read {
    seq: i64,
    challenge: Option<Vec<u8>>,
    /// This transaction has written it, and perhaps not yet sent that.
    written: bool,
}

impl Held {
    /// Of a new customer.
    pub fn new(customer: Customer, chain: Chain, challenge: Option<Challenge>) -> Self {
        Self { customer, chain, challenge, childless: true, read: Read::default() }
    }
}

row! {
    pub(super) struct HeldRow by "held_" {
        id: Uuid,
        programme_id: Uuid,
        external_id: String,
        chain_id: String,
        status: String,
        created_at: Timestamp,
        updated_at: Timestamp,
        version: i64,
        event_seq: i64,
        event_head: Vec<u8>,
        event_at: Option<Timestamp>,
        event_key: Option<Vec<u8>>,
        hash_version: i32,
        challenge: Option<Vec<u8>>,
        challenge_expires_at: Option<Timestamp>,
        has_accounts: bool,
    }
}

/// The columns of a [`HeldRow`].
macro_rules! held_columns {
    () => {
        // Rows of before there was event_at have none until their first change.
        "customers.id AS held_id, customers.programme_id AS held_programme_id, customers.external_id AS held_external_id, \
         customers.chain_id AS held_chain_id, customers.status AS held_status, customers.created_at AS held_created_at, \
         customers.updated_at AS held_updated_at, customers.version AS held_version, customers.event_seq AS held_event_seq, \
         customers.event_head AS held_event_head, COALESCE(customers.event_at, (SELECT MAX(events.created_at) FROM events \
         WHERE events.customer_id = customers.id)) AS held_event_at, customers.event_key AS held_event_key, \
         customers.hash_version AS held_hash_version, customers.challenge AS held_challenge, \
         customers.challenge_expires_at AS held_challenge_expires_at, \
         EXISTS (SELECT 1 FROM accounts owned WHERE owned.customer_id = customers.id) AS held_has_accounts"
    };
}
pub(super) use held_columns;

const fn key_place(id: &Uuid) -> Place<'_> {
    Place::new("customers", "event_key", id.as_bytes())
}

/// Seals a customer's key for its row.
pub(super) async fn seal_key(tx: &mut Tx, id: Uuid, key: &CustomerKey) -> Result<Vec<u8>, Error> {
    tx.seal(key_place(&id), key.bytes()).await
}

/// Opens a customer's key.
pub(super) fn open_key(on: &impl Connection, id: Uuid, sealed: &[u8]) -> Result<CustomerKey, Error> {
    let opened = on.sealer().open(key_place(&id), sealed)?;
    let bytes =
        opened.expose_secret().try_into().map_err(|_| Error::unreadable("customers.event_key", "its length"))?;
    Ok(CustomerKey::new(bytes))
}

/// The key of a programme's customer, where it is not destroyed; the outer `None` where there is no such customer.
pub async fn key_owned(
    on: &mut impl Connection,
    programme_id: Uuid,
    id: Uuid,
) -> Result<Option<Option<CustomerKey>>, Error> {
    let query = on.query("SELECT event_key FROM customers WHERE id = $1 AND programme_id = $2").bind(id);
    let row: Option<(Option<Vec<u8>>,)> = query.bind(programme_id).optional().await?;
    let Some((sealed,)) = row else { return Ok(None) };
    Ok(Some(sealed.map(|sealed| open_key(on, id, &sealed)).transpose()?))
}

/// Seals customers' keys again: a batch of them, after a customer.
pub(super) async fn reseal(tx: &mut Tx, which: Which, (after, limit): (Uuid, i64)) -> Result<Batch<Uuid>, Error> {
    let sealer = tx.sealer().clone();
    let rows: Vec<(Uuid, Vec<u8>)> = tx
        .query("SELECT id, event_key FROM customers WHERE id > $1 AND event_key IS NOT NULL ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .for_update()
        .all()
        .await?;
    let mut batch = Batch { sealed: 0, last: rows.last().map(|(id, _)| *id) };
    for (id, value) in rows {
        let Some(sealed) = which.reseal(&sealer, key_place(&id), &value)? else { continue };
        let update = tx.query("UPDATE customers SET event_key = $2 WHERE id = $1");
        batch.sealed += update.bind(id).bind(sealed).execute().await?;
    }
    Ok(batch)
}

/// Inserts a customer with the end of its chain and its first challenge.
///
/// # Errors
///
/// When it is sent, [`Error::Unique`] where the programme has a customer with its chain id or external id: see [`conflict`].
pub async fn insert(tx: &mut Tx, held: &Held) -> Result<(), Error> {
    let Held { customer, chain, challenge, .. } = held;
    let key = match chain.key {
        Some(key) => Some(seal_key(tx, customer.id, &key).await?),
        None => None,
    };
    let text = Rows {
        head: "INSERT INTO customers (id, programme_id, external_id, chain_id, status, created_at, updated_at, version, \
               event_seq, event_head, event_at, challenge, challenge_expires_at, hash_version, event_key) VALUES ",
        tail: "",
        lengths: Lengths::All,
    };
    let (customer, challenge, end) = (customer.clone(), challenge.clone(), (chain.seq, chain.head, chain.at));
    tx.insert(text, Effect::Any, move |query| {
        let (seq, head, at) = &end;
        query
            .bind(customer.id)
            .bind(customer.programme_id)
            .bind(customer.external_id.as_str())
            .bind(customer.chain_id.as_str())
            .bind(customer.status.as_str())
            .bind(customer.created_at)
            .bind(customer.updated_at)
            .bind(customer.version)
            .bind(*seq)
            .bind(head.as_slice())
            .bind(*at)
            .bind(challenge.as_ref().map(|challenge| challenge.text.as_slice()))
            .bind(challenge.as_ref().map(|challenge| challenge.expires_at))
            .bind(if key.is_some() { 2 } else { 1 })
            .bind(key.as_deref())
    })
}

/// The customers that stand in the way of `customer`: the one with its chain id, the one with its external id.
pub async fn conflict(on: &mut impl Connection, customer: &Customer) -> Result<Vec<Customer>, Error> {
    let rows: Vec<CustomerRow> = on
        .query(
            "SELECT id, programme_id, external_id, chain_id, status, created_at, updated_at, version FROM customers \
             WHERE programme_id = $1 AND chain_id = $2 \
             UNION SELECT id, programme_id, external_id, chain_id, status, created_at, updated_at, version FROM customers \
             WHERE programme_id = $1 AND external_id = $3",
        )
        .bind(customer.programme_id)
        .bind(customer.chain_id.as_str())
        .bind(customer.external_id.as_str())
        .all()
        .await?;
    rows.into_iter().map(CustomerRow::read).collect()
}

/// A programme's customer.
pub async fn get_owned<'o>(
    on: &mut impl Connection,
    owner: impl Into<Owner<'o>>,
    id: Uuid,
) -> Result<Option<Customer>, Error> {
    let Owner { programme_id, standing } = owner.into();
    let query = on
        .query(
            "SELECT id, programme_id, external_id, chain_id, status, created_at, updated_at, version FROM customers \
             WHERE id = $1 AND programme_id = $2",
        )
        .bind(id)
        .bind(programme_id);
    let row: Option<CustomerRow> = standing::and(query, standing).optional().await?;
    row.map(CustomerRow::read).transpose()
}

/// A customer of any programme.
pub async fn get_any(on: &mut impl Connection, id: Uuid) -> Result<Option<Customer>, Error> {
    let row: Option<CustomerRow> = on
        .query(
            "SELECT id, programme_id, external_id, chain_id, status, created_at, updated_at, version FROM customers \
             WHERE id = $1",
        )
        .bind(id)
        .optional()
        .await?;
    row.map(CustomerRow::read).transpose()
}

/// The chain ids of customers, of any programme, in no order; unknown ids are left out. At least one must be given.
pub async fn chain_ids(
    on: &mut impl Connection,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<(Uuid, String)>, Error> {
    let ids: Vec<Uuid> = ids.into_iter().collect();
    on.query("SELECT id, chain_id FROM customers WHERE id IN ").push_list(Lengths::Few.fill(&ids).copied()).all().await
}

/// A customer held for a change, of any programme.
pub async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Held>, Error> {
    let query = tx.query(concat!("SELECT ", held_columns!(), " FROM customers WHERE id = $1")).bind(id).for_update();
    let row: Option<HeldRow> = query.optional().await?;
    let waits = tx.lock_waits();
    row.map(|row| row.read(tx, waits)).transpose()
}

impl HeldRow {
    /// The customer; `waited` says that the statement may have waited for the row, and has seen accounts as they were before.
    pub(super) fn read(self, on: &impl Connection, waited: bool) -> Result<Held, Error> {
        let head = Hash::try_from(self.event_head.as_slice())
            .map_err(|_| Error::unreadable("customers.event_head", &self.event_head.len().to_string()))?;
        let key = self.event_key.map(|sealed| open_key(on, self.id, &sealed)).transpose()?;
        if key.is_none() && self.hash_version == 2 {
            // Its chain would go on without commitments, as if nobody had to prove its personal data any more.
            return Err(Error::unreadable("customers.event_key", "NULL"));
        }
        let read = Read { seq: self.event_seq, challenge: self.challenge.clone(), written: false };
        let challenge =
            self.challenge.zip(self.challenge_expires_at).map(|(text, expires_at)| Challenge { text, expires_at });
        let customer = CustomerRow {
            id: self.id,
            programme_id: self.programme_id,
            external_id: self.external_id,
            chain_id: self.chain_id,
            status: self.status,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        };
        let chain = Chain { seq: self.event_seq, head, at: self.event_at.unwrap_or(Timestamp::EPOCH), key };
        let childless = !self.has_accounts && !waited;
        Ok(Held { customer: customer.read()?, chain, challenge, childless, read })
    }
}

/// Writes back what [`lock`] gave and a change left.
///
/// # Errors
///
/// When it is sent, [`Error::NotApplied`] where another transaction has appended to the chain or replaced the challenge since: that
/// takes a transaction that does not lock.
pub async fn update(tx: &mut Tx, held: &mut Held) -> Result<(), Error> {
    let Held { customer, chain, challenge, read, .. } = held;
    if read.written {
        // A statement of PostgreSQL cannot write a row twice.
        tx.send().await?;
    }
    tx.write(
        "UPDATE customers SET status = $2, updated_at = $3, version = $4, event_seq = $5, event_head = $6, event_at = $7, \
         challenge = $8, challenge_expires_at = $9 WHERE id = $1 AND event_seq = $10 AND challenge IS NOT DISTINCT FROM $11",
    )
    .bind(customer.id)
    .bind(customer.status.as_str())
    .bind(customer.updated_at)
    .bind(customer.version)
    .bind(chain.seq)
    .bind(chain.head.as_slice())
    .bind(chain.at)
    .bind(challenge.as_ref().map(|challenge| challenge.text.as_slice()))
    .bind(challenge.as_ref().map(|challenge| challenge.expires_at))
    .bind(read.seq)
    .bind(read.challenge.as_deref())
    .collect(Effect::Required)?;
    held.read =
        Read { seq: chain.seq, challenge: challenge.as_ref().map(|challenge| challenge.text.clone()), written: true };
    Ok(())
}

/// Notes why the locked customer was rejected, as partners read it.
pub async fn set_rejection(tx: &mut Tx, id: Uuid, reason: PublicReason) -> Result<(), Error> {
    // Not collected: one statement of PostgreSQL cannot write a row twice.
    let update = tx.query("UPDATE customers SET rejection = $2 WHERE id = $1");
    update.bind(id).bind(reason.as_str()).execute().await?;
    Ok(())
}

/// Why a customer was rejected, as partners read it; `None` of one that was not.
pub async fn rejection(on: &mut impl Connection, id: Uuid) -> Result<Option<PublicReason>, Error> {
    let row: Option<(Option<String>, String)> = on
        .query(
            "SELECT c.rejection, e.actor FROM customers c JOIN events e ON e.customer_id = c.id \
             WHERE c.id = $1 AND c.status = 'rejected' AND e.entity_type = 'customer' AND e.to_status = 'rejected' \
             ORDER BY e.seq DESC LIMIT 1",
        )
        .bind(id)
        .optional()
        .await?;
    let Some((noted, actor)) = row else { return Ok(None) };
    Ok(Some(noted.and_then(|code| PublicReason::parse(&code)).unwrap_or_else(|| PublicReason::by(&actor))))
}

row! {
    /// What screening a customer takes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ToScreen {
        /// The customer.
        pub id: Uuid,
        /// Its CAIP-10 account id, canonical.
        pub chain_id: String,
        /// Whether its programme is a sandbox.
        pub sandbox: bool,
    }
}

/// What screening these customers takes. There must be at least one.
pub async fn to_screen(on: &mut impl Connection, ids: impl IntoIterator<Item = Uuid>) -> Result<Vec<ToScreen>, Error> {
    // A statement that is not kept is two round trips.
    let ids: Vec<Uuid> = ids.into_iter().collect();
    on.query(
        "SELECT c.id, c.chain_id, p.sandbox FROM customers c JOIN programmes p ON p.id = c.programme_id WHERE c.id IN ",
    )
    .push_list(Lengths::Few.fill(&ids).copied())
    .all()
    .await
}
