//! Rejection labels as sentences that a customer may read.
//!
//! Labels of fraud, crime, sanctions and watch lists share one vague sentence: telling somebody that they are
//! watched may be a crime in itself. Unknown labels share it too.

use crate::domain::kyc::Reason;

/// Longest comment that is passed on, in characters.
const COMMENT_MAX: usize = 500;

/// Most reasons that are passed on.
const REASONS_MAX: usize = 10;

/// Our code, what is wrong, what to do about it, and Sumsub's labels for it.
const TABLE: &[(&str, &str, &str, &[&str])] = &[
    (
        "DOCUMENT_UNREADABLE",
        "The picture of the document is not clear enough.",
        "Please send a sharp, well-lit one.",
        &["UNSATISFACTORY_PHOTOS", "LOW_QUALITY", "BLACK_AND_WHITE", "UNSUITABLE_ENV"],
    ),
    (
        "DOCUMENT_INCOMPLETE",
        "A page or side of the document is missing.",
        "Please send the whole document.",
        &["DOCUMENT_PAGE_MISSING", "INCOMPLETE_DOCUMENT", "FRONT_SIDE_MISSING", "BACK_SIDE_MISSING", "UNFILLED_ID"],
    ),
    ("DOCUMENT_DAMAGED", "The document is damaged.", "Please use an undamaged one.", &["DOCUMENT_DAMAGED"]),
    ("DOCUMENT_EXPIRED", "The document has expired.", "Please use a valid one.", &["EXPIRATION_DATE"]),
    (
        "DOCUMENT_NOT_ACCEPTED",
        "This document cannot be accepted.",
        "Please use another one.",
        &["NOT_DOCUMENT", "ID_INVALID", "DOCUMENT_DEPRIVED", "BAD_PROOF_OF_IDENTITY", "DIGITAL_DOCUMENT", "SPAM"],
    ),
    (
        "PHOTO_NOT_ORIGINAL",
        "Screenshots and edited pictures are not accepted.",
        "Please take a photo of the document itself.",
        &["SCREENSHOTS", "GRAPHIC_EDITOR"],
    ),
    (
        "LANGUAGE_NOT_SUPPORTED",
        "The document is in a language that is not supported.",
        "Please add a translation or use another document.",
        &["INCOMPATIBLE_LANGUAGE", "UNSUPPORTED_LANGUAGE"],
    ),
    (
        "SELFIE_NOT_ACCEPTED",
        "The selfie could not be used.",
        "Please take it again in good light, with your face in full view.",
        &["BAD_SELFIE", "BAD_VIDEO_SELFIE", "BAD_AVATAR", "BAD_FACE_MATCHING", "SELFIE_MISMATCH", "SELFIE_WITH_PAPER"],
    ),
    (
        "ADDRESS_NOT_PROVEN",
        "The address could not be confirmed.",
        "Please send a recent proof of address.",
        &["BAD_PROOF_OF_ADDRESS", "WRONG_ADDRESS"],
    ),
    (
        "PAYMENT_NOT_PROVEN",
        "The proof of payment could not be used.",
        "Please send another one.",
        &["BAD_PROOF_OF_PAYMENT"],
    ),
    (
        "DATA_MISMATCH",
        "The details given do not match the document.",
        "Please check them.",
        &[
            "PROBLEMATIC_APPLICANT_DATA",
            "REQUESTED_DATA_MISMATCH",
            "DB_DATA_MISMATCH",
            "DB_DATA_NOT_FOUND",
            "INCONSISTENT_PROFILE",
        ],
    ),
    (
        "MORE_DOCUMENTS_REQUIRED",
        "Another document is needed.",
        "Please open the verification again to see which.",
        &["ADDITIONAL_DOCUMENT_REQUIRED", "NOT_ALL_CHECKS_COMPLETED"],
    ),
    ("AGE_NOT_ACCEPTED", "The age requirement is not met.", "", &["AGE_REQUIREMENT_MISMATCH"]),
    (
        "COUNTRY_NOT_SUPPORTED",
        "Customers from this country or region cannot be accepted.",
        "",
        &["WRONG_USER_REGION", "FOREIGNER"],
    ),
    ("ALREADY_VERIFIED", "These details were already used for another verification.", "", &["DUPLICATE"]),
];

