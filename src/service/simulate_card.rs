//! SimulateCardIssued, SimulateCardFailed.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::failure::Outcome;
use super::move_card::hold;
use super::once::Change;
use crate::api::v1::{SimulateCardFailedRequest, SimulateCardIssuedRequest};
use crate::domain::Timestamp;
use crate::domain::card::{Card, Issued, Move};
use crate::domain::event::Origin;
use crate::lifecycle::{Step, card_moves};
use crate::store::Tx;

/// Years that a sandbox card is good for.
const YEARS: i64 = 4;

/// The end of an issuing that nobody does.
pub(crate) struct Simulate {
    api: Api,
    origin: Origin,
    programme_id: Uuid,
    card_id: String,
    by: Move,
    now: Timestamp,
}

impl Simulate {
    fn new(cx: &Context<'_>, card_id: String, by: Move) -> Outcome<Self> {
        cx.sandbox_only()?;
        let origin = Origin { actor: "simulator".to_owned(), ..cx.origin.clone() };
        Ok(Self { api: cx.api.clone(), origin, programme_id: cx.programme().id, card_id, by, now: cx.now })
    }
}

impl Prepare for SimulateCardIssuedRequest {
    type Change = Simulate;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Simulate> {
        Simulate::new(cx, self.card_id, Move::Issue)
    }
}

impl Prepare for SimulateCardFailedRequest {
    type Change = Simulate;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<Simulate> {
        Simulate::new(cx, self.card_id, Move::Fail)
    }
}

impl Change for Simulate {
    type Reply = ();

    async fn apply(&self, tx: &mut Tx) -> Outcome<()> {
        let mut held = hold(tx, Some(self.programme_id), &self.card_id).await?;
        if self.by == Move::Issue && held.card.issued.is_none() {
            held.card.issued = Some(invented(&held.card, self.now));
        }
        let step = Step { by: self.by, reason: None, origin: &self.origin };
        card_moves::make(tx, &mut held, step, &self.api.clock).await?;
        Ok(())
    }
}

/// What an issuing service would have given. Four digits of the card's own id: the same card always looks the same.
fn invented(card: &Card, now: Timestamp) -> Issued {
    // RFC 3339: the year is the first four characters, the month the two after the dash.
    let now = now.to_string();
    let year = now.get(..4).and_then(|year| year.parse::<i64>().ok()).unwrap_or_default();
    let month = now.get(5..7).unwrap_or("12");
    Issued {
        name: "SANDBOX CARDHOLDER".to_owned(),
        network: "visa".to_owned(),
        last_four: format!("{:04}", card.id.as_u128() % 10_000),
        expiration_date: format!("{month}/{}", year + YEARS),
    }
}
