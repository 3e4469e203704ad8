//! What moves of an account have in common.

use uuid::Uuid;

use super::api::Api;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::once::Change;
use crate::api::v1;
use crate::domain::account::Move;
use crate::domain::event::Origin;
use crate::lifecycle::{Step, account_moves};
use crate::store::accounts::{self, Held};
use crate::store::{Mode, Tx};

/// One move of one account.
pub(crate) struct MoveAccount {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    account_id: String,
    by: Move,
}

impl MoveAccount {
    /// The move, made by the caller.
    pub(super) fn new(cx: &Context<'_>, account_id: String, by: Move) -> Self {
        Self { api: cx.api.clone(), origin: cx.origin.clone(), programme_id: cx.programme().id, account_id, by }
    }
}

impl Change for MoveAccount {
    type Reply = v1::Account;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Account> {
        let mut held = hold(tx, Some(self.programme_id), &self.account_id).await?;
        let step = Step { by: self.by, reason: None, origin: &self.origin };
        account_moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(convert::account(&held.account))
    }

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }
}

/// Holds a programme's account; with `None`, any programme's.
pub(super) async fn hold(tx: &mut Tx, programme_id: Option<Uuid>, account_id: &str) -> Outcome<Held> {
    let held = accounts::lock(tx, convert::account_id(account_id)?).await?;
    let own = |held: &Held| programme_id.is_none_or(|id| held.account.programme_id == id);
    Ok(held.filter(own).ok_or_else(convert::account_not_found)?)
}
