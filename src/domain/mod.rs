//! Pure rules and values: no I/O, nothing of ours from outside this room.

pub mod account;
pub mod address;
pub mod audit;
pub mod backoff;
pub mod callback_url;
pub mod card;
pub mod chain;
pub mod challenge;
pub mod checkpoint;
pub mod client;
pub mod commitment;
pub mod currency;
pub mod customer;
pub mod delivery;
pub mod error;
pub mod event;
mod issued;
pub mod kyc;
pub mod operator;
pub mod outage;
pub mod pause;
pub mod programme;
pub mod reach;
pub mod reason;
pub mod screening;
pub mod text;
pub mod timestamp;
pub mod verification;
pub mod webhook;

pub use error::{Code, Error, Violation};
pub use timestamp::Timestamp;

#[cfg(test)]
mod tests;
