//! Tokens and credentials.

use std::time::Duration;

use customerd::store::customers::{self, Filter};
use customerd::store::{Tx, programmes, signing_keys};
use serde_json::json;

use crate::support::{House, Partner, Service, account, everywhere};

everywhere![
    credentials_give_a_token_for_an_hour,
    wrong_key_and_wrong_secret_answer_alike,
    guessing_is_slowed,
    a_bearer_is_needed,
    new_credentials_end_every_token,
    credentials_have_a_form,
    an_api_key_has_one_programme,
    deleted_credentials_end_access,
    a_disabled_programme_is_locked_out,
    a_known_caller_is_asked_for_all_the_same,
];

const SECRET: &str = "a-secret-of-more-than-32-visible-characters";

async fn credentials_give_a_token_for_an_hour(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut answer = wallet.ask_token(&wallet.api_key, &wallet.api_secret).await.is(200).json();
    assert!(answer["token"].take().as_str().is_some_and(|token| token.split('.').count() == 3));
    assert_eq!(answer, json!({"token": null, "expiresAt": 1_767_323_045 + 3600, "tokenType": "Bearer"}));
    service.wait(Duration::from_secs(3599));
    wallet.get("/v1/customers").await.is(200);
    service.wait(Duration::from_secs(1));
    let expired = wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");
    insta::assert_snapshot!("token_expired", expired.shown());
}

async fn wrong_key_and_wrong_secret_answer_alike(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let shown = wallet.ask_token(&wallet.api_key, SECRET).await.shown();
    insta::assert_snapshot!("wrong_credentials", shown.replace("request-2", "request"));
    for (number, key) in [(3, "5f6e6c1e-8f6f-4a33-9d1c-0f6b2f1f3a55"), (4, "no uuid")] {
        let other = wallet.ask_token(key, &wallet.api_secret).await.shown();
        assert_eq!(other.replace(&format!("request-{number}"), "request"), shown.replace("request-2", "request"));
    }
    wallet.ask_token("", &wallet.api_secret).await.blames("apiKey", "REQUIRED");
    wallet.ask_token(&wallet.api_key, "").await.blames("apiSecret", "REQUIRED");
    let extra = json!({"apiKey": wallet.api_key, "apiSecret": wallet.api_secret, "scope": "all"});
    wallet.post("/v1/auth/token", &extra).bare().await.blames("scope", "UNKNOWN_FIELD");
}

async fn guessing_is_slowed(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for _ in 0..5 {
        wallet.ask_token(&wallet.api_key, SECRET).await.refuses(401, "CREDENTIALS_INVALID");
    }
    let slowed = wallet.ask_token(&wallet.api_key, SECRET).await.refuses(429, "AUTHENTICATION_THROTTLED");
    assert_eq!(slowed.header("retry-after"), Some("10"));
    // A token that is out already goes on working; so does another programme.
    wallet.get("/v1/customers").await.is(200);
    let rival = service.partner("Rival").await;
    rival.ask_token(&rival.api_key, &rival.api_secret).await.is(200);
    service.wait(Duration::from_secs(10));
    wallet.ask_token(&wallet.api_key, &wallet.api_secret).await.is(200);
    wallet.ask_token(&wallet.api_key, SECRET).await.refuses(401, "CREDENTIALS_INVALID");
}

async fn a_bearer_is_needed(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.get("/v1/customers").without("authorization").await.refuses(401, "UNAUTHENTICATED");
    let forged = format!("{}x", wallet.token);
    let unsecured = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwMTkwMDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDAiLCJnZW4iOjEsImV4cCI6OTk5OTk5OTk5OX0.";
    for value in ["Bearer", "Bearer ", "Basic dTpw", "Bearer x.y.z", unsecured, &format!("Bearer {forged}")] {
        wallet.get("/v1/customers").header("authorization", value).await.refuses(401, "UNAUTHENTICATED");
    }
    wallet.get("/v1/customers").header("authorization", &format!("bearer {}", wallet.token)).await.is(200);
    let twice = wallet.get("/v1/customers").bearer(&wallet.token).bearer(&wallet.token);
    twice.await.refuses(401, "UNAUTHENTICATED");
}

async fn new_credentials_end_every_token(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let (key, old) = ("3f0e6c1e-8f6f-4a33-9d1c-0f6b2f1f3a55", (wallet.api_key.clone(), wallet.api_secret.clone()));
    let body = json!({"apiKey": key, "apiSecret": SECRET});
    let put = wallet.put("/v1/auth/credentials", &body).key("9b3c2d1e-0000-4000-8000-000000000001").await.is(204);
    assert!(put.body.is_empty());
    wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");
    wallet.ask_token(&old.0, &old.1).await.refuses(401, "CREDENTIALS_INVALID");
    wallet.ask_token(key, &old.1).await.refuses(401, "CREDENTIALS_INVALID");
    (wallet.api_key, wallet.api_secret) = (key.to_owned(), SECRET.to_owned());
    wallet.sign_in().await;
    wallet.get("/v1/customers").await.is(200);
    // The retry of a lost answer changes nothing more: the present token lives on.
    let again = wallet.put("/v1/auth/credentials", &body).key("9b3c2d1e-0000-4000-8000-000000000001").await.is(204);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    wallet.get("/v1/customers").await.is(200);
}

