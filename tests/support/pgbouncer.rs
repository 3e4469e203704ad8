//! A throw-away PgBouncer before the throw-away PostgreSQL.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::postgres::unprivileged;

/// A running PgBouncer; ended when it is dropped, or with this process.
pub(crate) struct PgBouncer {
    /// The same database, through it.
    pub(crate) url: String,
    /// Its standard input is a pipe; at its end the pooler is ended.
    watchdog: Child,
    directory: tempfile::TempDir,
}

/// What docs/operations.md shows, but for addresses. Passwords are checked where that is said besides: SCRAM is slow in a debug build.
const SETTINGS: &str = "\
listen_addr = 127.0.0.1
auth_type = trust
auth_file = userlist.txt
max_client_conn = 1000
server_login_retry = 1
unix_socket_dir =
";

impl PgBouncer {
    /// Before a database, with these settings besides. `None`, loudly, where PgBouncer is not installed; a panic there if `CI` is set.
    pub(crate) fn before(database_url: &str, settings: &str) -> Option<Self> {
        let Some(programme) = programme() else {
            let text = "no pgbouncer in PATH or /usr/sbin (Debian: apt install pgbouncer)";
            assert!(std::env::var_os("CI").is_none(), "CI must run what is behind PgBouncer: {text}");
            eprintln!("\n*** NOT RUN: everything behind PgBouncer: {text} ***\n");
            return None;
        };
        // Between finding a free port and using it somebody else may take it.
        let started = (0..5).find_map(|_| Self::start(&programme, database_url, settings));
        Some(started.expect("PgBouncer starts (its log is above)"))
    }

    /// Gives three sessions of the server at most to all transactions.
    #[allow(dead_code, reason = "not every test programme starts it like this")]
    pub(crate) fn of_transactions(database_url: &str) -> Option<Self> {
        Self::before(database_url, "pool_mode = transaction\ndefault_pool_size = 3\n")
    }

    #[allow(clippy::zombie_processes, reason = "it is waited for when it is dropped, or where it did not start")]
    fn start(programme: &Path, database_url: &str, settings: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let server = url::Url::parse(database_url).expect("a URL");
        let (host, to) = (server.host_str().expect("a host"), server.port().expect("a port"));
        let name = server.path().trim_start_matches('/');
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let configuration = format!(
            "[databases]\n{name} = host={host} port={to} dbname={name}\n\n[pgbouncer]\nlisten_port = {port}\n{SETTINGS}{settings}"
        );
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).expect("own directory");
        };
        write("pgbouncer.ini", &configuration);
        write("userlist.txt", "\"postgres\" \"secret\"\n");
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).expect("root may give a directory away");
        }
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("own directory");
        let script = format!(
            "{} --quiet pgbouncer.ini 2>log & pooler=$!; read -r nothing; kill $pooler; wait $pooler",
            programme.display()
        );
        let mut shell = Command::new("/bin/sh");
        if let Some((uid, gid)) = user {
            shell.uid(uid).gid(gid);
        }
        let mut watchdog = shell
            .current_dir(directory.path())
            .args(["-c", &script])
            // Not in the terminal's group: an interrupt ends this process, and that ends the pooler.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh runs");
        let url = format!("postgres://postgres:secret@127.0.0.1:{port}/{name}");
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { url, watchdog, directory });
            }
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            if log.contains("FATAL") {
                eprint!("pgbouncer: {log}");
                drop(watchdog.stdin.take());
                watchdog.wait().expect("own child");
                return None;
            }
            std::thread::yield_now();
        }
    }

    /// What it logged.
    #[allow(dead_code, reason = "not every test programme reads it")]
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).expect("its log")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It may have ended by itself.
        let _ = self.watchdog.wait();
    }
}

fn programme() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let everywhere = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    everywhere.map(|directory| directory.join("pgbouncer")).find(|file| file.is_file())
}
