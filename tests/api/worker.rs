//! The worker as a process of its own, beside a service without one.

use http::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::process::{Place, in_processes};
use crate::support::{Evm, Http, Ledger, Partner, b64, exchange, unb64};

in_processes![
    the_worker_works_alone,
    health_is_answered_while_migrations_wait,
    what_hangs_does_not_keep_it_from_ending
];

async fn the_worker_works_alone(place: Place) {
    let service = place.serve(&["--no-worker"]);
    let partner = place.partner().await;
    let body = json!({"chainId": Evm::new(1).account(), "externalId": "u-1"});
    let customer = partner.post("/v1/customers", &body).await.is(201).json();
    let target = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    let signature = b64(Evm::new(1).sign_hex(&unb64(&customer["challenge"])));
    let signed = json!({"challenge": customer["challenge"], "signature": signature});
    partner.post(&format!("{target}/challenge/sign"), &signed).await.is(204);
    assert_eq!(status(&partner, &target).await, "screening", "nobody works");

    let (worker, health) = place.worker();
    let mut polls = 0;
    while status(&partner, &target).await != "verifying" {
        polls += 1;
        assert!(polls < 5000, "the worker does nothing");
    }
    let worker_health = Partner { http: health, ..partner };
    worker_health.get("/readyz").bare().await.is(200);
    let metrics = worker_health.get("/metrics").bare().await.is(200);
    assert!(metrics.text().contains("worker_items_total{"), "{metrics:?}");
    worker_health.get("/v1/customers").bare().await.is(404);
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(service.stop(), Some(0));
}

/// Another process has the table of migrations, as one that runs a long one would. Not on SQLite, where nobody waits for that
/// long.
async fn health_is_answered_while_migrations_wait(place: Place) {
    if place.database_url().starts_with("sqlite") {
        return;
    }
    assert!(place.run(&["migrate"]).status.success());
    let mut migrating = PgConnection::connect(&place.database_url()).await.unwrap();
    for command in ["serve", "worker"] {
        sqlx::raw_sql("BEGIN; LOCK TABLE _sqlx_migrations IN ACCESS EXCLUSIVE MODE")
            .execute(&mut migrating)
            .await
            .unwrap();
        let (node, health) = place.starting(&[command, "--health-addr", "127.0.0.1:0"]);
        let ask = async |path: &str| exchange((health, Http::One), (&Method::GET, path), &[], Vec::new()).await;
        assert_eq!(ask("/healthz").await.is(200).text(), "ok\n");
        let unready = ask("/readyz").await.is(503);
        assert!(unready.text().contains("migrating"), "{unready:?}");
        sqlx::raw_sql("COMMIT").execute(&mut migrating).await.unwrap();
        while ask("/readyz").await.status != 200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(node.stop(), Some(0));
    }
}

/// A receiver that never answers has 15 seconds; the grace is one.
async fn what_hangs_does_not_keep_it_from_ending(place: Place) {
    let service = place.serve(&["--no-worker", "--allow-private-callbacks"]);
    let partner = place.partner().await;
    let receiver = Ledger::start(0).await;
    receiver.close();
    let body = json!({"callbackUrl": receiver.url("/hook"), "types": ["customer.updated"]});
    partner.put("/v1/webhooks", &body).await.is(200);
    let worker = place.work(&["--allow-private-callbacks", "--shutdown-grace", "1s"]);
    partner.customer("u-1").await;
    receiver.until(|books| books.len() == 1).await;
    let (code, log) = tokio::task::spawn_blocking(move || worker.stopped()).await.unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("leaving without it"), "{log}");
    assert_eq!(service.stop(), Some(0));
}

async fn status(partner: &Partner, target: &str) -> Value {
    partner.get(target).await.is(200).json()["status"].clone()
}
