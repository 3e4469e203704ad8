//! From ownership to active and back out again: screening, the portal, Sumsub's callbacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use customerd::api::v1::RejectCustomerRequest;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::worker::{Queue as _, ScreeningQueue};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::screening::listing;
use crate::sumsub::{self, Fault, Signed, StandIn};
use crate::support::accounts::{id, trail, virtual_card};
use crate::support::{Answer, Evm, House, Http, Partner, Service, b64, everywhere, exchange, unb64};

everywhere![
    a_person_goes_through_the_portal_to_active,
    an_outage_keeps_the_customer_in_screening_and_is_retried,
    sumsub_decides_by_authentic_callbacks_in_their_order,
    a_providers_clock_shadows_nothing,
    a_rejection_has_one_public_reason,
    an_early_decision_is_followed_and_a_late_refusal_ends_everything,
    a_partner_who_is_down_gets_a_page_and_fails_nothing,
];

/// A customer whose challenge is signed.
pub(crate) async fn proven(partner: &Partner, wallet: &Evm) -> Value {
    let body = json!({"chainId": wallet.account(), "externalId": "u-1"});
    let customer = partner.post("/v1/customers", &body).await.is(201).json();
    let signature = wallet.sign_hex(&unb64(&customer["challenge"]));
    let signed = json!({"challenge": customer["challenge"], "signature": b64(signature)});
    partner.post(&format!("{}/challenge/sign", path(&customer)), &signed).await.is(204);
    customer
}

pub(crate) fn path(customer: &Value) -> String {
    format!("/v1/customers/{}", customer["id"].as_str().unwrap())
}

/// The path of its verification link.
pub(crate) fn link(customer: &Value) -> String {
    let url = customer["verificationUrl"].as_str().unwrap();
    url.strip_prefix("https://customers.test").unwrap().to_owned()
}

/// Asks until the worker has brought the customer there.
pub(crate) async fn until(partner: &Partner, customer: &Value, status: &str) -> Value {
    for _ in 0..2000 {
        let now = partner.get(&path(customer)).await.is(200).json();
        if now["status"] == status {
            return now;
        }
    }
    panic!("never {status}: {:?}", partner.get(&path(customer)).await);
}

pub(crate) async fn verification(partner: &Partner, customer: &Value) -> (String, Value) {
    let answer = partner.get(&format!("{}/verification", path(customer))).await.is(200).json();
    assert_eq!(answer["verificationUrl"], customer["verificationUrl"]);
    (answer["status"].as_str().unwrap().to_owned(), answer["reasons"].clone())
}

/// Causes in the audit trail, oldest first.
pub(crate) async fn causes(partner: &Partner, customer: &Value) -> Vec<String> {
    let events = partner.get(&format!("{}/events", path(customer))).await.is(200).json();
    let entry = |event: &Value| format!("{}: {}", event["actor"].as_str().unwrap(), event["cause"].as_str().unwrap());
    events["events"].as_array().unwrap().iter().rev().map(entry).collect()
}

/// What a browser does.
pub(crate) async fn browse(service: &Service, method: Method, target: &str, form: Option<&str>) -> Answer {
    let fields: Vec<_> =
        form.iter().map(|_| ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())).collect();
    let body = form.unwrap_or_default().as_bytes().to_vec();
    exchange((service.http, Http::One), (&method, target), &fields, body).await
}

pub(crate) async fn visit(service: &Service, target: &str) -> Answer {
    browse(service, Method::GET, target, None).await
}

async fn call_back(service: &Service, callback: &Signed) -> u16 {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    let fields: Vec<_> = HeaderMap::iter(&callback.headers).map(field).collect();
    let target = "/callbacks/kyc/sumsub";
    exchange((service.http, Http::One), (&Method::POST, target), &fields, callback.body.clone()).await.status
}

