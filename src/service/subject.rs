//! The customer behind a verification link.

use super::Api;
use super::failure::Outcome;
use crate::domain::customer::Customer;
use crate::domain::kyc::KycState;
use crate::kyc::Kyc;
use crate::store::verifications::SCREENING;
use crate::store::{customers, programmes, verifications};

/// The customer that a link's token was made for.
pub(super) struct Subject {
    pub(super) customer: Customer,
    /// Where its verification stands.
    pub(super) state: KycState,
    /// Whether its programme is a sandbox.
    pub(super) sandbox: bool,
}

impl Subject {
    /// Whoever has the token of a live programme's customer; `None` for every other text.
    pub(super) async fn of(api: &Api, token: &str) -> Outcome<Option<Self>> {
        let Some(id) = api.keys().links.read(token) else { return Ok(None) };
        let mut reader = api.store.reader().await?;
        let Some(customer) = customers::get_any(&mut reader, id).await? else { return Ok(None) };
        let Some(programme) = programmes::get(&mut reader, customer.programme_id).await? else { return Ok(None) };
        let known = verifications::get_any(&mut reader, id).await?;
        let ended_by_screening = known.as_ref().is_some_and(|known| known.provider.as_deref() == Some(SCREENING));
        let mut state = known.map(|known| known.state).unwrap_or_default();
        if ended_by_screening {
            // The page is the person's: nothing on it may show that the account is listed. Older versions kept a reason.
            state.reasons.clear();
        }
        Ok(Some(Self { customer, state, sandbox: programme.sandbox }))
    }

    /// Whether this customer is verified by the embedded portal. Live customers never are: anybody who has the link could
    /// approve himself there.
    pub(super) fn by_portal(&self, api: &Api) -> bool {
        self.sandbox && matches!(*api.settings.kyc, Kyc::Sandbox(_))
    }
}
