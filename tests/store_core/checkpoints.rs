//! What checkpoints show: deletions that no chain shows, with the time since when.

use customerd::domain::checkpoint::Checkpoint;
use customerd::domain::customer::Move;
use customerd::sealing::{EncryptionKey, Keyring};
use customerd::signature::{Algorithm, PrivateKey};
use customerd::store::Connection as _;
use customerd::store::audit::checkpoints::Covered;
use customerd::store::audit::{Read, checkpoints, keys};
use customerd::store::reseal;
use secrecy::ExposeSecret as _;

use crate::audit::Scene;
use crate::support::stores::{TestStore, on_both};

on_both![
    what_was_deleted_is_found_with_the_time_since_when,
    checkpoints_that_were_altered_or_deleted_are_found,
    a_copy_shows_a_tail_that_was_cut_with_its_checkpoints,
    makers_at_once_make_one_chain_of_checkpoints,
    a_key_that_lay_in_the_clear_signs_no_more,
    a_key_that_somebody_put_there_is_not_trusted,
    nothing_is_verified_where_there_is_nothing,
    what_no_checkpoint_covers_is_told,
];

async fn what_was_deleted_is_found_with_the_time_since_when(test: TestStore) {
    let scene = Scene::new(test).await;
    let (one, two) = (scene.sealed(1).await, scene.sealed(2).await);
    scene.checkpoint().await;
    assert!(scene.checkpoint().await.is_empty(), "nothing was committed");
    let three = scene.sealed(3).await;
    scene.checkpoint().await;
    scene.moved(one, &[Move::Approve]).await;
    scene.checkpoint().await;
    assert_eq!(scene.missing(&[]).await, (3, Vec::new()));
    // The customer with everything of it.
    scene.run("DELETE FROM tasks WHERE customer_id = $1", three).await;
    scene.run("DELETE FROM events WHERE customer_id = $1", three).await;
    scene.run("DELETE FROM customers WHERE id = $1", three).await;
    assert_eq!(scene.faults().await.1, Vec::<String>::new(), "no chain shows it");
    let (_, faults) = scene.missing(&[]).await;
    let expected = "checkpoint 2 of 2025-11-24T16:03:00Z: of the events committed since 2025-11-24T16:01:00Z, 3 missing, \
                    at positions 7, 8, 9: deleted since then";
    assert_eq!(faults, [expected]);
    // The newest event, with the customer as it was before.
    let sql = "UPDATE customers SET status = 'verifying', version = 3, event_seq = 3, \
               event_head = (SELECT hash FROM events WHERE customer_id = $1 AND seq = 3) WHERE id = $1";
    scene.run("DELETE FROM events WHERE customer_id = $1 AND seq = 4", one).await;
    scene.run(sql, one).await;
    assert_eq!(scene.faults().await.1, Vec::<String>::new(), "no chain shows it");
    let (_, faults) = scene.missing(&[]).await;
    assert_eq!(faults.len(), 2);
    assert!(faults[1].contains("1 missing, at positions 10: deleted"), "{faults:?}");
    // An event at a position that no consumer reads, and one that has another hash.
    let hide = "UPDATE events SET position = -position WHERE customer_id = $1 AND seq = 1";
    scene.run(hide, two).await;
    let (_, faults) = scene.missing(&[]).await;
    assert_eq!(faults.len(), 3, "{faults:?}");
    scene.run(hide, two).await;
    scene.run("UPDATE events SET hash = previous_hash WHERE customer_id = $1 AND seq = 2", two).await;
    let (_, faults) = scene.missing(&[]).await;
    assert!(faults[0].starts_with("checkpoint 1 of ") && faults[0].ends_with("altered since then"), "{faults:?}");
}

