//! What sleeps, wakes and ends with a customer or an account.

use std::time::Duration;

use customerd::domain::{account, card, customer};
use customerd::store::audit::{self, Found};
use serde_json::json;
use uuid::Uuid;

use crate::support::accounts::{physical_card, trail, virtual_card};
use crate::support::{House, Partner, Service, everywhere};

everywhere![
    everything_sleeps_and_wakes_with_the_customer,
    what_slept_before_stays_asleep,
    nothing_wakes_under_a_sleeping_parent,
    what_finishes_while_asleep_wakes_later,
    what_ended_while_asleep_stays_ended,
    rejection_ends_everything,
    closing_an_account_ends_its_cards,
    an_account_sleeps_and_wakes_with_its_cards,
    everything_that_sleeps_is_told,
    creation_races_with_deactivation,
];

async fn open(house: House) -> (Service, Partner, Uuid) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    (service, partner, customer_id)
}

async fn patch(partner: &Partner, target: &str) {
    partner.patch(&format!("/v1/{target}")).await.is(200);
}

/// The statuses of accounts and cards.
async fn statuses(partner: &Partner, targets: &[(&str, Uuid)]) -> Vec<String> {
    let mut found = Vec::new();
    for (kind, id) in targets {
        let entity = partner.get(&format!("/v1/{kind}/{id}")).await.is(200).json();
        found.push(entity["status"].as_str().unwrap().to_owned());
    }
    found
}

/// The trails hold, and say what the rows say.
async fn sound(service: &Service) {
    let mut faults = Vec::new();
    audit::verify(&service.store, |found| {
        if let Found::Fault(fault) = found {
            faults.push(fault);
        }
    })
    .await
    .unwrap();
    assert_eq!(faults, []);
}

async fn everything_sleeps_and_wakes_with_the_customer(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let one = service.active_card(&partner, account_id, &virtual_card()).await;
    let two = service.active_card(&partner, account_id, &physical_card()).await;
    let before = trail(&partner, customer_id).await.len();
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    let all = [("accounts", account_id), ("cards", one), ("cards", two)];
    assert_eq!(statuses(&partner, &all).await, ["inactive"; 3]);
    service.wait(Duration::from_secs(60));
    patch(&partner, &format!("customers/{customer_id}/activate")).await;
    assert_eq!(statuses(&partner, &all).await, ["active"; 3]);
    let wanted = [
        "customer [deactivated] active > inactive v5",
        "account [deactivated: with its customer] active > inactive v4",
        "card [deactivated: with its customer] active > inactive v3",
        "card [deactivated: with its customer] active > inactive v3",
        "customer [activated] inactive > active v6",
        "account [activated: with its customer] inactive > active v5",
        "card [activated: with its customer] inactive > active v4",
        "card [activated: with its customer] inactive > active v4",
    ];
    assert_eq!(trail(&partner, customer_id).await[before..], wanted);
    sound(&service).await;
}

async fn what_slept_before_stays_asleep(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let awake = service.active_account(&partner, customer_id).await;
    let asleep = service.active_account(&partner, customer_id).await;
    let card_awake = service.active_card(&partner, awake, &virtual_card()).await;
    let card_asleep = service.active_card(&partner, awake, &physical_card()).await;
    let card_below = service.active_card(&partner, asleep, &virtual_card()).await;
    let suspended = service.active_card(&partner, asleep, &physical_card()).await;
    service.move_card(suspended, &[card::Move::Suspend]).await;
    patch(&partner, &format!("cards/{card_asleep}/deactivate")).await;
    patch(&partner, &format!("accounts/{asleep}/deactivate")).await;
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    let all = [
        ("accounts", awake),
        ("accounts", asleep),
        ("cards", card_awake),
        ("cards", card_asleep),
        ("cards", card_below),
        ("cards", suspended),
    ];
    let sleeping = ["inactive", "inactive", "inactive", "inactive", "inactive", "suspended"];
    assert_eq!(statuses(&partner, &all).await, sleeping);
    patch(&partner, &format!("customers/{customer_id}/activate")).await;
    let woken = ["active", "inactive", "active", "inactive", "inactive", "suspended"];
    assert_eq!(statuses(&partner, &all).await, woken);
    patch(&partner, &format!("accounts/{asleep}/activate")).await;
    let woken = ["active", "active", "active", "inactive", "active", "suspended"];
    assert_eq!(statuses(&partner, &all).await, woken);
    sound(&service).await;
}

