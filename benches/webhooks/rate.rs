//! Deliveries a second, and from the commit to the first attempt; then the same with full tables.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use customerd::domain::webhook::Subscription;

use super::receiver::{Arrival, Receiver};
use super::scene::Scene;
use super::table::{Bar, Row, Table, median};
use super::{Place, full};

const ROUNDS: usize = 5;
/// Subscriptions, which every event goes to.
pub const SUBSCRIPTIONS: usize = 8;
/// Events of a round.
const EVENTS: usize = 2_000;
/// How long events are committed to measure how late they arrive.
const SECONDS: u32 = 5;
/// Who commit them.
const WRITERS: u32 = 4;

pub(crate) async fn measure(table: &mut Table, place: &Place<'_>) {
    let receiver = Receiver::start().await;
    let empty = Scene::open(&place.url("rate").await).await;
    let subscription = subscribe(&empty, &receiver).await;
    let mut rates = Rounds::default();
    let mut signed_before = Vec::new();
    for _ in 0..=ROUNDS {
        let rate = deliveries(&empty, &receiver, 0).await;
        rates.add(rate, bare(&receiver, &subscription, false).await);
        signed_before.push(bare(&receiver, &subscription, true).await);
    }
    let (rate, floor) = (rates.measured(), rates.floor());
    table.add(Row {
        what: match place {
            Place::Sqlite(_) => {
                "deliveries/s on SQLite, against a bare hyper client that signs and posts the same bodies"
            }
            Place::Postgres(_) => "the same on PostgreSQL",
        },
        measured: format!("{rate:.0}/s"),
        floor: format!("{floor:.0}/s (bodies signed before: {:.0}/s)", median(signed_before)),
        figure: rates.ratio(),
        unit: "",
        bar: Bar::AtLeast(0.5),
    });
    with_full_tables(table, place, (&receiver, &empty, rate / 2.0)).await;
}

/// At half of the rate, and with tables as a long life leaves them.
async fn with_full_tables(
    table: &mut Table,
    place: &Place<'_>,
    (receiver, empty, half): (&Receiver, &Arc<Scene>, f64),
) {
    let url = place.url("full").await;
    let filled = Scene::open(&url).await;
    // The event that the filling copies: nobody wants it yet.
    filled.fill(1).await;
    let other = subscribe(&filled, receiver).await;
    full::fill(place, &url, &other).await;
    let mut late = Rounds::default();
    for _ in 0..=ROUNDS {
        let with_full = p99(&filled, receiver, half).await;
        late.add(with_full, p99(empty, receiver, half).await);
    }
    table.add(Row {
        what: match place {
            Place::Sqlite(_) => "commit to first attempt on SQLite, p99, at half of that rate",
            Place::Postgres(_) => "the same on PostgreSQL",
        },
        measured: format!("{:.1} ms", late.floor()),
        floor: "–".to_owned(),
        figure: late.floor(),
        unit: " ms",
        bar: Bar::AtMost(250.0),
    });
    table.add(Row {
        what: match place {
            Place::Sqlite(_) => {
                "that p99 with 1,000,000 delivered and 100,000 waiting in the tables, against empty ones"
            }
            Place::Postgres(_) => "the same on PostgreSQL",
        },
        measured: format!("{:.1} ms", late.measured()),
        floor: format!("{:.1} ms", late.floor()),
        figure: late.ratio(),
        unit: "",
        bar: Bar::AtMost(1.3),
    });
    let mut rates = Rounds::default();
    for _ in 0..=ROUNDS {
        let with_full = deliveries(&filled, receiver, full::WAITING).await;
        rates.add(deliveries(empty, receiver, 0).await, with_full);
    }
    table.add(Row {
        what: match place {
            Place::Sqlite(_) => "deliveries/s on SQLite with empty tables, against those full ones",
            Place::Postgres(_) => "the same on PostgreSQL",
        },
        measured: format!("{:.0}/s", rates.measured()),
        floor: format!("{:.0}/s", rates.floor()),
        figure: rates.ratio(),
        unit: "",
        bar: Bar::AtMost(1.3),
    });
}

/// What was measured and its floor, one round after another: the machine may be quicker in one than in the next.
#[derive(Default)]
struct Rounds(Vec<(f64, f64)>);

impl Rounds {
    fn add(&mut self, measured: f64, floor: f64) {
        eprintln!("round {}: {measured:.0}, {floor:.0}", self.0.len());
        self.0.push((measured, floor));
    }

