//! The worker against bounds: how fast it screens, and how fast decisions of a KYC partner are taken, beside bare loops that
//! make the same state changes; what a provider that hangs for some does to the others; and what a claim costs with a
//! million tasks waiting.
//!
//! `cargo bench --bench worker` prints the table. SQLite with `synchronous=FULL`; PostgreSQL, where it is installed, as a
//! durable throw-away cluster.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a bench takes the time, prints its table and may panic"
)]

mod kyc;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[path = "../../tests/support/sumsub.rs"]
mod sumsub;
#[path = "../service/table.rs"]
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::customer::{Customer, Move, Status};
use customerd::domain::event::{Chain, Origin};
use customerd::domain::programme::Programme;
use customerd::lifecycle::{Step, moves};
use customerd::screening::{Chainalysis, ListFile, Lists, Sandbox, Screening};
use customerd::store::customers::{self, Filter, Held};
use customerd::store::nodes;
use customerd::store::programmes::{self, NewProgramme};
use customerd::store::tasks::{self, Kind, NewTask, NodeLease};
use customerd::store::{Store, StoreOptions};
use customerd::worker::{Engine, Queue as _, ScreeningQueue};
use postgres::{Cluster, Durability};
use table::{Bar, Row, Table, median};
use tokio::sync::oneshot;
use uuid::Uuid;

const CUSTOMERS: usize = 4_000;
const CALLERS: usize = ScreeningQueue::CONCURRENCY;
const ROUNDS: usize = 5;
const CLAIMS: usize = 500;
/// One in so many meets the provider that hangs.
const HANGING: u64 = 50;
const DEADLINE: Duration = Duration::from_secs(5);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let url = |name: &str| format!("sqlite://{}/{name}.db", directory.path().display());
        let mut table = Table::default();
        Bench::open("SQLite", &url("rate")).await.run(&mut table, [&url("few"), &url("many")]).await;
        if let Some(cluster) = Cluster::start(Durability::Durable) {
            let (rate, few, many) = (cluster.database().await, cluster.database().await, cluster.database().await);
            Bench::open("PostgreSQL", &rate).await.run(&mut table, [&few, &many]).await;
        }
        table.print();
    });
}

struct Bench {
    name: &'static str,
    store: Store,
    clock: Clock,
    programme_id: Uuid,
    made: AtomicUsize,
}

