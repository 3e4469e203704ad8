//! Claims of deliveries: made ahead of their turn for a receiver that answers quickly, given back at the end, taken over from
//! who has them for too long.

use std::collections::HashSet;
use std::time::Duration;

use customerd::app::create_programme;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::delivery::{Delivery, DeliveryStatus};
use customerd::domain::reach::Reach;
use customerd::domain::webhook::{Settings, Subscription, WebhookType, new_secret};
use customerd::outbound::signed::Signer;
use customerd::outbound::{Client, Options};
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::deliveries::{self, Filter, Wanted, mark};
use customerd::store::{Store, Tx, webhooks};
use customerd::worker::{Queue as _, WebhookOptions, Webhooks};
use futures::FutureExt as _;
use uuid::Uuid;

use crate::support::Receiver;
use crate::support::stores::{TestStore, on_both};

on_both![
    a_quick_receiver_has_more_claimed_than_it_has_places,
    who_has_nothing_to_begin_before_the_next_look_is_not_told_of_room,
    a_slow_one_has_not,
    what_is_not_begun_is_given_back_at_the_end,
    what_has_waited_for_too_long_is_claimed_anew,
    what_is_committed_late_is_found_soon,
    two_nodes_take_different_ones,
    what_is_held_for_too_long_is_taken_over_and_its_late_end_does_not_count,
    what_is_taken_over_in_parts_is_taken_over_whole,
];

/// More than are ever claimed here.
const TRIALS: u128 = 200;
const WEBHOOK: Uuid = Uuid::from_u128(1);
const LEASE: Duration = Duration::from_secs(30);

struct Scene {
    store: Store,
    clock: Clock,
    receiver: Receiver,
    _test: TestStore,
}

