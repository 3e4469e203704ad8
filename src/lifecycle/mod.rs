//! What moves entities: every change of a customer, an account or a card, by any actor, with what follows from it, in the
//! caller's transaction.
//!
//! The mover locks the customer's row; it is the one lock of everything that the customer owns. A [`Recorder`] is the only way
//! into a customer's audit chain: times never go back along it, whatever the clocks of the nodes say.

mod append;
mod cascade;

pub mod account_moves;
pub mod card_moves;
pub mod decision;
pub mod moves;
pub mod verification;

pub use append::Recorder;
pub use moves::{NotMoved, Step};
