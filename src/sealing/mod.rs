//! Secrets at rest: what must be kept in the clear to be used is sealed under a key that is not in the database.
//!
//! A sealed value is `1 ‖ key id (8) ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. Each value has a data key of its own,
//! HKDF-Expand (RFC 5869) of the encryption key over the salt, so that the limit of 2³² random nonces under one AES-GCM key
//! (NIST SP 800-38D §8.3) does not bind: replies alone would reach it within weeks. The associated data names the value's
//! [`Place`], so that it opens nowhere else.
//!
//! Without a key a value is kept as `0 ‖ text`: a sandbox on PostgreSQL works, and a key that comes later finds what to seal.
//! With a key such a value is refused, so that nobody can put one in the place of a sealed one.
//!
//! ```text
//! let place = Place::new("customer_keys", "secret", customer_id.as_bytes());
//! let sealed = tx.seal(place, &key).await?;           // Vec<u8>, for a BLOB / BYTEA column
//! let opened = on.sealer().open(place, &sealed)?;   // Secret: wiped when dropped, never in Debug
//! ```

mod key;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::error::Unspecified;
use secrecy::SecretSlice;

pub use key::{EncryptionKey, InvalidKey, KEY_BYTES, KeyId};

use crate::clock::Clock;
use key::{KEY_ID, SALT};

/// What was sealed. Wiped when dropped.
pub type Secret = SecretSlice<u8>;

/// The first byte of a value that is kept as it is.
pub const CLEAR: u8 = 0;
/// The first byte of a sealed value.
const SEALED: u8 = 1;
/// Bytes before the ciphertext.
const HEAD: usize = 1 + KEY_ID + SALT + NONCE_LEN;
/// The first bytes of every value sealed under one key: [`Keyring::prefix`].
pub const PREFIX: usize = 1 + KEY_ID;

/// Where a value is kept. It opens there alone: a value that was copied to another row is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    table: &'static str,
    column: &'static str,
    row: &'a [u8],
}

impl<'a> Place<'a> {
    /// A column of the row with that primary key.
    pub const fn new(table: &'static str, column: &'static str, row: &'a [u8]) -> Self {
        Self { table, column, row }
    }

    /// The parts, each behind its length (32 bits, big-endian), so that no two places read alike.
    fn associated_data(self) -> Vec<u8> {
        let mut data = Vec::with_capacity(64 + self.row.len());
        data.push(SEALED);
        for part in [self.table.as_bytes(), self.column.as_bytes(), self.row] {
            data.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend_from_slice(part);
        }
        data
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

/// Why a value does not open. The texts name the column, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no encryption key.
    #[error("{place} is sealed under the encryption key {key}, and no encryption key is configured")]
    NoKey {
        /// Where.
        place: String,
        /// The key that it needs.
        key: KeyId,
    },
    /// Another key is needed.
    #[error("{place} is sealed under the encryption key {key}, which is not in the key file")]
    UnknownKey {
        /// Where.
        place: String,
        /// The key that it needs.
        key: KeyId,
    },
    /// The value was altered, or belongs to another row.
    #[error("{0} does not open: it was altered, or belongs to another row")]
    Altered(String),
    /// There is no encryption key, and another node has one.
    #[error("{0} must be sealed, and no encryption key is configured")]
    MustBeSealed(String),
    /// There is a key and the value is not sealed.
    #[error("{0} is not sealed, though there is an encryption key")]
    Clear(String),
    /// Not a value that a sealer wrote.
    #[error("{0} is not in the form of sealed values")]
    Malformed(String),
    /// The value is too long for AES-GCM.
    #[error("{0} cannot be sealed")]
    Unsealable(String),
}

impl Error {
    /// Whether this process lacks an encryption key that others have.
    pub const fn lacks_key(&self) -> bool {
        matches!(self, Self::NoKey { .. } | Self::UnknownKey { .. } | Self::MustBeSealed(_))
    }
}

/// The encryption keys of an installation: the first one seals, all of them open.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<EncryptionKey>);

impl Keyring {
    /// Of these keys; of none, values are kept in the clear.
    pub const fn new(keys: Vec<EncryptionKey>) -> Self {
        Self(keys)
    }

    /// The key that seals.
    pub fn sealing(&self) -> Option<&EncryptionKey> {
        self.0.first()
    }

