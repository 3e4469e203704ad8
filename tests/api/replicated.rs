//! PostgreSQL fails over under load: the primary is lost, its standby promoted, and callers go on.
//!
//! With a synchronous standby nothing that was acknowledged is lost or doubled; with an asynchronous one what had reached the standby is
//! there, and what it had not received is gone. Writes succeed again within [`AGAIN`] of the promotion: that this is the one time which
//! is asserted is because operators are promised it.

use std::collections::BTreeSet;
use std::time::Duration;

use customerd::clock::Clock;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Pair, Replication};
use crate::process::{Place, Server, stderr};
use crate::proxy::Proxy;
use crate::support::Ledger;
use crate::support::load::{Caller, Created};

/// From the promotion to the first write that succeeds.
const AGAIN: Duration = Duration::from_secs(5);
/// It is measured in so many parts, each of which counts for no more than it is, so that a test that the machine keeps from running
/// does not hold that against the service.
const PARTS: u32 = 100;
/// Callers at once who create customers.
const CREATE: usize = 6;
const FLAGS: &[&str] = &["--allow-private-callbacks"];
/// Customers that are deactivated and reactivated all the time.
const MOVED: usize = 2;

/// A node on two servers, its callers, and who is notified of events.
struct Scene {
    pair: Pair,
    place: Place,
    node: Server,
    caller: Caller,
    receiver: Ledger,
}

impl Scene {
    async fn new(pair: Pair, url: String, flags: &[&str]) -> Self {
        let place = Place::on_postgres(url);
        let node = place.serve(&[FLAGS, flags].concat());
        let (partner, receiver) = (place.partner().await, Ledger::start(0).await);
        receiver.subscribe(&partner, "/first").await;
        let caller = Caller::new(partner, place.grpc, "u").await;
        Self { pair, place, node, caller, receiver }
    }

    /// The standby becomes the primary, and writes succeed again.
    async fn promote(&self) {
        self.pair.promote().await;
        let (clock, mut written) = (Clock::system(), Box::pin(self.caller.until_written(1)));
        for _ in 0..PARTS {
            tokio::select! {
                biased;
                () = &mut written => return,
                () = clock.sleep(AGAIN / PARTS) => {}
            }
        }
        panic!("no write succeeded within {AGAIN:?} of the promotion");
    }

    /// Stops the node and verifies the audit trail.
    fn end(self) {
        stop(self.node, &self.place);
    }
}

