//! Customers, accounts and cards brought where a story begins, by the moves that would bring them there.

use customerd::domain::event::Origin;
use customerd::domain::{account, card, customer};
use customerd::lifecycle::{Step, account_moves, card_moves, moves};
use customerd::store::{accounts, cards, customers};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Partner, Service};

/// An address that is right.
pub fn address() -> Value {
    json!({"firstLine": "Unter den Linden 1", "city": "Berlin", "country": "DE", "postCode": "10117"})
}

/// The body of an order for a virtual card.
pub fn virtual_card() -> Value {
    json!({"type": "virtual", "billingAddress": address()})
}

/// The body of an order for a physical card.
pub fn physical_card() -> Value {
    json!({"type": "physical", "billingAddress": address(), "shippingAddress": address()})
}

pub fn id(entity: &Value) -> Uuid {
    entity["id"].as_str().unwrap().parse().unwrap()
}

impl Service {
    /// A new customer of this name that screening and verification have passed.
    pub async fn active_customer(&self, partner: &Partner, name: &str) -> Uuid {
        let id = id(&partner.customer(name).await);
        self.move_customer(id, &[customer::Move::ProveOwnership, customer::Move::Clear, customer::Move::Approve]).await;
        id
    }

    /// An active account of an active customer.
    pub async fn active_account(&self, partner: &Partner, customer_id: Uuid) -> Uuid {
        let account = partner
            .post(
                &format!("/v1/customers/{customer_id}/accounts"),
                &json!({"type": "card_account", "currencies": ["EUR"]}),
            )
            .await
            .is(201);
        let id = id(&account.json());
        self.move_account(id, &[account::Move::Sign, account::Move::Deploy]).await;
        id
    }

    /// An active card on an active account.
    pub async fn active_card(&self, partner: &Partner, account_id: Uuid, order: &Value) -> Uuid {
        let id = self.card(partner, account_id, order).await;
        self.move_card(id, &[card::Move::Issue]).await;
        id
    }

    /// A card that was ordered.
    pub async fn card(&self, partner: &Partner, account_id: Uuid, order: &Value) -> Uuid {
        id(&partner.post(&format!("/v1/accounts/{account_id}/cards"), order).await.is(201).json())
    }

    pub async fn move_customer(&self, id: Uuid, moves: &[customer::Move]) {
        let mut tx = self.store.begin().await.unwrap();
        let mut held = customers::lock(&mut tx, id).await.unwrap().unwrap();
        let origin = Origin::internal("test");
        for by in moves {
            let step = Step { by: *by, reason: None, origin: &origin };
            moves::make(&mut tx, &mut held, step, &self.clock).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub async fn move_account(&self, id: Uuid, moves: &[account::Move]) {
        let mut tx = self.store.begin().await.unwrap();
        let (origin, factory) =
            (Origin::internal("test"), account::SANDBOX_FACTORY.parse::<account::Factory>().unwrap());
        for by in moves {
            let mut held = accounts::lock(&mut tx, id).await.unwrap().unwrap();
            if *by == account::Move::Deploy {
                held.account.chain_id = Some(factory.chain_id(id, "eip155:1:"));
            }
            let step = Step { by: *by, reason: None, origin: &origin };
            account_moves::make(&mut tx, &mut held, step, &self.clock).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub async fn move_card(&self, id: Uuid, moves: &[card::Move]) {
        let mut tx = self.store.begin().await.unwrap();
        let origin = Origin::internal("test");
        for by in moves {
            let mut held = cards::lock(&mut tx, id).await.unwrap().unwrap();
            let step = Step { by: *by, reason: None, origin: &origin };
            card_moves::make(&mut tx, &mut held, step, &self.clock).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

/// The audit trail of a customer, oldest first, as `entity cause from > to vVERSION`.
pub async fn trail(partner: &Partner, customer_id: Uuid) -> Vec<String> {
    let answer = partner.get(&format!("/v1/customers/{customer_id}/events?pageSize=1000")).await.is(200).json();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let shown = |event: &Value| {
        let told = ["entityType", "cause", "from", "to"].map(|name| text(event, name));
        format!("{} [{}] {} > {} v{}", told[0], told[1], told[2], told[3], event["version"])
    };
    answer["events"].as_array().unwrap().iter().rev().map(shown).collect()
}
