//! What a partner may read of why something happened.
//!
//! The audit trail names lists, operators and what operators wrote. To tell a partner, or through it the person, that
//! somebody is watched may be an offence (tipping off), so that partners read a public code instead. Nothing is left out of
//! the record: what is stored, and covered by the hashes, stays whole, and operators read it.

use super::event::Event;

/// Why a customer was rejected, in the words that partners may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicReason {
    /// Screening.
    Sanctions,
    /// Identity verification.
    Identity,
    /// Everything else, such as an operator's own decision.
    Other,
}

/// The actors whose names partners may read. Any other is `operator`.
const ACTORS: [&str; 9] =
    ["programme", "owner", "screening", "kyc", "simulator", "deployment", "issuing", "migration", "operator"];

/// The second halves of causes that name no more than what moved with what.
const WITH_PARENT: [&str; 3] = ["with its customer", "with its account", "with its card"];

/// The status, and the move, of a rejection.
const REJECTED: &str = "rejected";

impl PublicReason {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sanctions => "sanctions",
            Self::Identity => "identity",
            Self::Other => "other",
        }
    }

    /// The reason of that code.
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Sanctions, Self::Identity, Self::Other].into_iter().find(|reason| reason.as_str() == code)
    }

    /// By who rejected the customer, an event's actor, where nothing else was noted.
    pub fn by(actor: &str) -> Self {
        match actor {
            "screening" => Self::Sanctions,
            "kyc" | "simulator" => Self::Identity,
            _ => Self::Other,
        }
    }
}

/// The actor of an event, as a partner reads it.
pub fn public_actor(event: &Event) -> &str {
    ACTORS.into_iter().find(|known| *known == event.actor).unwrap_or("operator")
}

/// Whether an event is a customer's rejection, of which there is one at most.
pub fn is_rejection(event: &Event) -> bool {
    event.entity_type == "customer" && event.to == REJECTED
}

/// The cause of an event, as a partner reads it: the move, and of a rejection the customer's public code. Works on what older
/// versions wrote as well, since it keeps what is known and drops the rest.
pub fn public_cause(event: &Event, rejection: PublicReason) -> String {
    let (by, reason) = event.cause.split_once(": ").unwrap_or((&event.cause, ""));
    if is_rejection(event) {
        return format!("{REJECTED}: {}", rejection.as_str());
    }
    if WITH_PARENT.contains(&reason) { event.cause.clone() } else { by.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::event::Hash;
    use uuid::Uuid;

    fn event(entity_type: &str, actor: &str, cause: &str) -> Event {
        Event {
            id: Uuid::nil(),
            programme_id: Uuid::nil(),
            customer_id: Uuid::nil(),
            seq: 1,
            entity_type: entity_type.into(),
            entity_id: Uuid::nil(),
            actor: actor.into(),
            cause: cause.into(),
            from: None,
            to: if cause.starts_with(REJECTED) { REJECTED.into() } else { String::new() },
            version: 1,
            created_at: Timestamp::EPOCH,
            body: String::new(),
            traceparent: None,
            request_id: None,
            previous_hash: Hash::default(),
            hash: Hash::default(),
            hash_version: 2,
            commitments: Vec::new(),
        }
    }

    #[test]
    fn codes_are_read_back() {
        for reason in [PublicReason::Sanctions, PublicReason::Identity, PublicReason::Other] {
            assert_eq!(PublicReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(PublicReason::parse(""), None);
    }

    #[test]
    fn partners_read_codes_and_moves_only() {
        for (entity_type, actor, cause, public) in [
            (
                "customer",
                "screening",
                "rejected: SANCTIONED_ADDRESS: ofac.xml, programme CYBER2",
                "rejected: sanctions",
            ),
            ("customer", "screening", "screening_clear: ofac.xml (sha256 00)", "screening_clear"),
            ("customer", "kyc", "rejected: DOCUMENT_UNREADABLE, FRAUD", "rejected: identity"),
            ("customer", "operator:eve", "rejected: Knows somebody: listed.", "rejected: other"),
            ("customer", "simulator", "rejected", "rejected: identity"),
            ("customer", "programme", "created", "created"),
            ("card", "operator:eve", "suspended: Fraud.", "suspended"),
            ("account", "screening", "closed: with its customer", "closed: with its customer"),
            ("account", "operator:ops", "closed: with its customer, who is listed", "closed"),
        ] {
            assert_eq!(public_cause(&event(entity_type, actor, cause), PublicReason::by(actor)), public);
        }
        let decided = event("customer", "operator:eve", "rejected: Passport forged.");
        assert_eq!(public_cause(&decided, PublicReason::Identity), "rejected: identity");
        let actor = |actor| public_actor(&event("customer", actor, "created")).to_owned();
        assert_eq!(
            (actor("operator:eve"), actor("kyc"), actor("eve")),
            ("operator".into(), "kyc".into(), "operator".into())
        );
    }
}
