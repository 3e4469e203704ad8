//! `customerd` as a process: started, called, killed.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread::JoinHandle;

use customerd::app::Profile;
use customerd::clock::Clock;
use customerd::config::KeyFile;
use customerd::sealing::EncryptionKey;

use crate::support::{ORIGIN, Partner};

/// A place to run in: addresses, a data directory, a database.
pub struct Place {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub directory: tempfile::TempDir,
    database_url: Option<String>,
    /// The encryption key, where nodes do not make it: on PostgreSQL.
    pub key_file: Option<PathBuf>,
    binary: PathBuf,
}

impl Place {
    /// On SQLite in the data directory.
    pub fn sqlite() -> Self {
        // Kept until both are known, so that they differ. Another process may take one before we do: then the test fails
        // at its start and says so.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, grpc] = free.map(|listener| listener.local_addr().unwrap());
        let (directory, binary) = (tempfile::tempdir().unwrap(), env!("CARGO_BIN_EXE_customerd").into());
        Self { http, grpc, directory, database_url: None, key_file: None, binary }
    }

    /// On a database of the throw-away cluster; `None` where PostgreSQL is not installed.
    pub async fn postgres() -> Option<Self> {
        Some(Self::on_postgres(crate::postgres::database().await?))
    }

    /// On this database, with an encryption key.
    pub fn on_postgres(database_url: String) -> Self {
        let place = Self::sqlite().on(database_url);
        let key_file = place.directory.path().join("encryption.key");
        KeyFile::of(EncryptionKey::new(Clock::system().random())).create(&key_file).unwrap();
        Self { key_file: Some(key_file), ..place }
    }

    /// The same place with another database.
    pub fn on(self, database_url: String) -> Self {
        Self { database_url: Some(database_url), ..self }
    }

