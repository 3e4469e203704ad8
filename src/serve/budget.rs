//! What a listener has to give: slots for requests that are being answered, and memory for bodies, in fair shares.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;

use super::client::Client;
use super::refusal::Refusal;
use super::{Limits, Usage};
use crate::domain::client::ClientKey;

/// The budget of one listener.
#[derive(Debug)]
pub(super) struct Budget {
    slots: usize,
    bytes: usize,
    client_slots: usize,
    client_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: Usage,
    clients: HashMap<ClientKey, Account>,
    bodies: HashMap<u64, Body>,
    next: u64,
}

/// What one client has.
#[derive(Debug, Default)]
struct Account {
    used: Usage,
    /// Bodies that are not whole yet, the oldest first: those that may have to give way.
    arriving: BTreeSet<u64>,
}

/// A body that is in memory, in whole or in part.
#[derive(Debug)]
struct Body {
    client: ClientKey,
    bytes: usize,
    eviction: Arc<Eviction>,
}

/// How a body that is still arriving learns that it has to give way.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    evicted: AtomicBool,
    waker: AtomicWaker,
}

impl Eviction {
    /// Whether it has to; if not yet, `waker` is woken when it does.
    pub(super) fn poll(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.evicted.load(Relaxed)
    }
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            slots: limits.requests,
            bytes: limits.body_bytes,
            client_slots: limits.share(limits.requests),
            client_bytes: limits.share(limits.body_bytes),
            state: Mutex::default(),
        }
    }

    pub(super) fn used(&self) -> Usage {
        self.lock().used
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot, until it is dropped.
    pub(super) fn slot(self: &Arc<Self>, client: Client) -> Result<Slot, Refusal> {
        let mut state = self.lock();
        if state.used.slots >= self.slots {
            return Err(Refusal::Busy);
        }
        let client = client.is_limited().then(|| client.key());
        if let Some(key) = client {
            if state.held_by(key).slots >= self.client_slots {
                return Err(Refusal::ClientBusy);
            }
            state.count(key, |usage| usage.slots += 1);
        } else {
            state.used.slots += 1;
        }
        Ok(Slot { budget: Arc::clone(self), client })
    }

    /// Memory for the bodies of one request.
    pub(super) fn memory(self: &Arc<Self>, client: Client) -> Memory {
        Memory { budget: Arc::clone(self), client, body: None, eviction: Arc::default() }
    }
}

impl State {
    /// Changes what is counted for a client, whose account goes with the last of what it has.
    fn count(&mut self, client: ClientKey, change: impl Fn(&mut Usage)) {
        change(&mut self.used);
        let account = self.clients.entry(client).or_default();
        change(&mut account.used);
        if account.used == Usage::default() {
            self.clients.remove(&client);
        }
    }

    fn held_by(&self, client: ClientKey) -> Usage {
        self.clients.get(&client).map(|account| account.used).unwrap_or_default()
    }

    fn forget(&mut self, id: u64) -> Option<Body> {
        let body = self.bodies.remove(&id)?;
        self.arrived(id, body.client);
        self.count(body.client, |usage| {
            usage.bodies -= 1;
            usage.body_bytes -= body.bytes;
        });
        Some(body)
    }

    fn arrived(&mut self, id: u64, client: ClientKey) {
        if let Some(account) = self.clients.get_mut(&client) {
            account.arriving.remove(&id);
        }
    }

    /// The body that has to give way so that a client gets `more` bytes: the oldest that is still arriving, of the client
    /// that holds most, unless that is another one which holds no more than this one would. Its cost grows with the
    /// number of clients that send bodies, not with that of bodies: it is asked for often while somebody attacks.
    fn gives_way(&self, (id, client): (u64, ClientKey), more: usize) -> Option<u64> {
        let own = self.held_by(client).body_bytes + more;
        let candidates = self.clients.iter().filter_map(|(key, account)| {
            let oldest = account.arriving.iter().copied().find(|other| *other != id)?;
            Some((if *key == client { own } else { account.used.body_bytes }, *key == client, oldest))
        });
        let (held, same, oldest) = candidates.max()?;
        (same || held > own).then_some(oldest)
    }
}

/// A slot: a request that is being answered.
#[derive(Debug)]
pub(super) struct Slot {
    budget: Arc<Budget>,
    client: Option<ClientKey>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        match self.client {
            Some(key) => state.count(key, |usage| usage.slots -= 1),
            None => state.used.slots -= 1,
        }
    }
}

/// The memory that one request's body takes, until it is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    budget: Arc<Budget>,
    client: Client,
    body: Option<u64>,
    eviction: Arc<Eviction>,
}

