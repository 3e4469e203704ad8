//! Plays the deployment service for sandbox programmes: nothing is deployed, but the address is the one that CREATE2 would
//! give (EIP-1014), so that it can be checked by anybody.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::tasks::{self, ClaimTasks, GiveBack};
use super::{Backlog, Failure, Queue, Taken};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::account::{Factory, Move, Status};
use crate::domain::event::Origin;
use crate::lifecycle::{NotMoved, Step, account_moves};
use crate::store::tasks::{Kind, NodeLease, Task, retry, settle};
use crate::store::{Change, Error, Store, Tx, accounts, customers};

/// How long after a try that took too long the next may begin.
const AGAIN: Duration = Duration::from_secs(10);

/// Deploys sandbox programmes' accounts.
pub struct SandboxDeployments {
    store: Store,
    clock: Clock,
    factory: Factory,
}

/// A claimed account.
pub struct Claimed {
    task: Task,
    lease: Uuid,
    owner: String,
}

impl SandboxDeployments {
    /// The queue on a store, and what it pretends to deploy by.
    pub fn new(store: Store, clock: Clock, factory: Factory) -> Self {
        Self { store, clock, factory }
    }
}

impl Queue for SandboxDeployments {
    type Item = Claimed;
    /// The CAIP-10 account id.
    type Done = String;

    const NAME: &'static str = "sandbox_deployment";
    const DEADLINE: Option<Duration> = Some(Duration::from_secs(1));

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        tasks::next_due(&self.store, (Kind::SandboxDeployment, false), self.clock.now()).await
    }

    fn id(item: &Claimed) -> Uuid {
        item.task.id
    }

    async fn give_back(&self, node: Uuid, in_flight: &[Uuid]) -> Result<(), Failure> {
        self.store.transact(&GiveBack { kind: Kind::SandboxDeployment, node, in_flight }).await?;
        Ok(())
    }

    async fn claim(&self, node: Uuid, now: Timestamp, limit: usize) -> Result<Taken<Claimed>, Failure> {
        let lease = self.clock.id();
        let by = NodeLease { id: lease, node };
        let claim = ClaimTasks { kind: Kind::SandboxDeployment, sandboxes_only: false, now, lease: by, limit };
        let claimed = claim.make(&self.store).await?;
        if claimed.is_empty() {
            return Ok(Taken::of(Vec::new(), limit));
        }
        let ids = claimed.iter().map(|task| task.customer_id);
        let owners = customers::chain_ids(&mut self.store.reader().await?, ids).await?;
        let owners: HashMap<Uuid, String> = owners.into_iter().collect();
        let with_owner = |task: Task| {
            let owner = owners.get(&task.customer_id)?.clone();
            Some(Claimed { task, lease, owner })
        };
        Ok(Taken::of(claimed.into_iter().filter_map(with_owner).collect(), limit))
    }

    async fn perform(&self, item: &Claimed) -> String {
        self.factory.chain_id(item.task.entity_id, &item.owner)
    }

    async fn settle(&self, item: Claimed, done: Option<String>) -> Result<&'static str, Failure> {
        let Some(chain_id) = done else {
            let late = TimedOut { task: item.task.id, lease: item.lease, now: self.clock.now() };
            return Ok(if self.store.transact(&late).await? { "retry" } else { "lost" });
        };
        Ok(self.store.transact(&Settlement { clock: &self.clock, item, chain_id }).await?)
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        tasks::backlog(&self.store, Kind::SandboxDeployment).await
    }
}

/// A try that gave nothing in time. It is noted, so that the queue's lag counts it.
struct TimedOut {
    task: Uuid,
    lease: Uuid,
    now: Timestamp,
}

impl Change for TimedOut {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        retry(tx, (self.task, self.lease), (self.now, AGAIN), "no address before the deadline").await
    }
}

struct Settlement<'a> {
    clock: &'a Clock,
    item: Claimed,
    chain_id: String,
}

impl Change for Settlement<'_> {
    type Out = &'static str;
    type Error = NotMoved;

    async fn apply(&self, tx: &mut Tx) -> Result<&'static str, NotMoved> {
        let task = &self.item.task;
        let mut held = accounts::lock(tx, task.entity_id).await?.ok_or(Error::NotFound)?;
        if !settle(tx, task.id, self.item.lease).await? {
            return Ok("lost");
        }
        // Closed meanwhile.
        if held.account.status != Status::Pending {
            return Ok("moot");
        }
        held.account.chain_id = Some(self.chain_id.clone());
        let origin = Origin::internal("deployment");
        let step = Step { by: Move::Deploy, reason: None, origin: &origin };
        account_moves::make(tx, &mut held, step, self.clock).await?;
        Ok("deployed")
    }
}