async fn a_person_goes_through_the_portal_to_active(house: House) {
    let service = house.start().await;
    let partner = service.sandbox_partner("Wallet").await;
    let wallet = Evm::new(7);
    let body = json!({"chainId": wallet.account(), "externalId": "u-0"});
    let early = partner.post("/v1/customers", &body).await.is(201).json();
    assert_eq!(verification(&partner, &early).await, ("awaiting_challenge".into(), json!([])));
    let page = visit(&service, &link(&early)).await.is(200);
    assert!(page.text().contains("One step comes first"));
    let portal = link(&early).replace("/verify/", "/kyc/sandbox/");
    assert_eq!(visit(&service, &portal).await.is(303).header("location"), Some(&link(&early)[..]));
    let signature = b64(wallet.sign_hex(&unb64(&early["challenge"])));
    let signed = json!({"challenge": early["challenge"], "signature": signature});
    partner.post(&format!("{}/challenge/sign", path(&early)), &signed).await.is(204);
    let customer = early;

    until(&partner, &customer, "verifying").await;
    assert_eq!(verification(&partner, &customer).await.0, "not_started");
    assert_eq!(visit(&service, &link(&customer)).await.is(302).header("location"), Some(&portal[..]));
    assert_eq!(verification(&partner, &customer).await.0, "in_progress");
    let page = visit(&service, &portal).await.is(200);
    assert!(page.text().contains("…") && !page.text().contains(&wallet.account()[9..]), "the account is masked");

    for (form, status) in [("decision=nonsense", 400), ("decision=approve&x=1", 400), ("", 400)] {
        browse(&service, Method::POST, &portal, Some(form)).await.is(status);
    }
    exchange((service.http, Http::One), (&Method::POST, &portal), &[], b"decision=approve".to_vec()).await.is(415);
    browse(&service, Method::POST, &portal, Some("decision=more_information")).await.is(200);
    let (status, reasons) = verification(&partner, &customer).await;
    assert_eq!((status.as_str(), reasons.as_array().unwrap().len()), ("needs_information", 1));
    assert_eq!(until(&partner, &customer, "verifying").await["version"], 3);
    let page = visit(&service, &link(&customer)).await.is(200);
    assert!(page.text().contains(reasons[0].as_str().unwrap()) && page.text().contains("?resume=1"), "{page:?}");
    visit(&service, &format!("{}?resume=1", link(&customer))).await.is(302);

    browse(&service, Method::POST, &portal, Some("decision=approve")).await.is(200);
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "active");
    assert_eq!(verification(&partner, &customer).await, ("approved".into(), json!([])));
    assert!(visit(&service, &link(&customer)).await.is(200).text().contains("You are verified"));
    let trail = ["programme: created", "owner: ownership_proven", "screening: screening_clear", "kyc: kyc_approved"];
    assert_eq!(causes(&partner, &customer).await, trail);

    for unknown in ["/verify/x", "/kyc/sandbox/x", "/verify/..%2f..%2fetc"] {
        assert!(!visit(&service, unknown).await.is(404).text().contains("etc"));
    }
    browse(&service, Method::DELETE, &portal, None).await.is(405);
}

async fn an_outage_keeps_the_customer_in_screening_and_is_retried(house: House) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let answer = move || async move {
        let clear = (StatusCode::OK, r#"{"identifications": []}"#);
        if count.fetch_add(1, Ordering::SeqCst) < 2 { (StatusCode::BAD_GATEWAY, "") } else { clear }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let service = house.start_with(&["--chainalysis-url", &url, "--chainalysis-key", "key"]).await;
    let partner = service.partner("Wallet").await;
    let customer = proven(&partner, &Evm::new(3)).await;
    for _ in 0..2000 {
        if asked.load(Ordering::SeqCst) > 0 {
            break;
        }
        assert_eq!(partner.get(&path(&customer)).await.json()["status"], "screening");
    }
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "screening");
    assert_eq!(verification(&partner, &customer).await.0, "screening");
    assert!(visit(&service, &link(&customer)).await.is(200).text().contains("checking your account"));
    for _ in 0..500 {
        service.wait(Duration::from_secs(2));
        if partner.get(&path(&customer)).await.json()["status"] == "verifying" {
            break;
        }
    }
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "verifying");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

fn at(standin: &StandIn) -> Vec<&str> {
    let flags = [
        ["--sumsub-url", standin.base.as_str()],
        ["--sumsub-app-token", sumsub::APP_TOKEN],
        ["--sumsub-secret", sumsub::SECRET],
        ["--sumsub-webhook-secret", sumsub::WEBHOOK_SECRET],
    ];
    flags.concat()
}

/// The service with the stand-in as its partner, and a customer on the way to it.
async fn with_sumsub(house: House, standin: &StandIn) -> (Service, Partner, Value) {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), format!("{:0<42}", "0x00")).unwrap();
    let flags = [&at(standin)[..], &["--screening-list", list.path().to_str().unwrap()]].concat();
    let service = house.start_with(&flags).await;
    standin.seen.lock().unwrap().now_s = service.clock.now().unix_seconds();
    let partner = service.partner("Wallet").await;
    let customer = proven(&partner, &Evm::new(4)).await;
    until(&partner, &customer, "verifying").await;
    (service, partner, customer)
}

