//! The database goes away under a service, as its callers see it.

use std::net::TcpListener;
use std::time::Duration;

use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use customerd::api::v1::{Event, WatchEventsRequest};
use customerd::clock::Clock;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::process::Place;
use crate::proxy::Proxy;
use crate::support::{Call, Evm, Following, House, Partner, Receiver, Service, account, b64, unb64};

/// Far longer than anything here takes: a hang ends the test.
const HANG: Duration = Duration::from_secs(60);

async fn house() -> Option<(Service, Proxy, u16)> {
    house_with(&[]).await
}

async fn house_with(flags: &[&str]) -> Option<(Service, Proxy, u16)> {
    let url = crate::postgres::database().await?;
    let port = url::Url::parse(&url).unwrap().port().unwrap();
    let (proxy, url) = Proxy::before_database(&url).await;
    let house = House::on(url, tempfile::tempdir().unwrap(), crate::support::START);
    Some((house.start_with(flags).await, proxy, port))
}

/// Sixteen creates at once, again until all are made: none of them says anything but "later".
async fn until_created(partner: &Partner, name: &str) {
    let create = |number: usize| async move {
        let name = format!("{name}-{number}");
        let body = json!({"chainId": account(&name), "externalId": name});
        loop {
            let answer = partner.post("/v1/customers", &body).await;
            match answer.status {
                201 | 409 => return,
                _ => drop(answer.refuses(503, "UNAVAILABLE")),
            }
            Clock::system().sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANG, join_all((0..16).map(create))).await.expect("writes come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_come_back_after_a_silent_cut_and_stopping_ends() {
    let Some((service, proxy, _)) = house().await else { return };
    let partner = service.partner("Cut").await;
    until_created(&partner, "before").await;
    proxy.silence();
    until_created(&partner, "after").await;
    proxy.silence();
    proxy.refuse();
    let calls = async { partner.get("/v1/customers").await.refuses(503, "UNAVAILABLE") };
    let answer = tokio::time::timeout(HANG, calls).await.expect("it is answered");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    tokio::time::timeout(HANG, service.stop()).await.expect("it ends");
}

/// The service's time goes by as fast as ours.
fn goes_by(service: &Service) -> AbortOnDropHandle<()> {
    let clock = service.clock.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let tick = Duration::from_millis(50);
        loop {
            Clock::system().sleep(tick).await;
            clock.advance(tick);
        }
    }))
}

