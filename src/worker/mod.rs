//! What happens without anybody asking: work that waits in the store is claimed, done and settled.
//!
//! Many nodes may work on one database. A claim is a short transaction that gives items to one of them, under a lease that lasts as
//! long as the node is alive (`node`); what a killed node had is taken up by another within ten seconds. Everything that goes out over
//! the network happens between two transactions, each item under a deadline of its own.
//!
//! To add a queue:
//!
//! 1. Its table, and in `store` a file with `next_due`, `claim`, `settle`, `give_back`, `backlog`. Claimed rows stay in the table with
//!    a lease (a random id, and the node by a foreign key). Whatever inserts a row that is due calls
//!    [`Tx::leaves_work`](crate::store::Tx::leaves_work) in the same transaction: that is what wakes the engine at once.
//! 2. A file here with a struct that implements [`Queue`]: what doing it means, and what settling means.
//! 3. A line in [`Worker::run`].
//!
//! [Webhooks] are no such queue: a node leases whole subscriptions, so that their order, their rate and what is in flight are known in
//! one place.
//!
//! Tests can drive a queue without the engine: `claim`, `perform`, `settle`.

mod checkpoints;
mod deployment;
mod engine;
mod lists;
mod node;
mod order;
mod screening;
mod sweep;
mod tasks;
#[cfg(test)]
mod tests;
mod webhooks;

pub use deployment::SandboxDeployments;
pub use engine::{Backlog, Engine, Failure, Queue, Stop, Taken};
pub use screening::ScreeningQueue;
pub use webhooks::{Options as WebhookOptions, Webhooks};

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::account::Factory;
use crate::screening::Screening;
use crate::store::Store;

/// A node's writes that say that it is alive, as they are for others.
#[derive(Clone)]
pub struct Heartbeat {
    clock: Clock,
    node: node::Membership,
}

impl Heartbeat {
    /// How long to wait for the first one, or for the next where none was written for long.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Whether they are written: the node is alive, or is soon.
    pub async fn beats(&self) -> bool {
        self.clock.timeout(Self::PATIENCE, self.node.alive()).await.is_ok()
    }
}

/// Everything that works on one store.
pub struct Worker {
    store: Store,
    clock: Clock,
    partners: Partners,
    webhooks: Webhooks,
    node: node::Membership,
}

/// Who is asked about customers and accounts.
pub struct Partners {
    /// Who screens.
    pub screening: Screening,
    /// What sandbox accounts are deployed by, in pretence.
    pub factory: Factory,
}

impl Worker {
    /// A worker on a store, with the partners that it asks.
    pub fn new(store: Store, clock: Clock, partners: Partners, webhooks: Webhooks) -> Self {
        let node = node::Membership::new(clock.clone());
        Self { store, clock, partners, webhooks, node }
    }

    /// Whether it says that it is alive, for readiness.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat { clock: self.clock.clone(), node: self.node.clone() }
    }

    /// Works until `stop` is done, then finishes what it has begun.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let mut engine = Engine::new(self.store, self.clock, stop);
        engine.node = self.node;
        let screening_lists = std::sync::Arc::clone(self.partners.screening.lists());
        let screening = ScreeningQueue::new(engine.store().clone(), engine.clock().clone(), self.partners.screening);
        let deployments =
            SandboxDeployments::new(engine.store().clone(), engine.clock().clone(), self.partners.factory);
        let work = async {
            tokio::join!(
                engine.clone().run(screening),
                engine.clone().run(deployments),
                self.webhooks.run(engine.clone()),
                lists::run(&engine, screening_lists),
                order::run(&engine),
                sweep::run(&engine),
                checkpoints::run(&engine)
            )
        };
        engine.live(Box::pin(work)).await;
    }
}
