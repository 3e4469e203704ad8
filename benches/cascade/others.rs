//! What a customer with 10,000 cards that falls asleep does to the writes of other customers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{ActivateCustomerRequest, DeactivateCustomerRequest};
use customerd::clock::Clock;
use tonic::transport::Channel;
use uuid::Uuid;

use super::Place;
use super::family::{self, Family};
use super::table::{Bar, Row, Table, median};

/// Accounts of the big customer: with two cards each.
const BIG: usize = 5_000;
/// Cards of the customer that is a bounded batch.
const BATCH: usize = 500;
const ROUNDS: usize = 5;
/// Others, each a caller of its own.
const OTHERS: usize = 4;

/// On SQLite for the record: its one writer is held for the whole of a transaction.
pub async fn measure(table: &mut Table, place: Place) {
    let clock = Clock::system();
    let (big, batch) = (Family::new(&clock, BIG), Family::new(&clock, BATCH / 2));
    let others: Vec<Family> = (0..OTHERS).map(|_| Family::new(&clock, 1)).collect();
    for family in others.iter().chain([&big, &batch]) {
        family::write(&place.store, place.programme_id, std::slice::from_ref(family)).await;
    }
    let place = Arc::new(place);
    let one_batch = asleep(&place, batch.customer).await;
    let (all, beside) = {
        let end = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = others
            .iter()
            .map(|family| tokio::spawn(writes(Arc::clone(&place), family.customer, Arc::clone(&end))))
            .collect();
        // So that all of them are under way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let all = asleep(&place, big.customer).await;
        end.store(true, Ordering::SeqCst);
        let mut waits = Vec::new();
        for caller in callers {
            waits.extend(caller.await.unwrap());
        }
        (all, waits)
    };
    let longest = beside.iter().copied().fold(0.0, f64::max);
    eprintln!(
        "{}: {} others' writes beside 10,000 cards that took {all:.0} ms each way; median {:.1} ms, longest {longest:.1} ms",
        place.database,
        beside.len(),
        median(beside.clone())
    );
    table.add(Row {
        what: match place.database {
            "SQLite" => "longest write of others while a customer with 10,000 cards (and 5,000 accounts) falls asleep, on SQLite, against the whole of it",
            _ => "longest write of others while a customer with 10,000 cards (and 5,000 accounts) falls asleep, on PostgreSQL, against a customer with 500 cards",
        },
        measured: format!("{longest:.0} ms"),
        floor: if place.database == "SQLite" { format!("{all:.0} ms") } else { format!("{one_batch:.0} ms") },
        figure: longest / if place.database == "SQLite" { all } else { one_batch },
        unit: "",
        bar: if place.database == "SQLite" { Bar::AtMost(1.2) } else { Bar::AtMost(1.0) },
    });
}

/// Puts a customer to sleep and wakes it, some times over; how long one way took, in milliseconds.
async fn asleep(place: &Place, customer: Uuid) -> f64 {
    let mut client = place.partner.grpc().await;
    let mut times = Vec::new();
    for number in 0..2 * ROUNDS {
        let begun = Instant::now();
        turn(place, &mut client, (customer, number)).await;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    median(times)
}

/// Puts a small customer to sleep and wakes it until told to end; how long each write took, in milliseconds.
async fn writes(place: Arc<Place>, customer: Uuid, end: Arc<AtomicBool>) -> Vec<f64> {
    let mut client = place.partner.grpc().await;
    let mut times = Vec::new();
    while !end.load(Ordering::SeqCst) {
        let begun = Instant::now();
        turn(&place, &mut client, (customer, times.len())).await;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times
}

async fn turn(place: &Place, client: &mut CustomerServiceClient<Channel>, (customer, number): (Uuid, usize)) {
    let customer_id = customer.to_string();
    if number % 2 == 0 {
        client.deactivate_customer(place.partner.request(DeactivateCustomerRequest { customer_id })).await.unwrap();
    } else {
        client.activate_customer(place.partner.request(ActivateCustomerRequest { customer_id })).await.unwrap();
    }
}
