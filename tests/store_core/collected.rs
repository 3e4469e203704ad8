//! Writes that are collected and sent together, and transactions that lock nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use customerd::domain::Timestamp;
use customerd::store::{Change, Connection as _, Effect, Error, Mode, Tx};
use sqlx::{Connection as _, PgConnection};

use crate::pooler::behind_a_pooler;
use crate::support::stores::{TestStore, on_both};
use crate::{INSERT, insert, names, scratch};

on_both![
    a_read_sees_what_was_collected_before,
    without_a_required_row_nothing_is_written,
    parameters_of_either_kind_go_together,
    one_that_was_never_finished_fails_the_rest,
    optimistic_increments_add_up,
    an_optimistic_change_that_writes_at_once_or_locks_is_run_again,
    dead_connections_are_replaced,
];
behind_a_pooler![
    a_read_sees_what_was_collected_before,
    without_a_required_row_nothing_is_written,
    parameters_of_either_kind_go_together,
    one_that_was_never_finished_fails_the_rest,
    optimistic_increments_add_up,
];

fn collect(tx: &mut Tx, name: &str) {
    let insert = tx.write(INSERT).bind(name.to_owned()).bind(b"secret".to_vec()).bind(Timestamp(1));
    insert.collect(Effect::Any).unwrap();
}

async fn counter(test: &TestStore) {
    for sql in ["CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT)", "INSERT INTO counter VALUES (1, 0)"] {
        scratch(test, sql, sql).await;
    }
}

async fn a_read_sees_what_was_collected_before(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    collect(&mut tx, "a");
    collect(&mut tx, "b");
    let count: (i64,) = tx.query("SELECT count(*) FROM service_keys").one().await.unwrap();
    assert_eq!(count.0, 2);
    collect(&mut tx, "c");
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["a", "b", "c"]);
    let mut tx = test.store.begin().await.unwrap();
    collect(&mut tx, "d");
    drop(tx);
    assert_eq!(names(&test).await, ["a", "b", "c"]);
}

async fn without_a_required_row_nothing_is_written(test: TestStore) {
    counter(&test).await;
    let update = "UPDATE counter SET value = value + 1 WHERE id = $1";
    for (id, applied) in [(2_i64, false), (1, true)] {
        let mut tx = test.store.begin().await.unwrap();
        collect(&mut tx, "a");
        tx.write(update).bind(id).collect(Effect::Required).unwrap();
        collect(&mut tx, "b");
        let done = tx.commit().await;
        assert_eq!(matches!(done, Err(Error::NotApplied)), !applied, "{done:?}");
        assert_eq!(names(&test).await.len(), if applied { 2 } else { 0 });
    }
}

/// Parameters without numbers before and behind numbered ones.
async fn parameters_of_either_kind_go_together(test: TestStore) {
    counter(&test).await;
    let mut tx = test.store.begin().await.unwrap();
    let add = |tx: &mut Tx, rows: [(i64, i64); 2]| {
        let mut query = tx.write("INSERT INTO counter (id, value) VALUES ");
        for (index, (id, value)) in rows.into_iter().enumerate() {
            query =
                query.push(if index == 0 { "(" } else { ", (" }).push_bind(id).push(", ").push_bind(value).push(")");
        }
        query.collect(Effect::Any).unwrap();
    };
    add(&mut tx, [(10, 100), (11, 110)]);
    add(&mut tx, [(20, 200), (21, 210)]);
    tx.write("UPDATE counter SET value = $2 WHERE id = $1").bind(1_i64).bind(7_i64).collect(Effect::Required).unwrap();
    add(&mut tx, [(30, 300), (31, 310)]);
    tx.commit().await.unwrap();
    let mut reader = test.store.reader().await.unwrap();
    let rows: Vec<(i64, i64)> = reader.query("SELECT id, value FROM counter ORDER BY id").all().await.unwrap();
    assert_eq!(rows, [(1, 7), (10, 100), (11, 110), (20, 200), (21, 210), (30, 300), (31, 310)]);
}

async fn one_that_was_never_finished_fails_the_rest(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    collect(&mut tx, "a");
    drop(tx.write(INSERT).bind("b").bind(b"secret".to_vec()));
    assert!(matches!(tx.write(INSERT).bind("c").collect(Effect::Any), Err(Error::Failed)));
    assert!(matches!(tx.commit().await, Err(Error::Failed)));
    assert!(names(&test).await.is_empty());
}

/// Reads, and writes what it read plus one if nobody else has.
struct Increment {
    runs: AtomicU32,
}

impl Change for Increment {
    type Out = ();
    type Error = Error;

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let (value,): (i64,) = tx.query("SELECT value FROM counter WHERE id = 1").for_update().one().await?;
        let update = tx.write("UPDATE counter SET value = $1 WHERE id = 1 AND value = $2");
        update.bind(value + 1).bind(value).collect(Effect::Required)
    }
}

async fn optimistic_increments_add_up(test: TestStore) {
    counter(&test).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = test.store.clone();
            tokio::spawn(async move {
                let increment = Increment { runs: AtomicU32::new(0) };
                store.transact(&increment).await.is_ok()
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += i64::from(task.await.unwrap());
    }
    let mut reader = test.store.reader().await.unwrap();
    let (value,): (i64,) = reader.query("SELECT value FROM counter WHERE id = 1").one().await.unwrap();
    assert!(made > 0 && value == made, "{value} of {made}");
}

struct AtOnce {
    runs: AtomicU32,
    shares: bool,
}

impl Change for AtOnce {
    type Out = ();
    type Error = Error;

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        collect(tx, if self.shares { "c" } else { "a" });
        if self.shares {
            tx.query("SELECT name FROM service_keys").for_share().all::<(String,)>().await?;
        } else {
            insert(tx, "b").await?;
        }
        Ok(())
    }
}

async fn an_optimistic_change_that_writes_at_once_or_locks_is_run_again(test: TestStore) {
    for (shares, after) in [(false, &["a", "b"][..]), (true, &["a", "b", "c"])] {
        let change = AtOnce { runs: AtomicU32::new(0), shares };
        test.store.transact(&change).await.unwrap();
        // SQLite's writer is one at a time anyway.
        assert_eq!(change.runs.load(Ordering::SeqCst), if test.url.starts_with("postgres") { 2 } else { 1 });
        assert_eq!(names(&test).await, after);
    }
}

/// Has several connections pooled, and the server end the session of each.
pub(crate) async fn end_sessions(test: &TestStore) {
    if test.url.starts_with("postgres") {
        let holders: Vec<_> = futures::future::join_all((0..8).map(|_| test.store.begin())).await;
        for tx in holders {
            tx.unwrap().rollback().await.unwrap();
        }
        let mut killer = PgConnection::connect(&test.url).await.unwrap();
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(kill).execute(&mut killer).await.unwrap();
    }
}

async fn dead_connections_are_replaced(test: TestStore) {
    counter(&test).await;
    end_sessions(&test).await;
    let increment = Increment { runs: AtomicU32::new(0) };
    test.store.transact(&increment).await.unwrap();
    let mut reader = test.store.reader().await.unwrap();
    let (value,): (i64,) = reader.query("SELECT value FROM counter WHERE id = 1").one().await.unwrap();
    assert_eq!(value, 1);
}
