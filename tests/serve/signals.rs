//! Signals, as a process gets them: this test program starts itself again as the service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use customerd::clock::Clock;
use customerd::config::Span;
use customerd::serve::{Listener, Shutdown, on_signals};

use super::house::{patient, waiting};

const SERVICE: &str = "CUSTOMERD_TEST_SIGNALS";
const DRAIN_DELAY: &str = "CUSTOMERD_TEST_DRAIN_DELAY";

/// The service: says where it listens, and when a shutdown has begun.
#[test]
fn service() {
    if std::env::var_os(SERVICE).is_none() {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let shutdown = Shutdown::new();
        on_signals(shutdown.clone(), Clock::system()).unwrap();
        shutdown
            .set_drain_delay(std::env::var(DRAIN_DELAY).map_or(Duration::ZERO, |text| text.parse::<Span>().unwrap().0));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Clock::system(), patient()).await.unwrap();
        println!("at {}", listener.addr());
        let told = shutdown.clone();
        tokio::spawn(async move {
            told.draining().await;
            println!("draining");
        });
        let told = shutdown.clone();
        let leaving = tokio::spawn(async move {
            told.started().await;
            println!("leaving");
        });
        let (router, mut handlers) = waiting();
        tokio::spawn(async move {
            let _never_released = handlers.recv().await;
            println!("begun");
            std::future::pending::<()>().await;
        });
        listener.run(router, shutdown).await;
        // With nothing to wait for, the run may be over before the task above has had its turn.
        leaving.await.unwrap();
    });
    std::process::exit(0);
}

struct Service {
    child: Child,
    lines: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Service {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["signals::service", "--exact", "--nocapture"])
            .env(SERVICE, "1")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut service = Self { child, lines, addr: SocketAddr::from(([0, 0, 0, 0], 0)) };
        service.addr = service.line("at ").parse().unwrap();
        service
    }

    /// The rest of the next line with this in it.
    fn line(&mut self, mark: &str) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("the service ended without saying {mark:?}");
    }

    /// A connection with a request that is at work and does not end.
    fn begin(&mut self) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        self.line("begun");
        stream
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_signal_lets_requests_finish() {
    for name in ["TERM", "INT"] {
        let mut service = Service::start();
        let idle = TcpStream::connect(service.addr).unwrap();
        service.signal(name);
        service.line("leaving");
        assert_eq!(service.child.wait().unwrap().code(), Some(0), "{name}");
        drop(idle);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let mut service = Service::start();
        let hanging = service.begin();
        service.signal("TERM");
        service.line("leaving");
        assert_eq!(service.child.try_wait().unwrap(), None, "the request may still finish");
        service.signal(second);
        assert_eq!(service.child.wait().unwrap().code(), Some(code));
        drop(hanging);
    }
}

/// Whether a call is answered there. What it is answered does not matter.
fn serves(addr: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(b"GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.starts_with("HTTP/1.1 404")
}

#[test]
fn a_drain_delay_goes_on_accepting_until_a_second_signal() {
    let mut service = Service::start_with(&[(DRAIN_DELAY, "1h")]);
    service.signal("TERM");
    service.line("draining");
    assert!(serves(service.addr));
    service.signal("TERM");
    service.line("leaving");
    assert_eq!(service.child.wait().unwrap().code(), Some(0), "the second signal ends the delay, not the process");
}

#[test]
fn a_drain_delay_ends_by_itself() {
    let mut service = Service::start_with(&[(DRAIN_DELAY, "50ms")]);
    let hanging = service.begin();
    service.signal("INT");
    service.line("draining");
    service.line("leaving");
    assert_eq!(service.child.try_wait().unwrap(), None, "the request may still finish");
    service.signal("INT");
    assert_eq!(service.child.wait().unwrap().code(), Some(130));
    drop(hanging);
}

#[test]
fn a_hangup_ends_nothing() {
    let mut service = Service::start();
    for _ in 0..2 {
        service.signal("HUP");
        assert!(serves(service.addr));
    }
    service.signal("TERM");
    service.line("leaving");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}