async fn nothing_wakes_under_a_sleeping_parent(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let card_id = service.active_card(&partner, account_id, &virtual_card()).await;
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    let before = trail(&partner, customer_id).await;
    for target in [format!("/v1/accounts/{account_id}/activate"), format!("/v1/cards/{card_id}/activate")] {
        let refused = partner.patch(&target).await.refuses(409, "INVALID_STATE_TRANSITION");
        assert_eq!(refused.json()["currentStatus"], "inactive");
    }
    let order = json!({"type": "card_account", "currencies": ["EUR"]});
    let refused = partner.post(&format!("/v1/customers/{customer_id}/accounts"), &order).await;
    assert_eq!(refused.refuses(409, "INVALID_STATE_TRANSITION").json()["currentStatus"], "inactive");
    let refused = partner.post(&format!("/v1/accounts/{account_id}/cards"), &physical_card()).await;
    assert_eq!(refused.refuses(409, "INVALID_STATE_TRANSITION").json()["currentStatus"], "inactive");
    assert_eq!(trail(&partner, customer_id).await, before);
}

async fn what_finishes_while_asleep_wakes_later(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let order = json!({"type": "card_account", "currencies": ["EUR"]});
    let target = format!("/v1/customers/{customer_id}/accounts");
    let pending = partner.post(&target, &order).await.is(201).json()["id"].as_str().unwrap().parse().unwrap();
    let issuing = service.card(&partner, account_id, &virtual_card()).await;
    let suspended = service.active_card(&partner, account_id, &physical_card()).await;
    service.move_card(suspended, &[card::Move::Suspend]).await;
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    let all = [("accounts", pending), ("cards", issuing), ("cards", suspended)];
    assert_eq!(statuses(&partner, &all).await, ["initiating", "issuing", "suspended"]);
    service.move_account(pending, &[account::Move::Sign, account::Move::Deploy]).await;
    service.move_card(issuing, &[card::Move::Issue]).await;
    service.move_card(suspended, &[card::Move::Unsuspend]).await;
    assert_eq!(statuses(&partner, &all).await, ["inactive"; 3]);
    patch(&partner, &format!("customers/{customer_id}/activate")).await;
    assert_eq!(statuses(&partner, &all).await, ["active"; 3]);
    // The same below an account that sleeps by itself, while its customer sleeps and wakes.
    service.move_card(suspended, &[card::Move::Suspend]).await;
    patch(&partner, &format!("accounts/{account_id}/deactivate")).await;
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    service.move_card(suspended, &[card::Move::Unsuspend]).await;
    patch(&partner, &format!("customers/{customer_id}/activate")).await;
    assert_eq!(statuses(&partner, &all).await, ["active", "inactive", "inactive"]);
    patch(&partner, &format!("accounts/{account_id}/activate")).await;
    assert_eq!(statuses(&partner, &all).await, ["active"; 3]);
    sound(&service).await;
}

async fn what_ended_while_asleep_stays_ended(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let closed = service.active_account(&partner, customer_id).await;
    let below = service.active_card(&partner, closed, &virtual_card()).await;
    let kept = service.active_account(&partner, customer_id).await;
    let terminated = service.active_card(&partner, kept, &virtual_card()).await;
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    partner.delete(&format!("/v1/accounts/{closed}")).await.is(200);
    partner.delete(&format!("/v1/cards/{terminated}")).await.is(200);
    patch(&partner, &format!("customers/{customer_id}/activate")).await;
    let all = [("accounts", closed), ("cards", below), ("accounts", kept), ("cards", terminated)];
    assert_eq!(statuses(&partner, &all).await, ["closed", "terminated", "active", "terminated"]);
    sound(&service).await;
}

async fn rejection_ends_everything(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let card_id = service.card(&partner, account_id, &virtual_card()).await;
    let blocked = service.active_card(&partner, account_id, &physical_card()).await;
    service.move_card(blocked, &[card::Move::Suspend, card::Move::Block]).await;
    let before = trail(&partner, customer_id).await.len();
    service.move_customer(customer_id, &[customer::Move::Reject]).await;
    let wanted = [
        "customer [rejected: other] active > rejected v5",
        "account [closed: with its customer] active > closed v4",
        "card [terminated: with its customer] issuing > terminated v2",
    ];
    assert_eq!(trail(&partner, customer_id).await[before..], wanted);
    assert_eq!(statuses(&partner, &[("cards", card_id), ("cards", blocked)]).await, ["terminated", "blocked"]);
    sound(&service).await;
}