fn stop(node: Server, place: &Place) {
    assert_eq!(node.stop(), Some(0));
    let audit = place.run(&["verify-audit"]);
    assert!(audit.status.success(), "{}", stderr(&audit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_behind_a_proxy() {
    let Some(pair) = Pair::start(Replication::Synchronous).await else { return };
    let [primary, standby] = pair.ports();
    let proxy = Proxy::before(primary).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/customerd", proxy.port());
    let scene = Scene::new(pair, url, &[]).await;
    nothing_is_lost(scene, "KILL", async |caller| {
        proxy.refuse();
        caller.until_refused(20).await;
        // A health check that is early: it does not take writes yet.
        proxy.lead_to(standby);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_a_url_of_two_hosts() {
    let Some(pair) = Pair::start(Replication::Synchronous).await else { return };
    let [primary, standby] = pair.ports();
    let hosts = format!("127.0.0.1:{primary},127.0.0.1:{standby}");
    let url = format!("postgres://postgres@{hosts}/customerd?target_session_attrs=read-write");
    let scene = Scene::new(pair, url, &[]).await;
    nothing_is_lost(scene, "QUIT", async |_| ()).await;
}

async fn nothing_is_lost(scene: Scene, signal: &str, lead: impl AsyncFnOnce(&Caller)) {
    let caller = scene.caller.clone();
    let mut movers = Vec::new();
    for number in 0..MOVED {
        let id = caller.active(&format!("moved-{number}")).await;
        movers.push((id, caller.move_to_and_fro(id, 4)));
    }
    let stream = Stream::open(&caller);
    let callers = caller.create(CREATE);
    caller.until_written(100).await;
    scene.pair.lose_primary(signal);
    lead(&caller).await;
    caller.until_refused(40).await;
    scene.promote().await;
    caller.until_written(100).await;
    caller.stop();
    let created = Created::all(callers).await;
    let mut names = (0..MOVED).map(|number| format!("moved-{number}")).collect();
    caller.are_there(&created, &mut names).await;
    let mut changes = created.len();
    for (id, mover) in movers {
        let moves = mover.await.unwrap();
        assert_eq!(caller.read(&id.to_string()).await["version"], 4 + moves);
        changes += 4 + moves as usize;
    }
    caller.are_all(&names).await;
    let events = caller.events().await;
    assert_eq!(events.len(), changes, "an event for each change");
    // A stream that is resumed by its cursor has each of them once, in order.
    assert_eq!(stream.until(events.len()).await, events);
    scene.receiver.until_taken("/first", &events).await;
    let told = scene.receiver.books().len();
    assert_eq!(told, events.len(), "told of an event that was lost");
    scene.end();
}

/// A commit that no standby confirms is not acknowledged; once one does, who comes again is told what it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_wait_for_the_standby() {
    let Some(pair) = Pair::start(Replication::Synchronous).await else { return };
    let url = format!("postgres://postgres@127.0.0.1:{}/customerd", pair.ports()[0]);
    let scene = Scene::new(pair, url, &["--statement-timeout", "2s"]).await;
    let caller = scene.caller.clone();
    let callers = caller.create(CREATE);
    caller.until_written(20).await;
    scene.pair.part().await;
    caller.until_refused(2 * CREATE).await;
    scene.pair.join().await;
    caller.until_written(50).await;
    caller.stop();
    let mut names = BTreeSet::new();
    caller.are_there(&Created::all(callers).await, &mut names).await;
    caller.are_all(&names).await;
    let events = caller.events().await;
    assert_eq!(events.len(), names.len());
    scene.receiver.until_taken("/first", &events).await;
    scene.end();
}

/// The standby stops receiving while the primary goes on, until that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_what_the_standby_had_not_received() {
    let Some(pair) = Pair::start(Replication::Asynchronous).await else { return };
    let [primary, standby] = pair.ports();
    let proxy = Proxy::before(primary).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/customerd", proxy.port());
    let scene = Scene::new(pair, url, &[]).await;
    let caller = scene.caller.clone();
    let callers = caller.create(CREATE);
    caller.until_written(50).await;
    // What is acknowledged in chapter 0 is received, and what is sent and acknowledged in 2 is not. From 4 on the primary is gone.
    caller.next_chapter();
    scene.pair.caught_up().await;
    scene.pair.part().await;
    caller.next_chapter();
    // The promoted server has never heard of this node.
    let beside = scene.place.beside();
    let newcomer = beside.serve(FLAGS);
    caller.until_written(50).await;
    caller.next_chapter();
    scene.pair.lose_primary("KILL");
    proxy.refuse();
    caller.until_refused(20).await;
    caller.next_chapter();
    proxy.lead_to(standby);
    caller.until_refused(20).await;
    scene.promote().await;
    caller.until_written(50).await;
    caller.stop();
    let (mut names, mut lost) = (BTreeSet::new(), Vec::new());
    for created in Created::all(callers).await {
        let path = format!("/v1/customers/{}", created.id);
        let answer = caller.repeat(|partner| partner.get(&path)).await;
        match created.chapters {
            (_, 0 | 4) => assert_eq!(answer.status, 200, "{}: {:?}", created.name, created.chapters),
            (2, 2) => assert_eq!(answer.status, 404, "{}", created.name),
            _ => {}
        }
        if answer.status == 200 {
            caller.replay(&created).await;
            assert!(names.insert(created.name));
        } else {
            answer.refuses(404, "CUSTOMER_NOT_FOUND");
            lost.push(created);
        }
    }
    assert!(lost.len() >= 40, "{}", lost.len());
    // Who was told of what is lost repeats it under the same key.
    let mut again = Vec::new();
    for created in &lost {
        again.push(caller.repeat_lost(created).await);
        assert!(names.insert(created.name.clone()));
    }
    caller.are_all(&names).await;
    goes_on(&scene, &again).await;
    let mut partner = scene.place.partner().await;
    partner.http = beside.http;
    stop(scene.node, &scene.place);
    let caller = Caller::new(partner, beside.grpc, "v").await;
    caller.active("by the newcomer").await;
    scene.receiver.until_taken("/first", &caller.events().await).await;
    stop(newcomer, &beside);
}

/// Leases are taken, tasks claimed, cursors and subscriptions of before and of now are good.
async fn goes_on(scene: &Scene, again: &[Created]) {
    let caller = &scene.caller;
    scene.receiver.subscribe(caller.partner(), "/second").await;
    let first = caller.events().await;
    let cursor = caller.partner().get("/v1/events?pageSize=1").await.is(200).json()["nextCursor"].clone();
    for created in again.iter().filter(|created| created.is_rest()).take(5) {
        caller.sign(created).await;
        caller.until_status(&created.id, "verifying").await;
    }
    let events = caller.events().await;
    let stream = Stream::open_after(caller, cursor.as_str().unwrap());
    assert_eq!(stream.until(events.len() - 1).await, events[1..]);
    scene.receiver.until_taken("/first", &events).await;
    scene.receiver.until_taken("/second", &events[first.len()..]).await;
}

/// A consumer of the stream of events, who comes again with the last cursor whenever it ends.
struct Stream {
    ids: watch::Receiver<Vec<String>>,
    task: JoinHandle<()>,
}

impl Stream {
    fn open(caller: &Caller) -> Self {
        Self::open_after(caller, "")
    }

    fn open_after(caller: &Caller, cursor: &str) -> Self {
        let (sender, ids) = watch::channel(Vec::new());
        let task = tokio::spawn(follow(caller.clone(), cursor.to_owned(), sender));
        Self { ids, task }
    }

    /// The ids of events, once there are so many.
    async fn until(mut self, count: usize) -> Vec<String> {
        let wanted = self.ids.wait_for(|ids| ids.len() >= count);
        let ids =
            tokio::time::timeout(Duration::from_secs(60), wanted).await.expect("the stream goes on").unwrap().clone();
        self.task.abort();
        ids
    }
}

async fn follow(caller: Caller, mut cursor: String, ids: watch::Sender<Vec<String>>) {
    loop {
        let path = format!("/v1/events?cursor={cursor}");
        let call = caller.partner().get(&path).header("accept", "text/event-stream");
        let mut stream = call.follow().await;
        assert!(matches!(stream.status, 200 | 503), "{}", stream.status);
        while stream.status == 200
            && let Some(frame) = stream.until("\n\n").await
        {
            let line = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(id), Some(data)) = (line("id: "), line("data: ")) {
                let event: Value = serde_json::from_str(&data).unwrap();
                ids.send_modify(|ids| ids.push(event["eventId"].as_str().unwrap().to_owned()));
                cursor = id;
            }
        }
        Clock::system().sleep(Duration::from_millis(50)).await;
    }
}
