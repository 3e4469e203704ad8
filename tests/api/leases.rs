//! Who sends to a subscription, and when: a node that is alive, in order, whatever clocks say.

use std::time::Duration;

use customerd::app::create_programme;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::event::{Chain, Origin};
use customerd::domain::reach::Reach;
use customerd::domain::webhook::{DisabledReason, Settings, Subscription, WebhookType, new_secret};
use customerd::outbound::signed::Signer;
use customerd::outbound::{Client, Options};
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::{Store, deliveries, events, nodes, webhooks};
use customerd::worker::{Engine, WebhookOptions, Webhooks};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::Receiver;
use crate::support::stores::{TestStore, on_both};

on_both![
    a_silent_node_loses_what_it_leased,
    a_node_that_was_removed_goes_on_without_leases,
    order_is_kept_through_a_backlog,
    what_was_scheduled_by_a_clock_that_was_ahead_is_sent_now,
    a_probe_that_was_set_by_a_clock_that_was_ahead_is_made_now,
    the_rate_is_kept,
];

const WEBHOOK: Uuid = Uuid::from_u128(1);
const START: Timestamp = Timestamp(1_764_000_000_000_000);

struct Scene {
    store: Store,
    clock: Clock,
    receiver: Receiver,
    programme_id: Uuid,
    _test: TestStore,
}

/// A node at work.
struct Node {
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Node {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
    }
}

