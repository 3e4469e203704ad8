//! Request ids, traces, shedding and deadlines, without a socket and in test time.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::serve::{GuardLayer, IdentifyLayer, Limits, RequestId, TraceParent};
use http::{Request, Response, StatusCode};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::house::{request, text, waiting};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 1)
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn echo() -> Router {
    let say = |request: axum::extract::Request| async move {
        let id = request.extensions().get::<RequestId>().unwrap().as_str().to_owned();
        let trace = request.extensions().get::<TraceParent>().unwrap().header().to_str().unwrap().to_owned();
        assert_eq!(request.headers()["x-request-id"], id);
        assert_eq!(request.headers()["traceparent"], trace);
        format!("{id} {trace}")
    };
    Router::new().fallback(say).layer(IdentifyLayer::new(clock()))
}

#[tokio::test]
async fn the_callers_names_are_kept() {
    let mut asked = request("/");
    asked.headers_mut().insert("x-request-id", "order:7/~".parse().unwrap());
    asked.headers_mut().insert("traceparent", TRACE.parse().unwrap());
    let answer = echo().oneshot(asked).await.unwrap();
    assert_eq!(header(&answer, "x-request-id"), Some("order:7/~"));
    assert_eq!(header(&answer, "traceparent"), Some(TRACE));
    assert_eq!(text(answer).await, format!("order:7/~ {TRACE}"));
}

#[tokio::test]
async fn other_names_are_replaced() {
    let (longest, longer) = ("x".repeat(128), "x".repeat(129));
    for (sent, kept) in [(&longest[..], true), (&longer, false), ("", false), ("two words", false), ("tab\tbed", false)]
    {
        let mut asked = request("/");
        asked.headers_mut().insert("x-request-id", sent.parse().unwrap());
        let answer = echo().oneshot(asked).await.unwrap();
        assert_eq!(header(&answer, "x-request-id") == Some(sent), kept, "{sent:?}");
        assert_eq!(header(&answer, "x-request-id").unwrap().len(), if kept { 128 } else { 36 });
    }
    let mut twice = request("/");
    twice.headers_mut().append("x-request-id", "a".parse().unwrap());
    twice.headers_mut().append("x-request-id", "b".parse().unwrap());
    let answer = echo().oneshot(twice).await.unwrap();
    insta::assert_snapshot!(text(answer).await);
}

fn guarded(
    clock: &Clock,
    requests: usize,
) -> (Router, tokio::sync::mpsc::UnboundedReceiver<tokio::sync::oneshot::Sender<()>>) {
    let limits = Limits { requests, request_deadline: Duration::from_secs(30), ..Limits::default() };
    let (router, handlers) = waiting();
    let layers = (IdentifyLayer::new(clock.clone()), GuardLayer::new(clock.clone(), &limits));
    (router.layer(layers), handlers)
}

fn grpc(timeout: Option<&str>) -> Request<Body> {
    let mut request = request("/wait");
    request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn what_is_too_much_is_shed() {
    let (router, mut handlers) = guarded(&clock(), 1);
    let first = tokio::spawn(router.clone().oneshot(request("/wait")));
    let release = handlers.recv().await.unwrap();

    let shed = router.clone().oneshot(request("/wait")).await.unwrap();
    assert_eq!((shed.status(), header(&shed, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
    assert_eq!(header(&shed, "content-type"), Some("application/problem+json"));
    let id = header(&shed, "x-request-id").unwrap().to_owned();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text(shed).await).unwrap(),
        serde_json::json!({
            "type": "about:blank", "title": "Service unavailable", "status": 503, "instance": "/wait",
            "detail": "Too many requests are in flight. Try again shortly.", "code": "UNAVAILABLE", "requestId": id,
        })
    );

    let shed = router.clone().oneshot(grpc(None)).await.unwrap();
    assert_eq!((shed.status(), header(&shed, "content-type")), (StatusCode::OK, Some("application/grpc")));
    let id = header(&shed, "x-request-id").unwrap();
    let status = tonic::Status::from_header_map(shed.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    assert_eq!(details.error_info().unwrap().reason, "UNAVAILABLE");
    assert_eq!(details.request_info().unwrap().request_id, id);

    release.send(()).unwrap();
    assert_eq!(text(first.await.unwrap().unwrap()).await, "finished");
    let again = tokio::spawn(router.oneshot(request("/wait")));
    handlers.recv().await.unwrap().send(()).unwrap();
    assert_eq!(again.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn deadlines_end_requests_and_free_their_place() {
    let clock = clock();
    let (router, mut handlers) = guarded(&clock, 1);
    // Ours; the caller's; the caller's that is longer than ours.
    for (asked, after, code) in [
        (request("/wait"), 30, None),
        (grpc(Some("2S")), 2, Some(tonic::Code::DeadlineExceeded)),
        (grpc(Some("1H")), 30, Some(tonic::Code::Unavailable)),
    ] {
        let mut answer = Box::pin(router.clone().oneshot(asked));
        assert!(futures::poll!(answer.as_mut()).is_pending());
        let mut release = handlers.recv().await.unwrap();
        clock.advance(Duration::from_secs(after) - Duration::from_micros(1));
        assert!(futures::poll!(answer.as_mut()).is_pending());
        clock.advance(Duration::from_micros(1));
        let answer = answer.await.unwrap();
        release.closed().await;
        let status = tonic::Status::from_header_map(answer.headers()).map(|status| status.code());
        assert_eq!(status, code);
        assert_eq!(answer.status(), if code.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
    }
}
