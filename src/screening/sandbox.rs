//! The test addresses of sandbox programmes, so that every path can be tried without luck.
//!
//! A customer reaches screening by signing with the account's key, so each outcome has addresses whose private key is
//! public. Never send anything of value to them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::address::{Address, Entry};
use super::{Hit, Outage, Screened, ScreeningProvider, Verdict, unreadable};
use crate::domain::screening::TEST_ADDRESS;

/// Rejected, on every chain of their namespace:
///
/// - `0x…dEaD`, the well-known burn address, whose key nobody has: for tests that skip the signature;
/// - the `eip155` address of the private key `0x…dead` (thirty zero bytes, then `dead`);
/// - the `solana` address of the Ed25519 seed of the same 32 bytes.
pub const REJECTED_ADDRESSES: [&str; 3] = [
    "0x000000000000000000000000000000000000dEaD",
    "0x7B1aFE2745533D852d6fD5A677F14c074210d896",
    "3emUwdKbAP8n1acsa4ZAyzWX2xusMcj19jwCX265mk9G",
];

/// Answered by an outage [`OUTAGE_TRIES`] times, then cleared, then the same again: the addresses of the private key
/// and seed `…beef`.
pub const OUTAGE_ADDRESSES: [&str; 2] =
    ["0x6E9972213BF459853FA33E28Ab7219e9157C8d02", "dgWujuRjgeZQByr8KggndoHsrEhqmUPafKThPjGWSY3"];

/// How many tries in a row fail for one of [`OUTAGE_ADDRESSES`], counted per process.
pub const OUTAGE_TRIES: u32 = 2;

/// What the test addresses are called in the audit trail.
const NAME: &str = "sandbox test addresses";

/// Clears everybody but the test addresses.
#[derive(Debug)]
pub struct Sandbox {
    rejected: Vec<Address>,
    failing: Vec<(Address, AtomicU32)>,
}

impl Default for Sandbox {
    fn default() -> Self {
        let addresses = |texts: &[&str]| texts.iter().filter_map(|text| address(text)).collect::<Vec<_>>();
        Self {
            rejected: addresses(&REJECTED_ADDRESSES),
            failing: addresses(&OUTAGE_ADDRESSES).into_iter().map(|address| (address, AtomicU32::new(0))).collect(),
        }
    }
}

impl Sandbox {
    /// Rejects one more address (bare, on every chain of its namespace).
    ///
    /// # Errors
    /// The text back when it is no bare address.
    pub fn reject(mut self, text: &str) -> Result<Self, String> {
        self.rejected.push(address(text).ok_or(text)?);
        Ok(self)
    }
}

fn address(text: &str) -> Option<Address> {
    match Entry::parse(text) {
        Ok(Entry::Everywhere(address)) => Some(address),
        _ => None,
    }
}

impl ScreeningProvider for Sandbox {
    async fn screen(&self, account: &str) -> Result<Screened, Outage> {
        let Ok(Entry::On(_, address)) = Entry::parse(account) else {
            return Err(unreadable("sandbox screening"));
        };
        if self.rejected.contains(&address) {
            let verdict = Verdict::Hit(Hit::new(TEST_ADDRESS, NAME));
            return Ok(Screened { verdict, by: NAME.to_owned() });
        }
        match self.failing.iter().find(|(failing, _)| *failing == address) {
            Some((_, tries)) if tries.fetch_add(1, Ordering::Relaxed) % (OUTAGE_TRIES + 1) < OUTAGE_TRIES => {
                Err(Outage::new("sandbox screening: simulated outage"))
            }
            _ => Ok(Screened { verdict: Verdict::Clear, by: NAME.to_owned() }),
        }
    }
}
