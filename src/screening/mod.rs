//! Sanctions screening: is this blockchain account one that nobody may deal with?
//!
//! Providers are asked in turn: for a sandbox programme first the test addresses, then the lists, then Chainalysis. The
//! first hit ends it, and so does an outage: nobody passes because a provider was down, or because there is none. Only
//! sandbox programmes are cleared without one.

mod address;
mod chainalysis;
mod foreign;
mod list;
mod sandbox;

use std::sync::Arc;

pub use chainalysis::Chainalysis;
pub use list::{ListError, ListFile, Lists};
pub use sandbox::{OUTAGE_ADDRESSES, OUTAGE_TRIES, REJECTED_ADDRESSES, Sandbox};

pub use crate::domain::outage::Outage;
pub use crate::domain::screening::{Hit, Screened, Verdict};

/// Somebody who can say whether an account is listed.
pub trait ScreeningProvider {
    /// Screens one account, given as a canonical CAIP-10 id.
    ///
    /// # Errors
    /// [`Outage`] when there is no answer; the caller tries again later.
    fn screen(&self, account: &str) -> impl Future<Output = Result<Screened, Outage>> + Send;
}

/// The screening of this installation.
#[derive(Debug, Default)]
pub struct Screening {
    sandbox: Sandbox,
    lists: Arc<Lists>,
    chainalysis: Option<Chainalysis>,
}

impl Screening {
    /// Screening by the test addresses only, for sandbox programmes: nobody else is cleared.
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, ..Self::default() }
    }

    /// Adds lists.
    #[must_use]
    pub fn with_lists(self, lists: Lists) -> Self {
        Self { lists: Arc::new(lists), ..self }
    }

    /// Adds Chainalysis.
    #[must_use]
    pub fn with_chainalysis(self, chainalysis: Chainalysis) -> Self {
        Self { chainalysis: Some(chainalysis), ..self }
    }

    /// The lists, to be read again when they change.
    pub fn lists(&self) -> &Arc<Lists> {
        &self.lists
    }

    /// Whether customers of live programmes can be screened. If not, they stay in screening.
    pub fn is_configured(&self) -> bool {
        self.lists.addresses() > 0 || self.chainalysis.is_some()
    }

    /// Screens one account of a programme, given as a canonical CAIP-10 id. The test addresses count for sandbox
    /// programmes only.
    ///
    /// # Errors
    /// [`Outage`] when a provider that had to be asked gave no answer, or a live programme has none to ask.
    pub async fn screen(&self, account: &str, sandbox_programme: bool) -> Result<Screened, Outage> {
        if !sandbox_programme && !self.is_configured() {
            return Err(Outage::new("no screening provider is configured: set --screening-list or --chainalysis-key"));
        }
        let mut asked = Vec::new();
        if sandbox_programme && let Some(hit) = note(&mut asked, self.sandbox.screen(account).await?) {
            return Ok(hit);
        }
        for list in self.lists.iter() {
            if let Some(hit) = note(&mut asked, list.screen(account).await?) {
                return Ok(hit);
            }
        }
        if let Some(chainalysis) = &self.chainalysis
            && let Some(hit) = note(&mut asked, chainalysis.screen(account).await?)
        {
            return Ok(hit);
        }
        Ok(Screened { verdict: Verdict::Clear, by: asked.join("; ") })
    }
}

/// Notes who was asked. Gives back what is a hit.
fn note(asked: &mut Vec<String>, screened: Screened) -> Option<Screened> {
    match screened.verdict {
        Verdict::Hit(_) => Some(screened),
        Verdict::Clear => {
            asked.push(screened.by);
            None
        }
    }
}

/// An account that cannot be read cannot be cleared. Canonical ids always can.
fn unreadable(provider: &str) -> Outage {
    Outage::new(format!("{provider}: the account is not a CAIP-10 id of a known namespace"))
}
