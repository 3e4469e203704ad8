//! The service's own keys in use. A rotation by another node is noticed within a second, or at once when a token names a key
//! that is not known here yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use prost::{Message, Name};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use super::Api;
use super::cursors::Cursors;
use super::failure::Outcome;
use super::links::Links;
use super::token::Tokens;
use crate::signature::{Origin, PublicKey};
use crate::store;
use crate::store::keyring::{self, Purpose, ServiceKey};

/// The keys in force together, by what they do.
pub(crate) struct Keys {
    pub(crate) tokens: Tokens,
    pub(crate) links: Links,
    pub(crate) cursors: Cursors,
    /// What verifies the signatures of webhooks, each under its id: public halves, and of no other purpose.
    pub(crate) webhooks: Vec<(String, PublicKey)>,
    fingerprints: Vec<hmac::Key>,
}

impl Keys {
    /// Of a keyring in which those that sign come first.
    pub(crate) fn new(keyring: &[ServiceKey], origin: &Origin) -> Result<Self, store::Error> {
        let of = |purpose| keyring.iter().filter(move |key| key.purpose == purpose);
        let fingerprints = of(Purpose::Fingerprint);
        let webhooks = of(Purpose::Webhook);
        Ok(Self {
            tokens: Tokens::new(of(Purpose::Jwt)),
            cursors: Cursors::new(of(Purpose::Cursor).map(|key| key.secret.expose_secret()))
                .map_err(|_| store::Error::unreadable("service_keyring.secret", "no AES key"))?,
            links: Links::new(of(Purpose::Links).map(|key| key.secret.expose_secret()), origin),
            webhooks: webhooks
                .map(|key| Ok((key.kid.clone(), key.private_key()?.public_key().clone())))
                .collect::<Result<_, store::Error>>()?,
            fingerprints: fingerprints
                .map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.secret.expose_secret()))
                .collect(),
        })
    }

    /// What two requests under one idempotency key must have in common, by each live key: the first is what is stored. Each
    /// RPC has a request message of its own, so that the message's name stands for the method and the path. Keyed, because
    /// messages may hold secrets.
    pub(crate) fn fingerprints<P: Message + Name>(&self, message: &P) -> Vec<Vec<u8>> {
        let text = message.encode_to_vec();
        let fingerprint = |key: &hmac::Key| {
            let mut mac = hmac::Context::with_key(key);
            mac.update(P::full_name().as_bytes());
            mac.update(&[0]);
            mac.update(&text);
            mac.sign().as_ref().to_vec()
        };
        self.fingerprints.iter().map(fingerprint).collect()
    }
}

/// The keys in use, replaced as a whole.
pub(crate) struct CurrentKeys {
    keys: RwLock<Arc<Keys>>,
    /// Reads begun. One read serves everybody who asked before it began.
    reads: AtomicU64,
    reading: Mutex<()>,
}

impl CurrentKeys {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys: RwLock::new(Arc::new(keys)), reads: AtomicU64::new(0), reading: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Api {
    /// The keys in use.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.keys.get()
    }

    /// The keys that a token is read by: read again where it names one that is not known here.
    pub(super) async fn keys_for(&self, token: &str) -> Outcome<Arc<Keys>> {
        let keys = self.keys();
        if keys.tokens.knows_key_of(token) {
            return Ok(keys);
        }
        self.refresh_keys().await?;
        Ok(self.keys())
    }

    /// Reads the keyring again. One read at a time, however many ask.
    ///
    /// # Errors
    ///
    /// Those of the store; the keys stay as they are then.
    pub async fn refresh_keys(&self) -> Result<(), store::Error> {
        let current = &self.keys;
        let before = current.reads.load(Ordering::SeqCst);
        let _reading = current.reading.lock().await;
        if current.reads.load(Ordering::SeqCst) > before {
            return Ok(());
        }
        current.reads.fetch_add(1, Ordering::SeqCst);
        let keyring = keyring::load(&mut self.store.reader().await?, self.clock.now()).await?;
        let keys = Keys::new(&keyring, self.settings.origins.primary())?;
        *current.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }
}
