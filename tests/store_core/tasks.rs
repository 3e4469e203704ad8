//! Tasks: claimed once while their node is alive, again after it, never settled without the lease.

use std::time::Duration;

use customerd::domain::Timestamp;
use customerd::domain::timestamp::SKEW;
use customerd::store::nodes;
use customerd::store::tasks::{self, Kind, NewTask, NodeLease, Task};
use uuid::Uuid;

use crate::pooler::behind_a_pooler;
use crate::support::stores::{TestStore, on_both};

on_both![
    claims_pass_over_locked_rows,
    claims_take_the_longest_due_once,
    only_the_lease_settles,
    what_is_not_in_flight_is_given_back,
    what_a_clock_that_was_ahead_scheduled_waits_no_longer_than_it_was_to,
    an_operators_lease_ends_with_its_time,
];
behind_a_pooler![
    claims_pass_over_locked_rows,
    claims_take_the_longest_due_once,
    only_the_lease_settles,
    what_is_not_in_flight_is_given_back,
    what_a_clock_that_was_ahead_scheduled_waits_no_longer_than_it_was_to,
    an_operators_lease_ends_with_its_time,
];

const LEASE: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_764_000_000_000_000 + seconds * 1_000_000)
}

/// A lease of one of two nodes, by whether its number is odd.
fn lease(number: u128) -> NodeLease {
    NodeLease { id: Uuid::from_u128(number), node: Uuid::from_u128(number % 2) }
}

