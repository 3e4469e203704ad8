//! Secrets at rest: what a thief of the database's files finds, and what he can do with it.

mod bytes;
mod in_the_clear;
mod keyless;
mod rotated;
mod stopped;

use std::path::Path;

use customerd::api::v1::CreateOperatorRequest;
use customerd::api::v1::admin_service_client::AdminServiceClient;
use customerd::app::Profile;
use customerd::clock::Clock;
use customerd::config::KeyFile;
use customerd::sealing::{EncryptionKey, Place as PlaceOf};
use customerd::store::audit::keys;
use customerd::store::keyring::{self, Purpose};
use customerd::store::{Connection as _, Store, StoreOptions};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::process::{Place, in_processes, mode, stderr, stdout};
use crate::support::{Operator, Partner, account};
use bytes::{Bytes, Needle};

in_processes![
    a_full_run_leaves_no_secret_in_the_database,
    another_key_and_none_are_refused,
    the_keys_are_listed_and_never_shown,
];

/// What callers are shown and must keep to themselves. A challenge is none: to sign it takes the wallet's key.
async fn use_everything(place: &Place, partner: &mut Partner) -> Vec<Needle> {
    let profile = Profile::read(&place.sandbox()).unwrap();
    let mut shown = vec![Needle::text("the first secret", profile.api_secret.expose_secret())];
    shown.push(Needle::text("the first token", &partner.token));
    shown.push(Needle::text(
        "the partner's key",
        profile.private_key_pem.as_ref().unwrap().expose_secret().lines().nth(1).unwrap(),
    ));
    let key = "9b3c2d1e-0000-4000-8000-0000000000a1";
    let body = json!({"chainId": account("u-secret"), "externalId": "u-secret"});
    let customer = partner.post("/v1/customers", &body).key(key).await.is(201);
    let again = partner.post("/v1/customers", &body).key(key).await.is(201);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&customer.body, Some("true")));
    let link = customer.json()["verificationUrl"].as_str().unwrap().to_owned();
    let id = customer.json()["id"].as_str().unwrap().to_owned();
    shown.push(Needle::link("the verification link", &link));
    let verification = partner.get(&format!("/v1/customers/{id}/verification")).await.is(200).json();
    assert_eq!(verification["verificationUrl"], link);

    let hook = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated"]});
    let key = "9b3c2d1e-0000-4000-8000-0000000000a2";
    let made = partner.put("/v1/webhooks", &hook).key(key).await.is(200);
    let replayed = partner.put("/v1/webhooks", &hook).key(key).await.is(200);
    assert_eq!(replayed.body, made.body);
    let webhook = made.json();
    let rotate = format!("/v1/webhooks/{}/rotate-secret", webhook["id"].as_str().unwrap());
    let rotated = partner.call("POST", &rotate).await.is(200).json();
    for (name, answer) in [("the webhook's first secret", &webhook), ("the webhook's second secret", &rotated)] {
        shown.push(Needle::webhook(name, answer["secret"].as_str().unwrap()));
    }
    let secret = "chosen-by-the-partner-long-enough-0123456789";
    let credentials = json!({"apiKey": "9b3c2d1e-0000-4000-8000-0000000000a3", "apiSecret": secret});
    partner.put("/v1/auth/credentials", &credentials).await.is(204);
    shown.push(Needle::text("the chosen secret", secret));
    let token = partner.ask_token(credentials["apiKey"].as_str().unwrap(), secret).await.is(200).json();
    partner.token = token["token"].as_str().unwrap().to_owned();
    shown.push(Needle::text("the second token", &partner.token));
    let operator = place.run(&["operator", "create", "--name", "ops"]);
    let operator: Value = serde_json::from_str(&stdout(&operator)).unwrap();
    let operator = Operator { token: operator["token"].as_str().unwrap().to_owned() };
    shown.push(Needle::text("the operator's token", operator.token.trim_start_matches("cop_")));
    // One that stands in a stored reply.
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", place.grpc)).unwrap();
    let mut admin = AdminServiceClient::new(channel.connect().await.unwrap());
    let create = || {
        let role = customerd::api::v1::Role::Viewer.into();
        let mut request =
            operator.rpc_of_all(CreateOperatorRequest { name: "clerk".into(), role, ..Default::default() });
        request.metadata_mut().insert("idempotency-key", "9b3c2d1e-0000-4000-8000-0000000000a4".parse().unwrap());
        request
    };
    let clerk = admin.create_operator(create()).await.unwrap().into_inner().token;
    assert_eq!(admin.create_operator(create()).await.unwrap().into_inner().token, clerk, "it is kept");
    shown.push(Needle::text("the clerk's token", clerk.trim_start_matches("cop_")));
    shown
}

/// The service's own keys, which sign.
async fn service_keys(url: &str, key_file: &Path) -> Vec<Needle> {
    let store = Store::open(url, StoreOptions::default()).await.unwrap();
    store.sealer().use_keys(KeyFile::read(key_file).unwrap().unwrap().keyring());
    let keys = keyring::load(&mut store.reader().await.unwrap(), Clock::system().now()).await.unwrap();
    store.close().await.unwrap();
    let mut needles = Vec::new();
    for purpose in Purpose::ALL {
        let key = keys.iter().find(|key| key.purpose == purpose && key.signs()).unwrap();
        needles.push(match purpose {
            Purpose::Webhook => Needle::text(
                purpose.as_str(),
                std::str::from_utf8(key.secret.expose_secret()).unwrap().lines().nth(1).unwrap(),
            ),
            _ => Needle::bytes(purpose.as_str(), key.secret.expose_secret()),
        });
    }
    needles
        .push(Needle::text("the encryption key", std::fs::read_to_string(key_file).unwrap().lines().last().unwrap()));
    needles
}

