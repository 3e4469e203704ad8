//! Every documented status of every endpoint of accounts and cards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use customerd::domain::{account, card, customer};
use customerd::store::Connection as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::accounts::{id, physical_card, virtual_card};
use crate::support::{Answer, Call, Evm, House, Partner, Service, b64, everywhere, unb64};

everywhere![
    each_endpoint_answers_as_documented,
    each_endpoint_has_a_rate,
    each_endpoint_is_unavailable_without_its_backend
];

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

/// An endpoint as the OpenAPI document names it, and its status when all is well.
struct Endpoint {
    method: &'static str,
    path: &'static str,
    success: u16,
}

const fn endpoint(method: &'static str, path: &'static str, success: u16) -> Endpoint {
    Endpoint { method, path, success }
}

const ENDPOINTS: [Endpoint; 18] = [
    endpoint("POST", "/v1/customers/{customerId}/accounts", 201),
    endpoint("GET", "/v1/customers/{customerId}/accounts", 200),
    endpoint("GET", "/v1/accounts", 200),
    endpoint("GET", "/v1/accounts/{accountId}", 200),
    endpoint("GET", "/v1/accounts/{accountId}/challenge", 200),
    endpoint("POST", "/v1/accounts/{accountId}/challenge/sign", 204),
    endpoint("PATCH", "/v1/accounts/{accountId}/activate", 200),
    endpoint("PATCH", "/v1/accounts/{accountId}/deactivate", 200),
    endpoint("DELETE", "/v1/accounts/{accountId}", 200),
    endpoint("POST", "/v1/accounts/{accountId}/cards", 201),
    endpoint("GET", "/v1/accounts/{accountId}/cards", 200),
    endpoint("GET", "/v1/cards", 200),
    endpoint("GET", "/v1/cards/{cardId}", 200),
    endpoint("PATCH", "/v1/cards/{cardId}/activate", 200),
    endpoint("PATCH", "/v1/cards/{cardId}/deactivate", 200),
    endpoint("DELETE", "/v1/cards/{cardId}", 200),
    endpoint("PATCH", "/v1/simulator/cards/{cardId}/issue", 202),
    endpoint("PATCH", "/v1/simulator/cards/{cardId}/fail", 202),
];

impl Endpoint {
    fn modifies(&self) -> bool {
        self.method != "GET"
    }

    /// Its target for one entity.
    fn of(&self, entity: impl ToString) -> String {
        let (start, rest) = self.path.split_once('{').unwrap_or((self.path, ""));
        let id = if rest.is_empty() { String::new() } else { entity.to_string() };
        format!("{start}{id}{}", rest.split_once('}').map_or("", |(_, end)| end))
    }

    /// A call that is right in every way, with a body if there is to be one.
    fn call<'a>(&self, partner: &'a Partner, target: &str, body: Option<&Value>) -> Call<'a> {
        let call = partner.call(self.method, target);
        match body {
            Some(body) => call.body(body.to_string()),
            None => call,
        }
    }
}

/// What each endpoint is called for: where it succeeds, where the state stands in the way, and with which body.
struct Scene {
    customer: Uuid,
    initiating_customer: Uuid,
    initiating: Uuid,
    active: Uuid,
    inactive: Uuid,
    dozing: Uuid,
    closed: Uuid,
    issuing: [Uuid; 2],
    active_card: Uuid,
    inactive_card: Uuid,
    terminated: Uuid,
    proof: Value,
}

impl Scene {
    async fn set(service: &Service, partner: &Partner) -> Self {
        let wallet = Evm::new(11);
        let body = json!({"chainId": wallet.account(), "externalId": "u-1"});
        let customer = id(&partner.post("/v1/customers", &body).await.is(201).json());
        use customer::Move::{Approve, Clear, ProveOwnership};
        service.move_customer(customer, &[ProveOwnership, Clear, Approve]).await;
        let mut accounts = [Uuid::nil(); 6];
        for account in &mut accounts {
            *account = service.active_account(partner, customer).await;
        }
        let [active, other, awake, inactive, dozing, closed] = accounts;
        let issuing = [
            service.card(partner, active, &physical_card()).await,
            service.card(partner, other, &physical_card()).await,
        ];
        let terminated = service.card(partner, other, &virtual_card()).await;
        service.move_card(terminated, &[card::Move::Terminate]).await;
        let active_card = service.active_card(partner, other, &virtual_card()).await;
        let inactive_card = service.active_card(partner, awake, &virtual_card()).await;
        service.move_card(inactive_card, &[card::Move::Deactivate]).await;
        service.move_account(inactive, &[account::Move::Deactivate]).await;
        service.move_account(closed, &[account::Move::Close]).await;
        let order = json!({"type": "card_account", "currencies": ["EUR"]});
        let created = partner.post(&format!("/v1/customers/{customer}/accounts"), &order).await.is(201).json();
        let text = unb64(&created["challenge"]);
        let proof = json!({"ownerId": customer, "challenge": b64(&text), "signature": wallet.sign_hex(&text)});
        let (initiating, initiating_customer) = (id(&created), id(&partner.customer("u-2").await));
        Self {
            customer,
            initiating_customer,
            initiating,
            active,
            inactive,
            dozing,
            closed,
            issuing,
            active_card,
            inactive_card,
            terminated,
            proof,
        }
    }

