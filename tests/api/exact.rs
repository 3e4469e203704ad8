//! Exactly what a cascade took down comes back: any sequence of calls, held after each step against a model that knows
//! nothing of cascades.
//!
//! In the model an account or a card has a will of its own, and its status follows: what wants to be active is active
//! exactly while everything above it is. `CUSTOMERD_MODEL_RUNS` says how many sequences are tried (2 when absent).

use std::collections::BTreeMap;

use customerd::clock::Clock;
use customerd::domain::{account, card, customer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::accounts::{id, physical_card, virtual_card};
use crate::support::{House, Partner, START, Service, everywhere};

everywhere![what_wakes_is_what_fell_asleep];

const STEPS: usize = 60;

/// What somebody made of the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    Awake,
    Asleep,
    Rejected,
}

/// What an account wants to be, whatever is above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Account {
    Initiating,
    Pending,
    On,
    Off,
    Closed,
    Failed,
}

/// What a card wants to be, whatever is above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Card {
    Issuing,
    On,
    Off,
    Suspended,
    Blocked,
    IssueFailed,
    Terminated,
}

#[derive(Debug, Default)]
struct Model {
    customer: Option<Above>,
    accounts: Vec<(Uuid, Account)>,
    /// With the place of its account, and whether it is a virtual one.
    cards: Vec<(Uuid, Card, usize, bool)>,
}

impl Model {
    fn account(&self, at: usize) -> &'static str {
        match (self.accounts[at].1, self.customer) {
            (Account::Initiating, _) => "initiating",
            (Account::Pending, _) => "pending",
            (Account::On, Some(Above::Awake)) => "active",
            (Account::On | Account::Off, _) => "inactive",
            (Account::Closed, _) => "closed",
            (Account::Failed, _) => "failed",
        }
    }

    fn card(&self, at: usize) -> &'static str {
        let (_, card, account, _) = self.cards[at];
        match card {
            Card::Issuing => "issuing",
            Card::On if self.account(account) == "active" => "active",
            Card::On | Card::Off => "inactive",
            Card::Suspended => "suspended",
            Card::Blocked => "blocked",
            Card::IssueFailed => "issue_failed",
            Card::Terminated => "terminated",
        }
    }

    /// The status of everything.
    fn shown(&self) -> BTreeMap<Uuid, &'static str> {
        let accounts = (0..self.accounts.len()).map(|at| (self.accounts[at].0, self.account(at)));
        accounts.chain((0..self.cards.len()).map(|at| (self.cards[at].0, self.card(at)))).collect()
    }

    /// An account ends, and its cards with it.
    fn close(&mut self, at: usize) {
        if !["closed", "failed"].contains(&self.account(at)) {
            self.accounts[at].1 = Account::Closed;
        }
        for card in self.cards.iter_mut().filter(|card| card.2 == at) {
            if !matches!(card.1, Card::Blocked | Card::IssueFailed) {
                card.1 = Card::Terminated;
            }
        }
    }

    /// Whether the account has a card of the kind that is not over.
    fn has(&self, account: usize, is_virtual: bool) -> bool {
        let over = |card: &Card| matches!(card, Card::Blocked | Card::IssueFailed | Card::Terminated);
        self.cards.iter().any(|(_, card, of, kind)| *of == account && *kind == is_virtual && !over(card))
    }
}

struct Player<'a> {
    service: &'a Service,
    partner: &'a Partner,
    customer: Uuid,
    dice: Clock,
    model: Model,
    story: Vec<String>,
}

