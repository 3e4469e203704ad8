//! The store's core on both databases: transactions, values, errors, retries, migrations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

mod support;
#[path = "store_core/tasks.rs"]
mod tasks;

use customerd::domain::Timestamp;
use customerd::store::{Connection, Error, service_key};
use secrecy::ExposeSecret;
use support::stores::{TestStore, on_both};
use tasks::{claims_pass_over_locked_rows, claims_take_the_longest_due_once, only_the_lease_settles};

on_both![commit_lasts, drop_undoes, first_key_wins];
mod task {
    use super::*;
    on_both![claims_pass_over_locked_rows, claims_take_the_longest_due_once, only_the_lease_settles];
}

async fn names(test: &TestStore) -> Vec<String> {
    let rows: Vec<(String,)> =
        test.store.reader().await.unwrap().query("SELECT name FROM service_keys ORDER BY name").all().await.unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

async fn insert(on: &mut impl Connection, name: &str) -> Result<u64, Error> {
    on.query("INSERT INTO service_keys (name, secret, created_at) VALUES ($1, $2, $3)")
        .bind(name)
        .bind(&b"secret"[..])
        .bind(Timestamp(1))
        .execute()
        .await
}

async fn commit_lasts(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    assert_eq!(insert(&mut tx, "a").await.unwrap(), 1);
    assert_eq!(insert(&mut tx, "b").await.unwrap(), 1);
    assert_eq!(names(&test).await, [""; 0]);
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["a", "b"]);
}

async fn drop_undoes(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    drop(tx);
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "b").await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "c").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["c"]);
}

async fn first_key_wins(test: TestStore) {
    for fresh in [b"one", b"two"] {
        let mut tx = test.store.begin().await.unwrap();
        let key = service_key(&mut tx, "jwt", fresh, Timestamp(5)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(key.expose_secret(), b"one");
    }
}
