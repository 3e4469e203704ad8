//! Customers with accounts and cards, written as rows: what is measured begins after their making.

use customerd::clock::Clock;
use customerd::domain::customer::Customer;
use customerd::domain::customer::Status;
use customerd::domain::event::Chain;
use customerd::store::customers::{self, Held};
use customerd::store::{Lengths, Rows, Store, Tx, write_rows};
use uuid::Uuid;

/// An active customer and what it owns, all active.
#[derive(Clone)]
pub struct Family {
    pub customer: Uuid,
    pub accounts: Vec<Uuid>,
    /// Two of each account: a virtual and a physical one.
    pub cards: Vec<Card>,
}

#[derive(Clone)]
pub struct Card {
    pub id: Uuid,
    pub account: Uuid,
    pub card_type: &'static str,
    pub status: &'static str,
}

const ADDRESS: &str = r#"{"firstLine":"Unter den Linden 1","city":"Berlin","country":"DE","postCode":"10117"}"#;

impl Family {
    /// With so many accounts, not written yet.
    pub fn new(clock: &Clock, accounts: usize) -> Self {
        let accounts: Vec<Uuid> = (0..accounts).map(|_| clock.id()).collect();
        let card = |account: &Uuid| {
            let account = *account;
            ["virtual", "physical"].map(|card_type| Card { id: clock.id(), account, card_type, status: "active" })
        };
        let cards = accounts.iter().flat_map(card).collect();
        Self { customer: clock.id(), accounts, cards }
    }
}

/// Writes families into a programme.
pub async fn write(store: &Store, programme_id: Uuid, families: &[Family]) {
    for some in families.chunks(250) {
        let mut tx = store.begin().await.unwrap();
        for family in some {
            write_one(&mut tx, programme_id, family).await;
        }
        tx.commit().await.unwrap();
    }
}

async fn write_one(tx: &mut Tx, programme_id: Uuid, family: &Family) {
    let now = Clock::system().now();
    let id = family.customer;
    let customer = Customer {
        id,
        programme_id,
        external_id: id.to_string(),
        chain_id: format!("eip155:1:0x{:0>40}", id.simple()),
        status: Status::Active,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    customers::insert(tx, &Held::new(customer, Chain::default(), None)).await.unwrap();
    let head = "INSERT INTO accounts (id, programme_id, customer_id, currency, status, created_at, updated_at, version) VALUES ";
    write_rows(tx, Rows { head, tail: "", lengths: Lengths::All }, &family.accounts, |query, account| {
        let query = query.bind(*account).bind(programme_id).bind(id).bind("EUR").bind("active");
        query.bind(now).bind(now).bind(1_i64)
    })
    .await
    .unwrap();
    let head = "INSERT INTO cards (id, programme_id, customer_id, account_id, card_type, name, network, last_four, \
                expiration_date, billing_address, status, created_at, updated_at, version) VALUES ";
    write_rows(tx, Rows { head, tail: "", lengths: Lengths::All }, &family.cards, |query, card| {
        let query = query.bind(card.id).bind(programme_id).bind(id).bind(card.account).bind(card.card_type);
        let query = query.bind("ANNA MUSTER").bind("visa").bind("0042").bind("09/2030").bind(ADDRESS);
        query.bind(card.status).bind(now).bind(now).bind(1_i64)
    })
    .await
    .unwrap();
}
