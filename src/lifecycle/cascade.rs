//! What follows a customer or an account: its accounts and cards are deactivated, reactivated and ended with it, in its
//! transaction.
//!
//! The parent's mover has locked the customer's row, and so has everybody who makes or moves a child: nothing is missed and
//! nothing slips in. Children are taken oldest first, accounts before cards, at most [`BATCH`] at a time: that many are in
//! memory at once, however many there are, and each batch costs one read, one update of its rows and the inserts of its
//! events. Only the customer's row and the children's own rows are locked until the commit, so that other customers'
//! writes do not wait on PostgreSQL; the longest that anybody waits for a statement of the cascade is one batch. On SQLite
//! they wait for the whole of it.

use uuid::Uuid;

use super::{NotMoved, Recorder};
use crate::domain::account::{self, Account, Sleeper};
use crate::domain::card::{self, Card};
use crate::domain::event::{Chain, Draft};
use crate::domain::{self, Timestamp};
use crate::store::children::{Batch, Follow, Parent};
use crate::store::{Tx, accounts, cards, tasks};

/// Children moved by one statement, and kept in memory, at most.
const BATCH: usize = 500;

/// A move of a parent, as its children see it.
#[derive(Clone, Copy)]
pub(super) struct Cascade<'a> {
    pub(super) parent: Parent,
    pub(super) follow: Follow,
    /// When the parent moved.
    pub(super) now: Timestamp,
    pub(super) recorder: Recorder<'a>,
}

/// A child of either kind.
trait Child: Sized + Send + Sync {
    fn key(&self) -> (Timestamp, Uuid);
    fn updated_at(&self) -> Timestamp;
    fn slept_by(&mut self) -> &mut Option<Sleeper>;
    /// Moves it and gives its event.
    fn follow(&mut self, follow: Follow, now: Timestamp, parent: &str) -> Result<Draft, domain::Error>;
    /// Whether it waited for another service before it was moved.
    fn waits(&self) -> bool;
}

/// `$end` is the move that ends it, `$waiting` the status in which it waits for another service.
macro_rules! child {
    ($entity:ty, $module:ident, end: $end:ident, waiting: $waiting:ident) => {
        impl Child for $entity {
            fn key(&self) -> (Timestamp, Uuid) {
                (self.created_at, self.id)
            }

            fn updated_at(&self) -> Timestamp {
                self.updated_at
            }

            fn slept_by(&mut self) -> &mut Option<Sleeper> {
                &mut self.slept_by
            }

            fn follow(&mut self, follow: Follow, now: Timestamp, parent: &str) -> Result<Draft, domain::Error> {
                let by = match follow {
                    Follow::Deactivate => $module::Move::Deactivate,
                    Follow::Reactivate => $module::Move::Activate,
                    Follow::End => $module::Move::$end,
                };
                let from = self.make(by, now)?;
                Ok(self.event(Some(from), format!("{}: with its {parent}", by.as_str())))
            }

            fn waits(&self) -> bool {
                self.status == $module::Status::$waiting
            }
        }
    };
}

child!(Account, account, end: Close, waiting: Pending);
child!(Card, card, end: Terminate, waiting: Issuing);

impl Cascade<'_> {
    /// Moves everything that follows the parent, and appends the events to the customer's chain, whose end the caller
    /// writes back.
    pub(super) async fn run(self, tx: &mut Tx, chain: &mut Chain) -> Result<(), NotMoved> {
        let next = |after| Batch { parent: self.parent, follow: self.follow, after, limit: BATCH as i64 };
        if let Parent::Customer(id) = self.parent {
            let mut after = None;
            loop {
                let mut batch = accounts::following(tx, id, &next(after)).await?;
                after = batch.last().map(Child::key);
                self.follow(tx, &mut batch, chain).await?;
                accounts::update_all(tx, &batch)?;
                if batch.len() < BATCH {
                    break;
                }
            }
        }
        let mut after = None;
        loop {
            let mut batch = cards::following(tx, &next(after)).await?;
            after = batch.last().map(Child::key);
            self.follow(tx, &mut batch, chain).await?;
            cards::update_all(tx, &batch)?;
            if batch.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Moves a batch in memory, at one moment, records its events, and takes back what it asked of other services.
    async fn follow<C: Child>(self, tx: &mut Tx, batch: &mut [C], chain: &mut Chain) -> Result<(), NotMoved> {
        let now = batch.iter().map(C::updated_at).fold(self.now, Timestamp::max);
        let waiting: Vec<Uuid> = batch.iter().filter(|child| child.waits()).map(|child| child.key().1).collect();
        let mut drafts = Vec::with_capacity(batch.len());
        for child in batch {
            let draft = child.follow(self.follow, now, self.parent.sleeper().as_str())?;
            if self.follow == Follow::Deactivate {
                *child.slept_by() = Some(self.parent.sleeper());
            }
            drafts.push(draft);
        }
        self.recorder.append(tx, chain, drafts).await?;
        tasks::withdraw(tx, &waiting).await?;
        Ok(())
    }
}
