//! What moves of a card have in common.

use uuid::Uuid;

use super::api::Api;
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::once::Change;
use super::reason;
use crate::api::v1;
use crate::domain::card::Move;
use crate::domain::event::Origin;
use crate::lifecycle::{Step, card_moves};
use crate::store::cards::{self, Held};
use crate::store::{Mode, Tx};

/// One move of one card.
pub(crate) struct MoveCard {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    card_id: String,
    by: Move,
    reason: Option<String>,
}

impl MoveCard {
    /// The move, made by the caller.
    pub(super) fn new(cx: &Context<'_>, card_id: String, by: Move) -> Self {
        let programme_id = cx.programme().id;
        Self { api: cx.api.clone(), origin: cx.origin.clone(), programme_id, card_id, by, reason: None }
    }

    /// The move, made by an operator for a reason.
    pub(super) fn operators(cx: &Context<'_>, card_id: String, (by, reason): (Move, String)) -> Outcome<Self> {
        reason::check(&reason)?;
        Ok(Self { reason: Some(reason), ..Self::new(cx, card_id, by) })
    }
}

impl Change for MoveCard {
    type Reply = v1::Card;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Card> {
        let mut held = hold(tx, Some(self.programme_id), &self.card_id).await?;
        let step = Step { by: self.by, reason: self.reason.as_deref(), origin: &self.origin };
        card_moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(convert::card(&held.card))
    }

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }
}

/// Holds a programme's card; with `None`, any programme's.
pub(super) async fn hold(tx: &mut Tx, programme_id: Option<Uuid>, card_id: &str) -> Outcome<Held> {
    let held = cards::lock(tx, convert::card_id(card_id)?).await?;
    let own = |held: &Held| programme_id.is_none_or(|id| held.card.programme_id == id);
    Ok(held.filter(own).ok_or_else(convert::card_not_found)?)
}
