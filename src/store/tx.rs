//! The value that is the transaction, and the one that only reads.

use std::borrow::Cow;

use tokio::sync::watch;

use super::batch::Rows;
use super::clear;
use super::combiner::{CombinedTx, RowInsert};
use super::dialect::Dialect;
use super::draft::{Args, Batch, Draft, Effect};
use super::error::Error;
use super::postgres::{Checkout, PgTx};
use super::query::{Answer, Query, Target};
use super::sqlite_readers::SqliteReader;
use super::writer::Member;
use crate::sealing::{Place, Sealer};

/// What statements can be run on: a [`Tx`], or a [`Reader`] for those that only read.
pub trait Connection: Send {
    /// Starts a statement: see [`Query`].
    fn query(&mut self, sql: &'static str) -> Query<'_>;

    /// Which database this is, for the few texts that must differ.
    fn dialect(&self) -> Dialect;

    /// What seals and opens the columns that hold secrets.
    fn sealer(&self) -> &Sealer;
}

/// An open transaction. Dropping it rolls it back; only [`commit`](Self::commit) makes its changes last.
///
/// After a statement has failed, or its future was dropped before it was done, every further one gives
/// [`Error::Failed`], on both databases. Where a conflict is part of the plan, say `ON CONFLICT` in the text.
///
/// On SQLite an open transaction holds up every other writer: no network calls, no waiting while it lives.
#[must_use = "dropping a transaction rolls it back"]
pub struct Tx {
    inner: Inner,
    draft: Draft,
    sealer: Sealer,
    commits: Commits,
    leaves_work: bool,
    records_events: bool,
    /// It may write values in the clear.
    in_the_clear: bool,
}

/// Who is told of commits.
#[derive(Clone)]
pub(super) struct Commits {
    /// Of transactions that left work behind.
    pub(super) work: watch::Sender<()>,
    /// Of transactions that recorded events.
    pub(super) events: watch::Sender<()>,
}

/// How to run a transaction again that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rerun {
    /// In the same way: its connection was dead.
    Same,
    /// In the [fallback](super::Mode::fallback) mode: it did more than its mode allows, or conflicted with others.
    Fallback,
    /// Only if it was combined with others: a lock timed out, possibly because of another one.
    Alone,
}

enum Inner {
    Sqlite(Member),
    Postgres(Box<PgTx>),
    Combined(CombinedTx),
}

impl Tx {
    pub(super) fn sqlite(member: Member, sealer: Sealer, commits: Commits) -> Self {
        Self::new(Inner::Sqlite(member), Dialect::Sqlite, (sealer, commits))
    }

    pub(super) fn postgres(tx: PgTx, sealer: Sealer, commits: Commits) -> Self {
        Self::new(Inner::Postgres(Box::new(tx)), Dialect::Postgres, (sealer, commits))
    }

    pub(super) fn combined(combined: CombinedTx, dialect: Dialect, sealer: Sealer, commits: Commits) -> Self {
        Self::new(Inner::Combined(combined), dialect, (sealer, commits))
    }

    fn new(inner: Inner, dialect: Dialect, (sealer, commits): (Sealer, Commits)) -> Self {
        Self {
            inner,
            draft: Draft::new(dialect),
            sealer,
            commits,
            leaves_work: false,
            records_events: false,
            in_the_clear: false,
        }
    }

    /// Says that this transaction wrote something for a worker to do: [`Store::committed`](super::Store::committed)
    /// fires once it is durable. Called by whatever inserts into a queue.
    pub const fn leaves_work(&mut self) {
        self.leaves_work = true;
    }

    /// Says that this transaction recorded events: [`Store::recorded`](super::Store::recorded) fires once it is durable.
    pub(super) const fn records_events(&mut self) {
        self.records_events = true;
    }

    /// Seals a value for its place. Without an encryption key it is kept in the clear, which the database may refuse.
    pub(super) async fn seal(&mut self, place: Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        if !self.in_the_clear && !self.sealer.has_key() {
            clear::admit(self, place).await?;
            self.in_the_clear = true;
        }
        Ok(self.sealer.seal(place, plaintext)?)
    }

