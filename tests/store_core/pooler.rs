//! PgBouncer between the store and PostgreSQL: it is found where nobody said so, and nothing relies on a session where somebody did.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::store::tasks::{self, Kind, NodeLease};
use customerd::store::{Connection, Error, Migrations, Store, StoreOptions, clear, reseal};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions as _, Connection as _, Executor, PgConnection, Row as _};
use uuid::Uuid;

use crate::insert;
use crate::sealed::{NOW, fill, keys};
use crate::support::cancel::after_polls;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::database;
use crate::support::proxy::Proxy;

/// Far longer than anything here takes: a hang ends the test.
const HANG: Duration = Duration::from_secs(60);
/// In session mode each connection of each node keeps a session.
const SESSIONS: &str = "pool_mode = session\ndefault_pool_size = 100\n";
const TRANSACTIONS: &str = "pool_mode = transaction\ndefault_pool_size = 3\n";

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, work).await.expect("it does not hang")
}

fn pooled() -> StoreOptions {
    StoreOptions { transaction_pooler: true, ..StoreOptions::default() }
}

async fn write(store: &Store, name: &str) -> Result<(), Error> {
    let mut tx = store.begin().await?;
    insert(&mut tx, name).await?;
    tx.commit().await
}

async fn names(store: &Store) -> Result<Vec<String>, Error> {
    let rows: Vec<(String,)> = store.reader().await?.query("SELECT name FROM service_keys ORDER BY name").all().await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Ends every session of the database but the one that asks, and says how many there were.
async fn end_sessions(admin: &mut PgConnection) -> usize {
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    admin.fetch_all(sql).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_nobody_named_is_found() {
    let Some(url) = database().await else { return };
    const DROPS: &str = "ignore_startup_parameters = extra_float_digits,options\n";
    for mode in [SESSIONS, TRANSACTIONS] {
        let Some(refuses) = PgBouncer::before(&url, mode) else { return };
        let drops = PgBouncer::before(&url, &format!("{mode}{DROPS}")).unwrap();
        for (pooler, why) in [
            (refuses, "is a pooler such as PgBouncer, which refuses the settings that customerd sends"),
            (drops, "is not what customerd has set it to for its session: something between it and PostgreSQL"),
        ] {
            for migrations in [Migrations::Run, Migrations::Check] {
                let options = StoreOptions { migrations, ..StoreOptions::default() };
                let error = within(Store::open(&pooler.url, options)).await.err().unwrap().to_string();
                assert!(error.contains(why), "{mode}{error}");
                assert!(error.contains("needs --database-pooler transaction (CUSTOMERD_DATABASE_POOLER)"), "{error}");
                assert!(!error.contains("secret"), "{error}");
            }
        }
    }
}

/// A role that has the settings already may do without the flag, in session mode.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_takes_sessions_apart_is_found() {
    let Some(url) = database().await else { return };
    let name = url.rsplit('/').next().unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    for setting in [
        "statement_timeout = '10s'",
        "lock_timeout = '5s'",
        "idle_in_transaction_session_timeout = '30s'",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "enable_bitmapscan = off",
        "jit = off",
    ] {
        let sql = format!("ALTER DATABASE {name} SET {setting}");
        admin.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    const DROPS: &str = "ignore_startup_parameters = extra_float_digits,options\n";
    let Some(sessions) = PgBouncer::before(&url, &format!("{SESSIONS}{DROPS}")) else { return };
    let store = within(Store::open(&sessions.url, StoreOptions::default())).await.unwrap();
    within(write(&store, "a")).await.unwrap();
    within(store.close()).await.unwrap();
    let transactions = PgBouncer::before(&url, &format!("{TRANSACTIONS}{DROPS}")).unwrap();
    let stores = [(); 2].map(|()| Store::open(&transactions.url, StoreOptions::default()));
    let [one, two] = within(futures::future::try_join_all(stores)).await.unwrap().try_into().ok().unwrap();
    within(names(&one)).await.unwrap();
    let error = within(names(&two)).await.unwrap_err().to_string();
    assert!(error.contains("needs --database-pooler transaction"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_may_check_passwords() {
    let Some(url) = database().await else { return };
    let Some(pooler) = PgBouncer::before(&url, &format!("{TRANSACTIONS}auth_type = scram-sha-256\n")) else { return };
    let store = within(Store::open(&pooler.url, pooled())).await.unwrap();
    within(write(&store, "a")).await.unwrap();
    within(store.close()).await.unwrap();
    let wrong = pooler.url.replace("secret", "hunter2");
    let error = within(Store::open(&wrong, pooled())).await.err().unwrap().to_string();
    assert!(
        error.contains("refuses user postgres: check the user and password") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_a_pooler_is_refused() {
    let Some(url) = database().await else { return };
    let Some(statements) = PgBouncer::before(&url, "pool_mode = statement\n") else { return };
    let error = within(Store::open(&statements.url, pooled())).await.err().unwrap().to_string();
    assert!(error.contains("it needs pool_mode = transaction, or session"), "{error}");
    let parameter = format!("{}?options[search_path]=customers", statements.url);
    let error = within(Store::open(&parameter, pooled())).await.err().unwrap().to_string();
    assert!(
        error.contains("\"options\" (or PGOPTIONS) does not pass a pooler") && !error.contains("secret"),
        "{error}"
    );
    let error = Store::open("sqlite://x.db", pooled()).await.err().unwrap().to_string();
    assert!(error.contains("leave --database-pooler out"), "{error}");
}

/// Eight nodes start on one empty database, and use it; also where no pooler is between.
#[tokio::test(flavor = "multi_thread")]
async fn many_migrate_at_once() {
    for mode in [Some(SESSIONS), Some(TRANSACTIONS), None] {
        let Some(url) = database().await else { return };
        let pooler = mode.map(|mode| PgBouncer::before(&url, mode));
        let url = match &pooler {
            Some(None) => return,
            Some(Some(pooler)) => &pooler.url,
            None => &url,
        };
        let starts = (0..8).map(|_| Store::open(url, pooled()));
        let stores = within(futures::future::try_join_all(starts)).await.unwrap();
        let calls = stores.iter().enumerate().map(|(number, store)| async move {
            write(store, &format!("key-{number}")).await?;
            names(store).await
        });
        within(futures::future::try_join_all(calls)).await.unwrap();
        let found = names(&stores[0]).await.unwrap();
        assert_eq!(found.iter().filter(|name| name.starts_with("key-")).count(), 8, "{found:?}");
        for store in stores {
            within(store.close()).await.unwrap();
        }
        let check = StoreOptions { migrations: Migrations::Check, ..pooled() };
        within(Store::open(url, check)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_in_every_transaction() {
    let Some(url) = database().await else { return };
    let Some(pooler) = PgBouncer::before(&url, TRANSACTIONS) else { return };
    let options = StoreOptions {
        statement_timeout: Duration::from_millis(1500),
        lock_timeout: Duration::from_millis(1200),
        idle_in_transaction_timeout: Duration::from_millis(7000),
        ..pooled()
    };
    let store = within(Store::open(&pooler.url, options)).await.unwrap();
    const SQL: &str = "SELECT string_agg(current_setting(name), ' ') FROM unnest(ARRAY['statement_timeout', 'lock_timeout', \
        'idle_in_transaction_session_timeout', 'transaction_isolation', 'enable_hashjoin', 'jit']) AS name";
    let wanted = "1500ms 1200ms 7s read committed off off";
    let (reads,): (String,) = store.reader().await.unwrap().query(SQL).one().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let (writes,): (String,) = tx.query(SQL).one().await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!((reads.as_str(), writes.as_str()), (wanted, wanted));
    for _ in 0..4 {
        let sleeps = async { store.reader().await?.query("SELECT pg_sleep(60)").execute().await };
        let error = within(sleeps).await.unwrap_err().to_string();
        assert_eq!(error, "the database is unavailable: canceling statement due to statement timeout");
    }
    within(write(&store, "a")).await.unwrap();
}

/// One session for everybody: what the service left in it, the next client would find.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_in_a_session() {
    let Some(url) = database().await else { return };
    let Some(pooler) = PgBouncer::before(&url, "pool_mode = transaction\ndefault_pool_size = 1\n") else { return };
    let guest = PgConnectOptions::from_str(&pooler.url).unwrap().extra_float_digits(None);
    // PgBouncer itself sets a session's application_name to that of each client which has one.
    let mut guest = guest.application_name("guest").connect().await.unwrap();
    let fresh = session(&mut guest).await;
    let store = within(Store::open(&pooler.url, pooled())).await.unwrap();
    let lease = NodeLease { id: Uuid::from_u128(1), node: Uuid::from_u128(2) };
    for number in 0..20 {
        within(write(&store, &format!("{number}"))).await.unwrap();
        within(names(&store)).await.unwrap();
        let mut reader = store.reader().await.unwrap();
        let claim = tasks::claim(&mut reader, (Kind::Screening, Timestamp(1)), lease, (10, false));
        assert_eq!(within(claim).await.unwrap(), []);
        // A statement that fails, a transaction that is dropped, and both cancelled half-way.
        within(write(&store, &format!("{number}"))).await.unwrap_err();
        drop(store.begin().await.unwrap());
        after_polls(names(&store), number).await;
        after_polls(write(&store, &format!("c{number}")), number).await;
    }
    assert_eq!(within(session(&mut guest)).await, fresh);
    within(store.close()).await.unwrap();
}

/// What a session keeps between transactions, and which it is.
async fn session(guest: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT CAST(pg_backend_pid() AS text), (SELECT CAST(count(*) AS text) FROM pg_prepared_statements), \
        (SELECT CAST(count(*) AS text) FROM pg_cursors), \
        (SELECT CAST(count(*) AS text) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'), \
        (SELECT CAST(count(*) AS text) FROM pg_listening_channels()), \
        (SELECT CAST(count(*) AS text) FROM pg_class WHERE relpersistence = 't'), \
        (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE source = 'session')";
    let row: PgRow = guest.fetch_one(sql).await.unwrap();
    (0..7).map(|column| row.get::<Option<String>, usize>(column).unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_notices_that_every_idle_session_was_ended() {
    let Some(url) = database().await else { return };
    for mode in [SESSIONS, TRANSACTIONS] {
        let Some(pooler) = PgBouncer::before(&url, mode) else { return };
        let store = within(Store::open(&pooler.url, pooled())).await.unwrap();
        let mut admin = PgConnection::connect(&url).await.unwrap();
        let calls = |round: usize| {
            let store = &store;
            (0..16).map(move |number| async move {
                names(store).await?;
                write(store, &format!("{}-{round}-{number}", if mode == SESSIONS { 's' } else { 't' })).await
            })
        };
        for round in 0..3 {
            within(futures::future::try_join_all(calls(round))).await.unwrap();
            assert!(end_sessions(&mut admin).await >= 1);
            let calls = within(futures::future::join_all(calls(round + 10))).await;
            assert!(calls.iter().all(Result::is_ok), "{mode}{calls:?}\n{}", pooler.log());
        }
        within(store.close()).await.unwrap();
    }
}

/// Sessions end under statements: what was acknowledged is there, what was not says that the database is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_in_the_middle() {
    let Some(url) = database().await else { return };
    let Some(pooler) = PgBouncer::before(&url, TRANSACTIONS) else { return };
    let store = within(Store::open(&pooler.url, pooled())).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, over) = (store.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let (mut acknowledged, mut number) = (Vec::new(), 0);
                while !over.load(Ordering::Relaxed) {
                    let name = format!("{writer}-{number}");
                    number += 1;
                    match write(&store, &name).await {
                        Ok(()) => acknowledged.push(name),
                        Err(Error::Unavailable(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    match names(&store).await {
                        Ok(names) => assert!(acknowledged.iter().all(|name| names.contains(name))),
                        Err(Error::Unavailable(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let mut ended = 0;
    while ended < 30 {
        ended += end_sessions(&mut admin).await;
        Clock::system().sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Ordering::Relaxed);
    let acknowledged = within(futures::future::try_join_all(writers)).await.unwrap().concat();
    assert!(!acknowledged.is_empty());
    let names = within(names(&store)).await.unwrap();
    assert!(acknowledged.iter().all(|name| names.contains(name)), "lost");
    within(write(&store, "after")).await.unwrap();
}

/// The network goes silent before the pooler, then behind it.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_given_up() {
    let Some(url) = database().await else { return };
    let (server, behind) = Proxy::before_database(&url).await;
    let Some(pooler) = PgBouncer::before(&behind, TRANSACTIONS) else { return };
    let (front, before) = Proxy::before_database(&pooler.url).await;
    let store = within(Store::open(&before, pooled())).await.unwrap();
    for (number, proxy) in [front, server].into_iter().enumerate() {
        within(write(&store, &format!("before-{number}"))).await.unwrap();
        proxy.silence();
        let mut attempt = 0;
        let written = async {
            loop {
                match write(&store, &format!("{number}-{attempt}")).await {
                    Ok(()) => return,
                    Err(Error::Unavailable(_)) => attempt += 1,
                    Err(error) => panic!("{error:?}"),
                }
                Clock::system().sleep(Duration::from_millis(20)).await;
            }
        };
        within(written).await;
    }
}

/// Tables are rewritten outside transactions and with limits of a session, which a pooler's next client would find.
#[tokio::test(flavor = "multi_thread")]
async fn traces_of_secrets_wait_for_a_start_without_the_pooler() {
    let Some(url) = database().await else { return };
    let Some(pooler) = PgBouncer::before(&url, TRANSACTIONS) else { return };
    let clock = Clock::manual(NOW, 1);
    let store = within(Store::open(&pooler.url, pooled())).await.unwrap();
    fill(&store, &clock).await;
    store.sealer().use_keys(keys(&[1]));
    clear::forbid(&store).await.unwrap();
    assert!(!within(reseal::seal_clear(&store, &clock)).await.unwrap());
    assert!(clear::may_be_clear(&mut store.reader().await.unwrap()).await.unwrap());
    within(store.close()).await.unwrap();
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    store.sealer().use_keys(keys(&[1]));
    assert!(within(reseal::seal_clear(&store, &clock)).await.unwrap());
    assert!(!clear::may_be_clear(&mut store.reader().await.unwrap()).await.unwrap());
}

/// Makes of every `async fn name(TestStore)` the test `pooled::name`.
macro_rules! behind_a_pooler {
    ($($name:ident),* $(,)?) => {
        mod pooled {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(test) = crate::support::stores::TestStore::pooled().await {
                    super::$name(test).await;
                }
            })*
        }
    };
}
pub(crate) use behind_a_pooler;
