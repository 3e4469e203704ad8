//! The times in which a programme was disabled: the clock of its deliveries stands still meanwhile.

use std::time::Duration;

use super::timestamp::Timestamp;

/// Pauses that are remembered. Of a delivery that saw more than these between two attempts, the clock went on in the oldest.
const KEPT: usize = 16;

/// The latest pauses that have ended, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pauses(Vec<(Timestamp, Timestamp)>);

impl Pauses {
    /// From beginnings and ends, oldest first.
    pub fn new(pauses: Vec<(Timestamp, Timestamp)>) -> Self {
        Self(pauses)
    }

    /// Adds the latest one.
    pub fn add(&mut self, from: Timestamp, until: Timestamp) {
        self.0.push((from, until));
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// Beginnings and ends.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.0.iter().copied()
    }

    /// How much of them came after this time.
    pub fn after(&self, time: Timestamp) -> Duration {
        self.iter().map(|(from, until)| until.since(from.max(time))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_after_a_time() {
        let at = Timestamp::from_unix_seconds;
        let mut pauses = Pauses::default();
        assert_eq!(pauses.after(at(0)), Duration::ZERO);
        pauses.add(at(10), at(20));
        pauses.add(at(30), at(35));
        for (time, seconds) in [(0, 15), (10, 15), (14, 11), (20, 5), (34, 1), (35, 0), (90, 0)] {
            assert_eq!(pauses.after(at(time)), Duration::from_secs(seconds), "{time}");
        }
        for _ in 0..20 {
            pauses.add(at(40), at(41));
        }
        assert_eq!(pauses.iter().count(), KEPT);
    }
}
