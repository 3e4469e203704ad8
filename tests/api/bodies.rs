//! Bodies that do not come, come slowly or are many: what they take, and what everybody else gets.

use std::future::IntoFuture as _;
use std::time::Duration;

use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{CreateCustomerRequest, ListCustomersRequest};
use customerd::store::{Connection as _, Dialect, Tx};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::json;
use tonic::{Code, Request};

use crate::support::half::head;
use crate::support::{Call, Half, House, Partner, Service, Stream, account, everywhere};

everywhere![
    requests_that_are_not_whole_take_no_slot,
    memory_for_bodies_has_a_limit,
    one_client_takes_no_more_than_its_share,
    one_client_leaves_slots_to_others,
    a_front_is_not_counted_but_its_clients_are,
    headers_are_judged_before_the_body_is_there,
    a_body_that_is_not_announced_is_judged_by_its_first_byte,
    open_streams_of_messages_take_no_slot,
    a_message_counts_as_soon_as_it_is_announced,
];

/// As often as the listeners ask.
const SPAN: Duration = Duration::from_secs(15);

/// What anybody else wants meanwhile.
async fn bystanders_are_served(service: &Service, wallet: &Partner, name: &str) {
    wallet.customer(name).await;
    wallet.get("/v1/customers").await.is(200);
    wallet.get("/v1/customers").http2().await.is(200);
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    grpc.list_customers(wallet.rpc(ListCustomersRequest::default())).await.unwrap();
    wallet.get("/healthz").bare().await.is(200);
}

async fn requests_that_are_not_whole_take_no_slot(house: House) {
    let service = house.start_with(&["--max-concurrent-requests", "8"]).await;
    let wallet = service.partner("Wallet").await;
    let token = || wallet.call("POST", "/v1/auth/token").bare().body("{\"apiKey\": 1}");
    let mut halves = Vec::new();
    for _ in 0..40 {
        halves.push(token().begin(1).await);
    }
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.extend(Stream::open(service.http, ("/v1/auth/token", "application/json"), 64).await);
        streams.extend(
            Stream::open(service.grpc, ("/customerd.v1.AuthService/CreateToken", "application/grpc"), 64).await,
        );
    }
    streams.iter().for_each(|stream| stream.send(&[0]));
    service.until_waiting([40 + 128, 128]).await;
    bystanders_are_served(&service, &wallet, "u-1").await;
    assert_eq!(service.used().map(|used| (used.slots, used.bodies)), [(0, 168), (0, 128)]);

    service.wait(SPAN);
    for half in halves {
        half.answer().await.refuses(408, "REQUEST_TIMEOUT");
    }
    for stream in streams {
        let answer = stream.answer().await;
        let status = answer.header("grpc-status").map(str::to_owned);
        match status.as_deref() {
            Some(status) => assert_eq!(status, "4", "DEADLINE_EXCEEDED"),
            None => drop(answer.refuses(408, "REQUEST_TIMEOUT")),
        }
    }
    service.until_waiting([0, 0]).await;
    bystanders_are_served(&service, &wallet, "u-2").await;
}

async fn memory_for_bodies_has_a_limit(house: House) {
    let limits = ["--body-limit", "8KiB", "--body-memory", "64KiB", "--client-share", "100%"];
    let service = house.start_with(&limits).await;
    let wallet = service.partner("Wallet").await;
    let large = || wallet.call("POST", "/v1/auth/token").bare().body(vec![b' '; 8192]);
    let mut halves = Vec::new();
    for _ in 0..20 {
        halves.push(large().begin(7000).await);
        let used = service.used().map(|used| used.body_bytes);
        assert!(used.iter().sum::<usize>() <= 65536, "{used:?}");
    }
    // Small ones find memory however many large ones there are.
    for number in 0..5 {
        bystanders_are_served(&service, &wallet, &format!("u-{number}")).await;
    }
    let mut answers = Vec::new();
    for half in halves {
        answers.push(half.finish().await);
    }
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert!((1..20).contains(&refused), "{refused}");
    for answer in answers {
        match answer.status {
            503 => assert_eq!(answer.refuses(503, "UNAVAILABLE").header("retry-after"), Some("1")),
            _ => drop(answer.refuses(400, "VALIDATION_FAILED")),
        }
    }
    service.until_waiting([0, 0]).await;
}