async fn enter(test: &TestStore) {
    let mut tx = test.store.begin().await.unwrap();
    for node in [0, 1] {
        nodes::insert(&mut tx, Uuid::from_u128(node), at(0)).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// The node of leases with such numbers dies, and comes back.
async fn dies(test: &TestStore, number: u128) {
    let mut tx = test.store.begin().await.unwrap();
    assert!(nodes::remove(&mut tx, lease(number).node, None).await.unwrap());
    nodes::insert(&mut tx, lease(number).node, at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn write(test: &TestStore, id: u128, run_at: i64) {
    let (id, customer) = (Uuid::from_u128(id), Uuid::from_u128(id + 100));
    let task = NewTask {
        id,
        kind: Kind::Screening,
        programme_id: Uuid::from_u128(1),
        customer_id: customer,
        entity_id: customer,
        // Due at once, for nodes whose clocks are behind, too.
        created_at: at(run_at) + SKEW,
    };
    let mut tx = test.store.begin().await.unwrap();
    tasks::enqueue(&mut tx, &task).unwrap();
    tx.commit().await.unwrap();
}

async fn claim(test: &TestStore, now: i64, number: u128, limit: i64) -> Vec<Task> {
    let mut tx = test.store.begin().await.unwrap();
    let claimed = tasks::claim(&mut tx, (Kind::Screening, at(now)), lease(number), (limit, false)).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

fn ids(tasks: &[Task]) -> Vec<(u128, i64)> {
    tasks.iter().map(|task| (task.id.as_u128(), task.attempts)).collect()
}

/// When the first is due, and when the time of one was set last.
async fn due_at(test: &TestStore) -> (Option<Timestamp>, Option<Timestamp>) {
    tasks::due_at(&mut test.store.reader().await.unwrap(), Kind::Screening, false).await.unwrap()
}

async fn what_is_not_in_flight_is_given_back(test: TestStore) {
    enter(&test).await;
    for id in 1..=4 {
        write(&test, id, 0).await;
    }
    claim(&test, 0, 71, 3).await;
    claim(&test, 0, 72, 1).await;
    for (in_flight, given) in [(vec![1], 2), (vec![], 1)] {
        let in_flight: Vec<_> = in_flight.into_iter().map(Uuid::from_u128).collect();
        let mut tx = test.store.begin().await.unwrap();
        let back = tasks::give_back(&mut tx, Kind::Screening, lease(71).node, &in_flight).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(back, given);
    }
    assert_eq!(ids(&claim(&test, 0, 73, 10).await), [(1, 2), (2, 2), (3, 2)]);
}

async fn what_a_clock_that_was_ahead_scheduled_waits_no_longer_than_it_was_to(test: TestStore) {
    enter(&test).await;
    let ahead = 3600;
    // One that is new, one that is to be tried again after 30 s, one that an operator has, and one of a clock that is right.
    for (id, run_at) in [(1, ahead), (2, ahead), (3, 0), (4, 0)] {
        write(&test, id, run_at).await;
    }
    let tried = lease(71);
    let mut tx = test.store.begin().await.unwrap();
    let taken = tasks::claim(&mut tx, (Kind::Screening, at(ahead)), tried, (4, false)).await.unwrap();
    assert_eq!(ids(&taken), [(3, 1), (4, 1), (1, 1), (2, 1)]);
    for (id, now, wait) in [(1, 0, 30), (2, ahead, 30), (3, 0, 0), (4, 0, 30)] {
        let times = (at(now), Duration::from_secs(wait));
        assert!(tasks::retry(&mut tx, (Uuid::from_u128(id), tried.id), times, "down").await.unwrap());
    }
    let kind = (Kind::Screening, at(ahead + 30));
    let taken = tasks::claim_for_operator(&mut tx, kind, (Uuid::from_u128(9), LEASE), (1, None)).await.unwrap();
    assert_eq!(ids(&taken), [(3, 2)]);
    tx.commit().await.unwrap();
    write(&test, 5, ahead).await;

    // The clock is right again.
    assert_eq!(due_at(&test).await, (Some(at(30)), Some(at(ahead + 30))));
    for (limit, mended) in [(2, 2), (10, 1), (10, 0)] {
        let mut tx = test.store.begin().await.unwrap();
        assert_eq!(tasks::mend_times(&mut tx, at(5), limit).await.unwrap(), mended);
        tx.commit().await.unwrap();
    }
    assert_eq!(due_at(&test).await, (Some(at(5) - SKEW), Some(at(5))));
    assert_eq!(ids(&claim(&test, 5, 71, 10).await), [(5, 1)]);
    assert_eq!(ids(&claim(&test, 34, 71, 10).await), [(1, 2), (4, 2)]);
    assert_eq!(ids(&claim(&test, 35, 71, 10).await), [(2, 2), (3, 3)]);
}

async fn an_operators_lease_ends_with_its_time(test: TestStore) {
    write(&test, 1, 0).await;
    for (now, number, claimed) in [(0, 1, 1), (29, 2, 0), (30, 3, 1)] {
        let (kind, lease) = ((Kind::Screening, at(now)), (Uuid::from_u128(number), LEASE));
        let mut tx = test.store.begin().await.unwrap();
        let tasks = tasks::claim_for_operator(&mut tx, kind, lease, (10, None)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(tasks.len(), claimed, "{now}");
    }
}

async fn claims_take_the_longest_due_once(test: TestStore) {
    assert_eq!(due_at(&test).await, (None, None));
    enter(&test).await;
    for (id, run_at) in [(1, 50), (2, 10), (3, 20), (4, 20)] {
        write(&test, id, run_at).await;
    }
    assert_eq!(due_at(&test).await, (Some(at(10)), Some(at(50) + SKEW)));
    assert_eq!(ids(&claim(&test, 9, 70, 10).await), []);
    let first = claim(&test, 20, 71, 2).await;
    assert_eq!(ids(&first), [(2, 1), (3, 1)]);
    assert_eq!(
        (first[0].run_at, first[0].customer_id, first[0].last_error.clone()),
        (at(10), Uuid::from_u128(102), None)
    );
    assert_eq!(ids(&claim(&test, 20, 72, 10).await), [(4, 1)]);
    assert_eq!(ids(&claim(&test, 20, 73, 10).await), []);
    // However late it is, what a node works on is its own until it dies.
    assert_eq!(ids(&claim(&test, 50, 74, 10).await), [(1, 1)]);
    dies(&test, 71).await;
    assert_eq!(ids(&claim(&test, 50, 76, 10).await), [(2, 2), (3, 2)]);
}

async fn only_the_lease_settles(test: TestStore) {
    enter(&test).await;
    write(&test, 1, 0).await;
    claim(&test, 0, 71, 1).await;
    dies(&test, 71).await;
    claim(&test, 30, 72, 1).await;
    let id = Uuid::from_u128(1);
    let (lost, held, ten) = (lease(71).id, lease(72).id, Duration::from_secs(10));
    let mut tx = test.store.begin().await.unwrap();
    assert!(!tasks::settle(&mut tx, id, lost).await.unwrap());
    assert!(!tasks::retry(&mut tx, (id, lost), (at(30), ten), "late").await.unwrap());
    assert!(tasks::retry(&mut tx, (id, held), (at(30), ten), "the provider is down").await.unwrap());
    assert!(!tasks::settle(&mut tx, id, held).await.unwrap());
    tx.commit().await.unwrap();
    let again = claim(&test, 40, 73, 1).await;
    assert_eq!(ids(&again), [(1, 3)]);
    assert_eq!(again[0].last_error.as_deref(), Some("the provider is down"));
    let mut tx = test.store.begin().await.unwrap();
    assert!(tasks::settle(&mut tx, id, lease(73).id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(due_at(&test).await, (None, None));
}

/// A claim that has not committed hides its tasks from others, which do not wait for it. (SQLite has one writer.)
async fn claims_pass_over_locked_rows(test: TestStore) {
    if test.store.dialect() == customerd::store::Dialect::Sqlite {
        return;
    }
    enter(&test).await;
    write(&test, 1, 0).await;
    write(&test, 2, 1).await;
    let mut open = test.store.begin().await.unwrap();
    let held = tasks::claim(&mut open, (Kind::Screening, at(5)), lease(71), (1, false)).await.unwrap();
    assert_eq!(ids(&held), [(1, 1)]);
    assert_eq!(ids(&claim(&test, 5, 72, 10).await), [(2, 1)]);
    open.rollback().await.unwrap();
    assert_eq!(ids(&claim(&test, 5, 73, 10).await), [(1, 1)]);
}
