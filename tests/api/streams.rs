//! What a stream of events is beside its events: resumable, alive, unbuffered, limited, and silent about others.

use std::time::Duration;

use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use customerd::api::v1::{Event, WatchEventsRequest};
use customerd::store::Connection as _;
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::nginx::Nginx;
use crate::support::{Following, House, Partner, everywhere};

everywhere![
    last_event_id_wins_over_the_cursor_in_the_url,
    a_stream_from_now_can_be_resumed_before_its_first_event,
    silence_is_filled_in_every_form,
    nothing_waits_in_a_proxy,
    streams_are_limited_by_programme,
    cursors_say_nothing_of_other_programmes,
    cursors_of_the_version_before_are_read,
];

const TEN_SECONDS: Duration = Duration::from_secs(10);

async fn events(partner: &Partner, query: &str, last: Option<&str>) -> Following {
    let call = partner.get(&format!("/v1/events{query}")).header("accept", "text/event-stream");
    let answer = match last {
        Some(id) => call.header("last-event-id", id).follow().await,
        None => call.follow().await,
    };
    assert_eq!(answer.status, 200);
    answer
}

/// The id and the customer of the next event or comment; no customer for a comment.
async fn frame(stream: &mut Following) -> (String, Option<String>) {
    // The bridge's own sign of life has no id: it comes on a machine that is slow, by its own timer.
    let (frame, id) = loop {
        let frame = stream.until("\n\n").await.unwrap();
        if let Some(id) = frame.lines().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned) {
            break (frame, id);
        }
    };
    let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
    let name = |data| serde_json::from_str::<Value>(data).unwrap()["externalId"].as_str().unwrap().to_owned();
    (id, data.map(name))
}

async fn last_event_id_wins_over_the_cursor_in_the_url(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for name in ["u-1", "u-2", "u-3"] {
        wallet.customer(name).await;
    }
    let mut first = events(&wallet, "", None).await;
    let (one, _) = frame(&mut first).await;
    let (two, _) = frame(&mut first).await;
    drop(first);
    // As a browser reconnects: to the URL that it was given at first.
    for url in ["", "?cursor=now", &format!("?cursor={one}")] {
        let mut again = events(&wallet, url, Some(&two)).await;
        assert_eq!(frame(&mut again).await.1.as_deref(), Some("u-3"), "{url}");
    }
    wallet
        .get("/v1/events")
        .header("accept", "text/event-stream")
        .header("last-event-id", "x")
        .await
        .blames("cursor", "INVALID_VALUE");
    service.stop().await;
}

async fn a_stream_from_now_can_be_resumed_before_its_first_event(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.customer("u-1").await;
    let mut first = events(&wallet, "?cursor=now", None).await;
    let (id, none) = frame(&mut first).await;
    assert_eq!(none, None, "a comment");
    drop(first);
    wallet.customer("u-2").await;
    let mut again = events(&wallet, "?cursor=now", Some(&id)).await;
    assert_eq!(frame(&mut again).await.1.as_deref(), Some("u-2"));
    service.stop().await;
}

async fn silence_is_filled_in_every_form(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    wallet.customer("u-1").await;
    let mut sse = events(&wallet, "", None).await;
    let mut lines = wallet.get("/v1/events").header("accept", "application/x-ndjson").follow().await;
    let mut client = WebhookServiceClient::new(service.channel().await);
    let with = WatchEventsRequest { heartbeats: true, ..WatchEventsRequest::default() };
    let mut asked = client.watch_events(wallet.rpc(with)).await.unwrap().into_inner();
    let mut plain = client.watch_events(wallet.rpc(WatchEventsRequest::default())).await.unwrap().into_inner();
    let (id, _) = frame(&mut sse).await;
    assert!(lines.line().await.is_some());
    let (of_asked, of_plain) = (asked.message().await.unwrap().unwrap(), plain.message().await.unwrap().unwrap());
    assert_eq!(of_asked, of_plain);
    let cursor = of_plain.cursor;
    for _ in 0..2 {
        service.wait(TEN_SECONDS);
        assert_eq!(frame(&mut sse).await, (id.clone(), None));
        assert_eq!(lines.until("\n").await.as_deref(), Some(""));
        assert_eq!(asked.message().await.unwrap(), Some(Event { cursor: cursor.clone(), ..Event::default() }));
    }
    // Who did not ask gets events alone.
    wallet.customer("u-2").await;
    assert_eq!(plain.message().await.unwrap().unwrap().external_id.as_deref(), Some("u-2"));
    // Not a parameter of REST.
    wallet
        .get("/v1/events?heartbeats=true")
        .header("accept", "application/x-ndjson")
        .await
        .blames("heartbeats", "UNKNOWN_PARAMETER");
    service.stop().await;
}

