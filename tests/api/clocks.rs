//! A clock that is set, ahead or back, and nodes whose clocks differ: nothing waits for it, nothing runs backwards.

use std::time::Duration;

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use serde_json::{Value, json};

use crate::kyc::{path, proven, until};
use crate::support::accounts::id;
use crate::support::{Evm, House, Partner, Receiver, Service, account, everywhere};
use crate::webhooks::{attempts, deliveries, subscribe};

everywhere![
    a_clock_that_is_ahead_for_a_moment_keeps_nothing_waiting,
    a_clock_that_is_behind_for_a_moment_keeps_nothing_waiting,
    a_key_outlives_a_clock_that_is_wrong_for_a_moment,
    two_nodes_five_seconds_apart_wait_for_nothing,
];

const FLAGS: &[&str] = &["--allow-private-callbacks"];
/// The private key whose account's screening fails twice.
const FAILS_TWICE: [u8; 2] = [0xbe, 0xef];

/// Time goes by until it is so: not as much as the clock was wrong by.
async fn soon(service: &Service, wallet: &Partner, path: &str, wanted: impl Fn(&Value) -> bool) {
    for _ in 0..600 {
        for _ in 0..5 {
            if wanted(&wallet.get(path).await.is(200).json()) {
                return;
            }
        }
        service.wait(Duration::from_secs(1));
    }
    panic!("{path} stays {:?}", wallet.get(path).await);
}

fn all_delivered(page: &Value) -> bool {
    page["deliveries"].as_array().unwrap().iter().all(|delivery| delivery["status"] == "delivered")
}

fn fails_twice() -> Evm {
    let mut key = [0; 32];
    key[30..].copy_from_slice(&FAILS_TWICE);
    Evm::from_bytes(key)
}

/// The clock is set to another time, and after eight seconds back again. Whatever was waiting before, and whatever began to wait
/// meanwhile, waits no longer than it was to.
async fn stepped(service: &Service, name: &str, set: impl Fn(Timestamp, Duration) -> Timestamp, by: Duration) {
    let mut wallet = service.sandbox_partner(name).await;
    let mut receiver = Receiver::start().await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    receiver.always(503);
    let before = wallet.customer(&format!("{name}-before")).await;
    receiver.next().await;
    deliveries(&wallet, &webhook, |all| all.len() == 1 && attempts(&all[0]) > 0).await;

    let right = service.clock.now();
    assert!(service.clock.set(set(right, by)));
    wallet.sign_in().await;
    let screened = proven(&wallet, &fails_twice()).await;
    let failed = |all: &[Value]| all.iter().all(|delivery| attempts(delivery) > 0);
    deliveries(&wallet, &webhook, |all| all.len() == 3 && failed(all)).await;
    for _ in 0..8 {
        service.wait(Duration::from_secs(1));
        wallet.get(&webhook).await.is(200);
    }
    let all = deliveries(&wallet, &webhook, failed).await;
    assert!(all.iter().all(|delivery| delivery["status"] == "pending"), "{all:?}");
    let reject = |customer: &Value| format!("/v1/simulator/customers/{}/reject", customer["id"].as_str().unwrap());

    assert!(service.clock.set(right + Duration::from_secs(8)));
    wallet.sign_in().await;
    receiver.always(204);
    soon(service, &wallet, &path(&screened), |customer| customer["status"] == "verifying").await;
    // A customer that was changed by the wrong clock changes again.
    wallet.patch(&reject(&screened)).await.is(202);
    soon(service, &wallet, &format!("{webhook}/deliveries"), all_delivered).await;
    for customer in [&before, &screened] {
        times_go_on(&wallet, customer).await;
    }
}

