//! A throw-away nginx with its default settings and one `proxy_pass`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running nginx; ended when it is dropped.
pub(crate) struct Nginx {
    pub(crate) addr: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Nginx {
    /// Before `upstream`. `None`, loudly, where nginx is not installed; a panic there if `CI` is set.
    pub(crate) fn before(upstream: SocketAddr) -> Option<Self> {
        let Some(programme) = programme() else {
            let text = "no nginx in PATH or /usr/sbin (Debian: apt install nginx-light)";
            assert!(std::env::var_os("CI").is_none(), "CI must run what is behind nginx: {text}");
            eprintln!("\n*** SKIPPED: everything behind nginx: {text} ***\n");
            return None;
        };
        // Between finding a free port and using it somebody else may take it.
        Some((0..5).find_map(|_| Self::start(&programme, upstream)).expect("nginx starts"))
    }

    fn start(programme: &PathBuf, upstream: SocketAddr) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        // Files of its own, and nothing about proxying but where to.
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;
             events {{}}
             http {{
                 access_log off;
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 server {{ listen {addr}; location / {{ proxy_pass http://{upstream}; }} }}
             }}"
        );
        std::fs::write(directory.path().join("nginx.conf"), configuration).expect("own directory");
        let mut process = Command::new(programme)
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx runs");
        loop {
            if TcpStream::connect(addr).is_ok() {
                return Some(Self { addr, process, _directory: directory });
            }
            if process.try_wait().expect("own child").is_some() {
                return None;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn programme() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let everywhere = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    everywhere.map(|directory| directory.join("nginx")).find(|file| file.is_file())
}
