//! The event stream: as pages, NDJSON, server-sent events and over gRPC, all the same.

use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use customerd::api::v1::{Event, WatchEventsRequest};
use serde_json::{Value, json};

use crate::support::accounts::physical_card;
use crate::support::{House, Partner, Receiver, everywhere};

everywhere![
    pages_lead_through_everything_and_on,
    filters_and_cursors,
    streams_carry_what_pages_carry,
    a_stream_goes_on_where_it_was_left,
    a_stream_ends_with_the_service,
    events_are_what_webhooks_carry,
];

async fn page(wallet: &Partner, query: &str) -> (Vec<Value>, String) {
    let page = wallet.get(&format!("/v1/events?{query}")).await.is(200).json();
    (page["events"].as_array().unwrap().clone(), page["nextCursor"].as_str().unwrap().to_owned())
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["externalId"].as_str().unwrap()).collect()
}

async fn pages_lead_through_everything_and_on(house: House) {
    let service = house.start().await;
    let (wallet, other) = (service.partner("Wallet").await, service.partner("Other").await);
    assert_eq!(page(&wallet, "").await.0, Vec::<Value>::new());
    for name in ["u-1", "u-2", "u-3"] {
        wallet.customer(name).await;
        other.customer(name).await;
    }
    let (first, cursor) = page(&wallet, "pageSize=2").await;
    assert_eq!(names(&first), ["u-1", "u-2"]);
    assert_eq!(first[1]["cursor"], cursor.as_str());
    let (second, cursor) = page(&wallet, &format!("pageSize=2&cursor={cursor}")).await;
    assert_eq!(names(&second), ["u-3"]);
    let (none, cursor) = page(&wallet, &format!("pageSize=2&cursor={cursor}")).await;
    assert_eq!(none, Vec::<Value>::new());
    // What comes later is behind it.
    wallet.customer("u-4").await;
    assert_eq!(names(&page(&wallet, &format!("cursor={cursor}")).await.0), ["u-4"]);
    service.stop().await;
}

async fn filters_and_cursors(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let first = wallet.customer("u-1").await;
    wallet.customer("u-2").await;
    let id = first["id"].as_str().unwrap();
    assert_eq!(names(&page(&wallet, &format!("customerId={id}")).await.0), ["u-1"]);
    assert_eq!(names(&page(&wallet, "types=customer.updated").await.0), ["u-1", "u-2"]);
    assert_eq!(page(&wallet, "types=card.updated&types=account.updated").await.0, Vec::<Value>::new());
    let (none, now) = page(&wallet, "cursor=now").await;
    assert_eq!(none, Vec::<Value>::new());
    wallet.customer("u-3").await;
    assert_eq!(names(&page(&wallet, &format!("cursor={now}")).await.0), ["u-3"]);
    wallet.get("/v1/events?cursor=yesterday").await.blames("cursor", "INVALID_VALUE");
    wallet.get("/v1/events?types=card.updated&types=webhook.test").await.blames("types[1]", "INVALID_VALUE");
    wallet.get("/v1/events?pageSize=1001").await.blames("pageSize", "OUT_OF_RANGE");
    wallet.get("/v1/events").unsigned().await.refuses(401, "SIGNATURE_MISSING");
    service.stop().await;
}

/// The data of a server-sent event, and its id.
fn sse(frame: &str) -> (Value, String) {
    let (id, data) = frame.split_once('\n').unwrap();
    let (id, data) = (id.strip_prefix("id: ").unwrap(), data.strip_prefix("data: ").unwrap());
    (serde_json::from_str(data).unwrap(), id.to_owned())
}

