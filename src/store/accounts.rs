//! Accounts. Every change holds the customer first: see [`lock`].

use uuid::Uuid;

use super::children::Batch;
use super::customers::{self, Challenge, held_columns};
use super::standing::{self, Precondition};
use super::value::{Joined, row};
use super::{Connection, Effect, Error, Lengths, Owner, Tx};
use crate::domain::Timestamp;
use crate::domain::account::{Account, Sleeper, Status};

macro_rules! columns {
    () => {
        "accounts.id, accounts.programme_id, accounts.customer_id, accounts.chain_id, accounts.currency, accounts.status, \
         accounts.slept_by, accounts.created_at, accounts.updated_at, accounts.version"
    };
}

row! {
    #[derive(Debug)]
    pub(super) struct AccountRow {
        id: Uuid,
        programme_id: Uuid,
        customer_id: Uuid,
        chain_id: Option<String>,
        currency: String,
        status: String,
        slept_by: Option<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
        version: i64,
    }
}

impl AccountRow {
    fn read(self) -> Result<Account, Error> {
        Ok(Account {
            id: self.id,
            programme_id: self.programme_id,
            customer_id: self.customer_id,
            chain_id: self.chain_id,
            currency: self.currency,
            status: status(&self.status)?,
            slept_by: sleeper("accounts.slept_by", self.slept_by.as_deref())?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        })
    }
}

/// The status of a stored name.
pub(super) fn status(name: &str) -> Result<Status, Error> {
    Status::parse(name).ok_or_else(|| Error::unreadable("accounts.status", name))
}

/// Who put a row to sleep.
pub(super) fn sleeper(column: &'static str, name: Option<&str>) -> Result<Option<Sleeper>, Error> {
    name.map(|name| Sleeper::parse(name).ok_or_else(|| Error::unreadable(column, name))).transpose()
}

/// An account held for a change, by holding its customer: the customer's row is the one lock of everything it owns, so
/// that no order of locks can deadlock, and no child can be made or moved while its parents move.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its customer, with the chain that its events go to.
    pub customer: customers::Held,
    /// The account.
    pub account: Account,
    /// Its live challenge.
    pub challenge: Option<Challenge>,
    /// It has no cards.
    pub childless: bool,
    /// The text of the challenge that it was read with, which [`update`] insists on: a new one leaves the chain as it is.
    read: Option<Vec<u8>>,
}

row! {
    struct LiveRow {
        challenge: Option<Vec<u8>>,
        challenge_expires_at: Option<Timestamp>,
        has_cards: bool,
    }
}

/// An account with its customer.
type HeldRow = Joined<AccountRow, LiveRow, customers::HeldRow>;

/// Inserts an account with its first challenge. The caller holds the customer.
pub fn insert(tx: &mut Tx, account: &Account, challenge: &Challenge) -> Result<(), Error> {
    tx.write(
        "INSERT INTO accounts (id, programme_id, customer_id, currency, status, created_at, updated_at, version, challenge, \
         challenge_expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(account.id)
    .bind(account.programme_id)
    .bind(account.customer_id)
    .bind(account.currency.as_str())
    .bind(account.status.as_str())
    .bind(account.created_at)
    .bind(account.updated_at)
    .bind(account.version)
    .bind(challenge.text.as_slice())
    .bind(challenge.expires_at)
    .collect(Effect::Any)
}

/// An account, of any programme.
pub async fn get_any(on: &mut impl Connection, id: Uuid) -> Result<Option<Account>, Error> {
    let query = on.query(concat!("SELECT ", columns!(), " FROM accounts WHERE id = $1")).bind(id);
    let row: Option<AccountRow> = query.optional().await?;
    row.map(AccountRow::read).transpose()
}

/// A programme's account.
pub async fn get_owned<'o>(
    on: &mut impl Connection,
    owner: impl Into<Owner<'o>>,
    id: Uuid,
) -> Result<Option<Account>, Error> {
    let Owner { programme_id, standing } = owner.into();
    let query = on
        .query(concat!("SELECT ", columns!(), " FROM accounts WHERE id = $1 AND programme_id = $2"))
        .bind(id)
        .bind(programme_id);
    let row: Option<AccountRow> = standing::and(query, standing).optional().await?;
    row.map(AccountRow::read).transpose()
}

/// An account held for a change, of any programme.
pub async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Held>, Error> {
    if tx.lock_waits() {
        // An account never changes hands, so that its customer can be looked up before anything is locked.
        let query = tx.query("SELECT id FROM customers WHERE id = (SELECT customer_id FROM accounts WHERE id = $1)");
        query.bind(id).for_update().optional::<(Uuid,)>().await?;
    }
    let row: Option<HeldRow> = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            ", accounts.challenge, accounts.challenge_expires_at, \
             EXISTS (SELECT 1 FROM cards WHERE cards.account_id = accounts.id) AS has_cards, ",
            held_columns!(),
            " FROM accounts JOIN customers ON customers.id = accounts.customer_id WHERE accounts.id = $1"
        ))
        .bind(id)
        .optional()
        .await?;
    let Some(Joined(account, live, customer)) = row else { return Ok(None) };
    let (customer, account, read) = (customer.read(tx, false)?, account.read()?, live.challenge.clone());
    let challenge =
        live.challenge.zip(live.challenge_expires_at).map(|(text, expires_at)| Challenge { text, expires_at });
    Ok(Some(Held { customer, account, challenge, childless: !live.has_cards, read }))
}

