//! Sealed columns: what they hold, and what becomes of a value that was moved or altered.

use customerd::clock::Clock;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::commitment::CustomerKey;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::event::Chain;
use customerd::domain::reach::Reach;
use customerd::domain::webhook::{Settings, Subscription, WebhookType};
use customerd::domain::{Timestamp, programme::Programme};
use customerd::sealing::{EncryptionKey, Keyring};
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::customers::{self, Held};
use customerd::store::idempotency::{self, Slot, Stored};
use customerd::store::programmes::{self, NewProgramme};
use customerd::store::{Connection as _, Error, Store, StoreOptions, audit, clear, keyring, reseal, webhooks};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::support::stores::{TestStore, on_both};

on_both![
    a_value_that_was_moved_is_refused_and_the_others_go_on,
    what_was_kept_in_the_clear_is_sealed_when_a_key_comes,
    nothing_is_written_in_the_clear_behind_a_key,
    everything_is_sealed_again_under_another_key,
];

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_347_600);
const LATER: Timestamp = Timestamp::from_unix_seconds(1_795_351_200);

pub(crate) fn keys(bytes: &[u8]) -> Keyring {
    Keyring::new(bytes.iter().map(|byte| EncryptionKey::new([*byte; 32])).collect())
}

pub(crate) fn slot(programme_id: Uuid) -> Slot {
    Slot { scope: programme_id, key: Uuid::from_u128(1), now: NOW, expires_at: LATER }
}

/// The service's keys, and what [`entities`] makes.
pub(crate) async fn fill(store: &Store, clock: &Clock) -> (Uuid, Vec<Uuid>) {
    keyring::ensure(store, clock).await.unwrap();
    entities(store, clock).await
}

