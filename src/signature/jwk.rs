//! JSON Web Keys (RFC 7517, RFC 8037) of public keys, and their thumbprints (RFC 7638).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Algorithm, PublicKey, der};

impl PublicKey {
    /// The key as it stands in `jwks.json`: required members, `kid`, `use` and `alg` (RFC 7518 §3.1, RFC 9864 for Ed25519).
    #[must_use]
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.required_members();
        let alg = match self.algorithm() {
            Algorithm::EcdsaP384Sha384 => "ES384",
            Algorithm::EcdsaP256Sha256 => "ES256",
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::RsaPssSha512 => "PS512",
        };
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = alg.into();
        jwk
    }

    /// RFC 7638 thumbprint with SHA-256, base64url without padding: the same for every spelling of one key.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // serde_json writes members in lexicographic order without white space: the canonical form of RFC 7638 §3.
        let canonical = self.required_members().to_string();
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    fn required_members(&self) -> Value {
        let raw = self.raw();
        match self.algorithm() {
            Algorithm::EcdsaP384Sha384 => ec("P-384", raw),
            Algorithm::EcdsaP256Sha256 => ec("P-256", raw),
            Algorithm::Ed25519 => json!({ "crv": "Ed25519", "kty": "OKP", "x": b64(raw) }),
            Algorithm::RsaPssSha512 => {
                let (n, e) = der::rsa_public_key(raw).unwrap_or_default();
                json!({ "e": b64(e), "kty": "RSA", "n": b64(n) })
            }
        }
    }
}

/// `point` is 04 ‖ x ‖ y; its length was checked when the key was parsed.
fn ec(curve: &str, point: &[u8]) -> Value {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({ "crv": curve, "kty": "EC", "x": b64(x), "y": b64(y) })
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
