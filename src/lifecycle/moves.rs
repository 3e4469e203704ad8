//! The one way by which a customer moves, whoever moves it: row, event, what the new status asks for, and what follows
//! with its accounts and cards, together.

use super::Recorder;
use super::cascade::Cascade;
use crate::clock::Clock;
use crate::domain;
use crate::domain::customer::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::reason::PublicReason;
use crate::store::children::{Follow, Parent};
use crate::store::customers::{self, Held};
use crate::store::tasks::{self, Kind, NewTask};
use crate::store::{Error, Retry, Tx};

/// A move about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a, M = Move> {
    /// The move: of a customer, an account or a card.
    pub by: M,
    /// Why, for the audit trail: printable. What a caller gives has at most 256 characters; what screening was done by has more.
    pub reason: Option<&'a str>,
    /// Who.
    pub origin: &'a Origin,
}

/// Why a customer, account or card was not moved.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// Its status does not allow the move. Nothing was written.
    #[error(transparent)]
    Refused(#[from] domain::Error),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Retry for NotMoved {
    fn is_retry(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retry())
    }
}

/// Moves a customer whose row `tx` has locked: changes and writes it, records the event, and gives the screening its task when
/// ownership was proven, which also uses up the challenge.
///
/// Its accounts and cards follow in the same transaction, one event each after its own.
///
/// # Errors
///
/// [`NotMoved`]
pub async fn make(tx: &mut Tx, held: &mut Held, step: Step<'_>, clock: &Clock) -> Result<(), NotMoved> {
    let now = held.chain.next_time(clock.now());
    let from = held.customer.make(step.by, now)?;
    let cause = cause(step.by.as_str(), step.reason);
    let recorder = Recorder { origin: step.origin, clock };
    recorder.append(tx, &mut held.chain, vec![held.customer.event(Some(from), cause)]).await?;
    if held.customer.status == Status::Screening {
        held.challenge = None;
        let customer = &held.customer;
        let task = NewTask {
            id: clock.id(),
            kind: Kind::Screening,
            programme_id: customer.programme_id,
            customer_id: customer.id,
            entity_id: customer.id,
            created_at: clock.now(),
        };
        tasks::enqueue(tx, &task)?;
    }
    let follow = match step.by {
        Move::Deactivate => Some(Follow::Deactivate),
        Move::Activate => Some(Follow::Reactivate),
        Move::Reject => Some(Follow::End),
        Move::ProveOwnership | Move::Clear | Move::Approve => None,
    };
    if let Some(follow) = follow.filter(|_| !held.childless) {
        let parent = Parent::Customer(held.customer.id);
        Cascade { parent, follow, now, recorder }.run(tx, &mut held.chain).await?;
    }
    customers::update(tx, held).await?;
    if step.by == Move::Reject {
        customers::set_rejection(tx, held.customer.id, PublicReason::by(&step.origin.actor)).await?;
    }
    Ok(())
}

/// The cause of an event: the move, and the reason where one was given.
pub(super) fn cause(by: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| by.to_owned(), |reason| format!("{by}: {reason}"))
}