    /// Where it succeeds, where it is refused, its body.
    fn part(&self, endpoint: &Endpoint) -> (Uuid, Option<Uuid>, Option<Value>) {
        let order = || Some(json!({"type": "card_account", "currencies": ["EUR"]}));
        match (endpoint.method, endpoint.path.rsplit('/').next().unwrap_or_default()) {
            ("POST", "accounts") => (self.customer, Some(self.initiating_customer), order()),
            ("GET", "accounts") => (self.customer, None, None),
            ("GET", "challenge") => (self.initiating, Some(self.active), None),
            ("POST", "sign") => (self.initiating, Some(self.active), Some(self.proof.clone())),
            ("POST", "cards") => (self.active, Some(self.initiating), Some(virtual_card())),
            ("GET", "{accountId}" | "cards") => (self.active, None, None),
            ("GET", _) => (self.active_card, None, None),
            ("PATCH", "activate") if endpoint.path.starts_with("/v1/accounts") => {
                (self.inactive, Some(self.initiating), None)
            }
            ("PATCH", "deactivate") if endpoint.path.starts_with("/v1/accounts") => {
                (self.dozing, Some(self.initiating), None)
            }
            ("DELETE", "{accountId}") => (self.inactive, Some(self.closed), None),
            ("PATCH", "activate") => (self.inactive_card, Some(self.terminated), None),
            ("PATCH", "deactivate") => (self.active_card, Some(self.terminated), None),
            ("DELETE", _) => (self.active_card, Some(self.terminated), None),
            ("PATCH", "issue") => (self.issuing[0], Some(self.terminated), None),
            ("PATCH", _) => (self.issuing[1], Some(self.terminated), None),
            (method, path) => unreachable!("{method} {path}"),
        }
    }
}

/// The statuses that the OpenAPI document gives an endpoint, and those that hold for HTTP as such: another method, and,
/// where there is an answer to be read, another type of it.
fn documented(document: &Value, endpoint: &Endpoint) -> BTreeSet<u16> {
    let operation = &document["paths"][endpoint.path][endpoint.method.to_lowercase()];
    let listed = operation["responses"].as_object().unwrap_or_else(|| panic!("{} is not documented", endpoint.path));
    let as_such = if [202, 204].contains(&endpoint.success) { &[405][..] } else { &[405, 406] };
    listed.keys().filter_map(|status| status.parse().ok()).chain(as_such.iter().copied()).collect()
}

async fn each_endpoint_answers_as_documented(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let (partner, other) = (service.sandbox_partner("Wallet").await, service.sandbox_partner("Other").await);
    let live = service.partner("Live").await;
    let scene = Scene::set(&service, &partner).await;
    let document = partner.get("/openapi.json").bare().await.is(200).json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let ours = ["/accounts", "/cards"].iter().any(|part| path.contains(part));
        for method in operations.as_object().unwrap().keys().filter(|_| ours) {
            let known = ENDPOINTS.iter().any(|one| one.path == path && one.method.to_lowercase() == *method);
            assert!(known, "{method} {path} is not in the table");
        }
    }
    let mut seen = Vec::new();
    for endpoint in &ENDPOINTS {
        let mut statuses = refusals(endpoint, &scene, [&partner, &other]).await;
        if endpoint.path.starts_with("/v1/simulator") {
            let target = endpoint.of(NOBODY);
            statuses.insert(endpoint.call(&live, &target, None).await.refuses(403, "SANDBOX_ONLY").status);
        }
        let (good, _, body) = scene.part(endpoint);
        let answer = endpoint.call(&partner, &endpoint.of(good), body.as_ref()).await.is(endpoint.success);
        assert_eq!(answer.body.is_empty(), [202, 204].contains(&answer.status), "{answer:?}");
        statuses.insert(answer.status);
        seen.push(statuses);
    }
    let mut tx = service.store.begin().await.unwrap();
    // What nobody can read any more.
    for spoil in [
        "UPDATE customers SET status = 'lost'",
        "UPDATE accounts SET status = 'lost'",
        "UPDATE cards SET billing_address = 'lost'",
    ] {
        tx.query(spoil).execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    for (endpoint, mut statuses) in ENDPOINTS.iter().zip(seen) {
        let (good, _, body) = scene.part(endpoint);
        let answer = endpoint.call(&partner, &endpoint.of(good), body.as_ref()).await.refuses(500, "INTERNAL");
        let told = answer.text().to_lowercase();
        assert!(["lost", "sql", "store"].iter().all(|inside| !told.contains(inside)), "{answer:?}");
        statuses.insert(answer.status);
        // Of these the other two stories tell.
        statuses.extend([429, 503]);
        assert_eq!(statuses, documented(&document, endpoint), "{} {}", endpoint.method, endpoint.path);
    }
}

