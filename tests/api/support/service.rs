//! The service under test, started as `customerd serve` starts it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use customerd::app::{self, Running, create_programme};
use customerd::cli::{Cli, Command};
use customerd::clock::Clock;
use customerd::config::KeyFile;
use customerd::domain::Timestamp;
use customerd::domain::operator::{self, Role};
use customerd::sealing::EncryptionKey;
use customerd::serve::{Shutdown, Usage};
use customerd::service::{OPERATOR_TOKEN, token_hash};
use customerd::store::{Store, nodes, operators};
use tonic::transport::Channel;
use uuid::Uuid;

use super::{Operator, Partner};

/// 2026-01-02T03:04:05.000006Z: where every story begins.
pub const START: Timestamp = Timestamp(1_767_323_045_000_006);

/// The service's name on the outside, which no socket of the test has: signatures must name it all the same.
pub const ORIGIN: &str = "https://customers.test";
/// Its authority.
pub const AUTHORITY: &str = "customers.test";

/// Where a story takes place: a database and a topology, nothing started yet.
pub struct House {
    database_url: String,
    split: bool,
    directory: tempfile::TempDir,
    start: Timestamp,
    /// What ids are made from: those of one start must not return in the next.
    seed: u64,
}

impl House {
    /// On a database that exists already, with this directory, at this time.
    pub fn on(database_url: String, directory: tempfile::TempDir, start: Timestamp) -> Self {
        Self { database_url, split: false, directory, start, seed: 0 }
    }

    /// `customerd` on the same database and directory.
    pub fn customerd(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_customerd"));
        command.args(["--database-url", &self.database_url, "--data-dir"]).arg(self.directory.path());
        if self.database_url.starts_with("postgres") {
            command.arg("--encryption-key-file").arg(self.key_file());
        }
        command
    }

    /// On SQLite, in a directory of its own.
    #[expect(non_snake_case, reason = "named as the macro names databases")]
    pub async fn Sqlite(split: bool) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}/customerd.db", directory.path().display());
        Some(Self { database_url, split, directory, start: START, seed: 0 })
    }

    /// On a database of its own in the throw-away cluster; `None` where PostgreSQL is not installed.
    #[expect(non_snake_case, reason = "named as the macro names databases")]
    pub async fn Postgres(split: bool) -> Option<Self> {
        let database_url = crate::postgres::database().await?;
        Some(Self { database_url, split, directory: tempfile::tempdir().unwrap(), start: START, seed: 0 })
    }

    /// The file with the encryption key.
    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("encryption.key")
    }

    /// The same with another database.
    pub fn at(self, database_url: String) -> Self {
        Self { database_url, ..self }
    }

    /// The database.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The service with every setting at its default, but for addresses.
    pub async fn start(self) -> Service {
        self.start_with(&[]).await
    }

    /// The service with further flags of `customerd serve`.
    pub async fn start_with(self, flags: &[&str]) -> Service {
        self.start_apart(flags, flags).await
    }

    /// The service with flags of the backend, and of the front if that is another node.
    pub async fn start_apart(mut self, flags: &[&str], front: &[&str]) -> Service {
        self.seed += 1;
        let clock = Clock::manual(self.start, self.seed);
        let shutdown = Shutdown::new();
        let mut nodes = Vec::new();
        if self.split {
            nodes.push(self.node(&clock, &shutdown, &[&["--only", "grpc"], flags].concat()).await);
            let upstream = format!("http://{}", nodes[0].grpc.unwrap());
            let apart = ["--only", "rest", "--upstream", &upstream];
            nodes.push(self.node(&clock, &shutdown, &[&apart, front].concat()).await);
        } else {
            nodes.push(self.node(&clock, &shutdown, flags).await);
        }
        let http = nodes.iter().find_map(|node| node.http).unwrap();
        let grpc = nodes.iter().find_map(|node| node.grpc).unwrap();
        let store = nodes.iter().find_map(|node| node.store.clone()).unwrap();
        Service { http, grpc, store, clock, shutdown, nodes, house: self }
    }

    /// A REST front whose backend does not answer; where it listens.
    pub async fn front_alone(&self) -> (SocketAddr, Running) {
        self.front_to("http://127.0.0.1:1", &[]).await
    }

    /// A REST front before whatever is at `upstream`, with further flags; where it listens.
    pub async fn front_to(&self, upstream: &str, flags: &[&str]) -> (SocketAddr, Running) {
        let clock = Clock::manual(START, 1);
        let flags = [&["--only", "rest", "--upstream", upstream], flags].concat();
        let front = self.node(&clock, &Shutdown::new(), &flags).await;
        (front.http.unwrap(), front)
    }

    async fn node(&self, clock: &Clock, shutdown: &Shutdown, flags: &[&str]) -> Running {
        let key_file = self.key_file();
        let ours = [
            ["--http-addr", "127.0.0.1:0"],
            ["--grpc-addr", "127.0.0.1:0"],
            ["--public-url", ORIGIN],
            ["--data-dir", self.directory.path().to_str().unwrap()],
            ["--database-url", &self.database_url],
            ["--database-pool-size", "4"],
            // Time jumps in the stories; connections are not to end by that.
            ["--idle-timeout", "9999h"],
        ];
        let mut arguments = vec!["customerd", "serve", "--no-sandbox"];
        arguments.extend(ours.iter().filter(|[flag, _]| !flags.contains(flag)).flatten());
        if self.database_url.starts_with("postgres") {
            // On SQLite the service makes it.
            KeyFile::of(EncryptionKey::new([7; 32])).create(&key_file).unwrap();
            arguments.extend(["--encryption-key-file", key_file.to_str().unwrap()]);
        }
        arguments.extend(flags);
        let cli = Cli::read(arguments.iter().map(Into::into)).unwrap();
        let Some(Command::Serve(serve)) = cli.command else { panic!("not serve") };
        app::start(&cli.common, &serve, clock.clone(), shutdown.clone()).await.unwrap()
    }
}

