//! The release binary as a process, and what the kernel says of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use customerd::app::Profile;

/// Kernel ticks a second in `/proc` (proc(5): `getconf CLK_TCK`, 100 on every Linux of today).
const TICKS: f64 = 100.0;

/// `customerd serve` with every setting at its default but for addresses and database; its log is written and thrown away.
pub struct Server {
    process: Child,
    directory: tempfile::TempDir,
    http: SocketAddr,
    /// From the start of the process until `/readyz` said 200.
    pub ready_after: Duration,
}

impl Server {
    pub fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (http, grpc) = (free(), free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_customerd"));
        command.env_clear().current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["serve", "--http-addr", &http.to_string(), "--grpc-addr", &grpc.to_string()]).args(flags);
        let begun = Instant::now();
        let process = command.spawn().expect("the binary runs");
        let mut server = Self { process, directory, http, ready_after: Duration::ZERO };
        while !server.is_ready() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not get ready");
            assert!(server.process.try_wait().unwrap().is_none(), "the server ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = begun.elapsed();
        server
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.http)?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// How to call it as its sandbox programme.
    pub fn profile(&self) -> Profile {
        Profile::read(&self.directory.path().join("data/sandbox.json")).unwrap()
    }

    /// Its SQLite database, if it has one.
    pub fn sqlite(&self) -> String {
        format!("sqlite://{}", self.directory.path().join("data/customerd.db").display())
    }

    /// Processor time that it has used, in seconds.
    pub fn cpu(&self) -> f64 {
        cpu(&self.process.id().to_string())
    }

    /// What of it is in memory (`VmRSS`), in MiB.
    pub fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is needed again.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// User and system time of a process (`self` for this one), threads that have ended included, in seconds.
pub fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may hold spaces: the fields from the third on; utime and stime are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
