//! The value that is the transaction, and the one that only reads.

use sqlx::{Postgres, Sqlite};
use tokio::sync::watch;

use super::clear;
use super::dialect::Dialect;
use super::error::Error;
use super::pool::Lent;
use super::postgres::PgTx;
use super::query::{Query, Target};
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

enum Inner {
    Sqlite(Member),
    Postgres(Box<PgTx>),
}

impl Tx {
    pub(super) const fn sqlite(member: Member, sealer: Sealer, commits: Commits) -> Self {
        Self {
            inner: Inner::Sqlite(member),
            sealer,
            commits,
            leaves_work: false,
            records_events: false,
            in_the_clear: false,
        }
    }

    pub(super) fn postgres(tx: PgTx, sealer: Sealer, commits: Commits) -> Self {
        Self {
            inner: Inner::Postgres(Box::new(tx)),
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

    /// Makes the changes last. Returns after they are durable.
    ///
    /// After [`Error::Unavailable`] the outcome is unknown (all of the changes or none); after any other error, or if
    /// an earlier statement failed, none was made. Dropping the future leaves the outcome unknown too.
    pub async fn commit(self) -> Result<(), Error> {
        match self.inner {
            Inner::Sqlite(member) => member.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
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
    pub async fn rollback(self) -> Result<(), Error> {
        match self.inner {
            Inner::Sqlite(member) => {
                member.rollback().await;
                Ok(())
            }
            Inner::Postgres(tx) => tx.rollback().await,
        }
    }
}

impl Connection for Tx {
    fn query(&mut self, sql: &'static str) -> Query<'_> {
        Query::new(
            match &mut self.inner {
                Inner::Sqlite(member) => Target::SqliteTx(member),
                Inner::Postgres(tx) => Target::PostgresTx(tx),
            },
            sql,
        )
    }

    fn dialect(&self) -> Dialect {
        match &self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

/// A connection that reads what is committed, each statement its own snapshot. On SQLite it never waits for the writer
/// and cannot write.
pub struct Reader(ReaderInner, Sealer);

enum ReaderInner {
    Sqlite(Lent<Sqlite>),
    Postgres(Lent<Postgres>),
}

impl Reader {
    pub(super) const fn sqlite(connection: Lent<Sqlite>, sealer: Sealer) -> Self {
        Self(ReaderInner::Sqlite(connection), sealer)
    }

    pub(super) const fn postgres(connection: Lent<Postgres>, sealer: Sealer) -> Self {
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
