//! A change that can be run again when the database gives it up in favour of another.

use std::future::Future;
use std::time::Duration;

use super::error::Error;
use super::tx::Tx;

/// How often a change is run at most.
const ATTEMPTS: u32 = 8;
/// The longest wait before a second run; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_millis(4);

/// What one transaction does. Run by [`Store::transact`](super::Store::transact), possibly several times, so it must
/// depend only on `self` and on what it reads from the transaction. On SQLite it runs once.
pub trait Change: Send + Sync {
    /// What it gives back once it is durable.
    type Out: Send;
    /// Its own error, which can say whether running again may help.
    type Error: From<Error> + Retry + Send;

    /// Whether it must outlast a crash of the database, or a commit that fails. What may be done again as well, such as a claim, need
    /// not wait for the disk: PostgreSQL then answers before it has written the log (`synchronous_commit = off`), SQLite's writer
    /// before the commit that the change shares with others, so that only those who write later are sure to see it.
    const DURABLE: bool = true;

    /// How to run it first. If it does more than the mode allows, or conflicts with others, it is run again in the fallback mode.
    fn mode(&self) -> Mode {
        Mode::Locking
    }

    /// Makes the change in `tx`. `Ok` commits, `Err` rolls back.
    fn apply(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Out, Self::Error>> + Send;
}

/// How a change is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In a transaction of its own, with locks.
    Locking,
    /// On PostgreSQL without a transaction: its reads see what is committed and lock nothing, and what it [collects](Tx::write) is
    /// sent as one statement, which must therefore insist ([`Effect::Required`](super::Effect::Required)) that what was read is still
    /// so. Where the connection is dead it is run again, although it may have been made already: so only what is recognised by an
    /// idempotency key may.
    Optimistic,
    /// It reads nothing and only [inserts rows](Tx::insert), which are sent with those of others. The rest is as above.
    Combined,
}

impl Mode {
    /// The next mode to try: one that allows more.
    pub(super) const fn fallback(self) -> Self {
        match self {
            Self::Combined => Self::Optimistic,
            Self::Optimistic | Self::Locking => Self::Locking,
        }
    }
}

/// Errors that may be gone in a second run of the transaction.
pub trait Retry {
    /// Whether the cause was [`Error::Retry`].
    fn is_retry(&self) -> bool;
}

impl Retry for Error {
    fn is_retry(&self) -> bool {
        self.is_retry()
    }
}

/// How long to wait before run number `attempt` (from 1); `None` when it is time to give up. `ticket` differs between
/// callers: it spreads them, as chance would.
pub(super) fn wait(attempt: u32, ticket: u64) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let most = FIRST_WAIT * 2_u32.pow(attempt - 1);
    // Fibonacci hashing: consecutive tickets land far apart.
    let spread = (ticket.wrapping_add(u64::from(attempt) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Some(most.mul_f64(spread as f64 / f64::from(u32::MAX)))
}

/// Lets the others go first.
#[expect(clippy::disallowed_methods, reason = "a pause between attempts decides nothing: the store needs no clock")]
pub(super) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
