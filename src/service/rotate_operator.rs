//! RotateOperator.

use secrecy::{ExposeSecret as _, SecretString};

use super::api::Prepare;
use super::caller::{OPERATOR_TOKEN, token_hash};
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::operators::{lock, message};
use crate::api::v1::{OperatorToken, RotateOperatorRequest};
use crate::domain::Timestamp;
use crate::domain::operator::Operator;
use crate::store::{Tx, operators};

pub(crate) struct RotateOperator {
    name: String,
    secret: SecretString,
    now: Timestamp,
}

impl Prepare for RotateOperatorRequest {
    type Change = RotateOperator;
    const ENDS_STANDING: bool = true;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<RotateOperator> {
        Operator::check_name(&self.name)?;
        Ok(RotateOperator { name: self.name, secret: cx.api.clock.token(32).into(), now: cx.now })
    }
}

impl Change for RotateOperator {
    type Reply = OperatorToken;

    async fn apply(&self, tx: &mut Tx) -> Outcome<OperatorToken> {
        let mut operator = lock(tx, &self.name).await?;
        operator.rotate(self.now)?;
        let secret = self.secret.expose_secret();
        operators::update(tx, &operator, Some(&token_hash(secret))).await?;
        Ok(OperatorToken { operator: Some(message(&operator)), token: format!("{OPERATOR_TOKEN}{secret}") })
    }
}
