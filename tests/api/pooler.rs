//! PgBouncer between nodes and PostgreSQL: the whole service, in both modes.

use std::collections::BTreeSet;
use std::time::Duration;

use customerd::clock::Clock;
use futures::future::join_all;
use serde_json::json;

use crate::pgbouncer::PgBouncer;
use crate::process::{Place, Server, stderr, stdout};
use crate::support::accounts::id;
use crate::support::{Answer, Call, Evm, Keys, Ledger, Partner, b64, unb64};

/// Far longer than anything here takes: a hang ends the test.
const HANG: Duration = Duration::from_secs(300);
const CUSTOMERS: usize = 12;
/// Events of a customer that is created, owned, cleared, verified; one that is deactivated and activated has two more.
const EVENTS: usize = CUSTOMERS * 6;
const POOLER: [&str; 2] = ["--database-pooler", "transaction"];
const NODE: [&str; 3] = ["--database-pooler", "transaction", "--allow-private-callbacks"];

/// Two places for nodes behind a pooler.
async fn places(settings: &str) -> Option<(PgBouncer, [Place; 2])> {
    let place = Place::postgres().await?;
    let pooler = PgBouncer::before(&place.database_url(), settings)?;
    let place = place.on(pooler.url.clone());
    Some((pooler, [place.beside(), place]))
}

/// Calls under one key until it is done: nothing may be said but "later".
async fn done<'a>(call: impl Fn() -> Call<'a>, key: &str, status: u16) -> Answer {
    loop {
        let answer = call().key(key).await;
        if answer.status == status {
            return answer;
        }
        let answer = answer.refuses(503, "UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        Clock::system().sleep(Duration::from_millis(20)).await;
    }
}

/// From its creation to ACTIVE, which the worker and the simulator see to, then deactivated and activated.
async fn lives(partner: &Partner, name: &str) -> String {
    let key = || Clock::system().id().to_string();
    let wallet = Evm::named(name);
    let body = json!({"chainId": wallet.account(), "externalId": name});
    let created_under = key();
    let created = done(|| partner.post("/v1/customers", &body), &created_under, 201).await;
    let again = done(|| partner.post("/v1/customers", &body), &created_under, 201).await;
    assert_eq!(created.body, again.body);
    let customer = created.json();
    let path = format!("/v1/customers/{}", id(&customer));
    let text = unb64(&customer["challenge"]);
    let proof = json!({"challenge": b64(&text), "signature": wallet.sign_hex(&text)});
    done(|| partner.post(&format!("{path}/challenge/sign"), &proof), &key(), 204).await;
    done(|| partner.patch(&format!("/v1/simulator{}/verify", path.trim_start_matches("/v1"))), &key(), 202).await;
    until_status(partner, &path, "active").await;
    done(|| partner.patch(&format!("{path}/deactivate")), &key(), 200).await;
    done(|| partner.patch(&format!("{path}/activate")), &key(), 200).await;
    id(&customer).to_string()
}

async fn until_status(partner: &Partner, path: &str, status: &str) {
    loop {
        let answer = partner.get(path).await;
        if answer.status == 200 && answer.json()["status"] == status {
            return;
        }
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        Clock::system().sleep(Duration::from_millis(50)).await;
    }
}

async fn subscribe(partner: &Partner, receiver: &Ledger) {
    let keys = Keys::read(&partner.get("/.well-known/jwks.json").bare().await.is(200).json());
    let body = json!({"callbackUrl": receiver.url("/hook"), "types": ["customer.updated"]});
    let webhook = partner.put("/v1/webhooks", &body).await.is(200).json();
    receiver.expect("/hook", webhook["secret"].as_str().unwrap(), &keys);
}

/// Commands, and two nodes of which one dies.
async fn nodes_live(settings: &str) {
    let Some((_pooler, [first, second])) = places(settings).await else { return };
    for command in [&["migrate"][..], &["programme", "list"], &["serve"]] {
        let refused = second.run(command);
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        let text = stderr(&refused);
        assert!(text.contains("needs --database-pooler transaction (CUSTOMERD_DATABASE_POOLER)"), "{text}");
    }
    let commands = |arguments: &[&str]| {
        let run = second.run(&[arguments, &POOLER].concat());
        assert!(run.status.success(), "{arguments:?}: {}", stderr(&run));
        stdout(&run)
    };
    commands(&["migrate"]);
    let mut nodes: Vec<Option<Server>> = vec![Some(second.serve(&NODE)), Some(first.serve(&NODE))];
    commands(&["programme", "create", "--name", "Wallet"]);
    commands(&["operator", "create", "--name", "desk"]);
    assert_eq!(commands(&["programme", "list"]).lines().count(), 2);
    assert_eq!(commands(&["operator", "list"]).lines().count(), 1);

    let partner = second.partner().await;
    let receiver = Ledger::start(0).await;
    subscribe(&partner, &receiver).await;
    let mut stream = partner.get("/v1/events").header("accept", "text/event-stream").follow().await;
    let names: Vec<_> = (0..CUSTOMERS).map(|number| format!("u-{number}")).collect();
    let made: BTreeSet<_> = join_all(names.iter().map(|name| lives(&partner, name))).await.into_iter().collect();
    receiver.until(|books| books.len() == EVENTS && books.values().all(|entry| entry.answers.contains(&204))).await;
    assert_eq!(receiver.wrong(), Vec::<String>::new());
    let mut streamed = BTreeSet::new();
    // A stream may end when a session does; its consumer comes again with the last id.
    let mut last = None;
    while streamed.len() < EVENTS {
        match stream.until("\n\n").await {
            Some(frame) => {
                let id = frame.lines().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
                if let (Some(id), true) = (&id, frame.contains("data: ")) {
                    streamed.insert(id.clone());
                }
                last = id.or(last);
            }
            None => {
                let call = partner.get("/v1/events").header("accept", "text/event-stream");
                let last = last.clone().unwrap_or_default();
                stream = call.header("last-event-id", &last).follow().await;
            }
        }
    }
    let listed = partner.get("/v1/customers?pageSize=100&status=active").await.is(200).json();
    let listed = listed["customers"].as_array().unwrap().iter().map(|customer| id(customer).to_string());
    assert_eq!(listed.collect::<BTreeSet<_>>(), made);

    nodes.remove(1).unwrap().kill();
    lives(&partner, "after").await;
    receiver.until(|books| books.len() == EVENTS + 6).await;
    commands(&["verify-audit"]);
    assert_eq!(nodes.remove(0).unwrap().stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_live_behind_a_pooler_of_transactions() {
    let story = nodes_live("pool_mode = transaction\ndefault_pool_size = 20\n");
    tokio::time::timeout(HANG, story).await.expect("it does not hang");
}

/// Each connection of each node and command keeps a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_live_behind_a_pooler_of_sessions() {
    let story = nodes_live("pool_mode = session\ndefault_pool_size = 50\n");
    tokio::time::timeout(HANG, story).await.expect("it does not hang");
}
