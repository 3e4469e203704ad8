//! A throw-away PostgreSQL cluster: one per test process, one database per test, gone when the process ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Whether the cluster must survive a crash of the machine, as production does, or may be fast.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "tests are fast, benches and crash tests are durable")]
pub(crate) enum Durability {
    Fast,
    Durable,
}

/// A running cluster.
pub(crate) struct Cluster {
    server: Server,
    databases: AtomicU32,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) port: u16,
    #[allow(dead_code, reason = "only what fails over kills one")]
    pub(crate) files: Files,
    /// Its standard input is a pipe that ends with this process; then the server is killed and its files removed.
    _watchdog: Child,
}

/// Where a server is, and who runs it.
pub(crate) struct Files {
    programmes: PathBuf,
    directory: PathBuf,
    user: Option<(u32, u32)>,
}

/// Settings of a server that need not survive a crash of the machine. Commits are still told to standbys in their order.
pub(crate) const NO_FSYNC: &str = "-c fsync=off -c full_page_writes=off";

/// An empty database in this process's cluster: its URL. `None`, loudly, where PostgreSQL is not installed; a panic
/// there if `CI` is set.
#[allow(dead_code, reason = "the bench starts a durable cluster of its own")]
pub(crate) async fn database() -> Option<String> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    match CLUSTER.get_or_init(|| Cluster::start(Durability::Fast)) {
        Some(cluster) => Some(cluster.database().await),
        None => None,
    }
}

impl Cluster {
    /// Starts one. `None` where PostgreSQL is not installed.
    pub(crate) fn start(durability: Durability) -> Option<Self> {
        let files = Files::new()?;
        files.initialise();
        let fast = format!("{NO_FSYNC} -c synchronous_commit=off");
        let server = files.serve(if durability == Durability::Fast { &fast } else { "" });
        Some(Self { server, databases: AtomicU32::new(0) })
    }

    /// An empty database: its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let mut connection =
            PgConnection::connect(&self.url("postgres")).await.expect("the cluster accepts connections");
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
            .await
            .expect("a database is made");
        connection.close().await.expect("the connection closes");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.server.port)
    }
}

impl Files {
    /// A directory for a server. `None`, loudly, where PostgreSQL is not installed.
    pub(crate) fn new() -> Option<Self> {
        let Some(programmes) = programmes() else {
            let text = "no initdb and postgres in PATH or /usr/lib/postgresql/*/bin (Debian: apt install postgresql)";
            assert!(std::env::var_os("CI").is_none(), "CI must run the PostgreSQL half: {text}");
            eprintln!("\n*** SKIPPED: everything on PostgreSQL: {text} ***\n");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("customerd-postgres-").tempdir().expect("a directory").keep();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).expect("root may give a directory away");
        }
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).expect("own directory");
        Some(Self { programmes, directory, user })
    }

    /// The files of an empty cluster, whose owner is `postgres`.
    pub(crate) fn initialise(&self) {
        self.run(
            "initdb",
            &["--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
        );
    }

    /// Runs one of PostgreSQL's programmes to its end.
    pub(crate) fn run(&self, programme: &str, arguments: &[&str]) {
        let output = self.command(&self.programmes.join(programme)).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{programme}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The process id of the running server, and its shared memory segment.
    #[allow(dead_code, reason = "only what fails over kills one")]
    pub(crate) fn process(&self) -> (String, String) {
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).expect("the server runs");
        let lines: Vec<_> = file.lines().collect();
        let segment = lines[6].split_whitespace().last().expect("key and id");
        (lines[0].to_owned(), segment.to_owned())
    }

    /// Starts a server on the files.
    pub(crate) fn serve(self, settings: &str) -> Server {
        // Between finding a free port and using it somebody else may take it.
        let started = (0..5).find_map(|_| self.try_serve(settings));
        let (port, watchdog) = started.expect("PostgreSQL starts (its log is above)");
        Server { port, files: self, _watchdog: watchdog }
    }

    /// Runs the server under a shell that waits for the end of its input.
    #[allow(clippy::zombie_processes, reason = "the watchdog ends with this process; one that failed is waited for")]
    fn try_serve(&self, settings: &str) -> Option<(u16, Child)> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let script = format!(
            "{postgres} -D data -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
             -c max_connections=300 -c log_min_messages=log -c log_checkpoints=off {settings} & server=$!
             read -r nothing; kill -QUIT $server; wait $server; cd /; [ -n \"$nothing\" ] || rm -rf {directory}",
            postgres = self.programmes.join("postgres").display(),
            directory = self.directory.display(),
        );
        let mut watchdog = self
            .command(Path::new("/bin/sh"))
            .args(["-c", &script])
            // Not in the terminal's group: an interrupt ends this process, and that ends the server.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut log = BufReader::new(watchdog.stderr.take().expect("piped"));
        let mut line = String::new();
        while log.read_line(&mut line).expect("the log is text") > 0 {
            // A standby says which connections: read-only ones.
            if line.contains("database system is ready to accept ") {
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Some((port, watchdog));
            }
            if line.contains("FATAL") {
                eprint!("postgres: {line}");
                // A word instead of the end of input keeps the directory for the next attempt.
                use std::io::Write;
                writeln!(watchdog.stdin.take().expect("piped"), "again").expect("the watchdog reads");
                watchdog.wait().expect("the watchdog ends");
                return None;
            }
            line.clear();
        }
        None
    }

    fn command(&self, programme: &Path) -> Command {
        let mut command = Command::new(programme);
        command.current_dir(&self.directory).env("LC_ALL", "C").env("HOME", &self.directory);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The directory with `initdb` and `postgres`.
pub(crate) fn programmes() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    installed.sort();
    installed
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())
}

/// User and group to run as under root, which PostgreSQL refuses: `postgres` if it exists, else `nobody`.
pub(crate) fn unprivileged() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").map_or(true, |process| process.uid() != 0) {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
    let ids = |name: &str| {
        let fields: Vec<_> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user postgres or nobody"))
}