async fn one_client_takes_no_more_than_its_share(house: House) {
    let service = house
        .start_with(&[
            "--body-limit",
            "8KiB",
            "--body-memory",
            "128KiB",
            "--client-share",
            "25%",
            "--trusted-proxies",
            "127.0.0.1",
            "--client-address-header",
            "X-Forwarded-For",
        ])
        .await;
    let wallet = service.partner("Wallet").await;
    let body = vec![b' '; 3500];
    let from = async |own: &str, hops: &str| {
        let fields = [("content-type", "application/json"), ("x-forwarded-for", hops)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let head = head((&Method::POST, "/v1/auth/token"), &fields, Some(body.len()));
        Half::from(own, service.http, &head, (&body, 3000)).await
    };
    // Where both listeners are in one process, each has half of the memory.
    let fits = if service.is_split() { 4 } else { 2 };
    let mut halves = Vec::new();
    for number in 1..=fits {
        halves.push(from("127.0.0.1", &format!("198.51.100.{number}, 203.0.113.9")).await);
        service.until_waiting([number, 0]).await;
    }
    // A hop that it invents does not give it more.
    let more = from("127.0.0.1", "192.0.2.1, 203.0.113.9").await.answer().await;
    assert_eq!(more.refuses(429, "RATE_LIMITED").header("retry-after"), Some("1"));
    wallet.post("/v1/customers", &serde_json::json!({})).header("x-forwarded-for", "203.0.113.9").await.is(400);
    // Others have theirs; a peer that is no proxy is not believed.
    let other = from("127.0.0.1", "203.0.113.9, 198.51.100.7").await;
    let liar = from("127.0.0.2", "203.0.113.9").await;
    service.until_waiting([fits + 2, 0]).await;
    for half in halves.into_iter().chain([other, liar]) {
        half.finish().await.refuses(400, "VALIDATION_FAILED");
    }
}

/// Everything that writes waits until this is dropped; what reads does not.
async fn writers_wait(service: &Service) -> Tx {
    let mut tx = service.store.begin().await.unwrap();
    let sql = match service.store.dialect() {
        Dialect::Sqlite => "UPDATE programmes SET name = name",
        Dialect::Postgres => "LOCK TABLE customers IN SHARE ROW EXCLUSIVE MODE",
    };
    tx.query(sql).execute().await.unwrap();
    tx
}

/// Slots, on either listener: with its share at work a client is told to wait, and the next one is served.
async fn one_client_leaves_slots_to_others(house: House) {
    const SHARE: usize = 4;
    let proxied = ["--trusted-proxies", "127.0.0.1", "--client-address-header", "X-Forwarded-For"];
    let limits = ["--max-concurrent-requests", "8", "--client-share", "50%", "--database-pool-size", "16"];
    let service = house.start_with(&[&limits[..], &proxied].concat()).await;
    let wallet = service.partner("Wallet").await;
    let (greedy, other) = ("203.0.113.9", "198.51.100.7");
    let new = |name: String| json!({"chainId": account(&name), "externalId": name});
    let until_taken = async |listener: usize| {
        while service.used()[listener].slots != SHARE {
            tokio::task::yield_now().await;
        }
    };

    let list = |client| wallet.get("/v1/customers").header("x-forwarded-for", client);
    let held = writers_wait(&service).await;
    let create =
        |number| wallet.post("/v1/customers", &new(format!("rest-{number}"))).header("x-forwarded-for", greedy);
    let calls = futures::future::join_all((0..SHARE).map(|number| create(number).into_future()));
    let (answers, ()) = tokio::join!(calls, async {
        until_taken(0).await;
        assert_eq!(list(greedy).await.refuses(429, "RATE_LIMITED").header("retry-after"), Some("1"));
        list(other).await.is(200);
        drop(held);
    });
    answers.into_iter().for_each(|answer| drop(answer.is(201)));
    list(greedy).await.is(200);

    let named = |mut request: Request<ListCustomersRequest>, client: &'static str| {
        request.metadata_mut().insert("x-client-address", client.parse().unwrap());
        request
    };
    let grpc = CustomerServiceClient::new(service.channel().await);
    let list = async |client| {
        let answer = grpc.clone().list_customers(named(wallet.rpc(ListCustomersRequest::default()), client)).await;
        answer.map(|_| ()).map_err(|status| status.code())
    };
    let held = writers_wait(&service).await;
    let create = async |number: usize| {
        let name = format!("grpc-{number}");
        let mut request = wallet.rpc(CreateCustomerRequest { chain_id: account(&name), external_id: name });
        request.metadata_mut().insert("x-client-address", greedy.parse().unwrap());
        grpc.clone().create_customer(request).await.map(|_| ()).map_err(|status| status.code())
    };
    let (answers, ()) = tokio::join!(futures::future::join_all((0..SHARE).map(create)), async {
        until_taken(1).await;
        assert_eq!(list(greedy).await, Err(Code::ResourceExhausted));
        assert_eq!(list(other).await, Ok(()));
        drop(held);
    });
    assert_eq!(answers, [Ok(()); SHARE]);
    assert_eq!(list(greedy).await, Ok(()));
}

