//! SIGKILL while events are recorded and delivered: every event reaches every subscription that wants it, nothing is
//! signed wrongly, and the deliveries API tells the receiver's story.
//!
//! `CUSTOMERD_DELIVERY_EVENTS` and `CUSTOMERD_DELIVERY_KILLS` say how much (200 and 2 when absent; 100000 and 20 for the
//! full figure).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{CreateCustomerRequest, Customer};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::process::{Place, in_processes};
use crate::support::{Keys, Ledger, Partner, account};

in_processes![a_killed_server_loses_no_delivery];

/// Callers at once.
const CALLERS: usize = 8;
/// Every so many-th delivery is answered with 500: 3 %.
const FAILING: usize = 33;
/// The subscriptions: a path, the types, and whether customers' events go there.
const SUBSCRIPTIONS: [(&str, &[&str], bool); 3] = [
    ("/customers", &["customer.updated"], true),
    ("/everything", &["customer.updated", "account.updated", "card.updated"], true),
    ("/cards", &["card.updated"], false),
];

fn number(name: &str, absent: usize) -> usize {
    std::env::var(name).map_or(absent, |text| text.parse().unwrap())
}

async fn a_killed_server_loses_no_delivery(place: Place) {
    let (events, kills) = (number("CUSTOMERD_DELIVERY_EVENTS", 200), number("CUSTOMERD_DELIVERY_KILLS", 2));
    let receiver = Ledger::start(FAILING).await;
    let mut server = place.serve(&["--allow-private-callbacks"]);
    let partner = place.partner().await;
    let webhooks = subscribe(&partner, &receiver).await;
    let mut acknowledged = BTreeSet::new();
    for run in 0..=kills {
        // The last part is not interrupted, nor is its end.
        let wanted = events * (run + 1) / (kills + 1);
        let made = create(&place, run, wanted - acknowledged.len()).await;
        if run < kills {
            server.kill();
            acknowledged.extend(made.finish().await);
            server = place.serve(&["--allow-private-callbacks"]);
            eprintln!("{} of {events} events, {} kills", acknowledged.len(), run + 1);
        } else {
            acknowledged.extend(made.finish().await);
        }
    }
    let partner = place.partner().await;
    let recorded = recorded(&partner).await;
    let of: BTreeSet<_> = recorded.iter().map(|(_, customer)| customer.clone()).collect();
    assert!(acknowledged.is_subset(&of), "acknowledged and not recorded");
    let wanted: Vec<_> = SUBSCRIPTIONS.iter().filter(|(_, _, wants)| *wants).map(|(path, ..)| *path).collect();
    let delivered = |path: &str, id: &String| (path.to_owned(), id.clone());
    receiver
        .until(|books| {
            let came = |key| books.get(&key).is_some_and(|entry| entry.answers.last() == Some(&204));
            recorded.iter().all(|(id, _)| wanted.iter().all(|path| came(delivered(path, id))))
        })
        .await;
    assert_eq!(receiver.wrong(), Vec::<String>::new());
    let mut again = 0;
    for (path, webhook) in &webhooks {
        let told = deliveries(&partner, webhook).await;
        let ids: BTreeSet<_> = told.iter().map(|delivery| delivery["eventId"].as_str().unwrap().to_owned()).collect();
        let all: BTreeSet<_> = recorded.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids.len(), told.len());
        assert_eq!(ids, if wanted.contains(path) { all } else { BTreeSet::new() }, "{path}");
        for delivery in &told {
            let key = (path.to_string(), delivery["eventId"].as_str().unwrap().to_owned());
            again += same_story(delivery, &receiver.books()[&key].answers, kills);
        }
    }
    let heard = receiver.books().keys().filter(|(path, _)| !wanted.contains(&path.as_str())).count();
    assert_eq!(heard, 0, "to somebody who did not ask");
    eprintln!("{} events, {kills} kills: {again} answers were lost with the server, and given again", recorded.len());
    drop(server);
}

