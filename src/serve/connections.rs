//! Which connections a listener has open, and which of them gives way when there are as many as may be.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::{Activity, Rank};
use super::unread::Unread;
use super::{Clients, Limits};
use crate::clock::Clock;
use crate::domain::client::ClientKey;

/// The open connections of a listener.
pub(super) struct Connections {
    limit: usize,
    /// Of one client, unless it stands for many.
    client_limit: usize,
    stall_timeout: Duration,
    clients: Clients,
    unread: Arc<Unread>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Entry>,
    /// Those that count: all that are to stay.
    staying: usize,
    of_clients: HashMap<ClientKey, usize>,
}

struct Entry {
    client: ClientKey,
    activity: Arc<Activity>,
    fate: Fate,
    end: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It is to end, unless it has got work meanwhile.
    GivesWay,
    /// It is to end whatever it does.
    Cut,
}

/// A connection that is open; it counts until this is dropped.
pub(super) struct Admitted {
    connections: Arc<Connections>,
    id: u64,
    end: Arc<Notify>,
    /// What it does.
    pub(super) activity: Arc<Activity>,
}

impl Connections {
    pub(super) fn new(limits: &Limits, clients: Clients) -> Arc<Self> {
        let (limit, client_limit) = (limits.connections, limits.share(limits.connections));
        let (stall_timeout, unread) = (limits.stall_timeout, Unread::new(limits.response_bytes));
        Arc::new(Self { limit, client_limit, stall_timeout, clients, unread, open: Mutex::default() })
    }

    /// Takes a connection in. At the limit one of a client that holds more gives way, at a client's own limit one of its own;
    /// where none may, `None`: the new one is refused.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, clock: &Clock) -> Option<Admitted> {
        // Behind a proxy all are the proxy's.
        let client = self.clients.at(peer);
        let (key, limited) = (client.key(), client.is_limited());
        let mut open = self.lock();
        loop {
            let among_own = limited && open.held_by(key) >= self.client_limit;
            if !among_own && open.staying < self.limit {
                break;
            }
            let id = open.least_active(key, among_own, self.stall_timeout)?;
            tracing::debug!(client = ?key, among_own, "too many connections: one gives way");
            open.decide(id, Fate::GivesWay);
        }
        let id = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::new(clock.clone(), Arc::clone(&self.unread)));
        let end = Arc::new(Notify::new());
        let (own, entrys) = (Arc::clone(&activity), Arc::clone(&end));
        open.all.insert(id, Entry { client: key, activity: own, fate: Fate::Stays, end: entrys });
        open.count(key);
        drop(open);
        Some(Admitted { connections: Arc::clone(self), id, end, activity })
    }

    /// Waits until there is more of responses in memory than may be.
    pub(super) async fn unread_exceeded(&self) {
        self.unread.exceeded().await;
    }

    /// Cuts the connections with most unread, of the clients with most, until what is left is within the limit.
    pub(super) fn cut_most_unread(&self) {
        let mut open = self.lock();
        loop {
            let mut of_clients: HashMap<ClientKey, i64> = HashMap::new();
            let staying = || open.all.iter().filter(|(_, entry)| entry.fate != Fate::Cut);
            for (_, entry) in staying() {
                *of_clients.entry(entry.client).or_default() += entry.activity.unread_bytes();
            }
            if !self.unread.is_exceeded_by(of_clients.values().sum()) {
                return;
            }
            let most =
                staying().max_by_key(|(_, entry)| (of_clients.get(&entry.client), entry.activity.unread_bytes()));
            let Some(id) = most.map(|(id, _)| *id) else { return };
            tracing::debug!("too much of responses is not read: the connection with most is cut");
            open.decide(id, Fate::Cut);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&mut self, client: ClientKey) {
        self.staying += 1;
        *self.of_clients.entry(client).or_default() += 1;
    }

    fn discount(&mut self, client: ClientKey) {
        self.staying -= 1;
        if let Some(count) = self.of_clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.of_clients.remove(&client);
            }
        }
    }

    fn held_by(&self, client: ClientKey) -> usize {
        self.of_clients.get(&client).copied().unwrap_or(0)
    }

    /// Tells a connection that it is to end; it does not count any more.
    fn decide(&mut self, id: u64, fate: Fate) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let (stayed, client) = (entry.fate == Fate::Stays, entry.client);
        entry.fate = fate;
        entry.end.notify_one();
        if stayed {
            self.discount(client);
        }
    }

    /// The connection that gives way to one of `newcomer`, and `among_own` only to its own: of the client that holds most, the
    /// one that was never used or has been idle for longest; one that waits for nothing but its peer where none is idle.
    /// Nobody gives way to a client that holds as much as itself, except that client.
    fn least_active(&self, newcomer: ClientKey, among_own: bool, stall_timeout: Duration) -> Option<u64> {
        let own = self.held_by(newcomer);
        let may = |client: ClientKey| client == newcomer || (!among_own && self.held_by(client) > own);
        let staying = self.all.iter().filter(|(_, entry)| entry.fate == Fate::Stays && may(entry.client));
        let ranked = staying.filter_map(|(id, entry)| Some((id, entry, entry.activity.rank(stall_timeout)?)));
        let order = |entry: &Entry, rank: Rank| (!rank.in_flight(), self.held_by(entry.client), Reverse(rank));
        ranked.max_by_key(|(id, entry, rank)| (order(entry, *rank), Reverse(**id))).map(|(id, ..)| *id)
    }
}

