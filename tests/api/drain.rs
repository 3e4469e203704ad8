//! A node that drains: health says that it goes, while calls are served as before.

use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::process::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_is_not_ready_and_serves() {
    let place = Place::sqlite();
    let server = place.serve(&["--drain-delay", "1h"]);
    let partner = place.partner().await;
    let channel = Channel::from_shared(format!("http://{}", place.grpc)).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut serving = async || {
        let request = HealthCheckRequest { service: String::new() };
        health.check(request).await.unwrap().into_inner().status() == ServingStatus::Serving
    };
    assert_eq!(partner.get("/readyz").bare().await.is(200).text(), "ready\n");
    assert!(serving().await);

    server.signal("HUP");
    server.signal("TERM");
    while serving().await {}
    assert_eq!(partner.get("/readyz").bare().await.is(503).text(), "not ready: draining\n");
    assert_eq!(partner.get("/healthz").bare().await.is(200).text(), "ok\n");
    partner.customer("while-draining").await;
    assert!(place.partner().await.get("/v1/customers").await.is(200).text().contains("while-draining"));

    let (code, said) = server.stopped();
    assert_eq!(code, Some(0), "a second signal ends the delay: {said}");
    assert!(said.contains("a second signal ends the delay") && said.contains("SIGHUP"), "{said}");
}
