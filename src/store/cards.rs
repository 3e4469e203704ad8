//! Cards. Every change holds the customer first: see [`lock`].

use uuid::Uuid;

use super::accounts::{self, Of, sleeper};
use super::children::{Batch, Parent};
use super::customers::held_columns;
use super::standing::{self, Precondition};
use super::value::{Joined, row};
use super::{Connection, Effect, Error, Lengths, Owner, Tx, customers};
use crate::domain::Timestamp;
use crate::domain::account::{self, Sleeper};
use crate::domain::address::Address;
use crate::domain::card::{Card, Issued, Status, Type};

macro_rules! columns {
    () => {
        "cards.id, cards.programme_id, cards.customer_id, cards.account_id, cards.card_type, cards.name, cards.network, \
         cards.last_four, cards.expiration_date, cards.billing_address, cards.shipping_address, cards.status, cards.slept_by, \
         cards.created_at, cards.updated_at, cards.version"
    };
}

row! {
    #[derive(Debug)]
    struct CardRow {
        id: Uuid,
        programme_id: Uuid,
        customer_id: Uuid,
        account_id: Uuid,
        card_type: String,
        name: Option<String>,
        network: Option<String>,
        last_four: Option<String>,
        expiration_date: Option<String>,
        billing_address: String,
        shipping_address: Option<String>,
        status: String,
        slept_by: Option<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
        version: i64,
    }
}

impl CardRow {
    fn read(self) -> Result<Card, Error> {
        let issued = match (self.name, self.network, self.last_four, self.expiration_date) {
            (Some(name), Some(network), Some(last_four), Some(expiration_date)) => {
                Some(Issued { name, network, last_four, expiration_date })
            }
            _ => None,
        };
        let address = |column, text: &str| {
            serde_json::from_str(text).map_err(|_| Error::unreadable(column, &format!("{} bytes", text.len())))
        };
        let card_type = Type::parse(&self.card_type);
        Ok(Card {
            id: self.id,
            programme_id: self.programme_id,
            customer_id: self.customer_id,
            account_id: self.account_id,
            card_type: card_type.ok_or_else(|| Error::unreadable("cards.card_type", &self.card_type))?,
            issued,
            billing_address: address("cards.billing_address", &self.billing_address)?,
            shipping_address: self.shipping_address.map(|text| address("cards.shipping_address", &text)).transpose()?,
            status: Status::parse(&self.status).ok_or_else(|| Error::unreadable("cards.status", &self.status))?,
            slept_by: sleeper("cards.slept_by", self.slept_by.as_deref())?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        })
    }
}

/// A card held for a change, by holding its customer.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its customer, with the chain that its events go to.
    pub customer: customers::Held,
    /// Its account, which nobody else changes either.
    pub account: Above,
    /// The card.
    pub card: Card,
}

/// What a card's moves depend on of its account.
#[derive(Debug, Clone, Copy)]
pub struct Above {
    /// Its status.
    pub status: account::Status,
    /// Who deactivated it.
    pub slept_by: Option<Sleeper>,
}

row! {
    struct AboveRow by "account_" {
        status: String,
        slept_by: Option<String>,
    }
}

/// A card with its account and customer.
type HeldRow = Joined<CardRow, AboveRow, customers::HeldRow>;

fn json(address: &Address) -> String {
    // Strings always serialise.
    serde_json::to_string(address).unwrap_or_default()
}

/// Inserts a card that was ordered. The caller holds the customer.
///
/// # Errors
///
/// When it is sent, [`Error::Unique`] where the account has a live card of its type: see [`live`].
pub fn insert(tx: &mut Tx, card: &Card) -> Result<(), Error> {
    tx.write(
        "INSERT INTO cards (id, programme_id, customer_id, account_id, card_type, billing_address, shipping_address, \
             status, created_at, updated_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(card.id)
    .bind(card.programme_id)
    .bind(card.customer_id)
    .bind(card.account_id)
    .bind(card.card_type.as_str())
    .bind(json(&card.billing_address))
    .bind(card.shipping_address.as_ref().map(json))
    .bind(card.status.as_str())
    .bind(card.created_at)
    .bind(card.updated_at)
    .bind(card.version)
    .collect(Effect::Any)
}

/// The account's live card of a type.
pub async fn live(on: &mut impl Connection, account_id: Uuid, card_type: Type) -> Result<Option<Uuid>, Error> {
    let row: Option<(Uuid,)> = on
        .query(
            "SELECT id FROM cards WHERE account_id = $1 AND card_type = $2 \
             AND status NOT IN ('blocked', 'issue_failed', 'terminated')",
        )
        .bind(account_id)
        .bind(card_type.as_str())
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// A programme's card.
pub async fn get_owned<'o>(
    on: &mut impl Connection,
    owner: impl Into<Owner<'o>>,
    id: Uuid,
) -> Result<Option<Card>, Error> {
    let Owner { programme_id, standing } = owner.into();
    let query = on
        .query(concat!("SELECT ", columns!(), " FROM cards WHERE id = $1 AND programme_id = $2"))
        .bind(id)
        .bind(programme_id);
    let row: Option<CardRow> = standing::and(query, standing).optional().await?;
    row.map(CardRow::read).transpose()
}

/// A card, of any programme.
pub async fn get_any(on: &mut impl Connection, id: Uuid) -> Result<Option<Card>, Error> {
    let query = on.query(concat!("SELECT ", columns!(), " FROM cards WHERE id = $1")).bind(id);
    let row: Option<CardRow> = query.optional().await?;
    row.map(CardRow::read).transpose()
}

/// A card held for a change, of any programme.
pub async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Held>, Error> {
    if tx.lock_waits() {
        let query = tx.query("SELECT id FROM customers WHERE id = (SELECT customer_id FROM cards WHERE id = $1)");
        query.bind(id).for_update().optional::<(Uuid,)>().await?;
    }
    let row: Option<HeldRow> = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            ", accounts.status AS account_status, accounts.slept_by AS account_slept_by, ",
            held_columns!(),
            " FROM cards JOIN accounts ON accounts.id = cards.account_id JOIN customers ON customers.id = cards.customer_id \
             WHERE cards.id = $1"
        ))
        .bind(id)
        .optional()
        .await?;
    let Some(Joined(card, account, customer)) = row else { return Ok(None) };
    let above = Above {
        status: accounts::status(&account.status)?,
        slept_by: sleeper("accounts.slept_by", account.slept_by.as_deref())?,
    };
    Ok(Some(Held { customer: customer.read(tx, false)?, account: above, card: card.read()? }))
}

