//! What the queues over the `tasks` table have in common.

use std::time::Duration;

use uuid::Uuid;

use super::{Backlog, Failure};
use crate::domain::Timestamp;
use crate::store::tasks::{self, Kind, Task};
use crate::store::{Change, Error, Store, Tx};

/// Where counting the backlog stops.
const COUNTED: i64 = 10_000;

/// When the next task of a kind falls due.
pub(super) async fn next_due(store: &Store, kind: Kind, sandboxes_only: bool) -> Result<Option<Timestamp>, Failure> {
    let mut reader = store.reader().await?;
    if sandboxes_only {
        return Ok(tasks::due_at_of_sandboxes(&mut reader, kind).await?);
    }
    Ok(tasks::due_at(&mut reader, kind).await?)
}

/// How many tasks of a kind wait.
pub(super) async fn backlog(store: &Store, kind: Kind) -> Result<Backlog, Failure> {
    let mut reader = store.reader().await?;
    let waiting = tasks::waiting(&mut reader, kind, COUNTED).await?;
    // A failed try moves a task into the future, which must not hide since when it has been waiting.
    let (due, retried) = (tasks::due_at(&mut reader, kind).await?, tasks::retried_since(&mut reader, kind).await?);
    Ok(Backlog { waiting, due: [due, retried].into_iter().flatten().min() })
}

/// A claim of tasks of one kind.
pub(super) struct ClaimTasks {
    pub(super) kind: Kind,
    /// Whether tasks of live programmes are left to other nodes.
    pub(super) sandboxes_only: bool,
    pub(super) now: Timestamp,
    /// The lease's id.
    pub(super) lease: Uuid,
    /// How long it counts.
    pub(super) length: Duration,
    pub(super) limit: usize,
}

impl Change for ClaimTasks {
    type Out = Vec<Task>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Vec<Task>, Error> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let (which, lease) = ((self.kind, self.now), (self.lease, self.length));
        if self.sandboxes_only {
            return tasks::claim_of_sandboxes(tx, which, lease, limit).await;
        }
        tasks::claim(tx, which, lease, limit).await
    }
}
