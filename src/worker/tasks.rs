//! What the queues over the `tasks` table have in common.

use uuid::Uuid;

use super::{Backlog, Failure};
use crate::domain::Timestamp;
use crate::domain::timestamp::SKEW;
use crate::store::tasks::{self, Kind, NodeLease, Task};
use crate::store::{Change, Dialect, Error, Store, Tx};

/// Where counting the backlog stops.
const COUNTED: i64 = 10_000;
/// Of how many tasks at once the times are set anew because a clock was wrong.
const MENDED: i64 = 500;

/// When the next task of a kind falls due. Times that were set by a clock that was ahead are set anew before.
pub(super) async fn next_due(
    store: &Store,
    (kind, sandboxes_only): (Kind, bool),
    now: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    let (first, scheduled_at) = tasks::due_at(&mut store.reader().await?, kind, sandboxes_only).await?;
    if scheduled_at.is_some_and(|at| at > now + SKEW) {
        let mended = store.transact(&MendTimes(now)).await?;
        tracing::warn!(tasks = mended, "scheduled by a clock that was ahead: as if it were done now");
        return Ok(Some(now));
    }
    Ok(first)
}

/// How many tasks of a kind wait.
pub(super) async fn backlog(store: &Store, kind: Kind) -> Result<Backlog, Failure> {
    let mut reader = store.reader().await?;
    let waiting = tasks::waiting(&mut reader, kind, COUNTED).await?;
    // What is due at once was written as due earlier. A failed try moves a task into the future, which must not hide since when it has
    // been waiting.
    let due = tasks::due_at(&mut reader, kind, false).await?.0.map(|first| first + SKEW);
    let retried = tasks::retried_since(&mut reader, kind).await?;
    Ok(Backlog { waiting, due: [due, retried].into_iter().flatten().min() })
}

/// A claim of tasks of one kind.
pub(super) struct ClaimTasks {
    pub(super) kind: Kind,
    /// Whether tasks of live programmes are left to other nodes.
    pub(super) sandboxes_only: bool,
    pub(super) now: Timestamp,
    pub(super) lease: NodeLease,
    pub(super) limit: usize,
}

impl ClaimTasks {
    /// Makes it: one statement, which PostgreSQL needs no transaction around.
    pub(super) async fn make(&self, store: &Store) -> Result<Vec<Task>, Error> {
        match store.dialect() {
            Dialect::Sqlite => store.transact(self).await,
            Dialect::Postgres => {
                let mut connection = store.reader().await?;
                tasks::claim(&mut connection, (self.kind, self.now), self.lease, self.most()).await
            }
        }
    }

    fn most(&self) -> (i64, bool) {
        (i64::try_from(self.limit).unwrap_or(i64::MAX), self.sandboxes_only)
    }
}

impl Change for ClaimTasks {
    type Out = Vec<Task>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Vec<Task>, Error> {
        tasks::claim(tx, (self.kind, self.now), self.lease, self.most()).await
    }
}

/// Gives back what a node has claimed and does not work on.
pub(super) struct GiveBack<'a> {
    pub(super) kind: Kind,
    pub(super) node: Uuid,
    pub(super) in_flight: &'a [Uuid],
}

impl Change for GiveBack<'_> {
    type Out = u64;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<u64, Error> {
        tasks::give_back(tx, self.kind, self.node, self.in_flight).await
    }
}

struct MendTimes(Timestamp);

impl Change for MendTimes {
    type Out = u64;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<u64, Error> {
        tasks::mend_times(tx, self.0, MENDED).await
    }
}
