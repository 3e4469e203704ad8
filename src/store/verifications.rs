//! How far customers' identity verification is, and what partners decided. Written only while the customer is held.

use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Tx};
use crate::domain::Timestamp;
use crate::domain::kyc::{AHEAD_MAX_MS, KycState, KycStatus, Reason};

/// The provider of a verification that screening has ended.
pub const SCREENING: &str = "screening";

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
        early_events: String,
        updated_at: Timestamp,
    }
}

/// What is known of a customer's verification; `None` when it was never opened and nothing was heard of it.
pub async fn get_any(on: &mut impl Connection, customer_id: Uuid) -> Result<Option<Verification>, Error> {
    let row: Option<VerificationRow> = on
        .query(
            "SELECT status, reasons, provider, decided_at_ms, last_event, early_events, updated_at FROM verifications \
             WHERE customer_id = $1",
        )
        .bind(customer_id)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let status = KycStatus::parse(&row.status).ok_or_else(|| Error::unreadable("verifications.status", &row.status))?;
    let reasons: Vec<Reason> = serde_json::from_str(&row.reasons)
        .map_err(|error| Error::unreadable("verifications.reasons", &error.to_string()))?;
    let early: Vec<String> = serde_json::from_str(&row.early_events)
        .map_err(|error| Error::unreadable("verifications.early_events", &error.to_string()))?;
    // What older versions kept of a clock that was ahead must not outweigh every later decision.
    let kept_at_ms = row.updated_at.micros() / 1000;
    let believed = |ms: i64| if ms > kept_at_ms.saturating_add(AHEAD_MAX_MS) { kept_at_ms } else { ms };
    let decided_at_ms = row.decided_at_ms.map(believed);
    let state = KycState { status, reasons, decided_at_ms, last_event: row.last_event, early };
    Ok(Some(Verification { state, provider: row.provider, updated_at: row.updated_at }))
}

/// Writes what is known.
pub async fn put(tx: &mut Tx, customer_id: Uuid, verification: &Verification) -> Result<(), Error> {
    let Verification { state, provider, updated_at } = verification;
    // Strings and pairs of them always serialise.
    let [reasons, early] =
        [serde_json::to_string(&state.reasons), serde_json::to_string(&state.early)].map(Result::unwrap_or_default);
    tx.query(
        "INSERT INTO verifications (customer_id, status, reasons, provider, decided_at_ms, last_event, updated_at, \
         early_events) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (customer_id) DO UPDATE SET status = excluded.status, \
         reasons = excluded.reasons, provider = excluded.provider, decided_at_ms = excluded.decided_at_ms, \
         last_event = excluded.last_event, updated_at = excluded.updated_at, early_events = excluded.early_events",
    )
    .bind(customer_id)
    .bind(state.status.as_str())
    .bind(reasons)
    .bind(provider.as_deref())
    .bind(state.decided_at_ms)
    .bind(state.last_event.as_deref())
    .bind(*updated_at)
    .bind(early)
    .execute()
    .await?;
    Ok(())
}
