//! Webhooks: subscriptions, deliveries with both signatures, retries, replays.

use std::time::Duration;

use customerd::domain::event::Origin;
use customerd::store::{customers, events, programmes};
use serde_json::{Value, json};

use crate::support::{House, Keys, Partner, Receiver, Service, everywhere};

everywhere![
    a_subscription_from_first_to_last,
    what_is_no_subscription,
    a_change_is_delivered_and_signed_twice,
    failures_are_retried_until_dead_and_replayed,
    a_rotated_secret_signs_beside_the_old_one,
    spans_are_replayed,
    one_entity_in_order,
    a_disabled_programme_pauses_and_so_does_its_clock,
];

const PRIVATE: &[&str] = &["--allow-private-callbacks"];

pub async fn house(house: House) -> (Service, Partner, Receiver) {
    let service = house.start_with(PRIVATE).await;
    let wallet = service.sandbox_partner("Wallet").await;
    (service, wallet, Receiver::start().await)
}

pub async fn subscribe(wallet: &Partner, receiver: &Receiver) -> (String, String) {
    let body = json!({"callbackUrl": receiver.url(), "types": ["customer.updated"]});
    let webhook = wallet.put("/v1/webhooks", &body).await.is(200).json();
    (format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap()), webhook["secret"].as_str().unwrap().to_owned())
}

/// The deliveries once they satisfy the story: an attempt is written down after its answer.
pub async fn deliveries(wallet: &Partner, webhook: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut last = Value::Null;
    for _ in 0..2000 {
        last = wallet.get(&format!("{webhook}/deliveries")).await.is(200).json();
        let all = last["deliveries"].as_array().unwrap();
        if wanted(all) {
            return all.clone();
        }
        tokio::task::yield_now().await;
    }
    panic!("deliveries stay {last}");
}

pub fn attempts(delivery: &Value) -> usize {
    delivery["attempts"].as_array().unwrap().len()
}

fn settled(count: usize) -> impl Fn(&[Value]) -> bool {
    move |all| all.len() == 1 && attempts(&all[0]) == count
}

async fn a_subscription_from_first_to_last(house: House) {
    let service = house.start().await;
    let (wallet, other) = (service.partner("Wallet").await, service.partner("Other").await);
    let body = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated", "card.updated"]});
    let mut made = wallet.put("/v1/webhooks", &body).key("0f7a1c7e-3c55-4a3b-9d0a-0c5b3a0f4e01").await.is(200).json();
    let again = wallet.put("/v1/webhooks", &body).key("0f7a1c7e-3c55-4a3b-9d0a-0c5b3a0f4e01").await.is(200).json();
    assert_eq!(made, again);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    made.as_object_mut().unwrap().remove("secret");
    let id = made["id"].as_str().unwrap().to_owned();
    let at = "2026-01-02T03:04:05.000006Z";
    let wanted = json!({
        "id": id, "callbackUrl": "https://partner.example/hook", "types": ["customer.updated", "card.updated"],
        "status": "active", "fifo": false, "createdAt": at, "updatedAt": at,
    });
    assert_eq!(made, wanted);
    let path = format!("/v1/webhooks/{id}");
    assert_eq!(wallet.get(&path).await.is(200).json(), wanted);
    assert_eq!(wallet.get("/v1/webhooks").await.is(200).json(), json!({"webhooks": [wanted], "nextPageToken": ""}));
    let change =
        json!({"id": id, "callbackUrl": "https://partner.example/2", "types": ["account.updated"], "fifo": true});
    let changed = wallet.put("/v1/webhooks", &change).await.is(200).json();
    assert_eq!((&changed["types"], &changed["fifo"]), (&json!(["account.updated"]), &json!(true)));
    assert_eq!(changed.get("secret"), None);
    // Another programme's id answers as an unknown one does.
    other.get(&path).await.refuses(404, "WEBHOOK_NOT_FOUND");
    other.put("/v1/webhooks", &change).await.refuses(404, "WEBHOOK_NOT_FOUND");
    other.delete(&path).await.refuses(404, "WEBHOOK_NOT_FOUND");
    for call in ["test", "rotate-secret"] {
        other.call("POST", &format!("{path}/{call}")).await.refuses(404, "WEBHOOK_NOT_FOUND");
    }
    other.post(&format!("{path}/replay"), &json!({})).await.refuses(404, "WEBHOOK_NOT_FOUND");
    other.get(&format!("{path}/deliveries")).await.refuses(404, "WEBHOOK_NOT_FOUND");
    assert_eq!(wallet.delete(&path).await.is(204).text(), "");
    wallet.get(&path).await.refuses(404, "WEBHOOK_NOT_FOUND");
    wallet.delete(&path).await.refuses(404, "WEBHOOK_NOT_FOUND");
    service.stop().await;
}

