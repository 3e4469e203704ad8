//! SIGKILL while the workers are busy: every customer ends where its inputs say, and no event is missing or doubled.
//!
//! `CUSTOMERD_CRASH_RUNS` says how often, as for the other crash test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use customerd::store::{Connection as _, Migrations, Store, StoreOptions};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::crash::{Enough, runs};
use crate::process::{Place, Server, in_processes, stderr};
use crate::support::accounts::id;
use crate::support::{Evm, Partner, Receiver, b64, unb64};

in_processes![killed_workers_lose_and_double_nothing];

/// Callers at once.
const CALLERS: usize = 6;
/// Customers that one of them makes in a run at the most.
const MOST: usize = 40;

/// A customer and what becomes of it.
#[derive(Clone)]
struct Candidate {
    name: String,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Screened, and waiting for its verification.
    Verifying,
    /// On the list.
    Rejected,
    /// Verified by the simulator, which may come before the worker or after it.
    Active,
    /// The same, with an account that the worker deploys.
    Deployed,
}

impl Candidate {
    fn new(run: usize, caller: usize, number: usize) -> Self {
        let end = [End::Verifying, End::Rejected, End::Active, End::Deployed][number % 4];
        Self { name: format!("{run}-{caller}-{number}"), end }
    }

    fn wallet(&self) -> Evm {
        Evm::named(&self.name)
    }

    /// The statuses of its customer and its account, and their versions.
    fn expected(&self) -> Vec<(&'static str, usize)> {
        match self.end {
            End::Verifying => vec![("verifying", 3)],
            End::Rejected => vec![("rejected", 3)],
            End::Active => vec![("active", 4)],
            End::Deployed => vec![("active", 4), ("active", 3)],
        }
    }

    /// Everything that it is called for, each call under a key of its own, so that a repetition is no second one. `None`
    /// when the server is gone.
    async fn go(&self, partner: &Partner) -> Option<()> {
        let body = json!({"chainId": self.wallet().account(), "externalId": self.name});
        let customer = self.post(partner, ("/v1/customers", &body), 201).await?;
        let path = format!("/v1/customers/{}", id(&customer));
        self.post(partner, (&format!("{path}/challenge/sign"), &self.signed(&customer)), 204).await?;
        if matches!(self.end, End::Verifying | End::Rejected) {
            return Some(());
        }
        let verify = partner.patch(&format!("/v1/simulator/customers/{}/verify", id(&customer)));
        verify.key(&self.key("verify")).attempt().await?.is(202);
        if self.end == End::Active {
            return Some(());
        }
        let order = json!({"type": "card_account", "currencies": ["EUR"]});
        let account = self.post(partner, (&format!("{path}/accounts"), &order), 201).await?;
        let mut proof = self.signed(&account);
        proof["ownerId"] = customer["id"].clone();
        self.post(partner, (&format!("/v1/accounts/{}/challenge/sign", id(&account)), &proof), 204).await?;
        Some(())
    }

    async fn post(&self, partner: &Partner, (target, body): (&str, &Value), status: u16) -> Option<Value> {
        let answer = partner.post(target, body).key(&self.key(target)).attempt().await?.is(status);
        Some(if answer.body.is_empty() { Value::Null } else { answer.json() })
    }

    fn signed(&self, entity: &Value) -> Value {
        let text = unb64(&entity["challenge"]);
        json!({"challenge": b64(&text), "signature": self.wallet().sign_hex(&text)})
    }

    fn key(&self, step: &str) -> String {
        let hash = sha2::Sha256::digest(format!("{} {step}", self.name));
        uuid::Uuid::from_slice(&hash[..16]).unwrap().to_string()
    }
}

async fn killed_workers_lose_and_double_nothing(place: Place) {
    let list = place.directory.path().join("list.txt");
    let mut receiver = Receiver::start().await;
    let (mut all, mut unfinished) = (Vec::new(), Vec::<Candidate>::new());
    for run in 0..runs() {
        add_to(&list, run);
        let servers = start(&place, run, &list);
        let partner = Arc::new(place.partner().await);
        if run == 0 {
            let types = ["customer.updated", "account.updated", "card.updated"];
            partner.put("/v1/webhooks", &json!({"callbackUrl": receiver.url(), "types": types})).await.is(200);
        }
        for candidate in unfinished.drain(..) {
            candidate.go(&partner).await.expect("the server lives");
        }
        // From "at once" to "well under way", the same in every execution.
        let enough = Enough::new(1 + run * 7 % 40);
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| tokio::spawn(load((run, caller), Arc::clone(&partner), Arc::clone(&enough))))
            .collect();
        enough.reached.notified().await;
        servers.into_iter().for_each(Server::kill);
        for caller in callers {
            let (made, last) = caller.await.unwrap();
            all.extend(made);
            unfinished.extend(last);
        }
        leases_end(&place).await;
        if (run + 1) % 20 == 0 {
            eprintln!("{} of {} kills", run + 1, runs());
        }
    }
    add_to(&list, runs());
    let server = start(&place, 0, &list);
    let partner = place.partner().await;
    for candidate in &unfinished {
        candidate.go(&partner).await.expect("the server lives");
    }
    settled(&partner).await;
    let events = check(&partner, &all).await;
    let mut told = BTreeSet::new();
    while told.len() < events.len() {
        told.insert(receiver.next().await.json()["eventId"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, events, "every event was delivered");
    drop(server);
    let audit = place.run(&["verify-audit"]);
    assert!(audit.status.success(), "{}", stderr(&audit));
    eprintln!("{} kills: {} customers, {} events", runs(), all.len(), events.len());
}

/// Nodes of all kinds: one that does all, one with a worker beside it, one whose only worker is another process.
fn start(place: &Place, run: usize, list: &Path) -> Vec<Server> {
    let flags = ["--allow-private-callbacks", "--screening-list", list.to_str().unwrap()];
    match run % 3 {
        0 => vec![place.serve(&flags)],
        1 => vec![place.serve(&flags), place.work(&flags)],
        _ => vec![place.serve(&["--no-worker"]), place.work(&flags)],
    }
}

/// Puts those of a run on the list that are to be, all at once.
fn add_to(list: &Path, run: usize) {
    let mut text = std::fs::read_to_string(list).unwrap_or_default();
    for (caller, number) in (0..CALLERS).flat_map(|caller| (0..MOST).map(move |number| (caller, number))) {
        let candidate = Candidate::new(run, caller, number);
        if candidate.end == End::Rejected {
            text.push_str(&format!("{}\n", candidate.wallet().account()));
        }
    }
    let new = list.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, list).unwrap();
}