    /// Every key.
    pub fn keys(&self) -> &[EncryptionKey] {
        &self.0
    }

    /// Their ids, the one that seals first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(EncryptionKey::id).collect()
    }

    fn find(&self, id: KeyId) -> Option<&EncryptionKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// How every value begins that this keyring seals.
    pub fn prefix(&self) -> Vec<u8> {
        self.sealing().map_or_else(|| vec![CLEAR], |key| [&[SEALED][..], &key.id().0].concat())
    }
}

/// The key that a value is sealed under; `None` when it is kept in the clear.
///
/// # Errors
/// [`Error::Malformed`], naming `place`.
pub fn sealed_under(place: Place<'_>, value: &[u8]) -> Result<Option<KeyId>, Error> {
    match value {
        [CLEAR, ..] => Ok(None),
        [SEALED, rest @ ..] => {
            let id = rest.first_chunk().ok_or_else(|| Error::Malformed(place.to_string()))?;
            Ok(Some(KeyId(*id)))
        }
        _ => Err(Error::Malformed(place.to_string())),
    }
}

/// Seals and opens. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct Sealer {
    keyring: Arc<RwLock<Arc<Keyring>>>,
    clock: Clock,
}

impl Sealer {
    /// Without a key, until [`use_keys`](Self::use_keys). Salts and nonces come from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { keyring: Arc::default(), clock }
    }

    /// Seals and opens with other keys from here on.
    pub fn use_keys(&self, keyring: Keyring) {
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }

    /// The keys in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether values are sealed, and not kept in the clear.
    pub fn has_key(&self) -> bool {
        self.keyring().sealing().is_some()
    }

    /// Seals a value for its place.
    ///
    /// # Errors
    /// [`Error::Unsealable`]: the value is longer than AES-GCM allows (64 GiB).
    pub fn seal(&self, place: Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let keyring = self.keyring();
        let Some(key) = keyring.sealing() else { return Ok([&[CLEAR], plaintext].concat()) };
        let (salt, nonce) = (self.clock.random::<SALT>(), self.clock.random::<NONCE_LEN>());
        let sealed = || -> Result<Vec<u8>, Unspecified> {
            let key: LessSafeKey = key.data_key(&salt)?;
            let mut text = plaintext.to_vec();
            let aad = Aad::from(place.associated_data());
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)?;
            Ok(text)
        };
        let text = sealed().map_err(|_| Error::Unsealable(place.to_string()))?;
        Ok([&[SEALED], &key.id().0[..], &salt, &nonce, &text].concat())
    }

    /// Opens a value of that place.
    ///
    /// # Errors
    /// [`Error`]
    pub fn open(&self, place: Place<'_>, value: &[u8]) -> Result<Secret, Error> {
        if self.has_key() && value.first() == Some(&CLEAR) {
            return Err(Error::Clear(place.to_string()));
        }
        self.open_any(place, value)
    }

    /// Opens a value of that place, one kept in the clear too: for sealing what was there before the key.
    ///
    /// # Errors
    /// [`Error`]
    pub fn open_any(&self, place: Place<'_>, value: &[u8]) -> Result<Secret, Error> {
        let keyring = self.keyring();
        let Some(id) = sealed_under(place, value)? else { return Ok(value[1..].to_vec().into()) };
        let Some(key) = keyring.find(id) else {
            let place = place.to_string();
            let none = keyring.keys().is_empty();
            return Err(if none { Error::NoKey { place, key: id } } else { Error::UnknownKey { place, key: id } });
        };
        let malformed = || Error::Malformed(place.to_string());
        let (head, text) = value.split_at_checked(HEAD).ok_or_else(malformed)?;
        let salt = head[PREFIX..].first_chunk::<SALT>().ok_or_else(malformed)?;
        let nonce = head[PREFIX + SALT..].first_chunk::<NONCE_LEN>().ok_or_else(malformed)?;
        let opened = || -> Result<Vec<u8>, Unspecified> {
            let mut text = text.to_vec();
            let aad = Aad::from(place.associated_data());
            let length = key.data_key(salt)?.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text)?.len();
            text.truncate(length);
            Ok(text)
        };
        opened().map(Secret::from).map_err(|_| Error::Altered(place.to_string()))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&self.keyring()).finish()
    }
}

#[cfg(test)]
mod tests;
