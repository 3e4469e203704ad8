//! A TCP proxy before a database: it can fall silent on what is open, refuse what comes, and lead elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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
}

impl Proxy {
    /// Before the server on a port of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let state =
            Arc::new(State { to: AtomicU16::new(port), age: watch::Sender::new(0), accepted: AtomicU32::new(0) });
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
        state.accepted.fetch_add(1, Ordering::SeqCst);
        let (port, born) = (state.to.load(Ordering::SeqCst), *state.age.borrow());
        let mut age = state.age.subscribe();
        tokio::spawn(async move {
            if port == 0 {
                return;
            }
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                () = async { drop(age.wait_for(|age| *age > born).await) } => {
                    // Both sides stay open, and nobody reads.
                    std::future::pending::<()>().await;
                }
            }
        });
    }
}