async fn credentials_have_a_form(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let key = "3f0e6c1e-8f6f-4a33-9d1c-0f6b2f1f3a55";
    for (key, secret, field, code) in [
        ("", SECRET, "apiKey", "REQUIRED"),
        ("nope", SECRET, "apiKey", "INVALID_VALUE"),
        (key, "", "apiSecret", "REQUIRED"),
        (key, "only-31-visible-characters-here", "apiSecret", "INVALID_VALUE"),
        (key, "32 characters, but they have spaces", "apiSecret", "INVALID_VALUE"),
    ] {
        let body = json!({"apiKey": key, "apiSecret": secret});
        let answer = wallet.put("/v1/auth/credentials", &body).await.blames(field, code);
        assert!(secret.is_empty() || !answer.text().contains(secret));
    }
    wallet.get("/v1/customers").await.is(200);
}

async fn an_api_key_has_one_programme(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let body = json!({"apiKey": rival.api_key, "apiSecret": SECRET});
    wallet.put("/v1/auth/credentials", &body).await.refuses(409, "API_KEY_EXISTS");
    wallet.get("/v1/customers").await.is(200);
    rival.ask_token(&rival.api_key, &rival.api_secret).await.is(200);
    // One's own key may stay.
    let body = json!({"apiKey": wallet.api_key, "apiSecret": SECRET});
    wallet.put("/v1/auth/credentials", &body).await.is(204);
    wallet.ask_token(&wallet.api_key, SECRET).await.is(200);
}

async fn deleted_credentials_end_access(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.delete("/v1/auth/credentials").await.is(204);
    wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");
    wallet.delete("/v1/auth/credentials").await.refuses(401, "UNAUTHENTICATED");
    wallet.ask_token(&wallet.api_key, &wallet.api_secret).await.refuses(401, "CREDENTIALS_INVALID");
}

async fn a_disabled_programme_is_locked_out(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut tx = service.store.begin().await.unwrap();
    assert!(programmes::set_disabled(&mut tx, wallet.programme_id, true, service.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
    wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");
    wallet.ask_token(&wallet.api_key, &wallet.api_secret).await.refuses(401, "CREDENTIALS_INVALID");
}

/// What another node, or the command line, does to the database is heard of at the next call: nothing that this node
/// remembers of a caller lets it in.
async fn a_known_caller_is_asked_for_all_the_same(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let known = known(&wallet).await;

    change(&service, async |tx| {
        assert_eq!(signing_keys::delete(tx, wallet.programme_id, Some(&wallet.key_id)).await.unwrap(), 1);
    })
    .await;
    refused(&wallet, &known, "KEY_UNKNOWN").await;

    let key = signing_keys::SigningKey {
        key_id: "another".to_owned(),
        algorithm: wallet.key.algorithm().name().to_owned(),
        public_key: wallet.key.public_key().spki_der().to_vec(),
        created_at: service.clock.now(),
    };
    change(&service, async |tx| assert!(signing_keys::insert(tx, wallet.programme_id, &key).await.unwrap())).await;
    wallet.key_id = key.key_id;
    wallet.get(&known).await.is(200);

    change(&service, async |tx| {
        let now = service.clock.now();
        assert!(programmes::set_credentials(tx, wallet.programme_id, None, now).await.unwrap());
    })
    .await;
    refused(&wallet, &known, "UNAUTHENTICATED").await;
    let filter = Filter { programme_id: wallet.programme_id, limit: 10, ..Filter::default() };
    let rows = customers::page(&mut service.store.reader().await.unwrap(), &filter, None).await.unwrap();
    assert_eq!(rows.len(), 1, "what was refused left something behind");
}

/// Makes a customer and reads it, so that the caller is known from then on; the customer's path.
async fn known(wallet: &Partner) -> String {
    let body = json!({"chainId": account("u-1"), "externalId": "u-1"});
    let made = wallet.post("/v1/customers", &body).key(KEY).await.is(201).json();
    let path = format!("/v1/customers/{}", made["id"].as_str().unwrap());
    wallet.get(&path).await.is(200);
    path
}

const KEY: &str = "9b3c2d1e-0000-4000-8000-000000000009";

async fn change(service: &Service, made: impl AsyncFnOnce(&mut Tx)) {
    let mut tx = service.store.begin().await.unwrap();
    made(&mut tx).await;
    tx.commit().await.unwrap();
}

/// Nothing is found, created, refused for a reason of its own, or replayed.
async fn refused(wallet: &Partner, known: &str, code: &str) {
    wallet.get(known).await.refuses(401, code);
    wallet.get("/v1/customers/01900000-0000-7000-8000-000000000000").await.refuses(401, code);
    wallet.get("/v1/customers/nonsense").await.refuses(401, code);
    let [one, two] = ["u-1", "u-2"].map(|name| json!({"chainId": account(name), "externalId": name}));
    wallet.post("/v1/customers", &two).await.refuses(401, code);
    wallet.post("/v1/customers", &one).await.refuses(401, code);
    wallet.post("/v1/customers", &json!({"chainId": "nonsense", "externalId": "u-3"})).await.refuses(401, code);
    wallet.post("/v1/customers", &one).key(KEY).await.refuses(401, code);
    wallet.post("/v1/customers", &two).key(KEY).await.refuses(401, code);
    wallet.patch(&format!("{known}/deactivate")).await.refuses(401, code);
}
