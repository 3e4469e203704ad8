//! ListCustomerEvents.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::api::Read;
use super::context::Context;
use super::convert::{self, timestamp};
use super::failure::Outcome;
use super::get_customer::not_found;
use super::paging;
use crate::api::v1::{AuditEvent, ListCustomerEventsRequest, ListCustomerEventsResponse};
use crate::domain::Error;
use crate::domain::commitment::CustomerKey;
use crate::domain::event::{Event, SEAL};
use crate::domain::reason::{PublicReason, is_rejection, public_actor, public_cause};
use crate::store::{customers, events};

impl Read for ListCustomerEventsRequest {
    type Reply = ListCustomerEventsResponse;

    async fn read(self, cx: &Context<'_>) -> Outcome<ListCustomerEventsResponse> {
        let size = paging::size(self.page_size)?;
        let before = before(&self.page_token)?;
        let id = convert::id(&self.customer_id, not_found())?;
        let mut reader = cx.api.store.reader().await?;
        let key = customers::key_owned(&mut reader, cx.programme().id, id).await?.ok_or_else(not_found)?;
        let page = events::trail(&mut reader, id, before, size).await?;
        // Places have no gaps and start at 1, so the last one tells whether more follow.
        let next_page_token =
            page.last().filter(|event| event.seq > 1).map(|event| token(event.seq)).unwrap_or_default();
        // Lists, operators and their words are for operators alone.
        let events = if cx.caller.operator().is_some() {
            page.into_iter().map(audit_event).collect()
        } else {
            let rejected = page.iter().any(is_rejection);
            let rejection = if rejected { customers::rejection(&mut reader, id).await? } else { None };
            let rejection = rejection.unwrap_or(PublicReason::Other);
            page.into_iter().map(|event| public_event(event, rejection, key.as_ref())).collect()
        };
        Ok(ListCustomerEventsResponse { events, next_page_token })
    }
}

/// The place in the chain where a page ended, as the token of the next one.
fn token(seq: i64) -> String {
    URL_SAFE_NO_PAD.encode(seq.to_be_bytes())
}

fn before(token: &str) -> Result<Option<i64>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes: Option<[u8; 8]> = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| bytes.try_into().ok());
    let seq = bytes.map(i64::from_be_bytes).filter(|seq| *seq > 1);
    seq.map(Some).ok_or_else(paging::bad_token)
}

/// The entry as a partner reads it. Its hashes are those of the whole entry under the customer's key: the entries still chain,
/// and nobody finds by trying what the hash covers. With the key gone they would tell, and are left out. Hashes of version 1
/// stay as they are: partners read the whole entries then.
fn public_event(event: Event, rejection: PublicReason, key: Option<&CustomerKey>) -> AuditEvent {
    let (actor, cause) = (public_actor(&event).to_owned(), public_cause(&event, rejection));
    let hash = |version, hash| match key {
        _ if version == 1 => hex::encode(hash),
        Some(key) => hex::encode(key.public_hash(&hash)),
        None => String::new(),
    };
    let before = if event.entity_type == SEAL { 1 } else { event.hash_version };
    let (previous_hash, hash) = (hash(before, event.previous_hash), hash(event.hash_version, event.hash));
    AuditEvent { actor, cause, previous_hash, hash, ..audit_event(event) }
}

fn audit_event(event: Event) -> AuditEvent {
    AuditEvent {
        event_id: event.id.to_string(),
        r#type: event.event_type().to_owned(),
        entity_type: event.entity_type,
        entity_id: event.entity_id.to_string(),
        actor: event.actor,
        cause: event.cause,
        from: event.from,
        to: event.to,
        version: u32::try_from(event.version).unwrap_or(u32::MAX),
        created_at: Some(timestamp(event.created_at)),
        previous_hash: hex::encode(event.previous_hash),
        hash: hex::encode(event.hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_nothing_else_is() {
        assert_eq!(before(""), Ok(None));
        assert_eq!(before(&token(51)), Ok(Some(51)));
        for bad in ["x", "AAAA", &token(1), &token(-5), &format!("{}A", token(2))] {
            assert_eq!(before(bad).unwrap_err().violations[0].field, "pageToken", "{bad}");
        }
    }
}