impl Player<'_> {
    fn throw(&self, sides: usize) -> usize {
        usize::from(self.dice.random::<1>()[0]) % sides
    }

    /// Makes a call; whether it was done. Anything but done and refused is a fault.
    async fn call(&mut self, (method, target): (&str, &str), body: Option<Value>, expected: bool) -> Option<Value> {
        self.story.push(format!("{method} {target}"));
        let call = self.partner.call(method, target);
        let answer = if let Some(body) = body { call.body(body.to_string()).await } else { call.await };
        let done = [200, 201].contains(&answer.status);
        assert!(done || answer.status == 409, "{answer:?}\n{:#?}", self.story);
        assert_eq!(done, expected, "{answer:?}\n{:#?}\n{:#?}", self.story, self.model);
        done.then(|| answer.json())
    }

    async fn step(&mut self) {
        match self.throw(16) {
            0 | 1 => self.of_customer("deactivate").await,
            2..=4 => self.of_customer("activate").await,
            5 => self.new_account().await,
            6 | 7 => self.new_card().await,
            8..=10 if !self.model.accounts.is_empty() => self.of_account().await,
            _ if !self.model.cards.is_empty() => self.of_card().await,
            _ => {}
        }
    }

    async fn of_customer(&mut self, by: &str) {
        let (from, to) = if by == "activate" { (Above::Asleep, Above::Awake) } else { (Above::Awake, Above::Asleep) };
        let target = format!("/v1/customers/{}/{by}", self.customer);
        if self.call(("PATCH", &target), None, self.model.customer == Some(from)).await.is_some() {
            self.model.customer = Some(to);
        }
    }

    async fn new_account(&mut self) {
        let order = json!({"type": "card_account", "currencies": ["EUR"]});
        let target = format!("/v1/customers/{}/accounts", self.customer);
        let may = self.model.customer == Some(Above::Awake);
        if let Some(made) = self.call(("POST", &target), Some(order), may).await {
            self.model.accounts.push((id(&made), Account::Initiating));
        }
    }

    async fn new_card(&mut self) {
        if self.model.accounts.is_empty() {
            return;
        }
        let (at, is_virtual) = (self.throw(self.model.accounts.len()), self.throw(2) == 0);
        let order = if is_virtual { virtual_card() } else { physical_card() };
        let target = format!("/v1/accounts/{}/cards", self.model.accounts[at].0);
        let may = self.model.account(at) == "active" && !self.model.has(at, is_virtual);
        if let Some(made) = self.call(("POST", &target), Some(order), may).await {
            self.model.cards.push((id(&made), Card::Issuing, at, is_virtual));
        }
    }

    async fn of_account(&mut self) {
        let at = self.throw(self.model.accounts.len());
        let (id, will) = self.model.accounts[at];
        let (shown, awake) = (self.model.account(at), self.model.customer == Some(Above::Awake));
        match self.throw(8) {
            0 | 1 => {
                let target = format!("/v1/accounts/{id}/deactivate");
                if self.call(("PATCH", &target), None, shown == "active").await.is_some() {
                    self.model.accounts[at].1 = Account::Off;
                }
            }
            2 | 3 => {
                let target = format!("/v1/accounts/{id}/activate");
                if self.call(("PATCH", &target), None, shown == "inactive" && awake).await.is_some() {
                    self.model.accounts[at].1 = Account::On;
                }
            }
            4 if self.throw(4) == 0 => {
                let live = !["closed", "failed"].contains(&shown);
                if self.call(("DELETE", &format!("/v1/accounts/{id}")), None, live).await.is_some() {
                    self.model.close(at);
                }
            }
            _ => {
                let (by, to) = match will {
                    Account::Initiating => (account::Move::Sign, Account::Pending),
                    Account::Pending if self.throw(6) == 0 => (account::Move::Fail, Account::Failed),
                    Account::Pending => (account::Move::Deploy, Account::On),
                    _ => return,
                };
                self.story.push(format!("{by:?} {id}"));
                self.service.move_account(id, &[by]).await;
                self.model.accounts[at].1 = to;
            }
        }
    }

    async fn of_card(&mut self) {
        let at = self.throw(self.model.cards.len());
        let (id, will, account, _) = self.model.cards[at];
        let (shown, awake) = (self.model.card(at), self.model.account(account) == "active");
        match self.throw(8) {
            0 => {
                let target = format!("/v1/cards/{id}/deactivate");
                if self.call(("PATCH", &target), None, shown == "active").await.is_some() {
                    self.model.cards[at].1 = Card::Off;
                }
            }
            1 => {
                let target = format!("/v1/cards/{id}/activate");
                if self.call(("PATCH", &target), None, shown == "inactive" && awake).await.is_some() {
                    self.model.cards[at].1 = Card::On;
                }
            }
            2 if self.throw(3) == 0 => {
                let live = !["blocked", "issue_failed", "terminated"].contains(&shown);
                if self.call(("DELETE", &format!("/v1/cards/{id}")), None, live).await.is_some() {
                    self.model.cards[at].1 = Card::Terminated;
                }
            }
            _ => {
                let (by, to) = match (will, shown) {
                    (Card::Issuing, _) if self.throw(6) == 0 => (card::Move::Fail, Card::IssueFailed),
                    (Card::Issuing, _) => (card::Move::Issue, Card::On),
                    (_, "active") => (card::Move::Suspend, Card::Suspended),
                    (Card::Suspended, _) if self.throw(6) == 0 => (card::Move::Block, Card::Blocked),
                    (Card::Suspended, _) => (card::Move::Unsuspend, Card::On),
                    _ => return,
                };
                self.story.push(format!("{by:?} {id}"));
                self.service.move_card(id, &[by]).await;
                self.model.cards[at].1 = to;
            }
        }
    }

    /// What is shown of everything: its status, and its version.
    async fn shown(&self) -> BTreeMap<Uuid, (String, i64)> {
        let mut all = BTreeMap::new();
        for (list, target) in [("accounts", format!("customers/{}/accounts", self.customer)), ("cards", "cards".into())]
        {
            let page = self.partner.get(&format!("/v1/{target}?pageSize=1000")).await.is(200).json();
            for entity in page[list].as_array().unwrap() {
                let status = entity["status"].as_str().unwrap().to_owned();
                all.insert(id(entity), (status, entity["version"].as_i64().unwrap()));
            }
        }
        all
    }
}

async fn what_wakes_is_what_fell_asleep(house: House) {
    let runs = std::env::var("CUSTOMERD_MODEL_RUNS").map_or(2, |runs| runs.parse().unwrap());
    let service = house.start_with(&["--no-worker"]).await;
    for run in 0..runs {
        let partner = service.partner(&format!("Wallet {run}")).await;
        let customer = service.active_customer(&partner, &format!("u-{run}")).await;
        let (model, dice) = (Model { customer: Some(Above::Awake), ..Model::default() }, Clock::manual(START, run));
        let mut player = Player { service: &service, partner: &partner, customer, dice, model, story: Vec::new() };
        let mut before = BTreeMap::new();
        for step in 0..STEPS {
            if step + 1 == STEPS {
                service.move_customer(customer, &[customer::Move::Reject]).await;
                player.model.customer = Some(Above::Rejected);
                (0..player.model.accounts.len()).for_each(|at| player.model.close(at));
            } else {
                player.step().await;
            }
            let shown = player.shown().await;
            let statuses: BTreeMap<Uuid, &str> = shown.iter().map(|(id, (status, _))| (*id, &status[..])).collect();
            assert_eq!(statuses, player.model.shown(), "{:#?}", player.story);
            for (id, (status, version)) in &shown {
                let (old, last) = before.get(id).cloned().unwrap_or_default();
                // A change is one version, and nothing else is.
                assert_eq!(*version, last + i64::from(old != *status), "{id}: {:#?}", player.story);
            }
            before = shown;
        }
    }
}
