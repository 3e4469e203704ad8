//! Two builds on one PostgreSQL, as during a rolling upgrade: the one that `CUSTOMERD_OTHER_BINARY` names serves already when this one
//! starts and migrates; both serve under load; then the other one stops.
//!
//! `.ci/full` makes that build from an earlier commit. Nothing else sets the variable.

use crate::process::{Place, stderr};
use crate::support::Ledger;
use crate::support::load::{Caller, Created};

const FLAGS: &[&str] = &["--allow-private-callbacks"];
/// Callers at once who create customers, by way of each node.
const CREATE: usize = 3;
/// How often a customer is moved, by one node and the other in turn.
const MOVES: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_share_a_database() {
    let Some(binary) = std::env::var_os("CUSTOMERD_OTHER_BINARY") else {
        eprintln!(
            "\n*** NOT RUN: two builds side by side: CUSTOMERD_OTHER_BINARY names no other one, see .ci/full ***\n"
        );
        return;
    };
    let Some(place) = Place::postgres().await else { return };
    let before = place.beside().of_build(binary.into());
    let earlier = before.serve(FLAGS);
    let (receiver, partner) = (Ledger::start(0).await, before.partner().await);
    receiver.subscribe(&partner, "/hook").await;
    let by_earlier = Caller::new(partner, before.grpc, "earlier").await;
    let theirs = by_earlier.create(CREATE);
    by_earlier.until_written(30).await;
    let node = place.serve(FLAGS);
    // The earlier one has made the sandbox and its partner.
    let mut partner = before.partner().await;
    partner.http = place.http;
    let by_this = Caller::new(partner, place.grpc, "this").await;
    let ours = by_this.create(CREATE);
    let mut moved = 0;
    for (caller, other) in [(&by_this, &by_earlier), (&by_earlier, &by_this)] {
        caller.until_written(30).await;
        moved += to_and_fro(caller, other).await;
    }
    by_earlier.stop();
    let theirs = Created::all(theirs).await;
    assert_eq!(earlier.stop(), Some(0));
    by_this.until_written(30).await;
    by_this.stop();
    let ours = Created::all(ours).await;

    let mut names = ["moved-earlier".to_owned(), "moved-this".to_owned()].into();
    by_this.are_there(&theirs, &mut names).await;
    by_this.are_there(&ours, &mut names).await;
    by_this.are_all(&names).await;
    let events = by_this.events().await;
    assert_eq!(events.len(), theirs.len() + ours.len() + moved, "an event for each change");
    receiver.until_taken("/hook", &events).await;
    assert_eq!(receiver.books().len(), events.len());
    // At least once: earlier builds may have faults that were mended since.
    let twice = receiver.books().values().filter(|entry| entry.answers != [204]).count();
    eprintln!("{} events by two builds, {twice} of them sent more than once", events.len());
    assert_eq!(node.stop(), Some(0));
    let audit = place.run(&["verify-audit"]);
    assert!(audit.status.success(), "{}", stderr(&audit));
}

/// Makes a customer active by way of one node, and moves it by way of both, each of which knows what the other has answered. How many
/// changes that were.
async fn to_and_fro(caller: &Caller, other: &Caller) -> usize {
    let id = caller.active(&format!("moved-{}", caller.name())).await;
    for moves in 0..MOVES {
        let (by, then) = if moves % 2 == 0 { (caller, other) } else { (other, caller) };
        let moved = by.move_once(id, 4, moves).await;
        assert_eq!(then.move_once(id, 4, moves).await.body, moved.body);
    }
    4 + MOVES as usize
}
