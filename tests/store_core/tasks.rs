//! Tasks: claimed once while a lease counts, again after it, never settled without it.

use std::time::Duration;

use customerd::domain::Timestamp;
use customerd::store::tasks::{self, Kind, NewTask, Task};
use uuid::Uuid;

use crate::support::stores::{TestStore, on_both};

on_both![claims_pass_over_locked_rows, claims_take_the_longest_due_once, only_the_lease_settles];

const LEASE: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_764_000_000_000_000 + seconds * 1_000_000)
}

fn lease(number: u128) -> (Uuid, Duration) {
    (Uuid::from_u128(number), LEASE)
}

async fn write(test: &TestStore, id: u128, run_at: i64) {
    let (id, customer) = (Uuid::from_u128(id), Uuid::from_u128(id + 100));
    let task = NewTask {
        id,
        kind: Kind::Screening,
        programme_id: Uuid::from_u128(1),
        customer_id: customer,
        entity_id: customer,
        run_at: at(run_at),
        created_at: at(0),
    };
    let mut tx = test.store.begin().await.unwrap();
    tasks::enqueue(&mut tx, &task).unwrap();
    tx.commit().await.unwrap();
}

async fn claim(test: &TestStore, now: i64, number: u128, limit: i64) -> Vec<Task> {
    let mut tx = test.store.begin().await.unwrap();
    let claimed = tasks::claim(&mut tx, (Kind::Screening, at(now)), lease(number), limit).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

fn ids(tasks: &[Task]) -> Vec<(u128, i64)> {
    tasks.iter().map(|task| (task.id.as_u128(), task.attempts)).collect()
}

async fn claims_take_the_longest_due_once(test: TestStore) {
    assert_eq!(tasks::due_at(&mut test.store.reader().await.unwrap(), Kind::Screening).await.unwrap(), None);
    for (id, run_at) in [(1, 50), (2, 10), (3, 20), (4, 20)] {
        write(&test, id, run_at).await;
    }
    assert_eq!(tasks::due_at(&mut test.store.reader().await.unwrap(), Kind::Screening).await.unwrap(), Some(at(10)));
    assert_eq!(ids(&claim(&test, 9, 70, 10).await), []);
    let first = claim(&test, 20, 71, 2).await;
    assert_eq!(ids(&first), [(2, 1), (3, 1)]);
    assert_eq!(
        (first[0].run_at, first[0].customer_id, first[0].last_error.clone()),
        (at(10), Uuid::from_u128(102), None)
    );
    assert_eq!(ids(&claim(&test, 20, 72, 10).await), [(4, 1)]);
    assert_eq!(ids(&claim(&test, 20, 73, 10).await), []);
    // The leases end at 50: what nobody settled comes up again, beside what is due by then.
    assert_eq!(ids(&claim(&test, 50, 74, 10).await), [(1, 1), (2, 2), (3, 2), (4, 2)]);
}

async fn only_the_lease_settles(test: TestStore) {
    write(&test, 1, 0).await;
    claim(&test, 0, 71, 1).await;
    claim(&test, 30, 72, 1).await;
    let id = Uuid::from_u128(1);
    let (lost, held) = (lease(71).0, lease(72).0);
    let mut tx = test.store.begin().await.unwrap();
    assert!(!tasks::settle(&mut tx, id, lost).await.unwrap());
    assert!(!tasks::retry(&mut tx, (id, lost), at(40), "late").await.unwrap());
    assert!(tasks::retry(&mut tx, (id, held), at(40), "the provider is down").await.unwrap());
    assert!(!tasks::settle(&mut tx, id, held).await.unwrap());
    tx.commit().await.unwrap();
    let again = claim(&test, 40, 73, 1).await;
    assert_eq!(ids(&again), [(1, 3)]);
    assert_eq!(again[0].last_error.as_deref(), Some("the provider is down"));
    let mut tx = test.store.begin().await.unwrap();
    assert!(tasks::settle(&mut tx, id, lease(73).0).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(tasks::due_at(&mut test.store.reader().await.unwrap(), Kind::Screening).await.unwrap(), None);
}

/// A claim that has not committed hides its tasks from others, which do not wait for it. (SQLite has one writer.)
async fn claims_pass_over_locked_rows(test: TestStore) {
    if test.store.dialect() == customerd::store::Dialect::Sqlite {
        return;
    }
    write(&test, 1, 0).await;
    write(&test, 2, 1).await;
    let mut open = test.store.begin().await.unwrap();
    let held = tasks::claim(&mut open, (Kind::Screening, at(5)), lease(71), 1).await.unwrap();
    assert_eq!(ids(&held), [(1, 1)]);
    assert_eq!(ids(&claim(&test, 5, 72, 10).await), [(2, 1)]);
    open.rollback().await.unwrap();
    assert_eq!(ids(&claim(&test, 5, 73, 10).await), [(1, 1)]);
}
