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

    /// Whether to run it without a transaction on PostgreSQL: its reads see what is committed and lock nothing, and what it
    /// [collects](Tx::write) is sent as one statement, which must therefore insist ([`Effect::Required`](super::Effect::Required)) that
    /// what was read is still so. Where the connection is dead it is run again, although it may have been made already: so
    /// only what is recognised by an idempotency key may. It is run with locks after all where it does more than that.
    fn is_optimistic(&self) -> bool {
        false
    }

    /// Makes the change in `tx`. `Ok` commits, `Err` rolls back.
    fn apply(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Out, Self::Error>> + Send;
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