async fn what_is_no_subscription(house: House) {
    let service = house.start_with(PRIVATE).await;
    let (live, sandbox) = (service.partner("Live").await, service.sandbox_partner("Sandbox").await);
    let put = |url: &str, types: Value| json!({"callbackUrl": url, "types": types});
    let types = || json!(["customer.updated"]);
    for url in ["http://partner.example/", "https://127.0.0.1/", "https://a@b.example/", "https://169.254.169.254/"] {
        live.put("/v1/webhooks", &put(url, types())).await.blames("callbackUrl", "CALLBACK_URL_FORBIDDEN");
    }
    sandbox
        .put("/v1/webhooks", &put("http://169.254.169.254/", types()))
        .await
        .blames("callbackUrl", "CALLBACK_URL_FORBIDDEN");
    let typed = live.put("/v1/webhooks", &put("https://Bücher.EXAMPLE:443/a b/../Hook?q=ü", types())).await;
    typed.blames("callbackUrl", "INVALID_VALUE");
    let typed =
        live.put("/v1/webhooks", &put("https://Bücher.EXAMPLE:443/a/../Hook?q=ü", types())).await.is(200).json();
    assert_eq!(typed["callbackUrl"], "https://xn--bcher-kva.example/Hook?q=%C3%BC");
    let shown = live.get(&format!("/v1/webhooks/{}", typed["id"].as_str().unwrap())).await.is(200).json();
    assert_eq!(shown["callbackUrl"], typed["callbackUrl"]);
    live.put("/v1/webhooks", &put("", types())).await.blames("callbackUrl", "REQUIRED");
    live.put("/v1/webhooks", &put("https://partner.example/", json!([]))).await.blames("types", "REQUIRED");
    let unknown = put("https://partner.example/", json!(["customer.updated", "webhook.test"]));
    live.put("/v1/webhooks", &unknown).await.blames("types[1]", "INVALID_VALUE");
    let absent = json!({"id": "nobody", "callbackUrl": "https://partner.example/", "types": ["card.updated"]});
    live.put("/v1/webhooks", &absent).await.refuses(404, "WEBHOOK_NOT_FOUND");
    service.stop().await;
}

