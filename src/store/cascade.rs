//! What follows a customer or an account: its accounts and cards sleep, wake and end with it, in its transaction.
//!
//! The parent's mover holds the customer's row, and so does everybody who makes or moves a child: nothing is missed and
//! nothing slips in. Children are taken oldest first, accounts before cards, at most [`BATCH`] at a time: that many are in
//! memory at once, however many there are, and each batch costs one read, one update of its rows and the inserts of its
//! events. Only the customer's row and the children's own rows are locked until the commit, so that other customers'
//! writes do not wait on PostgreSQL; the longest that anybody waits for a statement of the cascade is one batch. On SQLite
//! they wait for the whole of it.

use uuid::Uuid;

use super::query::Query;
use super::{Tx, accounts, cards, events, tasks};
use crate::clock::Clock;
use crate::domain::account::{self, Account, Sleeper};
use crate::domain::card::{self, Card};
use crate::domain::event::{Chain, Draft, Origin};
use crate::domain::{self, Timestamp};
use crate::store::moves::NotMoved;

/// Children moved by one statement, and held in memory, at the most.
const BATCH: usize = 500;

/// What happened to the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It was put to sleep: what is active sleeps too.
    Sleep,
    /// It was woken: what it put to sleep wakes.
    Wake,
    /// It is over: everything that is not, is now.
    End,
}

/// The parent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parent {
    Customer(Uuid),
    Account(Uuid),
}

impl Parent {
    const fn sleeper(self) -> Sleeper {
        match self {
            Self::Customer(_) => Sleeper::Customer,
            Self::Account(_) => Sleeper::Account,
        }
    }
}

/// A move of a parent, as its children see it.
#[derive(Clone, Copy)]
pub(super) struct Cascade<'a> {
    pub(super) parent: Parent,
    pub(super) what: What,
    /// When the parent moved.
    pub(super) now: Timestamp,
    pub(super) origin: &'a Origin,
    pub(super) clock: &'a Clock,
}

/// Which children a cascade moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which {
    what: What,
    by: Sleeper,
}

impl Which {
    /// Narrows a query over children to them.
    pub(super) fn narrow<'q>(self, query: Query<'q>, live: &'static str) -> Query<'q> {
        match self.what {
            What::Sleep => query.push(" AND status = 'active'"),
            What::Wake => query.push(" AND status = 'inactive' AND slept_by = ").push_bind(self.by.as_str()),
            What::End => query.push(live),
        }
    }
}

/// The next batch of a query over children.
pub(super) fn next(query: Query<'_>, after: Option<(Timestamp, Uuid)>, limit: i64) -> Query<'_> {
    let query = match after {
        Some((at, id)) => query.push(" AND (created_at, id) > (").push_bind(at).push(", ").push_bind(id).push(")"),
        None => query,
    };
    query.push(" ORDER BY created_at, id LIMIT ").push_bind(limit)
}

/// A child of either kind.
trait Child: Sized + Send + Sync {
    fn key(&self) -> (Timestamp, Uuid);
    fn updated_at(&self) -> Timestamp;
    fn slept_by(&mut self) -> &mut Option<Sleeper>;
    /// Moves it and gives its event.
    fn follow(&mut self, what: What, now: Timestamp, parent: &str) -> Result<Draft, domain::Error>;
    /// Whether it waited for another service before it was moved.
    fn waits(&self) -> bool;
}

fn cause(by: &str, parent: &str) -> String {
    format!("{by}: with its {parent}")
}

impl Child for Account {
    fn key(&self) -> (Timestamp, Uuid) {
        (self.created_at, self.id)
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn slept_by(&mut self) -> &mut Option<Sleeper> {
        &mut self.slept_by
    }

    fn follow(&mut self, what: What, now: Timestamp, parent: &str) -> Result<Draft, domain::Error> {
        let by = match what {
            What::Sleep => account::Move::Deactivate,
            What::Wake => account::Move::Activate,
            What::End => account::Move::Close,
        };
        let from = self.make(by, now)?;
        Ok(self.event(Some(from), cause(by.as_str(), parent)))
    }

    fn waits(&self) -> bool {
        self.status == account::Status::Pending
    }
}

impl Child for Card {
    fn key(&self) -> (Timestamp, Uuid) {
        (self.created_at, self.id)
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn slept_by(&mut self) -> &mut Option<Sleeper> {
        &mut self.slept_by
    }

    fn follow(&mut self, what: What, now: Timestamp, parent: &str) -> Result<Draft, domain::Error> {
        let by = match what {
            What::Sleep => card::Move::Deactivate,
            What::Wake => card::Move::Activate,
            What::End => card::Move::Terminate,
        };
        let from = self.make(by, now)?;
        Ok(self.event(Some(from), cause(by.as_str(), parent)))
    }

    fn waits(&self) -> bool {
        self.status == card::Status::Issuing
    }
}

impl Cascade<'_> {
    /// Moves everything that follows the parent, and appends the events to the customer's chain, whose end the caller
    /// writes back.
    pub(super) async fn run(self, tx: &mut Tx, chain: &mut Chain) -> Result<(), NotMoved> {
        let (which, limit) = (Which { what: self.what, by: self.parent.sleeper() }, BATCH as i64);
        if let Parent::Customer(id) = self.parent {
            let mut after = None;
            loop {
                let mut batch = accounts::affected(tx, id, which, (after, limit)).await?;
                after = batch.last().map(Child::key);
                self.follow(tx, &mut batch, chain).await?;
                accounts::update_all(tx, &batch).await?;
                if batch.len() < BATCH {
                    break;
                }
            }
        }
        let mut after = None;
        loop {
            let mut batch = cards::affected(tx, self.parent, which, (after, limit)).await?;
            after = batch.last().map(Child::key);
            self.follow(tx, &mut batch, chain).await?;
            cards::update_all(tx, &batch).await?;
            if batch.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Moves a batch in memory, at one moment, records its events, and takes back what it asked of other services.
    async fn follow<C: Child>(self, tx: &mut Tx, batch: &mut [C], chain: &mut Chain) -> Result<(), NotMoved> {
        let now = batch.iter().map(C::updated_at).fold(self.now, Timestamp::max);
        let waiting: Vec<Uuid> = batch.iter().filter(|child| child.waits()).map(|child| child.key().1).collect();
        let mut recorded = Vec::with_capacity(batch.len());
        for child in batch {
            let draft = child.follow(self.what, now, self.parent.sleeper().as_str())?;
            if self.what == What::Sleep {
                *child.slept_by() = Some(self.parent.sleeper());
            }
            recorded.push(chain.append((self.clock.id(), now), draft, self.origin));
        }
        events::insert(tx, &recorded).await?;
        tasks::withdraw(tx, &waiting).await?;
        Ok(())
    }
}
