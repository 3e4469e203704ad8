//! The order of checks, and how bodies are refused.

use std::time::Duration;

use customerd::api::v1::WatchEventsRequest;
use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use serde_json::json;

use crate::support::{Call, House, account, everywhere};

everywhere![
    checks_have_an_order,
    bodies_are_strict,
    calls_without_a_body_take_none,
    programmes_have_a_rate,
    a_dead_token_uses_up_no_rate,
];

const LIMIT: usize = 1024;

/// Spoils one thing about a request.
type Spoil = for<'a> fn(Call<'a>) -> Call<'a>;

async fn checks_have_an_order(house: House) {
    let service = house.start_with(&["--body-limit", "1KiB"]).await;
    let wallet = service.partner("Wallet").await;
    // Each request has one fault, and every fault that comes later. The first is the one that is named.
    let faults: [(u16, &str, Spoil); 10] = [
        (413, "PAYLOAD_TOO_LARGE", |call| call.body(vec![b' '; LIMIT + 1])),
        (415, "UNSUPPORTED_MEDIA_TYPE", |call| call.header("content-type", "text/plain")),
        (400, "IDEMPOTENCY_KEY_INVALID", |call| call.key("x")),
        (400, "DIGEST_MISSING", |call| call.header("content-digest", "x")),
        (401, "SIGNATURE_MISSING", |call| call.without("signature-input")),
        (401, "UNAUTHENTICATED", |call| call.bearer("x")),
        (401, "DIGEST_MISMATCH", |call| call.header("content-digest", &crate::support::sha256(b"other"))),
        (401, "SIGNATURE_COVERAGE", |call| call.signing(|s| s.omit("@method"))),
        (401, "SIGNATURE_INVALID", |call| call.signing(|s| s.bend = |_| vec![0; 96])),
        (400, "VALIDATION_FAILED", |call| call),
    ];
    for (at, (status, code, _)) in faults.iter().enumerate() {
        let mut call = wallet.call("POST", "/v1/customers").body("{\"a\": 1}");
        let mut spoilt: Vec<&str> = Vec::new();
        for (_, name, spoil) in &faults[at..] {
            // Two digests would be a fault of form.
            if *name == "DIGEST_MISMATCH" && spoilt.contains(&"DIGEST_MISSING") {
                continue;
            }
            spoilt.push(name);
            call = spoil(call);
        }
        call.await.refuses(*status, code);
    }
    let nowhere = wallet.call("POST", "/v1/nowhere").bare().body(vec![b' '; LIMIT + 1]);
    nowhere.await.refuses(404, "ROUTE_NOT_FOUND");
    let no_method = wallet.call("PUT", "/v1/customers").bare().body(vec![b' '; LIMIT + 1]).await;
    assert_eq!(no_method.refuses(405, "METHOD_NOT_ALLOWED").header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    // A body that fails to decode is no way around the bearer and the signature.
    let unsigned = wallet.call("POST", "/v1/customers").body("{").signing(|s| s.bend = |_| vec![0; 96]);
    unsigned.await.refuses(401, "SIGNATURE_INVALID");
    let unknown_query = wallet.get("/v1/customers?x=1").bearer("x");
    unknown_query.await.refuses(401, "UNAUTHENTICATED");
}

async fn bodies_are_strict(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let chain = account("a");
    let post = async |body: &str| wallet.call("POST", "/v1/customers").body(body.replace("CHAIN", &chain)).await;
    for (body, field, code) in [
        (r#"{"chainId": "CHAIN", "externalId": "u", "extra": 1}"#, "extra", "UNKNOWN_FIELD"),
        (r#"{"chainId": "CHAIN", "externalId": "u", "chainId": "CHAIN"}"#, "chainId", "DUPLICATE_FIELD"),
        (r#"{"chainId": "CHAIN", "externalId": 7}"#, "externalId", "INVALID_TYPE"),
        (r#"{"chainId": ["CHAIN"], "externalId": "u"}"#, "chainId", "INVALID_TYPE"),
        (r#"{"chainId": "CHAIN", "externalId": null}"#, "externalId", "REQUIRED"),
        (r#"{"chainId": "CHAIN", "externalId": "u"} x"#, "", "MALFORMED_JSON"),
        (r#"{"chainId": "CHAIN", "externalId": "u"}{}"#, "", "MALFORMED_JSON"),
        (r#"{"chainId": "CHAIN", "externalId": "u",}"#, "", "MALFORMED_JSON"),
        (r#"{"chainId": "CHAIN", "externalId": "u"#, "externalId", "MALFORMED_JSON"),
        (r#"{"chainId": "CHAIN", "externalId": "\ud800"}"#, "externalId", "MALFORMED_JSON"),
        (r#"{'chainId': "CHAIN"}"#, "", "MALFORMED_JSON"),
        ("[]", "", "INVALID_TYPE"),
        ("null", "", "INVALID_TYPE"),
        ("\u{feff}{}", "", "MALFORMED_JSON"),
        (" ", "", "MALFORMED_JSON"),
    ] {
        post(body).await.blames(field, code);
    }
    let invalid_utf8 = wallet.call("POST", "/v1/customers").body(b"{\"chainId\": \"\xff\"}".to_vec()).await;
    invalid_utf8.blames("chainId", "MALFORMED_JSON");
    post(&"[".repeat(100_000)).await.refuses(400, "VALIDATION_FAILED");
    insta::assert_snapshot!("unknown_field", post(r#"{"extra": 1}"#).await.shown());
    assert_eq!(wallet.get("/v1/customers").await.json()["customers"], json!([]));
}

async fn calls_without_a_body_take_none(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for (method, target) in [
        ("GET", "/v1/customers"),
        ("GET", "/v1/customers/x"),
        ("GET", "/v1/auth/signing"),
        ("DELETE", "/v1/auth/signing"),
        ("DELETE", "/v1/auth/signing/x"),
        ("DELETE", "/v1/auth/credentials"),
    ] {
        wallet.call(method, target).body("{}").await.blames("body", "UNKNOWN_FIELD");
    }
    wallet.get("/v1/customers").await.is(200);
    let none = wallet.get("/v1/customers/x?a=b").await.blames("a", "UNKNOWN_PARAMETER");
    assert_eq!(none.json()["errors"][0]["message"], "this call takes no query parameters");
    let list = wallet.get("/v1/customers?page=2").await.blames("page", "UNKNOWN_PARAMETER");
    let known = "this query parameter is not known here; known are pageSize, pageToken, status, chainId, externalId, \
                 createdAfter, createdBefore";
    assert_eq!(list.json()["errors"][0]["message"], known);
}

async fn programmes_have_a_rate(house: House) {
    let service = house.start_with(&["--rate-limit", "3/30s"]).await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let first = wallet.get("/v1/customers").await.is(200);
    assert_eq!(first.header("ratelimit-policy"), Some("\"programme\";q=3;w=30"));
    assert_eq!(first.header("ratelimit"), Some("\"programme\";r=2;t=10"));
    wallet.get("/v1/customers/x").await.refuses(404, "CUSTOMER_NOT_FOUND");
    let third = wallet.customer("u-1").await;
    let refused = wallet.get("/v1/customers").await.refuses(429, "RATE_LIMITED");
    insta::assert_snapshot!("rate_limited", refused.shown());
    // A stream is a request as well.
    let mut events = WebhookServiceClient::new(service.channel().await);
    let refused = events.watch_events(wallet.rpc(WatchEventsRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    rival.get("/v1/customers").await.is(200);
    service.wait(Duration::from_secs(10));
    wallet.get(&format!("/v1/customers/{}", third["id"].as_str().unwrap())).await.is(200);
    wallet.get("/v1/customers").await.refuses(429, "RATE_LIMITED");
}

async fn a_dead_token_uses_up_no_rate(house: House) {
    let service = house.start_with(&["--rate-limit", "3/30s"]).await;
    let mut wallet = service.partner("Wallet").await;
    let made = wallet.customer("u-1").await;
    let path = format!("/v1/customers/{}", made["id"].as_str().unwrap());
    wallet.get(&path).await.is(200);
    let secret = "a-secret-of-more-than-32-visible-characters";
    let credentials = json!({"apiKey": wallet.api_key, "apiSecret": secret});
    wallet.put("/v1/auth/credentials", &credentials).await.is(204);
    service.wait(Duration::from_secs(30));
    for _ in 0..5 {
        wallet.get(&path).await.refuses(401, "UNAUTHENTICATED");
    }
    wallet.api_secret = secret.to_owned();
    wallet.sign_in().await;
    assert_eq!(wallet.get(&path).await.is(200).header("ratelimit"), Some("\"programme\";r=2;t=10"));
}
