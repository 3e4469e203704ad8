//! DisableProgramme, EnableProgramme.

use super::api::Prepare;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::once::Change;
use crate::api::v1::{DisableProgrammeRequest, EnableProgrammeRequest, Programme};
use crate::domain::{Code, Error, Timestamp};
use crate::store::{Tx, programmes};

/// A programme locked out, or let in again.
pub(crate) struct SetDisabled {
    programme_id: String,
    disabled: bool,
    now: Timestamp,
}

impl Prepare for DisableProgrammeRequest {
    type Change = SetDisabled;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<SetDisabled> {
        Ok(SetDisabled { programme_id: self.programme_id, disabled: true, now: cx.now })
    }
}

impl Prepare for EnableProgrammeRequest {
    type Change = SetDisabled;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<SetDisabled> {
        Ok(SetDisabled { programme_id: self.programme_id, disabled: false, now: cx.now })
    }
}

impl Change for SetDisabled {
    type Reply = Programme;

    async fn apply(&self, tx: &mut Tx) -> Outcome<Programme> {
        let not_found = || Error::new(Code::ProgrammeNotFound, "There is no programme of this id.");
        let id = convert::id(&self.programme_id, not_found())?;
        let changed = programmes::set_disabled(tx, id, self.disabled, self.now).await?;
        let programme = programmes::listed(tx, id).await?.ok_or_else(not_found)?;
        if !changed {
            let present = if self.disabled { "disabled" } else { "enabled" };
            let detail = format!("The programme is {present} already.");
            return Err(Error::new(Code::InvalidStateTransition, detail).with("currentStatus", present).into());
        }
        let (name, sandbox, disabled) = (programme.name, programme.sandbox, programme.disabled);
        Ok(Programme { id: id.to_string(), name, sandbox, disabled })
    }
}
