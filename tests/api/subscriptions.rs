//! What a subscription goes through: disabled and revived, days of waiting, and what is listed of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{House, Partner, everywhere};
use crate::webhooks::{attempts, deliveries, house, subscribe};

everywhere![
    gone_disables_until_it_is_put_again,
    long_failure_disables_and_a_probe_revives,
    what_waited_for_days_has_a_whole_window,
    subscriptions_and_deliveries_are_paged,
];

async fn gone_disables_until_it_is_put_again(h: House) {
    let (service, wallet, mut receiver) = house(h).await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    receiver.will([(410, None)]);
    wallet.customer("u-1").await;
    receiver.next().await;
    deliveries(&wallet, &webhook, |all| all.len() == 1 && all[0]["status"] == "dead").await;
    let disabled = wallet.get(&webhook).await.is(200).json();
    assert_eq!((&disabled["status"], &disabled["disabledReason"]), (&json!("disabled"), &json!("gone")));
    // Events are recorded, and wait.
    wallet.customer("u-2").await;
    let all = deliveries(&wallet, &webhook, |all| all.len() == 2).await;
    assert_eq!((&all[0]["status"], attempts(&all[0])), (&json!("pending"), 0));
    service.wait(Duration::from_secs(60));
    let id = webhook.rsplit('/').next().unwrap();
    let body = json!({"id": id, "callbackUrl": receiver.url(), "types": ["customer.updated"]});
    assert_eq!(wallet.put("/v1/webhooks", &body).await.is(200).json()["status"], "active");
    assert_eq!(receiver.next().await.json()["externalId"], "u-2");
    deliveries(&wallet, &webhook, |all| all[0]["status"] == "delivered").await;
    service.stop().await;
}

async fn long_failure_disables_and_a_probe_revives(h: House) {
    let (service, mut wallet, mut receiver) = house(h).await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    receiver.always(503);
    // One event every four hours, for four days at the most: each is attempted at once, and older ones again.
    let mut steps = 0;
    while wallet.get(&webhook).await.is(200).json()["status"] == "active" {
        assert!(steps < 24, "four days, and it is still active");
        wallet.customer(&format!("u-{steps}")).await;
        steps += 1;
        deliveries(&wallet, &webhook, |all| all.len() == steps && attempts(&all[0]) > 0).await;
        service.wait(Duration::from_secs(4 * 3600));
        wallet.sign_in().await;
    }
    assert!(steps >= 18, "after {} hours already", steps * 4);
    let disabled = wallet.get(&webhook).await.is(200).json();
    assert_eq!((&disabled["status"], &disabled["disabledReason"]), (&json!("disabled"), &json!("failing")));
    // Events are recorded all the same, and wait.
    wallet.customer("while-disabled").await;
    let waiting = |all: &[Value]| all[0]["status"] == "pending" && attempts(&all[0]) == 0;
    deliveries(&wallet, &webhook, waiting).await;
    while receiver.more().is_some() {}
    receiver.always(204);
    service.wait(Duration::from_secs(3600));
    wallet.sign_in().await;
    // The probe is answered well: everything that waits is sent.
    let all = deliveries(&wallet, &webhook, |all| all.iter().all(|it| it["status"] != "pending")).await;
    assert_eq!(all[0]["status"], "delivered");
    let revived = wallet.get(&webhook).await.is(200).json();
    assert_eq!((&revived["status"], revived.get("disabledReason")), (&json!("active"), None));
    assert!(std::iter::from_fn(|| receiver.more()).any(|it| it.json()["externalId"] == "while-disabled"));
    service.stop().await;
}

async fn what_waited_for_days_has_a_whole_window(h: House) {
    let (service, mut wallet, mut receiver) = house(h).await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    receiver.will([(410, None)]);
    wallet.customer("u-1").await;
    receiver.next().await;
    deliveries(&wallet, &webhook, |all| all.len() == 1 && all[0]["status"] == "dead").await;
    wallet.customer("u-2").await;
    service.wait(Duration::from_secs(5 * 24 * 3600));
    wallet.sign_in().await;
    receiver.will([(500, None)]);
    let id = webhook.rsplit('/').next().unwrap();
    let body = json!({"id": id, "callbackUrl": receiver.url(), "types": ["customer.updated"]});
    wallet.put("/v1/webhooks", &body).await.is(200);
    receiver.next().await;
    // The first attempt failed, five days after the event: it is not given up yet.
    let all = deliveries(&wallet, &webhook, |all| attempts(&all[0]) == 1).await;
    assert_eq!((&all[0]["status"], all[0].get("nextAttemptAt").is_some()), (&json!("pending"), true));
    service.wait(Duration::from_secs(2));
    receiver.next().await;
    deliveries(&wallet, &webhook, |all| all[0]["status"] == "delivered").await;
    service.stop().await;
}

async fn subscriptions_and_deliveries_are_paged(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated"]});
    for _ in 0..3 {
        wallet.put("/v1/webhooks", &body).await.is(200);
        service.wait(Duration::from_secs(1));
    }
    for name in ["u-1", "u-2", "u-3"] {
        wallet.customer(name).await;
        service.wait(Duration::from_secs(1));
    }
    let webhooks = pages(&wallet, "/v1/webhooks?", "webhooks").await;
    let newest = webhooks.iter().map(|it| it["createdAt"].as_str().unwrap()).collect::<Vec<_>>();
    assert!(webhooks.len() == 3 && newest.is_sorted_by(|a, b| a > b), "{webhooks:?}");
    let path = format!("/v1/webhooks/{}/deliveries?", webhooks[0]["id"].as_str().unwrap());
    let all = pages(&wallet, &path, "deliveries").await;
    let wanted = ["2026-01-02T03:04:10.000006Z", "2026-01-02T03:04:09.000006Z", "2026-01-02T03:04:08.000006Z"];
    assert_eq!(all.iter().map(|it| it["createdAt"].as_str().unwrap()).collect::<Vec<_>>(), wanted);
    let (id, event) = (all[0]["id"].clone(), all[0]["eventId"].clone());
    let shape = json!({
        "id": id, "eventId": event, "webhookType": "customer.updated", "status": "pending", "attempts": [],
        "nextAttemptAt": wanted[0], "createdAt": wanted[0],
    });
    assert_eq!(all[0], shape);
    // Both bounds are exclusive.
    let middle = format!("{path}createdAfter={}&createdBefore={}&", wanted[2], wanted[0]);
    assert_eq!(pages(&wallet, &middle, "deliveries").await, [all[1].clone()]);
    wallet.get(&format!("{path}pageToken=x")).await.blames("pageToken", "INVALID_VALUE");
    wallet.get(&format!("{path}pageSize=0")).await.blames("pageSize", "OUT_OF_RANGE");
    wallet.get(&format!("{path}status=lost")).await.is(400);
    service.stop().await;
}

/// Every item of a list, read in pages of one.
async fn pages(wallet: &Partner, path: &str, name: &str) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = wallet.get(&format!("{path}pageSize=1&pageToken={token}")).await.is(200).json();
        all.extend(page[name].as_array().unwrap().iter().cloned());
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            return all;
        }
    }
}
