//! An open stream ends when what it rests on does, in every form, and goes on when it does not.

use std::time::Duration;

use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use customerd::api::v1::{Event, WatchEventsRequest};
use customerd::signature::Algorithm;
use customerd::store::{Tx, programmes, signing_keys};
use serde_json::{Value, json};
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::support::{Following, House, Partner, Service, everywhere};

everywhere![
    new_credentials_end_every_stream,
    a_disabled_programme_has_no_streams,
    a_deleted_key_ends_the_streams_that_it_signed,
    a_token_that_expires_ends_none,
];

const SECRET: &str = "a-secret-of-more-than-32-visible-characters";

/// A stream in each of its forms.
struct Streams {
    lines: Following,
    frames: Following,
    messages: Streaming<Event>,
}

/// The next server-sent event that is no comment.
async fn frame(frames: &mut Following) -> Option<String> {
    loop {
        match frames.until("\n\n").await {
            Some(comment) if comment.starts_with(':') => {}
            other => return other,
        }
    }
}

impl Streams {
    async fn open(service: &Service, partner: &Partner) -> Self {
        let follow = async |accept: &str| partner.get("/v1/events").header("accept", accept).follow().await;
        let mut client = WebhookServiceClient::new(service.channel().await);
        let messages = client.watch_events(partner.rpc(WatchEventsRequest::default())).await.unwrap().into_inner();
        Self { lines: follow("application/x-ndjson").await, frames: follow("text/event-stream").await, messages }
    }

    /// The external id of the next event, the same in each.
    async fn next(&mut self) -> String {
        let line: Value = serde_json::from_str(&self.lines.line().await.unwrap()).unwrap();
        let text = frame(&mut self.frames).await.unwrap();
        let data: Value = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
        let message = self.messages.message().await.unwrap().unwrap();
        assert_eq!(
            (&line["externalId"], line["externalId"].as_str()),
            (&data["externalId"], message.external_id.as_deref())
        );
        message.external_id.unwrap()
    }

    /// Insists that each ends with this code, and nothing after it.
    async fn end_with(mut self, code: &str) {
        let line: Value = serde_json::from_str(&self.lines.line().await.unwrap()).unwrap();
        assert_eq!((&line["error"]["code"], &line["error"]["status"]), (&json!(code), &json!(401)), "{line}");
        assert_eq!(self.lines.line().await, None);
        let text = frame(&mut self.frames).await.unwrap();
        let data: Value = serde_json::from_str(text.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
        assert_eq!((&data["code"], &data["status"]), (&json!(code), &json!(401)), "{data}");
        assert_eq!(frame(&mut self.frames).await, None);
        self.messages_end_with(code).await;
    }

    async fn messages_end_with(&mut self, code: &str) {
        let status = self.messages.message().await.unwrap_err();
        let reason = status.get_details_error_info().map(|info| info.reason);
        assert_eq!((status.code(), reason.as_deref()), (Code::Unauthenticated, Some(code)));
        assert!(self.messages.message().await.unwrap().is_none());
    }
}

/// Lets time go by, a second after another, until something has come to its end.
async fn in_time<T>(service: &Service, end: impl Future<Output = T>) -> T {
    let mut end = std::pin::pin!(end);
    loop {
        match tokio::time::timeout(Duration::from_millis(20), &mut end).await {
            Ok(ended) => return ended,
            Err(_) => service.wait(Duration::from_secs(1)),
        }
    }
}

async fn change(service: &Service, made: impl AsyncFnOnce(&mut Tx)) {
    let mut tx = service.store.begin().await.unwrap();
    made(&mut tx).await;
    tx.commit().await.unwrap();
}

/// No time goes by: the node that changes them ends its streams at once.
async fn new_credentials_end_every_stream(house: House) {
    let service = house.start().await;
    let (wallet, other) = (service.partner("Wallet").await, service.partner("Other").await);
    let mut streams = Streams::open(&service, &wallet).await;
    let mut others = Streams::open(&service, &other).await;
    wallet.customer("u-1").await;
    assert_eq!(streams.next().await, "u-1");
    let body = json!({"apiKey": wallet.api_key, "apiSecret": SECRET});
    wallet.put("/v1/auth/credentials", &body).await.is(204);
    streams.end_with("UNAUTHENTICATED").await;
    other.customer("u-2").await;
    assert_eq!(others.next().await, "u-2");
    other.delete("/v1/auth/credentials").await.is(204);
    others.end_with("UNAUTHENTICATED").await;
    service.stop().await;
}

/// By another node or the command line: this one finds it in the database.
async fn a_disabled_programme_has_no_streams(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let operator = service.operator("ledger").await;
    let streams = Streams::open(&service, &wallet).await;
    let mut client = WebhookServiceClient::new(service.channel().await);
    let watch = operator.rpc(wallet.programme_id, WatchEventsRequest::default());
    let mut theirs = client.watch_events(watch).await.unwrap().into_inner();
    wallet.customer("u-1").await;
    // What waits in a stream is not sent any more; what was sent before may come.
    let mut streams = streams;
    assert_eq!(streams.next().await, "u-1");
    change(&service, async |tx| {
        assert!(programmes::disable(tx, wallet.programme_id, service.clock.now()).await.unwrap());
    })
    .await;
    in_time(&service, streams.end_with("UNAUTHENTICATED")).await;
    // An operator's rests on the operator alone.
    assert_eq!(theirs.message().await.unwrap().unwrap().external_id.as_deref(), Some("u-1"));
    drop(theirs);
    service.stop().await;
}

async fn a_deleted_key_ends_the_streams_that_it_signed(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let mut first = Streams::open(&service, &wallet).await;
    let old = wallet.key_id.clone();
    wallet.take_key(Algorithm::Ed25519).await;
    let mut second = Streams::open(&service, &wallet).await;
    change(&service, async |tx| {
        assert_eq!(signing_keys::delete(tx, wallet.programme_id, Some(&old)).await.unwrap(), 1);
    })
    .await;
    let ends = async {
        let line: Value = serde_json::from_str(&first.lines.line().await.unwrap()).unwrap();
        assert_eq!(line["error"]["code"], "KEY_UNKNOWN", "{line}");
        let text = frame(&mut first.frames).await.unwrap();
        assert!(text.starts_with("event: error\n") && text.contains("\"KEY_UNKNOWN\""), "{text}");
    };
    in_time(&service, ends).await;
    wallet.customer("u-1").await;
    assert_eq!(second.next().await, "u-1");
    // No key signs over gRPC.
    assert_eq!(first.messages.message().await.unwrap().unwrap().external_id.as_deref(), Some("u-1"));
    service.stop().await;
}

async fn a_token_that_expires_ends_none(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let mut streams = Streams::open(&service, &wallet).await;
    wallet.customer("u-1").await;
    assert_eq!(streams.next().await, "u-1");
    for _ in 0..5 {
        service.wait(Duration::from_hours(1));
        tokio::task::yield_now().await;
    }
    wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");
    wallet.sign_in().await;
    wallet.customer("u-2").await;
    assert_eq!(streams.next().await, "u-2");
    service.stop().await;
}
