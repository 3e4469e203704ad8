//! Callers who go on whatever becomes of the database, and remember what they were told.
//!
//! A call is repeated under its idempotency key until it succeeds. Until then the only response there may be is 503 with
//! `Retry-After`, or `UNAVAILABLE` with `RetryInfo`: anything else ends the test.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{CreateCustomerRequest, Customer};
use customerd::clock::Clock;
use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{Answer, Call, Evm, Partner, b64, unb64};

/// How long a caller waits before it repeats a call, which is less than it is asked to.
const PAUSE: Duration = Duration::from_millis(50);

/// Who calls: the sandbox's partner, over REST and gRPC.
#[derive(Clone)]
pub struct Caller(Arc<Shared>);

struct Shared {
    partner: Partner,
    channel: Channel,
    name: &'static str,
    /// Writes that were acknowledged.
    writes: watch::Sender<usize>,
    /// Responses that said "later".
    refusals: watch::Sender<usize>,
    stopping: AtomicBool,
    chapter: AtomicUsize,
}

/// A customer that was created, and what was said.
pub struct Created {
    pub name: String,
    pub id: String,
    response: Response,
    /// In which chapter it was sent first, and in which it was acknowledged.
    pub chapters: (usize, usize),
}

#[derive(Debug, PartialEq)]
enum Response {
    Rest(Bytes),
    Grpc(Customer),
}

impl Created {
    /// Everything that callers created, once they have ended.
    pub async fn all(callers: Vec<JoinHandle<Vec<Self>>>) -> Vec<Self> {
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.await.unwrap());
        }
        all
    }

    pub fn is_rest(&self) -> bool {
        matches!(self.response, Response::Rest(_))
    }
}

impl Caller {
    /// By way of the node whose gRPC is there. Names of customers begin with `name`.
    pub async fn new(partner: Partner, grpc: SocketAddr, name: &'static str) -> Self {
        let channel = Channel::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap();
        let counts = [(); 2].map(|()| watch::Sender::new(0));
        let [writes, refusals] = counts;
        let (stopping, chapter) = (AtomicBool::default(), AtomicUsize::default());
        Self(Arc::new(Shared { partner, channel, name, writes, refusals, stopping, chapter }))
    }

    pub fn partner(&self) -> &Partner {
        &self.0.partner
    }

    pub fn name(&self) -> &str {
        self.0.name
    }

    /// So many callers from now on who create customers, every third one over gRPC.
    pub fn create(&self, callers: usize) -> Vec<JoinHandle<Vec<Created>>> {
        let create = |caller: usize| {
            let me = self.clone();
            async move {
                let mut all = Vec::new();
                for number in 0.. {
                    if me.0.stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("{}-{caller}-{number}", me.0.name);
                    let created = if caller % 3 == 2 { me.create_grpc(name).await } else { me.create_rest(name).await };
                    let path = format!("/v1/customers/{}", created.id);
                    let read = me.repeat(|partner| partner.get(&path)).await;
                    // What an asynchronous fail-over takes away is not there any more.
                    assert!(read.status == 200 || created.chapters.1 < me.chapter(), "{read:?}");
                    all.push(created);
                }
                all
            }
        };
        (0..callers).map(|caller| tokio::spawn(create(caller))).collect()
    }

    /// Deactivates and reactivates a customer of this version in turn from now on; gives how often, all in all.
    pub fn move_to_and_fro(&self, id: Uuid, version: u64) -> JoinHandle<u64> {
        let me = self.clone();
        tokio::spawn(async move {
            let mut moves = 0;
            while !me.0.stopping.load(Ordering::SeqCst) {
                me.move_once(id, version, moves).await;
                moves += 1;
            }
            moves
        })
    }

    /// Makes the next of these moves, of which so many were made.
    pub async fn move_once(&self, id: Uuid, version: u64, moves: u64) -> Answer {
        let path = format!("/v1/customers/{id}/{}", if moves.is_multiple_of(2) { "deactivate" } else { "activate" });
        let key = key(&format!("{id} {moves}"));
        let moved = self.repeat(|partner| partner.patch(&path).key(&key)).await.is(200);
        assert_eq!(moved.json()["version"], version + moves + 1, "lost or doubled: {moved:?}");
        self.acknowledged();
        moved
    }

    async fn create_rest(&self, name: String) -> Created {
        let chapter = self.chapter();
        let body = json!({"chainId": Evm::named(&name).account(), "externalId": name});
        let created = self.repeat(|partner| partner.post("/v1/customers", &body).key(&key(&name))).await.is(201);
        self.acknowledged();
        let id = created.json()["id"].as_str().unwrap().to_owned();
        Created { name, id, response: Response::Rest(created.body), chapters: (chapter, self.chapter()) }
    }

    async fn create_grpc(&self, name: String) -> Created {
        let chapter = self.chapter();
        let mut client = CustomerServiceClient::new(self.0.channel.clone());
        let message = CreateCustomerRequest { chain_id: Evm::named(&name).account(), external_id: name.clone() };
        let customer = loop {
            let mut request: Request<_> = self.0.partner.rpc(message.clone());
            request.metadata_mut().insert("idempotency-key", key(&name).parse().unwrap());
            match client.create_customer(request).await {
                Ok(reply) => break reply.into_inner(),
                Err(status) => {
                    let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
                    assert!(status.code() == Code::Unavailable && delay.is_some(), "{status:?}");
                    self.refused().await;
                }
            }
        };
        self.acknowledged();
        let (id, response) = (customer.id.clone(), Response::Grpc(customer));
        Created { name, id, response, chapters: (chapter, self.chapter()) }
    }

