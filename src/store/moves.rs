//! The one way by which a customer moves, whoever moves it: row, event, what the new status asks for, and what follows
//! with its accounts and cards, together.

use super::cascade::{Cascade, Parent, What};
use super::customers::{self, Held};
use super::tasks::{self, Kind, NewTask};
use super::{Error, Retry, Tx, events};
use crate::clock::Clock;
use crate::domain;
use crate::domain::customer::{Move, Status};
use crate::domain::event::Origin;

/// A move about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a, M = Move> {
    /// The move: of a customer, an account or a card.
    pub by: M,
    /// Why, for the audit trail: printable, at most 256 characters.
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

/// Moves a customer that `tx` holds: changes and writes it, records the event, and gives the screening its task when
/// ownership was proven, which also uses up the challenge.
///
/// Its accounts and cards follow in the same transaction: asleep, awake or ended with it, one event each after its own.
///
/// The event's time is now, or the customer's last change where this node's clock is behind the one that made it: times
/// never run backwards along a chain.
///
/// # Errors
///
/// [`NotMoved`]
pub async fn make(tx: &mut Tx, held: &mut Held, step: Step<'_>, clock: &Clock) -> Result<(), NotMoved> {
    let now = clock.now().max(held.customer.updated_at);
    let from = held.customer.make(step.by, now)?;
    let cause = cause(step.by.as_str(), step.reason);
    let event = held.chain.append((clock.id(), now), held.customer.event(Some(from), cause), step.origin);
    if held.customer.status == Status::Screening {
        held.challenge = None;
        let customer = &held.customer;
        let task = NewTask {
            id: clock.id(),
            kind: Kind::Screening,
            programme_id: customer.programme_id,
            customer_id: customer.id,
            entity_id: customer.id,
            run_at: now,
            created_at: now,
        };
        tasks::enqueue(tx, &task).await?;
    }
    events::insert(tx, &[event]).await?;
    let what = match step.by {
        Move::Deactivate => Some(What::Sleep),
        Move::Activate => Some(What::Wake),
        Move::Reject => Some(What::End),
        Move::ProveOwnership | Move::Clear | Move::Approve => None,
    };
    if let Some(what) = what {
        let parent = Parent::Customer(held.customer.id);
        Cascade { parent, what, now, origin: step.origin, clock }.run(tx, &mut held.chain).await?;
    }
    customers::update(tx, held).await?;
    Ok(())
}

/// The cause of an event: the move, and the reason where one was given.
pub(super) fn cause(by: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| by.to_owned(), |reason| format!("{by}: {reason}"))
}
