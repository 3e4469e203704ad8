//! Deactivations over gRPC, against a bare loop of the same statements.

use std::sync::Arc;
use std::time::Instant;

use customerd::api::v1::DeactivateCustomerRequest;
use customerd::clock::Clock;
use customerd::domain::event::Event;
use customerd::domain::programme::Programme;
use customerd::store::programmes::{self, NewProgramme};
use customerd::store::{Store, StoreOptions, events};
use uuid::Uuid;

use super::Place;
use super::family::{self, Family};
use super::statements::Bare;
use super::table::{Bar, Row, Table, median};

const ROUNDS: usize = 5;
/// HTTP/2 connections that the callers share.
const CONNECTIONS: usize = 4;

/// What is put to sleep in a round, and by how many at once.
struct Load {
    customers: usize,
    accounts: usize,
    callers: usize,
}

/// On the service's database and on `bare`, an empty one of the same kind.
pub async fn measure(table: &mut Table, place: Place, bare: &str) {
    let sides = Sides::open(&place, bare).await;
    // As many as the pool has connections; on SQLite as many as may share a commit.
    let callers = if place.database == "SQLite" { 64 } else { 16 };
    let few = Load { customers: 1_920, accounts: 1, callers };
    let (rates, floors, figure) = sides.rounds(&few).await;
    table.add(Row {
        what: match place.database {
            "SQLite" => {
                "deactivations/s on SQLite, 1 account and 2 cards each, 64 callers over gRPC, against a bare loop"
            }
            _ => "deactivations/s on PostgreSQL, 1 account and 2 cards each, 16 callers over gRPC, against a bare loop",
        },
        measured: format!("{rates:.0}/s"),
        floor: format!("{floors:.0}/s"),
        figure,
        unit: "",
        bar: Bar::AtLeast(1.0),
    });
    let many = Load { customers: 8, accounts: 500, callers: 1 };
    let (rate, floor, figure) = sides.rounds(&many).await;
    let per_card = |rate: f64| format!("{:.1} µs", 1e6 / rate / 1_000.0);
    table.add(Row {
        what: match place.database {
            "SQLite" => "time per card of a deactivation with 1,000 cards (and 500 accounts) on SQLite, against bare batched statements",
            _ => "time per card of a deactivation with 1,000 cards (and 500 accounts) on PostgreSQL, against bare batched statements",
        },
        measured: per_card(rate),
        floor: per_card(floor),
        figure: 1.0 / figure,
        unit: "",
        bar: Bar::AtMost(1.5),
    });
}

/// The service, and a database of the same schema that is only given the statements.
struct Sides<'a> {
    place: &'a Place,
    bare: Store,
    clock: Clock,
}

impl<'a> Sides<'a> {
    async fn open(place: &'a Place, bare: &str) -> Self {
        let (bare, clock) = (Store::open(bare, StoreOptions::default()).await.unwrap(), Clock::system());
        let programme = Programme { id: place.programme_id, name: "Bench".into(), sandbox: true };
        let mut tx = bare.begin().await.unwrap();
        let new = NewProgramme { programme: &programme, api_key: clock.id(), api_secret_hash: "-", at: clock.now() };
        programmes::insert(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        Self { place, bare, clock }
    }

    /// Customers a second: of the service, of the bare loop; and the median of each round's ratio.
    async fn rounds(&self, load: &Load) -> (f64, f64, f64) {
        let (mut rates, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let families: Vec<Family> = (0..load.customers).map(|_| Family::new(&self.clock, load.accounts)).collect();
            family::write(&self.place.store, self.place.programme_id, &families).await;
            family::write(&self.bare, self.place.programme_id, &families).await;
            let rate = self.service(load, &families).await;
            let mut same = Vec::new();
            for family in families {
                same.push(Bare { events: self.recorded(family.customer).await, family });
            }
            let floor = self.floor(load, same).await;
            // The first round fills caches.
            if round > 0 {
                rates.push(rate);
                floors.push(floor);
                ratios.push(rate / floor);
            }
        }
        (median(rates), median(floors), median(ratios))
    }

    async fn recorded(&self, customer: Uuid) -> Vec<Event> {
        let mut reader = self.place.store.reader().await.unwrap();
        let mut events = events::trail(&mut reader, customer, None, i64::MAX).await.unwrap();
        events.reverse();
        events
    }

    async fn service(&self, load: &Load, families: &[Family]) -> f64 {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(self.place.partner.grpc().await);
        }
        let begun = Instant::now();
        let calls: Vec<_> = (0..load.callers)
            .map(|caller| {
                let mut client = clients[caller % CONNECTIONS].clone();
                let requests: Vec<_> =
                    families.iter().skip(caller).step_by(load.callers).map(|f| self.request(f)).collect();
                tokio::spawn(async move {
                    for request in requests {
                        client.deactivate_customer(request).await.unwrap();
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        load.customers as f64 / begun.elapsed().as_secs_f64()
    }

    fn request(&self, family: &Family) -> tonic::Request<DeactivateCustomerRequest> {
        let message = DeactivateCustomerRequest { customer_id: family.customer.to_string() };
        let mut request = self.place.partner.request(message);
        request.metadata_mut().insert("idempotency-key", self.clock.id().to_string().parse().unwrap());
        request
    }

    async fn floor(&self, load: &Load, same: Vec<Bare>) -> f64 {
        let same = Arc::new(same);
        let begun = Instant::now();
        let callers: Vec<_> = (0..load.callers)
            .map(|caller| {
                let (same, store, clock) = (Arc::clone(&same), self.bare.clone(), self.clock.clone());
                let (step, programme_id) = (load.callers, self.place.programme_id);
                tokio::spawn(async move {
                    for bare in same.iter().skip(caller).step_by(step) {
                        bare.run(&store, &clock, programme_id).await;
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        load.customers as f64 / begun.elapsed().as_secs_f64()
    }
}
