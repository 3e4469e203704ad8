//! The service's own keys, shared by all nodes on a database. Of each purpose one signs; earlier ones verify for a while after
//! a rotation.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

use super::value::row;
use super::{Change, Connection, Error, Store, Tx};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::sealing::{self, KeyId, Place, sealed_under};
use crate::signature::{Algorithm, PrivateKey};

/// For nodes that hear of a rotation a little late.
const LATE: Duration = Duration::from_secs(60);

/// What a key of the service is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Bearer tokens of programmes: HMAC-SHA256.
    Jwt,
    /// What requests under one idempotency key must have in common: HMAC-SHA256.
    Fingerprint,
    /// Verification links: HMAC-SHA256.
    Links,
    /// Webhooks: Ed25519, PKCS #8 PEM.
    Webhook,
    /// Cursors of the event stream: AES-256.
    Cursor,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 5] = [Self::Jwt, Self::Fingerprint, Self::Links, Self::Webhook, Self::Cursor];

    /// Its name in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Fingerprint => "fingerprint",
            Self::Links => "links",
            Self::Webhook => "webhook",
            Self::Cursor => "cursor",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// How long an earlier key verifies after a rotation: tokens and stored responses live for an hour, receivers may verify
    /// a webhook late, a person may open a link that came by mail weeks later,
    /// and a consumer may resume while its events are kept.
    pub const fn overlap(self) -> Duration {
        match self {
            Self::Jwt | Self::Fingerprint => Duration::from_hours(1).saturating_add(LATE),
            Self::Webhook => Duration::from_hours(24),
            Self::Links => Duration::from_hours(24 * 30),
            Self::Cursor => Duration::from_hours(24 * 366),
        }
    }

    /// Its name in `service_keys`, where the version before kept it in the clear.
    const fn unsealed_name(self) -> &'static str {
        match self {
            Self::Webhook => "webhooks",
            other => other.as_str(),
        }
    }
}

/// A key of the service.
#[derive(Debug, Clone)]
pub struct ServiceKey {
    /// What tokens and signatures call it: says nothing of the key.
    pub kid: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The key.
    pub secret: SecretSlice<u8>,
    /// Since when it has been there.
    pub created_at: Timestamp,
    /// Absent of the key that signs; of an earlier one, until when it still verifies.
    pub verifies_until: Option<Timestamp>,
}

impl ServiceKey {
    /// A new key, to sign from now on.
    ///
    /// # Errors
    /// There is no randomness for an Ed25519 key.
    pub fn fresh(purpose: Purpose, clock: &Clock) -> Result<Self, Error> {
        let secret = match purpose {
            Purpose::Webhook => {
                let made = PrivateKey::generate(Algorithm::Ed25519);
                let key = made.map_err(|error| Error::Unavailable(format!("cannot make a key: {error}")))?;
                key.to_pem().expose_secret().as_bytes().to_vec().into()
            }
            _ => clock.random::<32>().to_vec().into(),
        };
        Ok(Self { kid: kid(purpose, &secret)?, purpose, secret, created_at: clock.now(), verifies_until: None })
    }

    /// Whether it is the one that signs.
    pub const fn signs(&self) -> bool {
        self.verifies_until.is_none()
    }

    /// The key of webhooks.
    ///
    /// # Errors
    /// The row holds no such key.
    pub fn private_key(&self) -> Result<PrivateKey, Error> {
        private_key(&self.secret)
    }
}

fn private_key(secret: &SecretSlice<u8>) -> Result<PrivateKey, Error> {
    let pem = std::str::from_utf8(secret.expose_secret()).ok();
    let key = pem.and_then(|pem| PrivateKey::parse(pem).ok());
    key.ok_or_else(|| Error::Unreadable("service_keyring.secret: no private key".to_owned()))
}

/// The thumbprint of a key that is published; else a hash: the keys are 256 random bits, so that it says nothing of them.
fn kid(purpose: Purpose, secret: &SecretSlice<u8>) -> Result<String, Error> {
    if purpose == Purpose::Webhook {
        return Ok(private_key(secret)?.public_key().thumbprint());
    }
    let mut hash = Sha256::new();
    hash.update(b"customerd kid 1\0");
    hash.update(purpose.as_str());
    hash.update(secret.expose_secret());
    Ok(hex::encode(&hash.finalize()[..8]))
}

pub(super) fn place(kid: &str) -> Place<'_> {
    Place::new("service_keyring", "secret", kid.as_bytes())
}

row! {
    struct KeyRow {
        kid: String,
        purpose: String,
        secret: Vec<u8>,
        created_at: Timestamp,
        verifies_until: Option<Timestamp>,
    }
}

/// The keys that sign or still verify, those that sign first and the newest first.
///
/// What cannot be opened is an error, and no key is left out: a service that went on without one would make another.
pub async fn load(on: &mut impl Connection, now: Timestamp) -> Result<Vec<ServiceKey>, Error> {
    let sealer = on.sealer().clone();
    let rows: Vec<KeyRow> = on
        .query(
            "SELECT kid, purpose, secret, created_at, verifies_until FROM service_keyring \
             WHERE verifies_until IS NULL OR verifies_until > $1 ORDER BY created_at DESC, kid",
        )
        .bind(now)
        .all()
        .await?;
    let read = |row: KeyRow| {
        let unreadable = || Error::unreadable("service_keyring.purpose", &row.purpose);
        let purpose = Purpose::from_name(&row.purpose).ok_or_else(unreadable)?;
        let secret = sealer.open(place(&row.kid), &row.secret)?;
        let (created_at, verifies_until) = (row.created_at, row.verifies_until);
        Ok(ServiceKey { kid: row.kid, purpose, secret, created_at, verifies_until })
    };
    let mut keys = rows.into_iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    keys.sort_by_key(|key| !key.signs());
    Ok(keys)
}

