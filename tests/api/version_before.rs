//! A database that version 0.1.0 wrote (`tests/fixtures/v0_1_0`): this version starts on it, migrates it, and gives the same
//! answers as the version that wrote it.

use std::path::{Path, PathBuf};

use customerd::app::Profile;
use customerd::domain::Timestamp;
use customerd::outbound::standard::{Message, Secret};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::support::{Evm, House, Operator, Partner, Receiver, Service, b64, unb64};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("customerd.db");
    std::fs::copy(fixture("sqlite/customerd.db"), &file).unwrap();
    story(format!("sqlite://{}", file.display()), directory, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let Some(url) = crate::postgres::database().await else { return };
    let dump = std::fs::read_to_string(fixture("postgres/customerd.sql")).unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(dump)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    story(url, tempfile::tempdir().unwrap(), "postgres").await;
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v0_1_0").join(name)
}

async fn story(database_url: String, directory: tempfile::TempDir, kind: &str) {
    let recorded = std::fs::read(fixture(&format!("{kind}/recorded.json"))).unwrap();
    let recorded: Value = serde_json::from_slice(&recorded).unwrap();
    let start = Timestamp(recorded["at"].as_i64().unwrap() + 60_000_000);
    // Without a worker, which would go on with what is in flight.
    let service = House::on(database_url, directory, start).start_with(&["--no-worker"]).await;
    answers_as_before(&service, &recorded).await;
    replays(&service, &recorded).await;
    let house = service.stop().await;
    // Migrated already: it starts a second time, and goes on with what is in flight.
    let service = house.start_with(&["--allow-private-callbacks"]).await;
    goes_on(&service, &recorded).await;
    old_secrets_sign(&service, &recorded).await;
    let house = service.stop().await;
    let verified = house.customerd().arg("verify-audit").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

/// The partner of a recorded programme, with the bearer token that the version before gave it.
fn partner(service: &Service, programme: &Value) -> Partner {
    let profile: Profile = serde_json::from_value(programme["profile"].clone()).unwrap();
    let mut partner = Partner::new(service.http, service.clock.clone(), &profile);
    programme["token"].as_str().unwrap().clone_into(&mut partner.token);
    partner
}

fn sandbox(service: &Service, recorded: &Value) -> Partner {
    partner(service, &recorded["programmes"][0])
}

async fn answers_as_before(service: &Service, recorded: &Value) {
    for programme in recorded["programmes"].as_array().unwrap() {
        // The bearer token of the version before, then a new one for the old secret.
        let mut partner = partner(service, programme);
        partner.get("/v1/customers").await.is(200);
        partner.sign_in().await;
        for known in programme["answers"].as_array().unwrap() {
            let path = known["path"].as_str().unwrap();
            let now = partner.get(path).await.is(200).json();
            contains(&now, &known["answer"], path);
        }
    }
    let disabled: Profile = serde_json::from_value(recorded["disabled"].clone()).unwrap();
    let disabled = Partner::new(service.http, service.clock.clone(), &disabled);
    assert_eq!(disabled.ask_token(&disabled.api_key, &disabled.api_secret).await.status, 401);
    // A consumer of events goes on behind the cursor that it has.
    let after = recorded["cursor"]["after"].as_str().unwrap();
    let page = sandbox(service, recorded).get(&format!("/v1/events?pageSize=3&cursor={after}")).await.is(200).json();
    contains(&page["events"], &recorded["cursor"]["next"], "cursor");
    operators_are_known(service, recorded).await;
}

async fn operators_are_known(service: &Service, recorded: &Value) {
    use customerd::api::v1::customer_service_client::CustomerServiceClient;
    let operator = Operator { token: recorded["operatorToken"].as_str().unwrap().to_owned() };
    let programme = sandbox(service, recorded).programme_id;
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let request = operator.rpc(programme, customerd::api::v1::ListCustomersRequest::default());
    assert_eq!(customers.list_customers(request).await.unwrap().into_inner().customers.len(), 11);
}

/// What later versions may show otherwise, of what was recorded: where links lead, who and why in operators' words, and how
/// pages and streams are told where to go on.
const MAY_DIFFER: [&str; 7] = ["verificationUrl", "reasons", "actor", "cause", "nextPageToken", "nextCursor", "cursor"];

/// Insists that everything that was recorded is there; members and events may have been added.
#[track_caller]
fn contains(now: &Value, before: &Value, path: &str) {
    match (now, before) {
        (Value::Object(now), Value::Object(before)) => {
            for (name, before) in before.iter().filter(|(name, _)| !MAY_DIFFER.contains(&name.as_str())) {
                let now = now.get(name).unwrap_or_else(|| panic!("{path}: {name} is gone"));
                contains(now, before, &format!("{path} {name}"));
            }
        }
        (Value::Array(now), Value::Array(before)) if before.iter().all(|one| identity(one).is_some()) => {
            let mut rest = now.iter();
            for one in before {
                let found = rest.find(|now| identity(now) == identity(one));
                let found = found.unwrap_or_else(|| panic!("{path}: {one} is gone, or not at its place"));
                contains(found, one, path);
            }
        }
        (now, before) => assert_eq!(now, before, "{path}"),
    }
}

fn identity(entity: &Value) -> Option<&str> {
    ["id", "keyId", "eventId"].iter().find_map(|name| entity[name].as_str())
}

/// What was answered under an idempotency key within the last hour is answered again.
async fn replays(service: &Service, recorded: &Value) {
    let partner = sandbox(service, recorded);
    for known in recorded["idempotent"].as_array().unwrap() {
        let answer = partner.post("/v1/customers", &known["body"]).key(known["key"].as_str().unwrap()).await;
        assert_eq!(answer.status, known["status"], "{answer:?}");
        assert_eq!(answer.header("idempotent-replayed"), Some("true"), "{answer:?}");
        let ours = |body: Value| {
            let mut body = body;
            // An error names its request, and links lead to where this node is.
            for name in ["requestId", "verificationUrl"] {
                body.as_object_mut().unwrap().remove(name);
            }
            body
        };
        assert_eq!(ours(answer.json()), ours(known["answer"].clone()));
    }
}

/// What was in flight is finished: a link, a challenge, a screening, a deployment, and who was deactivated is reactivated.
async fn goes_on(service: &Service, recorded: &Value) {
    let mut partner = sandbox(service, recorded);
    partner.sign_in().await;
    let page = partner.get(recorded["verificationPath"].as_str().unwrap()).bare().await;
    assert_eq!(page.status, 302, "{page:?}");
    let challenge = &recorded["challenge"];
    let key = hex::decode(challenge["privateKey"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    let signature = Evm::from_bytes(key.try_into().unwrap()).sign_hex(&unb64(&challenge["challenge"]));
    let path = format!("/v1/customers/{}/challenge/sign", challenge["customerId"].as_str().unwrap());
    let body = json!({"challenge": challenge["challenge"], "signature": b64(signature)});
    partner.post(&path, &body).await.is(204);
    for (id, room, status) in [
        (&challenge["customerId"], "customers", "verifying"),
        (&recorded["screeningId"], "customers", "verifying"),
        (&recorded["pendingId"], "accounts", "active"),
    ] {
        until(&partner, &format!("/v1/{room}/{}", id.as_str().unwrap()), |now| now["status"] == status).await;
    }
    let inactive = recorded["inactiveId"].as_str().unwrap();
    partner.patch(&format!("/v1/customers/{inactive}/activate")).await.is(200);
    let account =
        partner.get(&format!("/v1/customers/{inactive}/accounts")).await.is(200).json()["accounts"][0].clone();
    let cards = format!("/v1/accounts/{}/cards", account["id"].as_str().unwrap());
    let cards = partner.get(&cards).await.is(200).json()["cards"].clone();
    let status =
        |wanted: &str| cards.as_array().unwrap().iter().find(|card| card["type"] == wanted).unwrap()["status"].clone();
    // The physical card was inactive before its customer was.
    assert_eq!(
        (&account["status"], status("virtual"), status("physical")),
        (&json!("active"), json!("active"), json!("inactive"))
    );
}

/// A rotated secret and the one before it still sign what goes to their subscription.
async fn old_secrets_sign(service: &Service, recorded: &Value) {
    let partner = sandbox(service, recorded);
    let mut receiver = Receiver::start().await;
    let id = &recorded["webhook"]["id"];
    let body = json!({"id": id, "callbackUrl": receiver.url(), "types": ["customer.updated"]});
    partner.put("/v1/webhooks", &body).await.is(200);
    partner.call("POST", &format!("/v1/webhooks/{}/test", id.as_str().unwrap())).await.is(202);
    let received = loop {
        let received = receiver.next().await;
        if received.json()["webhookType"] == "webhook.test" {
            break received;
        }
    };
    let at = Timestamp::from_unix_seconds(received.header("webhook-timestamp").parse().unwrap());
    for secret in recorded["webhook"]["secrets"].as_array().unwrap() {
        let secret = Secret::parse(&secret.as_str().unwrap().into()).unwrap();
        let message = Message { id: received.header("webhook-id"), at, body: &received.body };
        let ours = message.signature(&[secret]);
        assert!(received.header("webhook-signature").split(' ').any(|theirs| theirs == ours), "{received:?}");
    }
}

/// Polls until the response is as wanted: the worker is busy with it.
async fn until(partner: &Partner, path: &str, wanted: impl Fn(&Value) -> bool) {
    for _ in 0..5000 {
        if wanted(&partner.get(path).await.is(200).json()) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{path} stays {:?}", partner.get(path).await);
}

/// The database of a version that may still run: to read it with this binary must not change it.
#[tokio::test]
async fn a_list_does_not_migrate() {
    let place = crate::process::Place::sqlite();
    let file = place.directory.path().join("customerd.db");
    std::fs::copy(fixture("sqlite/customerd.db"), &file).unwrap();
    for list in [["programme", "list"], ["operator", "list"]] {
        let refused = place.run(&list);
        assert_eq!(refused.status.code(), Some(1), "{list:?}");
        assert!(
            crate::process::stderr(&refused).contains("run `customerd migrate`"),
            "{}",
            crate::process::stderr(&refused)
        );
    }
    let url = format!("sqlite://{}", file.display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let newest = sqlx::query_scalar::<_, i64>("SELECT max(version) FROM _sqlx_migrations");
    assert_eq!(newest.fetch_one(&mut database).await.unwrap(), 10);
    database.close().await.unwrap();
    assert!(place.run(&["migrate"]).status.success());
    assert!(place.run(&["operator", "list"]).status.success());
}
