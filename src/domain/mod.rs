//! Pure rules and values: no I/O, nothing of ours from outside this room.

pub mod backoff;
pub mod callback_url;
pub mod delivery;
pub mod reach;
pub mod timestamp;
pub mod webhook;

pub use timestamp::Timestamp;