impl Scene {
    /// One subscription.
    async fn new(test: TestStore, fifo: bool) -> Self {
        let store = test.store.clone();
        let clock = Clock::manual(START, 0);
        let receiver = Receiver::start().await;
        let addresses = (String::new(), String::new());
        let programme_id = create_programme(&store, &clock, ("Wallet", true), addresses).await.unwrap().programme_id;
        let subscription = Subscription {
            id: WEBHOOK,
            programme_id,
            settings: Settings {
                callback_url: CallbackUrl::parse(&receiver.url(), Reach::Private).unwrap(),
                types: [WebhookType::CustomerUpdated].into(),
                fifo,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: new_secret(&[7; 32]),
            previous_secret: None,
            created_at: START,
            updated_at: START,
        };
        let mut tx = store.begin().await.unwrap();
        webhooks::insert(&mut tx, &subscription).await.unwrap();
        tx.commit().await.unwrap();
        Self { store, clock, receiver, programme_id, _test: test }
    }

    fn node(&self, rate: u32) -> Node {
        let client = Client::new(Options::new(self.clock.clone())).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let options = WebhookOptions { private_callbacks: true, rate };
        let webhooks = Webhooks::new(self.clock.clone(), (client, Signer::new(key, "key".to_owned())), options);
        let (stop, stopped) = oneshot::channel::<()>();
        let engine = Engine::new(self.store.clone(), self.clock.clone(), async {
            let _ = stopped.await;
        });
        let running = tokio::spawn(async move { engine.live(webhooks.run(engine.clone())).await });
        Node { stop, running }
    }

    /// Events of some customers, each so many, as a node records them whose clock says `at`.
    async fn record(&self, customers: u128, versions: i64, at: Timestamp) {
        self.record_from(0, customers, (versions, at)).await;
    }

    async fn record_from(&self, first: u128, end: u128, (versions, at): (i64, Timestamp)) {
        let mut tx = self.store.begin().await.unwrap();
        for number in first..end {
            let (id, mut chain) = (Uuid::from_u128(100 + number), Chain::default());
            let customer = Customer {
                id,
                programme_id: self.programme_id,
                external_id: format!("u-{number}"),
                chain_id: format!("eip155:1:0x{number:040x}"),
                status: Status::Initiating,
                created_at: at,
                updated_at: at,
                version: 1,
            };
            let event = |version: i64| {
                let customer = Customer { version, ..customer.clone() };
                let event_id = Uuid::from_u128((number << 32) + version.unsigned_abs() as u128);
                chain.append(event_id, customer.event(None, "story"), &Origin::internal("story"))
            };
            let recorded: Vec<_> = (1..=versions).map(event).collect();
            events::insert(&mut tx, &recorded).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// The next that is received, while time goes by in small steps.
    async fn next(&mut self) -> serde_json::Value {
        loop {
            tokio::select! {
                biased;
                received = self.receiver.next() => return received.json(),
                () = turn() => { self.clock.advance(Duration::from_millis(20)); }
            }
        }
    }

    async fn pending(&self) -> i64 {
        deliveries::open(&mut self.store.reader().await.unwrap()).await.unwrap().0
    }

    /// Waits until everything is recorded; time stands still.
    async fn recorded(&self) {
        while self.pending().await > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Lets the node do what it can.
async fn turn() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn a_silent_node_loses_what_it_leased(test: TestStore) {
    let mut scene = Scene::new(test, false).await;
    scene.record(1, 1, START).await;
    let dead = Uuid::from_u128(66);
    let mut tx = scene.store.begin().await.unwrap();
    nodes::insert(&mut tx, dead, START).await.unwrap();
    deliveries::lease(&mut tx, dead, &[WEBHOOK]).await.unwrap();
    tx.commit().await.unwrap();
    let node = scene.node(1000);
    assert_eq!(scene.next().await["externalId"], "u-0");
    let waited = scene.clock.monotonic();
    assert!(waited >= Duration::from_secs(6), "{waited:?}");
    scene.recorded().await;
    assert!(nodes::all(&mut scene.store.reader().await.unwrap()).await.unwrap().iter().all(|it| it.id != dead));
    node.stop().await;
    assert_eq!(nodes::all(&mut scene.store.reader().await.unwrap()).await.unwrap(), []);
}

async fn a_node_that_was_removed_goes_on_without_leases(test: TestStore) {
    let mut scene = Scene::new(test, false).await;
    scene.record(1, 1, START).await;
    let node = scene.node(1000);
    scene.next().await;
    scene.recorded().await;
    let all = nodes::all(&mut scene.store.reader().await.unwrap()).await.unwrap();
    let mut tx = scene.store.begin().await.unwrap();
    assert!(nodes::remove(&mut tx, all[0].id, None).await.unwrap());
    tx.commit().await.unwrap();
    scene.record_from(1, 2, (1, scene.clock.now())).await;
    scene.next().await;
    scene.recorded().await;
    let again = nodes::all(&mut scene.store.reader().await.unwrap()).await.unwrap();
    assert!(again.len() == 1 && again[0].id != all[0].id, "{again:?}");
    node.stop().await;
}

async fn order_is_kept_through_a_backlog(test: TestStore) {
    const CUSTOMERS: u128 = 5;
    const VERSIONS: i64 = 60;
    let mut scene = Scene::new(test, true).await;
    scene.record(CUSTOMERS, VERSIONS, START).await;
    // Some fail, and hold up their customers only.
    scene.receiver.will((0..20).map(|number| (if number % 4 == 0 { 500 } else { 204 }, None)));
    let node = scene.node(100_000);
    let mut last = std::collections::HashMap::new();
    while last.values().copied().sum::<i64>() < VERSIONS * i64::try_from(CUSTOMERS).unwrap() {
        let received = scene.next().await;
        let (id, version) = (received["id"].as_str().unwrap().to_owned(), received["version"].as_i64().unwrap());
        let before = last.insert(id, version).unwrap_or(0);
        assert!(version == before + 1 || version == before, "{version} after {before}");
    }
    scene.recorded().await;
    node.stop().await;
}

async fn what_was_scheduled_by_a_clock_that_was_ahead_is_sent_now(test: TestStore) {
    let mut scene = Scene::new(test, false).await;
    // The first customer's by one that was an hour ahead, the others' by one that was a day.
    scene.record(1, 1, START + Duration::from_hours(1)).await;
    let node = scene.node(1000);
    assert_eq!(scene.next().await["externalId"], "u-0");
    scene.recorded().await;
    scene.record_from(1, 2, (1, START + Duration::from_hours(24))).await;
    scene.next().await;
    assert!(scene.clock.monotonic() < Duration::from_mins(10));
    scene.recorded().await;
    node.stop().await;
}

async fn a_probe_that_was_set_by_a_clock_that_was_ahead_is_made_now(test: TestStore) {
    let mut scene = Scene::new(test, false).await;
    let mut tx = scene.store.begin().await.unwrap();
    let mut disabled = webhooks::lock(&mut tx, WEBHOOK).await.unwrap().unwrap();
    (disabled.disabled_reason, disabled.probe_at) =
        (Some(DisabledReason::Failing), Some(START + Duration::from_hours(25)));
    webhooks::update(&mut tx, &disabled).await.unwrap();
    tx.commit().await.unwrap();
    scene.record(1, 1, START).await;
    let node = scene.node(1000);
    scene.next().await;
    assert!(scene.clock.monotonic() < Duration::from_mins(10));
    scene.recorded().await;
    node.stop().await;
}

async fn the_rate_is_kept(test: TestStore) {
    let mut scene = Scene::new(test, false).await;
    scene.record(10, 1, START).await;
    let node = scene.node(2);
    for _ in 0..10 {
        scene.next().await;
    }
    // Two at once, and two a second.
    assert!(scene.clock.monotonic() >= Duration::from_secs(4), "{:?}", scene.clock.monotonic());
    node.stop().await;
}
