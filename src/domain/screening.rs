//! What a sanctions screening can say about a blockchain account.

/// The answer of a screening that took place. A screening that could not take place is an
/// [`Outage`](super::outage::Outage), never a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On no list that was asked.
    Clear,
    /// Listed: the customer is rejected.
    Hit(Hit),
}

/// Why an account was not cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Stable code for the audit trail: [`SANCTIONED_ADDRESS`] or [`TEST_ADDRESS`].
    pub reason_code: &'static str,
    /// The list that names the account, at most [`LIST_NAME_MAX`] characters.
    pub list: String,
}

/// The account is on a sanctions list.
pub const SANCTIONED_ADDRESS: &str = "SANCTIONED_ADDRESS";

/// The account is one of the sandbox's test addresses.
pub const TEST_ADDRESS: &str = "TEST_ADDRESS";

/// Longest [`Hit::list`], in characters.
pub const LIST_NAME_MAX: usize = 120;

impl Hit {
    /// A hit; the list's name is cut to [`LIST_NAME_MAX`] characters and loses its control characters, because some
    /// of these names come from a provider.
    pub fn new(reason_code: &'static str, list: &str) -> Self {
        let list = list.chars().filter(|c| !c.is_control()).take(LIST_NAME_MAX).collect();
        Self { reason_code, list }
    }
}
