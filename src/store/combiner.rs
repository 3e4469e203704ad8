//! Combines concurrent changes that only insert rows: those that arrive while earlier ones are being written share the next
//! transaction, one multi-row statement per table. If it fails because of one of them, each change is run again on its own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::oneshot;

use super::Store;
use super::batch::Rows;
use super::draft::Effect;
use super::error::Error;
use super::query::Query;
use super::tx::{Rerun, Tx};

/// Changes per transaction at most. Batches are powers of two, so that only a few texts are kept prepared.
const MOST: usize = 32;
/// Concurrent transactions: while one is being written, the callers of the other get their responses and send more.
const AT_ONCE: usize = 2;

/// Binds the values of a row.
type Bind = Box<dyn for<'q> Fn(Query<'q>) -> Query<'q> + Send>;

/// A row to insert.
pub(super) struct RowInsert {
    text: Rows,
    effect: Effect,
    bind: Bind,
}

impl RowInsert {
    pub(super) fn new(text: Rows, effect: Effect, bind: Bind) -> Self {
        Self { text, effect, bind }
    }

    /// Whether both can be rows of one statement.
    fn goes_with(&self, other: &Self) -> bool {
        let text = |row: &Self| (row.text.head, row.text.tail, row.effect);
        text(self) == text(other)
    }
}

/// All that one change inserts.
#[derive(Default)]
pub(super) struct Inserts {
    pub(super) rows: Vec<RowInsert>,
    pub(super) records_events: bool,
    pub(super) leaves_work: bool,
}

impl Inserts {
    fn goes_with(&self, other: &Self) -> bool {
        self.rows.len() == other.rows.len()
            && self.rows.iter().zip(&other.rows).all(|(row, other)| row.goes_with(other))
    }
}

/// The result of a change.
pub(super) enum InsertOutcome {
    /// It is durable.
    Committed,
    /// It failed, or its outcome is unknown.
    Failed(Error),
    /// It was not written, possibly because of another change in its batch: run it on its own.
    RunAlone,
}

/// A transaction without a connection: its inserts go to the [`Combiner`] when it commits.
pub(super) struct CombinedTx {
    store: Store,
    combiner: Arc<Combiner>,
    pub(super) inserts: Inserts,
    outgrown: bool,
}

impl CombinedTx {
    pub(super) fn new(store: Store, combiner: Arc<Combiner>) -> Self {
        Self { store, combiner, inserts: Inserts::default(), outgrown: false }
    }

    /// Marks it to be run again in the [fallback](super::Mode::fallback) mode.
    pub(super) const fn outgrow(&mut self) -> Error {
        self.outgrown = true;
        Error::Failed
    }

    pub(super) const fn is_outgrown(&self) -> bool {
        self.outgrown
    }

    pub(super) async fn commit(&mut self, (leaves_work, records_events): (bool, bool)) -> Result<(), Error> {
        if self.outgrown {
            return Err(Error::Failed);
        }
        let inserts = Inserts { leaves_work, records_events, ..std::mem::take(&mut self.inserts) };
        match self.combiner.insert(&self.store, inserts).await {
            InsertOutcome::Committed => Ok(()),
            InsertOutcome::Failed(error) => Err(error),
            InsertOutcome::RunAlone => Err(self.outgrow()),
        }
    }
}

struct QueuedChange {
    inserts: Inserts,
    done: oneshot::Sender<InsertOutcome>,
}

/// The queue of changes to combine.
#[derive(Default)]
pub(super) struct Combiner(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<QueuedChange>,
    writing: usize,
}

