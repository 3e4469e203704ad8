//! Lists of several nodes: which are in force.

use super::*;
use crate::screening::ListFile;
use crate::store::{Store, StoreOptions, nodes};

/// A node with one list, or none.
struct Node {
    id: Uuid,
    unused: Option<Duration>,
    file: tempfile::NamedTempFile,
    lists: Lists,
    in_force: Option<Fingerprint>,
}

impl Node {
    fn new(number: u8) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("0x{number:040x}")).unwrap();
        let lists = Lists::new(vec![ListFile::open(file.path()).unwrap()]);
        Self { id: Uuid::from_u128(number.into()), unused: None, file, lists, in_force: None }
    }

    fn reads(&self, number: u8, clock: &Clock) {
        let new = self.file.path().with_extension("new");
        std::fs::write(&new, format!("0x{number:040x}")).unwrap();
        std::fs::rename(new, self.file.path()).unwrap();
        self.lists.reload(clock.monotonic());
    }

    /// Whether its lists are in force.
    async fn enters(&mut self, engine: &Engine) -> bool {
        let mut tx = engine.store().begin().await.unwrap();
        if nodes::all(&mut tx).await.unwrap().iter().all(|node| node.id != self.id) {
            nodes::insert(&mut tx, self.id, engine.clock().now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let (in_force, unused) = (self.in_force, self.unused);
        let mut scan = Scan { engine, lists: &self.lists, in_force, finished: None, unused, told: None };
        scan.go_on(self.id).await.unwrap();
        (self.in_force, self.unused) = (scan.in_force, scan.unused);
        assert_eq!(self.in_force.is_none(), self.lists.is_outdated());
        !self.lists.is_outdated()
    }

    async fn dies(&self, engine: &Engine) {
        let mut tx = engine.store().begin().await.unwrap();
        assert!(nodes::remove(&mut tx, self.id, None).await.unwrap());
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn the_lists_that_became_known_last_are_in_force_while_a_node_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/customerd.db", directory.path().display());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 1);
    let engine = Engine::new(store.clone(), clock.clone(), std::future::pending());
    let wait = |time| assert!(clock.advance(time));
    let mut without = Node { lists: Lists::default(), ..Node::new(0) };
    assert!(without.enters(&engine).await, "nobody has any");

    let (mut old, mut new) = (Node::new(1), Node::new(2));
    assert!(old.enters(&engine).await && old.enters(&engine).await);
    assert!(!without.enters(&engine).await, "no list is never the newer one");
    assert!(new.enters(&engine).await);
    assert!(!old.enters(&engine).await);
    // Whatever the clock is set to.
    for hours in [1, 24] {
        assert!(clock.set(clock.now() + Duration::from_hours(hours)) && !old.enters(&engine).await);
        assert!(clock.set(clock.now() - Duration::from_hours(hours)) && !old.enters(&engine).await);
    }
    // It goes on while a node has them, however long it says nothing.
    wait(10 * IN_USE);
    assert!(!old.enters(&engine).await);
    // And while it restarts.
    for _ in 0..3 {
        new.dies(&engine).await;
        assert!(!old.enters(&engine).await);
        wait(IN_USE - Duration::from_secs(1));
        assert!(!old.enters(&engine).await);
        assert!(new.enters(&engine).await && !old.enters(&engine).await);
    }
    new.dies(&engine).await;
    assert!(!old.enters(&engine).await);
    wait(IN_USE);
    assert!(old.enters(&engine).await);
    assert!(!new.enters(&engine).await);

    // Who has the lists in force may go back to older ones at once.
    old.reads(3, &clock);
    assert!(old.enters(&engine).await);
    old.reads(1, &clock);
    assert!(old.enters(&engine).await && !new.enters(&engine).await);
    old.dies(&engine).await;
    assert!(!without.enters(&engine).await);
    wait(IN_USE);
    assert!(without.enters(&engine).await && without.enters(&engine).await);
    assert!(!old.enters(&engine).await);
}
