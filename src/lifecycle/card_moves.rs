//! The one way by which a card moves, whoever moves it: see [`moves`](super::moves).

use super::Recorder;
use super::moves::{NotMoved, Step, cause};
use crate::clock::Clock;
use crate::domain;
use crate::domain::account::{self, Sleeper};
use crate::domain::card::{Move, Status};
use crate::store::cards::{self, Held};
use crate::store::{Tx, tasks};

/// Moves a card whose customer `tx` has locked: changes and writes it, and records the event.
///
/// While its account sleeps, [`Move::Issue`] becomes [`Move::IssueAsleep`] and [`Move::Unsuspend`] becomes
/// [`Move::UnsuspendAsleep`]; whoever put the account to sleep wakes the card with it. The caller sets `issued`
/// beforehand.
///
/// # Errors
///
/// [`NotMoved`]: where its status does not allow the move, and for [`Move::Activate`] on an account that is not active.
pub async fn make(tx: &mut Tx, held: &mut Held, step: Step<'_, Move>, clock: &Clock) -> Result<(), NotMoved> {
    let awake = held.account.status == account::Status::Active;
    let by = match step.by {
        Move::Issue if !awake => Move::IssueAsleep,
        Move::Unsuspend if !awake => Move::UnsuspendAsleep,
        by => by,
    };
    if by == Move::Activate && held.card.status == Status::Inactive && !awake {
        return Err(domain::Error::asleep("card", "account", held.account.status).into());
    }
    let chain = &mut held.customer.chain;
    let now = chain.next_time(clock.now());
    let was_issuing = held.card.status == Status::Issuing;
    let from = held.card.make(by, now)?;
    if matches!(by, Move::IssueAsleep | Move::UnsuspendAsleep) {
        // An account that sleeps on its own account is not woken by its customer, nor are its cards.
        held.card.slept_by = Some(held.account.slept_by.unwrap_or(Sleeper::Account));
    }
    let draft = held.card.event(Some(from), cause(by.as_str(), step.reason));
    Recorder { origin: step.origin, clock }.append(tx, chain, vec![draft]).await?;
    if was_issuing {
        tasks::withdraw(tx, &[held.card.id]).await?;
    }
    cards::update(tx, held).await?;
    Ok(())
}
