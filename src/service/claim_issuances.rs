//! ClaimIssuances.

use std::collections::HashMap;

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::lease::Wanted;
use super::once::Change;
use crate::api::v1::{ClaimIssuancesRequest, ClaimIssuancesResponse, Issuance};
use crate::domain::Timestamp;
use crate::domain::operator::Operator;
use crate::store::tasks::{self, Kind};
use crate::store::{Tx, cards};

pub(crate) struct ClaimIssuances {
    api: Api,
    wanted: Wanted,
    now: Timestamp,
    operator: Operator,
}

impl Prepare for ClaimIssuancesRequest {
    type Change = ClaimIssuances;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<ClaimIssuances> {
        let (wanted, operator) = (Wanted::new(self.limit, self.lease)?, cx.operator()?.clone());
        Ok(ClaimIssuances { api: cx.api.clone(), wanted, now: cx.now, operator })
    }
}

impl Change for ClaimIssuances {
    type Reply = ClaimIssuancesResponse;

    async fn apply(&self, tx: &mut Tx) -> Outcome<ClaimIssuancesResponse> {
        let (lease, length) = (self.api.clock.id(), self.wanted.length);
        let most = (self.wanted.limit, self.operator.only_programmes());
        let claimed = tasks::claim_for_operator(tx, (Kind::Issuance, self.now), (lease, length), most).await?;
        if claimed.is_empty() {
            return Ok(ClaimIssuancesResponse::default());
        }
        let found = cards::get_many(tx, claimed.iter().map(|task| task.entity_id)).await?;
        let found: HashMap<Uuid, _> = found.into_iter().map(|card| (card.id, card)).collect();
        let issuance = |task: &tasks::Task| {
            Some(Issuance {
                card: Some(convert::card(found.get(&task.entity_id)?)),
                lease_id: lease.to_string(),
                leased_until: self.wanted.until(self.now),
            })
        };
        Ok(ClaimIssuancesResponse { issuances: claimed.iter().filter_map(issuance).collect() })
    }

    fn targets(reply: &ClaimIssuancesResponse) -> Option<Vec<String>> {
        Some(reply.issuances.iter().filter_map(|claimed| Some(claimed.card.as_ref()?.id.clone())).collect())
    }
}
