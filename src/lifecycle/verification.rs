//! What a decision about a customer's identity does to the customer.

use super::moves::{self, NotMoved, Step};
use crate::clock::Clock;
use crate::domain::event::Origin;
use crate::domain::kyc::{Callback, KycState, Outcome};
use crate::domain::verification::consequence;
use crate::store::Tx;
use crate::store::customers::Held;
use crate::store::verifications::{self, Verification};

/// Reason codes in an event's cause: the audit trail is no place for whole lists.
const REASONS_IN_CAUSE: usize = 4;

/// Weighs a provider's message against the decision in force; where it counts, writes it and moves the locked customer
/// accordingly.
///
/// # Errors
///
/// [`NotMoved`], of which only the store's is to be expected.
pub async fn decide(tx: &mut Tx, held: &mut Held, callback: &Callback, clock: &Clock) -> Result<Outcome, NotMoved> {
    let id = held.customer.id;
    let state = verifications::get_any(tx, id).await?.map(|verification| verification.state).unwrap_or_default();
    let outcome = state.receive(callback, clock.now().micros() / 1000);
    if let Outcome::Changed(state) = &outcome {
        let provider = Some(callback.provider.to_owned());
        let verification = Verification { state: state.clone(), provider, updated_at: clock.now() };
        verifications::put(tx, id, &verification).await?;
        follow(tx, held, state, clock).await?;
    }
    Ok(outcome)
}

/// Makes the move that the decision in force calls for in the state of the locked customer, if it calls for one.
///
/// # Errors
///
/// [`NotMoved`], of which only the store's is to be expected.
pub async fn follow(tx: &mut Tx, held: &mut Held, state: &KycState, clock: &Clock) -> Result<(), NotMoved> {
    let Some(by) = consequence(held.customer.status, state.status) else { return Ok(()) };
    let codes: Vec<&str> = state.reasons.iter().take(REASONS_IN_CAUSE).map(|reason| reason.code.as_str()).collect();
    let codes = codes.join(", ");
    let reason = Some(codes.as_str()).filter(|codes| !codes.is_empty());
    moves::make(tx, held, Step { by, reason, origin: &Origin::internal("kyc") }, clock).await
}
