//! What a handler knows of its call.

use uuid::Uuid;

use super::Api;
use super::acts;
use super::caller::Caller;
use super::failure::Outcome;
use crate::api::access::{Called, Rpc};
use crate::domain::event::Origin;
use crate::domain::operator::Operator;
use crate::domain::programme::Programme;
use crate::domain::{Code, Error, Timestamp, text};
use crate::store::Owner;
use crate::store::acts::Act;

/// Characters of an act's target at most: ids have 36, names of operators 64.
const TARGET: usize = 128;

/// An authenticated call.
pub(crate) struct Context<'a> {
    pub(crate) api: &'a Api,
    /// What is called.
    pub(crate) rpc: &'static Rpc,
    pub(crate) caller: Caller,
    /// Who, for the events that the call causes.
    pub(crate) origin: Origin,
    /// When the call came.
    pub(crate) now: Timestamp,
    pub(crate) request_id: Option<String>,
    /// The caller's address.
    pub(crate) client: Option<String>,
}

impl Context<'_> {
    /// The programme that the call is for.
    pub(crate) fn programme(&self) -> &Programme {
        self.caller.programme()
    }

    /// Whose rows the call may see, while its caller's standing holds.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner { programme_id: self.programme().id, standing: self.caller.standing() }
    }

    /// The operator who calls.
    ///
    /// # Errors
    ///
    /// The proto opens the call to programmes as well, and this is one.
    pub(crate) fn operator(&self) -> Outcome<&Operator> {
        match self.caller.operator() {
            Some(operator) => Ok(operator),
            None => Err(Error::new(Code::OperatorOnly, "Only operators may make this call.").into()),
        }
    }

    /// The record of an operator's act; `None` for other callers.
    pub(crate) fn act<M: Called>(&self, message: &M) -> Option<Act> {
        let operator = self.caller.operator()?;
        // A call about all programmes may be about one, all the same.
        let target = message.target();
        let itself = if self.rpc.act.starts_with("programme.") { Uuid::try_parse(target).ok() } else { None };
        let programme_id = itself.or(Some(self.programme().id).filter(|id| !id.is_nil()));
        Some(Act {
            programme_id,
            // As the request has it, which may be no id at all: PostgreSQL's texts hold no NUL.
            target_id: text::printable("target", target, TARGET).is_ok().then(|| target.to_owned()),
            reason: Some(message.reason().to_owned()).filter(|reason| !reason.is_empty()),
            ..acts::act((self.api.clock.id(), self.now), self.rpc, operator, (&self.client, &self.request_id))
        })
    }

    /// Refuses programmes that are not sandboxes.
    pub(crate) fn sandbox_only(&self) -> Outcome<()> {
        if self.programme().sandbox {
            return Ok(());
        }
        let detail = "The simulator works for sandbox programmes only; this programme is live.";
        Err(Error::new(Code::SandboxOnly, detail).into())
    }
}
