//! Opening: URLs, migrations run once by many, checked only, refused.

use customerd::store::{Connection, Error, Migrations, Store, StoreOptions};

use crate::support::stores::{TestStore, on_both};
use crate::{insert, names, support};

on_both![newer_is_refused, changed_is_refused, opens_again, check_passes, pairs_with_command_line];

fn options() -> StoreOptions {
    StoreOptions::default()
}

fn check() -> StoreOptions {
    StoreOptions { migrations: Migrations::Check, ..options() }
}

async fn refusal(url: &str, options: StoreOptions) -> Error {
    Store::open(url, options).await.err().unwrap()
}

async fn bookkeeping(test: &TestStore, sql: &'static str) {
    let mut tx = test.store.begin().await.unwrap();
    tx.query(sql).execute().await.unwrap();
    tx.commit().await.unwrap();
    test.store.close().await.unwrap();
}

async fn newer_is_refused(test: TestStore) {
    const SQL: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                       SELECT 9001, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    bookkeeping(&test, SQL).await;
    for options in [options(), check()] {
        let error = refusal(&test.url, options).await;
        assert!(matches!(error, Error::Newer { database: 9001, binary } if binary < 9001), "{error:?}");
        assert!(error.to_string().starts_with("the database is newer than this binary: it has migration 9001"));
    }
}

async fn changed_is_refused(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "a").await.unwrap();
    tx.commit().await.unwrap();
    // Some other bytes than the checksum of the file.
    bookkeeping(&test, "UPDATE _sqlx_migrations SET checksum = (SELECT secret FROM service_keys) WHERE version = 1")
        .await;
    let error = refusal(&test.url, options()).await;
    assert_eq!(error.to_string(), "migration: migration 1 was previously applied but has been modified");
}

async fn opens_again(test: TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "kept").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&test.reopen(options()).await).await, ["kept"]);
}

async fn check_passes(test: TestStore) {
    Store::open(&test.url, check()).await.unwrap().close().await.unwrap();
}

/// The service runs while the command line writes to the same database.
async fn pairs_with_command_line(test: TestStore) {
    let command = Store::open(&test.url, options()).await.unwrap();
    let both = [test.store.clone(), command.clone()];
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let store = both[number % 2].clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                insert(&mut tx, &format!("{number:02}")).await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(names(&test).await.len(), 40);
    command.close().await.unwrap();
    assert_eq!(names(&test).await.len(), 40);
}

/// Eight nodes start on one empty database.
async fn many_start_at_once(url: &str) {
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let url = url.to_owned();
            tokio::spawn(async move { Store::open(&url, options()).await.unwrap() })
        })
        .collect();
    for start in starts {
        start.await.unwrap().close().await.unwrap();
    }
    let store = Store::open(url, check()).await.unwrap();
    let mut reader = store.reader().await.unwrap();
    let twice: Vec<(i64,)> =
        reader.query("SELECT version FROM _sqlx_migrations GROUP BY version HAVING count(*) > 1").all().await.unwrap();
    assert_eq!(twice, []);
}

/// Where nothing is, `migrate` would refuse to make anything either unless it is told where.
async fn nothing_is_refused(url: &str) {
    let error = refusal(url, check()).await;
    assert!(matches!(&error, Error::Open(text) if text.contains("--database-url or --data-dir")), "{error:?}");
}

async fn behind_is_refused(url: &str) {
    let store = Store::open(url, options()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.query("DELETE FROM _sqlx_migrations WHERE version > 1").execute().await.unwrap();
    tx.commit().await.unwrap();
    store.close().await.unwrap();
    // Who may make a database does not change one either.
    for migrations in [Migrations::Check, Migrations::Create] {
        let error = refusal(url, StoreOptions { migrations, ..options() }).await;
        assert!(matches!(error, Error::Behind { database: 1, binary } if binary > 1), "{error:?}");
        assert!(error.to_string().ends_with("run `customerd migrate`"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_starts() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/new/and/deep/customerd.db", directory.path().display());
    nothing_is_refused(&url).await;
    many_start_at_once(&url).await;
    let empty = directory.path().join("empty.db");
    std::fs::write(&empty, b"").unwrap();
    nothing_is_refused(&format!("sqlite://{}", empty.display())).await;
    behind_is_refused(&format!("sqlite://{}", empty.display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_starts() {
    let Some(url) = support::postgres::database().await else { return };
    nothing_is_refused(&url).await;
    many_start_at_once(&url).await;
    behind_is_refused(&url).await;
    let missing = url.replace("/test_", "/missing_");
    let error = refusal(&missing, options()).await.to_string();
    assert!(error.contains("has no database missing_") && error.contains("`createdb missing_"), "{error}");
}

#[tokio::test]
async fn urls_are_explained() {
    for (url, scheme) in [
        ("mysql://root:hunter2@localhost/x", "mysql"),
        ("customerd.db", "none"),
        ("sqlite://", "sqlite"),
        ("sqlite://x.db?mode=ro", "sqlite"),
        ("", "none"),
    ] {
        let error = refusal(url, options()).await;
        assert!(matches!(error, Error::Url(_)));
        let expected = "database URL: expected sqlite://path/to/file.db (without parameters) or \
                        postgres://user:password@host/database; the scheme given is ";
        assert_eq!(error.to_string(), format!("{expected}{scheme}"));
    }
    let error = refusal("postgres://u:hunter2@localhost:port/x", options()).await;
    assert_eq!(error.to_string(), "database URL: expected postgres://user:password@host:5432/database");
    let error = refusal("postgres://u:hunter2@127.0.0.1:1/x", options()).await.to_string();
    let expected = "cannot open the database: cannot connect to PostgreSQL at 127.0.0.1:1: ";
    assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
    assert!(error.ends_with("Is it running, and are host and port in the URL right?"), "{error}");
}