impl Admitted {
    /// Waits until it must end. One that was to give way and has got work just then stays, and counts again.
    pub(super) async fn must_end(&self) {
        loop {
            self.end.notified().await;
            let mut open = self.connections.lock();
            let Some(entry) = open.all.get_mut(&self.id) else { return };
            if entry.fate == Fate::Cut || self.activity.rank(self.connections.stall_timeout).is_some() {
                return;
            }
            entry.fate = Fate::Stays;
            let client = entry.client;
            open.count(client);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        if let Some(entry) = open.all.remove(&self.id)
            && entry.fate == Fate::Stays
        {
            open.discount(entry.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::domain::Timestamp;

    struct House {
        clock: Clock,
        connections: Arc<Connections>,
    }

    impl House {
        fn with(limit: usize) -> Self {
            Self::of(&Limits { connections: limit, client_share: 100, ..Limits::default() })
        }

        fn of(limits: &Limits) -> Self {
            let connections = Connections::new(limits, Clients::default());
            Self { clock: Clock::manual(Timestamp::EPOCH, 0), connections }
        }

        /// A connection from there, a second after the one before.
        fn admit(&self, peer: &str) -> Option<Admitted> {
            self.clock.advance(Duration::from_secs(1));
            self.connections.admit(peer.parse().unwrap(), &self.clock)
        }

        fn is_open(&self, connection: &Admitted) -> bool {
            self.connections.lock().all[&connection.id].fate == Fate::Stays
        }
    }

    #[test]
    fn the_client_that_holds_most_gives_way() {
        let house = House::with(4);
        let bystander = house.admit("192.0.2.1").unwrap();
        let greedy = [(); 3].map(|()| house.admit("192.0.2.9").unwrap());
        let other = house.admit("192.0.2.2").unwrap();
        assert!(house.is_open(&bystander) && house.is_open(&other), "the oldest, but of one that holds one");
        assert!(!house.is_open(&greedy[0]));
        // Its own newest pushes out its own oldest.
        let more = house.admit("192.0.2.9").unwrap();
        assert!(house.is_open(&bystander) && house.is_open(&other) && house.is_open(&more));
        assert!(!house.is_open(&greedy[1]));
    }

    #[test]
    fn a_request_in_flight_keeps_its_connection() {
        let house = House::with(3);
        let bystander = house.admit("192.0.2.1").unwrap();
        let busy = [(); 2].map(|()| house.admit("192.0.2.9").unwrap());
        busy[0].activity.request_begins();
        let next = house.admit("192.0.2.9").unwrap();
        assert!(house.is_open(&busy[0]) && !house.is_open(&busy[1]) && house.is_open(&next));
        next.activity.request_begins();
        assert!(house.admit("192.0.2.9").is_none(), "who holds most pushes out nobody else");
        assert!(house.is_open(&bystander));
        assert!(house.admit("192.0.2.2").is_some(), "one that holds none may take the place of an idle one");
        assert!(!house.is_open(&bystander));
    }

    #[test]
    fn used_connections_are_kept_longer_than_unused_ones() {
        let house = House::with(2);
        let used = house.admit("127.0.0.1").unwrap();
        used.activity.request_begins();
        used.activity.request_ends();
        let silent = house.admit("127.0.0.1").unwrap();
        let _new = house.admit("127.0.0.1").unwrap();
        assert!(house.is_open(&used) && !house.is_open(&silent));
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client() {
        let house = House::with(3);
        let _bystander = house.admit("192.0.2.1").unwrap();
        let greedy = house.admit("2001:db8::1").unwrap();
        let _more = house.admit("2001:db8::2").unwrap();
        assert!(house.admit("::ffff:192.0.2.2").is_some());
        assert!(!house.is_open(&greedy));
    }

    #[test]
    fn a_connection_that_ends_makes_room() {
        let house = House::with(1);
        let first = house.admit("192.0.2.1").unwrap();
        first.activity.request_begins();
        assert!(house.admit("192.0.2.2").is_none());
        drop(first);
        assert!(house.admit("192.0.2.2").is_some());
    }

    #[test]
    fn a_client_has_a_share() {
        let house = House::of(&Limits { connections: 8, client_share: 25, ..Limits::default() });
        let own = [(); 2].map(|()| house.admit("192.0.2.9").unwrap());
        own[1].activity.request_begins();
        let third = house.admit("192.0.2.9").unwrap();
        assert!(!house.is_open(&own[0]) && house.is_open(&own[1]), "its own idle one gives way");
        third.activity.request_begins();
        let other = house.admit("192.0.2.1").unwrap();
        assert!(house.admit("192.0.2.9").is_none() && house.is_open(&other), "nobody else's does");
        drop(third);
        assert!(house.admit("192.0.2.9").is_some());
        // Who may stand for many is not limited.
        let local: Vec<_> = (0..5).map(|_| house.admit("127.0.0.1").unwrap()).collect();
        assert!(local.iter().all(|connection| house.is_open(connection)));
    }

    #[test]
    fn what_waits_for_nothing_but_its_peer_gives_way_where_none_is_idle() {
        let house = House::with(3);
        let idle = house.admit("192.0.2.9").unwrap();
        let busy = [(); 2].map(|()| house.admit("192.0.2.9").unwrap());
        busy.iter().for_each(|connection| connection.activity.request_begins());
        let (_, watch) = busy[1].activity.response_begins(None, true);
        watch.asked(std::task::Waker::noop());
        let first = house.admit("192.0.2.1").unwrap();
        assert!(!house.is_open(&idle) && house.is_open(&busy[1]), "an idle one first");
        first.activity.request_begins();
        let second = house.admit("192.0.2.2").unwrap();
        second.activity.request_begins();
        assert!(house.is_open(&busy[0]) && !house.is_open(&busy[1]) && house.is_open(&first));
        assert!(house.admit("192.0.2.3").is_none(), "what is at work does not");
    }

    #[test]
    fn one_that_gets_work_while_it_is_to_give_way_stays_and_counts() {
        let house = House::with(1);
        let first = house.admit("127.0.0.1").unwrap();
        let second = house.admit("127.0.0.1").unwrap();
        first.activity.request_begins();
        assert!(first.must_end().now_or_never().is_none());
        second.activity.request_begins();
        assert!(house.is_open(&first) && house.is_open(&second), "there is one too many, and it is known");
        drop(second);
        assert!(house.admit("127.0.0.1").is_none(), "so the next is refused");
        first.activity.request_ends();
        assert!(house.admit("127.0.0.1").is_some());
        assert!(first.must_end().now_or_never().is_some());
    }

    #[test]
    fn who_does_not_read_most_is_cut_when_too_much_is_unread() {
        let house = House::of(&Limits { response_bytes: 100, ..Limits::default() });
        let unread = |peer: &str, bytes: usize| {
            let connection = house.admit(peer).unwrap();
            connection.activity.request_begins();
            let response = connection.activity.response_begins(Some(bytes), false);
            (connection, response)
        };
        let one = unread("192.0.2.1", 60);
        let greedy = [30, 10].map(|bytes| unread("192.0.2.9", bytes));
        assert!(house.connections.unread_exceeded().now_or_never().is_none(), "as much as may be");
        let more = unread("192.0.2.9", 25);
        assert!(house.connections.unread_exceeded().now_or_never().is_some());
        house.connections.cut_most_unread();
        let cut = |(connection, _): &(Admitted, _)| connection.must_end().now_or_never().is_some();
        assert!(cut(&greedy[0]), "the heaviest of the client that holds most");
        assert!(!cut(&one) && !cut(&greedy[1]) && !cut(&more));
    }
}
