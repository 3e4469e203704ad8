//! What verification finds: every alteration of a chain, and every deletion that a checkpoint has seen.

use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::checkpoint::Checkpoint;
use customerd::domain::commitment::CustomerKey;
use customerd::domain::customer::{Customer, Move, Status};
use customerd::domain::event::{Chain, Origin};
use customerd::lifecycle::{Recorder, Step, moves};
use customerd::store::audit::seals::{self, Notice};
use customerd::store::audit::{self, Found, Read};
use customerd::store::audit::{checkpoints, keys};
use customerd::store::customers::Held;
use customerd::store::events::{self, Wanted};
use customerd::store::{Connection as _, Store, customers};
use uuid::Uuid;

use crate::support::stores::{TestStore, on_both};

on_both![
    every_altered_column_of_an_event_is_found,
    an_erased_customers_chain_still_verifies,
    rows_say_what_their_events_say,
    times_that_go_back_are_found,
    chains_of_version_1_are_verified_and_sealed,
    a_chain_that_does_not_verify_is_sealed_as_broken,
];

const PROGRAMME: Uuid = Uuid::from_u128(1);
const START: Timestamp = Timestamp(1_764_000_000_000_000);

/// A database with a programme, and what changes it.
pub(crate) struct Scene {
    test: TestStore,
    pub(crate) clock: Clock,
}

