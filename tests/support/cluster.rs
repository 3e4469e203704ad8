//! Two PostgreSQL servers: a primary, and a standby that streams from it and is promoted when the primary is lost.

use std::process::Command;
use std::time::Duration;

use customerd::clock::Clock;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::postgres::{Files, NO_FSYNC, Server};

/// What a commit on the primary waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replication {
    /// The standby has it (`synchronous_standby_names`).
    Synchronous,
    /// Nothing but the primary itself.
    Asynchronous,
}

/// The two servers, with one database, `customerd`.
pub(crate) struct Pair {
    primary: Server,
    standby: Server,
    /// How the standby connects to the primary.
    from: String,
}

impl Pair {
    /// Starts both. `None`, loudly, where PostgreSQL is not installed.
    pub(crate) async fn start(replication: Replication) -> Option<Self> {
        // Shared memory that a killed server leaves behind is a file of its own.
        let settings = format!(
            "{NO_FSYNC} -c shared_buffers=32MB -c dynamic_shared_memory_type=mmap -c wal_retrieve_retry_interval=100ms"
        );
        let (primary, standby) = (Files::new()?, Files::new()?);
        primary.initialise();
        let names = "-c \"synchronous_standby_names=ANY 1 (standby)\"";
        let is_synchronous = replication == Replication::Synchronous;
        let primary = primary.serve(&format!("{settings} {}", if is_synchronous { names } else { "" }));
        let from = format!("host=127.0.0.1 port={} user=postgres application_name=standby", primary.port);
        let copies = ["--pgdata=data", "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", &from];
        standby.run("pg_basebackup", &copies);
        // The one that is promoted goes on without a standby, as Patroni lets it.
        let pair = Self { primary, standby: standby.serve(&settings), from };
        pair.joined().await;
        connect(&pair.primary, "postgres").await.execute("CREATE DATABASE customerd").await.expect("it is made");
        Some(pair)
    }

    /// The ports: the primary's, the standby's.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [self.primary.port, self.standby.port]
    }

    /// Ends the primary with a signal, KILL or QUIT, and waits until it has ended.
    pub(crate) fn lose_primary(&self, signal: &str) {
        let (process, segment) = self.primary.files.process();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().expect("kill runs").success());
        // It is a zombie then: the shell that started it waits for this process.
        let stat = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        while stat().rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')) {
            std::thread::yield_now();
        }
        // A killed server leaves it behind. It may be gone: then there is nothing to do.
        let _ = Command::new("ipcrm").args(["-m", &segment]).output();
    }

    /// Waits until the standby has everything that the primary has committed.
    pub(crate) async fn caught_up(&self) {
        let mut primary = connect(&self.primary, "postgres").await;
        let row = primary.fetch_one("SELECT pg_current_wal_flush_lsn()::text").await.expect("a position");
        let position: String = row.get(0);
        let has = format!("SELECT pg_last_wal_receive_lsn() >= '{position}'::pg_lsn");
        until_true(&mut connect(&self.standby, "postgres").await, &has).await;
    }

    /// From now on the standby receives nothing more ...
    pub(crate) async fn part(&self) {
        self.receive_from("").await;
        let receives_nothing = "SELECT count(*) = 0 FROM pg_stat_wal_receiver";
        until_true(&mut connect(&self.standby, "postgres").await, receives_nothing).await;
    }

    /// ... until now.
    pub(crate) async fn join(&self) {
        self.receive_from(&self.from).await;
        self.joined().await;
    }

    async fn receive_from(&self, from: &str) {
        let mut standby = connect(&self.standby, "postgres").await;
        let set = format!("ALTER SYSTEM SET primary_conninfo = '{from}'");
        standby.execute(AssertSqlSafe(set)).await.expect("it is set");
        standby.execute("SELECT pg_reload_conf()").await.expect("the standby is told");
    }

    async fn joined(&self) {
        let streams = "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming' \
                       AND application_name = 'standby'";
        until_true(&mut connect(&self.primary, "postgres").await, streams).await;
    }

    /// Makes the standby the primary. It takes writes when this returns.
    pub(crate) async fn promote(&self) {
        let mut standby = connect(&self.standby, "postgres").await;
        let row = standby.fetch_one("SELECT pg_promote(true, 60)").await.expect("it can be promoted");
        assert!(row.get::<bool, _>(0), "not promoted within a minute");
    }
}

async fn connect(server: &Server, database: &str) -> PgConnection {
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", server.port);
    PgConnection::connect(&url).await.expect("the server accepts connections")
}

/// Asks until it is so.
async fn until_true(connection: &mut PgConnection, sql: &str) {
    let asks = async {
        loop {
            let row = connection.fetch_one(AssertSqlSafe(sql)).await.expect("an answer");
            if row.get(0) {
                return;
            }
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asks).await.unwrap_or_else(|_| panic!("never: {sql}"));
}
