//! Sealing that is stopped at any point is resumed by the next start, and never waits without a limit.

use std::time::Duration;

use customerd::clock::Clock;
use customerd::store::keyring::{self, Purpose};
use customerd::store::{Connection as _, Error, Store, StoreOptions, clear, idempotency, reseal};
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::sealed::{NOW, entities, fill, keys, opened, sealed, slot};
use crate::support::cancel::after_polls;
use crate::support::proxy::Proxy;
use crate::support::stores::{TestStore, on_both};

on_both![
    sealing_is_taken_up_again_wherever_it_was_stopped,
    sealing_under_another_key_is_taken_up_again_wherever_it_was_stopped,
];

const OLD: &[u8] = b"a key that lay in the clear: 32 B";

/// As a database of the version before is migrated: keys in a table of their own, nothing sealed.
async fn in_the_clear(store: &Store, clock: &Clock) -> (Uuid, Vec<Uuid>) {
    let made = entities(store, clock).await;
    let mut tx = store.begin().await.unwrap();
    for name in ["jwt", "links", "fingerprint"] {
        let sql = "INSERT INTO service_keys (name, secret, created_at) VALUES ($1, $2, $3)";
        tx.query(sql).bind(name).bind(OLD).bind(NOW).execute().await.unwrap();
    }
    tx.query("UPDATE sealing SET clear = $1").bind(true).execute().await.unwrap();
    tx.commit().await.unwrap();
    made
}

/// What every start does.
async fn start(store: &Store, clock: &Clock) -> Result<bool, Error> {
    clear::forbid(store).await?;
    reseal::adopt(store, clock).await?;
    if clear::may_be_clear(&mut store.reader().await?).await? {
        return reseal::seal_clear(store, clock).await;
    }
    Ok(true)
}

async fn opens(store: &Store, (programme_id, ids): &(Uuid, Vec<Uuid>)) {
    let mut reader = store.reader().await.unwrap();
    for (number, id) in ids.iter().enumerate() {
        let webhook = opened(store, *id).await.unwrap().unwrap();
        assert_eq!(webhook.secret.expose_secret(), format!("whsec_{number}"));
    }
    let reply = idempotency::get(&mut reader, slot(*programme_id)).await.unwrap().unwrap();
    assert_eq!(reply.reply, b"whsec_reply");
}

/// Where work is stopped.
enum Stops {
    /// While it waits for SQLite's thread.
    Polls,
    /// While something is on its way to PostgreSQL, which may answer before it is waited for.
    Sent(Proxy),
}

impl Stops {
    /// The same database, such that work on it can be stopped.
    async fn of(mut test: TestStore) -> (Self, TestStore) {
        if !test.url.starts_with("postgres") {
            return (Self::Polls, test);
        }
        let (proxy, url) = Proxy::before_database(&test.url).await;
        test.url = url;
        (Self::Sent(proxy), test.reopen(StoreOptions::default()).await)
    }

    /// Runs work until it has waited so many times; `None` if it was stopped then.
    async fn after<T>(&self, times: u32, work: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Polls => after_polls(work, times).await,
            Self::Sent(proxy) => proxy.stop_after(times, work).await,
        }
    }
}

async fn sealing_is_taken_up_again_wherever_it_was_stopped(test: TestStore) {
    let (stops, test) = Stops::of(test).await;
    let (store, clock) = (&test.store, Clock::manual(NOW, 1));
    let made = in_the_clear(store, &clock).await;
    store.sealer().use_keys(keys(&[1]));
    let mut waits = 1;
    while stops.after(waits, start(store, &clock)).await.is_none_or(|done| !done.unwrap()) {
        waits += 1;
    }
    assert!(waits > 20, "it waits for the database once at least for each kind of value: {waits}");
    assert!(!clear::may_be_clear(&mut store.reader().await.unwrap()).await.unwrap());
    let prefix = store.sealer().keyring().prefix();
    assert!(sealed(store).await.iter().all(|value| value.starts_with(&prefix)));
    opens(store, &made).await;
    let all = keyring::load(&mut store.reader().await.unwrap(), NOW).await.unwrap();
    for purpose in [Purpose::Jwt, Purpose::Links, Purpose::Fingerprint] {
        let of: Vec<_> = all.iter().filter(|key| key.purpose == purpose).collect();
        // Taken over from once, however often it was begun.
        assert!(
            matches!(of[..], [new, old] if new.signs() && old.secret.expose_secret() == OLD),
            "{purpose:?}: {of:?}"
        );
    }
}

