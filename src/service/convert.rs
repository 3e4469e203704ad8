//! Between messages and domain values.

mod accounts;

pub(crate) use accounts::{
    account, account_id, account_not_found, account_status, address, card, card_id, card_not_found, card_status,
};

use std::time::Duration;

use prost_types::Timestamp as Proto;
use uuid::Uuid;

use crate::api::v1;
use crate::domain::chain::{ChainAccount, ChainSet};
use crate::domain::customer::{Customer, Status};
use crate::domain::{Error, Timestamp};

/// A moment as a message.
pub(crate) fn timestamp(at: Timestamp) -> Proto {
    Proto { seconds: at.unix_seconds(), nanos: i32::try_from(at.subsec_nanos()).unwrap_or(0) }
}

/// A moment from a message, rounded down to microseconds: the same things come after it.
pub(crate) fn moment(field: &str, at: Option<Proto>) -> Result<Option<Timestamp>, Error> {
    at.map(|at| micros(field, at).map(|(at, _)| at)).transpose()
}

/// A moment from a message, rounded up to microseconds: the same things come before it.
pub(crate) fn moment_up(field: &str, at: Option<Proto>) -> Result<Option<Timestamp>, Error> {
    at.map(|at| micros(field, at).map(|(at, below)| at + Duration::from_micros(u64::from(below)))).transpose()
}

/// The whole microseconds, and whether there is something below them.
fn micros(field: &str, at: Proto) -> Result<(Timestamp, bool), Error> {
    let whole = at.seconds.checked_mul(1_000_000).filter(|_| (0..1_000_000_000).contains(&at.nanos));
    let whole =
        whole.and_then(|micros| micros.checked_add(i64::from(at.nanos / 1000))).and_then(Timestamp::in_calendar);
    let whole =
        whole.ok_or_else(|| Error::invalid(field, "INVALID_VALUE", "Must be a time between the years 1 and 9999."))?;
    Ok((whole, at.nanos % 1000 > 0))
}

/// An id from a path or body.
///
/// # Errors
///
/// `absent` where the text is no UUID: such an id answers exactly as an unknown one does.
pub(crate) fn id(text: &str, absent: Error) -> Result<Uuid, Error> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36).ok_or(absent)
}

/// A customer as a message, without what only its creation shows.
pub(crate) fn customer(customer: &Customer) -> v1::Customer {
    v1::Customer {
        id: customer.id.to_string(),
        external_id: customer.external_id.clone(),
        chain_id: customer.chain_id.clone(),
        status: status(customer.status).into(),
        created_at: Some(timestamp(customer.created_at)),
        updated_at: Some(timestamp(customer.updated_at)),
        version: u32::try_from(customer.version).unwrap_or(u32::MAX),
        challenge: None,
        verification_url: None,
    }
}

fn status(status: Status) -> v1::CustomerStatus {
    match status {
        Status::Initiating => v1::CustomerStatus::Initiating,
        Status::Screening => v1::CustomerStatus::Screening,
        Status::Verifying => v1::CustomerStatus::Verifying,
        Status::Active => v1::CustomerStatus::Active,
        Status::Inactive => v1::CustomerStatus::Inactive,
        Status::Rejected => v1::CustomerStatus::Rejected,
    }
}

/// A status filter. `Unspecified` counts as none.
pub(crate) fn customer_status(field: &str, value: Option<i32>) -> Result<Option<Status>, Error> {
    let Some(value) = value else { return Ok(None) };
    match v1::CustomerStatus::try_from(value) {
        Ok(v1::CustomerStatus::Unspecified) => Ok(None),
        Ok(wanted) => Ok(Status::ALL.into_iter().find(|candidate| status(*candidate) == wanted)),
        Err(_) => Err(Error::invalid(field, "INVALID_VALUE", "Must be one of the statuses.")),
    }
}

/// A blockchain account from a field.
pub(crate) fn chain_account(field: &str, text: &str, chains: &ChainSet) -> Result<ChainAccount, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, "REQUIRED", "Must be given."));
    }
    ChainAccount::parse(text, chains).map_err(|error| Error::invalid(field, error.code(), error.to_string()))
}
