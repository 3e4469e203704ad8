//! Valid requests of which a few bytes were changed, over REST and over gRPC: each is answered, none with an error of the
//! server, nothing panics, and the service still works afterwards.
//!
//! Deterministic: the changes follow from the request's number. `CUSTOMERD_MUTATED_REQUESTS=20000` makes that many.

use std::net::SocketAddr;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use customerd::api::v1;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::kyc;
use crate::support::accounts::{physical_card, virtual_card};
use crate::support::{AUTHORITY, House, ORIGIN, Partner, Service, account};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_split() {
    changed_requests_break_nothing(House::Sqlite(true).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    if let Some(house) = House::Postgres(false).await {
        changed_requests_break_nothing(house).await;
    }
}

/// How many, without the environment variable: what a debug build does in some seconds.
const REQUESTS: u64 = 2_000;
/// How many are in flight at once.
const AT_ONCE: u64 = 16;

/// Panics of this process: also those that a task catches.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
}

async fn changed_requests_break_nothing(house: House) {
    count_panics();
    let wanted = std::env::var("CUSTOMERD_MUTATED_REQUESTS").ok().map(|number| number.parse().unwrap());
    let requests = wanted.unwrap_or(REQUESTS);
    let service = house.start().await;
    let partner = service.sandbox_partner("Wallet").await;
    let scene = Scene::new(&service, &partner).await;
    let mut answered = [0_u64; 6];
    for batch in 0..requests.div_ceil(2 * AT_ONCE) {
        let numbers = batch * AT_ONCE..(batch + 1) * AT_ONCE;
        let statuses = futures::future::join_all(numbers.map(|number| scene.rest(number))).await;
        for status in statuses {
            answered[usize::from(status / 100).min(5)] += 1;
        }
    }
    // Some are still right, most are wrong.
    assert!(answered[2] > 0 && answered[4] > answered[2], "{answered:?}");
    let channel = connect(service.grpc).await;
    for batch in 0..requests.div_ceil(2 * AT_ONCE) {
        let numbers = batch * AT_ONCE..(batch + 1) * AT_ONCE;
        futures::future::join_all(numbers.map(|number| scene.grpc(channel.clone(), number))).await;
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something panicked");
    // A valid request is served as before.
    partner.get("/v1/customers").await.is(200);
    partner.customer("afterwards").await;
    let health = partner.get("/readyz").bare().await.is(200);
    assert!(!health.text().contains("fail"), "{health:?}");
    service.stop().await;
}

/// What the requests are about.
struct Scene<'a> {
    partner: &'a Partner,
    admin: String,
    http: SocketAddr,
    calls: Vec<(&'static str, String, Option<Value>)>,
    messages: Vec<(&'static str, Vec<u8>)>,
}

impl<'a> Scene<'a> {
    async fn new(service: &Service, partner: &'a Partner) -> Self {
        let customer = service.active_customer(partner, "u-1").await;
        let account_id = service.active_account(partner, customer).await;
        let card = service.active_card(partner, account_id, &virtual_card()).await;
        let link = kyc::link(&partner.customer("u-2").await);
        let call = |method, target: &str, body| (method, target.to_owned(), body);
        let calls = vec![
            call("GET", "/v1/customers?pageSize=2&status=active&createdAfter=2026-01-01T00:00:00Z", None),
            call("POST", "/v1/customers", Some(json!({"chainId": account("m"), "externalId": "葛\u{e0100}城 m"}))),
            call("GET", &format!("/v1/customers/{customer}/events"), None),
            call(
                "POST",
                &format!("/v1/customers/{customer}/challenge/sign"),
                Some(json!({"challenge": "YQ==", "signature": "0x00"})),
            ),
            call("POST", &format!("/v1/accounts/{account_id}/cards"), Some(physical_card())),
            call("PATCH", &format!("/v1/cards/{card}/activate"), None),
            call(
                "PUT",
                "/v1/webhooks",
                Some(json!({"callbackUrl": "https://b.example/h?q=1", "types": ["card.updated"], "fifo": true})),
            ),
            call("GET", "/v1/events?cursor=AAAAAAAAAAE&pageSize=3&types=card.updated", None),
            call(
                "PUT",
                "/v1/auth/signing",
                Some(json!({"publicKey": "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----"})),
            ),
            call("GET", &format!("/v1/customers?pageSize=1&pageToken={}", "AAAA".repeat(8)), None),
            call("GET", &link, None),
            call(
                "POST",
                "/callbacks/kyc/sumsub",
                Some(json!({"type": "applicantReviewed", "externalUserId": customer})),
            ),
            call("POST", "/v1/auth/token", Some(json!({"apiKey": partner.api_key, "apiSecret": partner.api_secret}))),
        ];
        let token = link.rsplit('/').next().unwrap().to_owned();
        let mut messages = messages(customer, account_id, card);
        messages.extend(open_messages(customer, token));
        let admin = service.operator("admin").await.token;
        Self { partner, admin, http: service.http, calls, messages }
    }

    /// Sends the changed request of that number; its status.
    async fn rest(&self, number: u64) -> u16 {
        let mut random = Random(number);
        let (method, target, body) = &self.calls[random.below(self.calls.len())];
        // Each guesses the secret of another API key: a guess too many would wait for a clock that stands still.
        let api_key = Uuid::from_u128(number.into()).to_string();
        let body = body.as_ref().map(|body| body.to_string().replace(&self.partner.api_key, &api_key));
        let (mut target, mut body) = (target.clone(), body.unwrap_or_default().into_bytes());
        // Changed before it is signed, it gets further than changed after.
        let place = random.below(4);
        if place == 0 {
            target = random.change_text(target);
        } else if place == 1 && !body.is_empty() {
            random.change(&mut body);
        }
        let (method, mut target, mut fields, mut body) = self.partner.call(method, &target).body(body).ready();
        match place {
            2 => {
                let at = random.below(fields.len());
                let (name, value) = fields[at].clone();
                fields[at] = if random.below(8) == 0 {
                    (random.change_name(&name), value)
                } else {
                    (name, random.change_text(value))
                };
            }
            3 if body.is_empty() || random.below(2) == 0 => target = random.change_text(target),
            3 => random.change(&mut body),
            _ => {}
        }
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {AUTHORITY}\r\nconnection: close\r\n");
        for (name, value) in &fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let status = self.exchange(&[head.as_bytes(), b"\r\n", &body].concat()).await;
        assert!(status < 500, "request {number} is answered {status}: {head}{}", body.escape_ascii());
        status
    }

    async fn exchange(&self, request: &[u8]) -> u16 {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A refusal may reset the connection after it was said.
        let read = tokio::time::timeout(Duration::from_secs(120), stream.read_to_end(&mut answer)).await;
        let _ = read.unwrap_or_else(|_| panic!("no answer to {}", request.escape_ascii()));
        let text = String::from_utf8_lossy(&answer);
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|text| text.parse().ok());
        status.unwrap_or_else(|| panic!("no answer to {}: {text}", request.escape_ascii()))
    }

    /// Sends the changed message of that number.
    async fn grpc(&self, mut channel: SendRequest<Full<Bytes>>, number: u64) {
        let mut random = Random(!number);
        let (path, message) = &self.messages[random.below(self.messages.len())];
        let mut message = message.clone();
        for _ in 0..=random.below(3) {
            random.change(&mut message);
        }
        let mut framed = vec![u8::from(random.below(50) == 0)];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(&message);
        let token = if random.below(4) == 0 { &self.admin } else { &self.partner.token };
        let bearer = format!("Bearer {token}");
        let bearer = if random.below(20) == 0 { random.change_text(bearer) } else { bearer };
        let uri: Uri = format!("{ORIGIN}/{path}").parse().unwrap();
        let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        let request = request.header("x-programme-id", self.partner.programme_id.to_string());
        let request = request.header("authorization", bearer).body(Full::new(Bytes::from(framed))).unwrap();
        let answer = channel.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let status = head
            .headers
            .get("grpc-status")
            .or_else(|| trailers.get("grpc-status"))
            .map(|value| value.to_str().unwrap());
        // The server's own errors: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
        assert!(
            status.is_some_and(|status| !["2", "4", "12", "13", "14", "15"].contains(&status)) && head.status == 200,
            "message {number} of {path} is answered {status:?}, {:?}: {}",
            head.headers.get("grpc-message").or_else(|| trailers.get("grpc-message")),
            message.escape_ascii()
        );
    }
}

/// Messages that are right, and where they go.
fn messages(customer: Uuid, account_id: Uuid, card: Uuid) -> Vec<(&'static str, Vec<u8>)> {
    let (customer_id, account_id, card_id) = (customer.to_string(), account_id.to_string(), card.to_string());
    let address =
        || v1::Address {
            first_line: "1".into(), city: "香港".into(), country: "HK".into(), ..v1::Address::default()
        };
    let nobody = || Uuid::nil().to_string();
    vec![
        (
            "customerd.v1.AdminService/DisableProgramme",
            v1::DisableProgrammeRequest { programme_id: nobody() }.encode_to_vec(),
        ),
        (
            "customerd.v1.AdminService/RotateOperator",
            v1::RotateOperatorRequest { name: "nobody".into() }.encode_to_vec(),
        ),
        (
            "customerd.v1.CustomerService/DeactivateCustomer",
            v1::DeactivateCustomerRequest { customer_id: nobody() }.encode_to_vec(),
        ),
        (
            "customerd.v1.CustomerService/CreateCustomer",
            v1::CreateCustomerRequest { chain_id: account("g"), external_id: "g".into() }.encode_to_vec(),
        ),
        (
            "customerd.v1.CustomerService/ListCustomers",
            v1::ListCustomersRequest { page_size: Some(3), ..v1::ListCustomersRequest::default() }.encode_to_vec(),
        ),
        (
            "customerd.v1.AccountService/CreateAccount",
            v1::CreateAccountRequest { customer_id, r#type: 1, currencies: vec!["EUR".into()] }.encode_to_vec(),
        ),
        (
            "customerd.v1.CardService/CreateCard",
            v1::CreateCardRequest {
                account_id,
                r#type: 2,
                billing_address: Some(address()),
                shipping_address: Some(address()),
            }
            .encode_to_vec(),
        ),
        ("customerd.v1.CardService/GetCard", v1::GetCardRequest { card_id }.encode_to_vec()),
        (
            "customerd.v1.WebhookService/ListEvents",
            v1::ListEventsRequest { cursor: "AAAAAAAAAAE".into(), ..v1::ListEventsRequest::default() }.encode_to_vec(),
        ),
    ]
}

/// Messages of calls that need no bearer, or change what a programme has once.
fn open_messages(customer: Uuid, token: String) -> Vec<(&'static str, Vec<u8>)> {
    let header = |name: &str, value: &str| v1::CallbackHeader { name: name.into(), value: value.into() };
    vec![
        (
            "customerd.v1.CustomerService/SignCustomerChallenge",
            v1::SignCustomerChallengeRequest {
                customer_id: customer.to_string(),
                challenge: b"challenge".to_vec(),
                signature: "0x00".into(),
            }
            .encode_to_vec(),
        ),
        (
            "customerd.v1.WebhookService/PutWebhook",
            v1::PutWebhookRequest {
                callback_url: "https://b.example/h?q=1".into(),
                types: vec!["card.updated".into()],
                ..v1::PutWebhookRequest::default()
            }
            .encode_to_vec(),
        ),
        (
            "customerd.v1.AuthService/PutSigningKey",
            v1::PutSigningKeyRequest {
                public_key: "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----".into(),
            }
            .encode_to_vec(),
        ),
        (
            "customerd.v1.PortalService/OpenVerification",
            v1::OpenVerificationRequest { token, resume: true }.encode_to_vec(),
        ),
        (
            "customerd.v1.PortalService/ReceiveKycCallback",
            v1::ReceiveKycCallbackRequest {
                provider: "sumsub".into(),
                headers: vec![header("x-payload-digest-alg", "HMAC_SHA256_HEX"), header("x-payload-digest", "00")],
                body: b"{}".to_vec(),
            }
            .encode_to_vec(),
        ),
    ]
}

async fn connect(to: SocketAddr) -> SendRequest<Full<Bytes>> {
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random(u64);

/// What parsers stumble over.
const TOKENS: [&[u8]; 14] = [
    b"\0",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"null",
    b"-1",
    b"1e999",
    b"%00",
    b"\xff\xfe",
    b"99999999999999999999",
    b"../",
];

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Changes some bytes: flips, cuts, doubles, inserts.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(8)).min(bytes.len());
        match self.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => drop(bytes.drain(at..end)),
            2 if at < bytes.len() => {
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            3 => bytes.insert(at, self.next().to_be_bytes()[0]),
            _ => drop(bytes.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
        }
    }

    /// Changes a text into one that a request's first line and fields can carry.
    fn change_text(&mut self, text: String) -> String {
        let mut bytes = text.into_bytes();
        for _ in 0..=self.below(2) {
            self.change(&mut bytes);
        }
        bytes.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect()
    }

    /// Changes a field's name into another.
    fn change_name(&mut self, name: &str) -> String {
        let changed = self.change_text(name.to_owned());
        let token: String = changed.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if token.is_empty() { "x".to_owned() } else { token }
    }
}
