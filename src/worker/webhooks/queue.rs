//! What one subscription has to send: scanned, in flight, and not yet recorded.

use std::collections::{HashMap, HashSet, VecDeque};

use uuid::Uuid;

use crate::domain::Timestamp;
use crate::store::deliveries::Due;

/// Before everything that is due.
pub(super) const START: (Timestamp, Uuid) = (Timestamp::EPOCH, Uuid::nil());

/// The deliveries of one subscription that its owner knows of.
pub(super) struct Queue {
    fifo: bool,
    /// May be sent now.
    ready: VecDeque<Due>,
    /// Everything that is ready, behind another of its entity, in flight, or sent and not recorded: still pending in the store.
    held: HashSet<Uuid>,
    /// Where order is kept: entities of which one is ready or in flight.
    entities: HashMap<Uuid, Entity>,
    /// Entities of which something was passed over, because what comes before it was not known: it is behind the end of the last scan.
    passed_over: HashSet<Uuid>,
    /// What has ended since the current scan began, which may have read it as it was before.
    ended: HashSet<Uuid>,
    /// Where the last scan ended.
    end: (Timestamp, Uuid),
}

/// What waits until the delivery of its entity before it has ended.
struct Entity {
    /// The place of the last one.
    last: i64,
    waiting: VecDeque<Due>,
}

/// What is remembered of a delivery in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) event_id: Uuid,
    pub(super) entity_id: Uuid,
}

