//! Keeps the screening lists up to date, says which are in force, and screens every customer again when they have changed.
//!
//! Nodes need not have the same lists: in a rolling deployment they do not. Customers are cleared by the lists in force alone,
//! which are those that became known last, while a node has them. A node with others is outdated: it claims no customer, and what it
//! had claimed is not cleared but given back. It takes over when it has seen no node with the lists in force for [`IN_USE`], by its own
//! monotonic clock: long enough for a restart of the node that has them.
//!
//! The scan goes through the customers in order of their ids, in bounded batches, by what is in memory; where it is, is in the
//! store, so that another node goes on when this one ends. Customers that stay clear are only read. A hit rejects a customer
//! with its accounts and cards, whatever it had come to before.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use uuid::Uuid;

use super::{Engine, Failure, screening};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::customer::Status;
use crate::lifecycle::NotMoved;
use crate::screening::{Lists, Screened};
use crate::store::screening_scans::{self, Fingerprint, InForce};
use crate::store::tasks::NodeLease;
use crate::store::{Change, Error, Tx, customers};

/// How often the files are read if they have changed, and the lists in force.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// How long lists count as used after a node had them.
const IN_USE: Duration = Duration::from_mins(2);
/// How long a node may be outdated before that is an error: a deployment takes a while. The error is repeated as often.
const TOLERATED: Duration = Duration::from_mins(5);
/// Customers in one batch.
const BATCH: i64 = 500;

/// Works until the engine stops.
pub(super) async fn run(engine: &Engine, lists: Arc<Lists>) {
    let mut scan = Scan { engine, lists: &lists, in_force: None, finished: None, unused: None, told: None };
    loop {
        reload(engine.clock(), &lists).await;
        tokio::select! {
            biased;
            node = engine.alive() => {
                let Some(node) = node else { return };
                if let Err(error) = scan.go_on(node).await {
                    scan.unused = None;
                    tracing::warn!(%error, "cannot screen customers again by the changed lists: retrying");
                }
            }
            () = engine.clock().sleep(EVERY) => {}
        }
        if !engine.pause(EVERY).await {
            return;
        }
    }
}

async fn reload(clock: &Clock, lists: &Arc<Lists>) {
    if lists.is_empty() {
        return;
    }
    let (now, files) = (clock.monotonic(), Arc::clone(lists));
    if let Err(error) = tokio::task::spawn_blocking(move || files.reload(now)).await {
        tracing::error!(%error, "reading a screening list panicked: the old one stays in force");
    }
    lists.iter().for_each(|list| list.measure(clock.now()));
}

struct Scan<'a> {
    engine: &'a Engine,
    lists: &'a Lists,
    /// The lists that this node had when they were last found to be in force.
    in_force: Option<Fingerprint>,
    /// The lists by which everybody has been screened.
    finished: Option<Fingerprint>,
    /// Since when no other node was seen to have the lists in force, by the monotonic clock.
    unused: Option<Duration>,
    /// When it was last logged that the node is outdated, by the monotonic clock.
    told: Option<Duration>,
}