impl Memory {
    /// Takes `bytes` more, if need be from a body that is still arriving.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let mut state = self.budget.lock();
        // Asked under the lock under which it would be evicted.
        self.stands()?;
        let client = self.client.key();
        if self.client.is_limited() && state.held_by(client).body_bytes + bytes > self.budget.client_bytes {
            return Err(Refusal::ClientMemory);
        }
        let id = self.body.unwrap_or(state.next);
        let own = state.bodies.get(&id).map_or(0, |body| body.bytes);
        if own + bytes > self.budget.bytes {
            return Err(Refusal::Memory);
        }
        while state.used.body_bytes + bytes > self.budget.bytes {
            let loser = state.gives_way((id, client), bytes).ok_or(Refusal::Memory)?;
            if let Some(Body { eviction, .. }) = state.forget(loser) {
                eviction.evicted.store(true, Relaxed);
                eviction.waker.wake();
            }
        }
        if self.body.is_none() {
            state.bodies.insert(id, Body { client, bytes: 0, eviction: Arc::clone(&self.eviction) });
            state.count(client, |usage| usage.bodies += 1);
            if let Some(account) = state.clients.get_mut(&client) {
                account.arriving.insert(id);
            }
            state.next += 1;
            self.body = Some(id);
        }
        if let Some(body) = state.bodies.get_mut(&id) {
            body.bytes += bytes;
        }
        state.count(client, |usage| usage.body_bytes += bytes);
        Ok(())
    }

    /// Whether it still has what it took.
    pub(super) fn stands(&self) -> Result<(), Refusal> {
        if self.eviction.evicted.load(Relaxed) { Err(Refusal::Memory) } else { Ok(()) }
    }

    /// The body is whole: it does not give way any more.
    pub(super) fn whole(&mut self) -> Result<(), Refusal> {
        let Some(id) = self.body else { return Ok(()) };
        let mut state = self.budget.lock();
        self.stands()?;
        state.arrived(id, self.client.key());
        Ok(())
    }

    /// Gives everything back.
    pub(super) fn release(&mut self) {
        if let Some(id) = self.body.take() {
            self.budget.lock().forget(id);
        }
    }

    pub(super) fn is_evicted(&self, waker: &Waker) -> bool {
        self.eviction.poll(waker)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::Clients;

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(&Limits { requests: 4, body_bytes: 100, client_share: 50, ..Limits::default() }))
    }

    fn client(address: &str) -> Client {
        Clients::default().at(address.parse().unwrap())
    }

    #[test]
    fn one_client_leaves_slots_to_others() {
        let (budget, one, other) = (budget(), client("192.0.2.1"), client("192.0.2.2"));
        let slots: Vec<_> = (0..2).map(|_| budget.slot(one).unwrap()).collect();
        assert_eq!(budget.slot(one).unwrap_err(), Refusal::ClientBusy);
        let more: Vec<_> = (0..2).map(|_| budget.slot(other).unwrap()).collect();
        assert_eq!(budget.slot(client("127.0.0.1")).unwrap_err(), Refusal::Busy);
        drop(slots);
        let local: Vec<_> = (0..2).map(|_| budget.slot(client("127.0.0.1")).unwrap()).collect();
        assert_eq!(budget.used(), Usage { slots: 4, ..Usage::default() });
        drop((more, local));
        assert_eq!(budget.used(), Usage::default());
        assert!(budget.lock().clients.is_empty(), "nothing is kept of clients that hold nothing");
    }

    #[test]
    fn one_client_leaves_memory_to_others() {
        let (budget, one, other) = (budget(), client("192.0.2.1"), client("192.0.2.2"));
        let mut first = budget.memory(one);
        first.take(30).unwrap();
        let mut second = budget.memory(one);
        assert_eq!(second.take(21).unwrap_err(), Refusal::ClientMemory);
        second.take(20).unwrap();
        let mut third = budget.memory(other);
        third.take(50).unwrap();
        assert_eq!(budget.used().body_bytes, 100);
        drop((first, second, third));
        assert_eq!(budget.used(), Usage::default());
        assert!(budget.lock().bodies.is_empty() && budget.lock().clients.is_empty());
    }

    #[test]
    fn the_oldest_arriving_body_of_the_heaviest_client_gives_way() {
        let (budget, local, waker) = (budget(), client("127.0.0.1"), Waker::noop());
        let mut bodies: Vec<_> = (0..3).map(|_| budget.memory(local)).collect();
        for (body, bytes) in bodies.iter_mut().zip([20, 45, 35]) {
            body.take(bytes).unwrap();
        }
        // What is whole stays, so that nothing that is being answered is lost.
        bodies[0].whole().unwrap();
        let mut small = budget.memory(local);
        small.take(10).unwrap();
        let evicted: Vec<_> = bodies.iter().map(|body| body.is_evicted(waker)).collect();
        assert_eq!(evicted, [false, true, false]);
        assert_eq!((bodies[1].take(1), bodies[1].whole()), (Err(Refusal::Memory), Err(Refusal::Memory)));
        assert_eq!(budget.used(), Usage { slots: 0, bodies: 3, body_bytes: 65 });
        // Nobody gives way to what does not fit at all.
        assert_eq!(budget.memory(local).take(101).unwrap_err(), Refusal::Memory);
        bodies[2].whole().unwrap();
        small.whole().unwrap();
        assert_eq!(budget.memory(local).take(36).unwrap_err(), Refusal::Memory);
        drop((bodies, small));
        // A small client goes before a heavy one, and does not push out one that is smaller still.
        let (mut heavy, mut light) = ([(); 5].map(|()| budget.memory(local)), budget.memory(client("192.0.2.1")));
        heavy.iter_mut().for_each(|body| body.take(20).unwrap());
        light.take(40).unwrap();
        assert_eq!(heavy.each_ref().map(|body| body.is_evicted(waker)), [true, true, false, false, false]);
        heavy[2].release();
        heavy[3].release();
        let mut last = budget.memory(client("192.0.2.2"));
        last.take(40).unwrap();
        assert_eq!(last.take(10).map(|()| (heavy[4].is_evicted(waker), light.is_evicted(waker))), Err(Refusal::Memory));
        drop((heavy, light, last));
        assert_eq!(budget.used(), Usage::default());
    }
}
