//! A TCP proxy before a database: it can fall silent on what is open, refuse what comes, and lead elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Its listener ends with the test's runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// The port that new connections are led to; 0: they are accepted and closed, as HAProxy does without a server.
    to: AtomicU16,
    /// Connections of an earlier age than this are silent.
    age: watch::Sender<u32>,
    accepted: AtomicU32,
    /// What clients send until something of it is held; below 0: nothing is.
    left: AtomicI64,
    held: Notify,
    /// How often what was held was let go.
    released: watch::Sender<u32>,
}

impl Proxy {
    /// Before the server on a port of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let state = Arc::new(State {
            to: AtomicU16::new(port),
            age: watch::Sender::new(0),
            accepted: AtomicU32::new(0),
            left: AtomicI64::new(-1),
            held: Notify::new(),
            released: watch::Sender::new(0),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state }
    }

    /// The URL of a database, through a new proxy.
    pub(crate) async fn before_database(url: &str) -> (Self, String) {
        let mut parsed = url::Url::parse(url).expect("a URL");
        let proxy = Self::before(parsed.port().expect("with a port")).await;
        parsed.set_port(Some(proxy.port())).expect("a URL with a host");
        (proxy, parsed.into())
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Nothing more comes through on the connections that are open; they stay open. New ones work.
    pub(crate) fn silence(&self) {
        self.state.age.send_modify(|age| *age += 1);
    }

    /// Runs work until the client has sent something so many times, and drops it while the next of that is on its way to the server,
    /// which then gets it. `None` if it was dropped.
    #[allow(dead_code, reason = "not every test program stops work")]
    pub(crate) async fn stop_after<T>(&self, sent: u32, work: impl Future<Output = T>) -> Option<T> {
        self.state.left.store(sent.into(), Ordering::SeqCst);
        let done = tokio::select! {
            biased;
            () = self.state.held.notified() => None,
            done = work => Some(done),
        };
        self.state.left.store(-1, Ordering::SeqCst);
        self.state.released.send_modify(|released| *released += 1);
        done
    }

    /// New connections are led to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.to.store(port, Ordering::SeqCst);
    }

    /// New connections are accepted and closed.
    pub(crate) fn refuse(&self) {
        self.lead_to(0);
    }

    /// How many connections there have been.
    #[allow(dead_code, reason = "not every test program counts them")]
    pub(crate) fn accepted(&self) -> u32 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let (mut client, _) = listener.accept().await.expect("the listener is open");
        let state = Arc::clone(&state);
        state.accepted.fetch_add(1, Ordering::SeqCst);
        let (port, born) = (state.to.load(Ordering::SeqCst), *state.age.borrow());
        let mut age = state.age.subscribe();
        tokio::spawn(async move {
            if port == 0 {
                return;
            }
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            tokio::select! {
                () = forward(&mut client, &mut server, &state) => {}
                () = async { drop(age.wait_for(|age| *age > born).await) } => {
                    // Both sides stay open, and nobody reads.
                    std::future::pending::<()>().await;
                }
            }
        });
    }
}

async fn forward(client: &mut TcpStream, server: &mut TcpStream, state: &State) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let there = async {
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            let mut released = state.released.subscribe();
            if state.left.load(Ordering::SeqCst) >= 0 && state.left.fetch_sub(1, Ordering::SeqCst) == 0 {
                state.held.notify_one();
                let _ = released.changed().await;
            }
            if to_server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    tokio::select! { () = there => {}, () = back => {} }
}