async fn verified(house: House) {
    let verified = house.customerd().arg("verify-audit").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

async fn a_clock_that_is_ahead_for_a_moment_keeps_nothing_waiting(house: House) {
    let service = house.start_with(FLAGS).await;
    for hours in [1, 24] {
        stepped(&service, &format!("ahead-{hours}"), |now, by| now + by, Duration::from_hours(hours)).await;
    }
    verified(service.stop().await).await;
}

async fn a_clock_that_is_behind_for_a_moment_keeps_nothing_waiting(house: House) {
    let service = house.start_with(FLAGS).await;
    for hours in [1, 24] {
        stepped(&service, &format!("behind-{hours}"), |now, by| now - by, Duration::from_hours(hours)).await;
    }
    verified(service.stop().await).await;
}

async fn a_key_outlives_a_clock_that_is_wrong_for_a_moment(house: House) {
    let service = house.start_with(FLAGS).await;
    let mut wallet = service.partner("Wallet").await;
    let customer = id(&wallet.customer("u-0").await);
    let right = |service: &Service, at: Timestamp| assert!(service.clock.set(at));
    for (round, step) in [3600_i64, 86_400, -3600, -86_400].into_iter().enumerate() {
        let now = service.clock.now();
        let keys = [0, 1].map(|number| format!("9b3c2d1e-0000-4000-8000-00000000{round:02}{number:02}"));
        let bodies = [0, 1].map(|number| {
            let name = format!("u-{round}-{number}");
            json!({"chainId": account(&name), "externalId": name})
        });
        wallet.sign_in().await;
        let token = wallet.token.clone();
        let before = wallet.post("/v1/customers", &bodies[0]).key(&keys[0]).await.is(201);
        right(&service, Timestamp(now.micros() + step * 1_000_000));
        wallet.sign_in().await;
        let meanwhile = wallet.post("/v1/customers", &bodies[1]).key(&keys[1]).await.is(201);
        // What is swept once a minute is swept meanwhile.
        for _ in 0..62 {
            service.wait(Duration::from_secs(1));
            wallet.get(&format!("/v1/customers/{customer}")).await.is(200);
        }
        let replayed = |answer: crate::support::Answer, first: &crate::support::Answer| {
            assert_eq!((&answer.body, answer.header("idempotent-replayed")), (&first.body, Some("true")));
        };
        replayed(wallet.post("/v1/customers", &bodies[0]).key(&keys[0]).await.is(201), &before);
        right(&service, now + Duration::from_secs(62));
        // The token of before is as good as it was.
        wallet.token = token;
        replayed(wallet.post("/v1/customers", &bodies[0]).key(&keys[0]).await.is(201), &before);
        replayed(wallet.post("/v1/customers", &bodies[1]).key(&keys[1]).await.is(201), &meanwhile);
    }
    service.stop().await;
}

/// What is written by the clock that is ahead is sent by the node whose clock is behind, and the other way round.
async fn two_nodes_five_seconds_apart_wait_for_nothing(house: House) {
    let mut service = house.start_with(FLAGS).await;
    let mut wallet = service.sandbox_partner("Wallet").await;
    let receiver = Receiver::start().await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    // The first node leases the subscription.
    wallet.customer("u-0").await;
    deliveries(&wallet, &webhook, |all| all.len() == 1 && all[0]["status"] == "delivered").await;
    let first = wallet.http;
    let five = Duration::from_secs(5);
    let now = service.clock.now();
    let clocks = [now + five, now - five].map(|at| Clock::manual(at, at.0.unsigned_abs()));
    let mut others = Vec::new();
    for clock in &clocks {
        others.push(service.beside_at(clock, &["--no-worker"]).await);
    }
    // As much time goes by as a node needs to notice what others have committed, and less than their clocks differ by.
    let tick = |service: &Service| {
        service.wait(Duration::from_secs(1));
        clocks.iter().for_each(|clock| assert!(clock.advance(Duration::from_secs(1))));
    };
    for (number, http) in [others[0], others[1], first, others[0]].into_iter().enumerate() {
        wallet.http = http;
        wallet.customer(&format!("n-{number}")).await;
    }
    tick(&service);
    tick(&service);
    deliveries(&wallet, &webhook, |all| all.len() == 5 && all.iter().all(|it| it["status"] == "delivered")).await;
    // A task of the node that is ahead.
    wallet.http = others[0];
    let customer = proven(&wallet, &Evm::new(1)).await;
    tick(&service);
    until(&wallet, &customer, "verifying").await;
    // Each node changes it in turn.
    let simulated = format!("/v1/simulator{}/verify", path(&customer).trim_start_matches("/v1"));
    wallet.patch(&simulated).await.is(202);
    let mut before = until(&wallet, &customer, "active").await;
    for (http, call) in
        [(others[1], "deactivate"), (others[0], "activate"), (first, "deactivate"), (others[1], "activate")]
    {
        wallet.http = http;
        let after = wallet.patch(&format!("{}/{call}", path(&customer))).await.is(200).json();
        assert!(after["updatedAt"].as_str() >= before["updatedAt"].as_str(), "{after}");
        before = after;
    }
    times_go_on(&wallet, &customer).await;
    tick(&service);
    deliveries(&wallet, &webhook, |all| all.len() == 13 && all.iter().all(|it| it["status"] == "delivered")).await;
    assert!(service.clock.now() < now + five);
    verified(service.stop().await).await;
}

/// Along its audit trail times never go back.
async fn times_go_on(wallet: &Partner, customer: &Value) {
    let shown = wallet.get(&path(customer)).await.is(200).json();
    assert!(shown["updatedAt"].as_str() >= shown["createdAt"].as_str(), "{shown}");
    let events = wallet.get(&format!("{}/events", path(customer))).await.is(200).json();
    let times = events["events"].as_array().unwrap().iter().map(|event| event["createdAt"].as_str());
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{events}");
}