async fn sealing_under_another_key_is_taken_up_again_wherever_it_was_stopped(test: TestStore) {
    let (stops, test) = Stops::of(test).await;
    let (store, clock) = (&test.store, Clock::manual(NOW, 1));
    store.sealer().use_keys(keys(&[1]));
    let made = fill(store, &clock).await;
    let (before, old) = (sealed(store).await.len(), store.sealer().keyring().prefix());
    store.sealer().use_keys(keys(&[2, 1]));
    let mut waits = 1;
    while stops.after(waits, reseal::reseal(store)).await.is_none() {
        waits += 1;
        // The service goes on meanwhile, and none starts without the old key while it is needed.
        opens(store, &made).await;
        let needed = keyring::encryption_keys(&mut store.reader().await.unwrap()).await.unwrap();
        if sealed(store).await.iter().any(|value| value.starts_with(&old)) {
            assert!(needed.contains(&Some(store.sealer().keyring().ids()[1])), "{needed:?}");
        }
    }
    assert!(waits > 10, "{waits}");
    store.sealer().use_keys(keys(&[2]));
    let prefix = store.sealer().keyring().prefix();
    let after = sealed(store).await;
    assert!(after.len() == before && after.iter().all(|value| value.starts_with(&prefix)));
    opens(store, &made).await;
    assert_eq!(keyring::load(&mut store.reader().await.unwrap(), NOW).await.unwrap().len(), 5);
}

/// A database with something in the clear, a key for it, and little patience.
async fn unsealed(test: TestStore) -> (TestStore, Clock) {
    let test = test.reopen(StoreOptions { lock_timeout: Duration::from_millis(50), ..StoreOptions::default() }).await;
    let clock = Clock::manual(NOW, 1);
    in_the_clear(&test.store, &clock).await;
    test.store.sealer().use_keys(keys(&[1]));
    (test, clock)
}

/// The log cannot be emptied while somebody reads an older state: that is left to the next start. The values are sealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_file_leaves_the_traces_to_the_next_start() {
    let (test, clock) = unsealed(TestStore::sqlite().await).await;
    let mut reader = SqliteConnection::connect(&test.url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM webhooks").execute(&mut reader).await.unwrap();
    assert!(!start(&test.store, &clock).await.unwrap());
    assert!(clear::may_be_clear(&mut test.store.reader().await.unwrap()).await.unwrap());
    let prefix = test.store.sealer().keyring().prefix();
    assert!(sealed(&test.store).await.iter().all(|value| value.starts_with(&prefix)));
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert!(start(&test.store, &clock).await.unwrap());
    assert!(!clear::may_be_clear(&mut test.store.reader().await.unwrap()).await.unwrap());
    let path = test.url.strip_prefix("sqlite://").unwrap();
    for file in [path.to_owned(), format!("{path}-wal")] {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(OLD.len()).any(|part| part == OLD), "{file}");
    }
}

/// Another process that writes is named, and nothing is half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_of_the_file_is_named() {
    let (test, clock) = unsealed(TestStore::sqlite().await).await;
    let mut writer = SqliteConnection::connect(&test.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let refused = start(&test.store, &clock).await.unwrap_err().to_string();
    assert!(refused.contains("locked"), "{refused}");
    sqlx::raw_sql("ROLLBACK").execute(&mut writer).await.unwrap();
    assert!(start(&test.store, &clock).await.unwrap());
}

/// On PostgreSQL an open transaction that may still read the old rows is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_waited_for() {
    let Some(test) = TestStore::postgres().await else { return };
    let clock = Clock::manual(NOW, 1);
    in_the_clear(&test.store, &clock).await;
    test.store.sealer().use_keys(keys(&[1]));
    let mut reader = PgConnection::connect(&test.url).await.unwrap();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut reader).await.unwrap();
    sqlx::raw_sql("SELECT 1").execute(&mut reader).await.unwrap();
    let store = test.store.clone();
    let sealing = tokio::spawn(async move { start(&store, &clock).await.unwrap() });
    let mut watcher = PgConnection::connect(&test.url).await.unwrap();
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%'";
    while sqlx::query_as::<_, (i64,)>(waits).fetch_one(&mut watcher).await.unwrap().0 == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!sealing.is_finished(), "it waits");
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert!(sealing.await.unwrap());
    assert!(!clear::may_be_clear(&mut test.store.reader().await.unwrap()).await.unwrap());
}
