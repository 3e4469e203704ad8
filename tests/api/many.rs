//! A customer with thousands of accounts and cards: moved in one transaction, and nobody else waits for it.

use customerd::domain::customer::Move;
use customerd::domain::event::Origin;
use customerd::lifecycle::{Step, moves};
use customerd::store::{Connection as _, Lengths, Rows, customers, events, write_rows};
use serde_json::json;
use uuid::Uuid;

use crate::support::accounts::virtual_card;
use crate::support::{House, Partner, Service, everywhere};

everywhere![thousands_move_in_one_transaction];

/// More than two batches of accounts, and of cards.
const ACCOUNTS: usize = 1001;

/// A customer with so many accounts, a card on each, all active. Made beside the API: their creation leaves no trail, so
/// none is verified.
async fn owner_of_thousands(service: &Service, partner: &Partner) -> Uuid {
    let customer_id = service.active_customer(partner, "u-1").await;
    let (programme_id, clock) = (partner.programme_id, &service.clock);
    let accounts: Vec<(Uuid, Uuid)> = (0..ACCOUNTS).map(|_| (clock.id(), clock.id())).collect();
    let now = clock.now();
    let mut tx = service.store.begin().await.unwrap();
    let text = Rows {
        head: "INSERT INTO accounts (id, programme_id, customer_id, currency, status, created_at, updated_at, version) VALUES ",
        tail: "",
        lengths: Lengths::All,
    };
    write_rows(&mut tx, text, &accounts, |query, (id, _)| {
        query.bind(*id).bind(programme_id).bind(customer_id).bind("EUR").bind("active").bind(now).bind(now).bind(1_i64)
    })
    .await
    .unwrap();
    let text = Rows {
        head: "INSERT INTO cards (id, programme_id, customer_id, account_id, card_type, billing_address, status, created_at, \
               updated_at, version) VALUES ",
        tail: "",
        lengths: Lengths::All,
    };
    let address = r#"{"firstLine":"1","city":"B","country":"DE","postCode":"1"}"#;
    write_rows(&mut tx, text, &accounts, |query, (account_id, id)| {
        let query =
            query.bind(*id).bind(programme_id).bind(customer_id).bind(*account_id).bind("virtual").bind(address);
        query.bind("active").bind(now).bind(now).bind(1_i64)
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    customer_id
}

/// How many accounts and cards have a status and a version.
async fn count(service: &Service, (status, version): (&str, i64)) -> i64 {
    let mut reader = service.store.reader().await.unwrap();
    let moved: (i64,) = reader
        .query(
            "SELECT (SELECT count(*) FROM accounts WHERE status = $1 AND version = $2) \
             + (SELECT count(*) FROM cards WHERE status = $1 AND version = $2)",
        )
        .bind(status)
        .bind(version)
        .one()
        .await
        .unwrap();
    moved.0
}

async fn thousands_move_in_one_transaction(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer_id = owner_of_thousands(&service, &partner).await;
    for (by, moved) in [("deactivate", ("inactive", 2)), ("activate", ("active", 3))] {
        partner.patch(&format!("/v1/customers/{customer_id}/{by}")).await.is(200);
        assert_eq!(count(&service, moved).await, 2 * ACCOUNTS as i64);
    }
    let mut reader = service.store.reader().await.unwrap();
    let events: (i64, i64) = reader
        .query("SELECT count(*), max(seq) FROM events WHERE customer_id = $1")
        .bind(customer_id)
        .one()
        .await
        .unwrap();
    let expected = 4 + 2 * (1 + 2 * ACCOUNTS as i64);
    assert_eq!(events, (expected, expected));
}

/// PostgreSQL alone: SQLite has one writer, who is held as long as the transaction lasts.
mod others {
    everywhere!(@ postgres, Postgres, false, nobody_else_waits);
    use super::nobody_else_waits;
    use crate::support::everywhere;
}

/// Everything is written and nothing committed while others are called: whoever had to wait would wait for ever, and be
/// refused.
async fn nobody_else_waits(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer_id = owner_of_thousands(&service, &partner).await;
    let other = service.active_customer(&partner, "u-2").await;
    let account_id = service.active_account(&partner, other).await;
    let mut tx = service.store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, customer_id).await.unwrap().unwrap();
    let step = Step { by: Move::Deactivate, reason: None, origin: &Origin::internal("test") };
    moves::make(&mut tx, &mut held, step, &service.clock).await.unwrap();

    partner.customer("u-3").await;
    let webhook = json!({"callbackUrl": "https://example.com/hook", "types": ["card.updated"]});
    partner.put("/v1/webhooks", &webhook).await.is(200);
    let card_id = service.active_card(&partner, account_id, &virtual_card()).await;
    for (method, target) in [
        ("PATCH", format!("cards/{card_id}/deactivate")),
        ("PATCH", format!("cards/{card_id}/activate")),
        ("PATCH", format!("customers/{other}/deactivate")),
        ("PATCH", format!("customers/{other}/activate")),
        ("DELETE", format!("accounts/{account_id}")),
    ] {
        partner.call(method, &format!("/v1/{target}")).await.is(200);
    }
    events::place(&service.store).await.unwrap();
    assert_eq!(count(&service, ("active", 1)).await, 2 * ACCOUNTS as i64, "nothing of it shows yet");
    tx.commit().await.unwrap();
    assert_eq!(count(&service, ("inactive", 2)).await, 2 * ACCOUNTS as i64);
}