    /// Starts a statement that is not run now, but [collected](Query::collect) with others that need not be answered at once:
    /// they are sent together, before the transaction next reads or when it commits. None of them may read what another one
    /// writes, and their order is not defined.
    pub fn write(&mut self, sql: &'static str) -> Query<'_> {
        Query::new(Target::Draft(&mut self.draft), sql)
    }

    /// [Collects](Self::write) the insert of a row: `bind` binds its values. In a [combined](super::Mode::Combined) transaction it
    /// becomes one statement with the rows of others that have the same text.
    pub fn insert(
        &mut self,
        text: Rows,
        effect: Effect,
        bind: impl for<'q> Fn(Query<'q>) -> Query<'q> + Send + 'static,
    ) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Combined(combined) => combined.inserts.rows.push(RowInsert::new(text, effect, Box::new(bind))),
            _ => bind(self.write(text.head)).push_tuple(0).push(text.tail).collect(effect)?,
        }
        Ok(())
    }

    /// The text of what was collected, which is not sent.
    #[cfg(test)]
    pub(super) fn take_text(&mut self) -> Result<Option<String>, Error> {
        Ok(self.draft.take()?.map(|batch| batch.sql))
    }

    /// Sends what was collected, of which some is to be written again.
    pub(super) async fn send(&mut self) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Postgres(tx) if tx.optimistic => Err(tx.outgrow()),
            Inner::Combined(combined) => Err(combined.outgrow()),
            _ => self.flush().await,
        }
    }

    /// Sends what was collected if that is much: for transactions that make many changes.
    pub(super) async fn send_if_long(&mut self) -> Result<(), Error> {
        if self.draft.is_long() { self.send().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let Some(batch) = self.draft.take()? else { return Ok(()) };
        let statements = batch.len();
        let (sql, args, persistent, effects) = batch.into_parts();
        let wakes = match (&mut self.inner, args) {
            (Inner::Sqlite(member), Args::Sqlite(arguments)) => {
                let (changed, _) = member.run(sql.into(), arguments, persistent).await?;
                // What comes before belongs to the savepoint.
                let changed = changed.get(changed.len().saturating_sub(statements)..).unwrap_or_default();
                let outcome = Batch::outcome(&effects, changed);
                if outcome.is_err() {
                    member.spoil();
                }
                outcome?
            }
            (Inner::Postgres(tx), Args::Postgres(arguments)) => {
                let (_, rows) = tx.run(sql.into(), arguments, persistent).await?;
                let row = rows.first().ok_or(Error::NotFound)?;
                Batch::wakes(&effects, row)?
            }
            (Inner::Combined(combined), _) => return Err(combined.outgrow()),
            (Inner::Sqlite(_), Args::Postgres(_)) | (Inner::Postgres(_), Args::Sqlite(_)) => return Err(Error::Failed),
        };
        self.leaves_work |= wakes;
        Ok(())
    }

    /// Runs one statement, after those that were collected. In an [optimistic](super::Mode::Optimistic) transaction they wait
    /// for the commit, and it may only read without locks.
    pub(super) async fn run(
        &mut self,
        sql: Cow<'static, str>,
        arguments: Args,
        persistent: bool,
    ) -> Result<Answer, Error> {
        match &mut self.inner {
            Inner::Postgres(tx) if tx.optimistic => {
                // A lock would end with its statement.
                if !sql.starts_with("SELECT ") || sql.contains(" FOR SHARE") || sql.contains(" FOR UPDATE") {
                    return Err(tx.outgrow());
                }
            }
            Inner::Combined(combined) => return Err(combined.outgrow()),
            _ => self.flush().await?,
        }
        match (&mut self.inner, arguments) {
            (Inner::Sqlite(member), Args::Sqlite(arguments)) => {
                let (changed, rows) = member.run(sql, arguments, persistent).await?;
                Ok(Answer::Sqlite(changed.last().copied().unwrap_or(0), rows))
            }
            (Inner::Postgres(tx), Args::Postgres(arguments)) => {
                let (changed, rows) = tx.run(sql, arguments, persistent).await?;
                Ok(Answer::Postgres(changed, rows))
            }
            (Inner::Sqlite(_), Args::Postgres(_)) | (Inner::Postgres(_), Args::Sqlite(_)) | (Inner::Combined(_), _) => {
                Err(Error::Failed)
            }
        }
    }

    /// Whether selected rows are locked: not in an [optimistic](super::Mode::Optimistic) transaction.
    pub(super) fn locks(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(_) | Inner::Combined(_) => true,
            Inner::Postgres(tx) => !tx.optimistic,
        }
    }

    /// Whether a statement that locks a row may wait for it, and then see that row as it is by now, but everything else as it was when
    /// the statement began.
    pub(super) fn lock_waits(&self) -> bool {
        self.dialect() == Dialect::Postgres && self.locks()
    }

    /// How to run it again, after it failed and nothing was committed.
    pub(super) fn rerun(&self) -> Option<Rerun> {
        match &self.inner {
            Inner::Sqlite(_) => None,
            Inner::Postgres(tx) => tx.rerun,
            Inner::Combined(combined) => combined.is_outgrown().then_some(Rerun::Fallback),
        }
    }

    /// Makes the changes last. Returns after they are durable.
    ///
    /// After [`Error::Unavailable`] the outcome is unknown (all of the changes or none); after any other error, or if
    /// an earlier statement failed, none was made. Dropping the future leaves the outcome unknown too.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.settle().await
    }

    /// [`commit`](Self::commit), with the transaction left behind to be asked why it failed.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if let Err(error) = self.flush().await {
            if let Inner::Sqlite(member) = &mut self.inner {
                member.rollback().await;
            }
            return Err(error);
        }
        match &mut self.inner {
            Inner::Sqlite(member) => member.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
            Inner::Combined(combined) => return combined.commit((self.leaves_work, self.records_events)).await,
        }
        if self.leaves_work {
            self.commits.work.send_replace(());
        }
        if self.records_events {
            self.commits.events.send_replace(());
        }
        Ok(())
    }

    /// Undoes the changes and waits until that is done; dropping does the same in the background.
    pub async fn rollback(mut self) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Sqlite(member) => {
                member.rollback().await;
                Ok(())
            }
            Inner::Postgres(tx) => tx.rollback().await,
            Inner::Combined(_) => Ok(()),
        }
    }
}

