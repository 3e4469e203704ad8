//! The audit trail, told by what partners call.

use customerd::domain::Timestamp;
use customerd::store::Connection as _;
use futures::future;
use serde_json::json;
use std::time::Duration;

use crate::support::{House, everywhere};

everywhere![times_never_go_back_along_a_chain];

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
