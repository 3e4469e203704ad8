//! What the documents say of the state machines.

use std::collections::BTreeSet;

use super::{account, card, customer};

const TEXT: &str = include_str!("../../docs/states.md");

/// From, move, to: the rows of the table under a heading.
fn documented(heading: &str) -> BTreeSet<[&'static str; 3]> {
    let (_, section) = TEXT.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| [cells[1], cells[2], cells[3]]).collect()
}

#[test]
fn the_tables_are_those_of_the_code() {
    let customers = customer::Status::ALL.into_iter().flat_map(|from| {
        let to = move |by: customer::Move| Some([from.as_str(), by.as_str(), from.after(by)?.as_str()]);
        customer::Move::ALL.into_iter().filter_map(to)
    });
    assert_eq!(documented("Customer"), customers.collect());
    let accounts = account::Status::ALL.into_iter().flat_map(|from| {
        let to = move |by: account::Move| Some([from.as_str(), by.as_str(), from.after(by)?.as_str()]);
        account::Move::ALL.into_iter().filter_map(to)
    });
    assert_eq!(documented("Account"), accounts.collect());
    let cards = card::Status::ALL.into_iter().flat_map(|from| {
        let to = move |by: card::Move| Some([from.as_str(), by.as_str(), from.after(by)?.as_str()]);
        card::Move::ALL.into_iter().filter_map(to)
    });
    assert_eq!(documented("Card"), cards.collect());
}
