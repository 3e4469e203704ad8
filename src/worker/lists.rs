//! Keeps the screening lists up to date, and screens every customer again when they have changed.
//!
//! The scan goes through the customers in order of their ids, in bounded batches, by what is in memory; where it is, is in the
//! store, so that another node goes on when this one ends. Customers that stay clear are only read. A hit rejects a customer
//! with its accounts and cards, whatever it had come to before.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Engine, Failure, screening};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::customer::Status;
use crate::lifecycle::NotMoved;
use crate::screening::{Lists, Screened};
use crate::store::screening_scans::{self, Fingerprint};
use crate::store::{Change, Error, Tx, customers};

/// How often the files are checked for changes.
const EVERY: Duration = Duration::from_secs(2);
/// How long after a change the scan begins: by then the other nodes have read the new list too, so that no customer is cleared
/// by the old one after the scan has passed it.
const SETTLED: Duration = Duration::from_secs(10);
/// Customers in one batch.
const BATCH: i64 = 500;
/// How long a batch may take.
const LEASE: Duration = Duration::from_secs(60);

/// Works until the engine stops.
pub(super) async fn run(engine: &Engine, lists: Arc<Lists>) {
    if lists.is_empty() {
        return;
    }
    let mut scan = Scan { engine, lists: &lists, in_force: None, finished: false };
    loop {
        reload(engine.clock(), &lists).await;
        if let Err(error) = scan.go_on().await {
            tracing::warn!(%error, "cannot screen customers again by the changed lists: retrying");
        }
        if !engine.pause(EVERY).await {
            return;
        }
    }
}

async fn reload(clock: &Clock, lists: &Arc<Lists>) {
    let (now, files) = (clock.monotonic(), Arc::clone(lists));
    if let Err(error) = tokio::task::spawn_blocking(move || files.reload(now)).await {
        tracing::error!(%error, "reading a screening list panicked: the old one stays in force");
    }
    lists.iter().for_each(|list| list.measure(clock.now()));
}

struct Scan<'a> {
    engine: &'a Engine,
    lists: &'a Lists,
    /// The lists that this node has recorded in the store.
    in_force: Option<Fingerprint>,
    /// Whether everybody has been screened by them.
    finished: bool,
}

impl Scan<'_> {
    /// Screens the customers that the lists in force have not screened yet, unless another node does.
    async fn go_on(&mut self) -> Result<(), Failure> {
        let (store, clock) = (self.engine.store(), self.engine.clock());
        let fingerprint = self.lists.fingerprint();
        if self.in_force != Some(fingerprint) {
            if store.transact(&Begin { fingerprint, now: clock.now() }).await? {
                tracing::info!(
                    "the screening lists have changed: every customer that is not rejected is screened again"
                );
            }
            (self.in_force, self.finished) = (Some(fingerprint), false);
        }
        if self.finished {
            return Ok(());
        }
        self.finished = screening_scans::is_finished(&mut store.reader().await?, &fingerprint).await?;
        if self.finished {
            return Ok(());
        }
        let lease = clock.id();
        let claim = Claim { fingerprint, lease, now: clock.now() };
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
            let kept = store.transact(&Advance { fingerprint, lease, position, now: clock.now() }).await?;
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

struct Begin {
    fingerprint: Fingerprint,
    now: Timestamp,
}

impl Change for Begin {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        screening_scans::begin(tx, &self.fingerprint, self.now, self.now + SETTLED).await
    }
}

struct Claim {
    fingerprint: Fingerprint,
    lease: Uuid,
    now: Timestamp,
}

impl Change for Claim {
    type Out = Option<Uuid>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Option<Uuid>, Error> {
        screening_scans::claim(tx, &self.fingerprint, self.now, (self.lease, self.now + LEASE)).await
    }
}

struct Advance {
    fingerprint: Fingerprint,
    lease: Uuid,
    position: Uuid,
    now: Timestamp,
}

impl Change for Advance {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        screening_scans::advance(tx, &self.fingerprint, self.position, (self.lease, self.now + LEASE)).await
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
