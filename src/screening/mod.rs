//! Sanctions screening: is this blockchain account one that nobody may deal with?
//!
//! Providers are asked in turn: for a sandbox programme first the test addresses, then the list file, then
//! Chainalysis. The first hit ends it, and so does an outage: nobody passes because a provider was down.

mod address;
mod chainalysis;
mod list;
mod sandbox;

pub use chainalysis::Chainalysis;
pub use list::{ListError, ListFile};
pub use sandbox::{OUTAGE_ADDRESSES, OUTAGE_TRIES, REJECTED_ADDRESSES, Sandbox};

pub use crate::domain::outage::Outage;
pub use crate::domain::screening::{Hit, Verdict};

/// Somebody who can say whether an account is listed.
pub trait ScreeningProvider {
    /// Screens one account, given as a canonical CAIP-10 id.
    ///
    /// # Errors
    /// [`Outage`] when there is no answer; the caller tries again later.
    fn screen(&self, account: &str) -> impl Future<Output = Result<Verdict, Outage>> + Send;
}

/// The screening of this installation.
#[derive(Debug, Default)]
pub struct Screening {
    sandbox: Sandbox,
    list: Option<ListFile>,
    chainalysis: Option<Chainalysis>,
}

impl Screening {
    /// Screening by the test addresses only: everybody else is cleared.
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, list: None, chainalysis: None }
    }

    /// Adds a list file.
    #[must_use]
    pub fn with_list(self, list: ListFile) -> Self {
        Self { list: Some(list), ..self }
    }

    /// Adds Chainalysis.
    #[must_use]
    pub fn with_chainalysis(self, chainalysis: Chainalysis) -> Self {
        Self { chainalysis: Some(chainalysis), ..self }
    }

    /// Whether customers of live programmes are screened at all. If not, they are all cleared, of which start-up
    /// should warn.
    pub fn is_configured(&self) -> bool {
        self.list.is_some() || self.chainalysis.is_some()
    }

    /// Screens one account of a programme, given as a canonical CAIP-10 id. The test addresses count for sandbox
    /// programmes only.
    ///
    /// # Errors
    /// [`Outage`] when a provider that had to be asked gave no answer.
    pub async fn screen(&self, account: &str, sandbox_programme: bool) -> Result<Verdict, Outage> {
        if sandbox_programme && let hit @ Verdict::Hit(_) = self.sandbox.screen(account).await? {
            return Ok(hit);
        }
        if let Some(list) = &self.list
            && let hit @ Verdict::Hit(_) = list.screen(account).await?
        {
            return Ok(hit);
        }
        match &self.chainalysis {
            Some(chainalysis) => chainalysis.screen(account).await,
            None => Ok(Verdict::Clear),
        }
    }
}

/// An account that cannot be read cannot be cleared. Canonical ids always can.
fn unreadable(provider: &str) -> Outage {
    Outage::new(format!("{provider}: the account is not a CAIP-10 id of a known namespace"))
}
