//! Request bodies, byte for byte and in test time: who has a slot, who gives way, who is too slow.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::serve::{Clients, GuardLayer, IdentifyLayer, Limits, Usage};
use futures::channel::mpsc;
use http::{Request, Response, StatusCode};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::house::{request, text, waiting};

const KIB: usize = 1024;
const SPAN: Duration = Duration::from_secs(15);

struct Scene {
    clock: Clock,
    guard: GuardLayer,
    router: Router,
}

/// `POST /read` answers with the length of its body.
fn scene(limits: Limits) -> (Scene, tokio::sync::mpsc::UnboundedReceiver<tokio::sync::oneshot::Sender<()>>) {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 1);
    let guard = GuardLayer::new(clock.clone(), &limits);
    let (router, handlers) = waiting();
    let read = post(|body: Bytes| async move { body.len().to_string() });
    let router = router.route("/read", read).layer((IdentifyLayer::new(clock.clone()), guard.clone()));
    (Scene { clock, guard, router }, handlers)
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A request whose body comes bit by bit, and its answer.
fn send(scene: &Scene, path: &str) -> (mpsc::UnboundedSender<Result<Bytes, Infallible>>, Answer) {
    let (sender, body) = mpsc::unbounded();
    let request = Request::post(path).body(Body::from_stream(body)).unwrap();
    (sender, Box::pin(scene.router.clone().oneshot(request)))
}

fn part(length: usize) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(vec![b'x'; length]))
}

fn small() -> Limits {
    Limits { requests: 2, body_bytes: 100 * KIB, body_timeout: SPAN, ..Limits::default() }
}

/// Whether it goes on without an answer, once its connection had a turn.
async fn waits(answer: &mut Answer) -> bool {
    futures::poll!(answer.as_mut()).is_pending() && futures::poll!(answer.as_mut()).is_pending()
}

#[tokio::test]
async fn a_request_that_is_not_whole_takes_no_slot() {
    let (scene, mut handlers) = scene(small());
    let mut halves: Vec<_> = (0..10).map(|_| send(&scene, "/read")).collect();
    for (sender, answer) in &mut halves {
        sender.unbounded_send(part(1)).unwrap();
        assert!(waits(answer).await);
    }
    let used = scene.guard.used();
    assert_eq!((used.slots, used.bodies), (0, 10));
    assert!((10 * 4097..10 * 5000).contains(&used.body_bytes), "{used:?}");

    let waits: Vec<_> = (0..2).map(|_| tokio::spawn(scene.router.clone().oneshot(request("/wait")))).collect();
    let releases = [handlers.recv().await.unwrap(), handlers.recv().await.unwrap()];
    assert_eq!(scene.guard.used(), Usage { slots: 2, ..used });

    // A request that is complete finds no slot, and its handler does not get to know that it is.
    let (sender, answer) = halves.pop().unwrap();
    drop(sender);
    assert_eq!(answer.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    for release in releases {
        release.send(()).unwrap();
    }
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    for (sender, answer) in halves {
        drop(sender);
        assert_eq!(text(answer.await.unwrap()).await, "1");
    }
    assert_eq!(scene.guard.used(), Usage::default());
}

#[tokio::test]
async fn one_client_leaves_slots_to_others() {
    let (scene, mut handlers) = scene(Limits { requests: 4, client_share: 50, ..small() });
    let clients = Clients::new(vec!["10.0.0.0/8".parse().unwrap()], None);
    let wait = |address: &str| {
        let mut request = request("/wait");
        request.extensions_mut().insert(clients.at(address.parse().unwrap()));
        scene.router.clone().oneshot(request)
    };
    let mut waits: Vec<_> = ["2001:db8::1", "2001:db8::2"].map(|own| tokio::spawn(wait(own))).into();
    let mut releases = vec![handlers.recv().await.unwrap(), handlers.recv().await.unwrap()];
    let refused = wait("2001:db8::3").await.unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    assert!(text(refused).await.contains("\"RATE_LIMITED\""));
    for other in ["2001:db8:0:1::1", "10.0.0.1"] {
        waits.push(tokio::spawn(wait(other)));
        releases.push(handlers.recv().await.unwrap());
    }
    assert_eq!(wait("10.0.0.1").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "everything is taken");
    releases.into_iter().for_each(|release| release.send(()).unwrap());
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(scene.guard.used(), Usage::default());
}

#[tokio::test]
async fn a_handler_that_does_not_wait_for_the_body_has_a_slot() {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 1);
    let guard = GuardLayer::new(clock.clone(), &small());
    // It holds the request, and with it the body, without reading it.
    let busy = post(|request: axum::extract::Request| async move {
        std::future::pending::<()>().await;
        drop(request);
    });
    let router = Router::new().route("/busy", busy).layer(guard.clone());
    let scene = Scene { clock, guard, router };
    let mut requests: Vec<_> = (0..3).map(|_| send(&scene, "/busy")).collect();
    let mut statuses = Vec::new();
    for (_, answer) in &mut requests {
        statuses.push(match futures::poll!(answer.as_mut()) {
            std::task::Poll::Ready(answer) => Some(answer.unwrap().status()),
            std::task::Poll::Pending => None,
        });
    }
    assert_eq!(statuses, [None, None, Some(StatusCode::SERVICE_UNAVAILABLE)]);
    assert_eq!(scene.guard.used().slots, 2);
    scene.clock.advance(Limits::default().request_deadline);
    assert_eq!(requests.remove(0).1.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "its deadline runs");
}

