//! A connection in use, and the transaction on it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Executor as _, PgConnection, SqlStr};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::guard::Guard;
use super::lost::{Loss, loss};
use super::pool::{Pooled, Shared};
use crate::store::error::Error;
use crate::store::query::{PgStatement, on_postgres};

/// How long BEGIN, ROLLBACK and the ping after a cancelled statement may take: none of them waits for a lock or a disk.
const CONTROL_DEADLINE: Duration = Duration::from_secs(5);
/// How long the ping of an idle connection may take. It misses only where the network has swallowed it.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// How often BEGIN is sent at most: a pooler may have several sessions that are dead.
const BEGINS: u32 = 3;

/// A connection in use. It is pooled again when it is dropped, if its last statement was answered and its generation lasts; a
/// transaction that is open is rolled back first.
pub(in crate::store) struct Checkout {
    /// `None` once it was lost, and while it is dropped.
    pooled: Option<Pooled>,
    /// The last statement was answered to its end.
    answered: bool,
    /// BEGIN was sent and neither COMMIT nor ROLLBACK was answered.
    open: bool,
    /// It was pooled before: what it leads to may have gone meanwhile.
    reused: bool,
    cut: watch::Receiver<u64>,
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    permit: Option<OwnedSemaphorePermit>,
}

impl Checkout {
    /// Without a connection yet.
    pub(super) fn new(shared: &Arc<Shared>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            pooled: None,
            answered: true,
            open: false,
            reused: true,
            cut: shared.cuts(),
            shared: Arc::clone(shared),
            permit: Some(permit),
        }
    }

    /// Takes one that was idle, if it still answers.
    pub(super) async fn reuse(&mut self, pooled: Pooled, ping: bool) -> bool {
        self.pooled = Some(pooled);
        !ping || self.ping().await.is_ok()
    }

    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        self.pooled = None;
        self.open = false;
        self.reused = false;
        self.pooled = Some(self.shared.connect().await?);
        Ok(())
    }

    /// Begins a transaction: again, on a new connection, where the session turns out to be dead or stays silent, because nothing is lost
    /// with it.
    pub(super) async fn begin(&mut self, durable: bool) -> Result<(), sqlx::Error> {
        let session = self.shared.servers.session();
        let (sql, limit) = (session.begin(durable), CONTROL_DEADLINE + session.queue());
        let mut begun = 1;
        loop {
            self.open = true;
            match self.execute(sql.clone(), limit).await {
                Err(error) if loss(&error).is_some() && self.may_be_stale() && begun < BEGINS => {
                    if self.connect().await.is_err() {
                        return Err(error);
                    }
                }
                result => return result,
            }
            begun += 1;
        }
    }

    /// Ends the transaction; the connection is fit for the next one then. COMMIT may wait for a disk or a synchronous standby.
    pub(super) async fn end(&mut self, commit: bool) -> Result<(), sqlx::Error> {
        let (sql, limit) = match commit {
            true => ("COMMIT", self.shared.limits.statement),
            false => ("ROLLBACK", CONTROL_DEADLINE),
        };
        self.execute(SqlStr::from_static(sql), limit).await?;
        self.open = false;
        Ok(())
    }

    /// Runs one statement of a transaction, or one that needs none.
    pub(super) async fn run(&mut self, mut statement: PgStatement) -> Result<(u64, Vec<PgRow>), sqlx::Error> {
        statement.persistent &= !self.shared.servers.session().is_per_transaction();
        let limit = self.shared.limits.statement;
        let (connection, guard) = self.start(limit)?;
        let result = guard.watch(on_postgres(connection, statement)).await;
        self.settle(result)
    }

    /// Runs one statement that stands alone: behind a pooler in a transaction all the same.
    pub(in crate::store) async fn run_alone(
        &mut self,
        statement: PgStatement,
    ) -> Result<(u64, Vec<PgRow>), sqlx::Error> {
        if !self.shared.servers.session().is_per_transaction() {
            return self.run(statement).await;
        }
        self.begin(true).await?;
        let result = self.run(statement).await;
        if !self.is_lost() {
            let ended = self.end(result.is_ok()).await;
            // The statement's own error matters more.
            return result.and_then(|answer| ended.map(|()| answer));
        }
        result
    }

    /// Runs one statement that only reads and stands alone: again, on a new connection, where the one that was pooled turns
    /// out to be dead.
    pub(in crate::store) async fn read(&mut self, statement: PgStatement) -> Result<(u64, Vec<PgRow>), Error> {
        let again = self.may_be_stale().then(|| statement.clone());
        match (self.run_alone(statement).await, again) {
            (Err(error), Some(statement)) if loss(&error).is_some_and(Loss::may_rerun) => {
                self.connect().await?;
                Ok(self.run_alone(statement).await?)
            }
            (result, _) => Ok(result?),
        }
    }

    async fn execute(&mut self, sql: SqlStr, limit: Duration) -> Result<(), sqlx::Error> {
        let (connection, guard) = self.start(limit)?;
        let result = guard.watch(connection.execute(sql)).await.map(|_| ());
        self.settle(result)
    }

    async fn ping(&mut self) -> Result<(), sqlx::Error> {
        let limit = PING_DEADLINE + self.shared.servers.session().queue();
        let (connection, guard) = self.start(limit)?;
        let result = guard.watch(connection.ping()).await;
        self.settle(result)
    }

    const fn is_lost(&self) -> bool {
        self.pooled.is_none()
    }

    /// Whether its session was pooled before, here or by a pooler, so that its loss says nothing about the server of now.
    fn may_be_stale(&self) -> bool {
        self.reused || self.shared.servers.session().is_per_transaction()
    }

    fn start(&mut self, limit: Duration) -> Result<(&mut PgConnection, Guard<'_>), sqlx::Error> {
        let pooled = self.pooled.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        // Where the future is dropped before the end, this stays.
        self.answered = false;
        Ok((&mut pooled.connection, Guard { generation: pooled.generation, cut: &mut self.cut, limit }))
    }

    fn settle<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.answered = true;
        if let Err(error) = &result
            && let Some(loss) = loss(error)
            && let Some(pooled) = self.pooled.take()
        {
            self.shared.lost(&pooled, loss, error);
        }
        result
    }
}

impl Drop for Checkout {
    /// A transaction that is open is rolled back, and a connection whose statement was cancelled is pinged: its answer is still to come. One
    /// that does not answer even that in time is closed.
    fn drop(&mut self) {
        let Some(mut pooled) = self.pooled.take() else { return };
        if self.answered && !self.open {
            return self.shared.put(pooled);
        }
        // The permit goes along: the server is not to see more connections than it was promised.
        let (open, permit) = (self.open, self.permit.take());
        let (shared, mut cut) = (Arc::clone(&self.shared), self.cut.clone());
        self.shared.runtime.spawn(async move {
            let limit = CONTROL_DEADLINE + shared.servers.session().queue();
            let guard = Guard { generation: pooled.generation, cut: &mut cut, limit };
            let connection = &mut pooled.connection;
            let answered = guard.watch(async {
                if open { connection.execute("ROLLBACK").await.map(|_| ()) } else { connection.ping().await }
            });
            match answered.await {
                Ok(()) => shared.put(pooled),
                Err(error) => {
                    if let Some(loss) = loss(&error) {
                        shared.lost(&pooled, loss, &error);
                    }
                }
            }
            drop(permit);
        });
    }
}