async fn a_change_is_delivered_and_signed_twice(h: House) {
    let (service, wallet, mut receiver) = house(h).await;
    let (webhook, secret) = subscribe(&wallet, &receiver).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let chain_id = "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";
    let body = json!({"chainId": chain_id, "externalId": "u-1"});
    let customer = wallet
        .post("/v1/customers", &body)
        .header("traceparent", trace)
        .header("x-request-id", "the-change/1")
        .await
        .is(201)
        .json();
    let received = receiver.next().await;
    let event = received.json();
    assert_eq!((&event["webhookType"], &event["id"]), (&json!("customer.updated"), &customer["id"]));
    assert_eq!((&event["status"], &event["version"]), (&json!("initiating"), &json!(1)));
    assert_eq!(event["eventId"], received.header("webhook-id"));
    assert!(event.get("challenge").is_none(), "{event}");
    assert!(received.header("traceparent").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_eq!(received.header("x-request-id"), "the-change/1");
    let keys = wallet.get("/.well-known/jwks.json").bare().await.is(200);
    assert!(keys.header("cache-control").unwrap().contains("max-age"));
    let address = receiver.address.to_string();
    let keys = Keys::read(&keys.json());
    assert_eq!(keys.verify(&received, &[&secret], (service.clock.now(), &address)), Ok(()));
    let all = deliveries(&wallet, &webhook, settled(1)).await;
    assert_eq!((&all[0]["status"], &all[0]["eventId"]), (&json!("delivered"), &event["eventId"]));
    assert_eq!((&all[0]["attempts"][0]["status"], all[0].get("nextAttemptAt")), (&json!(204), None));
    // Nothing comes to those who want nothing of it.
    let cards = json!({"callbackUrl": receiver.url(), "types": ["card.updated"]});
    let cards = wallet.put("/v1/webhooks", &cards).await.is(200).json();
    wallet.customer("u-2").await;
    assert_eq!(receiver.next().await.json()["externalId"], "u-2");
    let none = wallet.get(&format!("/v1/webhooks/{}/deliveries", cards["id"].as_str().unwrap())).await.is(200).json();
    assert_eq!(none["deliveries"], json!([]));
    service.stop().await;
}

async fn failures_are_retried_until_dead_and_replayed(h: House) {
    let (service, mut wallet, mut receiver) = house(h).await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    // A redirect is an answer like any other, and not followed.
    receiver.will([
        (500, None),
        (302, Some(("location", "http://127.0.0.1:1/"))),
        (429, Some(("retry-after", "3600"))),
    ]);
    wallet.customer("u-1").await;
    let first = receiver.next().await;
    deliveries(&wallet, &webhook, settled(1)).await;
    service.wait(Duration::from_secs(2));
    let second = receiver.next().await;
    assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
    assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    deliveries(&wallet, &webhook, settled(2)).await;
    service.wait(Duration::from_secs(7));
    receiver.next().await;
    let all = deliveries(&wallet, &webhook, settled(3)).await;
    let attempts: Vec<_> =
        all[0]["attempts"].as_array().unwrap().iter().map(|it| (&it["status"], &it["response"])).collect();
    let wanted = [
        (&json!(500), &json!("answered 500")),
        (&json!(302), &json!("answered 302")),
        (&json!(429), &json!("answered 429")),
    ];
    assert_eq!(attempts, wanted);
    // As long as the receiver asked for.
    assert_eq!(all[0]["nextAttemptAt"], (service.clock.now() + Duration::from_secs(3600)).to_string());
    // To the end of its window.
    let mut count = 3;
    receiver.always(500);
    loop {
        service.wait(Duration::from_secs(5 * 3600));
        wallet.sign_in().await;
        receiver.next().await;
        count += 1;
        let all = deliveries(&wallet, &webhook, settled(count)).await;
        if all[0]["status"] == "dead" {
            break;
        }
        assert!(count < 20, "{all:?}");
    }
    let dead = wallet.get(&format!("{webhook}/deliveries?status=dead")).await.is(200).json();
    let id = dead["deliveries"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(wallet.get(&format!("{webhook}/deliveries?status=pending")).await.json()["deliveries"], json!([]));
    wallet.call("POST", &format!("{webhook}/deliveries/{webhook}/replay")).await.is(404);
    let unknown = "01900000-0000-7000-8000-000000000000";
    wallet.call("POST", &format!("{webhook}/deliveries/{unknown}/replay")).await.refuses(404, "DELIVERY_NOT_FOUND");
    receiver.always(204);
    let replayed = wallet.call("POST", &format!("{webhook}/deliveries/{id}/replay")).await.is(202).json();
    assert_eq!(replayed, json!({"count": 1}));
    assert_eq!(receiver.next().await.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(deliveries(&wallet, &webhook, settled(count + 1)).await[0]["status"], "delivered");
    let metrics = wallet.get("/metrics").bare().await.is(200);
    assert!(metrics.text().contains("webhook_attempts_total{outcome=\"dead\"} "), "dead deliveries are counted");
    service.stop().await;
}

async fn a_disabled_programme_pauses_and_so_does_its_clock(h: House) {
    let (service, mut wallet, mut receiver) = house(h).await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    let mut other = service.sandbox_partner("Other").await;
    let mut theirs = Receiver::start().await;
    subscribe(&other, &theirs).await;
    receiver.always(500);
    wallet.customer("u-1").await;
    receiver.next().await;
    deliveries(&wallet, &webhook, settled(1)).await;

    let mut tx = service.store.begin().await.unwrap();
    assert!(programmes::set_disabled(&mut tx, wallet.programme_id, true, service.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
    service.wait(Duration::from_hours(30));
    other.sign_in().await;
    // What is sent to others shows that deliveries were polled for after the time of this one had come.
    for name in ["u-2", "u-3"] {
        other.customer(name).await;
        assert_eq!(theirs.next().await.json()["externalId"], name);
    }
    assert!(receiver.more().is_none(), "sent while the programme was disabled");

    let mut tx = service.store.begin().await.unwrap();
    assert!(programmes::set_disabled(&mut tx, wallet.programme_id, false, service.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
    receiver.next().await;
    wallet.get(&webhook).await.refuses(401, "UNAUTHENTICATED");
    wallet.sign_in().await;
    // A day has gone by since the first attempt, but not of the time that counts.
    assert_eq!(deliveries(&wallet, &webhook, settled(2)).await[0]["status"], "pending");
    receiver.always(204);
    service.wait(Duration::from_secs(10));
    receiver.next().await;
    assert_eq!(deliveries(&wallet, &webhook, settled(3)).await[0]["status"], "delivered");
    service.stop().await;
}

async fn a_rotated_secret_signs_beside_the_old_one(h: House) {
    let (service, mut wallet, mut receiver) = house(h).await;
    let (webhook, old) = subscribe(&wallet, &receiver).await;
    let rotated = wallet.call("POST", &format!("{webhook}/rotate-secret")).await.is(200).json();
    let new = rotated["secret"].as_str().unwrap();
    assert_ne!(new, old);
    let keys = Keys::read(&wallet.get("/.well-known/jwks.json").bare().await.is(200).json());
    let address = receiver.address.to_string();
    for (secrets, wait) in [(vec![new, &old], 24 * 3600), (vec![new], 0)] {
        assert_eq!(wallet.call("POST", &format!("{webhook}/test")).await.is(202).text(), "");
        let received = receiver.next().await;
        assert_eq!(keys.verify(&received, &secrets, (service.clock.now(), &address)), Ok(()));
        let trial = received.json();
        assert_eq!(
            (&trial["webhookType"], &trial["eventId"]),
            (&json!("webhook.test"), &json!(received.header("webhook-id")))
        );
        deliveries(&wallet, &webhook, |all| all.iter().all(|it| it["status"] == "delivered")).await;
        service.wait(Duration::from_secs(wait));
        wallet.sign_in().await;
    }
    service.stop().await;
}

async fn spans_are_replayed(h: House) {
    let (service, wallet, mut receiver) = house(h).await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    for name in ["u-1", "u-2", "u-3"] {
        wallet.customer(name).await;
        receiver.next().await;
        service.wait(Duration::from_secs(10));
    }
    deliveries(&wallet, &webhook, |all| all.len() == 3 && all.iter().all(|it| it["status"] == "delivered")).await;
    let replay = format!("{webhook}/replay");
    assert_eq!(wallet.post(&replay, &json!({})).await.is(202).json(), json!({"count": 0}));
    // From the second on, the third excluded.
    let span = json!({
        "since": "2026-01-02T03:04:15.000006Z", "until": "2026-01-02T03:04:25.000006Z", "includeSucceeded": true
    });
    assert_eq!(wallet.post(&replay, &span).await.is(202).json(), json!({"count": 1}));
    assert_eq!(receiver.next().await.json()["externalId"], "u-2");
    let replayed = wallet.post(&replay, &json!({"status": "delivered"})).await.is(202).json();
    assert!(replayed["count"].as_u64().unwrap() >= 2);
    let wrong = json!({"since": "2026-01-02T03:04:15Z", "until": "2026-01-02T03:04:15Z"});
    wallet.post(&replay, &wrong).await.blames("until", "OUT_OF_RANGE");
    service.stop().await;
}

async fn one_entity_in_order(h: House) {
    let (service, wallet, mut receiver) = house(h).await;
    let body = json!({"callbackUrl": receiver.url(), "types": ["customer.updated"], "fifo": true});
    let webhook = wallet.put("/v1/webhooks", &body).await.is(200).json();
    let webhook = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    receiver.will([(500, None)]);
    let customer = wallet.customer("u-1").await;
    receiver.next().await;
    deliveries(&wallet, &webhook, settled(1)).await;
    // The second event of the entity waits for the first; another entity's does not.
    let id = customer["id"].as_str().unwrap();
    another_event(&service, id.parse().unwrap()).await;
    wallet.customer("u-2").await;
    assert_eq!(receiver.next().await.json()["externalId"], "u-2");
    deliveries(&wallet, &webhook, |all| all.iter().filter(|it| it["status"] == "delivered").count() == 1).await;
    assert!(receiver.more().is_none());
    service.wait(Duration::from_secs(2));
    for version in [1, 2] {
        let event = receiver.next().await.json();
        assert_eq!((&event["id"], &event["version"]), (&customer["id"], &json!(version)));
        let delivered = move |all: &[Value]| all.iter().filter(|it| it["status"] == "delivered").count() > version;
        deliveries(&wallet, &webhook, delivered).await;
    }
    service.stop().await;
}

/// A second event of a customer.
async fn another_event(service: &Service, id: uuid::Uuid) {
    let mut tx = service.store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, id).await.unwrap().unwrap();
    held.customer.version += 1;
    let draft = held.customer.event(Some(held.customer.status), "story");
    let event = held.chain.append(service.clock.id(), draft, &Origin::internal("story"));
    customers::update(&mut tx, &mut held).await.unwrap();
    events::insert(&mut tx, &[event]).await.unwrap();
    tx.commit().await.unwrap();
}