impl Scene {
    pub(crate) async fn new(test: TestStore) -> Self {
        let mut tx = test.store.begin().await.unwrap();
        tx.query(
            "INSERT INTO programmes (id, name, sandbox, disabled, api_key, api_secret_hash, generation, created_at, updated_at) \
             VALUES ($1, 'Wallet', $2, $3, $1, 'none', 1, $4, $4)",
        )
        .bind(PROGRAMME)
        .bind(true)
        .bind(false)
        .bind(START)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        Self { test, clock: Clock::manual(START, 7) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.test.store
    }

    /// A customer of this number that went as far as its verification: three events. Without a key, as before version 2.
    async fn customer(&self, number: u128, key: Option<CustomerKey>) -> Uuid {
        let id = Uuid::from_u128(number << 64);
        let now = self.clock.now();
        let customer = Customer {
            id,
            programme_id: PROGRAMME,
            external_id: format!("u-{number}"),
            chain_id: format!("eip155:1:0x{number:040x}"),
            status: Status::Initiating,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let origin = Origin::internal("programme");
        let chain = Chain { key, ..Chain::default() };
        let mut held = Held::new(customer, chain, None);
        let mut tx = self.store().begin().await.unwrap();
        Recorder { origin: &origin, clock: &self.clock }.open(&mut tx, &mut held).await.unwrap();
        tx.commit().await.unwrap();
        self.moved(id, &[Move::ProveOwnership, Move::Clear]).await;
        id
    }

    pub(crate) async fn sealed(&self, number: u128) -> Uuid {
        self.customer(number, Some(CustomerKey::new(self.clock.random()))).await
    }

    pub(crate) async fn moved(&self, id: Uuid, all: &[Move]) {
        let origin = Origin::internal("story");
        for by in all {
            let mut tx = self.store().begin().await.unwrap();
            let mut held = customers::lock(&mut tx, id).await.unwrap().unwrap();
            let step = Step { by: *by, reason: None, origin: &origin };
            moves::make(&mut tx, &mut held, step, &self.clock).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// Runs a statement about a customer, whose id is `$1`.
    pub(crate) async fn run(&self, sql: &'static str, id: Uuid) -> u64 {
        let mut tx = self.store().begin().await.unwrap();
        let changed = tx.query(sql).bind(id).execute().await.unwrap();
        tx.commit().await.unwrap();
        changed
    }

    /// The faults of the chains.
    pub(crate) async fn faults(&self) -> (Read, Vec<String>) {
        let mut faults = Vec::new();
        let keep = |found| {
            if let Found::Fault(fault) = found {
                faults.push(fault.to_string());
            }
        };
        let read = audit::verify(self.store(), keep).await.unwrap();
        (read, faults)
    }

    pub(crate) async fn checkpoint(&self) -> Vec<Checkpoint> {
        let key = keys::signing_key(self.store(), &self.clock).await.unwrap();
        self.clock.advance(std::time::Duration::from_secs(60));
        checkpoints::make(self.store(), &key, &self.clock).await.unwrap()
    }

    /// What checkpoints tell: how many there are, and the faults.
    pub(crate) async fn missing(&self, copies: &[Checkpoint]) -> (u64, Vec<String>) {
        let mut faults = Vec::new();
        let covered = checkpoints::verify(self.store(), copies, |fault| faults.push(fault)).await.unwrap();
        (covered.checkpoints, faults)
    }
}

/// Each column of the record, set to something else by a statement; the trace and the position are no part of it.
const ALTERATIONS: [&str; 18] = [
    "UPDATE events SET id = $2 WHERE customer_id = $1 AND seq = 2",
    "UPDATE events SET programme_id = $2 WHERE customer_id = $1 AND seq = 2",
    "UPDATE events SET customer_id = $2 WHERE customer_id = $1 AND seq = 2",
    "UPDATE events SET seq = 9 WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET entity_type = 'account' WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET entity_type = 'chain' WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET entity_id = $2 WHERE customer_id = $1 AND seq = 2",
    "UPDATE events SET actor = 'somebody' WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET cause = 'another' WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET from_status = NULL WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET to_status = 'active' WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET version = 7 WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET body = replace(body, '\"screening\"', '\"active\"') WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET body = replace(body, '\"u-', '\"v-') WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET previous_hash = hash WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET hash = previous_hash WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET hash_version = 1 WHERE customer_id = $1 AND seq = 2 AND id <> $2",
    "UPDATE events SET commitments = NULL WHERE customer_id = $1 AND seq = 2 AND id <> $2",
];

async fn every_altered_column_of_an_event_is_found(test: TestStore) {
    let scene = Scene::new(test).await;
    let mut ids = Vec::new();
    for number in 1..=ALTERATIONS.len() as u128 {
        ids.push(scene.sealed(number).await);
    }
    let events = 3 * ids.len() as u64;
    assert_eq!(scene.faults().await, (Read { customers: ids.len() as u64, events }, Vec::new()));
    for (id, alteration) in ids.iter().zip(ALTERATIONS) {
        let mut tx = scene.store().begin().await.unwrap();
        let changed = tx.query(alteration).bind(*id).bind(Uuid::max()).execute().await.unwrap();
        assert_eq!(changed, 1, "{alteration}");
        tx.commit().await.unwrap();
        let (_, faults) = scene.faults().await;
        assert!(faults.iter().any(|fault| fault.contains(&id.to_string())), "{alteration}: {faults:?}");
    }
    // The time, a commitment to something else, and a deleted event in the middle.
    for (number, sql) in [
        (
            101,
            "UPDATE events SET created_at = (SELECT created_at FROM programmes LIMIT 1) WHERE customer_id = $1 AND seq = 2",
        ),
        (
            102,
            "UPDATE events SET commitments = (SELECT commitments FROM events WHERE customer_id = $1 AND seq = 1) \
               WHERE customer_id = $1 AND seq = 2",
        ),
        (103, "DELETE FROM events WHERE customer_id = $1 AND seq = 2"),
        (104, "DELETE FROM events WHERE customer_id = $1 AND seq = 3"),
        (105, "UPDATE events SET body = '{ ' || substr(body, 2) WHERE customer_id = $1 AND seq = 2"),
    ] {
        scene.clock.advance(std::time::Duration::from_secs(1));
        let id = scene.sealed(number).await;
        assert_eq!(scene.run(sql, id).await, 1, "{sql}");
        let (_, faults) = scene.faults().await;
        assert!(faults.iter().any(|fault| fault.contains(&id.to_string())), "{sql}: {faults:?}");
    }
}

async fn an_erased_customers_chain_still_verifies(test: TestStore) {
    let scene = Scene::new(test).await;
    let (id, other) = (scene.sealed(1).await, scene.sealed(2).await);
    let before = scene.checkpoint().await;
    assert_eq!(before.len(), 1);
    let text = "UPDATE events SET body = replace(replace(body, '\"u-1\"', 'null'), \
                '\"eip155:1:0x0000000000000000000000000000000000000001\"', 'null') WHERE customer_id = $1";
    assert_eq!(scene.run(text, id).await, 3);
    // While the key is there, a value that is gone is one that was altered.
    let (_, faults) = scene.faults().await;
    let (events, row) = faults.split_at(3);
    assert!(events.iter().all(|fault| fault.contains("is not what it was committed to")), "{faults:?}");
    assert!(row.iter().all(|fault| fault.contains("is not what its events say")) && row.len() == 2, "{faults:?}");
    assert_eq!(scene.run("UPDATE customers SET event_key = NULL WHERE id = $1", id).await, 1);
    assert_eq!(scene.faults().await, (Read { customers: 2, events: 6 }, Vec::new()));
    assert_eq!(scene.missing(&before).await, (1, Vec::new()));
    let mut reader = scene.store().reader().await.unwrap();
    let left = events::trail(&mut reader, id, None, 10).await.unwrap();
    assert!(left.iter().all(|event| !event.body.contains("u-1") && event.commitments.len() == 64));
    assert_eq!(events::trail(&mut reader, other, None, 10).await.unwrap().len(), 3);
}

async fn rows_say_what_their_events_say(test: TestStore) {
    let scene = Scene::new(test).await;
    let (listed, renamed, keyless) = (scene.sealed(1).await, scene.sealed(2).await, scene.sealed(3).await);
    for (sql, id, what) in [
        ("UPDATE customers SET chain_id = 'eip155:1:0x00' WHERE id = $1", listed, "the chainId of customer"),
        ("UPDATE customers SET external_id = 'u-7' WHERE id = $1", renamed, "the externalId of customer"),
        // Who destroys the key to alter what it proves has to erase it.
        ("UPDATE customers SET event_key = NULL, external_id = 'u-9' WHERE id = $1", keyless, "its key is gone, but"),
    ] {
        assert_eq!(scene.run(sql, id).await, 1);
        let (_, faults) = scene.faults().await;
        assert!(faults.iter().any(|it| it.contains(&id.to_string()) && it.contains(what)), "{what}: {faults:?}");
    }
    let alter = "UPDATE events SET body = replace(body, '\"u-3\"', '\"u-9\"') WHERE customer_id = $1";
    assert_eq!(scene.run(alter, keyless).await, 3);
    let (_, faults) = scene.faults().await;
    assert!(faults.iter().any(|it| it.contains(&keyless.to_string())), "{faults:?}");
    // Nothing is appended to a chain that has lost its key.
    let mut tx = scene.store().begin().await.unwrap();
    let error = customers::lock(&mut tx, keyless).await.unwrap_err();
    assert!(error.to_string().contains("customers.event_key"), "{error}");
    tx.rollback().await.unwrap();
}

async fn times_that_go_back_are_found(test: TestStore) {
    let scene = Scene::new(test).await;
    scene.clock.advance(std::time::Duration::from_secs(60));
    let id = scene.sealed(1).await;
    let late = Clock::manual(START, 9);
    let behind = Scene { test: scene.test, clock: late };
    // A node whose clock is behind: its events have the time of the last one.
    behind.moved(id, &[Move::Approve]).await;
    assert_eq!(behind.faults().await.1, Vec::<String>::new());
    // Who puts the end of the chain back makes the next event too early.
    let sql = "UPDATE customers SET event_at = (SELECT created_at FROM programmes LIMIT 1) WHERE id = $1";
    assert_eq!(behind.run(sql, id).await, 1);
    behind.moved(id, &[Move::Deactivate]).await;
    let (_, faults) = behind.faults().await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].ends_with("at place 5: its time is before that of the event before"), "{faults:?}");
}

async fn chains_of_version_1_are_verified_and_sealed(test: TestStore) {
    let scene = Scene::new(test).await;
    // More than one batch.
    let customers = 130;
    for number in 1..=customers {
        scene.customer(number, None).await;
    }
    let newer = scene.sealed(1000).await;
    events::place(scene.store()).await.unwrap();
    let placed = events::last_position(&mut scene.store().reader().await.unwrap(), PROGRAMME).await.unwrap();
    let sealed =
        seals::seal(scene.store(), &scene.clock, |told| assert!(matches!(told, Notice::Progress(_)))).await.unwrap();
    assert_eq!((sealed.chains, sealed.broken), (u64::try_from(customers).unwrap(), 0));
    let all = u64::try_from(customers).unwrap();
    assert_eq!(scene.faults().await, (Read { customers: all + 1, events: 4 * all + 3 }, Vec::new()));
    // Nothing of it is done twice, and consumers see nothing of it.
    let again = seals::seal(scene.store(), &scene.clock, |_| {}).await.unwrap();
    assert_eq!(again.chains, 0);
    events::place(scene.store()).await.unwrap();
    let mut reader = scene.store().reader().await.unwrap();
    assert_eq!(events::last_position(&mut reader, PROGRAMME).await.unwrap(), placed);
    let wanted = Wanted { programme_id: PROGRAMME, entities: Vec::new(), customer_id: None };
    let seen = events::stream(&mut reader, &wanted, 0, 1000).await.unwrap();
    assert_eq!(seen.len(), 3 * (usize::try_from(customers).unwrap() + 1));
    assert!(seen.iter().all(|event| !event.body.contains("chain.sealed")));
    drop(reader);
    // Both go on with version 2.
    for id in [Uuid::from_u128(1 << 64), newer] {
        scene.moved(id, &[Move::Approve]).await;
        let mut reader = scene.store().reader().await.unwrap();
        let last = events::trail(&mut reader, id, None, 2).await.unwrap();
        assert_eq!((last[0].hash_version, last[0].commitments.len()), (2, 64));
        assert_eq!(last[1].event_type() == "chain.sealed", id != newer);
    }
    assert_eq!(scene.faults().await.1, Vec::<String>::new());
    // A seal cannot be taken for another.
    let first = Uuid::from_u128(1 << 64);
    scene
        .run(
            "UPDATE events SET body = replace(body, '\"events\":3', '\"events\":2') WHERE customer_id = $1 AND seq = 4",
            first,
        )
        .await;
    let (_, faults) = scene.faults().await;
    assert!(faults.iter().any(|fault| fault.contains("it does not seal the events before it")), "{faults:?}");
}

async fn a_chain_that_does_not_verify_is_sealed_as_broken(test: TestStore) {
    let scene = Scene::new(test).await;
    let (good, bad, gone) =
        (scene.customer(1, None).await, scene.customer(2, None).await, scene.customer(3, None).await);
    scene.run("UPDATE events SET actor = 'nobody' WHERE customer_id = $1 AND seq = 2", bad).await;
    scene.run("DELETE FROM events WHERE customer_id = $1", gone).await;
    let mut told = Vec::new();
    let sealed = seals::seal(scene.store(), &scene.clock, |it| {
        if let Notice::Broken(fault) = it {
            told.push(fault.customer_id);
        }
    });
    let sealed = sealed.await.unwrap();
    assert_eq!((sealed.chains, sealed.broken, told), (3, 2, vec![bad, gone]));
    let (_, faults) = scene.faults().await;
    for id in [bad, gone] {
        let of =
            |fault: &&String| fault.contains(&id.to_string()) && fault.contains("did not verify when it was sealed");
        assert_eq!(faults.iter().filter(of).count(), 1, "{faults:?}");
    }
    assert!(!faults.iter().any(|fault| fault.contains(&good.to_string())), "{faults:?}");
}
