//! How much PostgreSQL reads to record attempts.

use customerd::store::deliveries::{self, Scan};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{FIRST, Record, at, attempted, enter, lease, of, scene, trials};
use crate::support::stores::TestStore;

/// Rows of deliveries that the server has read so far, as sessions that have ended counted them.
async fn rows_read(url: &str) -> i64 {
    let mut admin = PgConnection::connect(url).await.unwrap();
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'deliveries'";
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    sqlx::raw_sql(end).execute(&mut admin).await.unwrap();
    sqlx::query_scalar(read).fetch_one(&mut admin).await.unwrap()
}

/// The planner knows nothing of a table that was not analysed yet.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_reads_only_the_deliveries_that_it_records() {
    let Some(test) = TestStore::postgres().await else { return };
    let store = &test.store;
    scene(store).await;
    enter(store, 1).await;
    trials(store, FIRST, 1..=4_000).await;
    lease(store, 1, &[FIRST]).await.unwrap();
    let scan = Scan { webhook_id: FIRST, fifo: false, after: (at(0), Uuid::nil()), limit: 100 };
    let due = deliveries::due(&mut store.reader().await.unwrap(), scan, at(4_000)).await.unwrap();
    let before = rows_read(&test.url).await;
    let attempts = due.iter().map(|due| attempted(due, of(FIRST, 1, 1), (204, at(4_000))));
    store.transact(&Record(attempts.collect())).await.unwrap();
    let read = rows_read(&test.url).await - before;
    // Their number is filled up in the statement.
    assert!((100..=128).contains(&read), "{read} rows were read to record 100 attempts");
}
