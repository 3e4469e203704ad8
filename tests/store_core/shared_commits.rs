//! SQLite: many transactions, one fsync; and nobody hears "done" before it.

use customerd::store::{Connection, Error, Store, StoreOptions, Tx};
use tokio::task::{JoinHandle, yield_now};

use crate::support::stores::TestStore;
use crate::{insert, names};

/// Starts a task that begins, inserts and commits.
fn write(store: &Store, name: String) -> JoinHandle<Result<(), Error>> {
    let store = store.clone();
    tokio::spawn(async move {
        let mut tx = store.begin().await?;
        insert(&mut tx, &name).await?;
        tx.commit().await
    })
}

async fn in_line(store: &Store, count: usize) {
    while store.stats().waiting != count {
        yield_now().await;
    }
}

/// A transaction that holds the line, and `count` tasks that wait behind it.
async fn line(store: &Store, count: usize) -> (Tx, Vec<JoinHandle<Result<(), Error>>>) {
    let mut first = store.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let tasks = (0..count).map(|number| write(store, format!("{number:02}"))).collect();
    in_line(store, count).await;
    (first, tasks)
}

async fn limited(group_limit: usize) -> TestStore {
    TestStore::sqlite().await.reopen(StoreOptions { group_limit, ..StoreOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_share_one_commit() {
    let test = TestStore::sqlite().await;
    let (first, tasks) = line(&test.store, 20).await;
    first.commit().await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let stats = test.store.stats();
    assert_eq!((stats.transactions, stats.commits), (21, 1));
    assert_eq!(names(&test).await.len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_group_is_committed() {
    let test = limited(4).await;
    let (first, tasks) = line(&test.store, 20).await;
    first.commit().await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let stats = test.store.stats();
    assert_eq!((stats.transactions, stats.commits), (21, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alone_is_committed_at_once() {
    let test = limited(1).await;
    let (first, tasks) = line(&test.store, 5).await;
    first.commit().await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(test.store.stats().commits, 6);
}

/// The first member's commit must wait for the second, who holds the outer transaction open; then both are there, or
/// only the first if the second undoes its part.
async fn second_decides(commits: bool) {
    let test = TestStore::sqlite().await;
    let mut first = test.store.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let next = tokio::spawn({
        let store = test.store.clone();
        async move { store.begin().await.unwrap() }
    });
    in_line(&test.store, 1).await;
    let committing = tokio::spawn(first.commit());
    let mut second = next.await.unwrap();
    insert(&mut second, "second").await.unwrap();
    assert_eq!(names(&test).await, [""; 0]);
    assert!(!committing.is_finished());
    assert_eq!(test.store.stats().commits, 0);
    if commits {
        second.commit().await.unwrap();
    } else {
        drop(second);
    }
    committing.await.unwrap().unwrap();
    assert_eq!(names(&test).await, if commits { vec!["first", "second"] } else { vec!["first"] });
    assert_eq!(test.store.stats().commits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_the_commit() {
    second_decides(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_member_takes_nothing_with_it() {
    second_decides(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_members_leave_the_others_alone() {
    let test = TestStore::sqlite().await;
    let mut first = test.store.begin().await.unwrap();
    insert(&mut first, "taken").await.unwrap();
    // Every second one fails, and so undoes what it did before.
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let store = test.store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await?;
                insert(&mut tx, &format!("{number:02}")).await?;
                insert(&mut tx, if number % 2 == 0 { "taken".to_owned() } else { format!("{number:02}b") }.as_str())
                    .await?;
                tx.commit().await
            })
        })
        .collect();
    in_line(&test.store, 20).await;
    first.commit().await.unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().is_ok(), number % 2 == 1);
    }
    let odd = (0..10).flat_map(|half| [format!("{:02}", half * 2 + 1), format!("{:02}b", half * 2 + 1)]);
    assert_eq!(names(&test).await, odd.chain(["taken".to_owned()]).collect::<Vec<_>>());
    assert_eq!(test.store.stats().transactions, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_queue_holds_nobody_up() {
    let test = TestStore::sqlite().await;
    for round in 0..200 {
        let mut first = test.store.begin().await.unwrap();
        insert(&mut first, &format!("{round:03}")).await.unwrap();
        let waits = write(&test.store, format!("{round:03} waited"));
        in_line(&test.store, 1).await;
        // Either the commit goes on to one who is gone, or it finds the queue empty.
        let committing = tokio::spawn(first.commit());
        waits.abort();
        committing.await.unwrap().unwrap();
        let _ = waits.await;
    }
    let kept = names(&test).await.into_iter().filter(|name| !name.ends_with("waited")).count();
    assert_eq!(kept, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_commit_fails_for_all_and_leaves_nothing() {
    let test = TestStore::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    let sql = "CREATE TABLE child (parent TEXT REFERENCES service_keys (name) DEFERRABLE INITIALLY DEFERRED)";
    tx.query(sql).execute().await.unwrap();
    tx.commit().await.unwrap();

    let mut first = test.store.begin().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let orphan = tokio::spawn({
        let store = test.store.clone();
        async move {
            let mut tx = store.begin().await?;
            tx.query("INSERT INTO child VALUES ('nobody')").execute().await?;
            tx.commit().await
        }
    });
    in_line(&test.store, 1).await;
    assert!(matches!(first.commit().await, Err(Error::Unavailable(text)) if text.contains("FOREIGN KEY")));
    assert!(matches!(orphan.await.unwrap(), Err(Error::Unavailable(_))));
    assert_eq!(names(&test).await, [""; 0]);
    write(&test.store, "later".to_owned()).await.unwrap().unwrap();
    assert_eq!(names(&test).await, ["later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_acknowledged() {
    let test = TestStore::sqlite().await;
    let mut first = test.store.begin().await.unwrap();
    first.query("PRAGMA max_page_count = 40").execute().await.unwrap();
    insert(&mut first, "first").await.unwrap();
    let tasks: Vec<_> = (0..60).map(|number| write(&test.store, format!("{number:02}{}", "x".repeat(3_000)))).collect();
    in_line(&test.store, 60).await;
    let mut kept = Vec::new();
    if first.commit().await.is_ok() {
        kept.push("first".to_owned());
    }
    let mut refused = 0;
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(()) => kept.push(format!("{number:02}{}", "x".repeat(3_000))),
            Err(Error::Unavailable(_)) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 0);
    kept.sort();
    assert_eq!(names(&test).await, kept);
}
