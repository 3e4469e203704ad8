//! Nodes and commands that are killed while they seal, and nodes that seal at once: nothing is lost, nothing is done twice.

use std::collections::HashSet;
use std::process::Stdio;

use customerd::clock::Clock;
use customerd::config::KeyFile;
use customerd::sealing::KeyId;
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::keyring::{self, Purpose};
use customerd::store::{Connection as _, Store, StoreOptions, clear as sealing, webhooks};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use super::bytes::Bytes;
use super::in_the_clear::{JWT, PROGRAMME, WEBHOOK, WHSEC, clear, fill};
use super::key_file;
use super::rotated::rotate;
use crate::process::{Place, in_processes, stdout};

in_processes![a_node_that_is_killed_while_it_seals_loses_nothing, a_rotation_that_is_killed_is_taken_up_again,];

/// The place's database, with the keys of its file as it is now.
async fn open(place: &Place) -> Store {
    let store = Store::open(&place.database_url(), StoreOptions::default()).await.unwrap();
    store.sealer().use_keys(KeyFile::read(&key_file(place)).unwrap().unwrap().keyring());
    store
}

/// Somebody who reads a state of the database from before it was sealed, and goes on reading it until dropped.
struct Reader {
    _sqlite: Option<SqliteConnection>,
    _postgres: Option<PgConnection>,
}

impl Reader {
    async fn of(url: &str) -> Self {
        if url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            sqlx::raw_sql("BEGIN; SELECT count(*) FROM webhooks").execute(&mut connection).await.unwrap();
            return Self { _sqlite: Some(connection), _postgres: None };
        }
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut connection).await.unwrap();
        // A snapshot, and no lock on a table that a migration needs.
        sqlx::raw_sql("SELECT 1").execute(&mut connection).await.unwrap();
        Self { _sqlite: None, _postgres: Some(connection) }
    }
}

/// The first bytes of every sealed value: nothing of it is in the clear when none begins with 0.
async fn begins(store: &Store) -> HashSet<Vec<u8>> {
    let mut reader = store.reader().await.unwrap();
    let mut begins = HashSet::new();
    for sql in [
        "SELECT secret FROM service_keyring",
        "SELECT sealed_secret FROM webhooks",
        "SELECT sealed_reply FROM idempotency_keys",
        "SELECT event_key FROM customers WHERE event_key IS NOT NULL",
    ] {
        let rows: Vec<(Vec<u8>,)> = reader.query(sql).all().await.unwrap();
        begins.extend(rows.into_iter().map(|(value,)| value[..9.min(value.len())].to_vec()));
    }
    begins
}

/// Everything that lay in the clear opens, what signed verifies, and of each purpose one other key signs.
async fn is_sealed_once(place: &Place) {
    let store = open(place).await;
    let mut reader = store.reader().await.unwrap();
    assert!(!sealing::may_be_clear(&mut reader).await.unwrap());
    let keys = keyring::load(&mut reader, Clock::system().now()).await.unwrap();
    assert_eq!(keys.len(), 9, "an old and a new key of each purpose, and one for cursors, which had none");
    for purpose in Purpose::ALL {
        assert_eq!(keys.iter().filter(|key| key.purpose == purpose && key.signs()).count(), 1, "{purpose:?}");
    }
    let old = keys.iter().find(|key| key.purpose == Purpose::Jwt && !key.signs()).unwrap();
    assert_eq!(old.secret.expose_secret(), JWT);
    drop(reader);
    let mut tx = store.begin().await.unwrap();
    let webhook = webhooks::lock(&mut tx, WEBHOOK).await.unwrap().unwrap();
    assert_eq!((webhook.programme_id, webhook.secret.expose_secret()), (PROGRAMME, WHSEC));
    tx.rollback().await.unwrap();
    store.close().await.unwrap();
}

async fn a_node_that_is_killed_while_it_seals_loses_nothing(place: Place) {
    let pem = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem();
    let url = place.database_url();
    fill(&url, pem.expose_secret()).await;
    let clear = clear(pem.expose_secret());
    assert_eq!(Bytes::of(&url).await.found(&clear).len(), clear.len(), "they lay in the clear");
    // The old bytes cannot be removed while it reads.
    let reader = Reader::of(&url).await;
    // Killed with some of it sealed, or none.
    place.serve_until("sealing the secrets that were kept in the clear").kill();
    // Killed with all of it sealed, and the old bytes still there.
    let node = place.serve_until("sealing the secrets that were kept in the clear");
    let store = open(&place).await;
    while begins(&store).await.iter().any(|begin| begin[0] == 0) {
        tokio::task::yield_now().await;
    }
    node.kill();
    assert!(sealing::may_be_clear(&mut store.reader().await.unwrap()).await.unwrap(), "the next start goes on");
    store.close().await.unwrap();
    drop(reader);

    let node = place.serve(&[]);
    assert!(node.said().contains("every secret is sealed"), "{}", node.said());
    assert_eq!(node.stop(), Some(0));
    is_sealed_once(&place).await;
    let bytes = Bytes::of(&url).await;
    bytes.must_hold("u-before");
    bytes.must_not_hold(&clear);
    let node = place.serve(&[]);
    assert!(!node.said().contains("sealing the secrets"), "{}", node.said());
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_start_at_once_seal_a_database_once() {
    let Some(first) = Place::postgres().await else { return };
    let second = first.beside();
    let pem = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem();
    fill(&first.database_url(), pem.expose_secret()).await;
    // Without it they would meet at the migrations first. With the key it would seal.
    let mut keyless = first.beside();
    keyless.key_file = None;
    assert!(keyless.run(&["migrate"]).status.success());
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| first.serve(&[])), scope.spawn(|| second.serve(&[])));
        (one.join().unwrap(), two.join().unwrap())
    });
    let told = [one.stop_and_tell(), two.stop_and_tell()];
    assert!(told.iter().any(|said| said.contains("every secret is sealed")), "{told:?}");
    assert!(!told.iter().any(|said| said.contains("ERROR")), "{told:?}");
    is_sealed_once(&first).await;
    Bytes::of(&first.database_url()).await.must_not_hold(&clear(pem.expose_secret()));
}