async fn a_front_is_not_counted_but_its_clients_are(house: House) {
    let flags = ["--body-limit", "8KiB", "--body-memory", "128KiB", "--trusted-proxies", "127.0.0.1"];
    let service = house.start_with(&flags).await;
    let wallet = service.partner("Wallet").await;
    let of = async |client: &str, count: usize| {
        let fields = [("content-type", "application/grpc"), ("x-client-address", client)];
        let streams = Stream::open_with(service.grpc, ("/customerd.v1.AuthService/CreateToken", &fields), count).await;
        streams.iter().for_each(|stream| stream.send(&[0; 3]));
        streams
    };
    // A request that waits counts for 4 KiB and its header fields.
    let (share, fits) = if service.is_split() { (32 * 1024, 7) } else { (16 * 1024, 3) };
    let streams = of("203.0.113.9", 12).await;
    while streams.iter().filter(|stream| stream.response.is_finished()).count() != 12 - fits {
        assert!(service.used()[1].body_bytes <= share);
        tokio::task::yield_now().await;
    }
    let (refused, mut held): (Vec<_>, Vec<_>) = streams.into_iter().partition(|stream| stream.response.is_finished());
    for stream in refused {
        assert_eq!(stream.answer().await.header("grpc-status"), Some("8"), "RESOURCE_EXHAUSTED");
    }
    // Another client, and the front itself.
    held.extend(of("198.51.100.7", 1).await);
    held.extend(of("127.0.0.1", 2).await);
    service.until_waiting([0, fits + 3]).await;
    bystanders_are_served(&service, &wallet, "u-1").await;
}

/// Spoils one thing about a request.
type Spoil = for<'a> fn(Call<'a>) -> Call<'a>;

async fn headers_are_judged_before_the_body_is_there(house: House) {
    let service = house.start_with(&["--body-limit", "1KiB"]).await;
    let wallet = service.partner("Wallet").await;
    let create = || wallet.call("POST", "/v1/customers").body("{\"a\": 1}");
    wallet.call("POST", "/v1/nowhere").bare().body("{}").begin(1).await.answer().await.refuses(404, "ROUTE_NOT_FOUND");
    let faults: [(u16, &str, Spoil); 12] = [
        (413, "PAYLOAD_TOO_LARGE", |call| call.body(vec![b' '; 1025])),
        (415, "UNSUPPORTED_MEDIA_TYPE", |call| call.header("content-type", "text/plain")),
        (400, "IDEMPOTENCY_KEY_INVALID", |call| call.key("x")),
        (400, "IDEMPOTENCY_KEY_INVALID", |call| call.without("idempotency-key")),
        (400, "DIGEST_MISSING", |call| call.without("content-digest")),
        (400, "DIGEST_MISSING", |call| call.header("content-digest", "x")),
        (401, "DIGEST_UNSUPPORTED", |call| call.header("content-digest", "md5=:AAAA:")),
        (401, "SIGNATURE_MISSING", |call| call.without("signature")),
        (401, "SIGNATURE_MALFORMED", |call| call.header("signature-input", "x")),
        (401, "SIGNATURE_COVERAGE", |call| call.signing(|s| s.omit("content-digest"))),
        (401, "SIGNATURE_EXPIRED", |call| call.signing(|s| s.param("created", 1_767_323_045 - 301))),
        (401, "SIGNATURE_NOT_YET_VALID", |call| call.signing(|s| s.param("created", 1_767_323_045 + 31))),
    ];
    for (status, code, spoil) in faults {
        spoil(create()).begin(1).await.answer().await.refuses(status, code);
    }
    // The bearer goes before the policies, and needs no body either.
    let nobody = create().bearer("x").signing(|s| s.omit("@method")).begin(1).await;
    nobody.answer().await.refuses(401, "UNAUTHENTICATED");
    // Bearer and signature are judged with the body.
    let nobody = create().bearer("x").begin(1).await;
    service.until_waiting([1, 0]).await;
    nobody.finish().await.refuses(401, "UNAUTHENTICATED");
    let forged = create().signing(|s| s.bend = |_| vec![0; 96]).begin(1).await;
    service.until_waiting([1, 0]).await;
    forged.finish().await.refuses(401, "SIGNATURE_INVALID");
    let right = create().begin(1).await;
    service.until_waiting([1, 0]).await;
    right.finish().await.refuses(400, "VALIDATION_FAILED");
    service.until_waiting([0, 0]).await;
}