async fn sumsub_decides_by_authentic_callbacks_in_their_order(house: House) {
    let standin = StandIn::start().await;
    let (service, partner, customer) = with_sumsub(house, &standin).await;
    let id: Uuid = customer["id"].as_str().unwrap().parse().unwrap();
    let answer = visit(&service, &link(&customer)).await.is(302);
    assert_eq!(answer.header("location"), Some("https://in.sumsub.example/websdk/p/applicant-1-1"));

    let green = sumsub::reviewed(id, 500, json!({"reviewAnswer": "GREEN"}));
    let retry = sumsub::reviewed(
        id,
        300,
        json!({"reviewAnswer": "RED", "reviewRejectType": "RETRY", "rejectLabels": ["BAD_PROOF_OF_ADDRESS"],
               "moderationComment": "Please send a newer bill.", "clientComment": "smells of fraud"}),
    );
    let fin = |at| sumsub::reviewed(id, at, json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL"}));
    assert_eq!(call_back(&service, &Signed::with("somebody's secret", &green)).await, 401);
    assert_eq!(call_back(&service, &Signed { headers: HeaderMap::new(), ..Signed::new(&green) }).await, 401);
    assert_eq!(partner.get(&path(&customer)).await.json()["version"], 3);

    for change in [json!({"sandboxMode": true}), json!({"levelName": "another"}), json!({"levelName": null})] {
        let mut approval = sumsub::reviewed(id, 100, json!({"reviewAnswer": "GREEN"}));
        approval.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(call_back(&service, &Signed::new(&approval)).await, 200);
        assert_eq!(partner.get(&path(&customer)).await.json()["version"], 3, "{change} approves nobody");
    }
    assert_eq!(call_back(&service, &Signed::new(&sumsub::event("applicantPending", id, 200))).await, 200);
    assert_eq!(verification(&partner, &customer).await.0, "in_review");
    assert!(visit(&service, &link(&customer)).await.is(200).text().contains("being reviewed"));
    assert_eq!(call_back(&service, &Signed::new(&retry)).await, 200);
    let (status, reasons) = verification(&partner, &customer).await;
    assert_eq!(status, "needs_information");
    assert!(!reasons.to_string().contains("fraud") && !reasons.as_array().unwrap().is_empty(), "{reasons}");
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "verifying");

    for _ in 0..2 {
        assert_eq!(call_back(&service, &Signed::new(&green)).await, 200);
        assert_eq!(partner.get(&path(&customer)).await.json()["version"], 4, "a duplicate changes nothing");
    }
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "active");
    for late in [&retry, &fin(400)] {
        assert_eq!(call_back(&service, &Signed::new(late)).await, 200);
        assert_eq!(partner.get(&path(&customer)).await.json()["status"], "active", "older than the approval");
    }
    assert_eq!(call_back(&service, &Signed::new(&fin(600))).await, 200);
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "rejected");
    let again = sumsub::reviewed(id, 700, json!({"reviewAnswer": "GREEN"}));
    assert_eq!(call_back(&service, &Signed::new(&again)).await, 200);
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "rejected");
    assert_eq!(verification(&partner, &customer).await.0, "rejected");
    let mut nobody = sumsub::event("applicantPending", id, 750);
    nobody["externalUserId"] = Value::Null;
    assert_eq!(call_back(&service, &Signed::new(&nobody)).await, 200, "it would be repeated for a day");
    let stranger = sumsub::reviewed(Uuid::from_u128(5), 800, json!({"reviewAnswer": "GREEN"}));
    assert_eq!(call_back(&service, &Signed::new(&stranger)).await, 200);
}

/// A message whose time is far ahead counts once, as made when it came: later ones are newer, and its repetition is not.
async fn a_providers_clock_shadows_nothing(house: House) {
    let standin = StandIn::start().await;
    let (service, partner, customer) = with_sumsub(house, &standin).await;
    let mut early = sumsub::event("applicantOnHold", id(&customer), 0);
    early["createdAtMs"] = "9999-12-31 23:59:59.999".into();
    assert_eq!(call_back(&service, &Signed::new(&early)).await, 200);
    assert_eq!(verification(&partner, &customer).await.0, "in_review");
    service.wait(Duration::from_secs(10));
    let mut asked = sumsub::event("applicantAwaitingUser", id(&customer), 0);
    asked["createdAtMs"] = (service.clock.now().micros() / 1000 - 5_000).into();
    assert_eq!(call_back(&service, &Signed::new(&asked)).await, 200);
    assert_eq!(verification(&partner, &customer).await.0, "needs_information");
    service.wait(Duration::from_secs(300));
    assert_eq!(call_back(&service, &Signed::new(&early)).await, 200);
    assert_eq!(verification(&partner, &customer).await.0, "needs_information");
}

