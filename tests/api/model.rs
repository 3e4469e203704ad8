//! Several callers do whatever comes to their minds; what must always hold, holds.

use std::collections::HashMap;
use std::sync::Mutex;

use customerd::clock::Clock;
use customerd::domain::event::Origin;
use customerd::domain::{account, card, customer};
use customerd::lifecycle::{NotMoved, Step, account_moves, card_moves};
use customerd::store::audit::{self, Found};
use customerd::store::{accounts, cards};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::accounts::{id, physical_card, virtual_card};
use crate::support::{House, Partner, START, Service, everywhere};

everywhere![callers_at_random_break_no_rule];

const CALLERS: u64 = 4;
const STEPS: usize = 40;

/// What exists, as far as the callers know.
#[derive(Default)]
struct Known {
    accounts: Mutex<Vec<Uuid>>,
    cards: Mutex<Vec<Uuid>>,
}

struct Caller<'a> {
    service: &'a Service,
    partner: &'a Partner,
    customer_id: Uuid,
    known: &'a Known,
    /// Only for chance.
    dice: Clock,
}

impl Caller<'_> {
    fn throw(&self, sides: usize) -> usize {
        usize::from(self.dice.random::<1>()[0]) % sides
    }

    fn one_of(&self, ids: &Mutex<Vec<Uuid>>) -> Option<Uuid> {
        let ids = ids.lock().unwrap();
        (!ids.is_empty()).then(|| ids[self.throw(ids.len())])
    }

    async fn step(&self) {
        let (account_id, card_id) = (self.one_of(&self.known.accounts), self.one_of(&self.known.cards));
        match (self.throw(20), account_id, card_id) {
            (0 | 1, ..) => {
                let order = json!({"type": "card_account", "currencies": ["EUR"]});
                self.create(&format!("/v1/customers/{}/accounts", self.customer_id), &order, &self.known.accounts)
                    .await;
            }
            (2, ..) => self.patch(&format!("customers/{}/deactivate", self.customer_id)).await,
            (3..=5, ..) => self.patch(&format!("customers/{}/activate", self.customer_id)).await,
            (6..=8, Some(id), _) => {
                let order = if self.throw(2) == 0 { virtual_card() } else { physical_card() };
                self.create(&format!("/v1/accounts/{id}/cards"), &order, &self.known.cards).await;
            }
            (9, Some(id), _) => self.patch(&format!("accounts/{id}/deactivate")).await,
            (10 | 11, Some(id), _) => self.patch(&format!("accounts/{id}/activate")).await,
            (12 | 13, Some(id), _) => {
                for by in [account::Move::Sign, account::Move::Deploy] {
                    self.account(id, by).await;
                }
            }
            (14, Some(id), _) if self.throw(6) == 0 => self.delete(&format!("accounts/{id}")).await,
            (14, _, Some(id)) if self.throw(3) == 0 => self.delete(&format!("cards/{id}")).await,
            (15, _, Some(id)) => self.patch(&format!("cards/{id}/deactivate")).await,
            (16, _, Some(id)) => self.patch(&format!("cards/{id}/activate")).await,
            (17 | 18, _, Some(id)) => self.card(id, card::Move::Issue).await,
            (_, _, Some(id)) => {
                let moves = [card::Move::Suspend, card::Move::Unsuspend, card::Move::Block, card::Move::Fail];
                self.card(id, moves[self.throw(moves.len())]).await;
            }
            _ => {}
        }
    }

    async fn create(&self, target: &str, order: &Value, known: &Mutex<Vec<Uuid>>) {
        let answer = self.partner.post(target, order).await;
        match answer.status {
            201 => known.lock().unwrap().push(id(&answer.json())),
            _ => assert_eq!(answer.status, 409, "{answer:?}"),
        }
    }

    async fn patch(&self, target: &str) {
        let answer = self.partner.patch(&format!("/v1/{target}")).await;
        assert!([200, 409].contains(&answer.status), "{answer:?}");
    }

    async fn delete(&self, target: &str) {
        let answer = self.partner.delete(&format!("/v1/{target}")).await;
        assert!([200, 409].contains(&answer.status), "{answer:?}");
    }

    /// What another service would do.
    async fn account(&self, id: Uuid, by: account::Move) {
        let mut tx = self.service.store.begin().await.unwrap();
        let mut held = accounts::lock(&mut tx, id).await.unwrap().unwrap();
        let step = Step { by, reason: None, origin: &Origin::internal("deployment") };
        match account_moves::make(&mut tx, &mut held, step, &self.service.clock).await {
            Ok(()) => tx.commit().await.unwrap(),
            Err(NotMoved::Refused(_)) => tx.rollback().await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }

    async fn card(&self, id: Uuid, by: card::Move) {
        let mut tx = self.service.store.begin().await.unwrap();
        let mut held = cards::lock(&mut tx, id).await.unwrap().unwrap();
        let step = Step { by, reason: None, origin: &Origin::internal("issuing") };
        match card_moves::make(&mut tx, &mut held, step, &self.service.clock).await {
            Ok(()) => tx.commit().await.unwrap(),
            Err(NotMoved::Refused(_)) => tx.rollback().await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn callers_at_random_break_no_rule(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    for round in 0..3 {
        let customer_id = service.active_customer(&partner, &format!("u-{round}")).await;
        let known = Known::default();
        let callers: Vec<Caller<'_>> = (0..CALLERS)
            .map(|number| {
                let dice = Clock::manual(START, round * CALLERS + number);
                Caller { service: &service, partner: &partner, customer_id, known: &known, dice }
            })
            .collect();
        let calls = callers.iter().map(|caller| async move {
            for _ in 0..STEPS {
                caller.step().await;
            }
        });
        futures::future::join_all(calls).await;
        let trail = events(&partner, customer_id).await;
        every_change_has_its_event(&partner, &trail).await;
        let customer = partner.get(&format!("/v1/customers/{customer_id}")).await.is(200).json();
        nothing_lives_below_what_sleeps(&partner, &customer).await;
    }
    let mut faults = Vec::new();
    let keep = |found| {
        if let Found::Fault(fault) = found {
            faults.push(fault);
        }
    };
    audit::verify(&service.store, keep).await.unwrap();
    assert_eq!(faults, []);
}

/// The trail, oldest first.
async fn events(partner: &Partner, customer_id: Uuid) -> Vec<Value> {
    let (mut events, mut token) = (Vec::new(), String::new());
    loop {
        let target = format!("/v1/customers/{customer_id}/events?pageSize=1000&pageToken={token}");
        let page = partner.get(&target).await.is(200).json();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            events.reverse();
            return events;
        }
    }
}

/// Versions without gaps, each change one that the tables allow, and the last what is shown now.
async fn every_change_has_its_event(partner: &Partner, events: &[Value]) {
    let mut last: HashMap<(String, String), (String, i64)> = HashMap::new();
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let key = (text("entityType"), text("entityId"));
        let (from, version) = last.get(&key).cloned().unwrap_or_default();
        assert_eq!((text("from"), event["version"].as_i64()), (from.clone(), Some(version + 1)), "{event}");
        assert!(version == 0 || allowed(&key.0, &from, &text("to")), "{event}");
        last.insert(key, (text("to"), version + 1));
    }
    for ((kind, id), (status, version)) in last {
        let now = partner.get(&format!("/v1/{kind}s/{id}")).await.is(200).json();
        assert_eq!((now["status"].as_str(), now["version"].as_i64()), (Some(status.as_str()), Some(version)), "{now}");
    }
}

fn allowed(kind: &str, from: &str, to: &str) -> bool {
    match kind {
        "customer" => {
            let from = customer::Status::parse(from).unwrap();
            customer::Move::ALL.into_iter().any(|by| from.after(by).is_some_and(|after| after.as_str() == to))
        }
        "account" => {
            let from = account::Status::parse(from).unwrap();
            account::Move::ALL.into_iter().any(|by| from.after(by).is_some_and(|after| after.as_str() == to))
        }
        _ => {
            let from = card::Status::parse(from).unwrap();
            card::Move::ALL.into_iter().any(|by| from.after(by).is_some_and(|after| after.as_str() == to))
        }
    }
}

async fn nothing_lives_below_what_sleeps(partner: &Partner, customer: &Value) {
    let target = format!("/v1/customers/{}/accounts?pageSize=1000", id(customer));
    for account in partner.get(&target).await.is(200).json()["accounts"].as_array().unwrap() {
        assert!(account["status"] != "active" || customer["status"] == "active", "{account} below {customer}");
        let target = format!("/v1/accounts/{}/cards?pageSize=1000", id(account));
        let cards = partner.get(&target).await.is(200).json();
        let mut live: HashMap<&str, u32> = HashMap::new();
        for card in cards["cards"].as_array().unwrap() {
            assert!(card["status"] != "active" || account["status"] == "active", "{card} below {account}");
            let status = card::Status::parse(card["status"].as_str().unwrap()).unwrap();
            assert!(account["status"] != "closed" || status.is_final(), "{card} below {account}");
            *live.entry(card["type"].as_str().unwrap()).or_default() += u32::from(!status.is_final());
        }
        assert!(live.values().all(|count| *count <= 1), "{live:?} on {account}");
    }
}
