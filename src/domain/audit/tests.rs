use super::*;
use crate::domain::customer::{Customer, Move, Status};
use crate::domain::event::Origin;

const CUSTOMER: Uuid = Uuid::from_u128(1);
const KEY: CustomerKey = CustomerKey::new([7; 32]);

/// A customer that went from its creation to screening and verifying.
fn story() -> (Vec<Event>, Chain, Entity) {
    let mut customer = Customer {
        id: CUSTOMER,
        programme_id: Uuid::from_u128(2),
        external_id: "u-1".into(),
        chain_id: "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".into(),
        status: Status::Initiating,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        version: 1,
    };
    let (mut chain, origin) = (Chain::new(KEY), Origin::internal("programme"));
    let mut events = vec![chain.append(Uuid::from_u128(10), customer.event(None, "created"), &origin)];
    for (id, by) in [(11, Move::ProveOwnership), (12, Move::Clear)] {
        let from = customer.make(by, Timestamp(2)).unwrap();
        let draft = customer.event(Some(from), by.as_str());
        events.push(chain.append(Uuid::from_u128(id), draft, &origin));
    }
    let row = Entity {
        entity_type: "customer".into(),
        id: CUSTOMER,
        status: "verifying".into(),
        version: 3,
        personal: BTreeMap::from([
            ("externalId".into(), customer.external_id.into()),
            ("chainId".into(), customer.chain_id.into()),
        ]),
    };
    (events, chain, row)
}

fn faults(events: &[Event], chain: Option<Chain>, rows: &[Entity]) -> Vec<String> {
    let mut trail = Trail::new(CUSTOMER, Some(KEY));
    for event in events {
        trail.add(event);
    }
    trail.end(chain, rows).iter().map(ToString::to_string).collect()
}

const WHO: &str = "customer 00000000-0000-0000-0000-000000000001: ";

#[test]
fn a_whole_trail_has_no_fault() {
    let (events, chain, row) = story();
    assert_eq!(faults(&events, Some(chain), &[row]), [""; 0]);
}

#[test]
fn an_altered_event_is_one_fault() {
    let (mut events, chain, row) = story();
    events[1].actor = "somebody".into();
    let expected =
        "event 00000000-0000-0000-0000-00000000000b at place 2: its hash is not that of its content: it was altered";
    assert_eq!(faults(&events, Some(chain), &[row]), [format!("{WHO}{expected}")]);
}

#[test]
fn an_event_altered_with_its_hash_shows_in_the_next() {
    let (mut events, chain, row) = story();
    events[1].actor = "somebody".into();
    events[1].hash = events[1].digest().unwrap();
    let expected =
        "event 00000000-0000-0000-0000-00000000000c at place 3: its previous hash is not the hash of the event before";
    assert_eq!(faults(&events, Some(chain), &[row]), [format!("{WHO}{expected}")]);
}

#[test]
fn a_missing_event_shows() {
    let (mut events, chain, row) = story();
    events.remove(1);
    let event = "event 00000000-0000-0000-0000-00000000000c at place 3: ";
    let expected = [
        "it follows place 1: events are missing",
        "its previous hash is not the hash of the event before",
        "version 3 of the customer follows version 1",
        "the customer comes from screening, but was initiating",
    ];
    assert_eq!(faults(&events, Some(chain), &[row]), expected.map(|what| format!("{WHO}{event}{what}")));
}

#[test]
fn a_cut_end_shows_and_so_does_a_row_that_differs() {
    let (mut events, chain, row) = story();
    events.pop();
    let id = CUSTOMER;
    let expected = [
        format!("{WHO}its chain ends at place 3, its events at 2"),
        format!("{WHO}customer {id} is verifying, version 3; its events say screening, version 2"),
    ];
    assert_eq!(faults(&events, Some(chain), &[row]), expected);
    let (events, chain, row) = story();
    let mut other = row.clone();
    other.personal.insert("chainId".into(), "eip155:1:0x408f000000000000000000000000000000004FF4".into());
    let expected = format!("{WHO}the chainId of customer {id} is not what its events say: it was altered");
    assert_eq!(faults(&events, Some(chain), &[other]), [expected]);
    let active = Entity { status: "active".into(), ..row };
    let expected = format!("{WHO}customer {id} is active, version 3; its events say verifying, version 3");
    assert_eq!(faults(&events, Some(chain), &[active]), [expected]);
}

#[test]
fn rows_without_events_and_events_without_rows_show() {
    let (events, chain, row) = story();
    assert_eq!(faults(&events, None, &[]), [format!("{WHO}it has events, but does not exist")]);
    let other = Entity { id: Uuid::from_u128(7), entity_type: "card".into(), ..row.clone() };
    let expected = format!("{WHO}card {} is verifying, version 3; its events say nothing", other.id);
    assert_eq!(faults(&events, Some(chain), &[row, other]), [expected]);
    let expected = format!("{WHO}customer {CUSTOMER} has events, but does not exist");
    assert_eq!(faults(&events, Some(chain), &[]), [expected]);
}