/// Calls again until the database is back.
async fn insist<'a>(call: impl Fn() -> Call<'a>) -> Value {
    let answered = async {
        loop {
            let answer = call().await;
            match answer.status {
                200 | 201 | 204 => return serde_json::from_slice(&answer.body).unwrap_or_default(),
                _ => drop(answer.refuses(503, "UNAVAILABLE")),
            }
            Clock::system().sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANG, answered).await.expect("it comes back")
}

async fn until(partner: &Partner, path: &str, wanted: impl Fn(&Value) -> bool) {
    let reached = async {
        while !wanted(&insist(|| partner.get(path)).await) {
            Clock::system().sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(HANG, reached).await.is_ok(), "{path} stays {:?}", partner.get(path).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_and_webhooks_come_back_after_a_silent_cut() {
    let Some((service, proxy, _)) = house_with(&["--allow-private-callbacks"]).await else { return };
    let _time = goes_by(&service);
    let partner = service.sandbox_partner("Cut").await;
    let receiver = Receiver::start().await;
    let body = json!({"callbackUrl": receiver.url(), "types": ["customer.updated"]});
    let webhook = partner.put("/v1/webhooks", &body).await.is(200).json();
    let deliveries = format!("/v1/webhooks/{}/deliveries", webhook["id"].as_str().unwrap());
    let delivered = |count: usize| {
        move |page: &Value| {
            let all = page["deliveries"].as_array().unwrap();
            all.len() == count && all.iter().all(|delivery| delivery["status"] == "delivered")
        }
    };
    partner.customer("before").await;
    until(&partner, &deliveries, delivered(1)).await;
    for round in 1..=2 {
        proxy.silence();
        let wallet = Evm::new(round);
        let body = json!({"chainId": wallet.account(), "externalId": format!("after-{round}")});
        let key = service.clock.id().to_string();
        let customer = insist(|| partner.post("/v1/customers", &body).key(&key)).await;
        let path = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
        let signature = b64(wallet.sign_hex(&unb64(&customer["challenge"])));
        let signed = json!({"challenge": customer["challenge"], "signature": signature});
        let key = service.clock.id().to_string();
        insist(|| partner.post(&format!("{path}/challenge/sign"), &signed).key(&key)).await;
        until(&partner, &path, |customer| customer["status"] == "verifying").await;
        // Made, proven, cleared.
        until(&partner, &deliveries, delivered(1 + 3 * usize::from(round))).await;
    }
    tokio::time::timeout(HANG, service.stop()).await.expect("it ends");
}

/// Reads a stream of a form until it tells of a customer. One that ends says so, and is followed again, as readers do.
async fn told_of(partner: &Partner, form: &str, stream: &mut Following, name: &str) {
    let told = async {
        loop {
            match stream.line().await {
                Some(line) if line.contains(&format!("\"{name}\"")) => return,
                Some(_) => {}
                None => *stream = followed(partner, form).await,
            }
        }
    };
    tokio::time::timeout(HANG, told).await.expect("it comes back");
}

async fn followed(partner: &Partner, form: &str) -> Following {
    loop {
        let stream = partner.get("/v1/events").header("accept", form).follow().await;
        match stream.status {
            200 => return stream,
            status => assert_eq!(status, 503),
        }
        Clock::system().sleep(Duration::from_millis(50)).await;
    }
}

/// The same over gRPC.
async fn watched(
    partner: &Partner,
    client: &mut WebhookServiceClient<Channel>,
    stream: &mut Streaming<Event>,
    name: &str,
) {
    let told = async {
        loop {
            match stream.message().await {
                Ok(Some(event)) if format!("{event:?}").contains(name) => return,
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends without a word"),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    Clock::system().sleep(Duration::from_millis(50)).await;
                    if let Ok(again) = client.watch_events(partner.rpc(WatchEventsRequest::default())).await {
                        *stream = again.into_inner();
                    }
                }
            }
        }
    };
    tokio::time::timeout(HANG, told).await.expect("it comes back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_streams_come_back_after_a_silent_cut() {
    const FORMS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];
    let Some((service, proxy, _)) = house_with(&[]).await else { return };
    let _time = goes_by(&service);
    let partner = service.partner("Cut").await;
    partner.customer("before").await;
    let mut streams = [followed(&partner, FORMS[0]).await, followed(&partner, FORMS[1]).await];
    let mut client = WebhookServiceClient::new(service.channel().await);
    let mut stream = client.watch_events(partner.rpc(WatchEventsRequest::default())).await.unwrap().into_inner();
    for (round, name) in ["before", "after-1", "after-2"].into_iter().enumerate() {
        if round > 0 {
            proxy.silence();
            let body = json!({"chainId": account(name), "externalId": name});
            let key = service.clock.id().to_string();
            insist(|| partner.post("/v1/customers", &body).key(&key)).await;
        }
        for (form, stream) in FORMS.into_iter().zip(&mut streams) {
            told_of(&partner, form, stream, name).await;
        }
        watched(&partner, &mut client, &mut stream, name).await;
    }
    tokio::time::timeout(HANG, service.stop()).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_callers_are_told_to_come_back() {
    let Some((service, proxy, port)) = house().await else { return };
    let partner = service.partner("Away").await;
    until_created(&partner, "before").await;
    proxy.refuse();
    proxy.silence();
    let answers = join_all((0..16).map(|_| async { partner.get("/v1/customers").await })).await;
    for answer in answers {
        let answer = answer.refuses(503, "UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    proxy.lead_to(port);
    until_created(&partner, "after").await;
    service.stop().await;
}

#[test]
fn a_start_that_waits_for_the_database_takes_no_port_and_heeds_signals() {
    // It accepts, by its backlog, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://me@{}/c?connect_timeout=60", silent.local_addr().unwrap());
    let place = Place::sqlite().on(url);
    let server = place.start(&["serve"], "clients are told apart by");
    let free = [place.http, place.grpc].map(|addr| TcpListener::bind(addr).unwrap());
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped before it had started"), "{log}");
    drop(free);
}