async fn checkpoints_that_were_altered_or_deleted_are_found(test: TestStore) {
    let scene = Scene::new(test).await;
    for number in 1..=5 {
        scene.sealed(number).await;
        scene.checkpoint().await;
    }
    assert_eq!(scene.missing(&[]).await, (5, Vec::new()));
    let run = async |sql: &'static str| {
        let mut tx = scene.store().begin().await.unwrap();
        let changed = tx.query(sql).execute().await.unwrap();
        let mut faults = Vec::new();
        tx.commit().await.unwrap();
        checkpoints::verify(scene.store(), &[], |fault| faults.push(fault)).await.unwrap();
        (changed, faults)
    };
    for (alter, restore) in [
        (
            "UPDATE audit_checkpoints SET events = events + 1 WHERE seq = 3",
            "UPDATE audit_checkpoints SET events = events - 1 WHERE seq = 3",
        ),
        (
            "UPDATE audit_checkpoints SET position = position - 1 WHERE seq = 3",
            "UPDATE audit_checkpoints SET position = position + 1 WHERE seq = 3",
        ),
        ("UPDATE audit_checkpoints SET seq = 7 WHERE seq = 3", "UPDATE audit_checkpoints SET seq = 3 WHERE seq = 7"),
    ] {
        let (changed, faults) = run(alter).await;
        assert_eq!(changed, 1);
        assert!(!faults.is_empty(), "{alter}");
        assert_eq!(run(restore).await, (1, Vec::new()), "{restore}");
    }
    let (_, faults) = run("UPDATE audit_checkpoints SET signature = running_hash WHERE seq = 2").await;
    assert!(faults[0].contains("checkpoint 2 of ") && faults[0].contains("not by this service's key"), "{faults:?}");
    let (_, faults) = run("DELETE FROM audit_checkpoints WHERE seq = 2").await;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("it follows checkpoint 1: checkpoints are missing"), "{faults:?}");
}

async fn a_copy_shows_a_tail_that_was_cut_with_its_checkpoints(test: TestStore) {
    let scene = Scene::new(test).await;
    let kept = scene.sealed(1).await;
    scene.checkpoint().await;
    let gone = scene.sealed(2).await;
    let copies = scene.checkpoint().await;
    let copies: Vec<_> = copies.iter().map(|copy| Checkpoint::parse(&copy.json()).unwrap()).collect();
    assert_eq!(scene.missing(&copies).await, (2, Vec::new()));
    scene.run("DELETE FROM tasks WHERE customer_id = $1", gone).await;
    scene.run("DELETE FROM events WHERE customer_id = $1", gone).await;
    scene.run("DELETE FROM customers WHERE id = $1", gone).await;
    scene.run("DELETE FROM audit_checkpoints WHERE seq = 2 AND events >= 6 AND $1 IS NOT NULL", kept).await;
    assert_eq!(scene.missing(&[]).await, (1, Vec::new()), "nothing inside the database shows it");
    let (_, faults) = scene.missing(&copies).await;
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("it was copied and is not in the database"), "{faults:?}");
    assert!(faults[1].contains("3 missing, at positions 4, 5, 6"), "{faults:?}");
    // Events and a checkpoint in their places do not help.
    scene.sealed(3).await;
    scene.checkpoint().await;
    let (_, faults) = scene.missing(&copies).await;
    assert!(faults.iter().any(|fault| fault.contains("it is not the one that was copied")), "{faults:?}");
    // Nor does the copy of the one that was made in its place.
    let made = checkpoints::last(&mut scene.store().reader().await.unwrap()).await.unwrap();
    let log: Vec<_> = copies.into_iter().chain(made).collect();
    let (_, faults) = scene.missing(&log).await;
    assert!(faults[0].starts_with("checkpoint 2 was copied as made at "), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("it is not the one that was copied")), "{faults:?}");
}

async fn makers_at_once_make_one_chain_of_checkpoints(test: TestStore) {
    let scene = Scene::new(test).await;
    let key = keys::signing_key(scene.store(), &scene.clock).await.unwrap();
    for number in 1..=6 {
        scene.sealed(number).await;
        let makers = (0..4).map(|_| checkpoints::make(scene.store(), &key, &scene.clock));
        let made: usize = futures::future::join_all(makers).await.into_iter().map(|made| made.unwrap().len()).sum();
        assert_eq!(made, 1);
    }
    assert_eq!(scene.missing(&[]).await, (6, Vec::new()));
}

async fn nothing_is_verified_where_there_is_nothing(test: TestStore) {
    let scene = Scene::new(test).await;
    assert_eq!(scene.faults().await, (Read::default(), Vec::new()));
    assert_eq!(scene.missing(&[]).await, (0, Vec::new()));
    assert!(scene.checkpoint().await.is_empty());
}

