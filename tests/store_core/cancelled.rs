//! Requests that end anywhere: all or nothing of each, and the store goes on.

use std::collections::BTreeSet;

use customerd::store::{Connection, Error, Store};

use crate::pooler::behind_a_pooler;
use crate::scratch;
use crate::support::cancel::after_polls;
use crate::support::stores::{TestStore, on_both};

on_both![cancelled_anywhere, cancelled_look_ups_spoil_nothing];
behind_a_pooler![cancelled_anywhere, cancelled_look_ups_spoil_nothing];

const TASKS: i64 = 48;
const CHANGES: i64 = 12;

/// Three rows that belong together, and a sum that every transaction changes.
async fn change(store: &Store, id: i64) -> Result<(), Error> {
    let mut tx = store.begin().await?;
    for part in 0..3_i64 {
        tx.query("INSERT INTO parts (id, part) VALUES ($1, $2)").bind(id).bind(part).execute().await?;
    }
    tx.query("UPDATE total SET parts = parts + 3").execute().await?;
    // Some fail by themselves.
    if id % 7 == 0 {
        tx.query("INSERT INTO parts (id, part) VALUES ($1, 0)").bind(id).execute().await?;
    }
    tx.commit().await
}

async fn cancelled_anywhere(test: TestStore) {
    for sql in [
        "CREATE TABLE parts (id BIGINT, part BIGINT, PRIMARY KEY (id, part))",
        "CREATE TABLE total (parts BIGINT)",
        "INSERT INTO total VALUES (0)",
    ] {
        scratch(&test, sql, sql).await;
    }
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = test.store.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..CHANGES {
                    let id = task * CHANGES + number;
                    // Each point at which a change can wait is hit, in an order that differs between tasks.
                    let polls = (id.wrapping_mul(0x9e37_79b9) >> 7).rem_euclid(24) as u32;
                    if let Some(Ok(())) = after_polls(change(&store, id), polls).await {
                        acknowledged.push(id);
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = BTreeSet::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    // The store still works, and whatever was left behind by the cancelled has been seen to.
    change(&test.store, 1_000_000).await.unwrap();
    acknowledged.insert(1_000_000);
    while test.store.stats().waiting != 0 {
        tokio::task::yield_now().await;
    }

    let mut reader = test.store.reader().await.unwrap();
    let rows: Vec<(i64, i64)> =
        reader.query("SELECT id, count(*) FROM parts GROUP BY id ORDER BY id").all().await.unwrap();
    let kept: BTreeSet<_> = rows.iter().map(|row| row.0).collect();
    assert!(rows.iter().all(|row| row.1 == 3), "half a change: {rows:?}");
    assert!(acknowledged.is_subset(&kept), "lost: {:?}", acknowledged.difference(&kept));
    assert!(kept.iter().all(|id| id % 7 != 0), "a failed change was kept");
    let total: (i64,) = reader.query("SELECT parts FROM total").one().await.unwrap();
    assert_eq!(total.0, 3 * kept.len() as i64);
    drop(reader);
    integrity(&test).await;
    test.store.close().await.unwrap();
}

async fn integrity(test: &TestStore) {
    if test.store.dialect() == customerd::store::Dialect::Sqlite {
        let mut reader = test.store.reader().await.unwrap();
        let verdict: (String,) = reader.query("PRAGMA integrity_check").one().await.unwrap();
        assert_eq!(verdict.0, "ok");
    }
}

/// A connection whose look-up was cancelled half-way answers the next one with what that asked for.
async fn cancelled_look_ups_spoil_nothing(test: TestStore) {
    async fn look_up(store: &Store, number: i64) -> i64 {
        let mut reader = store.reader().await.unwrap();
        let (found,): (i64,) = reader.query("SELECT CAST($1 AS BIGINT)").bind(number).one().await.unwrap();
        found
    }
    let mut cancelled = 0;
    for number in 0..200 {
        let polls = u32::try_from(number % 5).unwrap();
        cancelled += i64::from(after_polls(look_up(&test.store, -number), polls).await.is_none());
        assert_eq!(look_up(&test.store, number).await, number);
    }
    assert!(cancelled > 0);
    test.store.close().await.unwrap();
}
