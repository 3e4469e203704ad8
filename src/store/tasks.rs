//! What the workers have to do.
//!
//! A task is written in the transaction that makes it necessary. A node claims it under a lease, which ends with the
//! [node](super::nodes) (an operator's: with its time), does the work with no transaction open, and settles it in the transaction that
//! records the outcome: [`settle`] tells whether the lease still counts, and where it does not the outcome must not be recorded.
//!
//! With the time at which a task is due is kept when that was set (without that, when the task was written), so that a clock that was
//! ahead then keeps nothing waiting: see [`mend_times`].

use std::time::Duration;

use uuid::Uuid;

use super::screening_scans::Fingerprint;
use super::value::row;
use super::{Connection, Effect, Error, Query, Tx};
use crate::domain::Timestamp;
use crate::domain::timestamp::SKEW;

/// A kind of work. Each has its own line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Ask the screening provider about a customer's blockchain account.
    Screening,
    /// Deploy a live programme's account. The task has the account's id.
    Deployment,
    /// Deploy a sandbox programme's account. The task has the account's id.
    SandboxDeployment,
    /// Issue a card. The task has the card's id.
    Issuance,
}

impl Kind {
    /// The name in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Screening => "screening",
            Self::Deployment => "deployment",
            Self::SandboxDeployment => "sandbox_deployment",
            Self::Issuance => "issuance",
        }
    }
}

/// A task about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// UUIDv7.
    pub id: Uuid,
    /// What is to be done.
    pub kind: Kind,
    /// For which programme.
    pub programme_id: Uuid,
    /// The customer that the entity is or belongs to: the row to hold before recording an outcome.
    pub customer_id: Uuid,
    /// The customer, account or card that the work is about.
    pub entity_id: Uuid,
    /// When it is written: it is due at once.
    pub created_at: Timestamp,
}

row! {
    /// A claimed task.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Task {
        /// Its id.
        pub id: Uuid,
        /// For which programme.
        pub programme_id: Uuid,
        /// The customer that the entity is or belongs to.
        pub customer_id: Uuid,
        /// What it is about.
        pub entity_id: Uuid,
        /// When it was due.
        pub run_at: Timestamp,
        /// How often it was claimed, this time included.
        pub attempts: i64,
        /// Why the attempt before failed.
        pub last_error: Option<String>,
        /// When it was written.
        pub created_at: Timestamp,
    }
}

/// Writes a task, and wakes this process's worker when it is committed.
pub fn enqueue(tx: &mut Tx, task: &NewTask) -> Result<(), Error> {
    tx.leaves_work();
    tx.write(
        "INSERT INTO tasks (id, kind, programme_id, customer_id, entity_id, run_at, attempts, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
    )
    .bind(task.id)
    .bind(task.kind.as_str())
    .bind(task.programme_id)
    .bind(task.customer_id)
    .bind(task.entity_id)
    .bind(task.created_at.at_once())
    .bind(task.created_at)
    .collect(Effect::Any)
}

/// Who claims: a node, under a lease that lasts while the node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLease {
    /// The id of the lease.
    pub id: Uuid,
    /// The node.
    pub node: Uuid,
}

/// Claims at most `limit` due tasks for a node, the longest due first, in one statement; with `sandboxes_only` passes over those of
/// live programmes, which it reads each time. Reads no more rows than that, however many wait, and none that another node has.
pub async fn claim(
    on: &mut impl Connection,
    (kind, now): (Kind, Timestamp),
    lease: NodeLease,
    (limit, sandboxes_only): (i64, bool),
) -> Result<Vec<Task>, Error> {
    let mut query = on
        .query("WITH due AS MATERIALIZED (SELECT id AS due_id FROM tasks WHERE kind = $1 AND run_at <= $2 AND node IS NULL")
        .bind(kind.as_str())
        .bind(now);
    if sandboxes_only {
        query = query.push(" AND programme_id IN (SELECT id FROM programmes WHERE sandbox)");
    }
    let mut tasks: Vec<Task> = first(query, limit)
        .push(") UPDATE tasks SET attempts = attempts + 1, lease = ")
        .push_bind(lease.id)
        .push(", node = ")
        .push_bind(lease.node)
        .push(
            " FROM due WHERE tasks.id = due.due_id \
             RETURNING id, programme_id, customer_id, entity_id, run_at, attempts, last_error, created_at",
        )
        .unrepeatable()
        .all()
        .await?;
    tasks.sort_unstable_by_key(|task| (task.run_at, task.id));
    Ok(tasks)
}

