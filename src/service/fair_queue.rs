//! A bounded queue that is shared fairly: by client, and within a client by API key.

use std::collections::VecDeque;

use uuid::Uuid;

use super::client::Client;

/// Whose turn something waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Applicant {
    pub(super) client: Client,
    pub(super) api_key: Uuid,
}

/// Clients take turns, and so do the API keys of one client: however much one of them sends, every other waits for one item
/// of each at most.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    limit: usize,
    length: usize,
    /// The one whose turn is next first. None of them is empty. Short enough to be searched from end to end.
    clients: VecDeque<Share<T>>,
}

#[derive(Debug)]
struct Share<T> {
    client: Client,
    length: usize,
    keys: VecDeque<(Uuid, VecDeque<T>)>,
}

impl<T> FairQueue<T> {
    /// A queue of at most `limit` items.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, length: 0, clients: VecDeque::new() }
    }

    /// Adds an item. When the queue is full, the applicant with most items gives way: its newest item is dropped, or, where
    /// that is the new item, `false` is returned and nothing is added.
    pub(super) fn push(&mut self, who: Applicant, item: T) -> bool {
        if self.length >= self.limit && !self.make_room(&who) {
            return false;
        }
        self.length += 1;
        let Applicant { client, api_key } = who;
        if !self.clients.iter().any(|share| share.client == client) {
            self.clients.push_back(Share { client, length: 0, keys: VecDeque::new() });
        }
        if let Some(share) = self.clients.iter_mut().find(|share| share.client == client) {
            share.push(api_key, item);
        }
        true
    }

    /// The next item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let mut share = self.clients.pop_front()?;
        let item = share.pop()?;
        self.length -= 1;
        if share.length > 0 {
            self.clients.push_back(share);
        }
        Some(item)
    }

    /// Drops every item that is not `wanted` any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        for share in &mut self.clients {
            for (_, items) in &mut share.keys {
                items.retain(&wanted);
            }
            share.keys.retain(|(_, items)| !items.is_empty());
            share.length = share.keys.iter().map(|(_, items)| items.len()).sum();
        }
        self.clients.retain(|share| share.length > 0);
        self.length = self.clients.iter().map(|share| share.length).sum();
    }

    /// Drops the newest item of the client and key that have most, unless `who` would have as many with one more.
    fn make_room(&mut self, who: &Applicant) -> bool {
        let own = self.clients.iter().find(|share| share.client == who.client).map_or(0, |share| share.length) + 1;
        let Some(largest) = self.clients.iter_mut().max_by_key(|share| share.length) else { return false };
        if largest.client == who.client {
            let own = largest.keys.iter().find(|(key, _)| *key == who.api_key).map_or(0, |(_, items)| items.len()) + 1;
            if largest.keys.iter().all(|(_, items)| items.len() <= own) {
                return false;
            }
        } else if largest.length <= own {
            return false;
        }
        largest.drop_newest();
        self.length -= 1;
        true
    }
}

impl<T> Share<T> {
    fn push(&mut self, api_key: Uuid, item: T) {
        self.length += 1;
        match self.keys.iter_mut().find(|(key, _)| *key == api_key) {
            Some((_, items)) => items.push_back(item),
            None => self.keys.push_back((api_key, VecDeque::from([item]))),
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (key, mut items) = self.keys.pop_front()?;
        let item = items.pop_front();
        if !items.is_empty() {
            self.keys.push_back((key, items));
        }
        self.length -= usize::from(item.is_some());
        item
    }

    /// Called where some key has two items at least, or where the client does not lose its last one.
    fn drop_newest(&mut self) {
        // The last of those that have most: it has waited the least.
        let Some(index) = (0..self.keys.len()).max_by_key(|&index| self.keys[index].1.len()) else { return };
        self.length -= usize::from(self.keys[index].1.pop_back().is_some());
        if self.keys[index].1.is_empty() {
            self.keys.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: u8 = 1;
    const OTHER: u8 = 2;

    fn of(client: u8, api_key: u128) -> Applicant {
        Applicant { client: Client::numbered(client), api_key: Uuid::from_u128(api_key) }
    }

    fn all(queue: &mut FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_so_do_their_keys() {
        let mut queue = FairQueue::new(100);
        for item in 0..4 {
            assert!(queue.push(of(FLOOD, 1), item));
        }
        assert!(queue.push(of(FLOOD, 2), 10));
        assert!(queue.push(of(OTHER, 1), 20));
        assert_eq!(all(&mut queue), [0, 20, 10, 1, 2, 3]);
        assert!(queue.push(of(FLOOD, 1), 5));
        assert_eq!(all(&mut queue), [5]);
    }

    #[test]
    fn the_applicant_with_most_gives_way() {
        let mut queue = FairQueue::new(4);
        for item in 0..4 {
            assert!(queue.push(of(FLOOD, 1), item));
        }
        assert!(!queue.push(of(FLOOD, 1), 4), "its own");
        assert!(queue.push(of(FLOOD, 2), 10), "another key of the same client");
        assert!(queue.push(of(OTHER, 3), 20));
        assert!(queue.push(of(FLOOD, 4), 11), "and another");
        assert!(!queue.push(of(FLOOD, 5), 12), "no key of the client has more");
        assert_eq!(all(&mut queue), [0, 20, 10, 11]);
    }

    #[test]
    fn a_flood_of_keys_does_not_keep_others_out() {
        let mut queue = FairQueue::new(10);
        for key in 0..10 {
            assert!(queue.push(of(FLOOD, key), 0));
        }
        for client in 2..6 {
            assert!(queue.push(of(client, 99), 1), "{client}");
        }
        assert_eq!(all(&mut queue).into_iter().sum::<u32>(), 4);
    }

    #[test]
    fn an_applicant_that_has_gone_takes_no_slot() {
        let mut queue = FairQueue::new(3);
        for item in 0..3 {
            assert!(queue.push(of(FLOOD, item), item as u32));
        }
        queue.retain(|item| *item == 1);
        assert!(queue.push(of(FLOOD, 7), 7) && queue.push(of(OTHER, 7), 8) && !queue.push(of(FLOOD, 8), 9));
        assert_eq!(all(&mut queue), [1, 8, 7]);
    }
}
