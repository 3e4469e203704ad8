//! What a sanctions screening can say about a blockchain account.

use std::fmt;

/// The answer of a screening that took place. A screening that could not take place is an
/// [`Outage`](super::outage::Outage), never a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On no list that was asked.
    Clear,
    /// Listed: the customer is rejected.
    Hit(Hit),
}

/// A verdict and its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screened {
    /// What was found.
    pub verdict: Verdict,
    /// Who was asked, and of a list which version: for the audit trail, where only operators read it.
    pub by: String,
}

/// Why an account was not cleared. For the audit trail, where only operators read it: see [`crate::domain::reason`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Stable code for the audit trail: [`SANCTIONED_ADDRESS`] or [`TEST_ADDRESS`].
    pub reason_code: &'static str,
    /// The list that names the account, at most [`NAME_MAX`] characters.
    pub list: String,
    /// The sanctions programme that the list gives, at most [`NAME_MAX`] characters.
    pub programme: Option<String>,
    /// Where in the list it stands, at most [`NAME_MAX`] characters.
    pub entry: Option<String>,
}

/// The account is on a sanctions list.
pub const SANCTIONED_ADDRESS: &str = "SANCTIONED_ADDRESS";

/// The account is one of the sandbox's test addresses.
pub const TEST_ADDRESS: &str = "TEST_ADDRESS";

/// Longest part of a [`Hit`], in characters.
pub const NAME_MAX: usize = 120;

impl Hit {
    /// A hit; the list's name is cut to [`NAME_MAX`] characters and loses its control characters, because some of these
    /// names come from a provider.
    pub fn new(reason_code: &'static str, list: &str) -> Self {
        Self { reason_code, list: printable(list), programme: None, entry: None }
    }

    /// The same, with the sanctions programme and the entry of the list. Empty texts count as absent.
    #[must_use]
    pub fn found(self, programme: &str, entry: &str) -> Self {
        let some = |text: &str| Some(printable(text)).filter(|text| !text.is_empty());
        Self { programme: some(programme), entry: some(entry), ..self }
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason_code, self.list)?;
        if let Some(programme) = &self.programme {
            write!(f, ", programme {programme}")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, ", {entry}")?;
        }
        Ok(())
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}
