#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod appendix_b;
mod coverage;
mod digests;
mod evidences;
mod known_bugs;
mod messages;
mod private_keys;
mod properties;
mod public_keys;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::digest::{CONTENT_DIGEST, sha256};
use super::{
    Algorithm, Error, Evidence, Head, Message, Origins, Param, Policy, PrivateKey, Recipe, Signed, check, sign,
};

/// The second at which tests take place.
const NOW: i64 = 1_800_000_000;
const KEY_ID: &str = "key-1";

/// A request under construction.
struct Request {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn new(method: Method, target: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("api.example.com"));
        Self { method, uri: target.parse().unwrap(), version: Version::HTTP_11, headers, body: Vec::new() }
    }

    /// A complete POST with a body, its digest and an idempotency key.
    fn post() -> Self {
        let mut request = Self::new(Method::POST, "/v1/customers");
        request.body = br#"{"externalId": "u-1"}"#.to_vec();
        request.headers.insert(CONTENT_DIGEST, sha256(&request.body));
        request.with("idempotency-key", "8e03978e-40d5-43e8-bc93-6894a57f9324").with("content-type", "application/json")
    }

    fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name).unwrap();
        self
    }

    fn head(&self) -> Head<'_> {
        Head { method: &self.method, uri: &self.uri, version: self.version, headers: &self.headers }
    }

    fn signed(mut self, key: &PrivateKey, recipe: &Recipe<'_>) -> Self {
        let origins = origins();
        let Signed { signature_input, signature } =
            sign(&Message::received(self.head(), &origins).unwrap(), key, recipe).unwrap();
        self.headers.append("signature-input", signature_input);
        self.headers.append("signature", signature);
        self
    }

    /// With `Signature-Input: sig=<input>` as written and a signature of zeros.
    fn claimed(self, input: &str) -> Self {
        self.with("signature-input", &format!("sig={input}")).with("signature", "sig=:AAAA:")
    }

    fn check(&self) -> Result<Evidence, Error> {
        self.check_at(NOW)
    }

    fn check_at(&self, now: i64) -> Result<Evidence, Error> {
        let origins = origins();
        let message = Message::received(self.head(), &origins)?;
        check(&message, Policy::for_request(&self.method, !self.body.is_empty()), now)
    }

    /// The base built for the first candidate.
    fn base(&self) -> String {
        self.check().unwrap().candidates()[0].redacted_base()
    }

    /// The whole way, with one live key.
    fn accepted_by(&self, key: &PrivateKey) -> Result<(), Error> {
        super::digest::check(&self.headers, &self.body)?;
        let evidence = self.check()?;
        let find = |id: &str| (id == KEY_ID).then(|| key.public_key());
        evidence.verify(NOW, find).map(|_| ()).map_err(|failure| failure.error)
    }
}

fn origins() -> Origins {
    Origins::new(["https://api.example.com", "http://localhost:8080"]).unwrap()
}

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::EcdsaP384Sha384).unwrap()
}

const PARAMS: &[Param<'_>] = &[Param::Created(NOW), Param::KeyId(KEY_ID)];
const POST: Recipe<'_> = Recipe {
    label: "sig",
    components: &["@method", "@target-uri", "content-digest", "idempotency-key"],
    params: PARAMS,
};
const GET: Recipe<'_> = Recipe { label: "sig", components: &["@method", "@target-uri"], params: PARAMS };

fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().code()
}
