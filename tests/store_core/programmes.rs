//! Programmes: names that are given once, pauses of those that are disabled.

use std::time::Duration;

use customerd::app::{NewPartner, create_programme, enrol};
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::store::{Connection as _, Revoked, Standing, programmes, signing_keys, still_valid};
use uuid::Uuid;

use crate::pooler::behind_a_pooler;
use crate::support::stores::{TestStore, on_both};

on_both![a_name_is_given_once, many_callers_are_checked_at_once, pauses_are_kept];
behind_a_pooler![a_name_is_given_once, many_callers_are_checked_at_once, pauses_are_kept];

fn addresses() -> (String, String) {
    (String::new(), String::new())
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_764_000_000), 0)
}

async fn a_name_is_given_once(test: TestStore) {
    let (store, clock) = (&test.store, clock());
    let new = |name| NewPartner {
        name,
        sandbox: true,
        public_key: None,
        credentials: None,
        allow_duplicate_name: false,
        act: None,
    };
    let both = futures::join!(
        enrol(store, &clock, new("Sandbox"), addresses()),
        enrol(store, &clock, new("Sandbox"), addresses())
    );
    let made = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(made.iter().filter(|made| made.is_some()).count(), 1);
    assert!(enrol(store, &clock, new("Other"), addresses()).await.unwrap().is_some());
    // Those of before have it too.
    let old = create_programme(store, &clock, ("Old", true), addresses()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.query("DELETE FROM programme_names WHERE programme_id = $1").bind(old.programme_id).execute().await.unwrap();
    tx.commit().await.unwrap();
    assert!(enrol(store, &clock, new("Old"), addresses()).await.unwrap().is_none());
    assert_eq!(programmes::list(&mut store.reader().await.unwrap()).await.unwrap().len(), 3);
}

async fn many_callers_are_checked_at_once(test: TestStore) {
    let (store, clock) = (&test.store, clock());
    let mut standings = Vec::new();
    for name in ["a", "b", "c"] {
        let made = create_programme(store, &clock, (name, true), addresses()).await.unwrap();
        standings.push(Standing { programme_id: made.programme_id, generation: 1, key_id: Some(made.key_id) });
    }
    // Another's key is no key of this one; a caller over gRPC has none.
    standings.push(Standing { key_id: standings[1].key_id.clone(), ..standings[0].clone() });
    standings.push(Standing { key_id: None, ..standings[0].clone() });
    standings.push(Standing { programme_id: Uuid::nil(), generation: 1, key_id: None });
    let first = standings[0].clone();
    standings.extend((0..300).map(|_| Standing { key_id: Some(clock.id().to_string()), ..first.clone() }));
    let all: Vec<&Standing> = standings.iter().collect();
    let told = still_valid(&mut store.reader().await.unwrap(), &all).await.unwrap();
    let (credentials, key) = (Some(Revoked::Credentials), Some(Revoked::SigningKey));
    assert_eq!(told[..6], [None, None, None, key, None, credentials]);
    assert!(told[6..].iter().all(|it| *it == key));
    let mut tx = store.begin().await.unwrap();
    signing_keys::delete(&mut tx, all[0].programme_id, None).await.unwrap();
    programmes::set_credentials(&mut tx, all[1].programme_id, None, clock.now()).await.unwrap();
    programmes::set_disabled(&mut tx, all[2].programme_id, true, clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    let mut reader = store.reader().await.unwrap();
    assert_eq!(still_valid(&mut reader, &all[..5]).await.unwrap(), [key, credentials, credentials, key, None]);
    assert!(still_valid(&mut reader, &[]).await.unwrap().is_empty());
}

async fn pauses_are_kept(test: TestStore) {
    let (store, clock) = (&test.store, clock());
    let id = create_programme(store, &clock, ("a", true), addresses()).await.unwrap().programme_id;
    let start = clock.now();
    let mut before = false;
    for disabled in [true, true, false, false, true, false] {
        clock.advance(Duration::from_secs(10));
        let mut tx = store.begin().await.unwrap();
        let changed = programmes::set_disabled(&mut tx, id, disabled, clock.now()).await.unwrap();
        assert_eq!(changed, disabled != std::mem::replace(&mut before, disabled));
        tx.commit().await.unwrap();
    }
    let at = |seconds: i64| start.micros() + seconds * 1_000_000;
    let mut reader = store.reader().await.unwrap();
    let row: (String, bool, i64) =
        reader.query("SELECT pauses, disabled, generation FROM programmes WHERE id = $1").bind(id).one().await.unwrap();
    assert_eq!(row, (format!("[[{},{}],[{},{}]]", at(10), at(30), at(50), at(60)), false, 3), "raised twice");
    let mut tx = store.begin().await.unwrap();
    assert!(!programmes::set_disabled(&mut tx, Uuid::nil(), false, start).await.unwrap());
}
