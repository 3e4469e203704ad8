//! KYC progress of one customer, and the rule by which partner callbacks change it.
//!
//! Callbacks come late, twice and in any order. Each carries the time at which the partner made the decision, and
//! the newest decision wins. So the state after any arrival order is the same, with one exception that is wanted: a
//! final rejection, once applied, stands, because its consequences (accounts closed, cards terminated) cannot be undone.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One thing the customer may be told. Never holds a provider's internal notes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, upper snake case, ours: providers' own labels are mapped to these.
    pub code: String,
    /// A plain English sentence.
    pub message: String,
}

impl Reason {
    /// A reason from its code and sentence.
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }
}

/// What a partner says about a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision", content = "reasons")]
pub enum Decision {
    /// The customer has begun, or was asked to begin again.
    InProgress,
    /// The partner has everything and is looking at it.
    InReview,
    /// The customer has to send something (again).
    NeedsInformation(Vec<Reason>),
    /// Passed.
    Approved,
    /// Refused for good.
    Rejected(Vec<Reason>),
}

impl Decision {
    /// The status this decision leads to.
    pub const fn status(&self) -> KycStatus {
        match self {
            Self::InProgress => KycStatus::InProgress,
            Self::InReview => KycStatus::InReview,
            Self::NeedsInformation(_) => KycStatus::NeedsInformation,
            Self::Approved => KycStatus::Approved,
            Self::Rejected(_) => KycStatus::Rejected,
        }
    }

    /// The reasons given, if the decision has any.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::NeedsInformation(reasons) | Self::Rejected(reasons) => reasons,
            Self::InProgress | Self::InReview | Self::Approved => &[],
        }
    }
}

/// Where a customer's KYC stands. The order is that of precedence between decisions of the same millisecond: a
/// final decision before a note of progress, a rejection before an approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KycStatus {
    /// The verification link was never opened.
    #[default]
    NotStarted,
    /// Opened, not yet handed in.
    InProgress,
    /// Handed in.
    InReview,
    /// The customer has to send something (again).
    NeedsInformation,
    /// Passed.
    Approved,
    /// Refused for good.
    Rejected,
}

impl KycStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::NotStarted, Self::InProgress, Self::InReview, Self::NeedsInformation, Self::Approved, Self::Rejected];

    /// The name used in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::InProgress => "in_progress",
            Self::InReview => "in_review",
            Self::NeedsInformation => "needs_information",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// An authenticated message of a partner about one customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Which provider sent it, e.g. `sumsub`.
    pub provider: &'static str,
    /// Equal for two deliveries of the same event, different for different events; at most 64 ASCII characters.
    pub event_key: String,
    /// The customer it is about.
    pub customer_id: Uuid,
    /// When the partner made the decision, in milliseconds since the Unix epoch, by the partner's clock.
    pub occurred_at_ms: i64,
    /// The decision.
    pub decision: Decision,
    /// Whether it was made in the partner's test mode: it says nothing about a live programme's customer.
    pub test_mode: bool,
}

/// How far ahead of ours a partner's clock may be, in milliseconds. A time beyond it is not believed: nothing that is decided
/// later could be newer.
pub const AHEAD_MAX_MS: i64 = 60_000;

/// How many [early](KycState::early) messages are remembered.
const EARLY_MAX: usize = 16;

/// The stored KYC progress of one customer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KycState {
    /// Where it stands.
    pub status: KycStatus,
    /// What the customer may be told; empty unless something is needed or the customer was rejected.
    pub reasons: Vec<Reason>,
    /// Partner's time of the decision in force; `None` until the first callback.
    pub decided_at_ms: Option<i64>,
    /// [`Callback::event_key`] of the decision in force.
    pub last_event: Option<String>,
    /// Those of decisions whose time lay too far ahead, newest last.
    pub early: Vec<String>,
}

/// Why a callback changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The decision in force is this very one.
    Duplicate,
    /// The decision in force is newer, or of the same millisecond and takes precedence.
    Older,
    /// The customer was rejected for good; nothing revives.
    Final,
}

/// What a callback did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Ignored(Ignored),
    /// This is the state to store. Its status may equal the old one with newer time or other reasons.
    Changed(KycState),
}

impl KycState {
    /// The customer opened the verification link. Leaves the time of decision alone: it is by our clock, and a
    /// callback by a partner's slower clock must not be taken for an older one.
    #[must_use]
    pub fn opened(&self) -> Self {
        match self.status {
            KycStatus::NotStarted => Self { status: KycStatus::InProgress, ..self.clone() },
            _ => self.clone(),
        }
    }

    /// Weighs a callback that came at `now_ms` against the decision in force. One whose time lies too far ahead counts as made
    /// when it came, and only the first time: it is repeated without getting newer.
    pub fn receive(&self, callback: &Callback, now_ms: i64) -> Outcome {
        if self.early.contains(&callback.event_key) {
            return Outcome::Ignored(Ignored::Duplicate);
        }
        if callback.occurred_at_ms <= now_ms.saturating_add(AHEAD_MAX_MS) {
            return self.apply(callback);
        }
        let mut outcome = self.apply(&Callback { occurred_at_ms: now_ms, ..callback.clone() });
        if let Outcome::Changed(state) = &mut outcome {
            state.early.push(callback.event_key.clone());
            let most = state.early.len().saturating_sub(EARLY_MAX);
            state.early.drain(..most);
        }
        outcome
    }

