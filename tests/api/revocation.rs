//! An open stream of every form ends when its caller may no longer call, and not before.

use std::time::Duration;

use customerd::api::v1::admin_service_client::AdminServiceClient;
use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use customerd::api::v1::{Event, RevokeOperatorRequest, RotateOperatorRequest, WatchEventsRequest};
use customerd::domain::operator::Role;
use customerd::signature::Algorithm;
use customerd::store::{Tx, operators, programmes, signing_keys};
use serde_json::{Value, json};
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::support::{Following, House, Partner, Service, everywhere};

everywhere![
    new_credentials_end_every_stream,
    a_disabled_programme_has_no_streams,
    a_deleted_key_ends_the_streams_that_it_signed,
    a_token_that_expires_ends_none,
    a_revoked_operator_has_no_streams,
    streams_that_nobody_can_check_end,
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
    async fn end_with(self, code: &str) {
        self.end_as((401, Code::Unauthenticated), code).await;
    }

    async fn end_as(mut self, (status, grpc): (u16, Code), code: &str) {
        let line: Value = serde_json::from_str(&self.lines.line().await.unwrap()).unwrap();
        assert_eq!((&line["error"]["code"], &line["error"]["status"]), (&json!(code), &json!(status)), "{line}");
        assert_eq!(self.lines.line().await, None);
        let text = frame(&mut self.frames).await.unwrap();
        let data: Value = serde_json::from_str(text.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
        assert_eq!((&data["code"], &data["status"]), (&json!(code), &json!(status)), "{data}");
        assert_eq!(frame(&mut self.frames).await, None);
        ended(&mut self.messages, grpc, code).await;
    }
}

/// Insists that a stream ends with this code, and nothing after it.
async fn ended(messages: &mut Streaming<Event>, code: Code, wanted: &str) {
    let status = messages.message().await.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason);
    assert_eq!((status.code(), reason.as_deref()), (code, Some(wanted)), "{status:?}");
    assert!(messages.message().await.unwrap().is_none());
}

/// Waits for an end that comes within a second of the service's clock. A second one passes only where a check was in flight
/// when the first did: the next check is due a second after that.
async fn in_time<T>(service: &Service, end: impl Future<Output = T>) -> T {
    let mut end = std::pin::pin!(end);
    for seconds in [2, 60] {
        service.wait(Duration::from_secs(1));
        if let Ok(ended) = tokio::time::timeout(Duration::from_secs(seconds), &mut end).await {
            return ended;
        }
    }
    panic!("it goes on after two seconds");
}

/// Lets time pass, a second after another, until something has come to its end.
async fn eventually<T>(service: &Service, end: impl Future<Output = T>) -> T {
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
        assert!(programmes::set_disabled(tx, wallet.programme_id, true, service.clock.now()).await.unwrap());
    })
    .await;
    in_time(&service, streams.end_with("UNAUTHENTICATED")).await;
    // An operator's depends on the operator alone.
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

/// By another node or the command line, by an administrator over gRPC, and by a new token: within a second each.
async fn a_revoked_operator_has_no_streams(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let desk = service.operator("desk").await;
    let mut admin = AdminServiceClient::new(service.channel().await);
    let mut streams = Vec::new();
    for name in ["elsewhere", "here", "rotated", "kept"] {
        let operator = service.operator_as(name, Role::Viewer, &[]).await;
        let mut client = WebhookServiceClient::new(service.channel().await);
        let watch = operator.rpc(wallet.programme_id, WatchEventsRequest::default());
        streams.push(client.watch_events(watch).await.unwrap().into_inner());
    }
    wallet.customer("u-1").await;
    for stream in &mut streams {
        assert_eq!(stream.message().await.unwrap().unwrap().external_id.as_deref(), Some("u-1"));
    }
    let mut streams = streams.into_iter();
    change(&service, async |tx| {
        let mut operator = operators::lock(tx, "elsewhere").await.unwrap().unwrap();
        operator.revoke(service.clock.now()).unwrap();
        operators::update(tx, &operator, None).await.unwrap();
    })
    .await;
    // One second of the service's clock, and no more.
    service.wait(Duration::from_secs(1));
    ended(&mut streams.next().unwrap(), Code::Unauthenticated, "UNAUTHENTICATED").await;
    let revoke = RevokeOperatorRequest { name: "here".to_owned() };
    admin.revoke_operator(desk.rpc_of_all(revoke)).await.unwrap();
    let mut here = streams.next().unwrap();
    in_time(&service, ended(&mut here, Code::Unauthenticated, "UNAUTHENTICATED")).await;
    let rotate = RotateOperatorRequest { name: "rotated".to_owned() };
    admin.rotate_operator(desk.rpc_of_all(rotate)).await.unwrap();
    let mut rotated = streams.next().unwrap();
    in_time(&service, ended(&mut rotated, Code::Unauthenticated, "UNAUTHENTICATED")).await;
    wallet.customer("u-2").await;
    let mut kept = streams.next().unwrap();
    assert_eq!(kept.message().await.unwrap().unwrap().external_id.as_deref(), Some("u-2"));
    drop(kept);
    service.stop().await;
}

/// The database is gone, and with it whatever would say that a caller may go on.
async fn streams_that_nobody_can_check_end(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let wallet = service.partner("Wallet").await;
    let mut streams = Streams::open(&service, &wallet).await;
    wallet.customer("u-1").await;
    assert_eq!(streams.next().await, "u-1");
    service.store.close().await.unwrap();
    eventually(&service, streams.end_as((503, Code::Unavailable), "UNAVAILABLE")).await;
}
