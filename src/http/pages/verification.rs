//! The page behind the verification link, whenever it does not lead on to the partner.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::message::{Message, Tone};
use super::page;

/// Where the verification stands. Reasons are sentences that are safe to show.
#[derive(Debug, Clone, Copy)]
pub enum VerificationView<'a> {
    /// The ownership challenge is not signed.
    ChallengeUnsigned,
    /// The account is being screened.
    Screening {
        /// The same link, to look again.
        again: &'a str,
    },
    /// Everything is handed in.
    InReview,
    /// The partner asks for something (again).
    NeedsInformation {
        /// What is missing.
        reasons: &'a [String],
        /// The link that leads on to the partner.
        resume: &'a str,
    },
    /// Passed.
    Approved,
    /// Refused for good.
    Rejected {
        /// Why, if that may be said.
        reasons: &'a [String],
    },
    /// The token is unknown or expired; which of them is not told.
    UnknownLink,
    /// Nobody verifies this programme's customers yet: an operator decides.
    NotOpen,
    /// The partner did not answer.
    Unavailable {
        /// The same link, to try again.
        again: &'a str,
        /// `Retry-After`, in seconds.
        retry_after_s: u64,
    },
}

const BACK: &str = "You may close this page and go back to the app or site that sent you here.";

/// The page for a state. 200, but 404 for an unknown link and 503 (with `Retry-After`) when the partner is away.
pub fn verification_page(view: &VerificationView<'_>) -> Response {
    let message = message(view);
    match view {
        VerificationView::UnknownLink => page(StatusCode::NOT_FOUND, &message),
        VerificationView::Unavailable { retry_after_s, .. } => {
            let mut response = page(StatusCode::SERVICE_UNAVAILABLE, &message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
            response
        }
        _ => page(StatusCode::OK, &message),
    }
}

fn message(view: &VerificationView<'_>) -> Message {
    match view {
        VerificationView::ChallengeUnsigned => Message::new(
            Tone::Info,
            "One step comes first",
            &[
                "Before your identity is checked, please confirm with your wallet that the account is yours.",
                "Go back to the app or site that sent you here and sign the message it shows. Then open this link again.",
            ],
        )
        .at_step(1),
        VerificationView::Screening { again } => Message::new(
            Tone::Info,
            "We are checking your account",
            &["This usually takes less than a minute, and there is nothing you need to do. The identity check comes next."],
        )
        .with_action("Check again", again)
        .at_step(2),
        VerificationView::InReview => Message::new(
            Tone::Info,
            "Your details are being reviewed",
            &["You have sent everything that is needed. There is nothing more to do for now.", BACK],
        )
        .at_step(3),
        VerificationView::NeedsInformation { reasons, resume } => Message::new(
            Tone::Warn,
            "We need a little more from you",
            &["Your verification cannot be completed yet:"],
        )
        .because(reasons)
        .with_action("Continue verification", resume)
        .at_step(3),
        VerificationView::Approved => {
            Message::new(Tone::Good, "You are verified", &["Thank you. There is nothing more to do.", BACK])
        }
        VerificationView::Rejected { reasons } => Message {
            after_reasons: Some("If you think this is a mistake, please contact the app or site that sent you here."),
            ..Message::new(Tone::Bad, "Your verification was not approved", &["This decision is final."]).because(reasons)
        },
        VerificationView::UnknownLink => Message {
            footer: String::new(),
            ..Message::new(
                Tone::Warn,
                "This link does not work",
                &[
                    "It may have expired, or a part of it may be missing.",
                    "Go back to the app or site that sent you here and open the verification from there.",
                ],
            )
        },
        VerificationView::NotOpen => Message::new(
            Tone::Info,
            "Verification is not open yet",
            &["Nothing is lost, and there is nothing you need to do for now. You will hear from the app or site that sent you here.", BACK],
        )
        .at_step(3),
        VerificationView::Unavailable { again, .. } => Message::new(
            Tone::Warn,
            "The identity check is not available right now",
            &["Our verification partner does not answer. Nothing is lost. Please try again in a few minutes."],
        )
        .with_action("Try again", again)
        .at_step(3),
    }
}
