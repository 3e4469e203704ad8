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

/// Times in milliseconds: of others' writes, and of each sleep and each waking of the customer beside them.
struct Beside {
    writes: Vec<f64>,
    turns: Vec<f64>,
}

/// On SQLite it is only told: its one writer is held for the whole of a transaction.
pub async fn measure(table: &mut Table, place: Place) {
    let clock = Clock::system();
    let (big, batch) = (Family::new(&clock, BIG), Family::new(&clock, BATCH / 2));
    let others: Vec<Family> = (0..OTHERS).map(|_| Family::new(&clock, 1)).collect();
    for family in others.iter().chain([&big, &batch]) {
        family::write(&place.store, place.programme_id, std::slice::from_ref(family)).await;
    }
    let place = Arc::new(place);
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // As many cards each way.
        whole.push(beside(&place, &others, (big.customer, 2)).await);
        parts.push(beside(&place, &others, (batch.customer, 2 * BIG * 2 / BATCH)).await);
    }
    let turns = median(whole.iter().flat_map(|beside| beside.turns.clone()).collect());
    let longest = whole.iter().flat_map(|beside| &beside.writes).copied().fold(0.0, f64::max);
    eprintln!(
        "{}: 10,000 cards took {turns:.0} ms each way; the longest write beside them {longest:.0} ms",
        place.database
    );
    if place.database == "SQLite" {
        return;
    }
    let ratios = whole.iter().zip(&parts).map(|(whole, parts)| p99(&whole.writes) / p99(&parts.writes)).collect();
    let (whole, parts) = (whole.iter().map(|b| p99(&b.writes)), parts.iter().map(|b| p99(&b.writes)));
    table.add(Row {
        what: "p99 of others' writes on PostgreSQL while a customer with 10,000 cards (and 5,000 accounts) falls asleep and wakes, \
               against while one with 500 cards does, over and over",
        measured: format!("{:.0} ms", median(whole.collect())),
        floor: format!("{:.0} ms", median(parts.collect())),
        figure: median(ratios),
        unit: "",
        bar: Bar::AtMost(1.3),
    });
}

fn p99(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

/// What others see while a customer falls asleep and wakes, so many times.
async fn beside(place: &Arc<Place>, others: &[Family], (customer, turns): (Uuid, usize)) -> Beside {
    let end = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = others
        .iter()
        .map(|family| tokio::spawn(writes(Arc::clone(place), family.customer, Arc::clone(&end))))
        .collect();
    // So that all of them are under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let turns = asleep(place, customer, turns).await;
    end.store(true, Ordering::SeqCst);
    let mut writes = Vec::new();
    for caller in callers {
        writes.extend(caller.await.unwrap());
    }
    Beside { writes, turns }
}

/// Puts a customer to sleep and wakes it, so many times in all; how long each took, in milliseconds.
async fn asleep(place: &Place, customer: Uuid, turns: usize) -> Vec<f64> {
    let mut client = place.partner.grpc().await;
    let mut times = Vec::new();
    for number in 0..turns {
        let begun = Instant::now();
        turn(place, &mut client, (customer, number)).await;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times
}

/// Puts a small customer to sleep and wakes it until told to end, and then until it is awake; how long each write took, in
/// milliseconds.
async fn writes(place: Arc<Place>, customer: Uuid, end: Arc<AtomicBool>) -> Vec<f64> {
    let mut client = place.partner.grpc().await;
    let mut times = Vec::new();
    while !end.load(Ordering::SeqCst) || times.len() % 2 == 1 {
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
