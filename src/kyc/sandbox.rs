//! The embedded portal, where a person plays the partner.

use http::HeaderMap;
use uuid::Uuid;

use super::{Callback, Decision, KycProvider, Outage, Redirect, Refused, Session};
use crate::domain::kyc::Reason;

/// Sends customers to our own portal page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sandbox;

/// A button of the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Passed.
    Approve,
    /// Refused for good.
    Decline,
    /// Something has to be sent again.
    MoreInformation,
}

impl Choice {
    /// The choice of that form value: `approve`, `decline` or `more_information`.
    pub fn from_form(value: &str) -> Option<Self> {
        match value {
            "approve" => Some(Self::Approve),
            "decline" => Some(Self::Decline),
            "more_information" => Some(Self::MoreInformation),
            _ => None,
        }
    }

    /// What a partner would have decided.
    pub fn decision(self) -> Decision {
        match self {
            Self::Approve => Decision::Approved,
            Self::Decline => {
                Decision::Rejected(vec![Reason::new("VERIFICATION_DECLINED", "The verification was declined.")])
            }
            Self::MoreInformation => Decision::NeedsInformation(vec![Reason::new(
                "DOCUMENT_UNREADABLE",
                "The picture of the document is not clear enough. Please send a sharp, well-lit one.",
            )]),
        }
    }
}

impl Sandbox {
    /// The callback that a partner would send after this choice. `event` is a fresh id.
    pub fn callback(customer_id: Uuid, choice: Choice, (event, now_ms): (Uuid, i64)) -> Callback {
        Callback {
            provider: "sandbox",
            event_key: format!("sandbox:{event}"),
            customer_id,
            occurred_at_ms: now_ms,
            decision: choice.decision(),
            test_mode: false,
        }
    }

    /// The path of the portal for a token.
    pub fn portal_path(token: &str) -> String {
        format!("/kyc/sandbox/{token}")
    }
}

impl KycProvider for Sandbox {
    async fn start_or_resume(&self, session: Session<'_>) -> Result<Redirect, Outage> {
        Ok(Redirect { url: Self::portal_path(session.token) })
    }

    fn parse_callback(&self, _: &HeaderMap, _: &[u8]) -> Result<Option<Callback>, Refused> {
        Err(Refused::Unexpected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kyc::KycStatus;

    #[test]
    fn each_button_leads_to_its_status() {
        let status = |value| Choice::from_form(value).map(|choice| choice.decision().status());
        assert_eq!(status("approve"), Some(KycStatus::Approved));
        assert_eq!(status("decline"), Some(KycStatus::Rejected));
        assert_eq!(status("more_information"), Some(KycStatus::NeedsInformation));
        assert_eq!(status("Approve"), None);
    }

    #[test]
    fn nobody_can_call_back_the_sandbox() {
        assert_eq!(Sandbox.parse_callback(&HeaderMap::new(), b"{}"), Err(Refused::Unexpected));
    }
}
