//! `ListCards` of one account: among 1,000,000 cards against among 1,000.

use std::time::Instant;

use customerd::api::v1::ListCardsRequest;
use customerd::api::v1::card_service_client::CardServiceClient;
use customerd::clock::Clock;
use tonic::transport::Channel;
use uuid::Uuid;

use super::Place;
use super::family::{self, Card, Family};
use super::table::{Bar, Row, Table, median};

/// Cards that an account has had: two live ones, the others terminated.
const PER_ACCOUNT: usize = 20;
const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// How often each is asked for.
const REQUESTS: usize = 2_000;

pub async fn measure(table: &mut Table, few: Place, many: Place) {
    let database = few.database;
    let mut sides = [Side::fill(few, FEW).await, Side::fill(many, MANY).await];
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..REQUESTS + 200 {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            let time = side.list(number).await;
            if number >= 200 {
                times.push(time);
            }
        }
    }
    let [few, many] = times.map(median);
    table.add(Row {
        what: match database {
            "SQLite" => "ListCards of one account among 1,000,000 cards on SQLite, against among 1,000",
            _ => "ListCards of one account among 1,000,000 cards on PostgreSQL, against among 1,000",
        },
        measured: format!("{many:.0} µs"),
        floor: format!("{few:.0} µs"),
        figure: many / few,
        unit: "",
        bar: Bar::AtMost(1.3),
    });
}

struct Side {
    place: Place,
    client: CardServiceClient<Channel>,
    /// Some accounts, from all over.
    accounts: Vec<Uuid>,
}

impl Side {
    async fn fill(place: Place, cards: usize) -> Self {
        let clock = Clock::system();
        let families: Vec<Family> = (0..cards / PER_ACCOUNT).map(|_| with_a_past(&clock)).collect();
        family::write(&place.store, place.programme_id, &families).await;
        place.analyze().await;
        let every = families.len().div_ceil(50);
        let accounts = families.iter().step_by(every).map(|family| family.accounts[0]).collect();
        let client = place.partner.cards().await;
        Self { place, client, accounts }
    }

    async fn list(&mut self, number: usize) -> f64 {
        let account_id = self.accounts[number % self.accounts.len()].to_string();
        let request = self.place.partner.request(ListCardsRequest { account_id, ..Default::default() });
        let begun = Instant::now();
        let cards = self.client.list_cards(request).await.unwrap().into_inner().cards;
        let time = begun.elapsed().as_secs_f64() * 1e6;
        assert_eq!(cards.len(), PER_ACCOUNT);
        time
    }
}

fn with_a_past(clock: &Clock) -> Family {
    let mut family = Family::new(clock, 1);
    let account = family.accounts[0];
    let past = (2..PER_ACCOUNT).map(|_| Card { id: clock.id(), account, card_type: "virtual", status: "terminated" });
    family.cards.extend(past.collect::<Vec<_>>());
    family
}
