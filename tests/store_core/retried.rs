//! Changes that are run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use customerd::store::{Change, Connection, Error, Retry, Tx};
use tokio::sync::Barrier;

use crate::pooler::behind_a_pooler;
use crate::support::stores::{TestStore, on_both};
use crate::{insert, names, scratch};

on_both![concurrent_changes_add_up, own_errors_undo, gives_up, opposite_order];
behind_a_pooler![concurrent_changes_add_up, own_errors_undo, gives_up, opposite_order];

/// Reads, then writes what it read plus one.
struct Increment;

impl Change for Increment {
    type Out = i64;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<i64, Error> {
        let (value,): (i64,) = tx.query("SELECT value FROM counter WHERE id = 1").for_update().one().await?;
        tx.query("UPDATE counter SET value = $1 WHERE id = 1").bind(value + 1).execute().await?;
        Ok(value + 1)
    }
}

async fn concurrent_changes_add_up(test: TestStore) {
    counter(&test).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = test.store.clone();
            tokio::spawn(async move { store.transact(&Increment).await.unwrap() })
        })
        .collect();
    let mut values = Vec::new();
    for task in tasks {
        values.push(task.await.unwrap());
    }
    values.sort_unstable();
    assert_eq!(values, (1..=32).collect::<Vec<_>>());
}

async fn counter(test: &TestStore) {
    for sql in
        ["CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT)", "INSERT INTO counter VALUES (1, 0), (2, 0)"]
    {
        scratch(test, sql, sql).await;
    }
}

#[derive(Debug, PartialEq)]
enum Refusal {
    Closed,
    Store(bool),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Store(error.is_retry())
    }
}

impl Retry for Refusal {
    fn is_retry(&self) -> bool {
        *self == Self::Store(true)
    }
}

struct Refused;

impl Change for Refused {
    type Out = ();
    type Error = Refusal;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Refusal> {
        insert(tx, "undone").await?;
        Err(Refusal::Closed)
    }
}

async fn own_errors_undo(test: TestStore) {
    assert_eq!(test.store.transact(&Refused).await, Err(Refusal::Closed));
    assert_eq!(names(&test).await, [""; 0]);
}

/// Always loses.
struct Unlucky(AtomicU32);

impl Change for Unlucky {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        insert(tx, "undone").await?;
        Err(Error::Retry(Arc::new(sqlx::Error::RowNotFound)))
    }
}

async fn gives_up(test: TestStore) {
    let change = Unlucky(AtomicU32::new(0));
    assert!(test.store.transact(&change).await.unwrap_err().is_retry());
    assert_eq!(change.0.load(Ordering::SeqCst), 8);
    assert_eq!(names(&test).await, [""; 0]);
}

/// Two rows, one after the other: in the opposite order of somebody else a deadlock, where rows are locked.
struct Both {
    order: [i64; 2],
    runs: AtomicU32,
    meet: Option<Arc<Barrier>>,
}

impl Change for Both {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        const ADD: &str = "UPDATE counter SET value = value + 1 WHERE id = $1";
        tx.query(ADD).bind(self.order[0]).execute().await?;
        if self.runs.fetch_add(1, Ordering::SeqCst) == 0
            && let Some(meet) = &self.meet
        {
            meet.wait().await;
        }
        tx.query(ADD).bind(self.order[1]).execute().await?;
        Ok(())
    }
}

async fn opposite_order(test: TestStore) {
    counter(&test).await;
    // SQLite has one writer: the two cannot meet.
    let rows_are_locked = test.store.dialect() == customerd::store::Dialect::Postgres;
    let meet = rows_are_locked.then(|| Arc::new(Barrier::new(2)));
    let change = |order| Arc::new(Both { order, runs: AtomicU32::new(0), meet: meet.clone() });
    let changes = [change([1, 2]), change([2, 1])];
    let tasks = changes.clone().map(|change| {
        let store = test.store.clone();
        tokio::spawn(async move { store.transact(&*change).await })
    });
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let runs: u32 = changes.iter().map(|change| change.runs.load(Ordering::SeqCst)).sum();
    assert_eq!(runs, if rows_are_locked { 3 } else { 2 });
    let mut reader = test.store.reader().await.unwrap();
    let values: Vec<(i64,)> = reader.query("SELECT value FROM counter ORDER BY id").all().await.unwrap();
    assert_eq!(values, [(2,), (2,)]);
}
