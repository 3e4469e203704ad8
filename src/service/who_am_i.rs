//! WhoAmI: the caller, and nothing else.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use crate::api::v1::{WhoAmIRequest, WhoAmIResponse};

impl Read for WhoAmIRequest {
    type Reply = WhoAmIResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<WhoAmIResponse> {
        let programme = cx.programme();
        Ok(WhoAmIResponse {
            programme_id: programme.id.to_string(),
            programme_name: programme.name.clone(),
            sandbox: programme.sandbox,
            operator: cx.caller.operator().map(|operator| operator.name.clone()),
        })
    }
}
