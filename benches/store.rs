//! How many small transactions a second: the store against a bare sqlx loop that writes the same rows, one transaction
//! each. SQLite with `synchronous=FULL`; PostgreSQL, where it is installed, as a durable throw-away cluster.
//!
//! `cargo bench --bench store` prints the table; rounds alternate and the median counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a bench takes the time, prints its table and may panic"
)]

#[path = "../tests/support/postgres.rs"]
mod postgres;

use std::sync::Arc;
use std::time::Instant;

use customerd::domain::Timestamp;
use customerd::store::{Connection, Store, StoreOptions};
use postgres::{Cluster, Durability};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

const CALLERS: u64 = 64;
const ROUNDS: usize = 5;
const SCHEMA: [&str; 3] = [
    "CREATE TABLE bench_customers (id BYTES PRIMARY KEY, external_id TEXT NOT NULL UNIQUE, created_at TIME NOT NULL)",
    "CREATE TABLE bench_keys (key TEXT PRIMARY KEY, reply BINARY NOT NULL)",
    "CREATE TABLE bench_events (id BYTES PRIMARY KEY, body TEXT NOT NULL)",
];
const CUSTOMER: &str = "INSERT INTO bench_customers (id, external_id, created_at) VALUES ($1, $2, $3)";
const KEY: &str = "INSERT INTO bench_keys (key, reply) VALUES ($1, $2)";
const EVENT: &str = "INSERT INTO bench_events (id, body) VALUES ($1, $2)";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("transactions of three inserts; median of {ROUNDS} rounds\n");
        sqlite().await;
        if let Some(cluster) = Cluster::start(Durability::Durable) {
            on_postgres(&cluster).await;
        }
    });
}

/// Values of the `number`th transaction, the same for everybody.
struct Values {
    id: Uuid,
    text: String,
    body: String,
}

fn values(number: u64) -> Values {
    // Like a version 7 id: growing.
    let id = Uuid::from_u128((u128::from(number) << 80) | 0x7000_8000_0000_0000_0000);
    Values { id, text: format!("external-{number:012}"), body: "x".repeat(300) }
}

async fn sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let bare = bare_sqlite(&path("bare.db")).await;
    let mutex = Arc::new(Mutex::new(bare_sqlite(&path("mutex.db")).await));
    let mut alone = bare;
    let url = format!("sqlite://{}", path("store.db").display());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    for sql in SCHEMA {
        sqlx::query(sqlx::AssertSqlSafe(types(sql, "BLOB", "BLOB", "INTEGER")))
            .execute(&mut SqliteConnection::connect(&url).await.unwrap())
            .await
            .unwrap();
    }
    let mut rates = [const { Vec::new() }; 4];
    for round in 0..ROUNDS as u64 {
        rates[0].push(bare_loop(&mut alone, round * 100_000, 5_000).await);
        let shared = Arc::clone(&mutex);
        let one = move |number| {
            let shared = Arc::clone(&shared);
            async move { bare_one(&mut *shared.lock().await, number).await }
        };
        rates[1].push(concurrently(CALLERS, round * 100_000, 5_000, one).await);
        rates[2].push(through_store(&store, 1, round * 100_000, 5_000).await);
        rates[3].push(through_store(&store, CALLERS, 50_000 + round * 100_000, 20_000).await);
    }
    let stats = store.stats();
    store.close().await.unwrap();
    let [alone, locked, one, many] = rates.map(median);
    row("SQLite FULL, bare sqlx, one caller", alone, alone);
    row("SQLite FULL, bare sqlx behind a mutex, 64 callers", locked, alone);
    row("SQLite FULL, store, one caller", one, alone);
    row("SQLite FULL, store, 64 callers", many, alone);
    println!("{} transactions shared {} commits\n", stats.transactions, stats.commits);
}

async fn bare_sqlite(path: &std::path::Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await.unwrap();
    for sql in SCHEMA {
        let sql = types(sql, "BLOB", "BLOB", "INTEGER");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection
}

fn types(sql: &str, id: &str, bytes: &str, time: &str) -> String {
    sql.replace("BYTES", id).replace("BINARY", bytes).replace("TIME", time)
}

/// One caller, one transaction after the other, nothing of ours.
async fn bare_loop(connection: &mut SqliteConnection, from: u64, count: u64) -> f64 {
    let start = Instant::now();
    for number in from..from + count {
        bare_one(connection, number).await;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

async fn bare_one(connection: &mut SqliteConnection, number: u64) {
    let values = values(number);
    let mut tx = connection.begin().await.unwrap();
    sqlx::query(CUSTOMER).bind(values.id).bind(&values.text).bind(1_i64).execute(&mut *tx).await.unwrap();
    sqlx::query(KEY).bind(&values.text).bind(values.body.as_bytes()).execute(&mut *tx).await.unwrap();
    sqlx::query(EVENT).bind(values.id).bind(&values.body).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn on_postgres(cluster: &Cluster) {
    let url = cluster.database().await;
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for sql in SCHEMA {
        let sql = types(sql, "uuid", "bytea", "timestamptz");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    let mut rates = [const { Vec::new() }; 2];
    for round in 0..ROUNDS as u64 {
        rates[0].push(through_store(&store, 1, round * 100_000, 2_000).await);
        rates[1].push(through_store(&store, 16, 50_000 + round * 100_000, 10_000).await);
    }
    store.close().await.unwrap();
    let [one, many] = rates.map(median);
    row("PostgreSQL, store, one caller", one, one);
    row("PostgreSQL, store, 16 callers", many, one);
}

async fn through_store(store: &Store, callers: u64, from: u64, count: u64) -> f64 {
    let store = store.clone();
    let one = move |number| {
        let store = store.clone();
        async move {
            let values = values(number);
            let mut tx = store.begin().await.unwrap();
            tx.query(CUSTOMER).bind(values.id).bind(&values.text).bind(Timestamp(1)).execute().await.unwrap();
            tx.query(KEY).bind(&values.text).bind(values.body.as_bytes()).execute().await.unwrap();
            tx.query(EVENT).bind(values.id).bind(&values.body).execute().await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    concurrently(callers, from, count, one).await
}

/// Runs `one` for `count` numbers, shared among `callers` tasks; how many a second.
async fn concurrently<F, Fut>(callers: u64, from: u64, count: u64, one: F) -> f64
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let one = one.clone();
            tokio::spawn(async move {
                for number in (from + caller..from + count).step_by(callers as usize) {
                    one(number).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn row(what: &str, rate: f64, base: f64) {
    println!("{what:<52} {rate:>8.0}/s  × {:.2}", rate / base);
}
