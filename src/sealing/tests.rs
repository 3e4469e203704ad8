#![allow(clippy::unwrap_used, reason = "tests")]

use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::Timestamp;

const PLACE: Place<'_> = Place::new("webhooks", "sealed_secret", b"row-1");

fn key(byte: u8) -> EncryptionKey {
    EncryptionKey::new([byte; KEY_BYTES])
}

fn sealer(keys: &[u8]) -> Sealer {
    let sealer = Sealer::new(Clock::manual(Timestamp::EPOCH, 1));
    sealer.use_keys(Keyring::new(keys.iter().copied().map(key).collect()));
    sealer
}

#[test]
fn a_sealed_value_opens_in_its_place_alone() {
    let sealer = sealer(&[1]);
    let sealed = sealer.seal(PLACE, b"whsec_secret").unwrap();
    assert_eq!(sealer.open(PLACE, &sealed).unwrap().expose_secret(), b"whsec_secret");
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    let elsewhere = [
        Place::new("webhooks", "sealed_secret", b"row-2"),
        Place::new("webhooks", "sealed_secret", b"row-"),
        Place::new("webhooks", "sealed_secre", b"trow-1"),
        Place::new("webhook", "ssealed_secret", b"row-1"),
    ];
    for place in elsewhere {
        assert_eq!(sealer.open(place, &sealed).unwrap_err(), Error::Altered(place.to_string()));
    }
}

#[test]
fn every_bit_of_a_sealed_value_counts() {
    let sealer = sealer(&[1]);
    let sealed = sealer.seal(PLACE, b"secret").unwrap();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[at] ^= 1 << bit;
            assert!(sealer.open(PLACE, &altered).is_err(), "byte {at}, bit {bit}");
        }
        assert!(sealer.open(PLACE, &sealed[..at]).is_err(), "{at} bytes");
    }
}

#[test]
fn two_values_share_nothing_but_the_key_id() {
    let sealer = sealer(&[1]);
    let (one, two) = (sealer.seal(PLACE, b"").unwrap(), sealer.seal(PLACE, b"").unwrap());
    assert_eq!(one[..PREFIX], two[..PREFIX]);
    assert_eq!(one[..PREFIX], sealer.keyring().prefix());
    assert_ne!(one[PREFIX..], two[PREFIX..]);
    assert_eq!(sealer.open(PLACE, &one).unwrap().expose_secret(), b"");
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let old = sealer(&[1]).seal(PLACE, b"secret").unwrap();
    let both = sealer(&[2, 1]);
    assert_eq!(both.open(PLACE, &old).unwrap().expose_secret(), b"secret");
    let new = both.seal(PLACE, b"secret").unwrap();
    assert_eq!(sealed_under(PLACE, &new), Ok(Some(key(2).id())));
    let refused = sealer(&[1]).open(PLACE, &new).unwrap_err();
    assert_eq!(refused, Error::UnknownKey { place: PLACE.to_string(), key: key(2).id() });
    let refused = sealer(&[]).open(PLACE, &new).unwrap_err();
    assert_eq!(refused, Error::NoKey { place: PLACE.to_string(), key: key(2).id() });
}

#[test]
fn a_value_in_the_clear_is_refused_once_there_is_a_key() {
    let clear = sealer(&[]).seal(PLACE, b"secret").unwrap();
    assert_eq!(clear, b"\0secret");
    assert_eq!(sealer(&[]).open(PLACE, &clear).unwrap().expose_secret(), b"secret");
    let with_key = sealer(&[1]);
    assert_eq!(with_key.open(PLACE, &clear).unwrap_err(), Error::Clear(PLACE.to_string()));
    assert_eq!(with_key.open_any(PLACE, &clear).unwrap().expose_secret(), b"secret");
    for other in [&b""[..], b"\x02abc", b"\x0a\x03abc"] {
        assert_eq!(with_key.open(PLACE, other).unwrap_err(), Error::Malformed(PLACE.to_string()));
    }
}

#[test]
fn keys_are_read_and_never_shown() {
    let text = key(7).to_text();
    assert_eq!(text.expose_secret().parse::<EncryptionKey>().unwrap().id(), key(7).id());
    for bad in ["", "x", "AAAA", &"A".repeat(44), text.expose_secret().trim_end_matches('=')] {
        assert_eq!(bad.parse::<EncryptionKey>().err(), Some(InvalidKey), "{bad}");
    }
    let shown = format!("{:?} {:?}", key(7), sealer(&[7]));
    assert!(shown.contains(&key(7).id().to_string()) && !shown.contains("BwcH"), "{shown}");
}
