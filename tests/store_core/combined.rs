//! Changes that only insert rows, which are sent with those of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use customerd::domain::Timestamp;
use customerd::store::{Change, Connection as _, Dialect, Effect, Error, Lengths, Mode, Rows, Store, StoreOptions, Tx};
use tokio::task::JoinHandle;

use crate::pooler::behind_a_pooler;
use crate::sealed::keys;
use crate::support::stores::{TestStore, on_both};
use crate::{insert, names, scratch};

on_both![
    many_at_once_share_transactions,
    one_that_exists_keeps_nobody_else_back,
    one_whose_condition_fails_keeps_nobody_else_back,
    of_two_that_are_equal_one_is_made,
    one_that_reads_or_writes_otherwise_is_run_again,
    one_that_is_cancelled_keeps_nobody_back,
    those_who_wait_for_work_are_told,
    without_an_encryption_key_each_goes_alone,
    dead_connections_are_replaced,
    none_hangs_while_the_database_is_busy,
];
behind_a_pooler![
    many_at_once_share_transactions,
    one_that_exists_keeps_nobody_else_back,
    one_whose_condition_fails_keeps_nobody_else_back,
];

const PLAIN: Rows =
    Rows { head: "INSERT INTO service_keys (name, secret, created_at) VALUES ", tail: "", lengths: Lengths::All };
/// For as long as there is a row in another table.
const CONDITIONAL: Rows = Rows {
    head: "WITH v (name, secret, created_at, id) AS (VALUES ",
    tail: ") INSERT INTO service_keys (name, secret, created_at) SELECT v.name, v.secret, v.created_at FROM v \
           WHERE EXISTS (SELECT 1 FROM condition c WHERE c.id = v.id)",
    lengths: Lengths::All,
};

/// What a change does besides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Besides {
    Nothing,
    Reads,
    Updates,
}

/// Inserts a row, perhaps under a condition.
struct Add {
    name: String,
    condition: Option<i64>,
    besides: Besides,
    runs: Arc<AtomicU32>,
}

impl Add {
    fn new(name: impl ToString) -> Self {
        Self { name: name.to_string(), condition: None, besides: Besides::Nothing, runs: Arc::default() }
    }
}

impl Change for Add {
    type Out = ();
    type Error = Error;

