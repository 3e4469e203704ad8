//! A database of the version before, which kept secrets in the clear: it is sealed at the first start, and a thief of its
//! earlier files gains nothing.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use customerd::api::v1::ListCustomersRequest;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::keyring::{self, Purpose};
use customerd::store::webhooks;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection};
use std::time::Duration;
use tonic::{Code, Request};
use uuid::Uuid;

use super::bytes::{Bytes, Needle};
use crate::support::{House, START, everywhere};

everywhere![a_database_in_the_clear_is_sealed_at_its_first_start];

/// The last migration of the version before.
const LAST: i64 = 10;
pub(super) const JWT: [u8; 32] = *b"the jwt key that lay in clear 32";
const LINKS: [u8; 32] = *b"the links key that was in clear.";
const FINGERPRINT: [u8; 32] = *b"the fingerprint key, in clear 32";
pub(super) const WHSEC: &str = "whsec_TUZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c=";
const REPLY: &[u8] = b"\x0a\x1bwhsec_shown once to a caller";
pub(super) const PROGRAMME: Uuid = Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0001);
pub(super) const WEBHOOK: Uuid = Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0002);
const CUSTOMER: Uuid = Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0003);

/// Values as the dialect writes them.
struct Literal {
    sqlite: bool,
}

impl Literal {
    fn bytes(&self, bytes: &[u8]) -> String {
        if self.sqlite { format!("x'{}'", hex::encode(bytes)) } else { format!("'\\x{}'::bytea", hex::encode(bytes)) }
    }

    fn id(&self, id: Uuid) -> String {
        if self.sqlite { self.bytes(id.as_bytes()) } else { format!("'{id}'") }
    }

    fn time(&self, after: i64) -> String {
        let at = START.0 + after * 1_000_000;
        if self.sqlite { at.to_string() } else { format!("to_timestamp({}::numeric / 1000000)", at) }
    }

    fn no(&self) -> &'static str {
        if self.sqlite { "0" } else { "false" }
    }
}

fn rows(it: &Literal, pem: &str) -> String {
    let (at, id, no) = (it.time(0), it.id(PROGRAMME), it.no());
    let keys = [("jwt", &JWT[..]), ("links", &LINKS), ("fingerprint", &FINGERPRINT), ("webhooks", pem.as_bytes())];
    let keys = keys.map(|(name, secret)| format!("('{name}', {}, {at})", it.bytes(secret))).join(", ");
    let hash = it.bytes(&[0; 32]);
    format!(
        "INSERT INTO service_keys (name, secret, created_at) VALUES {keys};
         INSERT INTO programmes (id, name, sandbox, disabled, generation, created_at, updated_at)
           VALUES ({id}, 'Wallet', {no}, {no}, 1, {at}, {at});
         INSERT INTO webhooks (id, programme_id, callback_url, types, fifo, failures, secret, previous_secret,
           previous_secret_until, created_at, updated_at, deleted)
           VALUES ({webhook}, {id}, 'https://partner.example/', 'customer.updated', {no}, 0, '{WHSEC}', '{WHSEC}',
           {later}, {at}, {at}, {no});
         INSERT INTO customers (id, programme_id, external_id, chain_id, status, created_at, updated_at, version, event_seq,
           event_head) VALUES ({customer}, {id}, 'u-before', 'eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb',
           'initiating', {at}, {at}, 1, 0, {hash});
         INSERT INTO idempotency_keys (programme_id, key, fingerprint, status, reply, expires_at)
           VALUES ({id}, {customer}, {hash}, 0, {reply}, {later});",
        webhook = it.id(WEBHOOK),
        customer = it.id(CUSTOMER),
        later = it.time(3600),
        reply = it.bytes(REPLY),
    )
}

fn migrator(database: &str) -> Migrator {
    let directory = format!("{}/migrations/{database}", env!("CARGO_MANIFEST_DIR"));
    let mut migrations: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let (name, sql) =
                (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
            let (version, name) = name.split_once('_').unwrap();
            let sql = AssertSqlSafe(sql).into_sql_str();
            Migration::new(version.parse().unwrap(), name.to_owned().into(), MigrationType::Simple, sql, false)
        })
        .filter(|migration| migration.version <= LAST)
        .collect();
    migrations.sort_by_key(|migration| migration.version);
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.set_locking(false);
    migrator
}

