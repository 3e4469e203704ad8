//! HTTP as such: methods, media types, sizes, request ids, health, documents.

use serde_json::{Value, json};

use crate::support::{House, account, everywhere};

everywhere![
    paths_and_methods,
    errors_name_what_is_known,
    head_and_options,
    media_types,
    sizes,
    requests_have_ids_and_traces,
    health_metrics_and_documents,
    a_browser_finds_the_reference,
    the_default_origin_is_the_listeners_own,
    a_stop_finishes_and_a_start_goes_on,
    a_front_without_a_backend_says_so,
    a_front_does_not_wait_for_a_silent_backend,
];

async fn paths_and_methods(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let nowhere = wallet.call("GET", "/v1/nowhere").bare().await;
    insta::assert_snapshot!("no_route", nowhere.shown());
    for path in
        ["//", "/v1", "/v1/", "/v1/customers/", "//v1/customers", "/V1/customers", "/v1/customers/x/", "/v2/customers"]
    {
        wallet.get(path).bare().await.refuses(404, "ROUTE_NOT_FOUND");
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/customers", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/v1/customers/x", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/auth/token", "OPTIONS, POST"),
        ("POST", "/v1/auth/signing", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("GET", "/v1/auth/credentials", "DELETE, OPTIONS, PUT"),
        ("TRACE", "/v1/customers", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
        ("DELETE", "/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("GET", "/callbacks/kyc/sumsub", "OPTIONS, POST"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
    ] {
        let answer = wallet.call(method, path).bare().await.refuses(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        let detail = format!("This path has no such method. It has {}.", answer.header("allow").unwrap());
        assert_eq!(answer.json()["detail"], detail);
        let options = wallet.call("OPTIONS", path).bare().await.is(204);
        assert_eq!((options.header("allow"), options.body.len()), (Some(allow), 0), "{path}");
    }
    // Its pages are for people.
    let page = wallet.delete("/verify/x").bare().await.is(405);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}

async fn errors_name_what_is_known(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let detail = async |path: &str| {
        wallet.get(path).bare().await.refuses(404, "ROUTE_NOT_FOUND").json()["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(detail("/v1/custmers").await, "There is nothing at this path. The nearest is /v1/customers.");
    assert_eq!(
        detail("/v1/customers/42/deactivated").await,
        "There is nothing at this path. The nearest is /v1/customers/{customerId}/deactivate."
    );
    assert_eq!(
        detail("/v2/invoices").await,
        "There is nothing at this path. Paths begin with /v1/accounts, /v1/auth, /v1/cards, /v1/customers, /v1/events, \
         /v1/simulator, /v1/webhooks."
    );
    let broken = wallet.post("/v1/customers", &json!(0)).body("{\n  \"externalId\": \"ü\" \"chainId\"}").await;
    let broken = broken.blames("", "MALFORMED_JSON").json();
    assert_eq!(broken["errors"][0]["message"], "a comma or the end is missing at line 2, column 21");
    service.stop().await;
}

async fn head_and_options(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.customer("u-1").await;
    let get = wallet.get("/v1/customers").await.is(200);
    let head = wallet.call("HEAD", "/v1/customers").await.is(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
    assert_eq!(head.header("content-type"), Some("application/json"));
    let refused = wallet.call("HEAD", "/v1/customers").bearer("x").await;
    assert_eq!((refused.status, refused.body.len()), (401, 0));
    let options = wallet.call("OPTIONS", "/v1/customers").bare().await.is(204);
    assert_eq!((options.header("allow"), options.body.len()), (Some("GET, HEAD, OPTIONS, POST"), 0));
    wallet.call("OPTIONS", "/v1/nowhere").bare().await.refuses(404, "ROUTE_NOT_FOUND");
}

async fn media_types(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = |name: &str| json!({"chainId": account(name), "externalId": name});
    for (number, good) in
        ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\""].iter().enumerate()
    {
        let call = wallet.post("/v1/customers", &body(&number.to_string())).header("content-type", good);
        call.await.is(201);
    }
    for bad in
        ["text/plain", "application/xml", "application/json; charset=latin1", "application/problem+json", "json", ""]
    {
        let call = wallet.post("/v1/customers", &body("x")).header("content-type", bad);
        call.await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    wallet.post("/v1/customers", &body("x")).without("content-type").await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    let coded = wallet.post("/v1/customers", &body("x")).header("content-encoding", "gzip");
    coded.await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");

    for good in
        ["*/*", "application/*", "application/json", "text/html, application/json;q=0.1", "application/json;q=1.0"]
    {
        wallet.get("/v1/customers").header("accept", good).await.is(200);
    }
    for bad in ["text/html", "application/xml", "application/json;q=0", "text/event-stream"] {
        wallet.get("/v1/customers").header("accept", bad).await.refuses(406, "NOT_ACCEPTABLE");
    }
}

async fn sizes(house: House) {
    let service = house.start_with(&["--body-limit", "4KiB"]).await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("u-1"), "externalId": "u-1"}).to_string();
    let padded = |size: usize| format!("{body}{}", " ".repeat(size - body.len()));
    wallet.call("POST", "/v1/customers").body(padded(4096)).await.is(201);
    wallet.call("POST", "/v1/customers").body(padded(4097)).await.refuses(413, "PAYLOAD_TOO_LARGE");
    wallet.call("POST", "/v1/customers").body(padded(4097)).http2().await.refuses(413, "PAYLOAD_TOO_LARGE");
    let long = "x".repeat(20_000);
    let answer = wallet.get("/v1/customers").header("x-long", &long).await;
    assert_eq!(answer.status, 431);
}

async fn requests_have_ids_and_traces(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let named = || wallet.get("/v1/customers/x").header("x-request-id", "my-own/1").header("traceparent", trace);
    let answer = named().await.refuses(404, "CUSTOMER_NOT_FOUND");
    assert_eq!((answer.header("x-request-id"), answer.header("traceparent")), (Some("my-own/1"), Some(trace)));
    assert_eq!(answer.json()["requestId"], "my-own/1");
    let refused = named().bearer("x").await.refuses(401, "UNAUTHENTICATED");
    assert_eq!(refused.json()["requestId"], "my-own/1");
    let refused = named().without("signature").await.refuses(401, "SIGNATURE_MISSING");
    assert_eq!(refused.json()["requestId"], "my-own/1");

    for bad in ["", "with space", &"x".repeat(129)] {
        let answer = wallet.get("/v1/customers/x").header("x-request-id", bad).header("traceparent", "x").await;
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
        assert_eq!(answer.json()["requestId"], id);
        assert!(answer.header("traceparent").is_some_and(|made| made.len() == 55 && made.starts_with("00-")));
    }
    let unknown_route = wallet.get("/v1/nowhere").bare().await.refuses(404, "ROUTE_NOT_FOUND");
    assert_eq!(unknown_route.json()["requestId"].as_str(), unknown_route.header("x-request-id"));
}

async fn health_metrics_and_documents(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    assert_eq!(wallet.get("/healthz").bare().await.is(200).text(), "ok\n");
    assert_eq!(wallet.get("/readyz").bare().await.is(200).text(), "ready\n");
    wallet.get("/v1/customers/x").await.is(404);
    let metrics = wallet.get("/metrics").bare().await.is(200);
    assert!(metrics.text().contains("/v1/customers/{customerId}"), "{metrics:?}");
    assert!(!metrics.text().contains("/v1/customers/x"), "no label of the caller's making");
    let openapi = wallet.get("/openapi.json").bare().await.is(200).json();
    assert_eq!(openapi["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
    let created = &openapi["paths"]["/v1/customers"]["post"]["responses"]["201"];
    assert_ne!(created, &Value::Null, "{openapi}");
    assert_eq!(openapi["servers"][0]["url"], "/", "wherever it was read");
}

async fn a_browser_finds_the_reference(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let root = wallet.get("/").bare().await.is(303);
    assert_eq!(root.header("location"), Some("/docs"));
    let docs = wallet.get("/docs").bare().await.is(200);
    assert_eq!(docs.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(docs.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
    let (html, openapi) = (docs.text(), wallet.get("/openapi.json").bare().await.is(200).json());
    // Every call, every type and every code is there, and every link within the page leads somewhere.
    for call in openapi["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values()) {
        let id = call["operationId"].as_str().unwrap();
        assert!(html.contains(&format!("<h3 id=\"{id}\">")), "{id}");
    }
    let mut links: Vec<&str> = html.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    links.sort_unstable();
    links.dedup();
    assert!(links.contains(&"Customer") && links.contains(&"createCustomer"));
    for id in links {
        assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
    }
    assert!(html.contains("IDEMPOTENCY_KEY_REUSED"));
    for secret in ["/verify/a-token", "/verify/a-token/x", "/kyc/sandbox/a-token"] {
        wallet.get(secret).bare().await.is(404);
    }
    let metrics = wallet.get("/metrics").bare().await.is(200);
    for route in ["/docs", "/openapi.json", "/verify/{token}", "/kyc/sandbox/{token}"] {
        assert!(metrics.text().contains(&format!("route=\"{route}\"")), "{route}: {metrics:?}");
    }
    assert!(!metrics.text().contains("a-token"), "no label of the caller's making");
}

async fn the_default_origin_is_the_listeners_own(house: House) {
    let service = house.start_with(&["--public-url", "http://127.0.0.1:9,https://customers.test"]).await;
    let wallet = service.partner("Wallet").await;
    // A request belongs to the origin that its Host names; an unknown host stands for the first.
    wallet.get("/v1/customers").await.is(200);
    let first = |s: &mut crate::support::Signing| {
        s.lies.push(("@target-uri".to_owned(), "http://127.0.0.1:9/v1/customers".to_owned()));
    };
    wallet.get("/v1/customers").header("host", "127.0.0.1:9").signing(first).await.is(200);
    wallet.get("/v1/customers").header("host", "proxy.internal").signing(first).await.is(200);
    wallet.get("/v1/customers").header("host", "127.0.0.1:9").await.refuses(401, "SIGNATURE_INVALID");
    let upper = wallet.get("/v1/customers").header("host", "CUSTOMERS.test:443");
    upper.await.is(200);
    let customer = wallet.customer("u-1").await;
    assert!(customer["verificationUrl"].as_str().unwrap().starts_with("http://127.0.0.1:9/verify/"));
}

async fn a_stop_finishes_and_a_start_goes_on(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": account("u-1"), "externalId": "u-1"});
    let key = "9b3c2d1e-0000-4000-8000-000000000001";
    let first = wallet.post("/v1/customers", &body).key(key).await.is(201);
    let house = service.stop().await;
    let service = house.start().await;
    // The same keys sign tokens, the same answer is stored, the same link is made.
    let wallet = crate::support::Partner { http: service.http, clock: service.clock.clone(), ..wallet };
    let again = wallet.post("/v1/customers", &body).key(key).await.is(201);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, Some("true")));
    wallet.customer("u-2").await;
}

/// The backend takes the connection and says nothing.
async fn a_front_does_not_wait_for_a_silent_backend(house: House) {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", silent.local_addr().unwrap());
    let (http, _front) = house.front_to(&upstream, &["--request-deadline", "50ms"]).await;
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    wallet.http = http;
    let refused = wallet.get("/v1/customers").await.refuses(503, "UNAVAILABLE");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
}

async fn a_front_without_a_backend_says_so(house: House) {
    let (http, _front) = house.front_alone().await;
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    wallet.http = http;
    wallet.get("/healthz").bare().await.is(200);
    let unready = wallet.get("/readyz").bare().await.is(503);
    assert!(unready.text().contains("the backend does not answer"), "{unready:?}");
    let refused = wallet.get("/v1/customers").await.refuses(503, "UNAVAILABLE");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(!refused.text().contains("127.0.0.1"), "{refused:?}");
    // What the front can tell by itself it tells.
    wallet.get("/v1/nowhere").await.refuses(404, "ROUTE_NOT_FOUND");
    wallet.delete("/v1/auth/credentials").without("idempotency-key").await.refuses(400, "IDEMPOTENCY_KEY_INVALID");
}
