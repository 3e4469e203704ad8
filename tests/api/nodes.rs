//! Two nodes on one PostgreSQL: they share the deliveries, and either goes on when the other dies.

use serde_json::json;

use crate::process::{Place, stdout};
use crate::support::{Keys, Ledger, Partner};

/// More than one node sends to one subscription at once.
const EVENTS: usize = 24;
const FLAGS: &[&str] = &["--allow-private-callbacks"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_the_work_and_survive_the_death_of_either() {
    let Some(first) = Place::postgres().await else { return };
    let second = first.beside();
    let receiver = Ledger::start(0).await;
    let (node, other) = (first.serve(FLAGS), second.serve(FLAGS));
    let mut partner = first.partner().await;
    let webhook = subscribe(&partner, &receiver).await;

    outstanding(&partner, &receiver, 1).await;
    receiver.open();
    delivered(&partner, &webhook, &receiver, 1).await;
    for place in [&first, &second] {
        partner.http = place.http;
        let metrics = partner.get("/metrics").bare().await.is(200);
        let name = "webhook_attempts_total{outcome=\"delivered\"} ";
        let sent = metrics.text().lines().find_map(|line| line.strip_prefix(name));
        assert!(sent.is_some_and(|count| count.parse::<usize>().unwrap() > 0), "a node sent nothing: {sent:?}");
    }

    // The one dies with answers outstanding; then, when it is back, the other.
    outstanding(&partner, &receiver, 2).await;
    node.kill();
    receiver.open();
    delivered(&partner, &webhook, &receiver, 2).await;
    let node = first.serve(FLAGS);
    outstanding(&partner, &receiver, 3).await;
    other.kill();
    receiver.open();
    partner.http = first.http;
    delivered(&partner, &webhook, &receiver, 3).await;
    assert_eq!(receiver.wrong(), Vec::<String>::new());
    assert_eq!(node.stop(), Some(0));
}

/// Each finds a database without programmes; one of them makes the sandbox, and only that one has its profile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_start_at_once_make_one_sandbox() {
    let Some(first) = Place::postgres().await else { return };
    let second = first.beside();
    // Without it they would meet at the migrations first.
    assert!(first.run(&["migrate"]).status.success());
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| first.serve(&[])), scope.spawn(|| second.serve(&[])));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(stdout(&first.run(&["programme", "list"])).lines().count(), 1);
    let profiles = [&first, &second].into_iter().filter(|place| place.sandbox().exists());
    let winner = profiles.collect::<Vec<_>>();
    assert_eq!(winner.len(), 1);
    assert_eq!(winner[0].run(&["call", "GET", "/v1/customers"]).status.code(), Some(0));
    drop((one, two));
}

async fn subscribe(partner: &Partner, receiver: &Ledger) -> String {
    let keys = Keys::read(&partner.get("/.well-known/jwks.json").bare().await.is(200).json());
    let body = json!({"callbackUrl": receiver.url("/hook"), "types": ["customer.updated"]});
    let webhook = partner.put("/v1/webhooks", &body).await.is(200).json();
    receiver.expect("/hook", webhook["secret"].as_str().unwrap(), &keys);
    webhook["id"].as_str().unwrap().to_owned()
}

/// Records more events than one node has places for, while nobody is answered, and waits until all of them have been sent:
/// so both nodes have attempts under way.
async fn outstanding(partner: &Partner, receiver: &Ledger, round: usize) {
    receiver.close();
    for number in 0..EVENTS {
        partner.customer(&format!("u-{round}-{number}")).await;
    }
    receiver.until(|books| books.len() == round * EVENTS).await;
}

/// Waits until every delivery is, and the API says so.
async fn delivered(partner: &Partner, webhook: &str, receiver: &Ledger, round: usize) {
    receiver.until(|books| books.values().all(|entry| entry.answers.last() == Some(&204))).await;
    let path = format!("/v1/webhooks/{webhook}/deliveries?pageSize=1000&status=delivered");
    while partner.get(&path).await.is(200).json()["deliveries"].as_array().unwrap().len() < round * EVENTS {
        tokio::task::yield_now().await;
    }
}