async fn subscribe(partner: &Partner, receiver: &Ledger) -> Vec<(&'static str, String)> {
    let keys = Keys::read(&partner.get("/.well-known/jwks.json").bare().await.is(200).json());
    let mut webhooks = Vec::new();
    for (path, types, _) in SUBSCRIPTIONS {
        let body = json!({"callbackUrl": receiver.url(path), "types": types});
        let webhook = partner.put("/v1/webhooks", &body).await.is(200).json();
        receiver.expect(path, webhook["secret"].as_str().unwrap(), &keys);
        webhooks.push((path, webhook["id"].as_str().unwrap().to_owned()));
    }
    webhooks
}

/// Callers at work; ends when so many customers were acknowledged.
struct Made(Vec<tokio::task::JoinHandle<Vec<String>>>);

impl Made {
    /// Everything that was acknowledged, once nobody can be any more.
    async fn finish(self) -> Vec<String> {
        let mut all = Vec::new();
        for caller in self.0 {
            all.extend(caller.await.unwrap());
        }
        all
    }
}

/// Creates customers until so many were acknowledged; callers go on until the server is gone, unless it stays.
async fn create(place: &Place, run: usize, wanted: usize) -> Made {
    let partner = Arc::new(place.partner().await);
    let channel = Channel::from_shared(format!("http://{}", place.grpc)).unwrap().connect().await.unwrap();
    let (count, reached) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let callers = (0..CALLERS).map(|caller| {
        let (partner, count, reached) = (Arc::clone(&partner), Arc::clone(&count), Arc::clone(&reached));
        let mut client = CustomerServiceClient::new(channel.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                // Those who are not needed any more keep the server busy until it is killed.
                if count.load(Ordering::SeqCst) >= wanted + 4 * CALLERS {
                    break;
                }
                let name = format!("{run}-{caller}-{number}");
                let request = CreateCustomerRequest { chain_id: account(&name), external_id: name };
                let Ok(reply) = client.create_customer(partner.rpc(request)).await else { break };
                let Customer { id, .. } = reply.into_inner();
                acknowledged.push(id);
                if count.fetch_add(1, Ordering::SeqCst) + 1 == wanted {
                    reached.notify_one();
                }
            }
            acknowledged
        })
    });
    let callers = callers.collect();
    reached.notified().await;
    Made(callers)
}

/// Every event there is: its id and its customer.
async fn recorded(partner: &Partner) -> Vec<(String, String)> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = partner.get(&format!("/v1/events?pageSize=1000&cursor={cursor}")).await.is(200).json();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return all;
        }
        let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
        all.extend(events.iter().map(|event| (text(event, "eventId"), text(event, "id"))));
        cursor = page["nextCursor"].as_str().unwrap().to_owned();
    }
}

/// Every delivery of a subscription, once the last attempt is written down.
async fn deliveries(partner: &Partner, webhook: &str) -> Vec<Value> {
    let path = format!("/v1/webhooks/{webhook}/deliveries");
    while partner.get(&format!("{path}?status=pending&pageSize=1")).await.is(200).json()["deliveries"] != json!([]) {
        tokio::task::yield_now().await;
    }
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = partner.get(&format!("{path}?pageSize=1000&pageToken={token}")).await.is(200).json();
        all.extend(page["deliveries"].as_array().unwrap().iter().cloned());
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            return all;
        }
    }
}

/// What the API says of a delivery is what the receiver did, but for answers that a killed server took with it: how many.
fn same_story(delivery: &Value, answers: &[u16], kills: usize) -> usize {
    assert_eq!(delivery["status"], "delivered", "{delivery}");
    let told = delivery["attempts"].as_array().unwrap().iter().filter_map(|attempt| attempt["status"].as_u64());
    let told: Vec<_> = told.map(|status| status as u16).collect();
    let mut heard = answers.iter();
    assert!(told.iter().all(|status| heard.any(|answer| answer == status)), "{delivery}: {answers:?}");
    assert_eq!(told.last(), Some(&204), "{delivery}");
    let lost = answers.len() - told.len();
    assert!(lost <= kills, "{delivery}: {answers:?}");
    lost
}