impl Combiner {
    /// Writes a change together with others. If the future is dropped, it may still be written.
    pub(super) async fn insert(self: &Arc<Self>, store: &Store, inserts: Inserts) -> InsertOutcome {
        let (done, outcome) = oneshot::channel();
        let begins = {
            let mut state = self.state();
            state.waiting.push_back(QueuedChange { inserts, done });
            let begins = state.writing < AT_ONCE;
            state.writing += usize::from(begins);
            begins
        };
        if begins {
            let (combiner, store) = (Arc::clone(self), store.clone());
            // In its own task, so that a cancelled caller does not stop it halfway.
            tokio::spawn(async move {
                while let Some(batch) = combiner.take() {
                    match AssertUnwindSafe(write(&store, batch)).catch_unwind().await {
                        Ok(Ok(())) => {}
                        Ok(Err(unavailable)) => combiner.fail(&unavailable),
                        // Its callers see their senders dropped.
                        Err(_) => tracing::error!("a combined write panicked; its callers got an error"),
                    }
                }
            });
        }
        let unknown = || {
            InsertOutcome::Failed(Error::Unavailable("the write was interrupted and its outcome is unknown".to_owned()))
        };
        outcome.await.unwrap_or_else(|_| unknown())
    }

    /// Takes the largest batch from the front of the queue. On an empty queue the calling task ends.
    fn take(&self) -> Option<Vec<QueuedChange>> {
        let mut state = self.state();
        let Some(first) = state.waiting.front() else {
            state.writing -= 1;
            return None;
        };
        let alike = state.waiting.iter().take(MOST).take_while(|it| it.inserts.goes_with(&first.inserts)).count();
        Some(state.waiting.drain(..1 << alike.ilog2()).collect())
    }

    /// Fails whatever is queued: each batch would wait for the same timeout, one after the other.
    fn fail(&self, error: &Error) {
        let waiting = std::mem::take(&mut self.state().waiting);
        for change in waiting {
            // Fails only if the caller was cancelled.
            let _ = change.done.send(InsertOutcome::Failed(error.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a batch. The error of a database that is unavailable.
///
/// Boxed, because a commit waits for this and this ends in a commit.
fn write(store: &Store, batch: Vec<QueuedChange>) -> BoxFuture<'_, Result<(), Error>> {
    let (inserts, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|it| (it.inserts, it.done)).unzip();
    Box::pin(async move {
        let (result, rerun) = match store.begin_optimistic().await {
            Ok(mut tx) => {
                let result = match collect(&mut tx, &inserts) {
                    Ok(()) => tx.settle().await,
                    Err(error) => Err(error),
                };
                (result, tx.rerun())
            }
            Err(error) => (Err(error), None),
        };
        // An unavailable database would not answer any of them on their own either.
        let is_unavailable = matches!(result, Err(Error::Unavailable(_))) && rerun.is_none();
        let alone = rerun == Some(Rerun::Same) || waiting.len() > 1 && !is_unavailable;
        for done in waiting {
            let outcome = match &result {
                Ok(()) => InsertOutcome::Committed,
                Err(_) if alone => InsertOutcome::RunAlone,
                Err(error) => InsertOutcome::Failed(error.clone()),
            };
            // Fails only if the caller was cancelled.
            let _ = done.send(outcome);
        }
        if is_unavailable { result } else { Ok(()) }
    })
}

/// Collects the inserts of a batch, one statement per table.
fn collect(tx: &mut Tx, inserts: &[Inserts]) -> Result<(), Error> {
    let Some(first) = inserts.first() else { return Ok(()) };
    for (number, RowInsert { text, effect, .. }) in first.rows.iter().enumerate() {
        let mut query = tx.write(text.head);
        for (index, row) in inserts.iter().filter_map(|inserts| inserts.rows.get(number)).enumerate() {
            query = query.push(if index == 0 { "" } else { ", " });
            let from = query.bound();
            query = (row.bind)(query).push_tuple(from);
        }
        query.push(text.tail).collect_rows(*effect, inserts.len())?;
    }
    if inserts.iter().any(|inserts| inserts.records_events) {
        tx.records_events();
    }
    if inserts.iter().any(|inserts| inserts.leaves_work) {
        tx.leaves_work();
    }
    Ok(())
}
