//! CompleteDeployment, FailDeployment.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::failure::Outcome;
use super::move_account::hold;
use super::once::Change;
use super::{convert, lease, reason};
use crate::api::v1::{self, CompleteDeploymentRequest, FailDeploymentRequest};
use crate::domain::Error;
use crate::domain::account::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::operator::Operator;
use crate::lifecycle::{Step, account_moves};
use crate::store::{Tx, tasks};

/// What a deployment service reports.
pub(crate) struct Deployed {
    api: Api,
    origin: Origin,
    operator: Operator,
    account_id: String,
    lease_id: Uuid,
    end: End,
}

enum End {
    At(String),
    Failed(String),
}

impl Prepare for CompleteDeploymentRequest {
    type Change = Deployed;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Deployed> {
        let chain_id = convert::chain_account("chainId", &self.chain_id, &cx.api.settings.chains)?.to_string();
        let (api, origin, operator) = (cx.api.clone(), cx.origin.clone(), cx.operator()?.clone());
        let lease_id = lease::id(&self.lease_id)?;
        Ok(Deployed { api, origin, operator, account_id: self.account_id, lease_id, end: End::At(chain_id) })
    }
}

impl Prepare for FailDeploymentRequest {
    type Change = Deployed;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Deployed> {
        reason::check(&self.reason)?;
        let (api, origin, operator) = (cx.api.clone(), cx.origin.clone(), cx.operator()?.clone());
        let lease_id = lease::id(&self.lease_id)?;
        Ok(Deployed { api, origin, operator, account_id: self.account_id, lease_id, end: End::Failed(self.reason) })
    }
}

impl Change for Deployed {
    type Reply = v1::Account;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Account> {
        let mut held = hold(tx, None, &self.account_id).await?;
        if !self.operator.may_name(held.account.programme_id) {
            return Err(convert::account_not_found().into());
        }
        let status = held.account.status;
        if status != Status::Pending {
            return Err(Error::transition("account", status, "deployed").into());
        }
        if !tasks::settle(tx, held.account.id, self.lease_id).await? {
            return Err(lease::lost().into());
        }
        let (by, reason) = match &self.end {
            End::At(chain_id) => {
                held.account.chain_id = Some(chain_id.clone());
                (Move::Deploy, None)
            }
            End::Failed(reason) => (Move::Fail, Some(reason.as_str())),
        };
        let step = Step { by, reason, origin: &self.origin };
        account_moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(convert::account(&held.account))
    }
}