    fn mode(&self) -> Mode {
        Mode::Combined
    }

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        let (name, condition) = (self.name.clone(), self.condition);
        let text = if condition.is_some() { CONDITIONAL } else { PLAIN };
        let effect = if condition.is_some() { Effect::Required } else { Effect::WakesWorkers };
        tx.insert(text, effect, move |query| {
            let query = query.bind(name.as_str()).bind(&b"secret"[..]).bind(Timestamp(1));
            if let Some(condition) = condition { query.bind(condition) } else { query }
        })?;
        match self.besides {
            Besides::Nothing => {}
            Besides::Reads => drop(tx.query("SELECT name FROM service_keys").all::<(String,)>().await?),
            Besides::Updates => {
                let update = "UPDATE service_keys SET created_at = $1 WHERE name = 'none'";
                tx.write(update).bind(Timestamp(2)).collect(Effect::Any)?;
            }
        }
        self.runs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Without a key nothing is combined.
fn give_key(store: &Store) {
    store.sealer().use_keys(keys(&[1]));
}

fn spawn(store: &Store, adds: impl IntoIterator<Item = Add>) -> Vec<JoinHandle<Result<(), Error>>> {
    let spawn = |add| {
        let store = store.clone();
        tokio::spawn(async move { store.transact(&add).await })
    };
    adds.into_iter().map(spawn).collect()
}

/// Locks the table, so that later writers wait.
async fn hold(store: &Store) -> Tx {
    let mut tx = store.begin().await.unwrap();
    let sql = match store.dialect() {
        Dialect::Sqlite => "UPDATE service_keys SET created_at = 0 WHERE name = 'none'",
        Dialect::Postgres => "LOCK TABLE service_keys IN SHARE MODE",
    };
    tx.query(sql).execute().await.unwrap();
    tx
}

/// Starts them while the table is locked, so that all are queued, and returns the result of each.
async fn together(store: &Store, mut adds: Vec<Add>) -> Vec<Result<(), Error>> {
    let (held, runs) = (hold(store).await, Arc::<AtomicU32>::default());
    let count = u32::try_from(adds.len()).unwrap();
    adds.iter_mut().for_each(|add| add.runs = Arc::clone(&runs));
    let tasks = spawn(store, adds);
    while runs.load(Ordering::SeqCst) < count {
        tokio::task::yield_now().await;
    }
    held.rollback().await.unwrap();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

fn numbered(count: usize) -> Vec<Add> {
    (0..count).map(|number| Add::new(format!("{number:02}"))).collect()
}

async fn many_at_once_share_transactions(test: TestStore) {
    give_key(&test.store);
    let before = test.store.stats().transactions;
    let results = together(&test.store, numbered(64)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(names(&test).await, (0..64).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    let transactions = test.store.stats().transactions - before;
    assert!(transactions <= 32, "{transactions}");
}

async fn one_that_exists_keeps_nobody_else_back(test: TestStore) {
    give_key(&test.store);
    let mut tx = test.store.begin().await.unwrap();
    insert(&mut tx, "07").await.unwrap();
    tx.commit().await.unwrap();
    let results = together(&test.store, numbered(16)).await;
    for (number, result) in results.iter().enumerate() {
        let exists = matches!(result, Err(error) if error.is_unique("service_keys", &["name"]));
        assert_eq!((exists, result.is_ok()), (number == 7, number != 7), "{number}: {result:?}");
    }
    assert_eq!(names(&test).await.len(), 16);
}

async fn one_whose_condition_fails_keeps_nobody_else_back(test: TestStore) {
    give_key(&test.store);
    for sql in ["CREATE TABLE condition (id BIGINT PRIMARY KEY)", "INSERT INTO condition VALUES (1)"] {
        scratch(&test, sql, sql).await;
    }
    let mut adds = numbered(16);
    for (number, add) in adds.iter_mut().enumerate() {
        add.condition = Some(if number % 5 == 4 { 2 } else { 1 });
    }
    let results = together(&test.store, adds).await;
    for (number, result) in results.iter().enumerate() {
        let failed = matches!(result, Err(Error::NotApplied));
        assert_eq!((failed, result.is_ok()), (number % 5 == 4, number % 5 != 4), "{number}: {result:?}");
    }
    assert_eq!(names(&test).await.len(), 13);
}

async fn of_two_that_are_equal_one_is_made(test: TestStore) {
    give_key(&test.store);
    let adds = (0..16).map(|number| Add::new(number / 2)).collect();
    let results = together(&test.store, adds).await;
    for pair in results.chunks(2) {
        assert_eq!(pair.iter().filter(|result| result.is_ok()).count(), 1, "{pair:?}");
        assert!(pair.iter().any(|it| matches!(it, Err(error) if error.is_unique("service_keys", &["name"]))));
    }
    assert_eq!(names(&test).await.len(), 8);
}

async fn one_that_reads_or_writes_otherwise_is_run_again(test: TestStore) {
    give_key(&test.store);
    for (name, besides, runs) in [("a", Besides::Nothing, 1), ("b", Besides::Reads, 1), ("c", Besides::Updates, 2)] {
        let add = Add { besides, ..Add::new(name) };
        test.store.transact(&add).await.unwrap();
        // A read fails at once, a write when all are sent.
        assert_eq!(add.runs.load(Ordering::SeqCst), runs, "{name}");
    }
    assert_eq!(names(&test).await, ["a", "b", "c"]);
}

async fn one_that_is_cancelled_keeps_nobody_back(test: TestStore) {
    give_key(&test.store);
    let held = hold(&test.store).await;
    let runs = Arc::<AtomicU32>::default();
    let adds = numbered(12).into_iter().map(|add| Add { runs: Arc::clone(&runs), ..add });
    let tasks = spawn(&test.store, adds);
    while runs.load(Ordering::SeqCst) < 12 {
        tokio::task::yield_now().await;
    }
    for task in tasks.iter().step_by(2) {
        task.abort();
    }
    held.rollback().await.unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        let result = task.await;
        assert!(number % 2 == 0 || matches!(result, Ok(Ok(()))), "{number}: {result:?}");
    }
    let names = names(&test).await;
    assert!((0..6).all(|number| names.contains(&format!("{:02}", 2 * number + 1))), "{names:?}");
}

async fn those_who_wait_for_work_are_told(test: TestStore) {
    give_key(&test.store);
    let committed = test.store.committed();
    let results = together(&test.store, numbered(4)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(committed.has_changed().unwrap());
}

async fn without_an_encryption_key_each_goes_alone(test: TestStore) {
    let before = test.store.stats().transactions;
    for task in spawn(&test.store, numbered(8)) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(test.store.stats().transactions - before, 8);
}

async fn dead_connections_are_replaced(test: TestStore) {
    give_key(&test.store);
    crate::collected::end_sessions(&test).await;
    let results = together(&test.store, numbered(16)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(names(&test).await.len(), 16);
}

async fn none_hangs_while_the_database_is_busy(test: TestStore) {
    let [acquire_timeout, statement_timeout, lock_timeout] = [Duration::from_secs(1); 3];
    let short = StoreOptions { acquire_timeout, statement_timeout, lock_timeout, ..StoreOptions::default() };
    let impatient = Store::open(&test.url, short).await.unwrap();
    give_key(&test.store);
    give_key(&impatient);
    let held = hold(&test.store).await;
    for task in spawn(&impatient, numbered(64)) {
        let result = task.await.unwrap();
        assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    }
    held.rollback().await.unwrap();
    // Only what waited is short of time: on a slow machine the rest must not be.
    for task in spawn(&test.store, numbered(64)) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(names(&test).await.len(), 64);
}
