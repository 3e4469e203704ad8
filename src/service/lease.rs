//! Leases that operators take on work of other services.

use std::time::Duration;

use prost_types::Duration as Proto;
use uuid::Uuid;

use super::convert;
use crate::domain::{Code, Error, Timestamp};

/// A claim that an operator asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// At most so many.
    pub(super) limit: i64,
    /// How long the lease counts.
    pub(super) length: Duration,
}

impl Wanted {
    /// Checks the limit (1 to 100, 10 when absent) and the length (1 s to 1 h, 60 s when absent).
    pub(super) fn new(limit: Option<i32>, lease: Option<Proto>) -> Result<Self, Error> {
        let limit = limit.unwrap_or(10);
        if !(1..=100).contains(&limit) {
            return Err(Error::invalid("limit", "OUT_OF_RANGE", "Must be between 1 and 100."));
        }
        let length = match lease {
            Some(lease) => Duration::try_from(lease).ok(),
            None => Some(Duration::from_secs(60)),
        };
        let range = Duration::from_secs(1)..=Duration::from_secs(3600);
        let length = length.filter(|length| range.contains(length));
        let length = length.ok_or_else(|| Error::invalid("lease", "OUT_OF_RANGE", "Must be between 1 s and 1 h."))?;
        Ok(Self { limit: i64::from(limit), length })
    }

    /// When the lease is over.
    pub(super) fn until(self, now: Timestamp) -> Option<prost_types::Timestamp> {
        Some(convert::timestamp(now + self.length))
    }
}

/// The lease that a report is made under. One that is no UUID was never given out.
pub(super) fn id(text: &str) -> Result<Uuid, Error> {
    if text.is_empty() {
        return Err(Error::invalid("leaseId", "REQUIRED", "Must be given."));
    }
    convert::id(text, lost())
}

/// The lease does not count any more.
pub(super) fn lost() -> Error {
    let detail = "The lease is over, or it is another's: the work may have been claimed again. Claim it anew.";
    Error::new(Code::LeaseLost, detail)
}
