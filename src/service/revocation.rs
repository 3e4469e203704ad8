//! Ends open streams when their callers may no longer call: one check a second for all streams of this node.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{FutureExt as _, Stream};
use tokio::sync::{Notify, oneshot};
use tonic::Status;

use super::failure::Failure;
use crate::clock::Clock;
use crate::domain::{Code, Error};
use crate::store::{self, Revoked, Standing, Store, operators, still_valid};

/// How often the callers of open streams are checked. What this node itself revokes is checked at once.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one check may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long a stream goes on while no check succeeds.
const UNCHECKED: Duration = Duration::from_secs(10);

/// What must stay valid while a stream is open. A bearer token may expire meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Basis {
    /// A programme that is not disabled, its credentials, the key that signed the request.
    Programme(Standing),
    /// An operator's token: its hash.
    Operator([u8; 32]),
}

/// What a check found: why each basis is no longer valid, or that it is.
type Checked = HashMap<Basis, Option<Error>>;

/// The open streams of this node.
pub(crate) struct Revocations(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    open: Mutex<Open>,
    now: Notify,
}

#[derive(Default)]
struct Open {
    streams: HashMap<u64, Entry>,
    next: u64,
    /// Whether a task checks them.
    checked: bool,
}

struct Entry {
    basis: Basis,
    /// When it was last known to hold, by the monotonic clock, and how many checks have failed since.
    valid_at: Duration,
    failed: u32,
    end: oneshot::Sender<Error>,
}

impl Revocations {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self(Arc::new(Inner { store, clock, open: Mutex::default(), now: Notify::new() }))
    }

    /// Has a stream checked until the guard is dropped. Its caller has just been authenticated.
    pub(super) fn watch(&self, basis: Basis) -> Guard {
        let (end, ended) = oneshot::channel();
        let entry = Entry { basis, valid_at: self.0.clock.monotonic(), failed: 0, end };
        let mut open = self.0.open();
        let id = open.next;
        open.next += 1;
        open.streams.insert(id, entry);
        if !std::mem::replace(&mut open.checked, true) {
            let inner = Arc::clone(&self.0);
            let check = move |bases| Arc::clone(&inner).check(bases);
            tokio::spawn(Arc::clone(&self.0).run(check));
        }
        Guard { ended, id, home: Arc::clone(&self.0) }
    }

    /// Checks without waiting for the second to pass: this node has just revoked something.
    pub(super) fn check_now(&self) {
        self.0.now.notify_one();
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks until no stream is open. A check that panics has failed: nobody else would begin another.
    async fn run<C, F>(self: Arc<Self>, check: C)
    where
        C: Fn(Vec<Basis>) -> F,
        F: Future<Output = Result<Checked, store::Error>>,
    {
        loop {
            tokio::select! {
                () = self.clock.sleep(PERIOD) => {}
                () = self.now.notified() => {}
            }
            let began = self.clock.monotonic();
            let (bases, deadline) = {
                let mut open = self.open();
                open.checked = !open.streams.is_empty();
                if !open.checked {
                    return;
                }
                let bases: HashSet<Basis> = open.streams.values().map(|entry| entry.basis.clone()).collect();
                (bases.into_iter().collect(), open.deadline(began))
            };
            let checked = AssertUnwindSafe(self.clock.timeout(deadline, check(bases))).catch_unwind().await;
            match checked {
                Ok(Ok(Ok(checked))) => self.open().settle(&checked, began),
                Ok(Ok(Err(error))) => self.failed(&error.to_string()),
                Ok(Err(elapsed)) => self.failed(&elapsed.to_string()),
                Err(_) => self.failed("the check panicked"),
            }
        }
    }

    /// Those that are no longer valid, and why.
    async fn check(self: Arc<Self>, bases: Vec<Basis>) -> Result<Checked, store::Error> {
        let (mut standings, mut tokens) = (Vec::new(), Vec::new());
        for basis in &bases {
            match basis {
                Basis::Programme(standing) => standings.push(standing),
                Basis::Operator(token) => tokens.push(token),
            }
        }
        let mut reader = self.store.reader().await?;
        let mut checked = HashMap::with_capacity(bases.len());
        let valid = still_valid(&mut reader, &standings).await?;
        for (standing, revoked) in standings.into_iter().zip(valid) {
            checked.insert(Basis::Programme(standing.clone()), revoked.map(reason));
        }
        if !tokens.is_empty() {
            let live = operators::live_tokens(&mut reader, tokens.iter().map(|t| &t[..]), self.clock.now()).await?;
            for token in tokens {
                let revoked = (!live.contains(&token[..]))
                    .then(|| Error::new(Code::Unauthenticated, "The operator's token was revoked or has expired."));
                checked.insert(Basis::Operator(*token), revoked);
            }
        }
        Ok(checked)
    }

    /// Ends the streams that have not been checked for too long. A first failure ends none: after a standstill of this
    /// process, no check may have been due in time.
    fn failed(&self, cause: &str) {
        tracing::warn!(cause, "cannot check whether open streams may go on");
        let now = self.clock.monotonic();
        let mut open = self.open();
        open.streams.values_mut().for_each(|entry| entry.failed += 1);
        let unchecked = |entry: &Entry| entry.failed > 1 && now.saturating_sub(entry.valid_at) >= UNCHECKED;
        open.end(|entry| {
            let detail = "The service cannot check now whether the stream may go on: go on from the last cursor.";
            unchecked(entry).then(|| Error::new(Code::Unavailable, detail).retry_after(PERIOD))
        });
    }
}

