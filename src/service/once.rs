//! Idempotency: a change, its event and the answer under its key commit in one transaction, or none of them does.
//!
//! The key's row is written last. Where it is there already, the whole transaction is rolled back and the stored answer
//! given instead, so that there is no "in flight" state that a crash could leave behind: on PostgreSQL a second request
//! waits at the key until the first has committed, on SQLite changes follow one another anyway. Business refusals are
//! answers too; anything that may come out differently the next time is not kept.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use uuid::Uuid;

use super::failure::{Failure, Outcome};
use crate::api::error;
use crate::domain::{self, Timestamp};
use crate::store::idempotency::{self, Slot, Stored};
use crate::store::{self, Retry, Standing, Store, Tx};

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
    pub(crate) now: Timestamp,
    pub(crate) request_id: Option<&'a str>,
    /// What must still hold when the change commits, where it was not asked before.
    pub(crate) standing: Option<&'a Standing>,
}

/// An answer, and whether it was given before.
pub(crate) struct Answer<T> {
    pub(crate) reply: Result<T, Status>,
    pub(crate) replayed: bool,
}

/// Makes `change` happen at most once under `key`, and gives the answer of the time that it did.
pub(crate) async fn once<C: Change>(store: &Store, key: Key<'_>, change: &C) -> Outcome<Answer<C::Reply>> {
    if let Some(scope) = key.unscoped {
        let mut tx = store.begin().await?;
        let stored = idempotency::get_unscoped(&mut tx, Slot { scope, ..key.slot() }).await?;
        tx.commit().await?;
        // Another request's is another caller's.
        if let Some(stored) = stored.filter(|stored| key.fingerprints.contains(&stored.fingerprint)) {
            return replay(&stored, key).map(|reply| Answer { reply, replayed: true });
        }
    }
    // Twice at the most: the answer in the way may expire between the two statements.
    for _ in 0..2 {
        match store.transact(&Keyed { key, change }).await {
            Ok(reply) => return Ok(Answer { reply, replayed: false }),
            Err(Stop::Failed(failure)) => return Err(failure),
            Err(Stop::Taken) => {
                // Read in a transaction of its own and committed: the answer is not given again before it is durable.
                let mut tx = store.begin().await?;
                let stored = idempotency::get(&mut tx, key.slot()).await?;
                tx.commit().await?;
                if let Some(stored) = stored {
                    return replay(&stored, key).map(|reply| Answer { reply, replayed: true });
                }
            }
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
        Slot { scope: self.scope, key: self.key, now: self.now, expires_at: self.now + LIFE }
    }
}

struct Keyed<'a, C> {
    key: Key<'a>,
    change: &'a C,
}

enum Stop {
    Taken,
    Failed(Failure),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Retry for Stop {
    fn is_retry(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.is_retry())
    }
}

impl<C: Change> store::Change for Keyed<'_, C> {
    type Out = Result<C::Reply, Status>;
    type Error = Stop;

    async fn apply(&self, tx: &mut Tx) -> Result<Self::Out, Stop> {
        let fingerprint = self.key.fingerprints.first().cloned().unwrap_or_default();
        let (reply, stored) = match self.change.apply(tx).await {
            Ok(reply) => {
                let stored = Stored { fingerprint, status: 0, reply: reply.encode_to_vec() };
                (Ok(reply), stored)
            }
            Err(Failure::Refused(refusal)) if refusal.is_business() => {
                // With the id of this request, which a replay repeats: the bytes are the same then.
                let status = error::status(&refusal, self.key.request_id);
                let stored = Stored { fingerprint, status: status.code() as i32, reply: status.details().to_vec() };
                (Err(status), stored)
            }
            Err(failure) => return Err(Stop::Failed(failure)),
        };
        if idempotency::put(tx, self.key.slot(), &stored, self.key.standing).await? {
            Ok(reply)
        } else {
            Err(Stop::Taken)
        }
    }
}

/// A change without a key: over gRPC the key is optional. A business refusal keeps what the transaction holds, as above.
pub(crate) async fn unkeyed<C: Change>(
    store: &Store,
    request_id: Option<&str>,
    change: &C,
) -> Outcome<Answer<C::Reply>> {
    let reply = store.transact(&Plain { request_id, change }).await?;
    Ok(Answer { reply, replayed: false })
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
