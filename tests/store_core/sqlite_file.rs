//! SQLite's file: who may have it, what is left of it, and others who write to it.

use std::time::Duration;

use customerd::store::{Connection, Error, Store, StoreOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, SqliteConnection};

use crate::support::stores::TestStore;
use crate::{insert, names};

async fn another_process(test: &TestStore) -> SqliteConnection {
    SqliteConnectOptions::new().filename(test.url.strip_prefix("sqlite://").unwrap()).connect().await.unwrap()
}

async fn refusal(url: &str) -> String {
    let options = StoreOptions { lock_timeout: Duration::from_millis(20), ..StoreOptions::default() };
    match Store::open(url, options).await.err().unwrap() {
        Error::Open(text) => text,
        error => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_leaves_one_file() {
    let test = TestStore::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["a"]);
    let directory = std::path::Path::new(test.url.strip_prefix("sqlite://").unwrap()).parent().unwrap();
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    };
    assert_eq!(files(), ["customerd.db", "customerd.db-shm", "customerd.db-wal"]);
    test.store.close().await.unwrap();
    assert_eq!(files(), ["customerd.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    let test = TestStore::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    let journal: (String,) = tx.query("PRAGMA journal_mode").one().await.unwrap();
    let synchronous: (i64,) = tx.query("PRAGMA synchronous").one().await.unwrap();
    let foreign_keys: (i64,) = tx.query("PRAGMA foreign_keys").one().await.unwrap();
    // FULL is 2.
    assert_eq!((journal.0.as_str(), synchronous.0, foreign_keys.0), ("wal", 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_cannot_write() {
    let test = TestStore::sqlite().await;
    let error = insert(&mut test.store.reader().await.unwrap(), "a").await.unwrap_err();
    assert!(error.to_string().contains("attempt to write a readonly database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_another_process() {
    let test = TestStore::sqlite().await;
    let mut other = another_process(&test).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    other.execute("INSERT INTO service_keys VALUES ('theirs', x'', 1)").await.unwrap();
    let ours = tokio::spawn({
        let store = test.store.clone();
        async move {
            let mut tx = store.begin().await.unwrap();
            insert(&mut tx, "ours").await.unwrap();
            tx.commit().await
        }
    });
    // Reading does not wait.
    assert_eq!(names(&test).await, [""; 0]);
    other.execute("COMMIT").await.unwrap();
    ours.await.unwrap().unwrap();
    assert_eq!(names(&test).await, ["ours", "theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_wait_for_ever() {
    let test = TestStore::sqlite().await;
    let options = StoreOptions { lock_timeout: Duration::from_millis(20), ..StoreOptions::default() };
    let store = Store::open(&test.url, options).await.unwrap();
    let mut other = another_process(&test).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let error = insert(&mut tx, "ours").await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.starts_with("the file is locked")), "{error:?}");
    assert!(matches!(tx.commit().await, Err(Error::Failed)));
    other.execute("ROLLBACK").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    insert(&mut tx, "ours").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["ours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_a_queue_is_refused() {
    let test = TestStore::sqlite().await;
    let options = StoreOptions { acquire_timeout: Duration::from_millis(20), ..StoreOptions::default() };
    let store = Store::open(&test.url, options).await.unwrap();
    let holder = store.begin().await.unwrap();
    assert!(matches!(store.begin().await.err(), Some(Error::Unavailable(text)) if text == "too many wait to write"));
    drop(holder);
    store.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_files_are_explained() {
    let test = TestStore::sqlite().await;
    test.store.close().await.unwrap();
    let mut other = another_process(&test).await;
    other.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").await.unwrap();
    let text = refusal(&test.url).await;
    assert!(text.contains("is locked by another process: stop it, or use another file"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("sqlite://{}/{name}", directory.path().display());
    let text = refusal(&path("")).await;
    assert!(text.contains("cannot be opened: it must be a file that this user may read and write"), "{text}");
    std::fs::write(directory.path().join("notes.txt"), "Not a database, but long enough to look like one. ".repeat(40))
        .unwrap();
    let text = refusal(&path("notes.txt")).await;
    assert!(text.contains("notes.txt is not an SQLite database: name another file"), "{text}");
    let text = refusal(&path("notes.txt/customerd.db")).await;
    assert!(text.contains("cannot create the directory"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_is_not_written_to() {
    let test = TestStore::sqlite().await;
    let file = std::path::PathBuf::from(test.url.strip_prefix("sqlite://").unwrap());
    let aside = file.with_extension("aside");
    let refused =
        |error: &Error| matches!(error, Error::Unavailable(text) if text.contains("was moved, replaced or removed"));
    test.store.can_write().await.unwrap();
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "written before").await.unwrap();
    std::fs::rename(&file, &aside).unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(refused(&error), "{error:?}");
    // Another in its place is no better.
    std::fs::copy(&aside, &file).unwrap();
    for error in [test.store.begin().await.err().unwrap(), test.store.can_write().await.unwrap_err()] {
        assert!(refused(&error), "{error:?}");
    }
    std::fs::rename(&aside, &file).unwrap();
    test.store.can_write().await.unwrap();
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "after").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test).await, ["after"]);
}