async fn a_key_that_somebody_put_there_is_not_trusted(test: TestStore) {
    let scene = Scene::new(test).await;
    scene.store().sealer().use_keys(Keyring::new(vec![EncryptionKey::new([7; 32])]));
    scene.sealed(1).await;
    scene.checkpoint().await;
    // Who writes to the database, but has no encryption key, adds a key of their own and signs with it.
    let theirs = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let pem = [b"\0", theirs.to_pem().expose_secret().as_bytes()].concat();
    let mut tx = scene.store().begin().await.unwrap();
    tx.query("INSERT INTO audit_keys (seq, sealed_key, created_at) SELECT 2, $1, created_at FROM audit_keys")
        .bind(pem.clone())
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    scene.sealed(2).await;
    checkpoints::make(scene.store(), &theirs, &scene.clock).await.unwrap();
    for _ in 0..2 {
        let (_, faults) = scene.missing(&[]).await;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("audit_keys.sealed_key is not sealed"), "{faults:?}");
        assert!(
            faults[1].contains("checkpoint 2 of ") && faults[1].contains("not by this service's key"),
            "{faults:?}"
        );
        // Sealing what is in the clear does not seal it for them, and it signs nothing.
        reseal::seal_clear(scene.store(), &scene.clock).await.unwrap();
        let ours = keys::signing_key(scene.store(), &scene.clock).await.unwrap();
        assert_ne!(ours.public_key().thumbprint(), theirs.public_key().thumbprint());
    }
}

async fn what_no_checkpoint_covers_is_told(test: TestStore) {
    let scene = Scene::new(test).await;
    let covered = async |copies: &[Checkpoint]| {
        let mut faults = Vec::new();
        (checkpoints::verify(scene.store(), copies, |fault| faults.push(fault)).await.unwrap(), faults)
    };
    assert_eq!(covered(&[]).await, (Covered::default(), Vec::new()));
    let first = scene.clock.now();
    let id = scene.sealed(1).await;
    assert_eq!(covered(&[]).await, (Covered { checkpoints: 0, until: Some(first) }, Vec::new()));
    assert!(checkpoints::is_due(scene.store()).await.unwrap());
    scene.checkpoint().await;
    assert!(!checkpoints::is_due(scene.store()).await.unwrap());
    assert_eq!(covered(&[]).await, (Covered { checkpoints: 1, until: None }, Vec::new()));
    let second = scene.clock.now();
    scene.moved(id, &[Move::Approve]).await;
    assert_eq!(covered(&[]).await, (Covered { checkpoints: 1, until: Some(second) }, Vec::new()));
    // Everything is gone but the key that has signed.
    for sql in ["DELETE FROM tasks", "DELETE FROM events", "DELETE FROM customers", "DELETE FROM audit_checkpoints"] {
        let mut tx = scene.store().begin().await.unwrap();
        tx.query(sql).execute().await.unwrap();
        tx.commit().await.unwrap();
    }
    let (none, faults) = covered(&[]).await;
    assert_eq!(none, Covered::default());
    assert!(faults[0].contains("neither checkpoints nor events"), "{faults:?}");
}

async fn a_key_that_lay_in_the_clear_signs_no_more(test: TestStore) {
    let scene = Scene::new(test).await;
    scene.sealed(1).await;
    scene.checkpoint().await;
    let old = keys::signing_key(scene.store(), &scene.clock).await.unwrap();
    scene.store().sealer().use_keys(Keyring::new(vec![EncryptionKey::new([7; 32])]));
    reseal::seal_clear(scene.store(), &scene.clock).await.unwrap();
    scene.sealed(2).await;
    scene.checkpoint().await;
    assert_eq!(scene.missing(&[]).await, (2, Vec::new()));
    assert_eq!(scene.faults().await.1, Vec::<String>::new());
    let new = keys::signing_key(scene.store(), &scene.clock).await.unwrap();
    assert_ne!(new.public_key().thumbprint(), old.public_key().thumbprint());
    // Who has the old one cannot go on with it.
    scene.sealed(3).await;
    checkpoints::make(scene.store(), &old, &scene.clock).await.unwrap();
    let (_, faults) = scene.missing(&[]).await;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("checkpoint 3 of ") && faults[0].contains("not by this service's key"), "{faults:?}");
}
