//! ShowSandbox.

use super::api::{Api, Open};
use super::failure::Outcome;
use super::sandbox;
use crate::api::v1::{SandboxPortal, ShowSandboxRequest};

impl Open for ShowSandboxRequest {
    type Reply = SandboxPortal;

    async fn answer(self, api: &Api) -> Outcome<SandboxPortal> {
        let customer = sandbox::subject(api, &self.token).await?.customer;
        Ok(SandboxPortal { open: sandbox::open(customer.status), account: customer.chain_id })
    }
}