/// Everything that an endpoint refuses, and that nothing comes of it.
async fn refusals(endpoint: &Endpoint, scene: &Scene, [partner, other]: [&Partner; 2]) -> BTreeSet<u16> {
    let (good, refused, body) = scene.part(endpoint);
    let (target, body) = (endpoint.of(good), body.as_ref());
    let right = |target: &str| endpoint.call(partner, target, body);
    let mut answers: Vec<Answer> = vec![
        right(&target).bearer("nonsense").await.refuses(401, "UNAUTHENTICATED"),
        right(&target).unsigned().await.refuses(401, "SIGNATURE_MISSING"),
        right(&target).signing(|signing| signing.omit("@method")).await.refuses(401, "SIGNATURE_COVERAGE"),
        right(&format!("{target}?nonsense=1")).await.blames("nonsense", "UNKNOWN_PARAMETER"),
    ];
    if ![202, 204].contains(&endpoint.success) {
        answers.push(right(&target).header("accept", "text/html").await.refuses(406, "NOT_ACCEPTABLE"));
    }
    let wrong = partner.call("TRACE", &target).bare().await.refuses(405, "METHOD_NOT_ALLOWED");
    assert!(
        wrong.header("allow").is_some_and(|allow| allow.split(", ").any(|one| one == endpoint.method)),
        "{wrong:?}"
    );
    answers.push(wrong);
    if endpoint.path.contains('{') {
        let theirs = endpoint.call(other, &target, body).await.is(404);
        let nobodys = endpoint.call(other, &endpoint.of(NOBODY), body).await.is(404);
        let told = |answer: &Answer| ["code", "title", "detail"].map(|name| answer.json()[name].clone());
        assert_eq!(told(&theirs), told(&nobodys), "another programme's id answers as an unknown one does");
        answers.push(theirs);
    }
    if let Some(refused) = refused {
        answers.push(right(&endpoint.of(refused)).await.refuses(409, "INVALID_STATE_TRANSITION"));
    }
    if endpoint.modifies() {
        let key = Uuid::from_u128(good.as_u128() ^ u128::from(endpoint.path.len() as u64)).to_string();
        right(&target).without("idempotency-key").await.refuses(400, "IDEMPOTENCY_KEY_INVALID");
        right(&endpoint.of(NOBODY)).key(&key).await.is(404);
        answers.push(right(&target).key(&key).await.refuses(422, "IDEMPOTENCY_KEY_REUSED"));
    }
    match body {
        Some(body) => {
            right(&target).without("content-digest").await.refuses(400, "DIGEST_MISSING");
            let other_digest = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
            right(&target).header("content-digest", other_digest).await.refuses(401, "DIGEST_MISMATCH");
            answers.push(right(&target).header("content-type", "text/plain").await.is(415));
            let long = format!("{body}{}", " ".repeat(1 << 20));
            answers.push(partner.call(endpoint.method, &target).body(long).await.refuses(413, "PAYLOAD_TOO_LARGE"));
            let unknown = partner.call(endpoint.method, &target).body(r#"{"nonsense": 1}"#).await;
            answers.push(unknown.blames("nonsense", "UNKNOWN_FIELD"));
        }
        None => {
            partner.call(endpoint.method, &target).body("{}").await.is(400);
        }
    }
    answers.into_iter().map(|answer| answer.status).collect()
}

async fn each_endpoint_has_a_rate(house: House) {
    let service = house.start_with(&["--no-worker", "--rate-limit", "1/1h"]).await;
    let partner = service.sandbox_partner("Wallet").await;
    partner.get("/v1/cards").await.is(200);
    for endpoint in &ENDPOINTS {
        let body = (endpoint.method == "POST").then(|| json!({}));
        let answer = endpoint.call(&partner, &endpoint.of(NOBODY), body.as_ref()).await.refuses(429, "RATE_LIMITED");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
}

async fn each_endpoint_is_unavailable_without_its_backend(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let whole = service.sandbox_partner("Wallet").await;
    let house = service.stop().await;
    let (http, _front) = house.front_alone().await;
    let partner = Partner { http, calls: AtomicU32::new(0), key: Arc::clone(&whole.key), ..whole };
    for endpoint in &ENDPOINTS {
        let body = (endpoint.method == "POST").then(|| json!({}));
        let answer = endpoint.call(&partner, &endpoint.of(NOBODY), body.as_ref()).await.refuses(503, "UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
}
