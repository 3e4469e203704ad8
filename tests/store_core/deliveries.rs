//! Deliveries: who may send them, what is due, and what is recorded of attempts.

mod rows;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use customerd::app::create_programme;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::delivery::{Attempt, Delivery, DeliveryStatus, Pace};
use customerd::domain::event::{Chain, Origin};
use customerd::domain::reach::Reach;
use customerd::domain::timestamp::SKEW;
use customerd::domain::webhook::{DisabledReason, Settings, Subscription, WebhookType};
use customerd::store::deliveries::{self, Attempted, Due, Lease, Scan};
use customerd::store::{Change, Connection as _, Error, Mode, Store, Tx, events, nodes, webhooks};
use uuid::Uuid;

use crate::support::stores::{TestStore, on_both};

on_both![
    one_node_leases_a_subscription,
    a_lease_ends_with_its_node,
    only_the_owner_records,
    many_attempts_are_recorded_at_once,
    only_what_waits_is_pending,
    a_scan_goes_on_behind_its_end,
    a_scan_in_order_names_what_comes_before,
    what_a_clock_that_was_ahead_scheduled_is_made_due,
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
    trials(store, webhook, due..=due).await;
}

/// One each second.
async fn trials(store: &Store, webhook: Uuid, seconds: RangeInclusive<i64>) {
    let mut tx = store.begin().await.unwrap();
    for due in seconds {
        let event_id = Uuid::from_u128(due.unsigned_abs().into());
        let delivery = Delivery {
            id: Delivery::id_of(webhook, event_id),
            subscription_id: webhook,
            event_id,
            webhook_type: WebhookType::Test,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            tries: 0,
            // It is due at once, for nodes whose clocks are behind, too.
            due_since: at(due) + SKEW,
            next_attempt_at: Some(at(due)),
        };
        deliveries::insert_trial(&mut tx, &delivery, &format!("trial {due}")).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn scan(store: &Store, webhook_id: Uuid, (after, now): (i64, i64)) -> Vec<Due> {
    let scan = Scan { webhook_id, fifo: false, after: (at(after), Uuid::nil()), limit: 10 };
    deliveries::due(&mut store.reader().await.unwrap(), scan, at(now)).await.unwrap()
}

/// The seconds by which they are known.
fn seconds(due: &[Due]) -> Vec<u128> {
    due.iter().map(|it| it.delivery.event_id.as_u128()).collect()
}

async fn enter(store: &Store, node: u128) {
    let mut tx = store.begin().await.unwrap();
    nodes::insert(&mut tx, Uuid::from_u128(node), at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn remove(store: &Store, node: u128, beats: Option<i64>) -> bool {
    let mut tx = store.begin().await.unwrap();
    let removed = nodes::remove(&mut tx, Uuid::from_u128(node), beats).await.unwrap();
    tx.commit().await.unwrap();
    removed
}

/// The leases that a node gets, by subscription and epoch.
async fn lease(store: &Store, node: u128, webhooks: &[Uuid]) -> Result<Vec<Lease>, Error> {
    let mut tx = store.begin().await.unwrap();
    let mut leases = deliveries::lease(&mut tx, Uuid::from_u128(node), webhooks).await?;
    tx.commit().await?;
    leases.sort_by_key(|lease| lease.webhook_id);
    Ok(leases)
}

fn of(webhook_id: Uuid, node: u128, epoch: i64) -> Lease {
    Lease { webhook_id, node: Uuid::from_u128(node), epoch }
}

async fn is_leased(store: &Store, lease: Lease) -> bool {
    webhooks::leased(&mut store.reader().await.unwrap(), &lease).await.unwrap().is_some()
}

async fn one_node_leases_a_subscription(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    enter(store, 1).await;
    enter(store, 2).await;
    assert_eq!(lease(store, 1, &[FIRST]).await.unwrap(), [of(FIRST, 1, 1)]);
    assert_eq!(lease(store, 2, &[FIRST, SECOND]).await.unwrap(), [of(SECOND, 2, 1)]);
    assert_eq!(lease(store, 1, &[FIRST, SECOND]).await.unwrap(), []);
    let mut tx = store.begin().await.unwrap();
    deliveries::release(&mut tx, &[of(FIRST, 1, 1), of(SECOND, 1, 1)]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!is_leased(store, of(FIRST, 1, 1)).await && is_leased(store, of(SECOND, 2, 1)).await);
    assert_eq!(lease(store, 2, &[FIRST]).await.unwrap(), [of(FIRST, 2, 2)]);
}

async fn a_lease_ends_with_its_node(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    enter(store, 1).await;
    enter(store, 2).await;
    assert_eq!(lease(store, 1, &[FIRST]).await.unwrap(), [of(FIRST, 1, 1)]);
    let mut tx = store.begin().await.unwrap();
    assert!(nodes::beat(&mut tx, Uuid::from_u128(1)).await.unwrap());
    tx.commit().await.unwrap();
    assert!(!remove(store, 1, Some(0)).await, "it has beaten since");
    assert!(is_leased(store, of(FIRST, 1, 1)).await);
    assert!(remove(store, 1, Some(1)).await);
    assert!(!is_leased(store, of(FIRST, 1, 1)).await);
    // One that was removed takes nothing any more, and finds out.
    assert!(lease(store, 1, &[FIRST]).await.is_err());
    let mut tx = store.begin().await.unwrap();
    assert!(!nodes::beat(&mut tx, Uuid::from_u128(1)).await.unwrap());
    drop(tx);
    assert_eq!(lease(store, 2, &[FIRST]).await.unwrap(), [of(FIRST, 2, 2)]);
}

struct Record(Vec<Attempted>);

impl Change for Record {
    type Out = ();
    type Error = Error;

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        deliveries::record(tx, &self.0.iter().collect::<Vec<_>>())
    }
}

fn attempted(due: &Due, lease: Lease, (status, at): (u16, Timestamp)) -> Attempted {
    let mut delivery = due.delivery.clone();
    let due = delivery.next_attempt_at.unwrap();
    let attempt = Attempt { at, status: Some(status), latency_ms: 1, error: None, response: None };
    delivery.settle(attempt, Pace::default());
    Attempted { delivery, due, at, lease }
}

/// How many are pending and dead.
async fn open(store: &Store) -> (i64, i64) {
    deliveries::open(&mut store.reader().await.unwrap()).await.unwrap()
}

async fn only_the_owner_records(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    enter(store, 1).await;
    enter(store, 2).await;
    for second in [10, 20] {
        trial(store, FIRST, second).await;
    }
    lease(store, 1, &[FIRST]).await.unwrap();
    let due = scan(store, FIRST, (0, 20)).await;
    store.transact(&Record(vec![attempted(&due[0], of(FIRST, 1, 1), (204, at(20)))])).await.unwrap();
    assert_eq!(open(store).await, (1, 0));
    assert!(remove(store, 1, None).await);
    lease(store, 2, &[FIRST]).await.unwrap();
    store.transact(&Record(vec![attempted(&due[1], of(FIRST, 1, 1), (204, at(20)))])).await.unwrap();
    store.transact(&Record(vec![attempted(&due[1], of(FIRST, 2, 1), (204, at(20)))])).await.unwrap();
    assert_eq!(open(store).await, (1, 0), "it is another's");
    store.transact(&Record(vec![attempted(&due[1], of(FIRST, 2, 2), (410, at(20)))])).await.unwrap();
    assert_eq!(open(store).await, (0, 1));
    store.transact(&Record(vec![attempted(&due[1], of(FIRST, 2, 2), (204, at(20)))])).await.unwrap();
    assert_eq!(open(store).await, (0, 1), "once");
}

async fn many_attempts_are_recorded_at_once(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    enter(store, 1).await;
    for second in 1..=deliveries::RECORDED {
        trial(store, FIRST, i64::try_from(second).unwrap()).await;
    }
    lease(store, 1, &[FIRST]).await.unwrap();
    let scan = Scan { webhook_id: FIRST, fifo: false, after: (at(0), Uuid::nil()), limit: 1000 };
    let due = deliveries::due(&mut store.reader().await.unwrap(), scan, at(1000)).await.unwrap();
    let attempts = due.iter().map(|due| attempted(due, of(FIRST, 1, 1), (204, at(1000))));
    store.transact(&Record(attempts.collect())).await.unwrap();
    assert_eq!((due.len(), open(store).await), (deliveries::RECORDED, (0, 0)));
}

async fn only_what_waits_is_pending(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    let pending = async || {
        let pending = deliveries::pending(&mut store.reader().await.unwrap()).await.unwrap();
        let known = pending.into_iter().map(|it| (it.webhook_id, it.next_attempt_at, it.probe_at, it.node, it.epoch));
        known.collect::<BTreeSet<_>>()
    };
    assert_eq!(pending().await, BTreeSet::new());
    for (webhook, second) in [(FIRST, 10), (FIRST, 20), (SECOND, 5)] {
        trial(store, webhook, second).await;
    }
    enter(store, 1).await;
    lease(store, 1, &[FIRST]).await.unwrap();
    let first = (FIRST, at(10), None, Some(Uuid::from_u128(1)), Some(1));
    assert_eq!(pending().await, BTreeSet::from([first, (SECOND, at(5), None, None, None)]));
    let disable = async |reason, probe_at| {
        let mut tx = store.begin().await.unwrap();
        let mut disabled = webhooks::lock(&mut tx, SECOND).await.unwrap().unwrap();
        (disabled.disabled_reason, disabled.probe_at) = (Some(reason), probe_at);
        webhooks::update(&mut tx, &disabled).await.unwrap();
        tx.commit().await.unwrap();
    };
    disable(DisabledReason::Failing, Some(at(15))).await;
    assert_eq!(pending().await, BTreeSet::from([first, (SECOND, at(5), Some(at(15)), None, None)]));
    disable(DisabledReason::Gone, None).await;
    assert_eq!(pending().await, BTreeSet::from([first]));
}

async fn a_scan_goes_on_behind_its_end(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    for second in [10, 20, 30] {
        trial(store, FIRST, second).await;
    }
    trial(store, SECOND, 5).await;
    assert_eq!(seconds(&scan(store, FIRST, (0, 20)).await), [10, 20]);
    assert_eq!(seconds(&scan(store, FIRST, (15, 40)).await), [20, 30]);
}

async fn a_scan_in_order_names_what_comes_before(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    for second in [10, 20, 30] {
        trial(store, FIRST, second).await;
    }
    let mut tx = store.begin().await.unwrap();
    // Three of one entity, of which the first was tried before.
    tx.query("UPDATE deliveries SET entity_id = $1, version = 7").bind(Uuid::from_u128(9)).execute().await.unwrap();
    for (event, version, due) in [(10, 1, 25), (20, 2, 20)] {
        tx.query("UPDATE deliveries SET version = $1, next_attempt_at = $2 WHERE event_id = $3")
            .bind(version)
            .bind(at(due))
            .bind(Uuid::from_u128(event))
            .execute()
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let scan = async |now| {
        let scan = Scan { webhook_id: FIRST, fifo: true, after: (at(0), Uuid::nil()), limit: 10 };
        let due = deliveries::due(&mut store.reader().await.unwrap(), scan, at(now)).await.unwrap();
        due.iter().map(|due| (due.delivery.event_id.as_u128(), due.predecessor)).collect::<Vec<_>>()
    };
    assert_eq!(scan(24).await, [], "they wait for the first");
    assert_eq!(scan(40).await, [(20, Some(1)), (10, None), (30, Some(2))]);
}

async fn what_a_clock_that_was_ahead_scheduled_is_made_due(test: TestStore) {
    let store = &test.store;
    scene(store).await;
    enter(store, 1).await;
    lease(store, 1, &[FIRST]).await.unwrap();
    for second in [10, 20, 5000] {
        trial(store, FIRST, second).await;
    }
    // Attempted by a clock that was right, and by one that was an hour ahead.
    let due = scan(store, FIRST, (0, 20)).await;
    let attempts =
        [attempted(&due[0], of(FIRST, 1, 1), (500, at(30))), attempted(&due[1], of(FIRST, 1, 1), (500, at(3630)))];
    store.transact(&Record(attempts.into())).await.unwrap();
    let ahead = async |latest| {
        let ahead = deliveries::ahead_of(&mut store.reader().await.unwrap(), at(latest), 10).await.unwrap();
        ahead.into_iter().map(|(_, event)| event.as_u128()).collect::<BTreeSet<_>>()
    };
    assert_eq!(ahead(6000).await, BTreeSet::new());
    assert_eq!(ahead(40).await, BTreeSet::from([20, 5000]));
    let mut tx = store.begin().await.unwrap();
    let late = [20, 5000].map(|event| (FIRST, Uuid::from_u128(event)));
    deliveries::make_due(&mut tx, &late, at(30)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(seconds(&scan(store, FIRST, (0, 30)).await), [20, 5000]);
    assert_eq!(ahead(40).await, BTreeSet::new());
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

    let mut claimed = scan(store, FIRST, (-20, 40)).await;
    claimed.extend(scan(store, SECOND, (-20, 40)).await);
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
    enter(store, 1).await;
    lease(store, 1, &[FIRST]).await.unwrap();
    let due = scan(store, FIRST, (0, 20)).await;
    store.transact(&Record(vec![attempted(&due[1], of(FIRST, 1, 1), (503, at(21)))])).await.unwrap();
    assert_eq!(since().await, Some(at(21)));
    store.transact(&Record(vec![attempted(&due[0], of(FIRST, 1, 1), (204, at(22)))])).await.unwrap();
    assert_eq!(since().await, Some(at(21)), "the other was delivered");

    let mut tx = store.begin().await.unwrap();
    let mut gone = webhooks::lock(&mut tx, FIRST).await.unwrap().unwrap();
    gone.disabled_reason = Some(DisabledReason::Gone);
    webhooks::update(&mut tx, &gone).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(since().await, None, "nothing is sent there any more");
}