impl Scene {
    /// One subscription with trials that are due.
    async fn new(test: TestStore) -> Self {
        let store = test.store.clone();
        let clock = Clock::manual(Timestamp(1_764_000_000_000_000), 0);
        let receiver = Receiver::start().await;
        let addresses = (String::new(), String::new());
        let profile = create_programme(&store, &clock, ("Wallet", true), addresses).await.unwrap();
        let now = clock.now();
        let subscription = Subscription {
            id: WEBHOOK,
            programme_id: profile.programme_id,
            settings: Settings {
                callback_url: CallbackUrl::parse(&receiver.url(), Reach::Private).unwrap(),
                types: [WebhookType::CustomerUpdated].into(),
                fifo: false,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: new_secret(&[7; 32]),
            previous_secret: None,
            created_at: now,
            updated_at: now,
        };
        let mut tx = store.begin().await.unwrap();
        webhooks::insert(&mut tx, &subscription).await.unwrap();
        for number in 0..TRIALS {
            insert(&mut tx, number, now).await;
        }
        tx.commit().await.unwrap();
        Self { store, clock, receiver, _test: test }
    }

    fn node(&self) -> Webhooks {
        let client = Client::new(Options::new(self.clock.clone())).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let options = WebhookOptions { private_callbacks: true, rate: 1000 };
        Webhooks::new(self.store.clone(), self.clock.clone(), (client, Signer::new(key, "key".to_owned())), options)
    }

    /// How many are due and nobody's.
    async fn free(&self) -> usize {
        // As the next who claims sees it.
        let mut tx = self.store.begin().await.unwrap();
        let now = self.clock.now();
        let claims = deliveries::claims(&mut tx, &[WEBHOOK]).await.unwrap();
        let held: HashSet<_> = claims.into_iter().filter(|claim| claim.until > now).flat_map(|it| it.events).collect();
        let after = (Timestamp::EPOCH, Uuid::nil());
        let wanted = Wanted { webhook_id: WEBHOOK, fifo: false, after, limit: 1000 };
        let due = deliveries::due(&mut tx, &[wanted], now).await.unwrap();
        due.iter().filter(|due| !held.contains(&mark(due.event_id))).count()
    }

    /// Attempts of these, as they are written down.
    async fn attempts(&self, events: impl Iterator<Item = u128>) -> Vec<usize> {
        let filter = Filter {
            webhook_id: WEBHOOK,
            status: None,
            created_after: None,
            created_before: None,
            after: None,
            limit: 1000,
        };
        let all = deliveries::page(&mut self.store.reader().await.unwrap(), &filter).await.unwrap();
        let of = |event| all.iter().find(|(it, _)| it.event_id == Uuid::from_u128(event)).unwrap().0.attempts.len();
        events.map(of).collect()
    }

    /// Waits until what was written is to be seen by all: on SQLite a claim is answered before its commit.
    async fn written(&self) {
        let mut tx = self.store.begin().await.unwrap();
        deliveries::end(&mut tx, &[(WEBHOOK, Uuid::nil())]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Claims, and sends what may be begun; how many.
    async fn round(&self, node: &Webhooks) -> usize {
        self.written().await;
        assert!(!node.claim(self.clock.now(), 1000).await.unwrap().more);
        self.send(node).await
    }

    async fn send(&self, node: &Webhooks) -> usize {
        let jobs = node.at_hand(1000).items;
        let count = jobs.len();
        for job in jobs {
            let sent = node.perform(&job).await;
            assert_eq!(node.settle(job, Some(sent)).await.unwrap(), "delivered");
        }
        count
    }
}

/// A trial that is due.
async fn insert(tx: &mut Tx, number: u128, due: Timestamp) {
    let event_id = Uuid::from_u128(number);
    let delivery = Delivery {
        id: Delivery::id_of(WEBHOOK, event_id),
        subscription_id: WEBHOOK,
        event_id,
        webhook_type: WebhookType::Test,
        status: DeliveryStatus::Pending,
        attempts: Vec::new(),
        tries: 0,
        due_since: due,
        next_attempt_at: Some(due),
    };
    deliveries::insert_trial(tx, &delivery, "{}").await.unwrap();
}

async fn a_quick_receiver_has_more_claimed_than_it_has_places(test: TestStore) {
    let scene = Scene::new(test).await;
    let node = scene.node();
    // Nothing is known of it yet: as many as may be under way.
    assert_eq!(scene.round(&node).await, 16);
    assert_eq!(scene.free().await, 184);
    // Twice what has ended on top.
    assert_eq!(scene.round(&node).await, 16);
    assert_eq!(scene.free().await, 184 - 16 - 32);
    // They need no other look.
    assert_eq!(scene.send(&node).await, 16);
    assert_eq!(scene.send(&node).await, 16);
    assert_eq!(scene.free().await, 184 - 16 - 32);
    let mut receiver = scene.receiver;
    for _ in 0..64 {
        receiver.next().await;
    }
}

async fn who_has_nothing_to_begin_before_the_next_look_is_not_told_of_room(test: TestStore) {
    let scene = Scene::new(test).await;
    let node = scene.node();
    assert_eq!(scene.round(&node).await, 16);
    // All have ended; there is more, but not at hand.
    node.room().now_or_never();
    for _ in 0..2 {
        let taken = node.at_hand(1000);
        assert!(taken.items.is_empty() && taken.more);
        assert!(node.room().now_or_never().is_none());
    }
}

async fn a_slow_one_has_not(test: TestStore) {
    let scene = Scene::new(test).await;
    let node = scene.node();
    assert_eq!(scene.round(&node).await, 16);
    scene.clock.advance(Duration::from_millis(100));
    assert_eq!(scene.round(&node).await, 16);
    assert_eq!(scene.free().await, 184 - 16);
}

async fn what_is_not_begun_is_given_back_at_the_end(test: TestStore) {
    let scene = Scene::new(test).await;
    let (node, other) = (scene.node(), scene.node());
    scene.round(&node).await;
    scene.round(&node).await;
    node.release().await.unwrap();
    assert_eq!(scene.free().await, 168);
    assert_eq!(scene.send(&node).await, 0);
    assert_eq!(scene.round(&other).await, 16);
}

async fn what_has_waited_for_too_long_is_claimed_anew(test: TestStore) {
    let scene = Scene::new(test).await;
    let node = scene.node();
    scene.round(&node).await;
    scene.round(&node).await;
    // An attempt may take 15 seconds, and is to be written down while it is still this node's.
    scene.clock.advance(Duration::from_secs(9));
    let taken = node.at_hand(1000);
    assert!(taken.items.is_empty() && taken.more);
    assert_eq!(scene.round(&node).await, 16);
    assert_eq!(scene.free().await, 168 - 16);
}

async fn what_is_committed_late_is_found_soon(test: TestStore) {
    let scene = Scene::new(test).await;
    let node = scene.node();
    scene.round(&node).await;
    let mut tx = scene.store.begin().await.unwrap();
    insert(&mut tx, TRIALS, Timestamp(scene.clock.now().0 - 1)).await;
    tx.commit().await.unwrap();
    // Looks go on where the last one ended.
    scene.round(&node).await;
    assert_eq!(scene.attempts(std::iter::once(TRIALS)).await, [0]);
    scene.clock.advance(Duration::from_millis(100));
    // It is behind what was claimed ahead.
    for _ in 0..3 {
        node.claim(scene.clock.now(), 1000).await.unwrap();
        scene.send(&node).await;
    }
    assert_eq!(scene.attempts(std::iter::once(TRIALS)).await, [1]);
}

async fn two_nodes_take_different_ones(test: TestStore) {
    let scene = Scene::new(test).await;
    let (node, other) = (scene.node(), scene.node());
    node.claim(scene.clock.now(), 1000).await.unwrap();
    let jobs = node.at_hand(1000).items;
    assert_eq!((jobs.len(), scene.free().await), (16, 184));
    assert_eq!(scene.round(&other).await, 16);
    assert_eq!(scene.attempts(0..32).await, [[0; 16], [1; 16]].concat());
    assert_eq!(scene.free().await, 168);
}

async fn what_is_held_for_too_long_is_taken_over_and_its_late_end_does_not_count(test: TestStore) {
    let scene = Scene::new(test).await;
    let (node, other) = (scene.node(), scene.node());
    node.claim(scene.clock.now(), 1000).await.unwrap();
    let late = node.at_hand(1000).items;
    scene.clock.advance(LEASE - Duration::from_micros(1));
    scene.round(&other).await;
    assert_eq!(scene.attempts(0..32).await, [[0; 16], [1; 16]].concat());
    scene.clock.advance(Duration::from_micros(1));
    scene.round(&other).await;
    assert_eq!(scene.attempts(0..16).await, [1; 16]);
    for job in late {
        let sent = node.perform(&job).await;
        node.settle(job, Some(sent)).await.unwrap();
    }
    assert_eq!(scene.attempts(0..16).await, [1; 16]);
    // It goes on with others.
    assert_eq!(scene.round(&node).await, 16);
    assert_eq!(scene.attempts(32..48).await, [1; 16]);
}

async fn what_is_taken_over_in_parts_is_taken_over_whole(test: TestStore) {
    let scene = Scene::new(test).await;
    let (node, other) = (scene.node(), scene.node());
    node.claim(scene.clock.now(), 1000).await.unwrap();
    let late = node.at_hand(1000).items;
    // So long apart that nothing is claimed ahead.
    let step = Duration::from_millis(100);
    scene.clock.advance(LEASE - step);
    scene.written().await;
    other.claim(scene.clock.now(), 1000).await.unwrap();
    let mut jobs = other.at_hand(1000).items;
    // Seven of the other's places are free, then eight: the fewer there are in all, the fewer anybody has.
    for _ in 0..2 {
        scene.clock.advance(step);
        jobs.drain(..8);
        other.claim(scene.clock.now(), 1000).await.unwrap();
        jobs.extend(other.at_hand(1000).items);
    }
    for job in late {
        let sent = node.perform(&job).await;
        node.settle(job, Some(sent)).await.unwrap();
    }
    assert_eq!(scene.attempts(0..15).await, [0; 15]);
    for job in jobs {
        let sent = other.perform(&job).await;
        other.settle(job, Some(sent)).await.unwrap();
    }
    assert_eq!(scene.attempts(0..15).await, [1; 15]);
}

/// On SQLite nobody else can be just changing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_just_being_changed_is_left_for_the_next_look() {
    let Some(test) = TestStore::postgres().await else { return };
    let scene = Scene::new(test).await;
    let node = scene.node();
    scene.round(&node).await;
    let mut tx = scene.store.begin().await.unwrap();
    webhooks::lock(&mut tx, WEBHOOK).await.unwrap();
    assert!(node.claim(scene.clock.now(), 1000).await.unwrap().more);
    assert_eq!(scene.send(&node).await, 0);
    tx.commit().await.unwrap();
    scene.round(&node).await;
    assert_eq!(scene.attempts(0..48).await, [[1; 32].as_slice(), &[0; 16]].concat());
}
