//! The metrics of requests, and the health routes, as Prometheus and an orchestrator see them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use tower::ServiceExt as _;

use super::{Metrics, ObserveLayer, Readiness, Rpcs, routes};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::serve::Shutdown;

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

/// One data frame, then what is given.
fn stream(then: Vec<Frame<Bytes>>) -> Body {
    let frames = std::iter::once(Frame::data(Bytes::from_static(b"x"))).chain(then);
    Body::new(StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::convert::Infallible>))))
}

/// The lines of the counters and gauges, sorted.
fn counted(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && line.contains("_requests_")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[tokio::test]
async fn rest_is_counted_by_route_and_status() {
    let recorder = super::metrics::recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = Clock::manual(Timestamp::EPOCH, 0);
    let slow = clock.clone();
    let router = Router::new()
        .route("/customers/{id}", get(async move || _ = slow.advance(Duration::from_millis(30))))
        .route("/stream", get(|| async { stream(vec![]) }))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(ObserveLayer::http(clock, |_, path| (path == "/elsewhere").then_some("/elsewhere")));
    for path in ["/customers/1?secret=1", "/customers/2", "/nowhere", "/also-nowhere", "/elsewhere"] {
        let _ = router.clone().oneshot(request(path)).await.unwrap();
    }
    let _ = router.clone().oneshot(Request::post("/stream").body(Body::empty()).unwrap()).await.unwrap();
    let complete = router.clone().oneshot(request("/stream")).await.unwrap();
    complete.into_body().collect().await.unwrap();
    let dropped = router.oneshot(request("/stream")).await.unwrap();
    let open = recorder.handle().render();
    assert!(open.contains("http_requests_in_flight 1\n"), "{open}");
    drop(dropped);
    let text = recorder.handle().render();
    insta::assert_snapshot!(counted(&text), @r#"
    http_requests_in_flight 0
    http_requests_total{method="GET",route="(none)",status="404"} 2
    http_requests_total{method="GET",route="/customers/{id}",status="200"} 2
    http_requests_total{method="GET",route="/elsewhere",status="404"} 1
    http_requests_total{method="GET",route="/stream",status="200"} 1
    http_requests_total{method="GET",route="/stream",status="aborted"} 1
    http_requests_total{method="POST",route="/stream",status="405"} 1
    "#);
    let bucket = "http_request_duration_seconds_bucket{method=\"GET\",route=\"/customers/{id}\",le=\"0.05\"} 2";
    assert!(text.contains(bucket), "{text}");
}

#[tokio::test]
async fn rpcs_are_counted_by_name_and_code() {
    let method = ["Refused", "Fine", "Failed", "Cut"]
        .map(|name| MethodDescriptorProto { name: Some(name.to_owned()), ..Default::default() });
    let service = ServiceDescriptorProto { name: Some("B".to_owned()), method: method.into(), ..Default::default() };
    let file = FileDescriptorProto { package: Some("a".to_owned()), service: vec![service], ..Default::default() };
    let rpcs = Rpcs::of([&FileDescriptorSet { file: vec![file] }.encode_to_vec()[..]]);
    let recorder = super::metrics::recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let router = Router::new()
        .route("/a.B/Refused", get(|| async { (status("5"), Body::empty()) }))
        .route("/a.B/Fine", get(|| async { stream(vec![Frame::trailers(status("0"))]) }))
        .route("/a.B/Failed", get(|| async { stream(vec![Frame::trailers(status("13"))]) }))
        .route("/a.B/Cut", get(|| async { stream(vec![]) }))
        .fallback(|| async { (status("12"), Body::empty()) })
        .layer(ObserveLayer::grpc(Clock::manual(Timestamp::EPOCH, 0), rpcs));
    for rpc in ["Refused", "Fine", "Fine", "Failed", "Cut", "Made", "Up"] {
        let answer = router.clone().oneshot(request(&format!("/a.B/{rpc}"))).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    insta::assert_snapshot!(counted(&recorder.handle().render()), @r#"
    grpc_requests_in_flight 0
    grpc_requests_total{rpc="(unknown)",code="unimplemented"} 2
    grpc_requests_total{rpc="a.B/Cut",code="cancelled"} 1
    grpc_requests_total{rpc="a.B/Failed",code="internal"} 1
    grpc_requests_total{rpc="a.B/Fine",code="ok"} 2
    grpc_requests_total{rpc="a.B/Refused",code="not_found"} 1
    "#);
}

#[test]
fn calls_that_go_to_a_trait_are_counted_too() {
    let recorder = super::metrics::recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let watch = ObserveLayer::in_process(Clock::manual(Timestamp::EPOCH, 0), Rpcs::default()).watch();
    watch("a.B/Fine").ended(tonic::Code::Ok);
    watch("a.B/Fine").ended(tonic::Code::NotFound);
    drop(watch("a.B/Fine"));
    let under_way = watch("a.B/Fine");
    insta::assert_snapshot!(counted(&recorder.handle().render()), @r#"
    grpc_requests_in_flight 1
    grpc_requests_total{rpc="a.B/Fine",code="cancelled"} 1
    grpc_requests_total{rpc="a.B/Fine",code="not_found"} 1
    grpc_requests_total{rpc="a.B/Fine",code="ok"} 1
    "#);
    drop(under_way);
}

#[tokio::test]
async fn health_and_readiness() {
    let (clock, shutdown) = (Clock::manual(Timestamp::EPOCH, 0), Shutdown::new());
    let (tell, told) = tokio::sync::watch::channel(Err("the database does not answer".to_owned()));
    let check = Arc::new(move || {
        let told = told.borrow().clone();
        Box::pin(async move { told }) as futures::future::BoxFuture<'static, _>
    });
    let readiness = Readiness::starting(clock.clone(), shutdown.clone());
    let router = routes(readiness.clone(), Metrics::install(clock));
    let ask = async |path: &str| {
        let answer = router.clone().oneshot(request(path)).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.into()).unwrap())
    };
    assert_eq!(ask("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(ask("/readyz").await, (503, "not ready: starting: opening and migrating the database\n".to_owned()));
    readiness.started(check);
    assert_eq!(ask("/readyz").await, (503, "not ready: the database does not answer\n".to_owned()));
    assert_eq!(ask("/healthz").await, (200, "ok\n".to_owned()));
    let _refusal = tell.send_replace(Ok(()));
    assert_eq!(ask("/readyz").await, (200, "ready\n".to_owned()));
    shutdown.drain();
    assert_eq!(ask("/readyz").await, (503, "not ready: draining\n".to_owned()));
    shutdown.start();
    assert_eq!(ask("/readyz").await, (503, "not ready: shutting down\n".to_owned()));
    assert_eq!(ask("/healthz").await, (200, "ok\n".to_owned()));
    let (status, text) = ask("/metrics").await;
    assert!(status == 200 && text.contains("process_uptime_seconds"), "{text}");
}

#[tokio::test]
async fn a_check_that_hangs_is_not_ready() {
    let clock = Clock::manual(Timestamp::EPOCH, 0);
    let check = Arc::new(|| Box::pin(std::future::pending()) as futures::future::BoxFuture<'static, _>);
    let readiness = Readiness::starting(clock.clone(), Shutdown::new());
    readiness.started(check);
    let mut asked = Box::pin(readiness.ask());
    assert!(futures::poll!(asked.as_mut()).is_pending());
    clock.advance(Duration::from_secs(2));
    assert_eq!(asked.await, Err("no answer within 2 s".to_owned()));
}
