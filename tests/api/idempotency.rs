//! `Idempotency-Key`: at most once, and the same answer again.

use std::time::Duration;

use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{CreateCustomerRequest, GetCustomerRequest};
use serde_json::json;

use crate::support::{House, account, everywhere};

everywhere![
    a_replay_is_the_same_to_the_byte,
    refusals_are_replayed_too,
    another_request_under_the_key_is_refused,
    spelling_does_not_matter,
    keys_have_a_form,
    keys_are_a_programmes_own,
    a_key_lives_an_hour,
    what_was_not_understood_is_not_kept,
    both_doors_share_keys,
    concurrent_calls_make_one,
    concurrent_refusals_are_one,
    a_key_in_use_comes_before_what_exists,
    creates_that_are_written_together_do_not_spoil_each_other,
];

const KEY: &str = "9b3c2d1e-0000-4000-8000-00000000000a";

async fn a_replay_is_the_same_to_the_byte(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let first = wallet.post("/v1/customers", &body).key(KEY).await.is(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    service.wait(Duration::from_secs(60));
    for _ in 0..2 {
        let again = wallet.post("/v1/customers", &body).key(KEY).await.is(201);
        assert_eq!((again.body.clone(), again.header("idempotent-replayed")), (first.body.clone(), Some("true")));
        assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    }
    assert_eq!(wallet.get("/v1/customers").await.json()["customers"].as_array().unwrap().len(), 1);
    // In a structured-field string the key is the same key.
    let quoted = wallet.post("/v1/customers", &body).key(&format!("\"{KEY}\"")).await.is(201);
    assert_eq!(quoted.body, first.body);
    let upper = wallet.post("/v1/customers", &body).key(&KEY.to_uppercase()).await.is(201);
    assert_eq!(upper.body, first.body);
}

async fn refusals_are_replayed_too(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.customer("u-1").await;
    let body = json!({"chainId": account("u-1"), "externalId": "u-2"});
    let first = wallet.post("/v1/customers", &body).key(KEY).await.refuses(409, "CUSTOMER_EXISTS");
    let again = wallet.post("/v1/customers", &body).key(KEY).await.refuses(409, "CUSTOMER_EXISTS");
    // The request id in it is the first one's; that of this exchange is in the header.
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, Some("true")));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(again.json()["requestId"].as_str(), first.header("x-request-id"));

    let gone = "/v1/auth/signing/01900000-0000-7000-8000-000000000000";
    let key = "9b3c2d1e-0000-4000-8000-00000000000b";
    let first = wallet.delete(gone).key(key).await.refuses(404, "SIGNING_KEY_NOT_FOUND");
    let again = wallet.delete(gone).key(key).await.refuses(404, "SIGNING_KEY_NOT_FOUND");
    assert_eq!((again.body.clone(), again.header("idempotent-replayed")), (first.body, Some("true")));
}

async fn another_request_under_the_key_is_refused(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    wallet.post("/v1/customers", &body).key(KEY).await.is(201);
    let other = json!({"chainId": account("a"), "externalId": "u-2"});
    let refused = wallet.post("/v1/customers", &other).key(KEY).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    insta::assert_snapshot!("key_reused", refused.shown());
    wallet.delete("/v1/auth/credentials").key(KEY).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    wallet.delete("/v1/auth/signing/x").key(KEY).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    // Of the same RPC with another path, too.
    let key = "9b3c2d1e-0000-4000-8000-00000000000b";
    wallet.delete("/v1/auth/signing/x").key(key).await.refuses(404, "SIGNING_KEY_NOT_FOUND");
    wallet.delete("/v1/auth/signing/y").key(key).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    wallet.get("/v1/customers").await.is(200);
}

async fn spelling_does_not_matter(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let account = account("a");
    let first = wallet.post("/v1/customers", &json!({"chainId": account, "externalId": "u-1"})).key(KEY).await.is(201);
    for body in [
        format!("{{\"externalId\":\"u-1\",\"chainId\":\"{account}\"}}"),
        format!("\n {{ \"chainId\" : \"{account}\" , \"externalId\" : \"u-1\" }} \t"),
        format!("{{\"chainId\":\"{account}\",\"externalId\":\"\\u0075-1\"}}"),
    ] {
        let again = wallet.call("POST", "/v1/customers").body(body).key(KEY).await.is(201);
        assert_eq!(again.body, first.body);
    }
}

