//! RevokeOperator.

use super::api::Prepare;
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::operators::{lock, message};
use crate::api::v1::{Operator, RevokeOperatorRequest};
use crate::domain::{self, Timestamp};
use crate::store::{Tx, operators};

pub(crate) struct RevokeOperator {
    name: String,
    now: Timestamp,
}

impl Prepare for RevokeOperatorRequest {
    type Change = RevokeOperator;
    const ENDS_STANDING: bool = true;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<RevokeOperator> {
        domain::operator::Operator::check_name(&self.name)?;
        Ok(RevokeOperator { name: self.name, now: cx.now })
    }
}

impl Change for RevokeOperator {
    type Reply = Operator;

    async fn apply(&self, tx: &mut Tx) -> Outcome<Operator> {
        let mut operator = lock(tx, &self.name).await?;
        operator.revoke(self.now)?;
        operators::update(tx, &operator, None).await?;
        Ok(message(&operator))
    }
}