impl Open {
    /// How long a check that begins now may take: no longer than until the first stream has gone unchecked for too long. One
    /// whose checks have not failed yet does not count, see [`Inner::failed`].
    fn deadline(&self, now: Duration) -> Duration {
        let failing = self.streams.values().filter(|entry| entry.failed > 0);
        let left = failing.map(|entry| (entry.valid_at + UNCHECKED).saturating_sub(now));
        left.min().unwrap_or(DEADLINE).min(DEADLINE)
    }

    /// Takes over what a check that began then has found. Streams that were opened since are not in it.
    fn settle(&mut self, checked: &Checked, began: Duration) {
        for entry in self.streams.values_mut() {
            if let Some(None) = checked.get(&entry.basis) {
                (entry.valid_at, entry.failed) = (entry.valid_at.max(began), 0);
            }
        }
        self.end(|entry| checked.get(&entry.basis).cloned().flatten());
    }

    fn end(&mut self, reason: impl Fn(&Entry) -> Option<Error>) {
        for (_, entry) in self.streams.extract_if(|_, entry| reason(entry).is_some()) {
            if let Some(error) = reason(&entry) {
                // The client may have gone.
                let _ = entry.end.send(error);
            }
        }
    }
}

/// What a new call would be refused with, and where to go on.
fn reason(revoked: Revoked) -> Error {
    let (code, what) = match revoked {
        Revoked::Credentials => (Code::Unauthenticated, "The credentials changed, or the programme was disabled"),
        Revoked::SigningKey => (Code::KeyUnknown, "The signing key of the request was deleted"),
    };
    Error::new(code, format!("{what}: sign in again and go on from the last cursor."))
}

/// A stream's place among those that are checked.
pub(super) struct Guard {
    ended: oneshot::Receiver<Error>,
    id: u64,
    home: Arc<Inner>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.home.open().streams.remove(&self.id);
    }
}

/// Messages until the caller may no longer have them: then the reason, and nothing of what waits.
pub(super) struct Guarded<S> {
    messages: S,
    guard: Guard,
    request_id: Option<String>,
    over: bool,
}

impl<S> Guarded<S> {
    pub(super) const fn new(messages: S, guard: Guard, request_id: Option<String>) -> Self {
        Self { messages, guard, request_id, over: false }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for Guarded<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        // The other end is kept while the guard is, which nothing else polls.
        if let Poll::Ready(Ok(error)) = Pin::new(&mut self.guard.ended).poll(cx) {
            self.over = true;
            return Poll::Ready(Some(Err(Failure::from(error).status(self.request_id.as_deref()))));
        }
        let next = ready!(Pin::new(&mut self.messages).poll_next(cx));
        self.over = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::store::StoreOptions;

    /// The store is gone: nothing can be checked.
    #[tokio::test]
    async fn what_cannot_be_checked_for_ten_seconds_ends() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Clock::manual(Timestamp::EPOCH, 1);
        let revocations = Revocations::new(store.clone(), clock.clone());
        let mut guard = revocations.watch(Basis::Operator([1; 32]));
        store.close().await.unwrap();
        let mut seconds = 0;
        let error = loop {
            match tokio::time::timeout(Duration::from_millis(20), &mut guard.ended).await {
                Ok(ended) => break ended.unwrap(),
                Err(_) => seconds += u32::from(clock.advance(PERIOD)),
            }
            assert!(seconds < 1000, "it goes on");
        };
        assert!(error.code == Code::Unavailable && seconds >= 10, "{seconds}: {error:?}");
        assert!(revocations.0.open().streams.is_empty());
    }

    /// Seconds until a stream ends whose checks are all like this one.
    async fn lasts<F>(check: impl Fn() -> F + Send + Sync + 'static) -> u32
    where
        F: Future<Output = Result<Checked, store::Error>> + Send + 'static,
    {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Clock::manual(Timestamp::EPOCH, 1);
        let revocations = Revocations::new(store, clock.clone());
        // This test's task checks, and no other.
        revocations.0.open().checked = true;
        let mut guard = revocations.watch(Basis::Operator([1; 32]));
        let task = tokio::spawn(Arc::clone(&revocations.0).run(move |_| check()));
        for seconds in 1..=60 {
            clock.advance(PERIOD);
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            if let Ok(error) = guard.ended.try_recv() {
                assert_eq!(error.code, Code::Unavailable);
                assert!(!task.is_finished(), "the next stream is checked, too");
                return seconds;
            }
        }
        panic!("it goes on");
    }

    #[tokio::test]
    async fn a_check_that_panics_has_failed() {
        assert_eq!(lasts(|| async { panic!("as a fault would") }).await, 10);
    }

    #[tokio::test]
    async fn a_check_that_hangs_does_not_outlast_the_ten_seconds() {
        assert_eq!(lasts(std::future::pending).await, 10);
    }

    #[tokio::test]
    async fn nobody_checks_where_no_stream_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let revocations = Revocations::new(store, Clock::manual(Timestamp::EPOCH, 1));
        drop(revocations.watch(Basis::Operator([1; 32])));
        revocations.check_now();
        while revocations.0.open().checked {
            tokio::task::yield_now().await;
        }
        // And again where one is.
        let guard = revocations.watch(Basis::Operator([1; 32]));
        revocations.check_now();
        assert_eq!(guard.ended_with().await.code, Code::Unauthenticated);
    }

    impl Guard {
        async fn ended_with(mut self) -> Error {
            (&mut self.ended).await.unwrap()
        }
    }
}