async fn a_body_that_is_not_announced_is_judged_by_its_first_byte(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let chunked = async |call: Call<'_>, sent: &[u8]| {
        let (method, target, fields) = call.parts();
        let head = head((&method, &target), &fields, None);
        Half::from("127.0.0.1", service.http, &head, (sent, sent.len())).await.answer().await
    };
    let begun = b"1\r\n{\r\n";
    let create = || wallet.call("POST", "/v1/customers").body("{\"a\": 1}");
    chunked(create().without("content-digest"), begun).await.refuses(400, "DIGEST_MISSING");
    chunked(create().signing(|s| s.omit("content-digest")), begun).await.refuses(401, "SIGNATURE_COVERAGE");
    chunked(create().without("content-type"), begun).await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    // What is wrong without the body is refused without it.
    chunked(create().without("signature"), b"").await.refuses(401, "SIGNATURE_MISSING");
    // An empty one is no body.
    let empty = chunked(wallet.delete("/v1/auth/signing/x"), b"0\r\n\r\n").await;
    empty.refuses(404, "SIGNING_KEY_NOT_FOUND");
    let whole = chunked(create(), b"1\r\n{\r\n7\r\n\"a\": 1}\r\n0\r\n\r\n").await;
    whole.refuses(400, "VALIDATION_FAILED");
}

async fn open_streams_of_messages_take_no_slot(house: House) {
    let service = house.start_with(&["--max-concurrent-requests", "4"]).await;
    let wallet = service.partner("Wallet").await;
    let reflection = ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "application/grpc");
    let streams = Stream::open(service.grpc, reflection, 32).await;
    // Half of a message on each: its prefix says five bytes, one comes.
    streams.iter().for_each(|stream| stream.send(&[0, 0, 0, 0, 5, 0x3a]));
    service.until_waiting([0, 32]).await;
    let idle = Stream::open(service.grpc, reflection, 32).await;
    bystanders_are_served(&service, &wallet, "u-1").await;
    assert_eq!(service.used()[1].slots, 0);
    service.wait(SPAN);
    service.until_waiting([0, 0]).await;
    // A client that is idle between messages is still served: list_services, field 7, "".
    for stream in idle {
        stream.send(&[0, 0, 0, 0, 2, 0x3a, 0]);
        let mut response = stream.response.await.unwrap().unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert!(frame.is_data(), "{frame:?}");
    }
    service.until_waiting([0, 0]).await;
    assert_eq!(service.used()[1].slots, 0);
}

async fn a_message_counts_as_soon_as_it_is_announced(house: House) {
    const ANNOUNCED: usize = 0x000f_ffff;
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let create = ("/customerd.v1.AuthService/CreateToken", "application/grpc");
    let streams = Stream::open(service.grpc, create, 96).await;
    streams.iter().for_each(|stream| stream.send(&[0, 0, 0x0f, 0xff, 0xff]));
    // Five bytes each; what is read for them is a megabyte each, and of that there is a limit.
    let limit = if service.is_split() { 64 << 20 } else { 32 << 20 };
    loop {
        let used = service.used()[1];
        assert!(used.body_bytes <= limit, "{used:?}");
        let refused = streams.iter().filter(|stream| stream.response.is_finished()).count();
        if refused > 0 && used.bodies + refused == 96 && used.body_bytes >= used.bodies * ANNOUNCED {
            break;
        }
        tokio::task::yield_now().await;
    }
    bystanders_are_served(&service, &wallet, "u-1").await;
    // More than anybody reads is refused, and counts for nothing.
    let longer = Stream::open(service.grpc, create, 1).await.remove(0);
    longer.send(&[0, 0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(longer.answer().await.header("grpc-status"), Some("11"), "OUT_OF_RANGE");
}
