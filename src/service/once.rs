//! Idempotency: a change, its event and the answer under its key commit in one transaction, or none of them does.
//!
//! The key's row is written with the change. Where it is there already, the whole transaction is undone and the stored response
//! given instead, so that there is no "in flight" state that a crash could leave behind: on PostgreSQL a second request
//! waits at the key until the first has committed, on SQLite changes follow one another anyway. Business refusals are
//! responses too; anything that may come out differently the next time is not kept.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use uuid::Uuid;

use super::failure::{Failure, Outcome};
use crate::api::error;
use crate::clock::Bounds;
use crate::domain;
use crate::store::idempotency::{self, Conditions, Slot, Stored};
use crate::store::{self, Mode, Precondition, Store, Tx};

/// How often a change is tried while others are first.
const ATTEMPTS: u32 = 3;

/// How long an answer is kept.
pub(crate) const LIFE: Duration = Duration::from_secs(3600);

/// A change that may run more than once, because the database asked for it, but takes effect once.
pub(crate) trait Change: Send + Sync {
    /// The answer.
    type Reply: Message + Default;

    /// Makes the change. A business refusal is kept with whatever `tx` holds by then; any other error undoes it.
    fn apply(&self, tx: &mut Tx) -> impl Future<Output = Outcome<Self::Reply>> + Send;

    /// The ids of what the change was made on, where only its reply says so: what was created or claimed. An operator's act
    /// is recorded for each, and none where there are none. `None` where the request named it.
    fn targets(_reply: &Self::Reply) -> Option<Vec<String>> {
        None
    }

    /// How it is run at first under a key.
    fn mode(&self) -> Mode {
        Mode::Locking
    }

    /// What stands in the way, after its writes broke a rule of uniqueness; `None` where nothing does any more.
    fn conflict(&self, _tx: &mut Tx) -> impl Future<Output = Outcome<Option<domain::Error>>> + Send {
        async { Ok(None) }
    }
}

/// The key of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    /// Whose it is.
    pub(crate) scope: Uuid,
    /// Where version 0.1 would have kept its response, if elsewhere. Such a response is given again for its hour.
    pub(crate) unscoped: Option<Uuid>,
    pub(crate) key: Uuid,
    /// Keyed hashes over the call and its message, by each live key: the first is what is stored.
    pub(crate) fingerprints: &'a [Vec<u8>],
    pub(crate) now: Bounds,
    pub(crate) request_id: Option<&'a str>,
    /// What must still hold when the change commits, where it was not asked before.
    pub(crate) standing: Option<&'a Precondition>,
}

/// An answer, and whether it was given before.
pub(crate) struct Answer<T> {
    pub(crate) reply: Result<T, Status>,
    pub(crate) replayed: bool,
}

/// Makes `change` happen at most once under `key`, and gives the response of the time that it did.
pub(crate) async fn once<C: Change>(store: &Store, key: Key<'_>, change: &C) -> Outcome<Answer<C::Reply>> {
    for attempt in 0..ATTEMPTS {
        let conflict = match store.transact(&Keyed { key, change, first: attempt == 0 }).await {
            Ok(reply) => return Ok(Answer { reply, replayed: false }),
            Err(failure) if failure.is_conflict() => failure,
            Err(failure) => return Err(failure),
        };
        // Which of the rules that a request breaks the database names is not defined: that the key is in use comes first. It is read
        // in a transaction of its own and committed: nothing is given again before it is durable.
        let mut tx = store.begin().await?;
        let mut stored = idempotency::get(&mut tx, key.slot()).await?;
        if let Some(scope) = key.unscoped.filter(|_| stored.is_none()) {
            stored = idempotency::get_unscoped(&mut tx, Slot { scope, ..key.slot() }).await?;
            // Another request's is another caller's.
            stored = stored.filter(|stored| key.fingerprints.contains(&stored.fingerprint));
        }
        tx.commit().await?;
        if let Some(stored) = stored {
            return replay(&stored, key).map(|reply| Answer { reply, replayed: true });
        }
        match store.transact(&Refused { key: Some(key), request_id: key.request_id, change }).await {
            Ok(Some(status)) => return Ok(Answer { reply: Err(status), replayed: false }),
            // The other is gone, or was never in the way: this one read what was changed meanwhile.
            Ok(None) => {}
            Err(failure) if failure.is_conflict() => {}
            Err(failure) => return Err(failure),
        }
        if attempt + 1 == ATTEMPTS && conflict.is_unique() {
            return Err(conflict);
        }
    }
    let detail = "Another request with this idempotency key is in progress. Ask again for its answer.";
    let conflict = domain::Error::new(domain::Code::IdempotencyConcurrencyConflict, detail);
    Err(conflict.retry_after(Duration::from_secs(1)).into())
}

