//! Signals, as a process gets them: this test program starts itself again as the service.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use customerd::clock::Clock;
use customerd::serve::{Listener, Shutdown, on_signals};

use super::house::{patient, waiting};

const SERVICE: &str = "CUSTOMERD_TEST_SIGNALS";

/// The service: says where it listens, and when a shutdown has begun.
#[test]
fn service() {
    if std::env::var_os(SERVICE).is_none() {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let shutdown = Shutdown::new();
        on_signals(shutdown.clone()).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Clock::system(), patient()).await.unwrap();
        println!("at {}", listener.addr());
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
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["signals::service", "--exact", "--nocapture"])
            .env(SERVICE, "1")
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
