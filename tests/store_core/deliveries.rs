//! Deliveries: who has them in hand, looked for from a time on, settled by one only.

use std::collections::BTreeSet;

use customerd::app::create_programme;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::delivery::{Attempt, Delivery, DeliveryStatus, Pace};
use customerd::domain::event::{Chain, Origin};
use customerd::domain::reach::Reach;
use customerd::domain::webhook::{DisabledReason, Settings, Subscription, WebhookType};
use customerd::store::deliveries::{self, Claim, Claimed, Settled, Wanted, mark};
use customerd::store::{Store, events, webhooks};
use uuid::Uuid;

use crate::support::stores::{TestStore, on_both};

on_both![
    a_node_says_what_it_has_in_hand,
    what_was_taken_over_is_settled_by_the_new_holder_only,
    what_fell_due_before_the_horizon_is_passed_over,
    an_event_says_the_same_to_all,
    what_failed_waits_since_its_first_attempt,
];

const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_764_000_000_000_000 + seconds * 1_000_000)
}

/// A programme with two subscriptions.
async fn scene(store: &Store) -> Uuid {
    let clock = Clock::manual(at(0), 0);
    let addresses = (String::new(), String::new());
    let programme = create_programme(store, &clock, ("Wallet", true), addresses).await.unwrap().programme_id;
    let mut tx = store.begin().await.unwrap();
    for id in [FIRST, SECOND] {
        let subscription = Subscription {
            id,
            programme_id: programme,
            settings: Settings {
                callback_url: CallbackUrl::parse("https://partner.example", Reach::Global).unwrap(),
                types: BTreeSet::from([WebhookType::CustomerUpdated]),
                fifo: false,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: "whsec_".into(),
            previous_secret: None,
            created_at: at(0),
            updated_at: at(0),
        };
        webhooks::insert(&mut tx, &subscription).await.unwrap();
    }
    tx.commit().await.unwrap();
    programme
}

/// A delivery of its own, due at that second, by which it is known.
async fn trial(store: &Store, webhook: Uuid, due: i64) {
    let event_id = Uuid::from_u128(due.unsigned_abs().into());
    let delivery = Delivery {
        id: Delivery::id_of(webhook, event_id),
        subscription_id: webhook,
        event_id,
        webhook_type: WebhookType::Test,
        status: DeliveryStatus::Pending,
        attempts: Vec::new(),
        tries: 0,
        due_since: at(due),
        next_attempt_at: Some(at(due)),
    };
    let mut tx = store.begin().await.unwrap();
    deliveries::insert_trial(&mut tx, &delivery, &format!("trial {due}")).await.unwrap();
    tx.commit().await.unwrap();
}

async fn due(store: &Store, webhooks: &[Uuid], (since, now): (i64, i64)) -> Vec<Claimed> {
    let after = (at(since), Uuid::nil());
    let wanted: Vec<_> =
        webhooks.iter().map(|&webhook_id| Wanted { webhook_id, fifo: false, after, limit: 10 }).collect();
    let mut reader = store.reader().await.unwrap();
    let due = deliveries::due(&mut reader, &wanted, at(now)).await.unwrap();
    deliveries::read(&mut reader, due).await.unwrap()
}

/// The seconds by which they are known.
fn seconds(claimed: &[Claimed]) -> Vec<u128> {
    claimed.iter().map(|it| it.delivery.event_id.as_u128()).collect()
}

/// What a node has of the first subscription.
fn has(node: u128, events: &[u128], until: i64) -> Claim {
    let events = events.iter().map(|&event| mark(Uuid::from_u128(event))).collect();
    Claim { webhook_id: FIRST, node: Uuid::from_u128(node), until: at(until), events }
}

async fn claims(store: &Store) -> Vec<Claim> {
    let mut claims = deliveries::claims(&mut store.reader().await.unwrap(), &[FIRST, SECOND]).await.unwrap();
    claims.sort_by_key(|claim| claim.node);
    claims
}

async fn claim(store: &Store, claim: Claim) {
    let mut tx = store.begin().await.unwrap();
    assert_eq!(deliveries::lock(&mut tx, &[FIRST]).await.unwrap(), [FIRST]);
    deliveries::claim(&mut tx, &[claim]).await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_node_says_what_it_has_in_hand(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    claim(store, has(1, &[10, 20], 50)).await;
    claim(store, has(2, &[30], 55)).await;
    claim(store, has(1, &[20], 60)).await;
    assert_eq!(claims(store).await, [has(1, &[20], 60), has(2, &[30], 55)]);
    let mut tx = store.begin().await.unwrap();
    deliveries::end(&mut tx, &[(FIRST, Uuid::from_u128(1)), (SECOND, Uuid::from_u128(2))]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(claims(store).await, [has(2, &[30], 55)]);
}

/// How many were written down.
async fn settle(store: &Store, claimed: &Claimed, due: i64) -> u64 {
    let mut delivery = claimed.delivery.clone();
    let attempt = Attempt { at: at(due), status: Some(204), latency_ms: 1, error: None, response: None };
    delivery.settle(attempt, Pace::default());
    let mut tx = store.begin().await.unwrap();
    let settled = deliveries::settle(&mut tx, &[&Settled { delivery, due: at(due) }]).await.unwrap();
    tx.commit().await.unwrap();
    settled
}

async fn what_was_taken_over_is_settled_by_the_new_holder_only(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    for second in [10, 20] {
        trial(store, FIRST, second).await;
    }
    let held = due(store, &[FIRST], (0, 20)).await;
    assert_eq!(settle(store, &held[0], 10).await, 1);
    let both = [10, 20].map(|event| (FIRST, Uuid::from_u128(event)));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(deliveries::pending(&mut tx, &both).await.unwrap(), both[1..]);
    assert_eq!(deliveries::take_over(&mut tx, &both, at(50)).await.unwrap(), both[1..]);
    tx.commit().await.unwrap();
    assert_eq!(settle(store, &held[1], 20).await, 0, "it is another's");
    let held = due(store, &[FIRST], (0, 50)).await;
    assert_eq!(seconds(&held), [20]);
    assert_eq!(settle(store, &held[0], 50).await, 1);
    assert_eq!(settle(store, &held[0], 50).await, 0, "once");
    assert!(due(store, &[FIRST], (0, 60)).await.is_empty());
}

async fn what_fell_due_before_the_horizon_is_passed_over(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    for second in [10, 20] {
        trial(store, FIRST, second).await;
    }
    trial(store, SECOND, 5).await;
    let mut tx = store.begin().await.unwrap();
    let mut disabled = webhooks::lock(&mut tx, SECOND).await.unwrap().unwrap();
    (disabled.disabled_reason, disabled.probe_at) = (Some(DisabledReason::Failing), Some(at(15)));
    webhooks::update(&mut tx, &disabled).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = store.reader().await.unwrap();
    assert_eq!(seconds(&due(store, &[FIRST], (15, 40)).await), [20]);
    // A probe is of what has waited for long.
    let mut ready = async |since, now| {
        let ready = webhooks::ready(&mut reader, (at(since), at(now))).await.unwrap();
        ready.iter().map(|it| it.subscription.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(ready(0, 14).await, BTreeSet::from([FIRST]));
    assert_eq!(ready(15, 20).await, BTreeSet::from([FIRST, SECOND]));
    assert_eq!(ready(25, 40).await, BTreeSet::from([SECOND]));
    let mut due_at = async |since| deliveries::due_at(&mut reader, at(since)).await.unwrap();
    assert_eq!(due_at(0).await, Some(at(10)));
    assert_eq!(due_at(11).await, Some(at(15)));
    // A disabled one does not move it.
    assert_eq!(deliveries::first_pending(&mut reader).await.unwrap(), Some(at(10)));
}

async fn an_event_says_the_same_to_all(test: TestStore) {
    let store = &test.store;
    let programme_id = scene(store).await;
    let customer = Customer {
        id: Uuid::from_u128(7),
        programme_id,
        external_id: "u-7".into(),
        chain_id: "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".into(),
        status: Status::Initiating,
        created_at: at(1),
        updated_at: at(1),
        version: 1,
    };
    let origin = Origin {
        traceparent: Some("00-trace-span-01".into()),
        request_id: Some("request-1".into()),
        ..Origin::internal("programme")
    };
    let event = Chain::default().append(Uuid::from_u128(30), customer.event(None, "created"), &origin);
    let mut tx = store.begin().await.unwrap();
    events::insert(&mut tx, std::slice::from_ref(&event)).await.unwrap();
    tx.commit().await.unwrap();
    trial(store, SECOND, 20).await;

    let claimed = due(store, &[FIRST, SECOND], (0, 40)).await;
    let said: BTreeSet<_> = claimed
        .iter()
        .map(|it| {
            let carried = (it.traceparent.as_deref(), it.request_id.as_deref());
            (it.delivery.subscription_id, std::str::from_utf8(&it.body).unwrap(), carried)
        })
        .collect();
    let carried = (Some("00-trace-span-01"), Some("request-1"));
    let trial = (SECOND, "trial 20", (None, None));
    let wanted = [(FIRST, &*event.body, carried), (SECOND, &*event.body, carried), trial];
    assert_eq!(said, BTreeSet::from(wanted));
}

/// The next attempt is in future; how long the delivery has been waiting is not hidden by that.
async fn what_failed_waits_since_its_first_attempt(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    for second in [10, 20] {
        trial(store, FIRST, second).await;
    }
    let since = async || deliveries::retried_since(&mut store.reader().await.unwrap()).await.unwrap();
    assert_eq!(since().await, None, "nothing was attempted");
    let held = due(store, &[FIRST], (0, 20)).await;
    let mut delivery = held[1].delivery.clone();
    let attempt = Attempt { at: at(21), status: Some(503), latency_ms: 1, error: None, response: None };
    delivery.settle(attempt, Pace::default());
    assert!(delivery.next_attempt_at.is_some_and(|next| next > at(20)));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(deliveries::settle(&mut tx, &[&Settled { delivery, due: at(20) }]).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(since().await, Some(at(21)));
    assert_eq!(settle(store, &held[0], 10).await, 1);
    assert_eq!(since().await, Some(at(21)), "the other was delivered");

    let mut tx = store.begin().await.unwrap();
    let mut gone = webhooks::lock(&mut tx, FIRST).await.unwrap().unwrap();
    gone.disabled_reason = Some(DisabledReason::Gone);
    webhooks::update(&mut tx, &gone).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(since().await, None, "nothing is sent there any more");
}