fn replay<T: Message + Default>(stored: &Stored, key: Key<'_>) -> Outcome<Result<T, Status>> {
    if !key.fingerprints.contains(&stored.fingerprint) {
        let detail = "This idempotency key was used for another request. Use a new key for a new request.";
        return Err(domain::Error::new(domain::Code::IdempotencyKeyReused, detail).into());
    }
    let unreadable = |_| store::Error::unreadable("idempotency_keys.reply", "bytes");
    if stored.status == 0 {
        return Ok(Ok(T::decode(stored.reply.as_slice()).map_err(unreadable)?));
    }
    let status = tonic_types::pb::Status::decode(stored.reply.as_slice()).map_err(unreadable)?;
    Ok(Err(Status::with_details(Code::from_i32(stored.status), status.message, stored.reply.clone().into())))
}

impl Key<'_> {
    fn slot(&self) -> Slot {
        let Bounds { earliest, latest } = self.now;
        Slot { scope: self.scope, key: self.key, now: earliest, expires_at: latest + LIFE }
    }

    /// Keeps a response in the transaction that it is the response to.
    async fn keep(&self, tx: &mut Tx, status: i32, reply: Vec<u8>) -> Outcome<()> {
        let fingerprint = self.fingerprints.first().cloned().unwrap_or_default();
        let unscoped = self.unscoped.map(|scope| (scope, self.fingerprints));
        let conditions = Conditions { precondition: self.standing, unscoped };
        Ok(idempotency::put(tx, self.slot(), &Stored { fingerprint, status, reply }, conditions).await?)
    }

    /// The same, of a refusal. It has the id of this request, which a replay repeats: the bytes are the same then.
    async fn keep_refusal(&self, tx: &mut Tx, status: &Status) -> Outcome<()> {
        self.keep(tx, status.code() as i32, status.details().to_vec()).await
    }
}

struct Keyed<'a, C> {
    key: Key<'a>,
    change: &'a C,
    /// Whether it is tried for the first time.
    first: bool,
}

impl<C: Change> store::Change for Keyed<'_, C> {
    type Out = Result<C::Reply, Status>;
    type Error = Failure;

    fn mode(&self) -> Mode {
        if self.first { self.change.mode() } else { Mode::Locking }
    }

    async fn apply(&self, tx: &mut Tx) -> Outcome<Self::Out> {
        match self.change.apply(tx).await {
            Ok(reply) => {
                self.key.keep(tx, 0, reply.encode_to_vec()).await?;
                Ok(Ok(reply))
            }
            Err(Failure::Refused(refusal)) if refusal.is_business() => {
                let status = error::status(&refusal, self.key.request_id);
                self.key.keep_refusal(tx, &status).await?;
                Ok(Err(status))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// What stands in the way of a change whose writes broke a rule of uniqueness, kept under its key.
struct Refused<'a, C> {
    key: Option<Key<'a>>,
    request_id: Option<&'a str>,
    change: &'a C,
}

impl<C: Change> store::Change for Refused<'_, C> {
    type Out = Option<Status>;
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<Option<Status>> {
        let Some(refusal) = self.change.conflict(tx).await? else { return Ok(None) };
        let status = error::status(&refusal, self.request_id);
        if let Some(key) = self.key {
            key.keep_refusal(tx, &status).await?;
        }
        Ok(Some(status))
    }
}

/// A change without a key: over gRPC the key is optional. A business refusal keeps what the transaction holds, as above.
pub(crate) async fn unkeyed<C: Change>(
    store: &Store,
    request_id: Option<&str>,
    change: &C,
) -> Outcome<Answer<C::Reply>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let conflict = match store.transact(&Plain { request_id, change }).await {
            Ok(reply) => return Ok(Answer { reply, replayed: false }),
            Err(failure) if failure.is_conflict() => failure,
            Err(failure) => return Err(failure),
        };
        if let Some(status) = store.transact(&Refused { key: None, request_id, change }).await? {
            return Ok(Answer { reply: Err(status), replayed: false });
        }
        if attempt == ATTEMPTS {
            return Err(conflict);
        }
    }
}

struct Plain<'a, C> {
    request_id: Option<&'a str>,
    change: &'a C,
}

impl<C: Change> store::Change for Plain<'_, C> {
    type Out = Result<C::Reply, Status>;
    type Error = Failure;

    async fn apply(&self, tx: &mut Tx) -> Outcome<Self::Out> {
        match self.change.apply(tx).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(Failure::Refused(refusal)) if refusal.is_business() => {
                Ok(Err(error::status(&refusal, self.request_id)))
            }
            Err(failure) => Err(failure),
        }
    }
}