/// A programme with three subscriptions, a customer and a stored reply; the ids of programme and subscriptions.
pub(crate) async fn entities(store: &Store, clock: &Clock) -> (Uuid, Vec<Uuid>) {
    let programme = Programme { id: clock.id(), name: "Wallet".into(), sandbox: false };
    let mut tx = store.begin().await.unwrap();
    let new = NewProgramme { programme: &programme, api_key: clock.id(), api_secret_hash: "-", at: NOW };
    programmes::insert(&mut tx, &new).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..3 {
        let it = Subscription {
            id: clock.id(),
            programme_id: programme.id,
            settings: Settings {
                callback_url: CallbackUrl::parse("https://partner.example/", Reach::Global).unwrap(),
                types: [WebhookType::CustomerUpdated].into(),
                fifo: false,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: format!("whsec_{number}").into(),
            previous_secret: None,
            created_at: NOW,
            updated_at: NOW,
        };
        webhooks::insert(&mut tx, &it).await.unwrap();
        ids.push(it.id);
    }
    let stored = Stored { fingerprint: vec![1], status: 0, reply: b"whsec_reply".to_vec() };
    idempotency::put(&mut tx, slot(programme.id), &stored, idempotency::Conditions::default()).await.unwrap();
    let customer = Customer {
        id: clock.id(),
        programme_id: programme.id,
        external_id: "u-1".to_owned(),
        chain_id: format!("eip155:1:0x{:040x}", 1),
        status: Status::Initiating,
        created_at: NOW,
        updated_at: NOW,
        version: 1,
    };
    let chain = Chain { key: Some(CustomerKey::new([5; 32])), ..Chain::default() };
    customers::insert(&mut tx, &Held::new(customer, chain, None)).await.unwrap();
    tx.commit().await.unwrap();
    (programme.id, ids)
}

/// A subscription with its secret.
pub(crate) async fn opened(store: &Store, id: Uuid) -> Result<Option<Subscription>, Error> {
    webhooks::lock(&mut store.begin().await?, id).await
}

pub(crate) async fn sealed(store: &Store) -> Vec<Vec<u8>> {
    let mut reader = store.reader().await.unwrap();
    let mut all = Vec::new();
    for sql in [
        "SELECT secret FROM service_keyring",
        "SELECT sealed_secret FROM webhooks",
        "SELECT sealed_reply FROM idempotency_keys",
        "SELECT sealed_key FROM audit_keys",
        "SELECT event_key FROM customers",
    ] {
        let rows: Vec<(Vec<u8>,)> = reader.query(sql).all().await.unwrap();
        all.extend(rows.into_iter().map(|row| row.0));
    }
    all
}

async fn a_value_that_was_moved_is_refused_and_the_others_go_on(test: TestStore) {
    let (store, clock) = (&test.store, Clock::manual(NOW, 1));
    store.sealer().use_keys(keys(&[1]));
    let (programme_id, ids) = fill(store, &clock).await;
    assert!(sealed(store).await.iter().all(|value| value.starts_with(&store.sealer().keyring().prefix())));
    let mut tx = store.begin().await.unwrap();
    tx.query("UPDATE webhooks SET sealed_secret = (SELECT sealed_secret FROM webhooks WHERE id = $1) WHERE id = $2")
        .bind(ids[0])
        .bind(ids[1])
        .execute()
        .await
        .unwrap();
    tx.query("UPDATE service_keyring SET kid = 'x' WHERE purpose = 'jwt'").execute().await.unwrap();
    tx.query("UPDATE idempotency_keys SET key = $1").bind(Uuid::from_u128(2)).execute().await.unwrap();
    tx.commit().await.unwrap();
    let mut reader = store.reader().await.unwrap();
    assert!(opened(store, ids[0]).await.unwrap().is_some());
    let moved = opened(store, ids[1]).await.unwrap_err();
    assert_eq!(webhooks::page(&mut reader, programme_id, None, 9).await.unwrap().len(), 3, "lists open no secret");
    assert!(matches!(&moved, Error::Sealed(_)) && moved.to_string().contains("webhooks.sealed_secret"), "{moved}");
    assert!(matches!(keyring::load(&mut reader, NOW).await, Err(Error::Sealed(_))));
    let slot = Slot { key: Uuid::from_u128(2), ..slot(programme_id) };
    assert!(matches!(idempotency::get(&mut reader, slot).await, Err(Error::Sealed(_))));
    // A key of somebody's own, put there in the clear, is none.
    let mut tx = store.begin().await.unwrap();
    let own = [&[0_u8][..], &[7; 32]].concat();
    tx.query("UPDATE service_keyring SET kid = 'own', secret = $1 WHERE purpose = 'jwt'")
        .bind(own)
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(keyring::load(&mut reader, NOW).await, Err(Error::Sealed(_))));
}

async fn what_was_kept_in_the_clear_is_sealed_when_a_key_comes(test: TestStore) {
    let (store, clock) = (&test.store, Clock::manual(NOW, 1));
    let (programme_id, ids) = fill(store, &clock).await;
    assert!(sealed(store).await.iter().all(|value| value[0] == 0));
    let before = keyring::load(&mut store.reader().await.unwrap(), NOW).await.unwrap();
    store.sealer().use_keys(keys(&[1]));
    assert!(clear::may_be_clear(&mut store.reader().await.unwrap()).await.unwrap());
    assert!(matches!(keyring::load(&mut store.reader().await.unwrap(), NOW).await, Err(Error::Sealed(_))));
    assert!(reseal::seal_clear(store, &clock).await.unwrap());
    assert!(!clear::may_be_clear(&mut store.reader().await.unwrap()).await.unwrap());
    assert!(sealed(store).await.iter().all(|value| value.starts_with(&store.sealer().keyring().prefix())));
    let mut reader = store.reader().await.unwrap();
    let webhook = opened(store, ids[2]).await.unwrap().unwrap();
    assert_eq!(webhook.secret.expose_secret(), "whsec_2");
    assert_eq!(idempotency::get(&mut reader, slot(programme_id)).await.unwrap().unwrap().reply, b"whsec_reply");
    // What lay in the clear signs no more, and still verifies.
    let after = keyring::load(&mut reader, NOW).await.unwrap();
    for old in &before {
        let now = after.iter().find(|key| key.kid == old.kid).unwrap();
        assert!(old.signs() && now.verifies_until == Some(NOW + old.purpose.overlap()));
        assert_eq!(now.secret.expose_secret(), old.secret.expose_secret());
    }
    assert_eq!(after.iter().filter(|key| key.signs()).count(), 5);
    // Once more changes nothing.
    drop(reader);
    let all = sealed(store).await;
    assert!(reseal::seal_clear(store, &clock).await.unwrap());
    assert_eq!(sealed(store).await, all);
}

