//! A REST front whose backend is killed, falls silent, or is not what it should be: callers are told 503 with `Retry-After`, and
//! the front goes on by itself when the backend is back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};

use crate::process::{Place, Server};
use crate::support::{Answer, House, ORIGIN, Partner};

/// A test that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(300);

fn unavailable(answer: Answer) {
    let answer = answer.refuses(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

/// How a backend fails a call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Gone,
    Reset(h2::Reason),
    HeaderThenReset(h2::Reason),
    HeaderThenGone,
    HalfThenGone,
    NoStatus,
    Http(u16),
}

/// A backend that fails every call in this way; where it is.
async fn faulty(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    drop(request);
                    let mut head = Response::new(());
                    head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                    match fault {
                        Fault::Gone => return,
                        Fault::Reset(reason) => respond.send_reset(reason),
                        Fault::HeaderThenReset(reason) => {
                            respond.send_response(head, false).unwrap().send_reset(reason);
                        }
                        Fault::HeaderThenGone | Fault::HalfThenGone => {
                            let mut body = respond.send_response(head, false).unwrap();
                            if matches!(fault, Fault::HalfThenGone) {
                                body.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 1]), false).unwrap();
                            }
                            // What is queued is written before the connection goes.
                            let _ = tokio::time::timeout(Duration::from_millis(50), connection.accept()).await;
                            return;
                        }
                        Fault::NoStatus => {
                            let mut body = respond.send_response(head, false).unwrap();
                            body.send_trailers(HeaderMap::new()).unwrap();
                        }
                        Fault::Http(status) => {
                            *head.status_mut() = StatusCode::from_u16(status).unwrap();
                            head.headers_mut().insert("content-type", "text/html".parse().unwrap());
                            let mut body = respond.send_response(head, false).unwrap();
                            body.send_data(Bytes::from_static(b"<h1>nobody is here</h1>"), true).unwrap();
                        }
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_is_unavailable() {
    let story = async {
        let service = House::Sqlite(false).await.unwrap().start().await;
        let mut partner = service.partner("Wallet").await;
        for fault in [
            Fault::Gone,
            Fault::Reset(h2::Reason::CANCEL),
            Fault::Reset(h2::Reason::NO_ERROR),
            Fault::Reset(h2::Reason::INTERNAL_ERROR),
            Fault::Reset(h2::Reason::REFUSED_STREAM),
            Fault::HeaderThenReset(h2::Reason::CANCEL),
            Fault::HeaderThenReset(h2::Reason::NO_ERROR),
            Fault::HeaderThenReset(h2::Reason::INTERNAL_ERROR),
            Fault::HeaderThenGone,
            Fault::HalfThenGone,
            Fault::NoStatus,
            Fault::Http(404),
            Fault::Http(502),
        ] {
            let (front, _running) = service.house().front_to(&format!("http://{}", faulty(fault).await), &[]).await;
            partner.http = front;
            let answer = partner.get("/v1/customers").await;
            assert_eq!(answer.status, 503, "{fault:?}: {answer:?}");
            unavailable(answer);
            let answer = partner.post("/v1/auth/token", &serde_json::json!({"apiKey": "a", "apiSecret": "b"})).await;
            unavailable(answer);
        }
        service.stop().await;
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}

/// Passes bytes on, but for connections made before [`Proxy::silence`]: those stay open and nothing more comes through.
struct Proxy {
    addr: SocketAddr,
    made: Arc<AtomicUsize>,
    silent_below: Arc<AtomicUsize>,
}

impl Proxy {
    async fn to(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { addr: listener.local_addr().unwrap(), made: Arc::default(), silent_below: Arc::default() };
        let (made, silent_below) = (Arc::clone(&proxy.made), Arc::clone(&proxy.silent_below));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = made.fetch_add(1, Ordering::SeqCst);
                let silent_below = Arc::clone(&silent_below);
                let far = TcpStream::connect(backend).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let silent = Arc::new(move || number < silent_below.load(Ordering::SeqCst));
                tokio::spawn(pass(near_in, far_out, Arc::clone(&silent)));
                tokio::spawn(pass(far_in, near_out, silent));
            }
        });
        proxy
    }

    fn silence(&self) {
        self.silent_below.store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    silent: Arc<impl Fn() -> bool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        if silent() {
            std::future::pending::<()>().await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_replaced() {
    let story = async {
        let service = House::Sqlite(false).await.unwrap().start().await;
        let proxy = Proxy::to(service.grpc).await;
        let (front, _running) = service.house().front_to(&format!("http://{}", proxy.addr), &[]).await;
        let mut partner = service.partner("Wallet").await;
        partner.http = front;
        partner.customer("u-1").await;
        assert_eq!(partner.get("/readyz").bare().await.is(200).text(), "ready\n");

        proxy.silence();
        // What is in flight when it is noticed is answered; the next call has a new connection. The front's clock stands still,
        // so that no deadline of ours can have ended the call.
        unavailable(partner.get("/v1/customers").await);
        while partner.get("/v1/customers").await.status == 503 {}
        partner.customer("u-2").await;
        while partner.get("/readyz").bare().await.status == 503 {}
        service.stop().await;
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come_is_tried_again() {
    let story = async {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let cert = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
            std::fs::write(file(&format!("{name}.pem")), cert.pem()).unwrap();
            std::fs::write(file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        };
        std::fs::write(file("ca.pem"), ca.pem()).unwrap();
        issue("127.0.0.1");
        let (cert, key, ca_file) = (file("127.0.0.1.pem"), file("127.0.0.1.key"), file("ca.pem"));
        let backend = ["--grpc-tls-cert", &cert, "--grpc-tls-key", &key, "--grpc-client-ca", &ca_file];
        let service = House::Sqlite(false).await.unwrap().start_with(&backend).await;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, far, dumb) = (listener.local_addr().unwrap(), service.grpc, Arc::new(AtomicBool::new(true)));
        let told = Arc::clone(&dumb);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut near, _)) = listener.accept().await {
                if told.load(Ordering::SeqCst) {
                    kept.push(near);
                    continue;
                }
                let mut far = TcpStream::connect(far).await.unwrap();
                tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut near, &mut far).await) });
            }
        });
        issue("front");
        let (cert, key) = (file("front.pem"), file("front.key"));
        let upstream = ["--upstream-ca", &ca_file, "--upstream-cert", &cert, "--upstream-key", &key];
        let (front, _running) = service.house().front_to(&format!("https://{addr}"), &upstream).await;
        let mut partner = service.partner("Wallet").await;
        partner.http = front;
        unavailable(partner.get("/v1/customers").await);
        dumb.store(false, Ordering::SeqCst);
        // Renewed: another key for the next connection, which would not fit the certificate read before.
        issue("front");
        while partner.get("/v1/customers").await.status == 503 {}
        partner.customer("u-1").await;
        service.stop().await;
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}

