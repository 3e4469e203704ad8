//! SQLite's write-ahead log stays short beside readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use customerd::store::{Connection, Error, Store, StoreOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use crate::scratch;
use crate::support::stores::TestStore;

const MIB: u64 = 1024 * 1024;
/// Does not end by itself.
const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/// Writes a row of a mebibyte.
async fn write(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    tx.query("INSERT INTO blobs VALUES (randomblob(1048576))").execute().await.unwrap();
    tx.commit().await.unwrap();
}

async fn filled(options: StoreOptions) -> TestStore {
    let test = TestStore::sqlite().await.reopen(options).await;
    scratch(&test, "CREATE TABLE blobs (blob BLOB)", "").await;
    test
}

async fn until_short(store: &Store) {
    while store.wal_bytes().unwrap() > 8 * MIB {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_reads_for_too_long_ends() {
    let test = filled(StoreOptions { read_timeout: Duration::from_millis(100), ..StoreOptions::default() }).await;
    for _ in 0..6 {
        let mut reader = test.store.reader().await.unwrap();
        let error = reader.query(ENDLESS).one::<(i64,)>().await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(text) if text.starts_with("reading took too long")), "{error:?}");
        drop(reader);
        // What comes after it has its own time.
        let mut reader = test.store.reader().await.unwrap();
        for _ in 0..3 {
            reader.query("SELECT count(*) FROM blobs").one::<(i64,)>().await.unwrap();
        }
    }
    test.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_waits_for_is_interrupted() {
    let test = filled(StoreOptions { read_timeout: Duration::from_secs(3600), ..StoreOptions::default() }).await;
    // More than there are connections.
    for _ in 0..6 {
        let mut reader = test.store.reader().await.unwrap();
        let endless = reader.query(ENDLESS).one::<(i64,)>();
        assert!(tokio::time::timeout(Duration::from_millis(5), endless).await.is_err());
    }
    write(&test.store).await;
    // Otherwise their threads would go on, and keep the log.
    for _ in 0..12 {
        write(&test.store).await;
    }
    until_short(&test.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_follow_on_one_another_do_not_keep_the_log() {
    let test = filled(StoreOptions::default()).await;
    for _ in 0..4 {
        write(&test.store).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, stop, reads) = (test.store.clone(), Arc::clone(&stop), Arc::clone(&reads));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let mut reader = store.reader().await.unwrap();
                    // Longer than a write takes, so that somebody reads at any moment.
                    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                               SELECT count(*) FROM n, (SELECT rowid FROM blobs LIMIT 4)";
                    reader.query(sql).one::<(i64,)>().await.unwrap();
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut longest = 0;
    for _ in 0..200 {
        write(&test.store).await;
        longest = longest.max(test.store.wal_bytes().unwrap());
    }
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::SeqCst) > 3);
    assert!(longest < 64 * MIB, "{} MiB", longest / MIB);
    until_short(&test.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_emptied_when_a_foreign_reader_ends() {
    let test = filled(StoreOptions::default()).await;
    let file = test.url.strip_prefix("sqlite://").unwrap();
    let mut foreign = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    foreign.execute("BEGIN; SELECT count(*) FROM blobs").await.unwrap();
    for _ in 0..70 {
        write(&test.store).await;
    }
    assert!(test.store.wal_bytes().unwrap() > 64 * MIB, "it reads what is in the log");
    test.store.can_write().await.unwrap();
    foreign.execute("ROLLBACK").await.unwrap();
    until_short(&test.store).await;
    write(&test.store).await;
}