/// What the reasons are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To say what to send: the remedies are named.
    Request,
    /// To say why it is over: there are no remedies.
    Rejection,
}

impl Purpose {
    /// The reason when nothing more may or can be said.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Request => Reason::new(
                "MORE_INFORMATION_REQUIRED",
                "More information is needed. Please open the verification again to see what.",
            ),
            Self::Rejection => Reason::new("VERIFICATION_DECLINED", "The verification could not be approved."),
        }
    }

    fn of(self, label: &str) -> Reason {
        let row = TABLE.iter().find(|(_, _, _, labels)| labels.contains(&label));
        match (self, row) {
            (Self::Request, Some((code, problem, remedy, _))) if !remedy.is_empty() => {
                Reason::new(code, &format!("{problem} {remedy}"))
            }
            (_, Some((code, problem, _, _))) => Reason::new(code, problem),
            (_, None) => self.reason(),
        }
    }
}

/// The labels' sentences without repetition, then the moderator's comment, which Sumsub writes for the customer.
/// Never empty.
pub(super) fn from(labels: &[String], comment: Option<&str>, purpose: Purpose) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for reason in labels.iter().map(|label| purpose.of(label)).chain(comment.and_then(remark)) {
        if reasons.len() < REASONS_MAX && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() {
        reasons.push(purpose.reason());
    }
    reasons
}

/// A comment as plain text: white space is folded, characters that steer a terminal or turn the writing direction go.
fn remark(comment: &str) -> Option<Reason> {
    let steering = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let folded = comment.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = folded.chars().filter(|c| !c.is_control() && !steering(*c)).take(COMMENT_MAX).collect();
    (!text.is_empty()).then(|| Reason::new("REVIEWER_COMMENT", &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(labels: &[&str], comment: Option<&str>) -> Vec<String> {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        from(&labels, comment, Purpose::Rejection).into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn labels_become_sentences_once() {
        assert_eq!(
            codes(&["UNSATISFACTORY_PHOTOS", "LOW_QUALITY", "EXPIRATION_DATE"], None),
            ["DOCUMENT_UNREADABLE", "DOCUMENT_EXPIRED"]
        );
    }

    #[test]
    fn a_rejection_names_no_remedy() {
        let said = |purpose: Purpose| purpose.of("EXPIRATION_DATE").message;
        assert_eq!(said(Purpose::Request), "The document has expired. Please use a valid one.");
        assert_eq!(said(Purpose::Rejection), "The document has expired.");
        assert_eq!(Purpose::Request.of("DUPLICATE"), Purpose::Rejection.of("DUPLICATE"));
    }

    #[test]
    fn labels_that_must_not_be_named_are_not() {
        let delicate = [
            "FORGERY",
            "FRAUDULENT_PATTERNS",
            "FRAUDULENT_LIVENESS",
            "BLACKLIST",
            "BLOCKLIST",
            "COMPROMISED_PERSONS",
            "PEP",
            "SANCTIONS",
            "ADVERSE_MEDIA",
            "CRIMINAL",
            "REGULATIONS_VIOLATIONS",
            "THIRD_PARTY_INVOLVED",
            "A_LABEL_OF_2030",
        ];
        assert_eq!(codes(&delicate, None), ["VERIFICATION_DECLINED"]);
    }

    #[test]
    fn there_is_always_a_reason() {
        assert_eq!(codes(&[], None), ["VERIFICATION_DECLINED"]);
        assert_eq!(codes(&[], Some(" \n ")), ["VERIFICATION_DECLINED"]);
        assert_eq!(codes(&[], Some("Blurred.")), ["REVIEWER_COMMENT"]);
    }

    #[test]
    fn a_comment_is_plain_text_of_bounded_length() {
        let comment = remark("We do not\n\taccept \u{202e}screenshots\u{1b}[31m.").map(|reason| reason.message);
        assert_eq!(comment.as_deref(), Some("We do not accept screenshots[31m."));
        let long = remark(&"é".repeat(COMMENT_MAX + 1)).map(|reason| reason.message.chars().count());
        assert_eq!(long, Some(COMMENT_MAX));
    }

    #[test]
    fn a_label_stands_in_one_row() {
        let mut labels: Vec<&str> = TABLE.iter().flat_map(|(_, _, _, labels)| labels.iter().copied()).collect();
        let rows = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), rows);
    }
}
