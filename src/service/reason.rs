//! Reasons that operators give, for the audit trail.

use crate::domain::address::no_card_number;
use crate::domain::{Error, text};

/// Characters of a reason at most.
const REASON: usize = 256;

/// Checks a reason: 1 to 256 printable characters, and no card number.
pub(super) fn check(reason: &str) -> Result<(), Error> {
    text::printable("reason", reason, REASON).and_then(|()| no_card_number("reason", reason))
}