fn ids(place: &Place) -> Vec<KeyId> {
    KeyFile::read(&key_file(place)).unwrap().unwrap().keyring().ids()
}

async fn a_rotation_that_is_killed_is_taken_up_again(place: Place) {
    let server = place.serve(&[]);
    let mut partner = place.partner().await;
    let hook = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated"]});
    let key = "9b3c2d1e-0000-4000-8000-0000000000c1";
    let webhook = partner.put("/v1/webhooks", &hook).key(key).await.is(200);
    partner.customer("u-1").await;
    let old = ids(&place)[0];
    let begun = || place.customerd().args(["keys", "rotate", "encryption"]).stderr(Stdio::null()).spawn().unwrap();
    // Killed when nodes are to get to know the new key, and when they are to seal under it.
    let mut command = begun();
    while ids(&place).len() == 1 {
        tokio::task::yield_now().await;
    }
    command.kill().unwrap();
    command.wait().unwrap();
    let [first, new] = ids(&place)[..] else { panic!("{:?}", ids(&place)) };
    assert_eq!(first, old, "it seals until every node knows the other");
    partner.customer("u-2").await;
    let mut command = begun();
    while ids(&place)[0] == old {
        tokio::task::yield_now().await;
    }
    command.kill().unwrap();
    command.wait().unwrap();
    assert_eq!(ids(&place), [new, old], "the key that was made is gone on with");
    partner.customer("u-3").await;
    // Killed with everything sealed again but the keyring.
    if !place.database_url().starts_with("sqlite") {
        let mut others = PgConnection::connect(&place.database_url()).await.unwrap();
        sqlx::raw_sql("BEGIN; SELECT kid FROM service_keyring FOR UPDATE").execute(&mut others).await.unwrap();
        let mut command = begun();
        let store = open(&place).await;
        let replies = async || {
            let mut reader = store.reader().await.unwrap();
            let rows: Vec<(Vec<u8>,)> = reader.query("SELECT sealed_reply FROM idempotency_keys").all().await.unwrap();
            rows
        };
        while !replies().await.iter().all(|(reply,)| reply.starts_with(&store.sealer().keyring().prefix())) {
            tokio::task::yield_now().await;
        }
        command.kill().unwrap();
        command.wait().unwrap();
        let needed = keyring::encryption_keys(&mut store.reader().await.unwrap()).await.unwrap();
        assert!(needed.iter().all(|id| *id == Some(old)), "no node starts without the old key: {needed:?}");
        store.close().await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut others).await.unwrap();
    }
    partner.customer("u-4").await;

    let done = rotate(&place, &["encryption"]);
    assert_eq!((&done["kid"], &done["unused"]), (&json!(new.to_string()), &json!([old.to_string()])), "{done}");
    assert!(done["sealed"].as_u64().unwrap() > 0, "{done}");
    assert_eq!(ids(&place), [new, old]);
    partner.customer("u-5").await;
    assert_eq!(server.stop(), Some(0));
    // The old key may go now, and nothing with it.
    let file = KeyFile::read(&key_file(&place)).unwrap().unwrap();
    KeyFile::of(file.keys[0].clone()).replace(&key_file(&place)).unwrap();
    let server = place.serve(&[]);
    partner.sign_in().await;
    let replayed = partner.put("/v1/webhooks", &hook).key(key).await.is(200);
    assert_eq!((&replayed.body, replayed.header("idempotent-replayed")), (&webhook.body, Some("true")));
    let listed = partner.get("/v1/customers").await.is(200).json();
    assert_eq!(listed["customers"].as_array().unwrap().len(), 5);
    let audit = place.run(&["verify-audit"]);
    assert!(audit.status.success() && stdout(&audit).contains("the audit trail is whole"), "{}", stdout(&audit));
    let store = open(&place).await;
    assert_eq!(begins(&store).await, HashSet::from([store.sealer().keyring().prefix()]));
    store.close().await.unwrap();
    assert_eq!(server.stop(), Some(0));
}
