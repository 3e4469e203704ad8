//! UUIDv7 layout (RFC 9562 section 5.7): milliseconds, then twelve bits of the fraction below (method 3), then random.
//!
//! Worked on as one 122-bit number, without the version and variant bits, whose order is the order of the ids.

use uuid::Uuid;

use crate::domain::Timestamp;

const RANDOM_BITS: u32 = 62;

/// The number for a moment; of `random` 62 bits count.
pub(super) fn candidate(now: Timestamp, random: u64) -> u128 {
    let micros = u128::from(now.micros().max(0).unsigned_abs());
    let (millis, fraction) = (micros / 1000, micros % 1000 * 4096 / 1000);
    (millis << 74) | (fraction << RANDOM_BITS) | u128::from(random >> 2)
}

/// The candidate if it is greater than `last`, else a number a random `step` above it.
pub(super) fn after(last: u128, candidate: u128, step: u32) -> u128 {
    candidate.max(last + 1 + u128::from(step))
}

/// The number as a UUID, with version 7 and the RFC's variant put in.
pub(super) fn uuid(number: u128) -> Uuid {
    let (high, low) = (number >> RANDOM_BITS, number & ((1 << RANDOM_BITS) - 1));
    let (millis, fraction) = (high >> 12, high & 0xfff);
    Uuid::from_u128((millis << 80) | (7 << 76) | (fraction << 64) | (0b10 << RANDOM_BITS) | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        // RFC 9562 appendix A.6: 2022-02-22T19:22:22Z, rand_a and rand_b as there but for the fraction (zero here).
        let number = candidate(Timestamp::from_unix_seconds(1_645_557_742), 0x18C4_DC0C_0C07_398F << 2);
        assert_eq!(uuid(number).to_string(), "017f22e2-79b0-7000-98c4-dc0c0c07398f");
        let half = candidate(Timestamp(1_645_557_742_000_500), 0);
        assert_eq!(uuid(half).to_string(), "017f22e2-79b0-7800-8000-000000000000");
    }

    #[test]
    fn time_going_back_does_not_matter() {
        let last = candidate(Timestamp(2_000_000), u64::MAX);
        let next = after(last, candidate(Timestamp(1_000_000), u64::MAX), 0);
        assert_eq!(next, last + 1);
        assert!(uuid(next) > uuid(last));
    }
}
