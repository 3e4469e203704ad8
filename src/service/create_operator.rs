//! CreateOperator.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::api::Prepare;
use super::caller::{OPERATOR_TOKEN, token_hash};
use super::context::Context;
use super::failure::Outcome;
use super::once::Change;
use super::operators::{message, role};
use crate::api::v1::{CreateOperatorRequest, OperatorToken};
use crate::domain::operator::Operator;
use crate::domain::{Code, Error};
use crate::store::{Tx, operators, programmes};

pub(crate) struct CreateOperator {
    operator: Operator,
    secret: SecretString,
}

impl Prepare for CreateOperatorRequest {
    type Change = CreateOperator;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<CreateOperator> {
        let role = role(self.role)?;
        let programmes = self.programmes.iter().map(|id| Uuid::try_parse(id).ok()).collect::<Option<Vec<_>>>();
        let programmes =
            programmes.ok_or_else(|| Error::invalid("programmes", "INVALID_VALUE", "Every one must be a UUID."))?;
        let lifetime = self.expires.map(Duration::try_from).transpose();
        let lifetime = lifetime
            .map_err(|_| Error::invalid("expires", "OUT_OF_RANGE", "Must be a time that is longer than zero."))?;
        let operator = Operator::new((cx.api.clock.id(), cx.now), &self.name, (role, programmes), lifetime)?;
        Ok(CreateOperator { operator, secret: cx.api.clock.token(32).into() })
    }
}

impl Change for CreateOperator {
    type Reply = OperatorToken;

    async fn apply(&self, tx: &mut Tx) -> Outcome<OperatorToken> {
        if let Some(unknown) = programmes::unknown(tx, &self.operator.programmes).await? {
            let message = format!("There is no programme {unknown}.");
            return Err(Error::invalid("programmes", "INVALID_VALUE", message).into());
        }
        let secret = self.secret.expose_secret();
        if !operators::insert(tx, &self.operator, &token_hash(secret)).await? {
            return Err(Error::new(Code::OperatorExists, "There is an operator of that name already.").into());
        }
        Ok(OperatorToken { operator: Some(message(&self.operator)), token: format!("{OPERATOR_TOKEN}{secret}") })
    }
}
