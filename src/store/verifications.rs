//! How far customers' identity verification is, and what partners decided. Written only while the customer is held.

use uuid::Uuid;

use super::customers::Held;
use super::moves::{self, NotMoved, Step};
use super::value::row;
use super::{Connection, Error, Tx};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::event::Origin;
use crate::domain::kyc::{Callback, KycState, KycStatus, Outcome, Reason};
use crate::domain::verification::consequence;

/// Reason codes in an event's cause: the audit trail is no place for whole lists.
const REASONS_IN_CAUSE: usize = 4;

/// What is known of a customer's verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Where it stands.
    pub state: KycState,
    /// Who made the decision in force.
    pub provider: Option<String>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

row! {
    struct VerificationRow {
        status: String,
        reasons: String,
        provider: Option<String>,
        decided_at_ms: Option<i64>,
        last_event: Option<String>,
        updated_at: Timestamp,
    }
}

/// What is known of a customer's verification; `None` when it was never opened and nothing was heard of it.
pub async fn get(on: &mut impl Connection, customer_id: Uuid) -> Result<Option<Verification>, Error> {
    let row: Option<VerificationRow> = on
        .query(
            "SELECT status, reasons, provider, decided_at_ms, last_event, updated_at FROM verifications \
             WHERE customer_id = $1",
        )
        .bind(customer_id)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let status = KycStatus::parse(&row.status).ok_or_else(|| Error::unreadable("verifications.status", &row.status))?;
    let reasons: Vec<Reason> = serde_json::from_str(&row.reasons)
        .map_err(|error| Error::unreadable("verifications.reasons", &error.to_string()))?;
    let state = KycState { status, reasons, decided_at_ms: row.decided_at_ms, last_event: row.last_event };
    Ok(Some(Verification { state, provider: row.provider, updated_at: row.updated_at }))
}

/// Writes what is known.
pub async fn put(tx: &mut Tx, customer_id: Uuid, verification: &Verification) -> Result<(), Error> {
    let Verification { state, provider, updated_at } = verification;
    // Pairs of strings always serialise.
    let reasons = serde_json::to_string(&state.reasons).unwrap_or_default();
    tx.query(
        "INSERT INTO verifications (customer_id, status, reasons, provider, decided_at_ms, last_event, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (customer_id) DO UPDATE SET status = excluded.status, \
         reasons = excluded.reasons, provider = excluded.provider, decided_at_ms = excluded.decided_at_ms, \
         last_event = excluded.last_event, updated_at = excluded.updated_at",
    )
    .bind(customer_id)
    .bind(state.status.as_str())
    .bind(reasons)
    .bind(provider.as_deref())
    .bind(state.decided_at_ms)
    .bind(state.last_event.as_deref())
    .bind(*updated_at)
    .execute()
    .await?;
    Ok(())
}

/// Weighs a partner's message against the decision in force; where it counts, writes it and moves the held customer
/// accordingly.
///
/// # Errors
///
/// [`NotMoved`], of which only the store's is to be expected.
pub async fn decide(tx: &mut Tx, held: &mut Held, callback: &Callback, clock: &Clock) -> Result<Outcome, NotMoved> {
    let id = held.customer.id;
    let state = get(tx, id).await?.map(|verification| verification.state).unwrap_or_default();
    let outcome = state.apply(callback);
    if let Outcome::Changed(state) = &outcome {
        let provider = Some(callback.provider.to_owned());
        let verification = Verification { state: state.clone(), provider, updated_at: clock.now() };
        put(tx, id, &verification).await?;
        follow(tx, held, state, clock).await?;
    }
    Ok(outcome)
}

/// Makes the move that the decision in force calls for where the held customer is now, if it calls for one.
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
