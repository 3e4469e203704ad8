//! A proxy before the database that counts round trips.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// It runs as long as the test.
pub struct Proxy {
    /// The database's URL by way of the proxy.
    pub url: String,
    trips: Arc<AtomicUsize>,
}

impl Proxy {
    /// Before the database of a URL.
    pub async fn before(url: &str) -> Self {
        let (scheme, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}@{}/{database}", listener.local_addr().unwrap());
        let (trips, server) = (Arc::<AtomicUsize>::default(), server.to_owned());
        let counted = Arc::clone(&trips);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&counted)));
            }
        });
        Self { url, trips }
    }

    /// Round trips since this was called last.
    pub fn trips(&self) -> usize {
        self.trips.swap(0, Ordering::SeqCst)
    }
}

/// A round trip begins with the first byte that the client sends after the server has answered.
async fn forward(client: TcpStream, server: TcpStream, trips: Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicBool::new(false));
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let answered = Arc::clone(&asked);
    let questions = async move {
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            if !asked.swap(true, Ordering::SeqCst) && !is_probe(&bytes[..read]) {
                trips.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    let answers = async move {
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            answered.store(false, Ordering::SeqCst);
            if to_client.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = questions => {}, () = answers => {} }
}

/// What the store asks once a second by itself, whatever is called.
fn is_probe(question: &[u8]) -> bool {
    const PROBE: &[u8] = b"SHOW transaction_read_only";
    question.windows(PROBE.len()).any(|window| window == PROBE)
}
