//! From when on to look for what is due: PostgreSQL keeps index entries of what is delivered until it vacuums, and would go
//! through all of them at each look.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::{Error, Reader, deliveries};

/// How long an answer is good for. What falls due before it waits no longer.
const GOOD: Duration = Duration::from_secs(1);
/// What may be committed later than others that fell due after it: no look leaves it out.
const LATE: Duration = Duration::from_secs(2);

/// The time before which nothing is due, but for subscriptions that have changed since: what waits for a disabled one does not
/// hold it back.
#[derive(Default)]
pub(super) struct Horizon(Mutex<Option<(Duration, Timestamp)>>);

impl Horizon {
    /// It, found out anew once a second.
    pub(super) async fn get(&self, reader: &mut Reader, clock: &Clock) -> Result<Timestamp, Error> {
        let (now, at) = (clock.now(), clock.monotonic());
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, since)) = known.filter(|(found, _)| at.saturating_sub(*found) < GOOD) {
            return Ok(since);
        }
        let first = deliveries::first_pending(reader).await?;
        let since = first.map_or(now - LATE, |first| first.min(now - LATE));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, since));
        Ok(since)
    }
}