/// For every reader, on every endpoint, and whatever a provider says afterwards.
async fn a_rejection_has_one_public_reason(house: House) {
    let standin = StandIn::start().await;
    let (service, partner, customer) = with_sumsub(house, &standin).await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    let operator = service.operator("mallory").await;
    let reject = RejectCustomerRequest { customer_id: id(&customer).to_string(), reason: "Knows somebody.".into() };
    grpc.reject_customer(operator.rpc(partner.programme_id, reject)).await.unwrap();
    let fin = sumsub::reviewed(id(&customer), 900, json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL"}));
    for _ in 0..2 {
        assert_eq!(verification(&partner, &customer).await, ("rejected".into(), json!(["other"])));
        assert_eq!(causes(&partner, &customer).await.last().unwrap(), "operator: rejected: other");
        let events = partner.get("/v1/events").await.is(200).text().to_owned();
        assert!(events.contains(r#""status":"rejected""#), "{events}");
        for secret in ["Knows", "mallory", "other", "identity"] {
            assert!(!events.contains(secret), "{secret} in {events}");
        }
        assert_eq!(call_back(&service, &Signed::new(&fin)).await, 200);
    }
}

async fn an_early_decision_is_followed_and_a_late_refusal_ends_everything(house: House) {
    let standin = StandIn::start().await;
    let service = house.start_with(&[&at(&standin)[..], &["--no-worker"]].concat()).await;
    let partner = service.partner("Wallet").await;
    let customer = proven(&partner, &Evm::new(5)).await;
    let customer_id = id(&customer);
    let green = sumsub::reviewed(customer_id, 500, json!({"reviewAnswer": "GREEN"}));
    assert_eq!(call_back(&service, &Signed::new(&green)).await, 200);
    let now = partner.get(&path(&customer)).await.is(200).json();
    assert_eq!((&now["status"], &now["version"]), (&json!("screening"), &json!(2)), "nobody passes unscreened");
    let queue = ScreeningQueue::new(service.store.clone(), service.clock.clone(), listing("0x00"));
    let item = queue.claim(service.node().await, service.clock.now(), 1).await.unwrap().items.remove(0);
    let verdict = queue.perform(&item).await;
    assert_eq!(queue.settle(item, Some(verdict)).await.unwrap(), "clear");
    let now = partner.get(&path(&customer)).await.is(200).json();
    assert_eq!((&now["status"], &now["version"]), (&json!("active"), &json!(4)));

    let account_id = service.active_account(&partner, customer_id).await;
    let card_id = service.active_card(&partner, account_id, &virtual_card()).await;
    let red = json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL"});
    assert_eq!(call_back(&service, &Signed::new(&sumsub::reviewed(customer_id, 600, red))).await, 200);
    let told = trail(&partner, customer_id).await;
    let ended = ["active > rejected v5", "customer] active > closed v4", "customer] active > terminated v3"];
    assert!(told[told.len() - 3..].iter().zip(ended).all(|(line, end)| line.ends_with(end)), "{told:?}");
    partner.get(&format!("/v1/cards/{card_id}")).await.is(200);
}

async fn a_partner_who_is_down_gets_a_page_and_fails_nothing(house: House) {
    let standin = StandIn::start().await;
    let (service, partner, customer) = with_sumsub(house, &standin).await;
    let wait: &'static [(&str, &str)] = &[("retry-after", "90")];
    standin.seen.lock().unwrap().fault = Some(Fault::Answer(503, wait, String::new()));
    let page = visit(&service, &link(&customer)).await.is(503);
    assert_eq!(page.header("retry-after"), Some("90"));
    assert!(page.text().contains("not available right now") && page.text().contains(&link(&customer)));
    assert_eq!(verification(&partner, &customer).await.0, "not_started");
    partner.customer("u-2").await;
    standin.seen.lock().unwrap().fault = None;
    visit(&service, &link(&customer)).await.is(302);
}
