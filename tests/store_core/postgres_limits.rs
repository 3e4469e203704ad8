//! PostgreSQL's limits: nothing waits without end, and dead connections are replaced.

use std::time::Duration;

use customerd::store::{Connection, Error, Store, StoreOptions};

use crate::support::stores::TestStore;
use crate::{insert, names};

async fn limited(change: impl FnOnce(&mut StoreOptions)) -> Option<TestStore> {
    let test = TestStore::postgres().await?;
    let mut options = StoreOptions::default();
    change(&mut options);
    Some(test.reopen(options).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_statement_is_stopped() {
    let Some(test) = limited(|options| options.statement_timeout = Duration::from_millis(20)).await else { return };
    let mut tx = test.store.begin().await.unwrap();
    let error = tx.query("SELECT pg_sleep(60)").execute().await.unwrap_err();
    assert_eq!(error.to_string(), "the database is unavailable: canceling statement due to statement timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_not_waited_for_without_end() {
    let Some(test) = limited(|options| options.lock_timeout = Duration::from_millis(20)).await else { return };
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    let mut other = test.store.begin().await.unwrap();
    let error = insert(&mut other, "a").await.unwrap_err();
    assert_eq!(error.to_string(), "the database is unavailable: canceling statement due to lock timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_says_so() {
    let small = |options: &mut StoreOptions| {
        options.max_connections = 1;
        options.acquire_timeout = Duration::from_millis(20);
    };
    let Some(test) = limited(small).await else { return };
    let held = test.store.begin().await.unwrap();
    let error = test.store.begin().await.err().unwrap();
    assert_eq!(error.to_string(), "the database is unavailable: no connection became free in time");
    assert_eq!((test.store.stats().connections, test.store.stats().idle), (1, 0));
    held.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_is_ended() {
    let idle = |options: &mut StoreOptions| options.idle_in_transaction_timeout = Duration::from_millis(20);
    let Some(test) = limited(idle).await else { return };
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    let other = Store::open(&test.url, StoreOptions::default()).await.unwrap();
    let mut watcher = other.reader().await.unwrap();
    loop {
        let alive: (i64,) = watcher
            .query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")
            .one()
            .await
            .unwrap();
        if alive.0 == 0 {
            break;
        }
    }
    assert!(matches!(tx.commit().await, Err(Error::Unavailable(_))));
    assert_eq!(names(&test).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_pass_one_another() {
    let Some(test) = TestStore::postgres().await else { return };
    let mut tx = test.store.begin().await.unwrap();
    for name in ["a", "b", "c"] {
        insert(&mut tx, name).await.unwrap();
    }
    tx.commit().await.unwrap();
    const CLAIM: &str = "SELECT name FROM service_keys ORDER BY name LIMIT 2";
    let (mut one, mut two) = (test.store.begin().await.unwrap(), test.store.begin().await.unwrap());
    let first: Vec<(String,)> = one.query(CLAIM).for_update_skip_locked().all().await.unwrap();
    let second: Vec<(String,)> = two.query(CLAIM).for_update_skip_locked().all().await.unwrap();
    assert_eq!((first.len(), second.as_slice()), (2, &[("c".to_owned(),)][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_are_replaced() {
    let Some(test) = TestStore::postgres().await else { return };
    let (one, two) = (test.store.begin().await.unwrap(), test.store.begin().await.unwrap());
    one.rollback().await.unwrap();
    two.rollback().await.unwrap();
    let killer = Store::open(&test.url, StoreOptions::default()).await.unwrap();
    let sql = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let killed: (i64,) = killer.reader().await.unwrap().query(sql).one().await.unwrap();
    assert!(killed.0 >= 1);
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    tx.commit().await.unwrap();
}