/// Writes back what [`lock`] gave and a change left, the customer's chain included.
pub async fn update(tx: &mut Tx, held: &mut Held) -> Result<(), Error> {
    let Held { customer, account, challenge, read, .. } = held;
    // Before its own: that sends what this transaction has written of either before.
    customers::update(tx, customer).await?;
    tx.write(
        "UPDATE accounts SET chain_id = $2, status = $3, slept_by = $4, updated_at = $5, version = $6, challenge = $7, \
         challenge_expires_at = $8 WHERE id = $1 AND challenge IS NOT DISTINCT FROM $9",
    )
    .bind(account.id)
    .bind(account.chain_id.as_deref())
    .bind(account.status.as_str())
    .bind(account.slept_by.map(Sleeper::as_str))
    .bind(account.updated_at)
    .bind(account.version)
    .bind(challenge.as_ref().map(|challenge| challenge.text.as_slice()))
    .bind(challenge.as_ref().map(|challenge| challenge.expires_at))
    .bind(read.as_deref())
    .collect(Effect::Required)?;
    *read = challenge.as_ref().map(|challenge| challenge.text.clone());
    Ok(())
}

/// Whose accounts or cards to list.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// A whole programme's.
    Programme(Uuid),
    /// Those of one customer (accounts) or account (cards).
    Parent(Uuid),
}

/// Which accounts to list: newest first.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whose.
    pub of: Of,
    /// In this status.
    pub status: Option<Status>,
    /// Deployed here.
    pub chain_id: Option<String>,
    /// Created after this, exclusive.
    pub created_after: Option<Timestamp>,
    /// Created before this, exclusive.
    pub created_before: Option<Timestamp>,
    /// After this one in the list: where the last page ended.
    pub after: Option<(Timestamp, Uuid)>,
    /// How many at the most.
    pub limit: i64,
}

/// A page of accounts. Its cost does not depend on how deep it is: each condition is a range of an index.
/// Empty where the caller's precondition does not hold.
pub async fn page(
    on: &mut impl Connection,
    filter: &Filter,
    standing: Option<&Precondition>,
) -> Result<Vec<Account>, Error> {
    // One owner in the condition, never both: the planner then has one index to choose.
    let mut query = match filter.of {
        Of::Programme(id) => {
            on.query(concat!("SELECT ", columns!(), " FROM accounts WHERE programme_id = $1")).bind(id)
        }
        Of::Parent(id) => on.query(concat!("SELECT ", columns!(), " FROM accounts WHERE customer_id = $1")).bind(id),
    };
    if let Some(status) = filter.status {
        query = query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(chain_id) = &filter.chain_id {
        query = query.push(" AND chain_id = ").push_bind(chain_id.as_str());
    }
    if let Some(after) = filter.created_after {
        query = query.push(" AND created_at > ").push_bind(after);
    }
    if let Some(before) = filter.created_before {
        query = query.push(" AND created_at < ").push_bind(before);
    }
    if let Some((at, id)) = filter.after {
        query = query.push(" AND (created_at, id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    let rows: Vec<AccountRow> = standing::and(query, standing)
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(filter.limit)
        .all()
        .await?;
    rows.into_iter().map(AccountRow::read).collect()
}

/// Accounts by id, in no order; unknown ones are left out. At least one id must be given.
pub async fn get_many(on: &mut impl Connection, ids: impl IntoIterator<Item = Uuid>) -> Result<Vec<Account>, Error> {
    let query = on.query(concat!("SELECT ", columns!(), " FROM accounts WHERE id IN ")).push_list(ids).once();
    let rows: Vec<AccountRow> = query.all().await?;
    rows.into_iter().map(AccountRow::read).collect()
}

/// The accounts of a customer that follow it, a batch of them.
pub async fn following(tx: &mut Tx, customer_id: Uuid, batch: &Batch) -> Result<Vec<Account>, Error> {
    let query = tx.query(concat!("SELECT ", columns!(), " FROM accounts WHERE customer_id = $1")).bind(customer_id);
    let rows: Vec<AccountRow> = batch.narrow(query, " AND status NOT IN ('closed', 'failed')").all().await?;
    rows.into_iter().map(AccountRow::read).collect()
}

/// Writes accounts that were all moved the same way.
pub fn update_all(tx: &mut Tx, accounts: &[Account]) -> Result<(), Error> {
    let Some(first) = accounts.first() else { return Ok(()) };
    // A closed account's challenge is of no more use; one that is deactivated or reactivated has none.
    tx.write(
        "UPDATE accounts SET status = $1, slept_by = $2, updated_at = $3, challenge = NULL, challenge_expires_at = NULL, \
         version = version + 1 WHERE id IN ",
    )
    .bind(first.status.as_str())
    .bind(first.slept_by.map(Sleeper::as_str))
    .bind(first.updated_at)
    .push_list(Lengths::Few.fill(accounts).map(|account| account.id))
    .collect(Effect::Any)
}
