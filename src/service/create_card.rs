//! CreateCard.

use uuid::Uuid;

use super::api::{Api, Prepare};
use super::context::Context;
use super::convert;
use super::failure::Outcome;
use super::move_account::hold;
use super::once::Change;
use crate::api::v1::{self, CardType, CreateCardRequest};
use crate::domain::card::{Card, Status, Type};
use crate::domain::event::Origin;
use crate::domain::{Code, Error, Violation, account, customer};
use crate::lifecycle::Recorder;
use crate::store::tasks::{self, Kind, NewTask};
use crate::store::{Mode, Tx, cards, customers};

pub(crate) struct CreateCard {
    api: Api,
    origin: Origin,
    card: Card,
    account_id: String,
}

impl Prepare for CreateCardRequest {
    type Change = CreateCard;

    async fn prepare(self, cx: &Context<'_>) -> Outcome<CreateCard> {
        let mut found = Vec::new();
        let card_type = kind(self.r#type).map_err(|fault| found.push(fault));
        let billing = self.billing_address.map(convert::address);
        match &billing {
            Some(address) => found.extend(address.violations("billingAddress")),
            None => found.push(violation("billingAddress", "REQUIRED", "Must be given.")),
        }
        let shipping = self.shipping_address.map(convert::address);
        match (&shipping, card_type) {
            (Some(address), _) => found.extend(address.violations("shippingAddress")),
            (None, Ok(Type::Physical)) => {
                found.push(violation("shippingAddress", "REQUIRED", "Must be given for a physical card."));
            }
            (None, _) => {}
        }
        let (Ok(card_type), Some(billing_address), true) = (card_type, billing, found.is_empty()) else {
            return Err(Error::violations(found).into());
        };
        let card = Card {
            id: cx.api.clock.id(),
            programme_id: cx.programme().id,
            // Known once the account is held.
            customer_id: Uuid::nil(),
            account_id: Uuid::nil(),
            card_type,
            issued: None,
            billing_address,
            shipping_address: shipping,
            status: Status::Issuing,
            slept_by: None,
            created_at: cx.now,
            updated_at: cx.now,
            version: 1,
        };
        Ok(CreateCard { api: cx.api.clone(), origin: cx.origin.clone(), card, account_id: self.account_id })
    }
}

fn kind(value: i32) -> Result<Type, Violation> {
    match CardType::try_from(value) {
        Ok(CardType::Virtual) => Ok(Type::Virtual),
        Ok(CardType::Physical) => Ok(Type::Physical),
        Ok(CardType::Unspecified) => Err(violation("type", "REQUIRED", "Must be given: virtual or physical.")),
        Err(_) => Err(violation("type", "INVALID_VALUE", "Must be virtual or physical.")),
    }
}

fn violation(field: &str, code: &'static str, message: &str) -> Violation {
    Violation { field: field.to_owned(), code, message: message.to_owned() }
}

impl Change for CreateCard {
    type Reply = v1::Card;

    async fn apply(&self, tx: &mut Tx) -> Outcome<v1::Card> {
        let mut held = hold(tx, Some(self.card.programme_id), &self.account_id).await?;
        let customer = held.customer.customer.status;
        if held.account.status != account::Status::Active {
            return Err(Error::transition("account", held.account.status, "given a card").into());
        }
        if customer != customer::Status::Active {
            return Err(Error::transition("customer", customer, "given a card").into());
        }
        let (account_id, customer_id) = (held.account.id, held.account.customer_id);
        let created_at = held.customer.chain.next_time(self.card.created_at);
        let card = Card { account_id, customer_id, created_at, updated_at: created_at, ..self.card.clone() };
        cards::insert(tx, &card)?;
        let recorder = Recorder { origin: &self.origin, clock: &self.api.clock };
        recorder.append(tx, &mut held.customer.chain, vec![card.event(None, "created")]).await?;
        customers::update(tx, &mut held.customer).await?;
        let task = NewTask {
            id: card.id,
            kind: Kind::Issuance,
            programme_id: card.programme_id,
            customer_id,
            entity_id: card.id,
            created_at: self.card.created_at,
        };
        tasks::enqueue(tx, &task)?;
        Ok(convert::card(&card))
    }

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }

    fn targets(reply: &v1::Card) -> Option<Vec<String>> {
        Some(vec![reply.id.clone()])
    }

    /// Names the live card of the same type.
    async fn conflict(&self, tx: &mut Tx) -> Outcome<Option<Error>> {
        // Refused before where it is not the programme's.
        let Ok(account_id) = convert::account_id(&self.account_id) else { return Ok(None) };
        let Some(existing) = cards::live(tx, account_id, self.card.card_type).await? else { return Ok(None) };
        let detail =
            format!("The account has a live {} card already. Terminate it first.", self.card.card_type.as_str());
        let message = format!("Card {existing} has this type already.");
        let error = Error::new(Code::CardExists, detail).with("existingId", existing.to_string());
        Ok(Some(error.on("type", "CARD_EXISTS", message)))
    }
}