/// Gives back what a node has claimed of a kind and does not work on: all but these.
pub async fn give_back(tx: &mut Tx, kind: Kind, node: Uuid, in_flight: &[Uuid]) -> Result<u64, Error> {
    let mut query = tx
        .query("UPDATE tasks SET node = NULL, lease = NULL WHERE node = $1 AND kind = $2")
        .bind(node)
        .bind(kind.as_str());
    if !in_flight.is_empty() {
        query = query.push(" AND id NOT IN ").push_list(in_flight.iter().copied());
    }
    query.once().execute().await
}

/// Sets times anew, of at most `limit` tasks, that were set by a clock that is ahead of `now` by more than [`SKEW`]: what was due at
/// once is, what was to wait waits for as long from now on. Gives how many.
pub async fn mend_times(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, Error> {
    tx.leaves_work();
    tx.query(
        "UPDATE tasks SET run_at = $1 + (run_at - COALESCE(scheduled_at, created_at)), scheduled_at = $1 WHERE id IN \
         (SELECT id FROM tasks WHERE COALESCE(scheduled_at, created_at) > $2 ORDER BY COALESCE(scheduled_at, created_at) LIMIT $3)",
    )
    .bind(now)
    .bind(now + SKEW)
    .bind(limit)
    .execute()
    .await
}

/// Claims due tasks for an operator, under a lease (its id, and how long it counts): only tasks of these programmes (of every programme with `None`), and none of a
/// programme that is disabled.
pub async fn claim_for_operator(
    tx: &mut Tx,
    (kind, now): (Kind, Timestamp),
    lease: (Uuid, Duration),
    (limit, programmes): (i64, Option<&[Uuid]>),
) -> Result<Vec<Task>, Error> {
    if programmes.is_some_and(<[Uuid]>::is_empty) {
        return Ok(Vec::new());
    }
    let disabled = " AND programme_id NOT IN (SELECT p.id FROM programmes p WHERE p.disabled = ";
    let mut due = due(tx, kind, now).push(disabled).push_bind(true).push(")");
    if let Some(programmes) = programmes {
        due = due.push(" AND programme_id IN ").push_list(programmes.iter().copied());
    }
    let tasks = first(due, limit).all().await?;
    take(tx, tasks, now, lease).await
}

/// The due tasks of a kind. Conditions may be appended.
fn due(tx: &mut Tx, kind: Kind, now: Timestamp) -> Query<'_> {
    tx.query(
        "SELECT id, programme_id, customer_id, entity_id, run_at, attempts, last_error, created_at FROM tasks \
         WHERE kind = $1 AND run_at <= $2 AND node IS NULL",
    )
    .bind(kind.as_str())
    .bind(now)
}