impl From<&Due> for Key {
    fn from(due: &Due) -> Self {
        Self { event_id: due.delivery.event_id, entity_id: due.entity_id }
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            fifo: false,
            ready: VecDeque::new(),
            held: HashSet::new(),
            entities: HashMap::new(),
            passed_over: HashSet::new(),
            ended: HashSet::new(),
            end: START,
        }
    }

    /// How many may be sent now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many are known and pending in the store.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// After what to scan for more.
    pub(super) const fn end(&self) -> (Timestamp, Uuid) {
        self.end
    }

    /// Notes that a scan begins: only one does at a time.
    pub(super) fn begin_scan(&mut self) {
        self.ended.clear();
    }

    /// Adds what a scan gave, in the order of time. How many of it are new.
    pub(super) fn add(&mut self, mut scanned: Vec<Due>, fifo: bool) -> usize {
        self.fifo = fifo;
        if let Some(Due { delivery, .. }) = scanned.last() {
            self.end = (delivery.next_attempt_at.unwrap_or(delivery.due_since), delivery.event_id);
        }
        scanned.retain(|due| !self.ended.contains(&due.delivery.event_id));
        let before = self.held.len();
        if !fifo {
            for due in scanned {
                if self.held.insert(due.delivery.event_id) {
                    self.ready.push_back(due);
                }
            }
            return self.held.len() - before;
        }
        // Each behind its predecessor, even if that was tried before and fell due later.
        scanned.sort_by_key(|due| due.version);
        for due in scanned {
            if !self.held.contains(&due.delivery.event_id) {
                self.add_in_order(due);
            }
        }
        self.held.len() - before
    }

    fn add_in_order(&mut self, due: Due) {
        let (event_id, entity_id, version) = (due.delivery.event_id, due.entity_id, due.version);
        match (self.entities.get_mut(&entity_id), due.predecessor) {
            (None, None) => {
                self.entities.insert(entity_id, Entity { last: version, waiting: VecDeque::new() });
                self.ready.push_back(due);
            }
            // One without a predecessor comes after some that have just been recorded.
            (Some(entity), predecessor) if entity.last < version && predecessor.is_none_or(|it| it == entity.last) => {
                entity.last = version;
                entity.waiting.push_back(due);
            }
            _ => {
                self.passed_over.insert(entity_id);
                return;
            }
        }
        self.held.insert(event_id);
    }

    /// The next one to be sent; it stays held until it has [ended](Self::end_of).
    pub(super) fn next(&mut self) -> Option<Due> {
        self.ready.pop_front()
    }

    /// Notes that one in flight is recorded, or will not be. Where it is still pending, nothing of its entity may overtake it. Whether
    /// something was passed over because of it, so that a scan from the start is worth while.
    pub(super) fn end_of(&mut self, key: Key, is_pending: bool) -> bool {
        self.held.remove(&key.event_id);
        self.ended.insert(key.event_id);
        let Some(entity) = self.entities.get_mut(&key.entity_id).filter(|_| self.fifo) else { return false };
        if !is_pending && let Some(next) = entity.waiting.pop_front() {
            self.ready.push_back(next);
            return false;
        }
        for due in self.entities.remove(&key.entity_id).into_iter().flat_map(|entity| entity.waiting) {
            self.held.remove(&due.delivery.event_id);
        }
        self.passed_over.remove(&key.entity_id) && !is_pending
    }

    /// Forgets what is not in flight: another scan finds it again.
    pub(super) fn forget(&mut self) {
        for due in self.ready.drain(..) {
            self.held.remove(&due.delivery.event_id);
            if let Some(entity) = self.entities.remove(&due.entity_id) {
                for due in entity.waiting {
                    self.held.remove(&due.delivery.event_id);
                }
            }
        }
        for entity in self.entities.values_mut() {
            for due in entity.waiting.drain(..) {
                self.held.remove(&due.delivery.event_id);
                self.passed_over.insert(due.entity_id);
            }
            // Whatever comes next of it does so by a scan after this one has ended.
            entity.last = i64::MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{Delivery, DeliveryStatus};
    use crate::domain::webhook::WebhookType;

    /// Of an entity, at a place in its order, due at that time.
    fn due(entity: u128, version: i64, at: i64, predecessor: Option<i64>) -> Due {
        let event_id = Uuid::from_u128(entity * 1000 + u128::from(version.unsigned_abs()));
        let delivery = Delivery {
            id: event_id,
            subscription_id: Uuid::nil(),
            event_id,
            webhook_type: WebhookType::CustomerUpdated,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            tries: 0,
            due_since: Timestamp(at),
            next_attempt_at: Some(Timestamp(at)),
        };
        let (body, traceparent, request_id) = (bytes::Bytes::new(), None, None);
        Due { delivery, entity_id: Uuid::from_u128(entity), version, predecessor, body, traceparent, request_id }
    }

    fn next(queue: &mut Queue) -> Option<(u128, i64)> {
        queue.next().map(|due| (due.entity_id.as_u128(), due.version))
    }

    fn scan(queue: &mut Queue, scanned: Vec<Due>, fifo: bool) -> usize {
        queue.begin_scan();
        queue.add(scanned, fifo)
    }

    fn key(entity: u128, version: i64) -> Key {
        Key::from(&due(entity, version, 0, None))
    }

    #[test]
    fn without_order_everything_is_ready_once() {
        let mut queue = Queue::new();
        assert_eq!(scan(&mut queue, vec![due(1, 1, 10, None), due(1, 2, 11, None)], false), 2);
        assert_eq!(queue.end(), (Timestamp(11), Uuid::from_u128(1002)));
        assert_eq!([next(&mut queue), next(&mut queue), next(&mut queue)], [Some((1, 1)), Some((1, 2)), None]);
        assert_eq!(scan(&mut queue, vec![due(1, 1, 10, None)], false), 0, "in flight");
        queue.end_of(key(1, 1), true);
        assert_eq!((queue.held(), scan(&mut queue, vec![due(1, 1, 12, None)], false)), (1, 1));
    }

    #[test]
    fn what_ended_while_it_was_scanned_for_is_not_sent_again() {
        for fifo in [false, true] {
            let mut queue = Queue::new();
            scan(&mut queue, vec![due(1, 1, 10, None), due(2, 1, 11, None), due(3, 1, 12, None)], fifo);
            assert_eq!([next(&mut queue), next(&mut queue)], [Some((1, 1)), Some((2, 1))]);
            queue.begin_scan();
            // One is delivered, the other is to be tried again later; the scan read both as they were before.
            queue.end_of(key(1, 1), false);
            queue.end_of(key(2, 1), true);
            let scanned = vec![due(1, 1, 10, None), due(2, 1, 11, None), due(3, 1, 12, None), due(4, 1, 13, None)];
            assert_eq!(queue.add(scanned, fifo), 1);
            assert_eq!([next(&mut queue), next(&mut queue), next(&mut queue)], [Some((3, 1)), Some((4, 1)), None]);
            // The next scan reads what is.
            assert_eq!(scan(&mut queue, vec![due(2, 1, 20, None)], fifo), 1);
        }
    }

    #[test]
    fn each_of_an_entity_waits_for_the_one_before() {
        let mut queue = Queue::new();
        // The first was tried before, and fell due again last.
        let scanned = vec![due(1, 2, 10, Some(1)), due(1, 3, 11, Some(2)), due(2, 1, 12, None), due(1, 1, 13, None)];
        assert_eq!(scan(&mut queue, scanned, true), 4);
        let mut both = [next(&mut queue), next(&mut queue)];
        both.sort_unstable();
        assert_eq!((both, next(&mut queue)), ([Some((1, 1)), Some((2, 1))], None));
        assert!(!queue.end_of(key(1, 1), false));
        assert_eq!((next(&mut queue), next(&mut queue)), (Some((1, 2)), None));
        // It is tried again later: the third must not overtake it.
        queue.end_of(key(1, 2), true);
        assert_eq!((next(&mut queue), queue.held()), (None, 1));
    }

    #[test]
    fn what_was_passed_over_is_scanned_for_again() {
        let mut queue = Queue::new();
        scan(&mut queue, vec![due(1, 2, 10, Some(1))], true);
        assert_eq!(next(&mut queue), None);
        scan(&mut queue, vec![due(1, 1, 13, None)], true);
        assert_eq!(next(&mut queue), Some((1, 1)));
        assert!(queue.end_of(key(1, 1), false));
        scan(&mut queue, vec![due(1, 2, 10, None)], true);
        assert_eq!(next(&mut queue), Some((1, 2)));
    }

    #[test]
    fn what_is_forgotten_keeps_its_order() {
        let mut queue = Queue::new();
        scan(
            &mut queue,
            vec![due(1, 1, 10, None), due(1, 2, 11, Some(1)), due(2, 1, 12, None), due(2, 2, 13, Some(1))],
            true,
        );
        assert_eq!(next(&mut queue), Some((1, 1)));
        queue.forget();
        assert_eq!((next(&mut queue), queue.held()), (None, 1));
        scan(&mut queue, vec![due(1, 2, 11, Some(1)), due(2, 1, 12, None), due(2, 2, 13, Some(1))], true);
        assert_eq!((next(&mut queue), next(&mut queue)), (Some((2, 1)), None));
        assert!(queue.end_of(key(1, 1), false), "the second is scanned for again");
    }
}