/// The encryption keys that the keyring is sealed under; `None` stands for a key that is kept in the clear.
pub async fn encryption_keys(on: &mut impl Connection) -> Result<Vec<Option<KeyId>>, Error> {
    let rows: Vec<(String, Vec<u8>)> = on.query("SELECT kid, secret FROM service_keyring").all().await?;
    let ids: Result<Vec<_>, sealing::Error> =
        rows.iter().map(|(kid, secret)| sealed_under(place(kid), secret)).collect();
    Ok(ids?)
}

/// Whether a key is kept in the clear, one that the version before left too.
pub async fn is_clear(on: &mut impl Connection) -> Result<bool, Error> {
    Ok(has_unsealed(on).await? || encryption_keys(on).await?.contains(&None))
}

/// Makes the keys that are missing, so that every node of a database ends up with the same, and gives all.
pub async fn ensure(store: &Store, clock: &Clock) -> Result<Vec<ServiceKey>, Error> {
    let keys = load(&mut store.reader().await?, clock.now()).await?;
    let signs = |purpose| keys.iter().any(|key| key.purpose == purpose && key.signs());
    let missing = Purpose::ALL.into_iter().filter(|purpose| !signs(*purpose));
    let fresh = missing.map(|purpose| ServiceKey::fresh(purpose, clock)).collect::<Result<Vec<_>, Error>>()?;
    if fresh.is_empty() {
        return Ok(keys);
    }
    store.transact(&Add(fresh)).await?;
    load(&mut store.reader().await?, clock.now()).await
}

struct Add(Vec<ServiceKey>);

impl Change for Add {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        for key in &self.0 {
            add(tx, key).await?;
        }
        Ok(())
    }
}

/// Adds a key; `false` where there is one that signs already.
pub(super) async fn add(tx: &mut Tx, key: &ServiceKey) -> Result<bool, Error> {
    let sealed = tx.seal(place(&key.kid), key.secret.expose_secret()).await?;
    let added = tx
        .query(
            "INSERT INTO service_keyring (kid, purpose, secret, created_at, verifies_until) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(key.kid.as_str())
        .bind(key.purpose.as_str())
        .bind(sealed)
        .bind(key.created_at)
        .bind(key.verifies_until)
        .execute()
        .await?;
    Ok(added == 1)
}

/// Lets `fresh` sign from now on, and the earlier keys of its purpose verify until `until` at most.
/// [`Error::Unavailable`] when another command is rotating the key.
pub async fn rotate(tx: &mut Tx, fresh: &ServiceKey, until: Timestamp) -> Result<(), Error> {
    tx.query(
        "UPDATE service_keyring SET verifies_until = $1 \
         WHERE purpose = $2 AND (verifies_until IS NULL OR verifies_until > $1)",
    )
    .bind(until)
    .bind(fresh.purpose.as_str())
    .execute()
    .await?;
    tx.query("DELETE FROM service_keyring WHERE verifies_until <= $1").bind(fresh.created_at).execute().await?;
    if add(tx, fresh).await? {
        return Ok(());
    }
    Err(Error::Unavailable("another command is rotating this key: list the keys, then try again".to_owned()))
}

row! {
    struct Unsealed {
        secret: Vec<u8>,
        created_at: Timestamp,
    }
}

/// Whether the version before left keys, which it kept in the clear.
pub(super) async fn has_unsealed(on: &mut impl Connection) -> Result<bool, Error> {
    let (left,): (i64,) = on.query("SELECT count(*) FROM service_keys").one().await?;
    Ok(left > 0)
}

/// Moves a key of the version before, which kept it in the clear, into the keyring. With an encryption key `fresh` takes over
/// from it at once, because a key that lay in the clear may be known to others.
pub(super) async fn adopt(tx: &mut Tx, fresh: &ServiceKey) -> Result<bool, Error> {
    let (purpose, now) = (fresh.purpose, fresh.created_at);
    let name = purpose.unsealed_name();
    let found: Option<Unsealed> = tx
        .query("SELECT secret, created_at FROM service_keys WHERE name = $1")
        .bind(name)
        .for_update()
        .optional()
        .await?;
    let Some(Unsealed { secret, created_at }) = found else { return Ok(false) };
    let secret = SecretSlice::from(secret);
    let rotates = tx.sealer().has_key();
    let verifies_until = rotates.then(|| now + purpose.overlap());
    add(tx, &ServiceKey { kid: kid(purpose, &secret)?, purpose, secret, created_at, verifies_until }).await?;
    if rotates {
        add(tx, fresh).await?;
    }
    tx.query("DELETE FROM service_keys WHERE name = $1").bind(name).execute().await?;
    Ok(true)
}

/// Lets `fresh` take over from a key that signs and is kept in the clear, now that there is an encryption key.
pub(super) async fn replace_clear(tx: &mut Tx, fresh: &ServiceKey) -> Result<bool, Error> {
    let found: Option<(String, Vec<u8>)> = tx
        .query("SELECT kid, secret FROM service_keyring WHERE purpose = $1 AND verifies_until IS NULL")
        .bind(fresh.purpose.as_str())
        .for_update()
        .optional()
        .await?;
    match found {
        Some((kid, secret)) if sealed_under(place(&kid), &secret)?.is_none() => {
            rotate(tx, fresh, fresh.created_at + fresh.purpose.overlap()).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
