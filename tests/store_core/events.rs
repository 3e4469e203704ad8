//! The order of events: nothing appears behind a cursor that was handed out, however transactions overlap.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use customerd::domain::Timestamp;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::event::{Chain, Event, Origin};
use customerd::store::events::{self, Wanted};
use customerd::store::{Store, Tx};
use uuid::Uuid;

use crate::pooler::behind_a_pooler;
use crate::support::stores::{TestStore, on_both};

on_both![
    a_chain_keeps_its_order_against_its_ids,
    an_event_that_is_committed_late_comes_after_the_cursor,
    consumers_miss_nothing_while_many_write,
];
behind_a_pooler![
    a_chain_keeps_its_order_against_its_ids,
    an_event_that_is_committed_late_comes_after_the_cursor,
    consumers_miss_nothing_while_many_write,
];

const PROGRAMME: Uuid = Uuid::from_u128(1);

/// The next event of a customer's chain.
fn event(chain: &mut Chain, id: u128, customer: u128) -> Event {
    let customer = Customer {
        id: Uuid::from_u128(customer),
        programme_id: PROGRAMME,
        external_id: format!("u-{customer}"),
        chain_id: "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".into(),
        status: Status::Initiating,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        version: chain.seq + 1,
    };
    chain.append(Uuid::from_u128(id), customer.event(None, "created"), &Origin::internal("programme"))
}

async fn record(tx: &mut Tx, id: u128) {
    events::insert(tx, &[event(&mut Chain::default(), id, id)]).await.unwrap();
}

/// A consumer: everything it has seen, and its cursor.
#[derive(Default)]
struct Consumer {
    cursor: i64,
    seen: Vec<String>,
}

impl Consumer {
    /// One page, as ListEvents gives it. Whether there was anything.
    async fn read(&mut self, store: &Store, size: i64) -> bool {
        events::place(store).await.unwrap();
        let mut reader = store.reader().await.unwrap();
        let placed = events::last_position(&mut reader, PROGRAMME).await.unwrap();
        let wanted = Wanted { programme_id: PROGRAMME, entities: Vec::new(), customer_id: None };
        let page = events::stream(&mut reader, &wanted, self.cursor, size).await.unwrap();
        for event in &page {
            assert_eq!(event.position, self.cursor + 1, "a gap");
            self.cursor = event.position;
            self.seen.push(event.body.clone());
        }
        if (page.len() as i64) < size {
            assert!(self.cursor >= placed, "a page that is not full ends before what was placed");
        }
        !page.is_empty()
    }
}

async fn an_event_that_is_committed_late_comes_after_the_cursor(test: TestStore) {
    let overlap = test.store.dialect() == customerd::store::Dialect::Postgres;
    let mut consumer = Consumer::default();
    let mut slow = None;
    if overlap {
        let mut tx = test.store.begin().await.unwrap();
        record(&mut tx, 1).await;
        slow = Some(tx);
    }
    let mut tx = test.store.begin().await.unwrap();
    record(&mut tx, 2).await;
    tx.commit().await.unwrap();
    assert!(consumer.read(&test.store, 10).await);
    assert!(!consumer.read(&test.store, 10).await);
    // On SQLite nothing overlaps; an id from another node's clock is late all the same.
    let slow = match slow {
        Some(tx) => tx,
        None => {
            let mut tx = test.store.begin().await.unwrap();
            record(&mut tx, 1).await;
            tx
        }
    };
    slow.commit().await.unwrap();
    assert!(consumer.read(&test.store, 10).await);
    assert_eq!(consumer.seen.len(), 2);
    assert!(consumer.seen[1].contains("00000000-0000-0000-0000-000000000001"), "{:?}", consumer.seen);
}

async fn a_chain_keeps_its_order_against_its_ids(test: TestStore) {
    let mut chain = Chain::default();
    let story = [event(&mut chain, 9, 5), event(&mut chain, 8, 5), event(&mut chain, 7, 5)];
    let mut tx = test.store.begin().await.unwrap();
    events::insert(&mut tx, &story).await.unwrap();
    tx.commit().await.unwrap();
    let mut consumer = Consumer::default();
    while consumer.read(&test.store, 2).await {}
    assert_eq!(consumer.seen, story.map(|event| event.body));
}

async fn consumers_miss_nothing_while_many_write(test: TestStore) {
    const WRITERS: usize = 6;
    const EACH: usize = 40;
    let left = Arc::new(AtomicUsize::new(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let (store, left) = (test.store.clone(), Arc::clone(&left));
        tokio::spawn(async move {
            let mut kept = 0;
            for round in 0..EACH {
                let mut tx = store.begin().await.unwrap();
                // Ids that run against the order of commits, and between those of the others.
                let id = ((EACH - round) * WRITERS + writer + 1) as u128;
                record(&mut tx, id).await;
                for _ in 0..(writer * 7 + round * 3) % 11 {
                    tokio::task::yield_now().await;
                }
                if (writer + round) % 5 == 0 {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                    kept += 1;
                }
            }
            left.fetch_sub(1, Ordering::SeqCst);
            kept
        })
    });
    let writers: Vec<_> = writers.collect();
    let consumers = [1, 7, 1000].map(|size| {
        let (store, left) = (test.store.clone(), Arc::clone(&left));
        tokio::spawn(async move {
            let mut consumer = Consumer::default();
            loop {
                let over = left.load(Ordering::SeqCst) == 0;
                if !consumer.read(&store, size).await && over {
                    return consumer.seen;
                }
            }
        })
    });
    let mut kept = 0;
    for writer in writers {
        kept += writer.await.unwrap();
    }
    let mut stories = Vec::new();
    for consumer in consumers {
        stories.push(consumer.await.unwrap());
    }
    assert_eq!(stories[0].len(), kept);
    assert_eq!(stories[0], stories[1]);
    assert_eq!(stories[0], stories[2]);
}