impl Scan<'_> {
    /// Screens every customer that has not been screened by this node's lists, unless another node does. Outdated lists count as
    /// well: what they name is no less listed.
    async fn go_on(&mut self, node: Uuid) -> Result<(), Failure> {
        let fingerprint = self.lists.fingerprint();
        self.enter(fingerprint, node).await?;
        let store = self.engine.store();
        if self.lists.is_empty() || self.finished == Some(fingerprint) {
            return Ok(());
        }
        if screening_scans::is_finished(&mut store.reader().await?, &fingerprint).await? {
            self.finished = Some(fingerprint);
            return Ok(());
        }
        self.scan(fingerprint, node).await
    }

    /// Finds out whether this node's lists are in force, and puts them in force where they are to be.
    async fn enter(&mut self, fingerprint: Fingerprint, node: Uuid) -> Result<(), Failure> {
        let (store, clock) = (self.engine.store(), self.engine.clock());
        let in_force = screening_scans::in_force(&mut store.reader().await?, node).await?;
        let is_unused = in_force.is_some_and(|newest| newest.fingerprint != fingerprint && !newest.used);
        let since = self.unused.filter(|_| is_unused);
        self.unused = since.or_else(|| is_unused.then(|| clock.monotonic()));
        let is_over = since.is_some_and(|since| clock.monotonic().saturating_sub(since) >= IN_USE);
        let entered = match in_force {
            // What most turns find: nothing is written.
            Some(InForce { fingerprint: newest, said: Some(said), .. }) if newest == fingerprint && said == newest => {
                Entered::InForce
            }
            _ => {
                let (empty, before, now) = (self.lists.is_empty(), self.in_force, clock.now());
                store.transact(&Enter { fingerprint, node, empty, before, is_over, now }).await?
            }
        };
        if entered == Entered::Begun {
            tracing::info!("the screening lists have changed: every customer that is not rejected is screened again");
            self.finished = None;
        }
        let outdated = entered == Entered::Outdated;
        self.in_force = (!outdated).then_some(fingerprint);
        self.lists.set_outdated(outdated);
        gauge!("screening_lists_outdated").set(f64::from(u8::from(outdated)));
        self.tell(outdated);
        Ok(())
    }

    fn tell(&mut self, outdated: bool) {
        let now = self.engine.clock().monotonic();
        match self.told {
            _ if !outdated => {
                if self.told.take().is_some() {
                    tracing::info!("this node's screening lists are in force: it screens customers again");
                }
            }
            None => {
                tracing::warn!(
                    "this node's screening lists are not those in force, which another node has: it leaves customers to that node, \
                     until it has the same lists or no node has had those for two minutes"
                );
                self.told = Some(now);
            }
            Some(told) if now.saturating_sub(told) >= TOLERATED => {
                tracing::error!(
                    "this node's screening lists are still not those in force: it screens nobody; give every node the same lists"
                );
                self.told = Some(now);
            }
            Some(_) => {}
        }
    }

    async fn scan(&mut self, fingerprint: Fingerprint, node: Uuid) -> Result<(), Failure> {
        let (store, clock) = (self.engine.store(), self.engine.clock());
        let lease = clock.id();
        let claim = ClaimScan { fingerprint, lease: NodeLease { id: lease, node } };
        let Some(mut position) = store.transact(&claim).await? else { return Ok(()) };
        let (mut screened, mut hits) = (0, 0);
        // Ends early when the lists change again: that is another scan.
        while self.lists.fingerprint() == fingerprint {
            let batch = screening_scans::customers(&mut store.reader().await?, position, BATCH).await?;
            for (id, account) in &batch {
                hits += u64::from(self.screen(*id, account).await?);
            }
            screened += batch.len();
            let Some((last, _)) = batch.last() else {
                let ended = store.transact(&Finish { fingerprint, lease, now: clock.now() }).await?;
                tracing::info!(screened, hits, ended, "customers were screened again by the changed lists");
                return Ok(());
            };
            position = *last;
            let kept = store.transact(&Advance { fingerprint, lease, position }).await?;
            if !kept || !self.engine.pause(Duration::ZERO).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Rejects the customer if a list names its account; whether it did.
    async fn screen(&self, customer: Uuid, account: &str) -> Result<bool, Failure> {
        let hit = match self.lists.hit(account) {
            Ok(hit) => hit,
            Err(outage) => {
                // It was screened before, by the same reader: an account that was altered since must not stop the scan.
                tracing::error!(%customer, %outage, "a customer cannot be screened again");
                None
            }
        };
        let Some(screened) = hit else { return Ok(false) };
        let rejected = self.engine.store().transact(&Reject { customer, screened, clock: self.engine.clock() }).await?;
        if rejected {
            tracing::warn!(%customer, "a customer is listed now, and was rejected");
            metrics::counter!("worker_items_total", "queue" => "screening", "outcome" => "hit").increment(1);
        }
        Ok(rejected)
    }
}

/// Whose lists are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    /// This node's, as before; or nobody's, and this node has none.
    InForce,
    /// This node's, from now on.
    Begun,
    /// Other lists.
    Outdated,
}

/// A node asks for its lists to be in force.
struct Enter {
    fingerprint: Fingerprint,
    node: Uuid,
    /// Whether the node has no list at all: that is never newer than what others have.
    empty: bool,
    /// The lists in force that the node itself had until now: it may replace them by whatever it has now.
    before: Option<Fingerprint>,
    /// Whether no node has had the lists in force for long enough.
    is_over: bool,
    now: Timestamp,
}

impl Enter {
    async fn yields_to(&self, tx: &mut Tx, newest: &InForce) -> Result<bool, Error> {
        let is_over = self.is_over && !newest.used;
        if is_over || self.before == Some(newest.fingerprint) {
            return Ok(false);
        }
        // Lists that were in force before are older, unless somebody goes back to them: then no node has the newer ones any more.
        Ok(self.empty || screening_scans::is_known(tx, &self.fingerprint).await?)
    }
}

impl Change for Enter {
    type Out = Entered;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Entered, Error> {
        let newest = screening_scans::in_force(tx, self.node).await?;
        if newest.is_none_or(|newest| newest.said != Some(self.fingerprint)) {
            screening_scans::uses(tx, self.node, &self.fingerprint).await?;
        }
        match newest {
            None if self.empty => return Ok(Entered::InForce),
            Some(newest) if newest.fingerprint == self.fingerprint => return Ok(Entered::InForce),
            Some(newest) if self.yields_to(tx, &newest).await? => return Ok(Entered::Outdated),
            _ => {}
        }
        screening_scans::begin(tx, &self.fingerprint, newest.as_ref(), self.now).await?;
        Ok(Entered::Begun)
    }
}

struct ClaimScan {
    fingerprint: Fingerprint,
    lease: NodeLease,
}

impl Change for ClaimScan {
    type Out = Option<Uuid>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Option<Uuid>, Error> {
        screening_scans::claim(tx, &self.fingerprint, self.lease).await
    }
}

struct Advance {
    fingerprint: Fingerprint,
    lease: Uuid,
    position: Uuid,
}

impl Change for Advance {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        screening_scans::advance(tx, &self.fingerprint, self.position, self.lease).await
    }
}

struct Finish {
    fingerprint: Fingerprint,
    lease: Uuid,
    now: Timestamp,
}

impl Change for Finish {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        screening_scans::finish(tx, &self.fingerprint, self.lease, self.now).await
    }
}

struct Reject<'a> {
    customer: Uuid,
    screened: Screened,
    clock: &'a Clock,
}

impl Change for Reject<'_> {
    type Out = bool;
    type Error = NotMoved;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, NotMoved> {
        let held = customers::lock(tx, self.customer).await?;
        let ended = |status| matches!(status, Status::Initiating | Status::Rejected);
        let Some(mut held) = held.filter(|held| !ended(held.customer.status)) else { return Ok(false) };
        screening::reject(tx, &mut held, &self.screened, self.clock).await?;
        Ok(true)
    }
}