impl Bench {
    async fn open(name: &'static str, url: &str) -> Self {
        let (store, clock) = (Store::open(url, StoreOptions::default()).await.unwrap(), Clock::system());
        let programme = Programme { id: clock.id(), name: "Bench".into(), sandbox: false };
        let mut tx = store.begin().await.unwrap();
        let new = NewProgramme { programme: &programme, api_key: clock.id(), api_secret_hash: "-", at: clock.now() };
        programmes::insert(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        Self { name, store, clock, programme_id: programme.id, made: AtomicUsize::new(0) }
    }

    async fn run(self, table: &mut Table, others: [&str; 2]) {
        let bench = Arc::new(self);
        let (mut bare, mut worker, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (floor, rate) = (bench.bare().await, bench.by_worker().await);
            // The first round fills caches.
            if round > 0 {
                bare.push(floor);
                worker.push(rate);
                ratios.push(rate / floor);
            }
        }
        let per_second = |rates| format!("{:.0}/s", median(rates));
        let what = "customers screened by the worker, against a bare loop that makes the same moves";
        table.add(bench.row(what, (per_second(worker), per_second(bare)), (median(ratios), Bar::AtLeast(0.7))));
        let (ours, floors, ratio) = kyc::rates(&bench).await;
        let what = "decisions of the KYC partner taken, against a bare loop that makes the same changes";
        table.add(bench.row(what, (per_second(ours), per_second(floors)), (ratio, Bar::AtLeast(0.7))));
        let (alone, beside) = (bench.p99(false).await, bench.p99(true).await);
        let millis = |time: f64| format!("{time:.2} ms");
        let what =
            "p99 from a customer's proof to its screening beside a provider that hangs for some, against without";
        table.add(bench.row(what, (millis(beside), millis(alone)), (beside / alone, Bar::AtMost(2.0))));
        let (few, many) = (Self::open(bench.name, others[0]).await, Self::open(bench.name, others[1]).await);
        few.wait_for_workers(1_000).await;
        many.wait_for_workers(1_000_000).await;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..CLAIMS {
            times[0].push(few.claim().await);
            times[1].push(many.claim().await);
        }
        let [few, many] = times.map(median);
        let what = "a claim of 64 with 1,000,000 waiting, against with 1,000";
        table.add(bench.row(what, (millis(many), millis(few)), (many / few, Bar::AtMost(1.3))));
    }

    fn row(&self, what: &str, (measured, floor): (String, String), (figure, bar): (f64, Bar)) -> Row {
        // A table lives as long as the bench.
        let what = format!("{}: {what}", self.name).leak();
        Row { what, measured, floor, figure, unit: "", bar }
    }

    /// A customer in a status, with its screening task or without.
    async fn customer(&self, number: u64, (status, with_task): (Status, bool)) -> Uuid {
        let (id, now) = (self.clock.id(), self.clock.now());
        // 0xdead… addresses are those that the provider hangs for.
        let prefix = if number.is_multiple_of(HANGING) { "dead" } else { "beef" };
        let account = format!("{prefix}{number:036x}");
        let customer = Customer {
            id,
            programme_id: self.programme_id,
            external_id: id.to_string(),
            chain_id: format!("eip155:1:0x{account}"),
            status,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let mut tx = self.store.begin().await.unwrap();
        customers::insert(&mut tx, &Held::new(customer, Chain::default(), None)).await.unwrap();
        if with_task {
            tasks::enqueue(&mut tx, &self.task(id, now)).unwrap();
        }
        tx.commit().await.unwrap();
        id
    }

    fn task(&self, customer_id: Uuid, now: Timestamp) -> NewTask {
        let (id, programme_id) = (self.clock.id(), self.programme_id);
        NewTask { id, kind: Kind::Screening, programme_id, customer_id, entity_id: customer_id, created_at: now }
    }

    async fn fill(self: &Arc<Self>, status: Status, with_task: bool) -> Vec<Uuid> {
        let first = self.made.fetch_add(CUSTOMERS, Ordering::SeqCst);
        let makers = (0..CALLERS).map(|caller| {
            let bench = Arc::clone(self);
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for number in (first + caller..first + CUSTOMERS).step_by(CALLERS) {
                    ids.push(bench.customer(number as u64, (status, with_task)).await);
                }
                ids
            })
        });
        let made: Vec<_> = makers.collect();
        let mut ids = Vec::new();
        for maker in made {
            ids.extend(maker.await.unwrap());
        }
        ids
    }