/// Asks until told not to; the responses that were no success.
async fn ask(partner: Arc<Partner>, stop: Arc<AtomicBool>) -> Vec<Answer> {
    let mut refused = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        for answer in [
            partner.get("/v1/customers").await,
            // Its password hash takes a while.
            partner.ask_token(&partner.api_key, &partner.api_secret).await,
        ] {
            if answer.status != 200 {
                refused.push(answer);
            }
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_killed_in_mid_request_is_unavailable_until_it_is_back() {
    let story = async {
        let place = Place::sqlite();
        let public = ["--public-url", ORIGIN];
        let backend = || place.start(&[&["serve", "--only", "grpc"], &public[..]].concat(), "gRPC is ready");
        let upstream = format!("http://{}", place.grpc);
        let mut running: Server = backend();
        let front = place
            .start(&[&["serve", "--only", "rest", "--upstream", &upstream], &public[..]].concat(), "REST is ready");
        let partner = Arc::new(place.partner().await);
        for _ in 0..3 {
            let stop = Arc::new(AtomicBool::new(false));
            let callers: Vec<_> = (0..6).map(|_| tokio::spawn(ask(Arc::clone(&partner), Arc::clone(&stop)))).collect();
            for _ in 0..3 {
                partner.get("/v1/customers").await.is(200);
            }
            running.kill();
            while partner.get("/v1/customers").await.status == 200 {}
            running = backend();
            while partner.get("/v1/customers").await.status == 503 {}
            stop.store(true, Ordering::SeqCst);
            let mut refused = Vec::new();
            for caller in callers {
                refused.extend(caller.await.unwrap());
            }
            assert!(!refused.is_empty());
            refused.into_iter().for_each(unavailable);
        }
        assert_eq!(front.stop(), Some(0));
        assert_eq!(running.stop(), Some(0));
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}