async fn nothing_waits_in_a_proxy(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let Some(nginx) = Nginx::before(service.http) else { return };
    wallet.http = nginx.addr;
    let mut sse = events(&wallet, "?cursor=now", None).await;
    assert_eq!(frame(&mut sse).await.1, None);
    let mut lines = wallet.get("/v1/events?cursor=now").header("accept", "application/x-ndjson").follow().await;
    assert_eq!(lines.until("\n").await.as_deref(), Some(""));
    for name in ["u-1", "u-2"] {
        wallet.customer(name).await;
        assert_eq!(frame(&mut sse).await.1.as_deref(), Some(name));
        assert!(lines.line().await.unwrap().contains(name));
        service.wait(TEN_SECONDS);
        assert_eq!(frame(&mut sse).await.1, None);
        assert_eq!(lines.until("\n").await.as_deref(), Some(""));
    }
    service.stop().await;
}

async fn streams_are_limited_by_programme(house: House) {
    let service = house.start_with(&["--max-event-streams", "2"]).await;
    let (wallet, other) = (service.partner("Wallet").await, service.partner("Other").await);
    let mut client = WebhookServiceClient::new(service.channel().await);
    let first = events(&wallet, "", None).await;
    assert_eq!(first.headers["x-accel-buffering"], "no");
    assert_eq!(first.headers["cache-control"], "no-store");
    let _second = client.watch_events(wallet.rpc(WatchEventsRequest::default())).await.unwrap();

    let refused = wallet.get("/v1/events").header("accept", "text/event-stream").await.refuses(429, "RATE_LIMITED");
    assert_eq!(refused.headers["retry-after"], "10");
    let refused = client.watch_events(wallet.rpc(WatchEventsRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.get_error_details().retry_info().unwrap().retry_delay, Some(TEN_SECONDS));
    // Pages are no streams, others are others, and operators have their own.
    wallet.get("/v1/events").await.is(200);
    let _others = events(&other, "", None).await;
    let operator = service.operator("ledger").await;
    let named = operator.rpc(wallet.programme_id, WatchEventsRequest::default());
    let _operators = client.watch_events(named).await.unwrap();

    drop(first);
    // The service learns of it when the socket says so.
    while client.watch_events(wallet.rpc(WatchEventsRequest::default())).await.is_err() {
        tokio::task::yield_now().await;
    }
    service.stop().await;
}

async fn next_cursor(partner: &Partner, query: &str) -> String {
    partner.get(&format!("/v1/events{query}")).await.is(200).json()["nextCursor"].as_str().unwrap().to_owned()
}

async fn cursors_say_nothing_of_other_programmes(house: House) {
    let service = house.start().await;
    let (wallet, other) = (service.partner("Wallet").await, service.partner("Other").await);
    wallet.customer("u-1").await;
    let (now, all) = (next_cursor(&wallet, "?cursor=now").await, next_cursor(&wallet, "").await);
    assert_eq!(now, all);
    for name in ["o-1", "o-2", "o-3"] {
        other.customer(name).await;
    }
    assert_eq!(next_cursor(&wallet, "?cursor=now").await, now);
    assert_eq!(next_cursor(&wallet, &format!("?cursor={all}")).await, all);
    // Another's is none, and neither is one that was made up: it would be a question about others.
    let theirs = next_cursor(&other, "").await;
    for bad in [theirs.as_str(), "AAAAAAAAAAE", "AAAAAAAAAAI", "__________8"] {
        wallet.get(&format!("/v1/events?cursor={bad}")).await.blames("cursor", "INVALID_VALUE");
    }
    wallet.customer("u-2").await;
    assert_ne!(next_cursor(&wallet, &format!("?cursor={all}")).await, all);
    service.stop().await;
}

/// The migration leaves how far cursors in the clear had got.
async fn cursors_of_the_version_before_are_read(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for name in ["u-1", "u-2"] {
        wallet.customer(name).await;
    }
    let mut tx = service.store.begin().await.unwrap();
    tx.query("UPDATE plain_cursors SET until_position = 1").execute().await.unwrap();
    tx.commit().await.unwrap();
    let page = wallet.get("/v1/events?cursor=AAAAAAAAAAE").await.is(200).json();
    assert_eq!(page["events"][0]["externalId"], "u-2");
    wallet.get("/v1/events?cursor=AAAAAAAAAAI").await.blames("cursor", "INVALID_VALUE");
    service.stop().await;
}
