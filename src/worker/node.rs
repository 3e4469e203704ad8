//! This node among the others: it says that it is alive, and watches whether they are.
//!
//! No wall clock is compared. Each node counts its beats in the store; who has seen a counter unchanged for [`SILENT`] of its own
//! monotonic time removes that node, and with it its leases. A node that could not write its beat for [`STOPS`] sends nothing until it
//! can; one that finds itself removed goes on under a new id, without leases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::engine::Stop;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::nodes::{self, Node};
use crate::store::{Change, Error, Store, Tx};

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// A node that is not seen to beat for so long is removed.
const SILENT: Duration = Duration::from_secs(6);
/// What one observation adds to a silence at most: a node that stood still itself has observed nothing meanwhile.
const OBSERVED: Duration = Duration::from_secs(2);
/// A node that cannot say that it is alive sends nothing from then on: less than [`SILENT`], so that it stops before others begin.
const STOPS: Duration = Duration::from_secs(4);

/// This node. Clones are the same one.
#[derive(Clone)]
pub(super) struct Membership {
    clock: Clock,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Its id, once it is entered; another one when it was removed meanwhile.
    id: Option<Uuid>,
    /// When it last began to write a beat that was written, on its monotonic time.
    beaten: Duration,
    /// How many nodes there are.
    nodes: usize,
}

impl Membership {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Its id, while it is alive.
    pub(super) fn id(&self) -> Option<Uuid> {
        let State { id, beaten, .. } = *self.state.borrow();
        id.filter(|_| self.clock.monotonic().saturating_sub(beaten) < STOPS)
    }

    /// Whether it is alive and has been since it had that id.
    pub(super) fn is(&self, id: Uuid) -> bool {
        self.id() == Some(id)
    }

    /// How many nodes there are, this one included.
    pub(super) fn nodes(&self) -> usize {
        self.state.borrow().nodes.max(1)
    }

    /// Done when it is alive: its id.
    pub(super) async fn alive(&self) -> Uuid {
        let mut beats = self.state.subscribe();
        loop {
            if let Some(id) = self.id() {
                return id;
            }
            // The sender lives as long as `self`.
            let _ = beats.changed().await;
        }
    }

    /// Beats until `stop` is done, then leaves: its leases are free at once.
    pub(super) async fn run(&self, store: &Store, stop: Stop) {
        let mut others = Others::default();
        loop {
            let began = self.clock.monotonic();
            match self.beat(store, began).await {
                Ok(all) => self.remove_silent(store, others.observe(&all, began)).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot say that this node is alive");
                    others = Others::default();
                }
            }
            tokio::select! {
                biased;
                () = stop.clone() => break,
                () = self.clock.sleep_to(began + BEAT) => {}
            }
        }
        let id = self.state.send_replace(State::default()).id;
        if let Some(id) = id
            && let Err(error) = store.transact(&Remove(Node { id, beats: 0 }, Why::Leaves)).await
        {
            tracing::warn!(%error, "cannot leave: other nodes take over in a few seconds");
        }
    }

    /// Writes a beat. Gives the other nodes, as they are.
    async fn beat(&self, store: &Store, began: Duration) -> Result<Vec<Node>, Error> {
        let known = self.state.borrow().id;
        let mut beat =
            Beat { id: known.unwrap_or_else(|| self.clock.id()), is_new: known.is_none(), now: self.clock.now() };
        let mut all = store.transact(&beat).await?;
        if all.is_none() {
            tracing::warn!(
                "this node did not beat for too long and was removed by another one: it goes on without leases"
            );
            beat = Beat { id: self.clock.id(), is_new: true, ..beat };
            all = store.transact(&beat).await?;
        }
        let mut all = all.unwrap_or_default();
        self.state.send_replace(State { id: Some(beat.id), beaten: began, nodes: all.len() });
        all.retain(|node| node.id != beat.id);
        Ok(all)
    }

    async fn remove_silent(&self, store: &Store, silent: Vec<Node>) {
        for node in silent {
            let id = node.id;
            match store.transact(&Remove(node, Why::Silent)).await {
                Ok(true) => tracing::warn!(node = %id, "a node is dead: its work is taken up by others"),
                Ok(false) => {}
                Err(error) => tracing::warn!(node = %id, %error, "cannot remove a dead node"),
            }
        }
    }
}

/// What was observed of other nodes: their last beat, when that was seen last, and for how long it has been seen.
#[derive(Default)]
struct Others(HashMap<Uuid, (i64, Duration, Duration)>);

impl Others {
    /// Notes an observation at this monotonic time. Gives the nodes that have been silent for too long.
    fn observe(&mut self, nodes: &[Node], at: Duration) -> Vec<Node> {
        self.0.retain(|id, _| nodes.iter().any(|node| node.id == *id));
        let mut silent = Vec::new();
        for node in nodes {
            let (beats, seen, silence) = self.0.entry(node.id).or_insert((node.beats, at, Duration::ZERO));
            let since = at.saturating_sub(*seen).min(OBSERVED);
            (*silence, *seen) = (if *beats == node.beats { *silence + since } else { Duration::ZERO }, at);
            *beats = node.beats;
            if *silence >= SILENT {
                silent.push(node.clone());
            }
        }
        silent
    }
}

struct Beat {
    id: Uuid,
    is_new: bool,
    now: Timestamp,
}

impl Change for Beat {
    /// Every node; `None` when this one was removed.
    type Out = Option<Vec<Node>>;
    type Error = Error;

    // A beat that is lost in a crash of the database is followed by others.
    const DURABLE: bool = false;

    async fn apply(&self, tx: &mut Tx) -> Result<Option<Vec<Node>>, Error> {
        if self.is_new {
            nodes::insert(tx, self.id, self.now).await?;
        } else if !nodes::beat(tx, self.id).await? {
            return Ok(None);
        }
        Ok(Some(nodes::all(tx).await?))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Leaves,
    Silent,
}

struct Remove(Node, Why);

impl Change for Remove {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        nodes::remove(tx, self.0.id, (self.1 == Why::Silent).then_some(self.0.beats)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u128, beats: i64) -> Node {
        Node { id: Uuid::from_u128(id), beats }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_is_silent_after_six_seconds_without_a_beat() {
        let mut others = Others::default();
        for second in 0..6 {
            assert_eq!(others.observe(&[node(1, 7), node(2, second)], at(100 + second.unsigned_abs())), []);
        }
        assert_eq!(others.observe(&[node(1, 7), node(2, 6)], at(106)), [node(1, 7)]);
        // It was alive after all, or another one removed it.
        assert_eq!(others.observe(&[node(1, 8), node(2, 7)], at(107)), []);
        assert_eq!(others.observe(&[node(2, 8)], at(108)), []);
        assert_eq!(others.observe(&[node(1, 8), node(2, 9)], at(120)), []);
    }

    #[test]
    fn a_node_that_stood_still_has_observed_nothing_meanwhile() {
        let mut others = Others::default();
        for (second, silent) in [(0, false), (3600, false), (7200, false), (7201, false), (7202, true)] {
            assert_eq!(!others.observe(&[node(1, 7)], at(second)).is_empty(), silent, "{second}");
        }
    }

    #[test]
    fn a_failed_observation_begins_again() {
        let mut others = Others::default();
        for second in 0..5 {
            others.observe(&[node(1, 7)], at(second));
        }
        // As after a beat that failed.
        others = Others::default();
        for second in 6..12 {
            assert_eq!(others.observe(&[node(1, 7)], at(second)), []);
        }
        assert_eq!(others.observe(&[node(1, 7)], at(12)).len(), 1);
    }
}