async fn keys_have_a_form(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let missing = wallet.post("/v1/customers", &body).without("idempotency-key").await;
    insta::assert_snapshot!("key_missing", missing.shown());
    let bare = KEY.replace('-', "");
    for bad in [
        "",
        "x",
        "1",
        &bare,
        &format!("\"{KEY}"),
        &format!("{{{KEY}}}"),
        &format!("urn:uuid:{KEY}"),
        &format!("{KEY}, {KEY}"),
    ] {
        wallet.post("/v1/customers", &body).key(bad).await.refuses(400, "IDEMPOTENCY_KEY_INVALID");
    }
    wallet.post("/v1/customers", &body).key(KEY).key(KEY).await.refuses(400, "IDEMPOTENCY_KEY_INVALID");
    for call in
        [wallet.delete("/v1/auth/credentials"), wallet.delete("/v1/auth/signing"), wallet.delete("/v1/auth/signing/x")]
    {
        call.without("idempotency-key").await.refuses(400, "IDEMPOTENCY_KEY_INVALID");
    }
    // On a reading call it means nothing.
    wallet.get("/v1/customers").key("x").await.is(200);
}

async fn keys_are_a_programmes_own(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let first = wallet.post("/v1/customers", &body).key(KEY).await.is(201).json();
    let theirs = rival.post("/v1/customers", &body).key(KEY).await.is(201);
    assert_eq!(theirs.header("idempotent-replayed"), None);
    assert_ne!(theirs.json()["id"], first["id"]);
}

async fn a_key_lives_an_hour(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let first = wallet.post("/v1/customers", &body).key(KEY).await.is(201);
    service.wait(Duration::from_secs(3599));
    assert_eq!(wallet.post("/v1/customers", &body).key(KEY).await.is(201).body, first.body);
    service.wait(Duration::from_secs(1));
    wallet.sign_in().await;
    // The key is free again: the request is a new one, and finds the customer that the old one made.
    let anew = wallet.post("/v1/customers", &body).key(KEY).await.refuses(409, "CUSTOMER_EXISTS");
    assert_eq!(anew.header("idempotent-replayed"), None);
    let again = wallet.post("/v1/customers", &body).key(KEY).await.refuses(409, "CUSTOMER_EXISTS");
    assert_eq!((again.body.clone(), again.header("idempotent-replayed")), (anew.body, Some("true")));
}

async fn what_was_not_understood_is_not_kept(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let wrong = json!({"chainId": "eip155:1", "externalId": "u-1"});
    let right = json!({"chainId": account("a"), "externalId": "u-1"});
    wallet.post("/v1/customers", &wrong).key(KEY).await.blames("chainId", "INVALID_CHAIN_ID");
    wallet.post("/v1/customers", &right).key(KEY).bearer("x").await.refuses(401, "UNAUTHENTICATED");
    let bent = wallet.post("/v1/customers", &right).key(KEY).signing(|s| s.bend = |_| vec![0; 96]);
    bent.await.refuses(401, "SIGNATURE_INVALID");
    wallet.post("/v1/customers", &right).key(KEY).await.is(201);
    // And once kept, what is not understood under the key is still told what is wrong with it.
    wallet.post("/v1/customers", &wrong).key(KEY).await.refuses(400, "VALIDATION_FAILED");
}

async fn both_doors_share_keys(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    let message = CreateCustomerRequest { chain_id: account("a"), external_id: "u-1".to_owned() };
    let keyed = |message: &CreateCustomerRequest| {
        let mut request = wallet.rpc(message.clone());
        request.metadata_mut().insert("idempotency-key", KEY.parse().unwrap());
        request
    };
    let first = grpc.create_customer(keyed(&message)).await.unwrap();
    assert!(first.metadata().get("idempotent-replayed").is_none());
    let again = grpc.create_customer(keyed(&message)).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), first.get_ref().clone());
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let over_rest = wallet.post("/v1/customers", &body).key(KEY).await.is(201);
    assert_eq!(
        (over_rest.json()["id"].as_str(), over_rest.header("idempotent-replayed")),
        (Some(first.get_ref().id.as_str()), Some("true"))
    );
    let other = CreateCustomerRequest { external_id: "u-2".to_owned(), ..message.clone() };
    assert_eq!(grpc.create_customer(keyed(&other)).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    // Without a key every call is a new one.
    let unkeyed = grpc.create_customer(wallet.rpc(message)).await.unwrap_err();
    assert_eq!(unkeyed.code(), tonic::Code::AlreadyExists);
    let mut bad = wallet.rpc(other);
    bad.metadata_mut().insert("idempotency-key", "x".parse().unwrap());
    assert_eq!(grpc.create_customer(bad).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let get = GetCustomerRequest { customer_id: first.get_ref().id.clone() };
    grpc.get_customer(wallet.rpc(get)).await.unwrap();
}

async fn concurrent_calls_make_one(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let calls = (0..64).map(|_| async { wallet.post("/v1/customers", &body).key(KEY).await });
    let answers = futures::future::join_all(calls).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty());
    let fresh = made.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!(fresh, 1);
    assert!(made.iter().all(|answer| answer.body == made[0].body));
    for other in answers.iter().filter(|answer| answer.status != 201) {
        other.clone().refuses(409, "IDEMPOTENCY_CONCURRENCY_CONFLICT");
        assert!(other.header("retry-after").is_some());
    }
    assert_eq!(wallet.get("/v1/customers").await.json()["customers"].as_array().unwrap().len(), 1);
}

