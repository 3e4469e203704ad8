//! The audit trail, told by what partners call.

use customerd::domain::Timestamp;
use customerd::store::Connection as _;
use customerd::store::audit::{checkpoints as trail, keys};
use futures::future;
use serde_json::json;
use std::time::Duration;

use crate::support::{House, Service, everywhere};

everywhere![
    times_never_go_back_along_a_chain,
    the_command_finds_what_was_deleted,
    checkpoints_are_made_while_events_come,
    two_nodes_make_one_chain_of_checkpoints,
];

/// Callers whose requests begin in one order and get at the customer's row in another.
const CALLERS: usize = 12;
const ACCOUNTS_EACH: usize = 4;

async fn times_never_go_back_along_a_chain(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    let path = format!("/v1/customers/{customer_id}/accounts");
    let order = json!({"type": "card_account", "currencies": ["EUR"]});
    let callers = (0..CALLERS).map(|_| async {
        for _ in 0..ACCOUNTS_EACH {
            partner.post(&path, &order).await.is(201);
        }
    });
    let time = async {
        loop {
            service.clock.advance(Duration::from_micros(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = future::join_all(callers) => {}
        () = time => {}
    }
    let mut reader = service.store.reader().await.unwrap();
    let query = reader.query("SELECT created_at FROM events WHERE customer_id = $1 ORDER BY seq").bind(customer_id);
    let times: Vec<(Timestamp,)> = query.all().await.unwrap();
    assert_eq!(times.len(), 4 + CALLERS * ACCOUNTS_EACH);
    assert!(times.is_sorted(), "{times:?}");
    // The account says the same time as its event.
    let query = reader.query(
        "SELECT count(*) FROM accounts a JOIN events e ON e.entity_id = a.id AND e.version = a.version \
         WHERE a.customer_id = $1 AND a.updated_at = e.created_at AND a.created_at = e.created_at",
    );
    let same: (i64,) = query.bind(customer_id).one().await.unwrap();
    assert_eq!(same.0, (CALLERS * ACCOUNTS_EACH) as i64);
}

/// `customerd verify-audit` on the house's database: its exit code, and what it printed.
fn verify(house: &House, flags: &[&str]) -> (Option<i32>, String) {
    let output = house.customerd().arg("verify-audit").args(flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

async fn the_command_finds_what_was_deleted(house: House) {
    let house = house.start_with(&["--no-worker"]).await.stop().await;
    let nothing = (Some(0), "nothing to verify: there are no customers\n".to_owned());
    assert_eq!(verify(&house, &[]), nothing);
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer = partner.customer("u-1").await;
    let id: uuid::Uuid = customer["id"].as_str().unwrap().parse().unwrap();
    let (code, printed) = verify(service.house(), &[]);
    let expected =
        "customers: 1, events: 1, checkpoints: 0; nothing was altered, but no checkpoint covers the events since ";
    assert!(code == Some(0) && printed.starts_with(expected), "{printed}");
    let key = keys::signing_key(&service.store, &service.clock).await.unwrap();
    let made = trail::make(&service.store, &key, &service.clock).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made[0].json()).unwrap();
    let copy = ["--checkpoint", file.path().to_str().unwrap()];
    let store = service.store.clone();
    let whole = (Some(0), "customers: 1, events: 1, checkpoints: 1; the audit trail is whole\n".to_owned());
    assert_eq!((verify(service.house(), &[]), verify(service.house(), &copy)), (whole.clone(), whole));
    let mut tx = store.begin().await.unwrap();
    for sql in ["DELETE FROM events WHERE customer_id = $1", "DELETE FROM customers WHERE id = $1"] {
        assert_eq!(tx.query(sql).bind(id).execute().await.unwrap(), 1);
    }
    tx.commit().await.unwrap();
    let (code, printed) = verify(service.house(), &[]);
    assert_eq!(code, Some(1));
    assert!(printed.contains("1 missing, at positions 1: deleted since then"), "{printed}");
    // With the checkpoints gone as well, only the copy shows it.
    let mut tx = store.begin().await.unwrap();
    tx.query("DELETE FROM audit_checkpoints").execute().await.unwrap();
    tx.commit().await.unwrap();
    let (code, printed) = verify(service.house(), &[]);
    assert_eq!(code, Some(1), "the key that signed them is still there");
    assert!(printed.starts_with("checkpoints were signed here, but there are neither"), "{printed}");
    let mut tx = store.begin().await.unwrap();
    tx.query("DELETE FROM audit_keys").execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(verify(service.house(), &[]), nothing);
    let (code, printed) = verify(service.house(), &copy);
    assert_eq!(code, Some(1));
    assert!(printed.contains("it was copied and is not in the database"), "{printed}");
    service.stop().await;
}

async fn checkpoints(service: &Service) -> i64 {
    let mut reader = service.store.reader().await.unwrap();
    let (count,): (i64,) = reader.query("SELECT count(*) FROM audit_checkpoints").one().await.unwrap();
    count
}

/// Half a minute goes by, as often as a node asks; whether a checkpoint was made in it. The nodes get time of this machine to do it.
async fn half_a_minute(service: &Service) -> bool {
    let before = checkpoints(service).await;
    service.wait(Duration::from_secs(30));
    for _ in 0..3000 {
        if checkpoints(service).await > before {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Within a minute of the service's clock, and only where something was committed.
async fn checkpoints_are_made_while_events_come(house: House) {
    let service = house.start().await;
    let partner = service.partner("Wallet").await;
    for _ in 0..3 {
        assert!(!half_a_minute(&service).await, "nothing was committed");
    }
    for number in 1..=3 {
        partner.customer(&format!("u-{number}")).await;
        assert!(half_a_minute(&service).await || half_a_minute(&service).await, "none within a minute");
        assert_eq!(checkpoints(&service).await, number);
    }
    for _ in 0..3 {
        assert!(!half_a_minute(&service).await, "nothing was committed since");
    }
    let house = service.stop().await;
    let whole = (Some(0), "customers: 3, events: 3, checkpoints: 3; the audit trail is whole\n".to_owned());
    assert_eq!(verify(&house, &[]), whole);
}

async fn two_nodes_make_one_chain_of_checkpoints(house: House) {
    let mut service = house.start().await;
    service.beside(&[]).await;
    let partner = service.partner("Wallet").await;
    for number in 1..=4 {
        partner.customer(&format!("u-{number}")).await;
        assert!(half_a_minute(&service).await || half_a_minute(&service).await, "none within a minute");
    }
    let made = checkpoints(&service).await;
    assert_eq!(made, 4, "many nodes do not make many");
    let house = service.stop().await;
    let whole = format!("customers: 4, events: 4, checkpoints: {made}; the audit trail is whole\n");
    assert_eq!(verify(&house, &[]), (Some(0), whole));
}