async fn closing_an_account_ends_its_cards(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let other = service.active_account(&partner, customer_id).await;
    let spared = service.active_card(&partner, other, &virtual_card()).await;
    service.active_card(&partner, account_id, &virtual_card()).await;
    let before = trail(&partner, customer_id).await.len();
    let closed = partner.delete(&format!("/v1/accounts/{account_id}")).await.is(200).json();
    assert_eq!((closed["status"].as_str(), closed["version"].as_i64()), (Some("closed"), Some(4)));
    let wanted = ["account [closed] active > closed v4", "card [terminated: with its account] active > terminated v3"];
    assert_eq!(trail(&partner, customer_id).await[before..], wanted);
    assert_eq!(statuses(&partner, &[("cards", spared)]).await, ["active"]);
}

async fn an_account_sleeps_and_wakes_with_its_cards(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let card_id = service.active_card(&partner, account_id, &virtual_card()).await;
    let before = trail(&partner, customer_id).await.len();
    patch(&partner, &format!("accounts/{account_id}/deactivate")).await;
    partner.patch(&format!("/v1/cards/{card_id}/activate")).await.refuses(409, "INVALID_STATE_TRANSITION");
    patch(&partner, &format!("accounts/{account_id}/activate")).await;
    let wanted = [
        "account [deactivated] active > inactive v4",
        "card [deactivated: with its account] active > inactive v3",
        "account [activated] inactive > active v5",
        "card [activated: with its account] inactive > active v4",
    ];
    assert_eq!(trail(&partner, customer_id).await[before..], wanted);
}

/// One webhook for each of them.
async fn everything_that_sleeps_is_told(house: House) {
    let (service, partner, customer_id) = open(house).await;
    let account_id = service.active_account(&partner, customer_id).await;
    let one = service.active_card(&partner, account_id, &virtual_card()).await;
    let two = service.active_card(&partner, account_id, &physical_card()).await;
    let mut told = Vec::new();
    for types in [json!(["customer.updated", "account.updated", "card.updated"]), json!(["card.updated"])] {
        let wanted = json!({"callbackUrl": "https://example.com/hook", "types": types});
        let webhook = partner.put("/v1/webhooks", &wanted).await.is(200).json();
        told.push(webhook["id"].as_str().unwrap().to_owned());
    }
    patch(&partner, &format!("customers/{customer_id}/deactivate")).await;
    let mut types = Vec::new();
    for webhook in told {
        let page = partner.get(&format!("/v1/webhooks/{webhook}/deliveries")).await.is(200).json();
        let deliveries = page["deliveries"].as_array().unwrap();
        let mut own: Vec<_> = deliveries.iter().map(|each| each["webhookType"].as_str().unwrap().to_owned()).collect();
        own.sort_unstable();
        types.push(own);
    }
    assert_eq!(types[0], ["account.updated", "card.updated", "card.updated", "customer.updated"]);
    assert_eq!(types[1], ["card.updated", "card.updated"]);
    let cards = statuses(&partner, &[("cards", one), ("cards", two)]).await;
    assert_eq!(cards, ["inactive"; 2]);
}

/// Whoever comes first: a new account or card is refused, or sleeps too.
async fn creation_races_with_deactivation(house: House) {
    let (service, partner, customer_id) = open(house).await;
    for _ in 0..8 {
        let account_id = service.active_account(&partner, customer_id).await;
        let order = json!({"type": "card_account", "currencies": ["EUR"]});
        let accounts = format!("/v1/customers/{customer_id}/accounts");
        let cards = format!("/v1/accounts/{account_id}/cards");
        let (sleep, card, account, other) = tokio::join!(
            async { partner.patch(&format!("/v1/customers/{customer_id}/deactivate")).await },
            async { partner.post(&cards, &virtual_card()).await },
            async { partner.post(&accounts, &order).await },
            async { partner.post(&cards, &physical_card()).await },
        );
        sleep.is(200);
        for created in [&card, &other] {
            match created.status {
                201 => {
                    service
                        .move_card(created.json()["id"].as_str().unwrap().parse().unwrap(), &[card::Move::Issue])
                        .await
                }
                _ => assert_eq!(created.json()["code"], "INVALID_STATE_TRANSITION"),
            }
        }
        assert!([201, 409].contains(&account.status), "{account:?}");
        for list in ["accounts", "cards"] {
            let live = partner.get(&format!("/v1/{list}?status=active")).await.is(200).json();
            assert_eq!(live[list], json!([]), "alive below a sleeping customer");
        }
        patch(&partner, &format!("customers/{customer_id}/activate")).await;
    }
    sound(&service).await;
}