/// A node or a command without the key, beside one that comes with it.
async fn nothing_is_written_in_the_clear_behind_a_key(test: TestStore) {
    let (without, clock) = (&test.store, Clock::manual(NOW, 1));
    let with = Store::open(&test.url, StoreOptions::default()).await.unwrap();
    with.sealer().use_keys(keys(&[1]));
    assert!(!clear::may_be_clear(&mut with.reader().await.unwrap()).await.unwrap());
    // One command before any node: what it wrote is known to be in the clear.
    let (programme_id, ids) = fill(without, &clock).await;
    assert!(clear::may_be_clear(&mut with.reader().await.unwrap()).await.unwrap());
    // A transaction that writes in the clear is waited for.
    let mut tx = without.begin().await.unwrap();
    let stored = Stored { fingerprint: vec![1], status: 0, reply: b"late".to_vec() };
    let late = Slot { key: Uuid::from_u128(9), ..slot(programme_id) };
    idempotency::put(&mut tx, late, &stored, idempotency::Conditions::default()).await.unwrap();
    let forbidden = clear::forbid(&with);
    let (forbidden, ()) = tokio::join!(forbidden, async { tx.commit().await.unwrap() });
    forbidden.unwrap();
    assert!(reseal::seal_clear(&with, &clock).await.unwrap());
    assert!(sealed(&with).await.iter().all(|value| value.starts_with(&with.sealer().keyring().prefix())));
    assert_eq!(idempotency::get(&mut with.reader().await.unwrap(), late).await.unwrap().unwrap().reply, b"late");
    // From here on none is written.
    let mut tx = without.begin().await.unwrap();
    let later = Slot { key: Uuid::from_u128(10), ..late };
    let refused = idempotency::put(&mut tx, later, &stored, idempotency::Conditions::default()).await.unwrap_err();
    assert!(matches!(&refused, Error::Sealed(error) if error.lacks_key()), "{refused}");
    tx.rollback().await.unwrap();
    assert!(matches!(opened(without, ids[0]).await, Err(Error::Sealed(_))));
    // A checkpoint key of somebody's own, put there in the clear, is none.
    audit::keys::signing_key(&with, &clock).await.unwrap();
    let mut tx = with.begin().await.unwrap();
    let own = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem();
    let own = [&[0_u8][..], own.expose_secret().as_bytes()].concat();
    tx.query("UPDATE audit_keys SET sealed_key = $1").bind(own).execute().await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(audit::keys::signing_key(&with, &clock).await, Err(Error::Sealed(_))));
    with.close().await.unwrap();
}

async fn everything_is_sealed_again_under_another_key(test: TestStore) {
    let (store, clock) = (&test.store, Clock::manual(NOW, 1));
    store.sealer().use_keys(keys(&[1]));
    let (programme_id, ids) = fill(store, &clock).await;
    store.sealer().use_keys(keys(&[2, 1]));
    assert_eq!(reseal::reseal(store).await.unwrap(), 5 + 3 + 1 + 1);
    assert_eq!(reseal::reseal(store).await.unwrap(), 0);
    store.sealer().use_keys(keys(&[2]));
    let mut reader = store.reader().await.unwrap();
    assert_eq!(keyring::load(&mut reader, NOW).await.unwrap().len(), 5);
    assert!(opened(store, ids[0]).await.unwrap().is_some());
    assert!(idempotency::get(&mut reader, slot(programme_id)).await.unwrap().is_some());
    drop(reader);
    // A key that is missing stops it, and nothing is lost.
    store.sealer().use_keys(keys(&[3]));
    assert!(matches!(reseal::reseal(store).await, Err(Error::Sealed(_))));
    store.sealer().use_keys(keys(&[3, 2]));
    assert_eq!(reseal::reseal(store).await.unwrap(), 10);
}
