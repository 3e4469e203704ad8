//! The floor of a signed GET: a bare hyper server, a process of its own, that verifies such a signature with a parsed key for each
//! request and answers the same bytes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use customerd::signature::PrivateKey;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

use super::server::cpu;
use super::signed_get::{MESSAGE, parsed};

/// The argument that makes the bench this server.
pub const ARGUMENT: &str = "bare-server";

/// What the server is told on its standard input.
#[derive(Serialize, Deserialize)]
struct Order {
    spki: String,
    is_ed25519: bool,
    signature: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// The server at work.
pub struct BareServer {
    process: Child,
    pub address: SocketAddr,
}

impl BareServer {
    /// Verifies a signature of this key and answers as the service has.
    pub fn start(key: &PrivateKey, (headers, body): (&HeaderMap, &[u8])) -> Self {
        let order = Order {
            spki: STANDARD.encode(key.public_key().spki_der()),
            is_ed25519: key.algorithm() == customerd::signature::Algorithm::Ed25519,
            signature: STANDARD.encode(key.sign(&MESSAGE).unwrap()),
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
            body: STANDARD.encode(body),
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process =
            command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this binary runs");
        writeln!(process.stdin.take().unwrap(), "{}", serde_json::to_string(&order).unwrap()).unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().parse().expect("it says where it listens") }
    }

    /// Processor time that it has used, in seconds.
    pub fn cpu(&self) -> f64 {
        cpu(&self.process.id().to_string())
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the process does.
pub async fn serve() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let order: Order = serde_json::from_str(&line).unwrap();
    let key = Arc::new(parsed(&STANDARD.decode(&order.spki).unwrap(), order.is_ed25519));
    let signature = Arc::new(STANDARD.decode(&order.signature).unwrap());
    let mut answer = Response::new(Bytes::from(STANDARD.decode(&order.body).unwrap()));
    for (name, value) in &order.headers {
        answer.headers_mut().append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (key, signature, answer) = (Arc::clone(&key), Arc::clone(&signature), answer.clone());
        let service = service_fn(move |_| {
            key.verify_sig(&MESSAGE, &signature).unwrap();
            let answer = answer.clone().map(Full::new);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
