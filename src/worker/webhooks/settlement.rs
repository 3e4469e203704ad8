//! Writes down ends of attempts: those that end while one transaction is under way share the next.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::hands::Held;
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
    /// In hand until that is written down.
    pub(super) _held: Held,
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
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    waiting: Vec<Waiting>,
    /// Whether somebody writes, and will write what is waiting.
    writing: bool,
}

impl Settlement {
    pub(super) fn new(store: Store) -> Arc<Self> {
        Arc::new(Self { store, book: Mutex::default() })
    }

    /// Returns when it is durable, or cannot be.
    pub(super) async fn write(self: &Arc<Self>, ended: Ended) -> Result<(), Error> {
        let (done, written) = oneshot::channel();
        if self.enter((ended, done)) {
            // A task of its own: it writes for others too, whatever becomes of this one.
            tokio::spawn(Arc::clone(self).write_all());
        }
        written.await.unwrap_or(Err(Error::Failed))
    }

    /// Whether somebody must begin to write.
    fn enter(&self, waiting: Waiting) -> bool {
        let mut book = self.book();
        book.waiting.push(waiting);
        !std::mem::replace(&mut book.writing, true)
    }

    /// Writes batch after batch, until nothing waits.
    async fn write_all(self: Arc<Self>) {
        while let Some(batch) = self.next().await {
            // Its waiters are told by what is dropped; those who come after them must not wait for ever.
            if AssertUnwindSafe(self.write_batch(batch)).catch_unwind().await.is_err() {
                tracing::error!("writing down ends of attempts broke off");
            }
        }
    }

    /// The next batch: what has ended, and what ends while whatever else is ready has its turn.
    async fn next(&self) -> Option<Vec<Waiting>> {
        let (mut before, mut now) = (0, self.book().waiting.len());
        while before < now && now < BATCH {
            tokio::task::yield_now().await;
            (before, now) = (now, self.book().waiting.len());
        }
        let mut book = self.book();
        let count = book.waiting.len().min(BATCH);
        book.writing = count > 0;
        book.writing.then(|| book.waiting.drain(..count).collect())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_batch(&self, batch: Vec<Waiting>) {
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
            let Some(mut subscription) = webhooks::lock(tx, id).await? else { continue };
            for ended in ends {
                let turn = subscription.observe(ended.outcome, ended.at);
                if turn == Turn::Revived {
                    deliveries::hasten(tx, id, ended.at).await?;
                }
                turns.push((id, turn));
            }
            webhooks::update(tx, &subscription).await?;
        }
        let settled: Vec<_> = self.0.iter().map(|ended| &ended.settled).collect();
        deliveries::settle(tx, &settled).await?;
        if self.0.iter().any(|ended| ended.wake) {
            tx.leaves_work();
        }
        Ok(turns)
    }
}