    async fn again(&self, created: &Created) -> Created {
        match created.response {
            Response::Rest(_) => self.create_rest(created.name.clone()).await,
            Response::Grpc(_) => self.create_grpc(created.name.clone()).await,
        }
    }

    /// Repeats the creation: what was said before is said again.
    pub async fn replay(&self, created: &Created) {
        let again = self.again(created).await;
        assert_eq!(again.response, created.response, "{}", created.name);
    }

    /// Repeats the creation of a customer that was lost: it is made anew.
    pub async fn repeat_lost(&self, created: &Created) -> Created {
        let again = self.again(created).await;
        assert_ne!(again.id, created.id, "{}", created.name);
        again
    }

    /// Each of these customers is there as its callers were told, and they are told the same again. Adds their names.
    pub async fn are_there(&self, created: &[Created], names: &mut BTreeSet<String>) {
        for created in created {
            assert_eq!(self.read(&created.id).await["externalId"], created.name);
            self.replay(created).await;
            assert!(names.insert(created.name.clone()));
        }
    }

    /// These are all the customers that there are, and none is there twice.
    pub async fn are_all(&self, names: &BTreeSet<String>) {
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/customers?pageSize=1000&pageToken={token}");
            let page = self.partner().get(&path).await.is(200).json();
            let customers = page["customers"].as_array().unwrap().iter();
            listed.extend(customers.map(|customer| customer["externalId"].as_str().unwrap().to_owned()));
            match page["nextPageToken"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut token),
                _ => break,
            }
        }
        assert_eq!(listed.len(), names.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), *names);
    }

    /// The id of every event, in order.
    pub async fn events(&self) -> Vec<String> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.partner().get(&format!("/v1/events?pageSize=1000&cursor={cursor}")).await.is(200).json();
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().map(|event| event["eventId"].as_str().unwrap().to_owned()));
            page["nextCursor"].as_str().unwrap().clone_into(&mut cursor);
        }
    }

    /// A customer as it is.
    pub async fn read(&self, id: &str) -> Value {
        let path = format!("/v1/customers/{id}");
        self.repeat(|partner| partner.get(&path)).await.is(200).json()
    }

    /// Signs a new customer's challenge, after which a worker screens it.
    pub async fn sign(&self, created: &Created) {
        let Response::Rest(body) = &created.response else { panic!("created over gRPC") };
        let customer: Value = serde_json::from_slice(body).unwrap();
        let text = unb64(&customer["challenge"]);
        let body = json!({"challenge": b64(&text), "signature": Evm::named(&created.name).sign_hex(&text)});
        let path = format!("/v1/customers/{}/challenge/sign", created.id);
        let key = key(&path);
        self.repeat(|partner| partner.post(&path, &body).key(&key)).await.is(204);
    }

    /// A customer that has been screened and verified.
    pub async fn active(&self, name: &str) -> Uuid {
        let created = self.create_rest(name.to_owned()).await;
        self.sign(&created).await;
        let verify = format!("/v1/simulator/customers/{}/verify", created.id);
        let key = key(&verify);
        self.repeat(|partner| partner.patch(&verify).key(&key)).await.is(202);
        self.until_status(&created.id, "active").await;
        created.id.parse().unwrap()
    }

    /// Asks until a customer is where a worker brings it.
    pub async fn until_status(&self, id: &str, status: &str) {
        while self.read(id).await["status"] != status {
            Clock::system().sleep(PAUSE).await;
        }
    }

    /// Calls until the response is not "later".
    pub async fn repeat<'a>(&'a self, call: impl Fn(&'a Partner) -> Call<'a>) -> Answer {
        loop {
            let answer = call(&self.0.partner).attempt().await.expect("the node lives");
            if answer.status != 503 {
                return answer;
            }
            let answer = answer.refuses(503, "UNAVAILABLE");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            self.refused().await;
        }
    }

    async fn refused(&self) {
        self.0.refusals.send_modify(|count| *count += 1);
        Clock::system().sleep(PAUSE).await;
    }

    fn acknowledged(&self) {
        self.0.writes.send_modify(|count| *count += 1);
    }

    pub fn chapter(&self) -> usize {
        self.0.chapter.load(Ordering::SeqCst)
    }

    /// From now on it is the next chapter of the story.
    pub fn next_chapter(&self) {
        self.0.chapter.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for so many more writes that are acknowledged.
    pub async fn until_written(&self, more: usize) {
        more_of(&self.0.writes, more).await;
    }

    /// Waits for so many more responses that say "later".
    pub async fn until_refused(&self, more: usize) {
        more_of(&self.0.refusals, more).await;
    }

    /// Callers end when what they have begun has succeeded.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }
}

async fn more_of(count: &watch::Sender<usize>, more: usize) {
    let mut count = count.subscribe();
    let wanted = *count.borrow() + more;
    let reached = tokio::time::timeout(Duration::from_secs(60), count.wait_for(|count| *count >= wanted));
    reached.await.expect("it does not come").unwrap();
}

/// The idempotency key of a name.
fn key(name: &str) -> String {
    Uuid::from_slice(&sha2::Sha256::digest(name)[..16]).unwrap().to_string()
}
