//! What a handler knows of its call.

use super::Api;
use super::caller::Caller;
use super::failure::Outcome;
use crate::domain::event::Origin;
use crate::domain::programme::Programme;
use crate::domain::{Code, Error, Timestamp};
use crate::store::Owner;

/// An authenticated call.
pub(crate) struct Context<'a> {
    pub(crate) api: &'a Api,
    pub(crate) caller: Caller,
    /// Who, for the events that the call causes.
    pub(crate) origin: Origin,
    /// When the call came.
    pub(crate) now: Timestamp,
    pub(crate) request_id: Option<String>,
}

impl Context<'_> {
    /// The programme that the call is for.
    pub(crate) fn programme(&self) -> &Programme {
        self.caller.programme()
    }

    /// Whose rows the call may see, as long as its caller's standing holds.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner { programme_id: self.programme().id, standing: self.caller.standing() }
    }

    /// Refuses everybody but operators.
    pub(crate) fn operators_only(&self) -> Outcome<()> {
        match self.caller.operator() {
            Some(_) => Ok(()),
            None => Err(Error::new(Code::OperatorOnly, "Only operators may make this call.").into()),
        }
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