/// Makes customers until the server is gone: all of them, and the one that was not finished.
async fn load(
    (run, caller): (usize, usize),
    partner: Arc<Partner>,
    enough: Arc<Enough>,
) -> (Vec<Candidate>, Option<Candidate>) {
    let mut made = Vec::new();
    for number in 0..MOST {
        let candidate = Candidate::new(run, caller, number);
        made.push(candidate.clone());
        if candidate.go(&partner).await.is_none() {
            return (made, Some(candidate));
        }
        enough.count();
    }
    (made, None)
}

/// Time goes by until what the dead held is free again.
async fn leases_end(place: &Place) {
    let options = StoreOptions { migrations: Migrations::Check, ..StoreOptions::default() };
    let store = Store::open(&place.database_url(), options).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.query("UPDATE tasks SET run_at = created_at").execute().await.unwrap();
    tx.query("UPDATE deliveries SET next_attempt_at = created_at WHERE status = 'pending'").execute().await.unwrap();
    tx.query("DELETE FROM nodes").execute().await.unwrap();
    tx.commit().await.unwrap();
    store.close().await.unwrap();
}

/// Asks until the workers have nothing left to do.
async fn settled(partner: &Partner) {
    for _ in 0..20_000 {
        let screening = partner.get("/v1/customers?status=screening&pageSize=1").await.is(200).json();
        let pending = partner.get("/v1/accounts?status=pending&pageSize=1").await.is(200).json();
        if screening["customers"] == json!([]) && pending["accounts"] == json!([]) {
            return;
        }
    }
    panic!("the workers never end");
}

/// Holds what is shown, and what was recorded, against what went in. The ids of all events.
async fn check(partner: &Partner, all: &[Candidate]) -> BTreeSet<String> {
    let (mut ids, mut versions) = (BTreeSet::new(), BTreeMap::<String, BTreeMap<i64, Value>>::new());
    let mut cursor = String::new();
    loop {
        let page = partner.get(&format!("/v1/events?pageSize=1000&cursor={cursor}")).await.is(200).json();
        let events = page["events"].as_array().unwrap();
        for event in events {
            assert!(ids.insert(event["eventId"].as_str().unwrap().to_owned()), "twice: {event}");
            let entity = versions.entry(event["id"].as_str().unwrap().to_owned()).or_default();
            let before = entity.insert(event["version"].as_i64().unwrap(), event.clone());
            assert_eq!(before, None, "a version twice: {event}");
        }
        if events.is_empty() {
            break;
        }
        cursor = page["nextCursor"].as_str().unwrap().to_owned();
    }
    let mut found: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (entity, events) in &versions {
        assert!(events.keys().copied().eq(1..=events.len() as i64), "a gap: {events:?}");
        let last = &events[&(events.len() as i64)];
        let owner = if last["webhookType"] == "customer.updated" {
            names.insert(entity.clone(), last["externalId"].as_str().unwrap().to_owned());
            entity.clone()
        } else {
            last["customerId"].as_str().unwrap().to_owned()
        };
        let status = (last["status"].as_str().unwrap().to_owned(), events.len());
        let statuses = found.entry(owner).or_default();
        // The customer's own first.
        statuses.insert(if last["webhookType"] == "customer.updated" { 0 } else { statuses.len() }, status);
    }
    assert_eq!(names.len(), all.len(), "customers");
    let by_name: BTreeMap<_, _> =
        found.into_iter().map(|(owner, statuses)| (names[&owner].clone(), statuses)).collect();
    for candidate in all {
        let expected: Vec<_> = candidate.expected().into_iter().map(|(status, n)| (status.to_owned(), n)).collect();
        assert_eq!(by_name[&candidate.name], expected, "{}", candidate.name);
    }
    ids
}
