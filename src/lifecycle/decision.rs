//! Decisions that operators make about customers' identity, where no provider does or against it.

use super::moves::{self, NotMoved, Step};
use crate::clock::Clock;
use crate::domain;
use crate::domain::customer::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::kyc::KycStatus;
use crate::domain::reason::PublicReason;
use crate::store::Tx;
use crate::store::customers::{self, Held};
use crate::store::verifications::{self, Verification};

/// What an operator decided.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Approved, or rejected.
    pub approve: bool,
    /// Why: printable, at most 256 characters. For operators alone.
    pub reason: &'a str,
    /// Who.
    pub origin: &'a Origin,
}

/// Writes the decision and moves the locked customer, who must be verifying. It counts as made now, or just after the
/// decision in force where that is of a later time: what a provider decided before, and tells of later, does not overwrite it.
///
/// # Errors
///
/// [`NotMoved`]
pub async fn decide(tx: &mut Tx, held: &mut Held, decision: Decision<'_>, clock: &Clock) -> Result<(), NotMoved> {
    let Decision { approve, reason, origin } = decision;
    let (id, status) = (held.customer.id, held.customer.status);
    if status != Status::Verifying {
        return Err(domain::Error::transition("customer", status, "decided about").into());
    }
    let mut state = verifications::get_any(tx, id).await?.map(|known| known.state).unwrap_or_default();
    let (now, last) = (clock.now(), state.decided_at_ms.unwrap_or(i64::MIN));
    state.status = if approve { KycStatus::Approved } else { KycStatus::Rejected };
    state.reasons.clear();
    state.decided_at_ms = Some((now.micros() / 1000).max(last.saturating_add(1)));
    state.last_event = None;
    verifications::put(tx, id, &Verification { state, provider: Some(origin.actor.clone()), updated_at: now }).await?;
    let by = if approve { Move::Approve } else { Move::Reject };
    moves::make(tx, held, Step { by, reason: Some(reason), origin }, clock).await?;
    if !approve {
        // An operator's other rejections are about something else.
        customers::set_rejection(tx, id, PublicReason::Identity).await?;
    }
    Ok(())
}
