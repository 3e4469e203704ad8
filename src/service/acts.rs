//! The record of what operators do: in the transaction of the change, once for each effect.

use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::api::{Api, client, request_id};
use super::failure::{Failure, Outcome};
use super::once::Change;
use crate::api::access::Rpc;
use crate::api::error;
use crate::clock::Clock;
use crate::domain::operator::Operator;
use crate::domain::{Error, Timestamp};
use crate::store::acts::{self, Act, DONE};
use crate::store::{self, Mode, Tx};

/// An operator's act, its target still to be said.
pub(super) fn act(
    (id, at): (Uuid, Timestamp),
    rpc: &Rpc,
    operator: &Operator,
    (client, request_id): (&Option<String>, &Option<String>),
) -> Act {
    // A call that only reads is recorded where it is denied.
    let act = if rpc.act.is_empty() { rpc.name.rsplit('/').next().unwrap_or(rpc.name) } else { rpc.act };
    Act {
        id,
        at,
        actor: format!("operator:{}", operator.name),
        act: act.to_owned(),
        target_type: act.split_once('.').map_or("", |(target, _)| target).to_owned(),
        target_id: None,
        programme_id: None,
        reason: None,
        client: client.clone(),
        request_id: request_id.clone(),
        outcome: DONE.to_owned(),
    }
}

/// A change, recorded as an operator's act. A business refusal is recorded as well: it commits with the transaction. A
/// replay under the idempotency key records nothing, since its transaction is rolled back.
pub(super) struct Recorded<'a, C> {
    pub(super) change: C,
    /// `None` where no operator calls.
    pub(super) act: Option<Act>,
    pub(super) clock: &'a Clock,
}

impl<C: Change> Change for Recorded<'_, C> {
    type Reply = C::Reply;

    async fn apply(&self, tx: &mut Tx) -> Outcome<C::Reply> {
        let done = self.change.apply(tx).await;
        let Some(act) = &self.act else { return done };
        match &done {
            Ok(reply) => match C::targets(reply) {
                None => acts::record(tx, act)?,
                Some(targets) => {
                    for target in targets {
                        let act = Act { id: self.clock.id(), target_id: Some(target), ..act.clone() };
                        acts::record(tx, &act)?;
                    }
                }
            },
            Err(Failure::Refused(refusal)) if refusal.is_business() => {
                let outcome = error::row(refusal.code).code.to_owned();
                acts::record(tx, &Act { outcome, ..act.clone() })?;
            }
            Err(_) => {}
        }
        done
    }

    fn mode(&self) -> Mode {
        match self.change.mode() {
            // Its act is not one of the rows that can be combined.
            Mode::Combined if self.act.is_some() => Mode::Optimistic,
            mode => mode,
        }
    }

    async fn conflict(&self, tx: &mut Tx) -> Outcome<Option<Error>> {
        let refusal = self.change.conflict(tx).await?;
        if let (Some(refusal), Some(act)) = (&refusal, &self.act) {
            acts::record(tx, &Act { outcome: error::row(refusal.code).code.to_owned(), ..act.clone() })?;
        }
        Ok(refusal)
    }
}

/// A call that its operator may not make: by its role, for that programme, or while the programme is disabled.
pub(super) struct Denied<'a> {
    pub(super) operator: &'a Operator,
    pub(super) rpc: &'static Rpc,
    pub(super) error: &'a Error,
}

impl Denied<'_> {
    /// Records it, in a transaction of its own.
    pub(super) async fn record(self, api: &Api, metadata: &MetadataMap, now: Timestamp) -> Outcome<()> {
        let from = (&client(metadata), &request_id(metadata));
        let programme = metadata.get(crate::api::metadata::PROGRAMME_ID).and_then(|id| id.to_str().ok());
        let act = Act {
            outcome: error::row(self.error.code).code.to_owned(),
            programme_id: programme.and_then(|id| Uuid::try_parse(id).ok()),
            ..act((api.clock.id(), now), self.rpc, self.operator, from)
        };
        Ok(api.store.transact(&Record(act)).await?)
    }
}

struct Record(Act);

impl store::Change for Record {
    type Out = ();
    type Error = store::Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), store::Error> {
        acts::record(tx, &self.0)
    }
}
