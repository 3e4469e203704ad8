//! Claims of deliveries ahead of their turn: made for a receiver that answers quickly, given back at the end, let go when they
//! have waited for too long.

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
use customerd::store::deliveries::{self, Wanted};
use customerd::store::{Store, StoreOptions, webhooks};
use customerd::worker::{Queue as _, WebhookOptions, Webhooks};
use futures::FutureExt as _;
use uuid::Uuid;

use crate::support::Receiver;

/// More than are ever claimed here.
const TRIALS: u128 = 200;
const WEBHOOK: Uuid = Uuid::from_u128(1);
const LEASE: Duration = Duration::from_secs(30);

struct Scene {
    store: Store,
    clock: Clock,
    receiver: Receiver,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// One subscription with trials that are due.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
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
            let event_id = Uuid::from_u128(number);
            let delivery = Delivery {
                id: Delivery::id_of(WEBHOOK, event_id),
                subscription_id: WEBHOOK,
                event_id,
                webhook_type: WebhookType::Test,
                status: DeliveryStatus::Pending,
                attempts: Vec::new(),
                tries: 0,
                due_since: now,
                next_attempt_at: Some(now),
            };
            deliveries::insert_trial(&mut tx, &delivery, "{}").await.unwrap();
        }
        tx.commit().await.unwrap();
        Self { store, clock, receiver, _directory: directory }
    }

    fn node(&self) -> Webhooks {
        let client = Client::new(Options::new(self.clock.clone())).unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let options = WebhookOptions { private_callbacks: true, rate: 1000 };
        Webhooks::new(self.store.clone(), self.clock.clone(), (client, Signer::new(key, "key".to_owned())), options)
    }

    /// How many are due and nobody's.
    async fn free(&self) -> usize {
        let wanted = Wanted { webhook_id: WEBHOOK, fifo: false, since: Timestamp::EPOCH, limit: 1000 };
        deliveries::due(&mut self.store.reader().await.unwrap(), &[wanted], self.clock.now()).await.unwrap().len()
    }

    /// Claims, and sends what may be begun; how many.
    async fn round(&self, node: &Webhooks) -> usize {
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

#[tokio::test]
async fn a_quick_receiver_has_more_claimed_than_it_has_places() {
    let scene = Scene::new().await;
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

#[tokio::test]
async fn who_has_nothing_to_begin_before_the_next_look_is_not_told_of_room() {
    let scene = Scene::new().await;
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

#[tokio::test]
async fn a_slow_one_has_not() {
    let scene = Scene::new().await;
    let node = scene.node();
    assert_eq!(scene.round(&node).await, 16);
    scene.clock.advance(Duration::from_millis(100));
    assert_eq!(scene.round(&node).await, 16);
    assert_eq!(scene.free().await, 184 - 16);
}

#[tokio::test]
async fn what_is_not_begun_is_given_back_at_the_end() {
    let scene = Scene::new().await;
    let (node, other) = (scene.node(), scene.node());
    scene.round(&node).await;
    scene.round(&node).await;
    node.release().await.unwrap();
    assert_eq!(scene.free().await, 168);
    assert_eq!(scene.send(&node).await, 0);
    assert_eq!(scene.round(&other).await, 16);
}

#[tokio::test]
async fn what_has_waited_for_too_long_is_left_to_the_end_of_its_lease() {
    let scene = Scene::new().await;
    let node = scene.node();
    scene.round(&node).await;
    scene.round(&node).await;
    // An attempt may take 15 seconds, and is to be written down under the lease.
    scene.clock.advance(Duration::from_secs(9));
    assert_eq!(scene.send(&node).await, 0);
    assert_eq!(scene.free().await, 136);
    scene.clock.advance(LEASE - Duration::from_secs(9));
    assert_eq!(scene.free().await, 168);
    assert_eq!(scene.round(&node).await, 16);
}