    /// The same state changes with nothing around them, by as many callers as the worker has places.
    async fn bare(self: &Arc<Self>) -> f64 {
        let ids = self.fill(Status::Screening, false).await;
        let began = Instant::now();
        let callers: Vec<_> = ids
            .chunks(CUSTOMERS.div_ceil(CALLERS))
            .map(|ids| {
                let (bench, ids) = (Arc::clone(self), ids.to_vec());
                tokio::spawn(async move {
                    let origin = Origin::internal("screening");
                    for id in ids {
                        let mut tx = bench.store.begin().await.unwrap();
                        let mut held = customers::lock(&mut tx, id).await.unwrap().unwrap();
                        let step = Step { by: Move::Clear, reason: None, origin: &origin };
                        moves::make(&mut tx, &mut held, step, &bench.clock).await.unwrap();
                        tx.commit().await.unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        CUSTOMERS as f64 / began.elapsed().as_secs_f64()
    }

    async fn by_worker(self: &Arc<Self>) -> f64 {
        self.fill(Status::Screening, true).await;
        let began = Instant::now();
        // A list, so that the programme is screened whatever kind it is.
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "0x0000000000000000000000000000000000000001\n").unwrap();
        let lists = Lists::new(vec![ListFile::open(list.path()).unwrap()]);
        let stop = self.start(Screening::new(Sandbox::default()).with_lists(lists));
        self.drained().await;
        let rate = CUSTOMERS as f64 / began.elapsed().as_secs_f64();
        stop();
        rate
    }

    fn start(&self, screening: Screening) -> impl FnOnce() + use<> {
        let (stop, stopped) = oneshot::channel::<()>();
        let engine = Engine::new(self.store.clone(), self.clock.clone(), async {
            let _ = stopped.await;
        });
        let queue = ScreeningQueue::new(self.store.clone(), self.clock.clone(), screening);
        tokio::spawn(async move { engine.live(engine.clone().run(queue)).await });
        move || {
            let _ = stop.send(());
        }
    }

    async fn drained(&self) {
        while tasks::waiting(&mut self.store.reader().await.unwrap(), Kind::Screening, 1).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How long it takes from a customer's proof to its screening, 99 times of 100, of those that do not meet a hanging
    /// provider; 200 customers a second for ten seconds.
    async fn p99(&self, hanging: bool) -> f64 {
        let answer = move |Path(address): Path<String>| async move {
            if hanging && address.starts_with("0xdead") {
                tokio::time::sleep(2 * DEADLINE).await;
            }
            r#"{"identifications": []}"#
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/api/v1/address/{address}", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let provider = Chainalysis::new(&base, &"key".into(), DEADLINE).unwrap();
        let stop = self.start(Screening::new(Sandbox::default()).with_chainalysis(provider));
        let first = self.made.fetch_add(2_000, Ordering::SeqCst) as u64;
        let since = self.clock.now();
        let began = Instant::now();
        for number in 0..2_000_u64 {
            self.customer(first + number, (Status::Screening, true)).await;
            tokio::time::sleep_until((began + Duration::from_millis(5) * (number as u32 + 1)).into()).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop();
        let mut steps = Vec::new();
        let mut filter = Filter {
            programme_id: self.programme_id,
            status: Some(Status::Verifying),
            limit: 1000,
            ..Filter::default()
        };
        filter.created_after = Some(since);
        loop {
            let page = customers::page(&mut self.store.reader().await.unwrap(), &filter, None).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some((last.created_at, last.id));
            let others = page.iter().filter(|customer| !customer.chain_id.contains("0xdead"));
            steps.extend(others.map(|customer| customer.updated_at.since(customer.created_at).as_secs_f64() * 1e3));
        }
        assert!(steps.len() > 1_900, "others were held up: {} of 1960 screened", steps.len());
        steps.sort_by(f64::total_cmp);
        steps[steps.len() * 99 / 100]
    }

    /// Writes so many tasks.
    async fn wait_for_workers(&self, waiting: usize) {
        let (now, customer) = (self.clock.now(), Uuid::nil());
        for first in (0..waiting).step_by(10_000) {
            let mut tx = self.store.begin().await.unwrap();
            for _ in first..waiting.min(first + 10_000) {
                tasks::enqueue(&mut tx, &self.task(customer, now)).unwrap();
            }
            tx.commit().await.unwrap();
        }
    }

    /// The time of a claim, in milliseconds. It is undone.
    async fn claim(&self) -> f64 {
        let mut tx = self.store.begin().await.unwrap();
        let node = self.clock.id();
        nodes::insert(&mut tx, node, self.clock.now()).await.unwrap();
        let began = Instant::now();
        let lease = NodeLease { id: self.clock.id(), node };
        let now = self.clock.now();
        assert_eq!(tasks::claim(&mut tx, (Kind::Screening, now), lease, (64, false)).await.unwrap().len(), 64);
        let time = began.elapsed().as_secs_f64() * 1e3;
        tx.rollback().await.unwrap();
        time
    }
}