    /// Weighs a callback against the decision in force.
    pub fn apply(&self, callback: &Callback) -> Outcome {
        if self.last_event.as_deref() == Some(callback.event_key.as_str()) {
            return Outcome::Ignored(Ignored::Duplicate);
        }
        if self.status == KycStatus::Rejected {
            return Outcome::Ignored(Ignored::Final);
        }
        let status = callback.decision.status();
        let theirs = (Some(callback.occurred_at_ms), status, Some(callback.event_key.as_str()));
        // Before the first callback the status is our own note, which weighs nothing: None sorts first.
        let ours = (self.decided_at_ms, self.status, self.last_event.as_deref());
        if theirs <= ours {
            return Outcome::Ignored(Ignored::Older);
        }
        Outcome::Changed(Self {
            status,
            reasons: callback.decision.reasons().to_vec(),
            decided_at_ms: Some(callback.occurred_at_ms),
            last_event: Some(callback.event_key.clone()),
            early: self.early.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(key: &str, at: i64, decision: Decision) -> Callback {
        Callback {
            provider: "test",
            event_key: key.to_owned(),
            customer_id: Uuid::nil(),
            occurred_at_ms: at,
            decision,
            test_mode: false,
        }
    }

    fn after(callbacks: &[Callback]) -> KycState {
        callbacks.iter().fold(KycState::default(), |state, callback| match state.apply(callback) {
            Outcome::Changed(next) => next,
            Outcome::Ignored(_) => state,
        })
    }

    #[test]
    fn a_late_rejection_overturns_an_approval() {
        let state = after(&[callback("a", 1, Decision::Approved), callback("b", 2, Decision::Rejected(vec![]))]);
        assert_eq!((state.status, state.decided_at_ms), (KycStatus::Rejected, Some(2)));
    }

    #[test]
    fn an_older_callback_is_ignored() {
        let approved = after(&[callback("b", 2, Decision::Approved)]);
        for older in [Decision::Rejected(vec![]), Decision::InReview, Decision::NeedsInformation(vec![])] {
            assert_eq!(approved.apply(&callback("a", 1, older)), Outcome::Ignored(Ignored::Older));
        }
        let waiting = after(&[callback("b", 2, Decision::NeedsInformation(vec![]))]);
        assert_eq!(waiting.apply(&callback("a", 1, Decision::Approved)), Outcome::Ignored(Ignored::Older));
    }

    #[test]
    fn a_duplicate_is_ignored_even_when_it_rejected() {
        let rejection = callback("a", 1, Decision::Rejected(vec![]));
        let state = after(std::slice::from_ref(&rejection));
        assert_eq!(state.apply(&rejection), Outcome::Ignored(Ignored::Duplicate));
    }

    #[test]
    fn nothing_revives_after_a_rejection() {
        let state = after(&[callback("a", 1, Decision::Rejected(vec![]))]);
        assert_eq!(state.apply(&callback("b", 2, Decision::Approved)), Outcome::Ignored(Ignored::Final));
    }

    #[test]
    fn in_the_same_millisecond_the_graver_decision_wins_whichever_comes_first() {
        let ranked = [
            Decision::InProgress,
            Decision::InReview,
            Decision::NeedsInformation(vec![]),
            Decision::Approved,
            Decision::Rejected(vec![]),
        ];
        for (i, lesser) in ranked.iter().enumerate() {
            for graver in &ranked[i + 1..] {
                let (x, y) = (callback("x", 5, lesser.clone()), callback("y", 5, graver.clone()));
                assert_eq!(after(&[x.clone(), y.clone()]).status, graver.status());
                assert_eq!(after(&[y, x]).status, graver.status());
            }
        }
    }

    #[test]
    fn opening_counts_as_no_decision() {
        let opened = KycState::default().opened();
        assert_eq!((opened.status, opened.decided_at_ms), (KycStatus::InProgress, None));
        let Outcome::Changed(state) = opened.apply(&callback("a", i64::MIN, Decision::InProgress)) else {
            panic!("the first callback must count whatever its time");
        };
        assert_eq!(state.decided_at_ms, Some(i64::MIN));
        let approved = after(&[callback("a", 1, Decision::Approved)]);
        assert_eq!(approved.opened(), approved);
    }

    #[test]
    fn a_clock_that_is_ahead_shadows_nothing() {
        let receive = |state: &KycState, callback: &Callback, now| match state.receive(callback, now) {
            Outcome::Changed(next) => next,
            Outcome::Ignored(_) => state.clone(),
        };
        let (far, fin) =
            (callback("far", i64::MAX, Decision::Approved), callback("fin", 2_000, Decision::NeedsInformation(vec![])));
        let approved = receive(&KycState::default(), &far, 1_000);
        assert_eq!((approved.status, approved.decided_at_ms), (KycStatus::Approved, Some(1_000)));
        let asked = receive(&approved, &fin, 2_100);
        assert_eq!(asked.status, KycStatus::NeedsInformation);
        // Its repetition is no newer decision.
        assert_eq!(asked.receive(&far, 300_000), Outcome::Ignored(Ignored::Duplicate));
        // A clock that is ahead by little still orders what comes out of order.
        let (older, newer) = (callback("a", 31_000, Decision::Approved), callback("b", 32_000, Decision::InReview));
        let state = receive(&receive(&KycState::default(), &newer, 1_000), &older, 1_100);
        assert_eq!(state.status, KycStatus::InReview);
    }

    #[test]
    fn reasons_follow_the_decision() {
        let reasons = vec![Reason::new("DOCUMENT_UNREADABLE", "Please send a clearer picture.")];
        let asked = callback("a", 1, Decision::NeedsInformation(reasons.clone()));
        assert_eq!(after(std::slice::from_ref(&asked)).reasons, reasons);
        assert_eq!(after(&[asked, callback("b", 2, Decision::InReview)]).reasons, vec![]);
    }

    #[test]
    fn names_round_trip() {
        for status in KycStatus::ALL {
            assert_eq!(KycStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).ok(), Some(status.as_str().into()));
        }
        assert_eq!(KycStatus::parse("Approved"), None);
    }
}