/// Fills the house's empty database as the version before would have.
pub(super) async fn fill(url: &str, pem: &str) {
    if let Some(path) = url.strip_prefix("sqlite://") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute("PRAGMA journal_mode = wal").await.unwrap();
        migrator("sqlite").run_direct(None, &mut connection, false).await.unwrap();
        connection.execute(AssertSqlSafe(rows(&Literal { sqlite: true }, pem))).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        migrator("postgres").run_direct(None, &mut connection, false).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(rows(&Literal { sqlite: false }, pem))).execute(&mut connection).await.unwrap();
        // What the statistics sample must go as well.
        connection.execute("ANALYZE").await.unwrap();
        connection.close().await.unwrap();
    }
}

/// What lay in the clear.
pub(super) fn clear(pem: &str) -> Vec<Needle> {
    vec![
        Needle::bytes("the jwt key", &JWT),
        Needle::bytes("the links key", &LINKS),
        Needle::bytes("the fingerprint key", &FINGERPRINT),
        Needle::text("the webhook key", pem.lines().nth(1).unwrap()),
        Needle::webhook("the webhook's secret", WHSEC),
        Needle::bytes("the stored reply", &REPLY[2..]),
    ]
}

/// A token as a thief of the key mints it.
fn mint(exp: i64) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text =
        [part(json!({"typ": "JWT", "alg": "HS256"})), part(json!({"sub": PROGRAMME, "gen": 1, "exp": exp}))].join(".");
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &JWT), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn request(token: &str) -> Request<ListCustomersRequest> {
    let mut request = Request::new(ListCustomersRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn a_database_in_the_clear_is_sealed_at_its_first_start(house: House) {
    let pem = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem();
    let thumbprint = PrivateKey::parse(pem.expose_secret()).unwrap().public_key().thumbprint();
    fill(house.database_url(), pem.expose_secret()).await;
    let clear = clear(pem.expose_secret());
    let before = Bytes::of(house.database_url()).await;
    assert_eq!(before.found(&clear).len(), clear.len(), "they lay in the clear");

    let service = house.start().await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    // A token of the version before lives out its hour; one that was minted to live longer never passes.
    let now = START.unix_seconds();
    let old = mint(now + 3600);
    assert_eq!(grpc.list_customers(request(&old)).await.unwrap().into_inner().customers[0].external_id, "u-before");
    for exp in [now + 3600 + 120, now + 315_360_000] {
        let refused = grpc.list_customers(request(&mint(exp))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{exp}");
    }
    // Receivers verify what was signed before; links that were sent still open.
    let anybody = service.sandbox_partner("Anybody").await;
    let jwks = anybody.get("/.well-known/jwks.json").bare().await.is(200).json();
    let keys = jwks["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0]["kid"], thumbprint);
    assert_eq!(keys[1]["kid"], thumbprint);
    assert!(keys.iter().all(|key| key["kty"] == "OKP" && key.get("k").is_none() && key.get("d").is_none()), "{jwks}");
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &LINKS), CUSTOMER.as_bytes());
    let link = URL_SAFE_NO_PAD.encode([CUSTOMER.as_bytes(), &mac.as_ref()[..16]].concat());
    anybody.get(&format!("/verify/{link}")).bare().await.is(200);
    // What was sealed opens.
    let mut reader = service.store.reader().await.unwrap();
    let mut tx = service.store.begin().await.unwrap();
    let webhook = webhooks::lock(&mut tx, WEBHOOK).await.unwrap().unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(webhook.secret.expose_secret(), WHSEC);
    assert_eq!(webhook.previous_secret.unwrap().secret.expose_secret(), WHSEC);
    let live = keyring::load(&mut reader, service.clock.now()).await.unwrap();
    assert_eq!(live.len(), 9, "an old and a new key of each purpose, and one for cursors, which had none");
    drop(reader);

    // After the overlap a minted token is refused for good, whatever its life.
    service.wait(Duration::from_secs(3661));
    for exp in [now + 3661 + 60, now + 3661 + 3600] {
        assert_eq!(grpc.list_customers(request(&mint(exp))).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let house = service.stop().await;
    let after = Bytes::of(house.database_url()).await;
    after.must_hold("u-before");
    after.must_not_hold(&clear);
    assert_eq!(live.iter().filter(|key| key.purpose == Purpose::Jwt && key.signs()).count(), 1);
}
