//! PostgreSQL fails over: what leads nowhere is given up, what leads to the wrong server as well, and calls go on.

use std::time::Duration;

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::store::tasks::{self, Kind, NodeLease};
use customerd::store::{Connection, Error, Migrations, Store, StoreOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection};
use uuid::Uuid;

use crate::support::postgres::database;
use crate::support::proxy::Proxy;
use crate::support::stores::TestStore;
use crate::{insert, names};

/// Far longer than anything here takes: a hang ends the test.
const HANG: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, work).await.expect("it does not hang")
}

async fn write(store: &Store, name: &str) -> Result<(), Error> {
    let mut tx = store.begin().await?;
    insert(&mut tx, name).await?;
    tx.commit().await
}

async fn count(store: &Store) -> Result<i64, Error> {
    let (count,): (i64,) = store.reader().await?.query("SELECT count(*) FROM service_keys").one().await?;
    Ok(count)
}

/// Tries until it works. A failure must say that it is the database's.
async fn until_written(store: &Store, name: &str) {
    within(async {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match write(store, &format!("{name}-{attempt}")).await {
                Ok(()) => return,
                Err(Error::Unavailable(_)) => Clock::system().sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    })
    .await;
}

async fn until_ready(store: &Store, ready: bool) -> Result<(), String> {
    within(async {
        loop {
            let found = store.can_write().await.map_err(|error| error.to_string());
            if found.is_ok() == ready {
                return found;
            }
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Fills the pool with as many idle connections as it may have.
async fn fill(store: &Store, connections: usize) {
    let readers: Vec<_> = futures::future::try_join_all((0..connections).map(|_| store.reader())).await.unwrap();
    assert_eq!(readers.len(), connections);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_given_up() {
    let Some(url) = database().await else { return };
    let (proxy, url) = Proxy::before_database(&url).await;
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    fill(&store, 16).await;
    let mut open = store.begin().await.unwrap();
    insert(&mut open, "in flight").await.unwrap();
    proxy.silence();
    // Sixteen readers at once take what was pooled, and all of them are answered.
    let reads = within(futures::future::join_all((0..16).map(|_| count(&store)))).await;
    assert!(reads.iter().all(Result::is_ok), "{reads:?}");
    until_written(&store, "after").await;
    // The transaction in flight fails instead of waiting; what it wrote is not there.
    let error = within(open.commit()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let mut reader = store.reader().await.unwrap();
    let rows: Vec<(String,)> =
        reader.query("SELECT name FROM service_keys WHERE name = 'in flight'").all().await.unwrap();
    assert_eq!(rows, []);
    drop(reader);
    within(store.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_no_silent_connection() {
    let Some(url) = database().await else { return };
    let (proxy, url) = Proxy::before_database(&url).await;
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    fill(&store, 4).await;
    let held = store.begin().await.unwrap();
    proxy.silence();
    proxy.refuse();
    within(store.close()).await.unwrap();
    drop(held);
    assert!(matches!(store.begin().await, Err(Error::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_notices_that_every_session_was_ended() {
    let Some(test) = TestStore::postgres().await else { return };
    fill(&test.store, 16).await;
    let mut admin = PgConnection::connect(&test.url).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(admin.fetch_all(sql).await.unwrap().len() >= 16);
    let calls = (0..16).map(|number| {
        let store = test.store.clone();
        async move {
            count(&store).await?;
            write(&store, &format!("key-{number}")).await
        }
    });
    let calls = within(futures::future::join_all(calls)).await;
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    assert_eq!(names(&test).await.len(), 16);
}

/// What it claimed the first time would belong to a node that does not know of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_not_sent_a_second_time() {
    let Some(test) = TestStore::postgres().await else { return };
    fill(&test.store, 1).await;
    let mut admin = PgConnection::connect(&test.url).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.fetch_all(sql).await.unwrap();
    let mut reader = test.store.reader().await.unwrap();
    let lease = NodeLease { id: Uuid::from_u128(1), node: Uuid::from_u128(2) };
    let claimed = within(tasks::claim(&mut reader, (Kind::Screening, Timestamp(1)), lease, (10, false))).await;
    assert!(matches!(claimed, Err(Error::Unavailable(_))), "{claimed:?}");
    drop(reader);
    assert_eq!(within(count(&test.store)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_left() {
    let Some(url) = database().await else { return };
    let name = url.rsplit('/').next().unwrap().to_owned();
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    until_ready(&store, true).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    // A database that is read-only for new sessions stands in for a standby that connections are led to.
    admin
        .execute(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")))
        .await
        .unwrap();
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.fetch_all(sql).await.unwrap();
    let error = within(write(&store, "a")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(count(&store).await.unwrap(), 0, "it can be read");
    let reason = until_ready(&store, false).await.unwrap_err();
    assert_eq!(
        reason,
        "the database is unavailable: it takes no writes: it is a standby, or default_transaction_read_only is on"
    );
    fill(&store, 16).await;
    admin.execute("SET default_transaction_read_only = off").await.unwrap();
    admin
        .execute(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = off")))
        .await
        .unwrap();
    until_ready(&store, true).await.unwrap();
    // The sixteen that were made meanwhile are gone.
    within(write(&store, "a")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_a_server_is_an_outage() {
    let Some(url) = database().await else { return };
    let port = url::Url::parse(&url).unwrap().port().unwrap();
    let (proxy, url) = Proxy::before_database(&url).await;
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    write(&store, "a").await.unwrap();
    proxy.refuse();
    proxy.silence();
    let reason = until_ready(&store, false).await.unwrap_err();
    assert!(reason.contains("it cannot be reached: "), "{reason}");
    for error in [within(write(&store, "b")).await.unwrap_err(), within(count(&store)).await.unwrap_err()] {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    proxy.lead_to(port);
    until_ready(&store, true).await.unwrap();
    within(write(&store, "b")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_takes_writes_is_found() {
    let (Some(standby), Some(primary)) = (database().await, database().await) else { return };
    drop(Store::open(&primary, StoreOptions::default()).await.unwrap());
    let name = primary.rsplit('/').next().unwrap().to_owned();
    let port = url::Url::parse(&standby).unwrap().port().unwrap();
    // A listener that closes, one that answers nothing, and then the right one.
    let (closes, silent) = (Proxy::before(0).await, tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let silent = silent.local_addr().unwrap().port();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{silent},127.0.0.1:{port}", closes.port());
    let url = format!("postgres://postgres@{hosts}/{name}?connect_timeout=1&target_session_attrs=read-write");
    let options = StoreOptions { migrations: Migrations::Check, ..StoreOptions::default() };
    let store = within(Store::open(&url, options.clone())).await.unwrap();
    within(write(&store, "a")).await.unwrap();
    assert!(closes.accepted() >= 2);
    // Where none takes writes, it says so.
    let mut admin = PgConnection::connect(&primary).await.unwrap();
    admin
        .execute(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")))
        .await
        .unwrap();
    let error = within(Store::open(&url, options)).await.err().unwrap().to_string();
    assert!(error.contains("takes no writes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_create_serves_a_migrated_database() {
    let Some(url) = database().await else { return };
    let name = url.rsplit('/').next().unwrap().to_owned();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let role = format!("serves_{name}");
    admin.execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN"))).await.unwrap();
    let theirs = url.replace("postgres@", &format!("{role}@"));
    let error = Store::open(&theirs, StoreOptions::default()).await.err().unwrap().to_string();
    assert!(error.contains("run `customerd migrate` as a role that may"), "{error}");
    Store::open(&url, StoreOptions::default()).await.unwrap().close().await.unwrap();
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}");
    admin.execute(AssertSqlSafe(grant)).await.unwrap();
    let store = Store::open(&theirs, StoreOptions::default()).await.unwrap();
    write(&store, "a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_migrated_says_why() {
    let Some(url) = database().await else { return };
    let name = url.rsplit('/').next().unwrap().to_owned();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    admin
        .execute(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")))
        .await
        .unwrap();
    let error = Store::open(&url, StoreOptions::default()).await.err().unwrap().to_string();
    assert!(error.contains("migrate the primary"), "{error}");
    let ascii = format!("CREATE DATABASE {name}_ascii ENCODING 'SQL_ASCII' TEMPLATE template0");
    admin.execute("SET default_transaction_read_only = off").await.unwrap();
    admin.execute(AssertSqlSafe(ascii)).await.unwrap();
    let error = Store::open(&format!("{url}_ascii"), StoreOptions::default()).await.err().unwrap().to_string();
    assert!(error.contains("is encoded in SQL_ASCII, and customerd needs UTF8"), "{error}");
}
