//! Cursors of the event stream: positions that only this service can read.
//!
//! A position counts the events of every programme, so a cursor is encrypted: one AES block that holds the position and half of
//! the programme's id. Another programme's cursor, or one that was made up, does not decrypt to that half. The same position
//! always has the same cursor, so that an event looks the same on pages and on streams.

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Makes and reads cursors.
pub struct Cursors(Vec<Pair>);

/// Of one key.
struct Pair {
    seal: EncryptingKey,
    open: DecryptingKey,
}

/// What a cursor says.
#[derive(Debug, PartialEq, Eq)]
pub enum Cursor {
    /// A position.
    Sealed(i64),
    /// A position in the clear, as versions up to 0.1 gave it.
    Plain(i64),
}

impl Cursors {
    /// Under keys of 32 bytes: the first makes cursors, all read them.
    ///
    /// # Errors
    /// One is no such key.
    pub fn new<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Result<Self, Unspecified> {
        let pair = |key: &[u8]| {
            let key = || UnboundCipherKey::new(&AES_256, key);
            // One block is all there is: no mode has anything to chain.
            Ok(Pair { seal: EncryptingKey::ecb(key()?)?, open: DecryptingKey::ecb(key()?)? })
        };
        keys.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The cursor behind a position.
    ///
    /// # Errors
    /// The library fails.
    pub fn seal(&self, programme_id: Uuid, position: i64) -> Result<String, Unspecified> {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&position.to_be_bytes());
        block[8..].copy_from_slice(half(&programme_id));
        self.0.first().ok_or(Unspecified)?.seal.encrypt(&mut block)?;
        Ok(URL_SAFE_NO_PAD.encode(block))
    }

    /// What a programme's cursor says; `None` of what is none.
    pub fn read(&self, programme_id: Uuid, text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if let Ok(plain) = <[u8; 8]>::try_from(bytes.as_slice()) {
            return Some(Cursor::Plain(i64::from_be_bytes(plain))).filter(|cursor| cursor.position() >= 0);
        }
        let sealed: [u8; 16] = bytes.try_into().ok()?;
        self.0.iter().find_map(|key| {
            let mut block = sealed;
            key.open.decrypt(&mut block, DecryptionContext::None).ok()?;
            let (position, owner) = block.split_at(8);
            let position = i64::from_be_bytes(position.try_into().ok()?);
            (owner == half(&programme_id)).then_some(Cursor::Sealed(position))
        })
    }
}

impl Cursor {
    /// The position.
    pub fn position(&self) -> i64 {
        let (Self::Sealed(position) | Self::Plain(position)) = self;
        *position
    }
}

/// The half of a UUIDv7 that is random.
fn half(id: &Uuid) -> &[u8] {
    &id.as_bytes()[8..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(secret: u8) -> Cursors {
        Cursors::new([&[secret; 32][..]].into_iter()).unwrap()
    }

    #[test]
    fn only_our_cursors_of_that_programme_are_read() {
        let (ours, programme, other) = (cursors(1), Uuid::from_u128(5), Uuid::from_u128(6));
        let cursor = ours.seal(programme, 42).unwrap();
        assert_eq!(cursor.len(), 22);
        assert_eq!(ours.seal(programme, 42).unwrap(), cursor);
        assert_eq!(ours.read(programme, &cursor), Some(Cursor::Sealed(42)));
        assert_eq!(ours.read(other, &cursor), None);
        assert_eq!(cursors(2).read(programme, &cursor), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        bytes[3] ^= 1;
        assert_eq!(ours.read(programme, &URL_SAFE_NO_PAD.encode(bytes)), None);
        for bad in ["", "x", "AAAA", &cursor[1..], "__________8", "yesterday"] {
            assert_eq!(ours.read(programme, bad), None, "{bad}");
        }
    }

    #[test]
    fn an_earlier_key_still_reads() {
        let (earlier, programme) = (cursors(1), Uuid::from_u128(5));
        let both = Cursors::new([&[2; 32][..], &[1; 32][..]].into_iter()).unwrap();
        let cursor = earlier.seal(programme, 42).unwrap();
        assert_eq!(both.read(programme, &cursor), Some(Cursor::Sealed(42)));
        assert_eq!(earlier.read(programme, &both.seal(programme, 42).unwrap()), None);
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let (ours, programme) = (cursors(1), Uuid::from_u128(5));
        let (one, two) = (ours.seal(programme, 1).unwrap(), ours.seal(programme, 2).unwrap());
        let same = one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 6, "{one} {two}");
    }

    #[test]
    fn cursors_of_earlier_versions_are_told_apart() {
        assert_eq!(cursors(1).read(Uuid::from_u128(5), "AAAAAAAAACo"), Some(Cursor::Plain(42)));
    }
}