/// The keys of customers, under which the personal fields of their events are committed to, and the key that signs checkpoints.
/// Without a key file as they lie in the clear.
async fn audit_keys(url: &str, key_file: Option<&Path>) -> Vec<Needle> {
    let store = Store::open(url, StoreOptions::default()).await.unwrap();
    if let Some(key_file) = key_file {
        store.sealer().use_keys(KeyFile::read(key_file).unwrap().unwrap().keyring());
    }
    let signing = keys::signing_key(&store, &Clock::system()).await.unwrap().to_pem();
    let mut needles = vec![Needle::text("the key of checkpoints", signing.expose_secret().lines().nth(1).unwrap())];
    let mut reader = store.reader().await.unwrap();
    let rows: Vec<(Uuid, Vec<u8>)> = reader.query("SELECT id, event_key FROM customers").all().await.unwrap();
    assert!(!rows.is_empty());
    for (id, sealed) in rows {
        let key = store.sealer().open(PlaceOf::new("customers", "event_key", id.as_bytes()), &sealed).unwrap();
        needles.push(Needle::bytes("a customer's key", key.expose_secret()));
    }
    drop(reader);
    store.close().await.unwrap();
    needles
}

fn key_file(place: &Place) -> std::path::PathBuf {
    place.key_file.clone().unwrap_or_else(|| place.directory.path().join("encryption.key"))
}

async fn a_full_run_leaves_no_secret_in_the_database(place: Place) {
    let server = place.serve(&[]);
    assert_eq!(mode(&key_file(&place)), 0o600);
    let mut partner = place.partner().await;
    let shown = use_everything(&place, &mut partner).await;
    let mut keys = service_keys(&place.database_url(), &key_file(&place)).await;
    keys.extend(audit_keys(&place.database_url(), Some(&key_file(&place))).await);
    // As a thief finds them: with the log that no checkpoint has emptied.
    server.kill();
    let bytes = Bytes::of(&place.database_url()).await;
    bytes.must_hold("u-secret");
    bytes.must_not_hold(&shown);
    bytes.must_not_hold(&keys);
}

async fn another_key_and_none_are_refused(mut place: Place) {
    let server = place.serve(&[]);
    assert_eq!(server.stop(), Some(0));
    let path = key_file(&place);
    let kept = std::fs::read(&path).unwrap();
    for (what, wanted) in [("none", "does not exist"), ("another", "which is not in")] {
        std::fs::remove_file(&path).unwrap();
        if what == "another" {
            KeyFile::of(EncryptionKey::new([9; 32])).create(&path).unwrap();
        }
        for command in [&["serve"][..], &["worker"], &["programme", "list"]] {
            let refused = place.run(command);
            let said = stderr(&refused);
            let missing = what == "none" && place.key_file.is_some();
            let wanted = if missing { "there is no encryption key file" } else { wanted };
            assert_eq!(refused.status.code(), Some(1), "{said}");
            assert!(said.contains(wanted) && said.contains(path.to_str().unwrap()), "{what}: {said}");
        }
        assert_eq!(path.exists(), what == "another", "no key is made where something is sealed");
        std::fs::write(&path, &kept).unwrap();
    }
    if place.key_file.is_some() {
        place.key_file = None;
        let said = stderr(&place.run(&["serve"]));
        assert!(said.contains("no key file is given: name it with --encryption-key-file"), "{said}");
        return;
    }
    assert_eq!(place.serve(&[]).stop(), Some(0));
}

async fn the_keys_are_listed_and_never_shown(place: Place) {
    let server = place.serve(&[]);
    let listed = place.run(&["keys", "list"]);
    let text = stdout(&listed);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut purposes: Vec<_> = lines.iter().map(|line| line["purpose"].as_str().unwrap()).collect();
    purposes.sort_unstable();
    assert_eq!(purposes, ["cursor", "encryption", "fingerprint", "jwt", "links", "webhook"]);
    drop(server);
    Bytes::printed(&text).must_not_hold(&service_keys(&place.database_url(), &key_file(&place)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_without_a_key_is_for_sandboxes_until_it_gets_one() {
    let Some(mut place) = Place::postgres().await else { return };
    let key_file = place.key_file.take();
    let server = place.serve(&[]);
    let mut partner = place.partner().await;
    let shown = use_everything(&place, &mut partner).await;
    let live = place.run(&["programme", "create", "--name", "Wallet"]);
    assert_eq!(live.status.code(), Some(1));
    assert!(stderr(&live).contains("customerd keygen --encryption"), "{}", stderr(&live));
    assert!(server.stop_and_tell().contains("secrets are kept in the clear"));
    let kept = audit_keys(&place.database_url(), None).await;
    let bytes = Bytes::of(&place.database_url()).await;
    assert!(bytes.found(&shown).contains("the webhook's second secret"), "without a key they lie in the clear");
    assert_eq!(bytes.found(&kept).len(), 2, "these too");

    // With a key everything is sealed, and nothing is left of what was not.
    place.key_file = key_file;
    let server = place.serve(&[]);
    partner.get("/v1/customers").await.is(200);
    let live = place.run(&["programme", "create", "--name", "Wallet"]);
    assert!(live.status.success(), "{}", stderr(&live));
    assert_eq!(server.stop(), Some(0));
    let bytes = Bytes::of(&place.database_url()).await;
    bytes.must_not_hold(&shown);
    bytes.must_not_hold(&kept);
}
