//! A look into the store: what is due and in nobody's hands.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::Share;
use super::hands::Hands;
use crate::domain::Timestamp;
use crate::store::deliveries::{self, Claim, Due, Wanted, mark};
use crate::store::{Error, Reader};

/// When and for whom it is taken.
pub(super) struct Look<'a> {
    pub(super) node: Uuid,
    pub(super) hands: &'a Hands,
    pub(super) now: Timestamp,
    /// On the clock's monotonic time.
    pub(super) began: Duration,
}

/// What to look for of one subscription.
pub(super) struct Asked {
    pub(super) webhook_id: Uuid,
    pub(super) fifo: bool,
    /// Nothing is due before.
    pub(super) since: Timestamp,
    /// How many at the most.
    pub(super) count: usize,
}

/// What to look for, where nothing is due before `since`.
pub(super) fn asked(shares: &[Share], since: Timestamp) -> Vec<Asked> {
    let asked = |share: &Share| {
        let it = &share.to.ready.subscription;
        // As `ready` has it: much may have waited while it was disabled.
        let since =
            if it.disabled_reason.is_none() && share.to.ready.changed_at < since { since } else { Timestamp::EPOCH };
        Asked { webhook_id: it.id, fifo: it.settings.fifo, since, count: share.count }
    };
    shares.iter().filter(|share| share.count > 0).map(asked).collect()
}

/// What it found of one subscription.
pub(super) struct Found {
    pub(super) webhook_id: Uuid,
    /// The longest due first.
    pub(super) due: Vec<Due>,
    /// Where it ended, if there was more.
    pub(super) end: Option<(Timestamp, Uuid)>,
    /// What other nodes had before the look, in the order of the nodes.
    pub(super) others: Vec<Claim>,
    count: usize,
    /// What others have in hand and may keep.
    theirs: HashSet<u64>,
    /// How many may be seen, and how many were.
    limit: usize,
    seen: usize,
}

impl Look<'_> {
    /// In the order in which it was asked.
    pub(super) async fn find(&self, reader: &mut Reader, asked: &[Asked]) -> Result<Vec<Found>, Error> {
        self.hands.look();
        let ids: Vec<_> = asked.iter().map(|asked| asked.webhook_id).collect();
        // Before what is due: what they settle in between is still in their hands then.
        let mut claims = deliveries::claims(reader, &ids).await?;
        claims.retain(|claim| claim.node != self.node);
        claims.sort_unstable_by_key(|claim| claim.node);
        let (mut found, wanted): (Vec<_>, Vec<_>) = asked.iter().map(|asked| self.part(asked, &claims)).unzip();
        let index: HashMap<_, _> = ids.into_iter().zip(0..).collect();
        for due in deliveries::due(reader, &wanted, self.now).await? {
            let found: Option<&mut Found> = index.get(&due.webhook_id).and_then(|&index: &usize| found.get_mut(index));
            if let Some(found) = found {
                found.see(due, self.hands);
            }
        }
        for (found, wanted) in found.iter_mut().zip(&wanted) {
            // Where order is kept, what was passed over may be free to go soon.
            let more = found.due.len() == found.count && found.seen == found.limit && !wanted.fifo;
            found.end = found.due.last().filter(|_| more).map(|due| (due.next_attempt_at, due.event_id));
        }
        Ok(found)
    }

    fn part(&self, asked: &Asked, claims: &[Claim]) -> (Found, Wanted) {
        let &Asked { webhook_id, fifo, since, count } = asked;
        let others: Vec<_> = claims.iter().filter(|claim| claim.webhook_id == webhook_id).cloned().collect();
        let live = others.iter().filter(|claim| claim.until > self.now);
        let theirs: HashSet<_> = live.flat_map(|claim| claim.events.iter().copied()).collect();
        let part = self.hands.part(webhook_id, self.began);
        let limit = count + part.held + theirs.len();
        let after = part.after.unwrap_or((since, Uuid::nil()));
        let wanted = Wanted { webhook_id, fifo, after, limit: i64::try_from(limit).unwrap_or(i64::MAX) };
        (Found { webhook_id, due: Vec::new(), end: None, others, count, theirs, limit, seen: 0 }, wanted)
    }
}

impl Found {
    fn see(&mut self, due: Due, hands: &Hands) {
        self.seen += 1;
        let held = self.theirs.contains(&mark(due.event_id)) || hands.has(due.webhook_id, due.event_id);
        if !held && self.due.len() < self.count {
            self.due.push(due);
        }
    }
}