    /// The same place with another build of `customerd`.
    pub fn of_build(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    /// A place for another node on the same database.
    pub fn beside(&self) -> Self {
        Self { database_url: self.database_url.clone(), key_file: self.key_file.clone(), ..Self::sqlite() }
    }

    /// `customerd` with the place's settings; nothing of this process's environment but the path.
    pub fn customerd(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .current_dir(self.directory.path());
        command.env("CUSTOMERD_DATA_DIR", self.directory.path());
        command.env("CUSTOMERD_HTTP_ADDR", self.http.to_string()).env("CUSTOMERD_GRPC_ADDR", self.grpc.to_string());
        command.envs(self.database_url.as_ref().map(|url| ("CUSTOMERD_DATABASE_URL", url)));
        command.envs(self.key_file.as_ref().map(|file| ("CUSTOMERD_ENCRYPTION_KEY_FILE", file)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.customerd().args(arguments).output().unwrap()
    }

    /// Where `serve` leaves the sandbox's profile.
    pub fn sandbox(&self) -> PathBuf {
        self.directory.path().join("sandbox.json")
    }

    /// `customerd` as a service that may be called here or by its name.
    fn service(&self) -> Command {
        let local = format!("http://{}", self.http);
        let mut command = self.customerd();
        command.args(["--public-url", &local, "--public-url", ORIGIN, "serve"]);
        command
    }

    /// Starts the service and waits until it says that it is ready.
    pub fn serve(&self, flags: &[&str]) -> Server {
        Server::start(self.service().args(flags), "REST is ready")
    }

    /// Starts the service and waits until it says this, which is before it is ready.
    pub fn serve_until(&self, said: &str) -> Server {
        Server::start(&mut self.service(), said)
    }

    /// Starts the service; when it is ready, nobody reads its log any more.
    pub fn serve_unread(&self) -> Server {
        Server::unread(&mut self.service(), "REST is ready")
    }

    /// Starts the worker alone; when it is ready, nobody reads its log any more.
    pub fn work_unread(&self) -> Server {
        Server::unread(self.customerd().arg("worker"), "the worker is ready")
    }

    /// Starts the service under these limits of open files, the soft and the hard one.
    pub fn serve_with_files(&self, soft: u32, hard: u32) -> Server {
        let customerd = self.customerd();
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" serve");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).arg(customerd.get_program()).current_dir(self.directory.path()).env_clear();
        shell.envs(customerd.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Server::start(&mut shell, "REST is ready")
    }

    /// Starts the worker alone and waits until it says that it is ready. Gives where its health is answered, too.
    pub fn worker(&self) -> (Server, SocketAddr) {
        let worker =
            Server::start(self.customerd().args(["worker", "--health-addr", "127.0.0.1:0"]), "the worker is ready");
        let health = worker.health();
        (worker, health)
    }

    /// Starts a worker alone with these flags, beside whatever serves.
    pub fn work(&self, flags: &[&str]) -> Server {
        Server::start(self.customerd().arg("worker").args(flags), "the worker is ready")
    }

    /// Starts a node and waits until it says this.
    pub fn start(&self, arguments: &[&str], ready: &str) -> Server {
        Server::start(self.customerd().args(arguments), ready)
    }

    /// Starts a node and waits until its health is answered, not until it is ready. Gives where that is, too.
    pub fn starting(&self, arguments: &[&str]) -> (Server, SocketAddr) {
        let server = Server::start(self.customerd().args(arguments), "health is answered");
        let health = server.health();
        (server, health)
    }

    /// The database.
    pub fn database_url(&self) -> String {
        let file = || format!("sqlite://{}", self.directory.path().join("customerd.db").display());
        self.database_url.clone().unwrap_or_else(file)
    }

    /// The sandbox's partner, on the machine's clock.
    pub async fn partner(&self) -> Partner {
        let profile = Profile::read(&self.sandbox()).unwrap();
        let mut partner = Partner::new(self.http, Clock::system(), &profile);
        partner.sign_in().await;
        partner
    }
}

/// A running `customerd`. Killed when dropped.
pub struct Server {
    child: Child,
    /// Its log until it was ready.
    said: String,
    /// What it logs from then on.
    log: Option<JoinHandle<String>>,
}

impl Server {
    fn start(command: &mut Command, ready: &str) -> Self {
        let (child, lines, said) = Self::ready(command, ready);
        // Its log is read to the end, so that it never waits for us.
        let rest = move || lines.map_while(Result::ok).fold(String::new(), |rest, line| rest + &line + "\n");
        Self { child, said, log: Some(std::thread::spawn(rest)) }
    }

    /// Starts it and, when it is ready, closes the pipe that its log goes to.
    fn unread(command: &mut Command, ready: &str) -> Self {
        let (child, lines, said) = Self::ready(command, ready);
        drop(lines);
        Self { child, said, log: None }
    }

    /// Starts it and reads its log until it says this.
    fn ready(command: &mut Command, ready: &str) -> (Child, Lines<BufReader<ChildStderr>>, String) {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        while !said.contains(ready) {
            match lines.next() {
                Some(line) => said = format!("{said}{}\n", line.unwrap()),
                None => panic!("it did not start: {said}"),
            }
        }
        (child, lines, said)
    }

    /// Where its health is answered, as it logged.
    fn health(&self) -> SocketAddr {
        let (_, health) = self.said.split_once("health=").unwrap();
        health.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Its resident memory, MiB.
    pub fn memory(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most that its resident memory has been, MiB.
    pub fn peak_memory(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }

    /// Its soft and its hard limit of open files.
    pub fn open_files(&self) -> (u32, u32) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut limits = line.split_whitespace().map(|limit| limit.parse().unwrap_or(u32::MAX));
        (limits.next().unwrap(), limits.next().unwrap())
    }

    /// What it logged until it was ready.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// SIGKILL: nothing is finished, nothing flushed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP; returns when none of its threads runs any more.
    pub fn stand_still(&self) {
        self.signal("STOP");
        // On a busy machine the other threads go on until the one that takes the signal has its turn.
        let stands = || {
            let mut tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
            tasks.all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        };
        while !stands() {
            std::thread::yield_now();
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// SIGTERM; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.end()
    }

    /// SIGTERM; everything that it logged.
    pub fn stop_and_tell(mut self) -> String {
        self.end();
        let rest = self.log.take().unwrap().join().unwrap();
        format!("{}{rest}", self.said)
    }

    /// SIGTERM; its exit code, and everything that it logged.
    pub fn stopped(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it ends by itself; its exit code, and everything that it logged.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let rest = self.log.take().unwrap().join().unwrap();
        (code, format!("{}{rest}", self.said))
    }

    fn end(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command printed.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command complained of.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Makes of every story `async fn name(Place)` the tests `sqlite::name` and `postgres::name`.
macro_rules! in_processes {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::process::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(place) = $crate::process::Place::postgres().await {
                    super::$name(place).await;
                }
            })*
        }
    };
}
pub(crate) use in_processes;
