//! Pure rules and values: no I/O, nothing of ours from outside this room.

pub mod timestamp;

pub use timestamp::Timestamp;
