//! What the RPCs about the stream of events have in common: cursors, filters, messages.

use serde::Deserialize;
use uuid::Uuid;

use super::Api;
use super::context::Context;
use super::convert::{self, timestamp};
use super::cursors::Cursor;
use super::failure::Outcome;
use super::get_customer;
use super::webhooks;
use crate::api::v1;
use crate::domain::event::EntityType;
use crate::domain::webhook::WebhookType;
use crate::domain::{Error, Timestamp};
use crate::store;
use crate::store::events::{self, Wanted, Watched};

/// The cursor for what comes from now on.
const NOW: &str = "now";

/// The cursor behind a position of a programme's stream.
pub(super) fn cursor(api: &Api, programme_id: Uuid, position: i64) -> Outcome<String> {
    Ok(api.keys().cursors.seal(programme_id, position).map_err(|_| Error::internal())?)
}

/// The position that a cursor stands for. Nothing ever appears behind it.
pub(super) async fn position(cx: &Context<'_>, cursor: &str) -> Outcome<i64> {
    let programme_id = cx.programme().id;
    match cursor {
        "" => return Ok(0),
        NOW => {
            events::place(&cx.api.store).await?;
            return Ok(events::last_position(&mut cx.api.store.reader().await?, programme_id).await?);
        }
        _ => {}
    }
    match cx.api.keys().cursors.read(programme_id, cursor) {
        Some(Cursor::Sealed(position)) => return Ok(position),
        // Only what an earlier version may have given: others would say where a programme's events stand among all.
        Some(Cursor::Plain(position))
            if position <= events::plain_cursors_until(&mut cx.api.store.reader().await?).await? =>
        {
            return Ok(position);
        }
        Some(Cursor::Plain(_)) | None => {}
    }
    let message = "Must be the nextCursor of a page or the cursor of an event; empty for the beginning, or now.";
    Err(Error::invalid("cursor", "INVALID_VALUE", message).into())
}

/// The events that a request asks for.
pub(super) fn wanted(cx: &Context<'_>, types: &[String], customer_id: Option<&str>) -> Outcome<Wanted> {
    let entity = |it| match it {
        WebhookType::CustomerUpdated | WebhookType::Test => EntityType::Customer,
        WebhookType::AccountUpdated => EntityType::Account,
        WebhookType::CardUpdated => EntityType::Card,
    };
    let entities = webhooks::types(types)?.into_iter().map(entity).collect();
    let customer_id = customer_id.map(|id| convert::id(id, get_customer::not_found())).transpose()?;
    Ok(Wanted { programme_id: cx.programme().id, entities, customer_id })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    webhook_type: String,
    event_id: String,
    id: String,
    external_id: Option<String>,
    customer_id: Option<String>,
    account_id: Option<String>,
    chain_id: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    currencies: Vec<String>,
    name: Option<String>,
    network: Option<String>,
    masked_pan: Option<String>,
    expiration_date: Option<String>,
    billing_address: Option<Address>,
    shipping_address: Option<Address>,
    status: String,
    created_at: String,
    updated_at: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    first_line: String,
    second_line: Option<String>,
    city: String,
    state: Option<String>,
    country: String,
    post_code: Option<String>,
}

impl From<Address> for v1::Address {
    fn from(it: Address) -> Self {
        Self {
            first_line: it.first_line,
            second_line: it.second_line,
            city: it.city,
            state: it.state,
            country: it.country,
            post_code: it.post_code,
        }
    }
}

/// An event of a programme as a message: what its webhook's body says, and where it stands.
pub(super) fn message(api: &Api, programme_id: Uuid, watched: &Watched) -> Outcome<v1::Event> {
    let unreadable = |error: &dyn std::fmt::Display| store::Error::unreadable("events.body", &error.to_string());
    let body: Body = serde_json::from_str(&watched.body).map_err(|error| unreadable(&error))?;
    let moment = |text: &str| text.parse::<Timestamp>().map(timestamp).map_err(|error| unreadable(&error));
    Ok(v1::Event {
        created_at: Some(moment(&body.created_at)?),
        updated_at: Some(moment(&body.updated_at)?),
        webhook_type: body.webhook_type,
        event_id: body.event_id,
        id: body.id,
        external_id: body.external_id,
        customer_id: body.customer_id,
        account_id: body.account_id,
        chain_id: body.chain_id,
        r#type: body.r#type,
        currencies: body.currencies,
        name: body.name,
        network: body.network,
        masked_pan: body.masked_pan,
        expiration_date: body.expiration_date,
        billing_address: body.billing_address.map(Into::into),
        shipping_address: body.shipping_address.map(Into::into),
        status: body.status,
        version: body.version,
        cursor: Some(cursor(api, programme_id, watched.position)?),
    })
}