    /// The median of all but the first round, which fills caches.
    fn of(&self, figure: impl Fn(&(f64, f64)) -> f64) -> f64 {
        median(self.0[1..].iter().map(figure).collect())
    }

    fn measured(&self) -> f64 {
        self.of(|round| round.0)
    }

    fn floor(&self) -> f64 {
        self.of(|round| round.1)
    }

    fn ratio(&self) -> f64 {
        self.of(|round| round.0 / round.1)
    }
}

async fn subscribe(scene: &Scene, receiver: &Receiver) -> Subscription {
    let mut last = None;
    for number in 0..SUBSCRIPTIONS {
        last = Some(scene.subscribe(&receiver.url(&format!("/{number}"))).await);
    }
    last.unwrap()
}

/// Deliveries of one backlog after another, and nothing else for most of the time.
pub(crate) async fn deliver_many(place: &Place<'_>) {
    let receiver = Receiver::start().await;
    let scene = Scene::open(&place.url("profile").await).await;
    subscribe(&scene, &receiver).await;
    for _ in 0..2 {
        scene.fill(10 * EVENTS).await;
        eprintln!("{} delivers", place.name());
        eprintln!("{:.0}/s", work_off(&scene, &receiver, 10 * EVENTS, 0).await);
    }
}

/// A backlog, worked off.
async fn deliveries(scene: &Scene, receiver: &Receiver, waiting: i64) -> f64 {
    scene.fill(EVENTS).await;
    work_off(scene, receiver, EVENTS, waiting).await
}

/// From the engine's start until the last delivery is settled.
async fn work_off(scene: &Scene, receiver: &Receiver, events: usize, waiting: i64) -> f64 {
    let before = receiver.count();
    let begun = Instant::now();
    let delivering = scene.deliver();
    receiver.reached(before + events * SUBSCRIPTIONS).await;
    scene.drained(waiting).await;
    let rate = (events * SUBSCRIPTIONS) as f64 / begun.elapsed().as_secs_f64();
    delivering.stop().await;
    rate
}

async fn bare(receiver: &Receiver, subscription: &Subscription, before: bool) -> f64 {
    // Events like the others, from a store that nobody delivers from.
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::open(&format!("sqlite://{}/floor.db", directory.path().display())).await;
    let mut events = Vec::new();
    for event in scene.fill(EVENTS).await {
        events.extend(std::iter::repeat_n(event, SUBSCRIPTIONS));
    }
    super::bare::rate(receiver, subscription, events, before).await
}

/// Milliseconds from an event's commit to its first attempt, 99 times of 100, while events are committed so that this
/// many deliveries a second are due.
async fn p99(scene: &Arc<Scene>, receiver: &Receiver, rate: f64) -> f64 {
    let delivering = scene.deliver();
    receiver.note();
    let committed = commit(scene, rate / SUBSCRIPTIONS as f64).await;
    receiver.noted(committed.len() * SUBSCRIPTIONS).await;
    let late = lateness(&committed, &receiver.arrivals(), |_| true);
    delivering.stop().await;
    percentile(late, 99)
}

/// Commits so many events a second for a while: each with the time when it was durable.
pub async fn commit(scene: &Arc<Scene>, rate: f64) -> HashMap<String, Instant> {
    let step = Duration::from_secs_f64(f64::from(WRITERS) / rate);
    let begun = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let scene = Arc::clone(scene);
            tokio::spawn(async move {
                let mut committed = Vec::new();
                let mut next = begun + step * writer / WRITERS;
                while next < begun + Duration::from_secs(u64::from(SECONDS)) {
                    tokio::time::sleep_until(next.into()).await;
                    committed.push(scene.commit().await);
                    next += step;
                }
                committed
            })
        })
        .collect();
    let mut all = HashMap::new();
    for writer in writers {
        all.extend(writer.await.unwrap().into_iter().map(|(id, at)| (id.to_string(), at)));
    }
    all
}

/// Milliseconds between each commit and each arrival of its event at one of these paths.
pub fn lateness(
    committed: &HashMap<String, Instant>,
    arrivals: &HashMap<Arrival, Instant>,
    paths: impl Fn(&str) -> bool,
) -> Vec<f64> {
    let of = |((path, id), at): (&Arrival, &Instant)| {
        let committed = committed.get(id).filter(|_| paths(path))?;
        Some(at.saturating_duration_since(*committed).as_secs_f64() * 1e3)
    };
    arrivals.iter().filter_map(of).collect()
}

pub fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