async fn concurrent_refusals_are_one(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let existing = wallet.customer("u-1").await;
    let body = json!({"chainId": account("u-1"), "externalId": "u-1"});
    let calls = (0..64).map(|_| async { wallet.post("/v1/customers", &body).key(KEY).await });
    let answers = futures::future::join_all(calls).await;
    let (exists, others): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.json()["code"] == "CUSTOMER_EXISTS");
    assert_eq!(exists.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    assert!(exists.iter().all(|answer| answer.body == exists[0].body && answer.status == 409));
    assert_eq!(exists[0].json()["existingId"], existing["id"]);
    for other in others {
        other.clone().refuses(409, "IDEMPOTENCY_CONCURRENCY_CONFLICT");
    }
}

/// One statement breaks both rules then, and which of them the database names is not defined.
async fn a_key_in_use_comes_before_what_exists(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let [body, other] = ["u-1", "u-2"].map(|name| json!({"chainId": account(name), "externalId": name}));
    let made = wallet.post("/v1/customers", &body).key(KEY).await.is(201);
    wallet.customer("u-2").await;
    let calls = (0..64).map(|number| {
        let body = if number % 2 == 0 { &body } else { &other };
        async { wallet.post("/v1/customers", body).key(KEY).await }
    });
    let answers = futures::future::join_all(calls).await;
    for (number, answer) in answers.into_iter().enumerate() {
        if number % 2 == 0 {
            assert_eq!(answer.is(201).body, made.body);
        } else {
            answer.refuses(422, "IDEMPOTENCY_KEY_REUSED");
        }
    }
    assert_eq!(wallet.get("/v1/customers").await.json()["customers"].as_array().unwrap().len(), 2);
}

/// Some are new, some are replays, some conflict with a customer and some reuse a key.
async fn creates_that_are_written_together_do_not_spoil_each_other(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let key = |number: usize| format!("9b3c2d1e-0000-4000-8000-{number:012}");
    let body = |name: String| json!({"chainId": account(&name), "externalId": name});
    let old = wallet.post("/v1/customers", &body("old".to_owned())).key(KEY).await.is(201);
    let calls = (0..64).map(|number| {
        let (key, name, wallet) = (key(number), format!("n-{number}"), &wallet);
        async move {
            match number % 4 {
                0 => wallet.post("/v1/customers", &body("old".to_owned())).key(KEY).await,
                1 => wallet.post("/v1/customers", &body("old".to_owned())).key(&key).await,
                2 => wallet.post("/v1/customers", &body("other".to_owned())).key(KEY).await,
                _ => wallet.post("/v1/customers", &body(name)).key(&key).await,
            }
        }
    });
    let responses = futures::future::join_all(calls).await;
    for (number, response) in responses.into_iter().enumerate() {
        match number % 4 {
            0 => assert_eq!(response.is(201).body, old.body),
            1 => assert_eq!(response.refuses(409, "CUSTOMER_EXISTS").json()["existingId"], old.json()["id"]),
            2 => drop(response.refuses(422, "IDEMPOTENCY_KEY_REUSED")),
            _ => assert_eq!(response.is(201).json()["externalId"], format!("n-{number}")),
        }
    }
    let listed = wallet.get("/v1/customers?pageSize=100").await.is(200).json();
    assert_eq!(listed["customers"].as_array().unwrap().len(), 17);
}
