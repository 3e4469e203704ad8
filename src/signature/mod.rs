//! HTTP Message Signatures (RFC 9421) and `Content-Digest` (RFC 9530), as the contract's §4 profiles them.
//!
//! Pure: no I/O, no clock (`now` is Unix seconds, passed in), nothing of ours imported. The work is cut where the REST
//! front ends and the service begins: [`check`] does everything that needs the request but no key and yields
//! [`Evidence`]; [`Evidence::verify`] needs keys but no request, so it can run on another machine.
//!
//! | step | item |
//! |---|---|
//! | body against its digest | [`digest::check`] |
//! | request as a signer saw it | [`Message`], resolved against the accepted [`Origins`] |
//! | `Signature-Input`, `Signature` | `input` |
//! | coverage, parameters, window | [`check`] with a [`Policy`] |
//! | signature base | `base` |
//! | key, algorithm, mathematics | [`Evidence::verify`], [`Candidate::verify`], [`PublicKey`] |
//! | signing (CLI, webhooks, tests) | [`sign`], [`PrivateKey`] |

mod base;
mod component;
mod der;
pub mod digest;
mod error;
mod evidence;
mod idempotency_key;
mod input;
mod jwk;
mod key;
mod message;
mod origin;
mod pem;
mod policy;
mod private_key;
mod query;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use error::{Error, KeyError};
pub use evidence::{Candidate, Evidence};
pub use idempotency_key::{IDEMPOTENCY_KEY, idempotency_key};
pub use key::{Algorithm, PublicKey};
pub use message::{Head, Message};
pub use origin::{Origin, OriginError, Origins};
pub use policy::{MAX_AGE, MAX_SKEW, Policy, check};
pub use private_key::PrivateKey;
pub use sign::{Param, Recipe, Signed, sign};
pub use verify::Failure;
