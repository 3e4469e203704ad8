//! The database goes away under a service, as its callers see it.

use std::net::TcpListener;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::process::Place;
use crate::proxy::Proxy;
use crate::support::{House, Partner, Service, account};

/// Far longer than anything here takes: a hang ends the test.
const HANG: Duration = Duration::from_secs(60);

async fn house() -> Option<(Service, Proxy, u16)> {
    let url = crate::postgres::database().await?;
    let port = url::Url::parse(&url).unwrap().port().unwrap();
    let (proxy, url) = Proxy::before_database(&url).await;
    let house = House::on(url, tempfile::tempdir().unwrap(), crate::support::START);
    Some((house.start().await, proxy, port))
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
            customerd::clock::Clock::system().sleep(Duration::from_millis(50)).await;
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
