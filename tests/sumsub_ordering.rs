//! Forged, replayed and reordered callbacks: whatever arrives in whatever order, a customer ends where the newest
//! authentic decision says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/sumsub.rs"]
mod sumsub;

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::HeaderMap;
use customerd::domain::kyc::{Callback, KycState, KycStatus, Outcome};
use customerd::kyc::{KycProvider, Sumsub, SumsubConfig};
use proptest::prelude::*;
use serde_json::{Value, json};
use sumsub::{LEVEL, Signed, WEBHOOK_SECRET, event, reviewed};
use url::Url;
use uuid::Uuid;

const CUSTOMER: Uuid = Uuid::from_u128(7);

static PROVIDER: LazyLock<Sumsub> = LazyLock::new(|| {
    Sumsub::new(SumsubConfig {
        base: Url::parse(Sumsub::BASE).unwrap(),
        app_token: "token".into(),
        secret: "secret".into(),
        webhook_secret: WEBHOOK_SECRET.into(),
        level: LEVEL.into(),
        link_ttl: Duration::from_secs(1800),
        deadline: Duration::from_secs(10),
    })
    .unwrap()
});

/// Something Sumsub decided: what, and in which millisecond.
#[derive(Debug, Clone)]
struct Made {
    what: usize,
    at_ms: u32,
}

impl Made {
    fn body(&self) -> Value {
        match self.what {
            0 => event("applicantCreated", CUSTOMER, self.at_ms),
            1 => event("applicantPending", CUSTOMER, self.at_ms),
            2 => reviewed(
                CUSTOMER,
                self.at_ms,
                json!({"reviewAnswer": "RED", "reviewRejectType": "RETRY", "rejectLabels": ["SCREENSHOTS"]}),
            ),
            3 => reviewed(CUSTOMER, self.at_ms, json!({"reviewAnswer": "GREEN"})),
            _ => reviewed(CUSTOMER, self.at_ms, json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL"})),
        }
    }

    /// What it comes to, by its place in this list; the same list is the precedence within a millisecond.
    fn status(&self) -> KycStatus {
        [
            KycStatus::InProgress,
            KycStatus::InReview,
            KycStatus::NeedsInformation,
            KycStatus::Approved,
            KycStatus::Rejected,
        ][self.what]
    }

    fn order(&self) -> (u32, usize) {
        (self.at_ms, self.what)
    }
}

/// What arrives at the door.
#[derive(Debug, Clone)]
enum Arrival {
    /// The decision of that index, signed: the first, or another delivery of it.
    Authentic(usize),
    /// A decision that Sumsub never made, under a guessed secret.
    Guessed(Made),
    /// The headers of one decision with the body of another.
    Swapped(usize, Made),
    /// Signed with the right secret, declared as SHA-1.
    Downgraded(Made),
}

fn made(kinds: std::ops::Range<usize>) -> impl Strategy<Value = Made> {
    // Few milliseconds, so that ties are common.
    (kinds, 0_u32..6).prop_map(|(what, at_ms)| Made { what, at_ms })
}

fn arrival(count: usize) -> impl Strategy<Value = Arrival> {
    prop_oneof![
        3 => (0..count).prop_map(Arrival::Authentic),
        1 => made(0..5).prop_map(Arrival::Guessed),
        1 => (0..count, made(0..5)).prop_map(|(index, made)| Arrival::Swapped(index, made)),
        1 => made(0..5).prop_map(Arrival::Downgraded),
    ]
}

/// Decisions, and arrivals in which each is delivered at least once.
fn sequence() -> impl Strategy<Value = (Vec<Made>, Vec<Arrival>)> {
    proptest::collection::vec(made(0..5), 1..8).prop_flat_map(|decisions| {
        let count = decisions.len();
        let all: Vec<Arrival> = (0..count).map(Arrival::Authentic).collect();
        let arrivals = proptest::collection::vec(arrival(count), 0..12)
            .prop_map(move |more| [all.clone(), more].concat())
            .prop_shuffle();
        (Just(decisions), arrivals)
    })
}

fn receive(decisions: &[Made], arrival: &Arrival) -> Option<Callback> {
    let signed = match arrival {
        Arrival::Authentic(index) => Signed::new(&decisions[*index].body()),
        Arrival::Guessed(made) => Signed::with("guessed", &made.body()),
        Arrival::Swapped(index, made) => {
            let headers = Signed::new(&decisions[*index].body()).headers;
            Signed { headers, body: serde_json::to_vec(&made.body()).unwrap() }
        }
        Arrival::Downgraded(made) => downgraded(Signed::new(&made.body())),
    };
    PROVIDER.parse_callback(&signed.headers, &signed.body).ok().flatten()
}

fn downgraded(mut signed: Signed) -> Signed {
    let headers: &mut HeaderMap = &mut signed.headers;
    headers.insert("x-payload-digest-alg", "HMAC_SHA1_HEX".parse().unwrap());
    signed
}

fn run(decisions: &[Made], arrivals: &[Arrival]) -> KycState {
    arrivals.iter().filter_map(|arrival| receive(decisions, arrival)).fold(KycState::default(), |state, callback| {
        match state.apply(&callback) {
            Outcome::Changed(next) => next,
            Outcome::Ignored(_) => state,
        }
    })
}

/// A swapped body is authentic after all when it says the same as the one whose headers it took.
fn authentic<'a>(decisions: &'a [Made], arrivals: &[Arrival]) -> Vec<&'a Made> {
    let index = |arrival: &Arrival| match arrival {
        Arrival::Authentic(index) => Some(*index),
        Arrival::Swapped(index, made) if made.body() == decisions[*index].body() => Some(*index),
        _ => None,
    };
    arrivals.iter().filter_map(index).map(|index| &decisions[index]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The newest authentic decision is in force; a final rejection stands from when it was in force.
    #[test]
    fn the_newest_authentic_decision_is_in_force((decisions, arrivals) in sequence()) {
        let mut newest: Option<&Made> = None;
        for made in authentic(&decisions, &arrivals) {
            let rejected = newest.is_some_and(|newest| newest.status() == KycStatus::Rejected);
            if !rejected && newest.is_none_or(|newest| made.order() > newest.order()) {
                newest = Some(made);
            }
        }
        let state = run(&decisions, &arrivals);
        prop_assert_eq!(state.status, newest.unwrap().status());
    }

    /// While nobody is rejected for good, or the rejection is the last word, the order of arrival does not matter.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (mut decisions, arrivals) in sequence(),
        last in proptest::option::of(Just(())),
    ) {
        for made in &mut decisions {
            made.what = made.what.min(3);
        }
        if last.is_some() {
            decisions[0] = Made { what: 4, at_ms: 6 };
        }
        let mut in_order: Vec<usize> = (0..decisions.len()).collect();
        in_order.sort_by_key(|index| decisions[*index].order());
        let in_order: Vec<Arrival> = in_order.into_iter().map(Arrival::Authentic).collect();
        prop_assert_eq!(run(&decisions, &arrivals), run(&decisions, &in_order));
        let newest = decisions.iter().max_by_key(|made| made.order()).unwrap();
        prop_assert_eq!(run(&decisions, &arrivals).status, newest.status());
    }
}
