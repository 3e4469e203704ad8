//! Encryption keys: 32 random bytes each, known by an id that says nothing of them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// Bytes of an encryption key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a key's id.
pub(super) const KEY_ID: usize = 8;
/// Bytes that set the data keys of two values apart.
pub(super) const SALT: usize = 16;

/// What data keys and ids are derived for (RFC 5869's info).
const DATA_KEY: &[u8] = b"customerd data key 1";
const ID: &[u8] = b"customerd key id 1";

/// The id of an encryption key, derived from it one way. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; KEY_ID]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no encryption key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an encryption key is 32 bytes in base64; `customerd keygen --encryption` makes one")]
pub struct InvalidKey;

/// A key that values are sealed under, kept outside of the database.
#[derive(Clone)]
pub struct EncryptionKey {
    id: KeyId,
    bytes: SecretSlice<u8>,
}

impl EncryptionKey {
    /// Of random bytes.
    ///
    /// # Panics
    /// Never: 8 bytes are within what HKDF can give.
    #[expect(clippy::expect_used, reason = "HKDF gives up to 255 hashes; this asks for 8 bytes")]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let mut id = [0; KEY_ID];
        let prk = Prk::new_less_safe(HKDF_SHA256, &bytes);
        prk.expand(&[ID], Length(KEY_ID)).and_then(|okm| okm.fill(&mut id)).expect("HKDF of 8 bytes");
        Self { id: KeyId(id), bytes: bytes.to_vec().into() }
    }

    /// Its id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Its text in a key file: base64.
    pub fn to_text(&self) -> SecretString {
        STANDARD.encode(self.bytes.expose_secret()).into()
    }

    /// The key of one value.
    pub(super) fn data_key(&self, salt: &[u8; SALT]) -> Result<LessSafeKey, Unspecified> {
        let prk = Prk::new_less_safe(HKDF_SHA256, self.bytes.expose_secret());
        let info = [DATA_KEY, salt];
        Ok(LessSafeKey::new(UnboundKey::from(prk.expand(&info, &AES_256_GCM)?)))
    }
}

/// Reads the text of a key file.
impl FromStr for EncryptionKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidKey)?;
        Ok(Self::new(bytes.try_into().map_err(|_| InvalidKey)?))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id)
    }
}

/// How many bytes HKDF is to give.
struct Length(usize);

impl aws_lc_rs::hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
