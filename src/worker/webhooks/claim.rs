//! The transaction that claims: under a lock on each subscription, so that two nodes do not take the same.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::Timestamp;
use crate::store::deliveries::{self, Claim, mark};
use crate::store::{Change, Error, Tx};

/// How long a claim counts: an attempt, and time to write it down.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// How long one that is over is kept after that: a node that stood still may write down late what it had in hand.
const KEPT: Duration = Duration::from_hours(1);

/// A claim of deliveries that were found.
pub(super) struct Take {
    pub(super) node: Uuid,
    pub(super) now: Timestamp,
    pub(super) wants: Vec<Want>,
}

/// Of one subscription.
pub(super) struct Want {
    pub(super) webhook_id: Uuid,
    /// What this node has in hand of it already.
    pub(super) in_hand: Vec<Uuid>,
    /// What was found that nobody had in hand.
    pub(super) found: Vec<Uuid>,
    /// What others had, as it was before the look, in the order of the nodes.
    pub(super) others: Vec<Claim>,
}

/// What was claimed of one subscription.
pub(super) struct Taken {
    pub(super) webhook_id: Uuid,
    pub(super) until: Timestamp,
    pub(super) events: HashSet<Uuid>,
    /// Those among them that were taken over: they fell due anew, now.
    pub(super) over: HashSet<Uuid>,
}

impl Change for Take {
    type Out = Vec<Taken>;
    type Error = Error;

    // Lost in a crash of the database it is as if its time were over: what it took is sent again.
    const DURABLE: bool = false;

    async fn apply(&self, tx: &mut Tx) -> Result<Self::Out, Error> {
        let ids: Vec<_> = self.wants.iter().map(|want| want.webhook_id).collect();
        let locked = deliveries::lock(tx, &ids).await?;
        let mut claims = deliveries::claims(tx, &locked).await?;
        claims.sort_unstable_by_key(|claim| claim.node);
        let (mut taken, mut doubts) = (Vec::new(), Doubts::default());
        for want in self.wants.iter().filter(|want| locked.contains(&want.webhook_id)) {
            let of_others = |claim: &&Claim| claim.webhook_id == want.webhook_id && claim.node != self.node;
            let others: Vec<_> = claims.iter().filter(of_others).collect();
            let events = doubts.of(want, &others, self.now);
            taken.push(Taken { webhook_id: want.webhook_id, until: self.now + LEASE, events, over: HashSet::new() });
        }
        let Resolved { gone, over } = doubts.resolve(tx, self.now).await?;
        for it in &mut taken {
            it.events.retain(|event| !gone.contains(&(it.webhook_id, *event)));
            it.over = it.events.iter().filter(|event| over.contains(&(it.webhook_id, **event))).copied().collect();
        }
        let mut claims: Vec<_> = taken.iter().map(|it| self.claim(it)).collect();
        // Two nodes lock rows in the same order.
        claims.sort_unstable_by_key(|claim| claim.webhook_id);
        deliveries::claim(tx, &claims).await?;
        Ok(taken)
    }
}

impl Take {
    /// All that this node has in hand of a subscription then.
    fn claim(&self, taken: &Taken) -> Claim {
        let before =
            self.wants.iter().filter(|want| want.webhook_id == taken.webhook_id).flat_map(|want| &want.in_hand);
        let events = taken.events.iter().chain(before).map(|event| mark(*event)).collect();
        Claim { webhook_id: taken.webhook_id, node: self.node, until: taken.until, events }
    }
}

/// What was found, but may not be as it was found.
#[derive(Default)]
struct Doubts {
    /// Somebody else may have claimed and settled it since.
    settled: Vec<(Uuid, Uuid)>,
    /// Somebody has had it in hand for too long, and may just be writing down what came of it.
    held: Vec<(Uuid, Uuid)>,
    /// Claims that were over long ago: subscription and node.
    old: Vec<(Uuid, Uuid)>,
}

impl Doubts {
    /// What others do not have in hand now.
    fn of(&mut self, want: &Want, others: &[&Claim], now: Timestamp) -> HashSet<Uuid> {
        let (live, over): (Vec<&Claim>, Vec<&Claim>) = others.iter().partition(|claim| claim.until > now);
        let marks = |claims: &[&Claim]| -> HashSet<u64> {
            claims.iter().flat_map(|claim| claim.events.iter().copied()).collect()
        };
        let (theirs, held) = (marks(&live), marks(&over));
        let found: HashSet<_> = want.found.iter().copied().filter(|event| !theirs.contains(&mark(*event))).collect();
        let changed = !others.iter().copied().eq(&want.others);
        for &event in &found {
            let doubts = match held.contains(&mark(event)) {
                true => &mut self.held,
                false if changed => &mut self.settled,
                false => continue,
            };
            doubts.push((want.webhook_id, event));
        }
        let old = over.into_iter().filter(|claim| claim.until + KEPT <= now);
        self.old.extend(old.map(|claim| (claim.webhook_id, claim.node)));
        found
    }

    async fn resolve(self, tx: &mut Tx, now: Timestamp) -> Result<Resolved, Error> {
        let pending: HashSet<_> = deliveries::pending(tx, &self.settled).await?.into_iter().collect();
        let over: HashSet<_> = deliveries::take_over(tx, &self.held, now).await?.into_iter().collect();
        if !self.old.is_empty() {
            deliveries::end(tx, &self.old).await?;
        }
        let found = self.settled.into_iter().chain(self.held);
        Ok(Resolved { gone: found.filter(|it| !pending.contains(it) && !over.contains(it)).collect(), over })
    }
}

/// What became of doubts: subscription and event of each delivery.
struct Resolved {
    /// Not to be sent.
    gone: HashSet<(Uuid, Uuid)>,
    /// Taken over.
    over: HashSet<(Uuid, Uuid)>,
}

/// The end of claims: subscription and node of each.
pub(super) struct End(pub(super) Vec<(Uuid, Uuid)>);

impl Change for End {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        deliveries::end(tx, &self.0).await
    }
}
