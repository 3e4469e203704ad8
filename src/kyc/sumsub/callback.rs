//! What a callback says. Read only after its digest was verified.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::instant;
use super::reasons::{self, Purpose};
use crate::kyc::{Callback, Decision, Refused};

/// The fields that are read. `clientComment` is not among them: it must not be shown, stored or logged, so it never
/// leaves the raw body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    applicant_id: Option<String>,
    external_user_id: Option<Value>,
    level_name: Option<String>,
    sandbox_mode: Option<Value>,
    review_result: Option<Review>,
    created_at_ms: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    review_answer: Option<String>,
    review_reject_type: Option<String>,
    reject_labels: Option<Vec<String>>,
    moderation_comment: Option<String>,
}

/// What an event type means, by Sumsub's list of them.
enum Meaning {
    Is(Decision),
    /// Look at the review's result.
    Reviewed,
    /// Says nothing about where the verification stands.
    Nothing,
}

fn meaning(kind: &str) -> Meaning {
    match kind {
        "applicantCreated" | "applicantReset" => Meaning::Is(Decision::InProgress),
        "applicantPending" | "applicantPrechecked" | "applicantOnHold" | "applicantAwaitingService" => {
            Meaning::Is(Decision::InReview)
        }
        "applicantAwaitingUser" => Meaning::Is(Decision::NeedsInformation(vec![Purpose::Request.reason()])),
        "applicantReviewed" | "applicantWorkflowCompleted" | "applicantWorkflowFailed" => Meaning::Reviewed,
        // applicantPersonalInfoChanged, …TagsChanged, …LevelChanged, …Activated, …Deactivated, …Deleted, the events of
        // actions, of video calls and of transactions, and whatever comes in future.
        _ => Meaning::Nothing,
    }
}

impl Payload {
    /// Our id of the customer. What names nobody of ours, or nobody at all, is theirs to keep and ours to acknowledge: it would
    /// be repeated for a day.
    fn customer(&self) -> Option<Uuid> {
        Uuid::try_parse(self.external_user_id.as_ref()?.as_str()?).ok()
    }

    /// Whether the level allows the decision. Only our own level approves; a final rejection counts whatever its level; anything
    /// else may lack a level, but not have another.
    fn is_of(&self, our_level: &str, decision: &Decision) -> bool {
        match (decision, self.level_name.as_deref()) {
            (Decision::Rejected(_), _) => true,
            (_, Some(level)) => level == our_level,
            (decision, None) => *decision != Decision::Approved,
        }
    }
}

/// Reads an authentic body. A review of another level than ours cannot approve, and only a final rejection is heeded.
pub(super) fn read(body: &[u8], our_level: &str) -> Result<Option<Callback>, Refused> {
    let payload: Payload = serde_json::from_slice(body).map_err(|_| Refused::Malformed("not the documented JSON"))?;
    let Some(customer_id) = payload.customer() else { return Ok(None) };
    let decision = match meaning(&payload.kind) {
        Meaning::Nothing => return Ok(None),
        Meaning::Is(decision) => decision,
        Meaning::Reviewed => reviewed(payload.review_result.as_ref()),
    };
    if !payload.is_of(our_level, &decision) {
        tracing::warn!(kind = payload.kind, "KYC callback of another verification level, or of none, ignored");
        return Ok(None);
    }
    let occurred_at_ms =
        payload.created_at_ms.as_ref().and_then(instant::millis).ok_or(Refused::Malformed("createdAtMs is no time"))?;
    Ok(Some(Callback {
        provider: "sumsub",
        event_key: event_key(&payload, occurred_at_ms),
        customer_id,
        occurred_at_ms,
        decision,
        // Whatever it says there, only its absence and a plain no are live.
        test_mode: !matches!(payload.sandbox_mode, None | Some(Value::Null | Value::Bool(false))),
    }))
}

/// Only GREEN passes. RED is a request for more unless it says FINAL; any other answer is still open.
fn reviewed(review: Option<&Review>) -> Decision {
    let Some(review) = review else { return Decision::InReview };
    match review.review_answer.as_deref() {
        Some("GREEN") => Decision::Approved,
        Some("RED") => {
            let labels = review.reject_labels.as_deref().unwrap_or_default();
            let comment = review.moderation_comment.as_deref();
            if review.review_reject_type.as_deref() == Some("FINAL") {
                Decision::Rejected(reasons::from(labels, comment, Purpose::Rejection))
            } else {
                Decision::NeedsInformation(reasons::from(labels, comment, Purpose::Request))
            }
        }
        _ => Decision::InReview,
    }
}

/// Sumsub promises no event id, so an event is known by what it says and when it was made.
fn event_key(payload: &Payload, occurred_at_ms: i64) -> String {
    let review = payload.review_result.as_ref();
    let mut hash = Sha256::new();
    for part in [
        payload.kind.as_str(),
        payload.applicant_id.as_deref().unwrap_or_default(),
        payload.external_user_id.as_ref().and_then(Value::as_str).unwrap_or_default(),
        payload.level_name.as_deref().unwrap_or_default(),
        review.and_then(|review| review.review_answer.as_deref()).unwrap_or_default(),
        review.and_then(|review| review.review_reject_type.as_deref()).unwrap_or_default(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(occurred_at_ms.to_be_bytes());
    let digest = hash.finalize();
    format!("sumsub:{}", hex::encode(&digest[..16]))
}
