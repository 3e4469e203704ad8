//! TLS and mutual TLS.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::serve::{Certificates, Limits, TlsError, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::signal::unix::SignalKind;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::house::{House, connect, h1, h2, mirror, open_at, patient, request, rest, text};

struct Papers {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Self { dir: tempfile::tempdir().unwrap(), ca };
        papers.renew();
        std::fs::write(papers.file("ca.pem"), papers.ca.pem()).unwrap();
        papers
    }

    /// Another certificate in the place of the server's; gives its leaf.
    fn renew(&self) -> CertificateDer<'static> {
        let (cert, key) = self.issue("localhost");
        std::fs::write(self.file("cert.pem"), cert.pem()).unwrap();
        std::fs::write(self.file("key.pem"), key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    /// The leaf that a new connection is shown.
    async fn shown(&self, house: &House) -> CertificateDer<'static> {
        let stream = self.dial(house, "h2", false).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.ca).unwrap(), key)
    }

    fn files(&self, client_ca: bool) -> TlsFiles {
        let client_ca = client_ca.then(|| self.file("ca.pem"));
        TlsFiles { cert: self.file("cert.pem"), key: self.file("key.pem"), client_ca }
    }

    async fn house(&self, client_ca: bool, limits: Limits) -> House {
        self.house_at(Clock::system(), client_ca, limits).await
    }

    async fn house_at(&self, clock: Clock, client_ca: bool, limits: Limits) -> House {
        let certificates = Certificates::read(self.files(client_ca), &["h2", "http/1.1"]).unwrap();
        open_at(clock, limits, mirror(), |it| it.tls(Some(certificates))).await
    }

    async fn dial(&self, house: &House, alpn: &str, certified: bool) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = if certified {
            let (cert, key) = self.issue("client");
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![CertificateDer::from(cert.der().to_vec())], key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![alpn.into()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, connect(house.addr).await).await
    }
}

#[tokio::test]
async fn both_protocols_by_alpn() {
    let papers = Papers::new();
    let house = papers.house(false, patient()).await;
    let stream = papers.dial(&house, "h2", false).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let answer = h2(stream).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 127.0.0.1 tls=true");
    let stream = papers.dial(&house, "http/1.1", false).await.unwrap();
    let answer = h1(stream).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/1.1 127.0.0.1 tls=true");
    assert!(papers.dial(&house, "spdy/3", false).await.is_err(), "no protocol in common");
}

#[tokio::test]
async fn mutual_tls_turns_away_the_uncertified() {
    let papers = Papers::new();
    let house = papers.house(true, patient()).await;
    let answer = h2(papers.dial(&house, "h2", true).await.unwrap()).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 127.0.0.1 tls=true certified");

    // In TLS 1.3 the client learns of it only with its first read.
    let turned_away = async |dialled: std::io::Result<TlsStream<TcpStream>>| match dialled {
        Ok(stream) => h1(stream).await.send_request(request("/")).await.is_err(),
        Err(_) => true,
    };
    assert!(turned_away(papers.dial(&house, "http/1.1", false).await).await);
    let stranger = Papers::new();
    std::fs::copy(papers.file("ca.pem"), stranger.file("ca.pem")).unwrap();
    let forged = Papers { ca: stranger.ca, dir: stranger.dir };
    assert!(turned_away(forged.dial(&house, "http/1.1", true).await).await);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let papers = Papers::new();
    let limits = Limits { tls_timeout: Duration::from_millis(30), ..patient() };
    let house = papers.house(false, limits).await;
    assert_eq!(rest(connect(house.addr).await).await, "");
}

#[test]
fn unusable_files_are_named() {
    let papers = Papers::new();
    let good = papers.files(false);
    let refused = |files: &TlsFiles| Certificates::read(files.clone(), &["h2"]).err().unwrap();
    let refusal = |files: &TlsFiles| refused(files).to_string();
    let missing = TlsFiles { cert: Path::new("/nowhere/cert.pem").into(), ..good.clone() };
    assert!(
        refusal(&missing).starts_with("cannot read a certificate from /nowhere/cert.pem: "),
        "{}",
        refusal(&missing)
    );
    let swapped = TlsFiles { cert: good.key.clone(), ..good.clone() };
    assert!(matches!(refused(&swapped), TlsError::File { what: "a certificate", .. }));
    std::fs::write(papers.file("other.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let other = TlsFiles { key: papers.file("other.pem"), ..good };
    assert!(matches!(refused(&other), TlsError::Certificate { .. }), "{}", refusal(&other));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_one_that_cannot_be_used_is_not() {
    let papers = Papers::new();
    let clock = Clock::manual(Timestamp::EPOCH, 0);
    let house = papers.house_at(clock.clone(), false, patient()).await;
    let mut open = h2(papers.dial(&house, "h2", false).await.unwrap()).await;
    let first = papers.shown(&house).await;
    // The files are polled in a task of their own, and read by a thread.
    let until = async |wanted: &CertificateDer<'_>| {
        while papers.shown(&house).await != *wanted {
            clock.advance(Duration::from_secs(5));
        }
    };
    let second = papers.renew();
    assert_ne!(first, second);
    until(&second).await;
    assert_eq!(text(open.send_request(request("/")).await.unwrap()).await, "HTTP/2.0 127.0.0.1 tls=true");

    // A key that is not the certificate's, then none: what was good stays.
    let third = papers.issue("localhost");
    std::fs::write(papers.file("cert.pem"), third.0.pem()).unwrap();
    for _ in 0..20 {
        clock.advance(Duration::from_secs(5));
        assert_eq!(papers.shown(&house).await, second);
    }
    std::fs::remove_file(papers.file("key.pem")).unwrap();
    for _ in 0..20 {
        clock.advance(Duration::from_secs(5));
        assert_eq!(papers.shown(&house).await, second);
    }
    std::fs::write(papers.file("key.pem"), third.1.serialize_pem()).unwrap();
    until(third.0.der()).await;
}

#[tokio::test]
async fn a_hangup_reads_certificates_again() {
    // Whichever handler is the first keeps the signal from ending this process.
    let _handled = tokio::signal::unix::signal(SignalKind::hangup()).unwrap();
    let papers = Papers::new();
    let house = papers.house_at(Clock::manual(Timestamp::EPOCH, 0), false, patient()).await;
    let renewed = papers.renew();
    while papers.shown(&house).await != renewed {
        let sent = Command::new("kill").args(["-s", "HUP", &std::process::id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}
