//! A store with subscriptions, events that are written to it, and the engine that delivers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use customerd::app::{Profile, create_programme};
use customerd::clock::Clock;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::event::{Chain, Event, Origin};
use customerd::domain::reach::Reach;
use customerd::domain::webhook::{Settings, Subscription, WebhookType};
use customerd::outbound::signed::Signer;
use customerd::outbound::standard::new_secret;
use customerd::outbound::{Client, Options};
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::customers::{self, Held};
use customerd::store::{Store, StoreOptions, Tx, deliveries, events, webhooks};
use customerd::worker::{Engine, WebhookOptions, Webhooks};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Events in one transaction when a backlog is made.
const BATCH: usize = 500;

/// Attempts a second to one subscription: out of the way of what is measured.
const RATE: u32 = 1_000_000;

/// A database with one programme.
pub struct Scene {
    pub store: Store,
    pub clock: Clock,
    pub profile: Profile,
    made: AtomicU64,
}

impl Scene {
    pub async fn open(url: &str) -> Arc<Self> {
        let (store, clock) = (Store::open(url, StoreOptions::default()).await.unwrap(), Clock::system());
        let addresses = ("http://127.0.0.1/v1".to_owned(), "127.0.0.1:1".to_owned());
        let profile = create_programme(&store, &clock, ("Bench", true), addresses).await.unwrap();
        Arc::new(Self { store, clock, profile, made: AtomicU64::new(0) })
    }

    /// A subscription to everything.
    pub async fn subscribe(&self, url: &str) -> Subscription {
        let now = self.clock.now();
        let subscription = Subscription {
            id: self.clock.id(),
            programme_id: self.profile.programme_id,
            settings: Settings {
                callback_url: CallbackUrl::parse(url, Reach::Private).unwrap(),
                types: [WebhookType::CustomerUpdated].into(),
                fifo: false,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: new_secret(&self.clock.random()),
            previous_secret: None,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.store.begin().await.unwrap();
        webhooks::insert(&mut tx, &subscription).await.unwrap();
        tx.commit().await.unwrap();
        subscription
    }

    /// Many events in few transactions.
    pub async fn fill(&self, count: usize) -> Vec<Event> {
        let mut made = Vec::with_capacity(count);
        while made.len() < count {
            let mut tx = self.store.begin().await.unwrap();
            for _ in 0..BATCH.min(count - made.len()) {
                made.push(self.event(&mut tx).await);
            }
            tx.commit().await.unwrap();
        }
        made
    }

    /// One event in a transaction of its own: the event, and when it was durable.
    pub async fn commit(&self) -> (Uuid, Instant) {
        let mut tx = self.store.begin().await.unwrap();
        let event = self.event(&mut tx).await;
        tx.commit().await.unwrap();
        (event.id, Instant::now())
    }

    /// A customer's creation.
    async fn event(&self, tx: &mut Tx) -> Event {
        let (number, now) = (self.made.fetch_add(1, Ordering::Relaxed), self.clock.now());
        let customer = Customer {
            id: self.clock.id(),
            programme_id: self.profile.programme_id,
            external_id: format!("u-{number:012}"),
            chain_id: format!("eip155:1:0x{number:040x}"),
            status: Status::Initiating,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let mut chain = Chain::default();
        let event = chain.append(self.clock.id(), customer.event(None, "created"), &Origin::internal("bench"));
        customers::insert(tx, &Held::new(customer, chain, None)).await.unwrap();
        events::insert(tx, std::slice::from_ref(&event)).await.unwrap();
        event
    }

    /// Delivers until it is stopped.
    pub fn deliver(&self) -> Delivering {
        let client = Client::new(Options::new(self.clock.clone())).unwrap();
        let options = WebhookOptions { private_callbacks: true, rate: RATE };
        let webhooks = Webhooks::new(self.clock.clone(), (client, signer()), options);
        let (stop, stopped) = oneshot::channel::<()>();
        let engine = Engine::new(self.store.clone(), self.clock.clone(), async {
            let _ = stopped.await;
        });
        Delivering { stop, running: tokio::spawn(async move { engine.live(webhooks.run(engine.clone())).await }) }
    }

    /// Waits until so few deliveries are pending.
    pub async fn drained(&self, pending: i64) {
        while deliveries::open(&mut self.store.reader().await.unwrap()).await.unwrap().0 > pending {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A key as the service's own.
pub fn signer() -> Signer {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let id = key.public_key().thumbprint();
    Signer::new(key, id)
}

/// An engine at work.
pub struct Delivering {
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Delivering {
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap();
    }
}
