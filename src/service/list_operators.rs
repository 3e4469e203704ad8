//! ListOperators.

use super::api::Read;
use super::context::Context;
use super::failure::Outcome;
use super::operators::message;
use crate::api::v1::{ListOperatorsRequest, ListOperatorsResponse};
use crate::store::operators;

impl Read for ListOperatorsRequest {
    type Reply = ListOperatorsResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListOperatorsResponse> {
        let operators = operators::list(&mut cx.api.store.reader().await?).await?;
        Ok(ListOperatorsResponse { operators: operators.iter().map(message).collect() })
    }
}