/// Writes back what [`lock`] gave and a change left, the customer's chain included.
pub async fn update(tx: &mut Tx, held: &mut Held) -> Result<(), Error> {
    // Before its own: that sends what this transaction has written of either before.
    customers::update(tx, &mut held.customer).await?;
    let card = &held.card;
    let issued = card.issued.as_ref();
    tx.write(
        "UPDATE cards SET name = $2, network = $3, last_four = $4, expiration_date = $5, status = $6, slept_by = $7, \
         updated_at = $8, version = $9 WHERE id = $1",
    )
    .bind(card.id)
    .bind(issued.map(|issued| issued.name.as_str()))
    .bind(issued.map(|issued| issued.network.as_str()))
    .bind(issued.map(|issued| issued.last_four.as_str()))
    .bind(issued.map(|issued| issued.expiration_date.as_str()))
    .bind(card.status.as_str())
    .bind(card.slept_by.map(Sleeper::as_str))
    .bind(card.updated_at)
    .bind(card.version)
    .collect(Effect::Any)
}

/// Which cards to list: newest first.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whose.
    pub of: Of,
    /// In this status.
    pub status: Option<Status>,
    /// Created after this, exclusive.
    pub created_after: Option<Timestamp>,
    /// Created before this, exclusive.
    pub created_before: Option<Timestamp>,
    /// After this one in the list: where the last page ended.
    pub after: Option<(Timestamp, Uuid)>,
    /// How many at the most.
    pub limit: i64,
}

/// A page of cards. Its cost depends neither on how deep it is nor on how many there are: each condition is a range of an
/// index.
/// Empty where the caller's precondition does not hold.
pub async fn page(
    on: &mut impl Connection,
    filter: &Filter,
    standing: Option<&Precondition>,
) -> Result<Vec<Card>, Error> {
    // One owner in the condition, never both: the planner then has one index to choose.
    let mut query = match filter.of {
        Of::Programme(id) => on.query(concat!("SELECT ", columns!(), " FROM cards WHERE programme_id = $1")).bind(id),
        Of::Parent(id) => on.query(concat!("SELECT ", columns!(), " FROM cards WHERE account_id = $1")).bind(id),
    };
    if let Some(status) = filter.status {
        query = query.push(" AND status = ").push_bind(status.as_str());
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
    let rows: Vec<CardRow> = standing::and(query, standing)
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(filter.limit)
        .all()
        .await?;
    rows.into_iter().map(CardRow::read).collect()
}

/// Cards by id, in no order; unknown ones are left out. At least one id must be given.
pub async fn get_many(on: &mut impl Connection, ids: impl IntoIterator<Item = Uuid>) -> Result<Vec<Card>, Error> {
    let query = on.query(concat!("SELECT ", columns!(), " FROM cards WHERE id IN ")).push_list(ids).once();
    let rows: Vec<CardRow> = query.all().await?;
    rows.into_iter().map(CardRow::read).collect()
}

/// The cards under a customer or account that follow it, a batch of them.
pub async fn following(tx: &mut Tx, batch: &Batch) -> Result<Vec<Card>, Error> {
    // Word for word the condition of the partial index.
    let query = match batch.parent {
        Parent::Customer(id) => tx
            .query(concat!(
                "SELECT ",
                columns!(),
                " FROM cards WHERE customer_id = $1 AND status NOT IN ('blocked', 'issue_failed', 'terminated')"
            ))
            .bind(id),
        Parent::Account(id) => tx
            .query(concat!(
                "SELECT ",
                columns!(),
                " FROM cards WHERE account_id = $1 AND status NOT IN ('blocked', 'issue_failed', 'terminated')"
            ))
            .bind(id),
    };
    let rows: Vec<CardRow> = batch.narrow(query, "").all().await?;
    rows.into_iter().map(CardRow::read).collect()
}

/// Writes cards that were all moved the same way.
pub fn update_all(tx: &mut Tx, cards: &[Card]) -> Result<(), Error> {
    let Some(first) = cards.first() else { return Ok(()) };
    tx.write("UPDATE cards SET status = $1, slept_by = $2, updated_at = $3, version = version + 1 WHERE id IN ")
        .bind(first.status.as_str())
        .bind(first.slept_by.map(Sleeper::as_str))
        .bind(first.updated_at)
        .push_list(Lengths::Few.fill(cards).map(|card| card.id))
        .collect(Effect::Any)
}