#[tokio::test]
async fn the_oldest_body_gives_way_when_memory_is_short() {
    let (scene, _handlers) = scene(small());
    let mut halves: Vec<_> = (0..3).map(|_| send(&scene, "/read")).collect();
    for (sender, answer) in &mut halves {
        sender.unbounded_send(part(25 * KIB)).unwrap();
        assert!(waits(answer).await);
    }
    assert!(scene.guard.used().body_bytes > 87 * KIB);
    let (sender, answer) = send(&scene, "/read");
    sender.unbounded_send(part(20 * KIB)).unwrap();
    drop(sender);
    assert_eq!(text(answer.await.unwrap()).await, (20 * KIB).to_string());
    assert_eq!(scene.guard.used().bodies, 2);

    let (_, oldest) = halves.remove(0);
    let refused = oldest.await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    let (sender, answer) = send(&scene, "/read");
    sender.unbounded_send(part(101 * KIB)).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "more than there ever is");
    for (sender, answer) in halves {
        drop(sender);
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(scene.guard.used(), Usage::default());
}

#[tokio::test]
async fn a_slow_body_is_refused_and_a_steady_one_is_not() {
    let (scene, _handlers) = scene(Limits { body_bytes: 1 << 20, ..small() });
    let (slow, mut refused) = send(&scene, "/read");
    let (steady, mut answered) = send(&scene, "/read");
    for _ in 0..4 {
        slow.unbounded_send(part(1)).unwrap();
        steady.unbounded_send(part(15 * 1024)).unwrap();
        if scene.clock.monotonic() < SPAN {
            assert!(waits(&mut refused).await);
        }
        assert!(waits(&mut answered).await);
        scene.clock.advance(SPAN);
    }
    let refused = refused.await.unwrap();
    assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(refused.headers()["connection"], "close");
    insta::assert_snapshot!(text(refused).await);
    drop(steady);
    assert_eq!(text(answered.await.unwrap()).await, (4 * 15 * 1024).to_string());
}

#[tokio::test]
async fn a_slow_message_is_the_grpc_callers_fault() {
    let (scene, _handlers) = scene(small());
    let (sender, body) = mpsc::unbounded::<Result<Bytes, Infallible>>();
    let asked = Request::post("/read").header("content-type", "application/grpc");
    let mut answer: Answer = Box::pin(scene.router.clone().oneshot(asked.body(Body::from_stream(body)).unwrap()));
    sender.unbounded_send(part(3)).unwrap();
    assert!(waits(&mut answer).await);
    scene.clock.advance(SPAN);
    let answer = answer.await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "REQUEST_TIMEOUT");
}
