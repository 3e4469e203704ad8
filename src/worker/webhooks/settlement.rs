//! Writes down ends of attempts: those that end while one transaction is under way share the next.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::domain::Timestamp;
use crate::domain::delivery::Outcome;
use crate::domain::webhook::Turn;
use crate::store::deliveries::{self, Settled};
use crate::store::{Change, Error, Store, Tx, webhooks};

/// Ends in one transaction at the most.
const BATCH: usize = 256;

/// An attempt that has ended.
pub(super) struct Ended {
    pub(super) settled: Settled,
    pub(super) outcome: Outcome,
    /// When it ended.
    pub(super) at: Timestamp,
    /// Whether its subscription had no failure to its name when it was claimed.
    pub(super) healthy: bool,
    /// Whether its end may let others go.
    pub(super) wake: bool,
}

type Waiting = (Ended, oneshot::Sender<Result<(), Error>>);

/// What has ended and is not yet written down.
pub(super) struct Settlement {
    store: Store,
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

impl Settlement {
    pub(super) fn new(store: Store) -> Self {
        Self { store, waiting: Mutex::new(Vec::new()), turn: tokio::sync::Mutex::new(()) }
    }

    /// Returns when it is durable, or cannot be.
    pub(super) async fn write(&self, ended: Ended) -> Result<(), Error> {
        let (done, mut written) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((ended, done));
        loop {
            // Whoever has the turn writes for all who wait; mostly it was somebody else.
            let turn = self.turn.lock().await;
            match written.try_recv() {
                Ok(result) => return result,
                Err(oneshot::error::TryRecvError::Closed) => return Err(Error::Failed),
                Err(oneshot::error::TryRecvError::Empty) => self.write_batch().await,
            }
            drop(turn);
        }
    }

    async fn write_batch(&self) {
        let batch: Vec<Waiting> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.len().min(BATCH);
            waiting.drain(..count).collect()
        };
        let (ended, waiters): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let result = self.store.transact(&Batch(ended)).await;
        if let Ok(turns) = &result {
            for (webhook, turn) in turns {
                match turn {
                    Turn::Disabled(reason) => tracing::warn!(%webhook, reason = reason.as_str(), "webhook disabled"),
                    Turn::Revived => tracing::info!(%webhook, "webhook revived"),
                    Turn::None => {}
                }
            }
        }
        let result = result.map(|_| ());
        for waiter in waiters {
            // It waits for this, unless its engine is gone.
            let _ = waiter.send(result.clone());
        }
    }
}

struct Batch(Vec<Ended>);

impl Change for Batch {
    type Out = Vec<(Uuid, Turn)>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Self::Out, Error> {
        let mut turns = Vec::new();
        // Subscriptions in the order of their ids, so that two nodes cannot wait for one another.
        let mut by_webhook: BTreeMap<Uuid, Vec<&Ended>> = BTreeMap::new();
        for ended in &self.0 {
            by_webhook.entry(ended.settled.delivery.subscription_id).or_default().push(ended);
        }
        for (id, ends) in by_webhook {
            if ends.iter().all(|ended| ended.healthy && ended.outcome == Outcome::Delivered) {
                continue;
            }
            let Some(mut subscription) = webhooks::hold(tx, id).await? else { continue };
            for ended in ends {
                let turn = subscription.observe(ended.outcome, ended.at);
                if turn == Turn::Revived {
                    deliveries::hasten(tx, id, ended.at).await?;
                }
                turns.push((id, turn));
            }
            webhooks::update(tx, &subscription).await?;
        }
        let settled: Vec<Settled> = self.0.iter().map(|ended| ended.settled.clone()).collect();
        deliveries::settle(tx, &settled).await?;
        if self.0.iter().any(|ended| ended.wake) {
            tx.leaves_work();
        }
        Ok(turns)
    }
}
