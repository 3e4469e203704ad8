//! The store's core, on SQLite and PostgreSQL alike; what only one of them has is told apart by the name of the room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

mod audit;
mod cancelled;
mod checkpoints;
mod collected;
mod combined;
mod deliveries;
mod events;
mod failover;
mod open;
mod pooler;
mod postgres_limits;
mod programmes;
mod retried;
mod sealed;
mod sealed_stopped;
mod shared_commits;
mod sqlite_file;
mod sqlite_wal;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod values;

use customerd::domain::Timestamp;
use customerd::store::{Connection, Dialect, Error};
use support::stores::TestStore;

const INSERT: &str = "INSERT INTO service_keys (name, secret, created_at) VALUES ($1, $2, $3)";

async fn insert(on: &mut impl Connection, name: &str) -> Result<u64, Error> {
    on.query(INSERT).bind(name).bind(&b"secret"[..]).bind(Timestamp(1)).execute().await
}

async fn names(test: &TestStore) -> Vec<String> {
    let mut reader = test.store.reader().await.unwrap();
    let rows: Vec<(String,)> = reader.query("SELECT name FROM service_keys ORDER BY name").all().await.unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

/// A table for one test, with the column types that migrations use.
async fn scratch(test: &TestStore, sqlite: &'static str, postgres: &'static str) {
    let mut tx = test.store.begin().await.unwrap();
    let sql = if test.store.dialect() == Dialect::Sqlite { sqlite } else { postgres };
    tx.query(sql).execute().await.unwrap();
    tx.commit().await.unwrap();
}
