//! Two nodes on one PostgreSQL: one of them sends to a subscription, and the other goes on when it dies, stands still or leaves.

use serde_json::json;

use crate::process::{Place, Server, stdout};
use crate::support::{Books, Keys, Ledger, Partner};

/// More than may be in flight to one subscription.
const EVENTS: usize = 24;
/// What may be, over all nodes.
const IN_FLIGHT: usize = 16;
const FLAGS: &[&str] = &["--allow-private-callbacks"];

/// Two nodes, a partner who calls the first of them, and a receiver that is subscribed once.
struct Scene {
    places: [Place; 2],
    nodes: [Option<Server>; 2],
    partner: Partner,
    webhook: String,
    receiver: Ledger,
    rounds: usize,
}

impl Scene {
    async fn new() -> Option<Self> {
        let first = Place::postgres().await?;
        let places = [first.beside(), first];
        // The one that makes the sandbox is called.
        let node = places[1].serve(FLAGS);
        let nodes = [Some(places[0].serve(FLAGS)), Some(node)];
        let (receiver, partner) = (Ledger::start(0).await, places[1].partner().await);
        let webhook = subscribe(&partner, &receiver).await;
        Some(Self { places, nodes, partner, webhook, receiver, rounds: 0 })
    }

    /// Records events by way of a node while nobody is answered, and waits until as many as may be are in flight.
    async fn outstanding(&mut self, node: usize) {
        self.receiver.close();
        self.partner.http = self.places[node].http;
        for number in 0..EVENTS {
            self.partner.customer(&format!("u-{}-{number}", self.rounds)).await;
        }
        let before = self.rounds * EVENTS;
        self.rounds += 1;
        self.receiver.until(|books| books.len() >= before + IN_FLIGHT).await;
        assert_eq!(self.receiver.books().len(), before + IN_FLIGHT);
    }

    /// Waits until every event is delivered, and a node says so.
    async fn delivered(&mut self, node: usize) {
        self.receiver.open();
        let wanted = self.rounds * EVENTS;
        let delivered =
            |books: &Books| books.len() == wanted && books.values().all(|entry| entry.answers.last() == Some(&204));
        self.receiver.until(delivered).await;
        self.partner.http = self.places[node].http;
        let path = format!("/v1/webhooks/{}/deliveries?pageSize=1000&status=delivered", self.webhook);
        while self.partner.get(&path).await.is(200).json()["deliveries"].as_array().unwrap().len() < wanted {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.receiver.wrong(), Vec::<String>::new());
    }

    fn node(&mut self, node: usize) -> Server {
        self.nodes[node].take().unwrap()
    }

    fn start(&mut self, node: usize) {
        self.nodes[node] = Some(self.places[node].serve(FLAGS));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_send_one_subscription_no_more_than_one_would() {
    let Some(mut scene) = Scene::new().await else { return };
    for node in [0, 1] {
        scene.outstanding(node).await;
        scene.delivered(node).await;
    }
    let twice = scene.receiver.books().values().filter(|entry| entry.arrived > 1).count();
    assert_eq!(twice, 0, "sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_node_goes_on_when_the_other_dies() {
    let Some(mut scene) = Scene::new().await else { return };
    for dies in [0, 1] {
        scene.outstanding(dies).await;
        scene.node(dies).kill();
        scene.delivered(1 - dies).await;
        scene.start(dies);
    }
}

/// Neither sends what the other has sent meanwhile, but for what was in flight when it stood still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_node_goes_on_while_the_other_stands_still() {
    let Some(mut scene) = Scene::new().await else { return };
    for stands in [0, 1] {
        scene.outstanding(stands).await;
        let still = scene.node(stands);
        still.stand_still();
        scene.delivered(1 - stands).await;
        still.signal("CONT");
        scene.nodes[stands] = Some(still);
    }
    let books = scene.receiver.books();
    assert!(books.values().all(|entry| entry.arrived <= 2), "{books:?}");
    let again = books.values().filter(|entry| entry.arrived > 1).count();
    assert!(again <= 2 * IN_FLIGHT, "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_node_goes_on_when_the_other_leaves() {
    let Some(mut scene) = Scene::new().await else { return };
    for leaves in [0, 1] {
        scene.outstanding(leaves).await;
        let leaving = scene.node(leaves);
        // It finishes what is in flight, which is answered from now on.
        let left = tokio::task::spawn_blocking(move || leaving.stop());
        scene.delivered(1 - leaves).await;
        assert_eq!(left.await.unwrap(), Some(0));
        scene.start(leaves);
    }
    let twice = scene.receiver.books().values().filter(|entry| entry.arrived > 1).count();
    assert_eq!(twice, 0, "sent twice");
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
