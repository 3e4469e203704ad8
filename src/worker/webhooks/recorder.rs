//! Records attempts: those that end while one batch is being written share the next.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use crate::domain::delivery::Outcome;
use crate::domain::webhook::Turn;
use crate::store::deliveries::{self, Attempted, RECORDED};
use crate::store::{Change, Error, Mode, Store, Tx, webhooks};

/// An attempt that has ended.
pub(super) struct Ended {
    pub(super) attempted: Attempted,
    pub(super) outcome: Outcome,
    /// Whether its subscription had no failure to its name when it was scanned.
    pub(super) healthy: bool,
}

type Waiting = (Ended, oneshot::Sender<Result<(), Error>>);

/// Attempts that are to be recorded.
pub(super) struct Recorder {
    store: Store,
    sender: mpsc::UnboundedSender<Waiting>,
    receiver: Mutex<mpsc::UnboundedReceiver<Waiting>>,
}

impl Recorder {
    pub(super) fn new(store: Store) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { store, sender, receiver: Mutex::new(receiver) }
    }

    /// Hands an attempt over. The receiver is told when it is durable, or that nobody knows whether it is: then it is made again.
    pub(super) fn record(&self, ended: Ended) -> oneshot::Receiver<Result<(), Error>> {
        let (done, recorded) = oneshot::channel();
        // `self` has the receiver: it is not closed.
        let _ = self.sender.send((ended, done));
        recorded
    }

    /// Records one batch after the other.
    pub(super) async fn run(&self) {
        let mut receiver = self.receiver.lock().await;
        loop {
            let mut batch = Vec::new();
            receiver.recv_many(&mut batch, RECORDED).await;
            // And what ends while whatever else is ready has its turn.
            let mut before = 0;
            while before < batch.len() && batch.len() < RECORDED {
                before = batch.len();
                tokio::task::yield_now().await;
                while batch.len() < RECORDED
                    && let Ok(waiting) = receiver.try_recv()
                {
                    batch.push(waiting);
                }
            }
            // Those who wait are told by what is dropped; those who come after them must not wait for ever.
            if AssertUnwindSafe(self.record_batch(batch)).catch_unwind().await.is_err() {
                tracing::error!("recording attempts panicked: they are made again");
            }
        }
    }

    async fn record_batch(&self, batch: Vec<Waiting>) {
        let (ended, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let result = self.store.transact(&Batch(ended)).await;
        for (webhook, turn) in result.iter().flatten() {
            match turn {
                Turn::Disabled(reason) => tracing::warn!(%webhook, reason = reason.as_str(), "webhook disabled"),
                Turn::Revived => tracing::info!(%webhook, "webhook revived"),
                Turn::None => {}
            }
        }
        let result = result.map(|_| ());
        for waiting in waiting {
            // It waits for this, unless its task panicked.
            let _ = waiting.send(result.clone());
        }
    }
}

struct Batch(Vec<Ended>);

impl Batch {
    /// By subscription, in the order of their ids, so that two nodes cannot wait for one another: those whose subscription changes.
    fn by_changed_webhook(&self) -> BTreeMap<Uuid, Vec<&Ended>> {
        let mut by_webhook: BTreeMap<Uuid, Vec<&Ended>> = BTreeMap::new();
        for ended in &self.0 {
            by_webhook.entry(ended.attempted.lease.webhook_id).or_default().push(ended);
        }
        by_webhook.retain(|_, ends| !ends.iter().all(|ended| ended.healthy && ended.outcome == Outcome::Delivered));
        by_webhook
    }
}

impl Change for Batch {
    type Out = Vec<(Uuid, Turn)>;
    type Error = Error;

    /// Where every receiver is well, it is one statement. Made twice, it is as if made once: the second time nothing is pending.
    fn mode(&self) -> Mode {
        if self.by_changed_webhook().is_empty() { Mode::Optimistic } else { Mode::Locking }
    }

    async fn apply(&self, tx: &mut Tx) -> Result<Self::Out, Error> {
        let mut turns = Vec::new();
        for (id, ends) in self.by_changed_webhook() {
            let Some(mut subscription) = webhooks::lock(tx, id).await? else { continue };
            for ended in ends {
                let turn = subscription.observe(ended.outcome, ended.attempted.at);
                if turn == Turn::Revived {
                    deliveries::hasten(tx, id, ended.attempted.at).await?;
                }
                turns.push((id, turn));
            }
            webhooks::update(tx, &subscription).await?;
        }
        let attempted: Vec<_> = self.0.iter().map(|ended| &ended.attempted).collect();
        deliveries::record(tx, &attempted)?;
        Ok(turns)
    }
}
