//! Which connections a listener has open, and which of them gives way when there are as many as may be.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::activity::Activity;
use super::client::{ClientKey, Clients};
use crate::clock::Clock;

/// The open connections of a listener.
pub(super) struct Connections {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Entry>,
}

struct Entry {
    client: ClientKey,
    activity: Arc<Activity>,
    gives_way: Arc<Notify>,
}

/// A connection that is open; it counts until this is dropped.
pub(super) struct Admitted {
    connections: Arc<Connections>,
    id: u64,
    gives_way: Arc<Notify>,
    /// What it does.
    pub(super) activity: Arc<Activity>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// Takes a connection in. At the limit an idle one of a client that holds more gives way; where there is none, `None`:
    /// the new one is refused.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, clock: &Clock) -> Option<Admitted> {
        // Behind a proxy all are the proxy's.
        let client = Clients::default().at(peer).key();
        let mut open = self.lock();
        if open.all.len() >= self.limit {
            let entry = open.least_active(client).and_then(|id| open.all.remove(&id))?;
            tracing::debug!(client = ?entry.client, "too many connections: an idle one gives way");
            entry.gives_way.notify_one();
        }
        let id = open.next;
        open.next += 1;
        let (activity, gives_way) = (Arc::new(Activity::new(clock.clone())), Arc::new(Notify::new()));
        open.all.insert(id, Entry { client, activity: Arc::clone(&activity), gives_way: Arc::clone(&gives_way) });
        drop(open);
        Some(Admitted { connections: Arc::clone(self), id, gives_way, activity })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The idle connection that gives way to one of `newcomer`: of the client that holds most, the one that was never used
    /// or has been idle for longest. Nobody gives way to a client that holds as much as itself, except that client.
    fn least_active(&self, newcomer: ClientKey) -> Option<u64> {
        let mut totals: HashMap<ClientKey, usize> = HashMap::new();
        for entry in self.all.values() {
            *totals.entry(entry.client).or_default() += 1;
        }
        let total = |client: ClientKey| totals.get(&client).copied().unwrap_or(0);
        let idle = self.all.iter().filter_map(|(id, entry)| Some((id, entry, entry.activity.idle()?)));
        idle.filter(|(_, entry, _)| entry.client == newcomer || total(entry.client) > total(newcomer))
            .max_by_key(|(id, entry, idle)| (total(entry.client), Reverse(*idle), Reverse(**id)))
            .map(|(id, ..)| *id)
    }
}

impl Admitted {
    /// Waits until it must give way. A request that came just then is served all the same.
    pub(super) async fn gives_way(&self) {
        loop {
            self.gives_way.notified().await;
            if self.activity.idle().is_some() {
                return;
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.lock().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Timestamp;

    struct House {
        clock: Clock,
        connections: Arc<Connections>,
    }

    impl House {
        fn with(limit: usize) -> Self {
            Self { clock: Clock::manual(Timestamp::EPOCH, 0), connections: Connections::new(limit) }
        }

        /// A connection from there, a second after the one before.
        fn admit(&self, peer: &str) -> Option<Admitted> {
            self.clock.advance(Duration::from_secs(1));
            self.connections.admit(peer.parse().unwrap(), &self.clock)
        }

        fn is_open(&self, connection: &Admitted) -> bool {
            self.connections.lock().all.contains_key(&connection.id)
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
}