impl Connection for Tx {
    fn query(&mut self, sql: &'static str) -> Query<'_> {
        Query::new(Target::Tx(self), sql)
    }

    fn dialect(&self) -> Dialect {
        self.draft.dialect()
    }

    fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

/// A connection that reads what is committed, each statement its own snapshot. On SQLite it never waits for the writer
/// and cannot write.
pub struct Reader(ReaderInner, Sealer);

enum ReaderInner {
    Sqlite(SqliteReader),
    Postgres(Checkout),
}

impl Reader {
    pub(super) const fn sqlite(connection: SqliteReader, sealer: Sealer) -> Self {
        Self(ReaderInner::Sqlite(connection), sealer)
    }

    pub(super) const fn postgres(connection: Checkout, sealer: Sealer) -> Self {
        Self(ReaderInner::Postgres(connection), sealer)
    }
}

impl Connection for Reader {
    fn query(&mut self, sql: &'static str) -> Query<'_> {
        Query::new(
            match &mut self.0 {
                ReaderInner::Sqlite(connection) => Target::Sqlite(connection),
                ReaderInner::Postgres(connection) => Target::Postgres(connection),
            },
            sql,
        )
    }

    fn dialect(&self) -> Dialect {
        match &self.0 {
            ReaderInner::Sqlite(_) => Dialect::Sqlite,
            ReaderInner::Postgres(_) => Dialect::Postgres,
        }
    }

    fn sealer(&self) -> &Sealer {
        &self.1
    }
}
