//! Accounts and cards, and what comes with them.

use super::{id, timestamp};
use crate::api::v1;
use crate::domain::account::{Account, Status};
use crate::domain::address::Address;
use crate::domain::card::{self, Card, Issued};
use crate::domain::{Code, Error};
use uuid::Uuid;

/// An account as a message, without what only its creation shows.
pub(crate) fn account(account: &Account) -> v1::Account {
    v1::Account {
        id: account.id.to_string(),
        customer_id: account.customer_id.to_string(),
        chain_id: account.chain_id.clone(),
        r#type: v1::AccountType::CardAccount.into(),
        currencies: vec![account.currency.clone()],
        status: status(account.status).into(),
        created_at: Some(timestamp(account.created_at)),
        updated_at: Some(timestamp(account.updated_at)),
        version: u32::try_from(account.version).unwrap_or(u32::MAX),
        challenge: None,
    }
}

fn status(status: Status) -> v1::AccountStatus {
    match status {
        Status::Initiating => v1::AccountStatus::Initiating,
        Status::Pending => v1::AccountStatus::Pending,
        Status::Active => v1::AccountStatus::Active,
        Status::Inactive => v1::AccountStatus::Inactive,
        Status::Closed => v1::AccountStatus::Closed,
        Status::Failed => v1::AccountStatus::Failed,
    }
}

/// A status filter. `Unspecified` counts as none.
pub(crate) fn account_status(field: &str, value: Option<i32>) -> Result<Option<Status>, Error> {
    let wanted = value.map(v1::AccountStatus::try_from).transpose();
    let wanted = wanted.map_err(|_| Error::invalid(field, "INVALID_VALUE", "Must be one of the statuses."))?;
    Ok(wanted.and_then(|wanted| Status::ALL.into_iter().find(|candidate| status(*candidate) == wanted)))
}

/// A card as a message.
pub(crate) fn card(card: &Card) -> v1::Card {
    let issued = card.issued.as_ref();
    v1::Card {
        id: card.id.to_string(),
        account_id: card.account_id.to_string(),
        r#type: match card.card_type {
            card::Type::Virtual => v1::CardType::Virtual,
            card::Type::Physical => v1::CardType::Physical,
        }
        .into(),
        name: issued.map(|issued| issued.name.clone()),
        network: issued.map(|issued| issued.network.clone()),
        masked_pan: issued.map(Issued::masked_pan),
        expiration_date: issued.map(|issued| issued.expiration_date.clone()),
        billing_address: Some(address_message(&card.billing_address)),
        shipping_address: card.shipping_address.as_ref().map(address_message),
        status: card_status_message(card.status).into(),
        created_at: Some(timestamp(card.created_at)),
        updated_at: Some(timestamp(card.updated_at)),
        version: u32::try_from(card.version).unwrap_or(u32::MAX),
    }
}

fn card_status_message(status: card::Status) -> v1::CardStatus {
    match status {
        card::Status::Issuing => v1::CardStatus::Issuing,
        card::Status::Active => v1::CardStatus::Active,
        card::Status::Inactive => v1::CardStatus::Inactive,
        card::Status::Suspended => v1::CardStatus::Suspended,
        card::Status::Blocked => v1::CardStatus::Blocked,
        card::Status::IssueFailed => v1::CardStatus::IssueFailed,
        card::Status::Terminated => v1::CardStatus::Terminated,
    }
}

/// A status filter. `Unspecified` counts as none.
pub(crate) fn card_status(field: &str, value: Option<i32>) -> Result<Option<card::Status>, Error> {
    let wanted = value.map(v1::CardStatus::try_from).transpose();
    let wanted = wanted.map_err(|_| Error::invalid(field, "INVALID_VALUE", "Must be one of the statuses."))?;
    Ok(wanted
        .and_then(|wanted| card::Status::ALL.into_iter().find(|candidate| card_status_message(*candidate) == wanted)))
}

fn address_message(address: &Address) -> v1::Address {
    v1::Address {
        first_line: address.first_line.clone(),
        second_line: address.second_line.clone(),
        city: address.city.clone(),
        state: address.state.clone(),
        country: address.country.clone(),
        post_code: address.post_code.clone(),
    }
}

/// An address from a message, unchecked.
pub(crate) fn address(message: v1::Address) -> Address {
    Address {
        first_line: message.first_line,
        second_line: message.second_line,
        city: message.city,
        state: message.state,
        country: message.country,
        // Forms send what was left empty.
        post_code: message.post_code.filter(|code| !code.is_empty()),
    }
}

/// The id of an account.
pub(crate) fn account_id(text: &str) -> Result<Uuid, Error> {
    id(text, account_not_found())
}

/// The id of a card.
pub(crate) fn card_id(text: &str) -> Result<Uuid, Error> {
    id(text, card_not_found())
}

/// No such account, or another programme's: the same answer.
pub(crate) fn account_not_found() -> Error {
    let detail = "The programme has no account with this id. GET /v1/accounts lists those it has.";
    Error::new(Code::AccountNotFound, detail)
}

/// No such card, or another programme's: the same answer.
pub(crate) fn card_not_found() -> Error {
    Error::new(Code::CardNotFound, "The programme has no card with this id. GET /v1/cards lists those it has.")
}