/// The first of them, locked.
fn first(due: Query<'_>, limit: i64) -> Query<'_> {
    // SQLite plans by a bare `LIMIT $3`: it would prepare the statement again whenever the number is another.
    due.push(" ORDER BY kind, run_at, id LIMIT ").push_bind(limit).push(" + 0").for_update_skip_locked()
}

async fn take(
    tx: &mut Tx,
    mut tasks: Vec<Task>,
    now: Timestamp,
    (lease, length): (Uuid, Duration),
) -> Result<Vec<Task>, Error> {
    if tasks.is_empty() {
        return Ok(tasks);
    }
    tx.query("UPDATE tasks SET run_at = $1, lease = $2, scheduled_at = $3, attempts = attempts + 1 WHERE id IN ")
        .bind(now + length)
        .bind(lease)
        .bind(now)
        .push_list(tasks.iter().map(|task| task.id))
        .once()
        .execute()
        .await?;
    for task in &mut tasks {
        task.attempts += 1;
    }
    Ok(tasks)
}

/// Ends a task. `false`, and nothing is changed, when the lease was lost: another claim has it, or it is done.
pub async fn settle(tx: &mut Tx, id: Uuid, lease: Uuid) -> Result<bool, Error> {
    let ended = tx.query("DELETE FROM tasks WHERE id = $1 AND lease = $2").bind(id).bind(lease).execute().await?;
    Ok(ended == 1)
}

/// Ends the task of a customer who is cleared, like [`settle`], if the lists that cleared it are in force; in the same round
/// trip, whether anything is known of its verification. `None`, and nothing is changed, when the lease was lost or other lists
/// are in force. Where none ever were, those that come will screen everybody.
pub async fn settle_cleared(
    tx: &mut Tx,
    (id, lease): (Uuid, Uuid),
    lists: &Fingerprint,
) -> Result<Option<bool>, Error> {
    let ended: Option<(bool,)> = tx
        .query(
            "DELETE FROM tasks WHERE id = $1 AND lease = $2 AND COALESCE((SELECT fingerprint FROM screening_scans \
             ORDER BY started_at DESC, fingerprint DESC LIMIT 1), $3) = $3 RETURNING \
             EXISTS (SELECT 1 FROM verifications WHERE verifications.customer_id = tasks.customer_id)",
        )
        .bind(id)
        .bind(lease)
        .bind(lists.as_slice())
        .optional()
        .await?;
    Ok(ended.map(|(known,)| known))
}

/// Takes back tasks that are no longer wanted, whoever holds a lease on them. Unknown ids are passed over.
pub async fn withdraw(tx: &mut Tx, ids: &[Uuid]) -> Result<(), Error> {
    match ids {
        [] => Ok(()),
        [id] => tx.write("DELETE FROM tasks WHERE id = $1").bind(*id).collect(Effect::Any),
        many => {
            tx.query("DELETE FROM tasks WHERE id IN ").push_list(many.iter().copied()).once().execute().await?;
            Ok(())
        }
    }
}

/// Gives a task back, to be tried again when it has waited for so long from now on. `false`, and nothing is changed, when the lease
/// was lost.
pub async fn retry(
    tx: &mut Tx,
    (id, lease): (Uuid, Uuid),
    (now, wait): (Timestamp, Duration),
    error: &str,
) -> Result<bool, Error> {
    let given = tx
        .query(
            "UPDATE tasks SET run_at = $3, scheduled_at = $4, lease = NULL, node = NULL, last_error = $5 \
             WHERE id = $1 AND lease = $2",
        )
        .bind(id)
        .bind(lease)
        .bind(now + wait)
        .bind(now)
        .bind(error)
        .execute()
        .await?;
    Ok(given == 1)
}

/// When the first of the tasks of a kind is due that nobody works on, past or future; with `sandboxes_only`, the first of a sandbox
/// programme. And when the time of a task of whatever kind was set last: what is yet to come was said by a clock that is ahead.
pub async fn due_at(
    on: &mut impl Connection,
    kind: Kind,
    sandboxes_only: bool,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
    let query = on.query("SELECT (SELECT run_at FROM tasks WHERE kind = $1 AND node IS NULL").bind(kind.as_str());
    let query = match sandboxes_only {
        true => query.push(" AND programme_id IN (SELECT id FROM programmes WHERE sandbox)"),
        false => query,
    };
    query
        .push(
            " ORDER BY kind, run_at, id LIMIT 1), \
             (SELECT COALESCE(scheduled_at, created_at) FROM tasks ORDER BY COALESCE(scheduled_at, created_at) DESC LIMIT 1)",
        )
        .one()
        .await
}

/// When the oldest task of a kind that waits for another try was written; `None` when none has failed.
pub async fn retried_since(on: &mut impl Connection, kind: Kind) -> Result<Option<Timestamp>, Error> {
    let row: Option<(Timestamp,)> = on
        .query(
            "SELECT created_at FROM tasks WHERE kind = $1 AND last_error IS NOT NULL ORDER BY kind, created_at LIMIT 1",
        )
        .bind(kind.as_str())
        .optional()
        .await?;
    Ok(row.map(|(created_at,)| created_at))
}

/// How many tasks of a kind wait, claimed ones included. Stops counting those that nobody has claimed at `limit`.
pub async fn waiting(on: &mut impl Connection, kind: Kind, limit: i64) -> Result<i64, Error> {
    let (count,): (i64,) = on
        .query(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE kind = $1 AND node IS NULL LIMIT $2) AS waiting) \
             + (SELECT count(*) FROM tasks WHERE kind = $1 AND node IS NOT NULL)",
        )
        .bind(kind.as_str())
        .bind(limit)
        .one()
        .await?;
    Ok(count)
}
