//! TLS is verified by name and root, and connections are not shared between reaches.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod outbound_network;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use customerd::domain::reach::Reach;
use customerd::outbound::{Client, Error};
use outbound_network::{TestNetwork, options, post};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const RECEIVER: &str = "receiver.example";

/// Who issues the server's certificate, and for when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paper {
    Good,
    Expired,
    SelfSigned,
}

struct Server {
    address: SocketAddr,
    authority: CertificateDer<'static>,
}

/// A server that answers every request with 200 and the protocol it negotiated.
async fn server(paper: Paper) -> Server {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([RECEIVER.to_owned()]).unwrap();
    if paper == Paper::Expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let certificate = match paper {
        Paper::SelfSigned => params.self_signed(&key),
        Paper::Good | Paper::Expired => params.signed_by(&key, &authority),
    };
    let address =
        listen(certificate.unwrap().der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap()).await;
    Server { address, authority: authority.der().clone() }
}

async fn listen(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let mut config = ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(acceptor.clone(), stream));
        }
    });
    address
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let protocol = String::from_utf8_lossy(stream.get_ref().1.alpn_protocol().unwrap_or_default()).into_owned();
    let mut seen = Vec::new();
    while stream.read_buf(&mut seen).await? > 0 {
        if seen.ends_with(b"{}") {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{protocol}", protocol.len());
            stream.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}

/// Public addresses, and names that have one, lead to the server; the authority is trusted if the test says so.
fn client(server: &Server, trusting: bool) -> (Client, Arc<TestNetwork>) {
    let network = TestNetwork::new()
        .name(RECEIVER, &[&["93.184.216.34"], &["127.0.0.1"]])
        .name("receiver.example.", &[&["93.184.216.34"]])
        .name("other.example", &[&["93.184.216.34"]])
        .public_leads_to(server.address);
    let network = Arc::new(network);
    let mut options = options(&network);
    if trusting {
        options.extra_roots.push(server.authority.clone());
    }
    (Client::new(options).unwrap(), network)
}

#[tokio::test]
async fn a_trusted_certificate_with_the_right_name_is_accepted_over_http_1() {
    let server = server(Paper::Good).await;
    for url in ["https://receiver.example/hook", "https://RECEIVER.example.:8443/"] {
        let (client, _) = client(&server, true);
        let answer = post(&client, url, Reach::Global).await;
        assert_eq!(
            (answer.status, answer.error, answer.snippet.as_deref()),
            (Some(200), None, Some("http/1.1")),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_wrong_name_is_refused() {
    let server = server(Paper::Good).await;
    for url in ["https://other.example/", "https://93.184.216.34/"] {
        let answer = post(&client(&server, true).0, url, Reach::Global).await;
        assert_eq!(answer.status, None);
        let error = answer.error.unwrap().to_string();
        assert!(error.starts_with("TLS failed: invalid peer certificate: certificate not valid for name"), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_authority_and_a_self_signed_certificate_are_refused() {
    for (paper, trusting) in [(Paper::Good, false), (Paper::SelfSigned, false), (Paper::SelfSigned, true)] {
        let (client, _) = client(&server(paper).await, trusting);
        let answer = post(&client, "https://receiver.example/", Reach::Global).await;
        assert_eq!(answer.error, Some(Error::Tls("invalid peer certificate: UnknownIssuer".to_owned())));
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let (client, _) = client(&server(Paper::Expired).await, true);
    let answer = post(&client, "https://receiver.example/", Reach::Global).await;
    let error = answer.error.unwrap().to_string();
    assert!(error.starts_with("TLS failed: invalid peer certificate: certificate expired"), "{error}");
}

#[tokio::test]
async fn a_private_reach_does_not_loosen_tls() {
    let (client, _) = client(&server(Paper::SelfSigned).await, false);
    let answer = post(&client, "https://receiver.example/", Reach::Private).await;
    assert!(matches!(answer.error, Some(Error::Tls(_))), "{answer:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.read_u8().await
    });
    let network = Arc::new(TestNetwork::new().public_leads_to(address));
    let answer = post(&Client::new(options(&network)).unwrap(), "https://93.184.216.34/", Reach::Global).await;
    assert!(matches!(answer.error, Some(Error::Tls(_))), "{answer:?}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_at_the_deadline() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let network = Arc::new(TestNetwork::new().public_leads_to(listener.local_addr().unwrap()));
    let mut options = options(&network);
    options.deadline = Duration::from_millis(300);
    let answer = post(&Client::new(options).unwrap(), "https://93.184.216.34/", Reach::Global).await;
    assert_eq!(answer.error, Some(Error::Deadline));
}

/// The pool must not hand a connection to 127.0.0.1, made for a sandbox programme, to a live one; nor the other way round.
#[tokio::test]
async fn reaches_share_no_connection() {
    let server = server(Paper::Good).await;
    let url = format!("https://receiver.example:{}/", server.address.port());
    let (client, network) = client(&server, true);
    for _ in 0..2 {
        assert_eq!(post(&client, &url, Reach::Global).await.status, Some(200));
    }
    assert_eq!(client.connections(), 1);
    for _ in 0..2 {
        assert_eq!(post(&client, &url, Reach::Private).await.status, Some(200));
    }
    let dialled: Vec<_> = network.dialled().iter().map(|it| it.ip().to_string()).collect();
    assert_eq!(dialled, ["93.184.216.34", "127.0.0.1"]);
    // The public connection is still good; the name's new address is not used for it.
    assert_eq!(post(&client, &url, Reach::Global).await.status, Some(200));
    assert_eq!((client.connections(), network.asked(RECEIVER)), (2, 2));
}