async fn streams_carry_what_pages_carry(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.customer("u-1").await;
    let mut lines = wallet.get("/v1/events").header("accept", "application/x-ndjson").follow().await;
    let mut frames = wallet.get("/v1/events").header("accept", "text/event-stream").follow().await;
    assert_eq!((lines.status, lines.headers["content-type"].to_str().unwrap()), (200, "application/x-ndjson"));
    assert_eq!((frames.status, frames.headers["content-type"].to_str().unwrap()), (200, "text/event-stream"));
    let mut client = WebhookServiceClient::new(service.channel().await);
    let mut messages = client.watch_events(wallet.rpc(WatchEventsRequest::default())).await.unwrap().into_inner();
    let (mut by_line, mut by_frame, mut by_message) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["u-2", "u-3", ""] {
        by_line.push(serde_json::from_str::<Value>(&lines.until("\n").await.unwrap()).unwrap());
        let (event, id) = sse(&frames.until("\n\n").await.unwrap());
        assert_eq!(event["cursor"], id.as_str());
        by_frame.push(event);
        by_message.push(messages.message().await.unwrap().unwrap());
        // The streams wait at their end by now; the next event finds them there.
        if !name.is_empty() {
            wallet.customer(name).await;
        }
    }
    let (pages, _) = page(&wallet, "").await;
    assert_eq!(names(&pages), ["u-1", "u-2", "u-3"]);
    assert_eq!(by_line, pages);
    assert_eq!(by_frame, pages);
    for (message, event) in by_message.iter().zip(&pages) {
        let Event { event_id, id, version, cursor, .. } = message;
        let wanted = (&event["eventId"], &event["id"], &event["version"], &event["cursor"]);
        assert_eq!((&json!(event_id), &json!(id), &json!(version), &json!(cursor)), wanted);
    }
    service.stop().await;
}

async fn a_stream_goes_on_where_it_was_left(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for name in ["u-1", "u-2", "u-3"] {
        wallet.customer(name).await;
    }
    let mut frames = wallet.get("/v1/events").header("accept", "text/event-stream").follow().await;
    let (_, id) = sse(&frames.until("\n\n").await.unwrap());
    drop(frames);
    let again = wallet.get("/v1/events").header("accept", "text/event-stream").header("last-event-id", &id);
    let mut again = again.follow().await;
    assert_eq!(sse(&again.until("\n\n").await.unwrap()).0["externalId"], "u-2");
    let now = wallet.get("/v1/events?cursor=now").header("accept", "application/x-ndjson");
    let mut now = now.follow().await;
    wallet.customer("u-4").await;
    assert!(now.line().await.unwrap().contains("u-4"));
    service.stop().await;
}

async fn a_stream_ends_with_the_service(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.customer("u-1").await;
    let mut lines = wallet.get("/v1/events").header("accept", "application/x-ndjson").follow().await;
    assert!(lines.until("\n").await.is_some());
    service.shutdown.start();
    assert_eq!(lines.until("\n").await, None);
    service.stop().await;
}

/// Of customers, accounts and cards: the same members, but for the cursor.
async fn events_are_what_webhooks_carry(house: House) {
    let service = house.start_with(&["--allow-private-callbacks"]).await;
    let wallet = service.sandbox_partner("Wallet").await;
    let mut receiver = Receiver::start().await;
    let types = json!(["customer.updated", "account.updated", "card.updated"]);
    wallet.put("/v1/webhooks", &json!({"callbackUrl": receiver.url(), "types": types})).await.is(200);
    let customer = service.active_customer(&wallet, "u-1").await;
    let account = service.active_account(&wallet, customer).await;
    service.active_card(&wallet, account, &physical_card()).await;
    let (events, _) = page(&wallet, "").await;
    let mut webhooks = Vec::new();
    for _ in &events {
        webhooks.push(receiver.next().await.json());
    }
    let types: std::collections::BTreeSet<_> = events.iter().map(|it| it["webhookType"].as_str().unwrap()).collect();
    assert_eq!(types.len(), 3, "{events:?}");
    for event in &events {
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove("cursor").unwrap();
        let webhook = webhooks.iter().find(|it| it["eventId"] == event["eventId"]);
        assert_eq!(webhook, Some(&event));
    }
    service.stop().await;
}
