//! Links that work without signing in: their token is a MAC, so that nobody can guess one and nothing has to be stored.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::signature::Origin;

/// Bytes of the MAC that a token carries: 128 bits.
const MAC: usize = 16;

/// Makes and reads links.
pub(crate) struct Links {
    /// The first makes links, all of them read them.
    keys: Vec<hmac::Key>,
    /// `https://host`.
    origin: String,
}

impl Links {
    pub(crate) fn new<'k>(secrets: impl IntoIterator<Item = &'k [u8]>, origin: &Origin) -> Self {
        let origin = format!("{}://{}", origin.scheme(), origin.authority());
        let keys = secrets.into_iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self { keys: keys.collect(), origin }
    }

    /// Where the person behind a customer goes for identity verification.
    pub(crate) fn verification(&self, customer_id: Uuid) -> String {
        format!("{}/verify/{}", self.origin, self.token(customer_id))
    }

    /// The customer's id and its MAC, base64url.
    pub(crate) fn token(&self, customer_id: Uuid) -> String {
        let mut bytes = [0; 16 + MAC];
        bytes[..16].copy_from_slice(customer_id.as_bytes());
        // A keyring always has a key that signs; without one the zeros are nobody's MAC, and no link opens.
        if let Some(key) = self.keys.first() {
            bytes[16..].copy_from_slice(&hmac::sign(key, customer_id.as_bytes()).as_ref()[..MAC]);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The customer that a token was made for.
    pub(crate) fn read(&self, token: &str) -> Option<Uuid> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, mac) = bytes.split_at_checked(16)?;
        let matches = |key: &hmac::Key| {
            aws_lc_rs::constant_time::verify_slices_are_equal(mac, &hmac::sign(key, id).as_ref()[..MAC]).is_ok()
        };
        if self.keys.iter().any(matches) { Uuid::from_slice(id).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_tokens_are_read() {
        let origin = Origin::parse("https://api.example.com").unwrap();
        let links = Links::new([&[1; 32][..]], &origin);
        let id = Uuid::from_u128(5);
        let url = links.verification(id);
        let token = url.strip_prefix("https://api.example.com/verify/").unwrap();
        assert_eq!(links.read(token), Some(id));
        assert_eq!(Links::new([&[2; 32][..]], &origin).read(token), None);
        let rotated = Links::new([&[2; 32][..], &[1; 32]], &origin);
        assert_eq!(rotated.read(token), Some(id));
        assert_ne!(rotated.verification(id), url);
        let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        bytes[3] ^= 1;
        assert_eq!(links.read(&URL_SAFE_NO_PAD.encode(bytes)), None);
        for bad in ["", "x", "AAAA", &token[1..]] {
            assert_eq!(links.read(bad), None, "{bad}");
        }
    }
}