/// The running service.
pub struct Service {
    /// Where REST is.
    pub http: SocketAddr,
    /// Where gRPC is.
    pub grpc: SocketAddr,
    /// Its store, for what no door shows.
    pub store: Store,
    /// Its clock, which stands still.
    pub clock: Clock,
    /// What SIGTERM starts.
    pub shutdown: Shutdown,
    nodes: Vec<Running>,
    house: House,
}

impl Service {
    /// A partner with a live programme, a P-384 key and a bearer token.
    pub async fn partner(&self, name: &str) -> Partner {
        self.enrol(name, false).await
    }

    /// A partner whose programme is a sandbox.
    pub async fn sandbox_partner(&self, name: &str) -> Partner {
        self.enrol(name, true).await
    }

    async fn enrol(&self, name: &str, sandbox: bool) -> Partner {
        let addresses = (format!("{ORIGIN}/v1"), self.grpc.to_string());
        let profile = create_programme(&self.store, &self.clock, (name, sandbox), addresses).await.unwrap();
        let mut partner = Partner::new(self.http, self.clock.clone(), &profile);
        partner.sign_in().await;
        partner
    }

    /// An operator who may do everything.
    pub async fn operator(&self, name: &str) -> Operator {
        self.operator_as(name, Role::Admin, &[]).await
    }

    /// An operator of a role, limited to some programmes.
    pub async fn operator_as(&self, name: &str, role: Role, programmes: &[Uuid]) -> Operator {
        let secret = self.clock.token(32);
        let made = (self.clock.id(), self.clock.now());
        let operator = operator::Operator::new(made, name, (role, programmes.to_vec()), None).unwrap();
        let mut tx = self.store.begin().await.unwrap();
        assert!(operators::insert(&mut tx, &operator, &token_hash(&secret)).await.unwrap());
        tx.commit().await.unwrap();
        Operator { token: format!("{OPERATOR_TOKEN}{secret}") }
    }

    /// Another node, as far as the store can tell: to claim work by hand.
    pub async fn node(&self) -> Uuid {
        let id = self.clock.id();
        let mut tx = self.store.begin().await.unwrap();
        nodes::insert(&mut tx, id, self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// A connection to the gRPC door.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    /// Starts another node on the same database, with further flags; where its REST is. It stops with the others.
    pub async fn beside(&mut self, flags: &[&str]) -> SocketAddr {
        self.beside_at(&self.clock.clone(), flags).await
    }

    /// Starts another node with a clock of its own.
    pub async fn beside_at(&mut self, clock: &Clock, flags: &[&str]) -> SocketAddr {
        let node = self.house.node(clock, &self.shutdown, flags).await;
        let http = node.http.unwrap();
        self.nodes.push(node);
        http
    }

    /// Whether the front is a process of its own, as far as it can tell.
    pub fn is_split(&self) -> bool {
        self.house.split
    }

    /// What is taken of the budgets of REST and of gRPC.
    pub fn used(&self) -> [Usage; 2] {
        let rest = self.nodes.iter().find(|node| node.http.is_some()).unwrap();
        let grpc = self.nodes.iter().find(|node| node.grpc.is_some()).unwrap();
        [rest.used()[0], grpc.used()[1]]
    }

    /// Waits until so many bodies are in memory, for REST and for gRPC.
    pub async fn until_waiting(&self, bodies: [usize; 2]) {
        while self.used().map(|used| used.bodies) != bodies {
            tokio::task::yield_now().await;
        }
    }

    /// Where health is answered, on every node that has a listener for it.
    pub fn health(&self) -> Vec<SocketAddr> {
        self.nodes.iter().filter_map(|node| node.health).collect()
    }

    /// Time goes by.
    pub fn wait(&self, time: Duration) {
        assert!(self.clock.advance(time));
    }

    /// Where it takes place.
    pub fn house(&self) -> &House {
        &self.house
    }

    /// Stops in order, as SIGTERM does, and gives the place back for another start on the same data.
    pub async fn stop(self) -> House {
        self.shutdown.start();
        drop(self.store);
        for node in self.nodes.into_iter().rev() {
            node.finish().await.unwrap();
        }
        self.house
    }
}
