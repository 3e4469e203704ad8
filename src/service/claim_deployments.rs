//! ClaimDeployments.

use std::collections::HashMap;

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::lease::Wanted;
use super::once::Change;
use crate::api::v1::{ClaimDeploymentsRequest, ClaimDeploymentsResponse, Deployment};
use crate::domain::Timestamp;
use crate::domain::operator::Operator;
use crate::store::tasks::{self, Kind};
use crate::store::{Tx, accounts, customers};

pub(crate) struct ClaimDeployments {
    api: Api,
    wanted: Wanted,
    now: Timestamp,
    operator: Operator,
}

impl Prepare for ClaimDeploymentsRequest {
    type Change = ClaimDeployments;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<ClaimDeployments> {
        let (wanted, operator) = (Wanted::new(self.limit, self.lease)?, cx.operator()?.clone());
        Ok(ClaimDeployments { api: cx.api.clone(), wanted, now: cx.now, operator })
    }
}

impl Change for ClaimDeployments {
    type Reply = ClaimDeploymentsResponse;

    async fn apply(&self, tx: &mut Tx) -> Outcome<ClaimDeploymentsResponse> {
        let (lease, length) = (self.api.clock.id(), self.wanted.length);
        let most = (self.wanted.limit, self.operator.only_programmes());
        let claimed = tasks::claim_for_operator(tx, (Kind::Deployment, self.now), (lease, length), most).await?;
        if claimed.is_empty() {
            return Ok(ClaimDeploymentsResponse::default());
        }
        let found = accounts::get_many(tx, claimed.iter().map(|task| task.entity_id)).await?;
        let found: HashMap<Uuid, _> = found.into_iter().map(|account| (account.id, account)).collect();
        let owners = customers::chain_ids(tx, claimed.iter().map(|task| task.customer_id)).await?;
        let owners: HashMap<Uuid, String> = owners.into_iter().collect();
        let deployment = |task: &tasks::Task| {
            Some(Deployment {
                account: Some(convert::account(found.get(&task.entity_id)?)),
                owner_chain_id: owners.get(&task.customer_id)?.clone(),
                lease_id: lease.to_string(),
                leased_until: self.wanted.until(self.now),
            })
        };
        Ok(ClaimDeploymentsResponse { deployments: claimed.iter().filter_map(deployment).collect() })
    }

    fn targets(reply: &ClaimDeploymentsResponse) -> Option<Vec<String>> {
        Some(reply.deployments.iter().filter_map(|claimed| Some(claimed.account.as_ref()?.id.clone())).collect())
    }
}
