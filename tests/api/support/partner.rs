//! Who calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use customerd::app::Profile;
use customerd::clock::Clock;
use customerd::signature::{Algorithm, PrivateKey};
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Call};

/// A partner: calls over REST as its programme.
pub struct Partner {
    pub programme_id: Uuid,
    pub api_key: String,
    pub api_secret: String,
    pub token: String,
    /// What signs, and the `keyid` it goes by.
    pub key: Arc<PrivateKey>,
    pub key_id: String,
    pub http: SocketAddr,
    pub clock: Clock,
    pub calls: AtomicU32,
}

impl Partner {
    /// With the credentials and the key of a profile, not signed in yet.
    pub fn new(http: SocketAddr, clock: Clock, profile: &Profile) -> Self {
        Self {
            programme_id: profile.programme_id,
            api_key: profile.api_key.to_string(),
            api_secret: profile.api_secret.expose_secret().to_owned(),
            token: String::new(),
            key: Arc::new(PrivateKey::parse(profile.private_key_pem.as_ref().unwrap().expose_secret()).unwrap()),
            key_id: profile.key_id.clone(),
            http,
            clock,
            calls: AtomicU32::new(0),
        }
    }

    /// Gets a new bearer token.
    pub async fn sign_in(&mut self) {
        let answer = self.ask_token(&self.api_key, &self.api_secret).await;
        self.token = answer.is(200).json()["token"].as_str().unwrap().to_owned();
    }

    /// `POST /v1/auth/token` with these credentials.
    pub async fn ask_token(&self, api_key: &str, api_secret: &str) -> Answer {
        self.post("/v1/auth/token", &json!({"apiKey": api_key, "apiSecret": api_secret})).bare().await
    }

    /// Registers a new key and signs with it from now on.
    pub async fn take_key(&mut self, algorithm: Algorithm) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let answer = self.put("/v1/auth/signing", &json!({"publicKey": public_pem(&key)})).await.is(200);
        self.key_id = answer.json()["keyId"].as_str().unwrap().to_owned();
        self.key = Arc::new(key);
    }

    /// A new number for every call: names requests and idempotency keys.
    pub(super) fn number(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn get(&self, target: &str) -> Call<'_> {
        Call::new(self, Method::GET, target)
    }

    pub fn delete(&self, target: &str) -> Call<'_> {
        Call::new(self, Method::DELETE, target)
    }

    pub fn patch(&self, target: &str) -> Call<'_> {
        Call::new(self, Method::PATCH, target)
    }

    pub fn post(&self, target: &str, body: &Value) -> Call<'_> {
        Call::new(self, Method::POST, target).body(body.to_string())
    }

    pub fn put(&self, target: &str, body: &Value) -> Call<'_> {
        Call::new(self, Method::PUT, target).body(body.to_string())
    }

    pub fn call(&self, method: &str, target: &str) -> Call<'_> {
        Call::new(self, method.parse().unwrap(), target)
    }

    /// Creates a customer; gives the answer's JSON.
    pub async fn customer(&self, external_id: &str) -> Value {
        let body = json!({"chainId": account(external_id), "externalId": external_id});
        self.post("/v1/customers", &body).await.is(201).json()
    }

    /// A gRPC request with this partner's bearer.
    pub fn rpc<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }
}

/// An internal service on gRPC.
pub struct Operator {
    pub token: String,
}

impl Operator {
    /// A request about the work of all programmes.
    pub fn rpc_of_all<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }

    /// A request for a programme.
    pub fn rpc<T>(&self, programme_id: Uuid, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request.metadata_mut().insert("x-programme-id", programme_id.to_string().parse().unwrap());
        request
    }
}

/// A blockchain account of its own for every name: all-lower-case hexadecimal of the name's hash.
pub fn account(name: &str) -> String {
    use sha2::Digest as _;
    format!("eip155:1:0x{}", hex::encode(&sha2::Sha256::digest(name)[..20]))
}

/// The public half, SubjectPublicKeyInfo in PEM.
pub fn public_pem(key: &PrivateKey) -> String {
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.encode(key.public_key().spki_der());
    let lines: Vec<&str> = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
