//! The keys that sign checkpoints. The newest signs; earlier ones are kept, since what they signed must verify for good.

use secrecy::ExposeSecret as _;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::sealing::{CLEAR, Place};
use crate::signature::{Algorithm, PrivateKey, PublicKey};
use crate::store::reseal::Which;
use crate::store::{Change, Connection, Error, Store, Tx};

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::unreadable("audit_keys.sealed_key", &error.to_string())
}

/// The key that signs checkpoints, made when it is first asked for: the same on every node of a database. One that was kept
/// in the clear is sealed and signs no more once there is an encryption key, because it may be known to others.
///
/// # Errors
///
/// Those of the store.
pub async fn signing_key(store: &Store, clock: &Clock) -> Result<PrivateKey, Error> {
    let fresh = PrivateKey::generate(Algorithm::Ed25519).map_err(|error| unreadable(&error))?;
    let now = clock.now();
    store.transact(&Ensure { fresh: &fresh, now }).await
}

struct Ensure<'a> {
    fresh: &'a PrivateKey,
    now: Timestamp,
}

impl Change for Ensure<'_> {
    type Out = PrivateKey;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<PrivateKey, Error> {
        let newest: Option<(i64, Vec<u8>)> = tx
            .query("SELECT seq, sealed_key FROM audit_keys ORDER BY seq DESC LIMIT 1")
            .for_update()
            .optional()
            .await?;
        let next = match newest {
            Some((seq, sealed)) => {
                let key = open(tx, seq, &sealed)?;
                if sealed.first() != Some(&CLEAR) || !tx.sealer().has_key() {
                    return Ok(key);
                }
                let sealed = seal(tx, seq, &key)?;
                let update = tx.query("UPDATE audit_keys SET sealed_key = $2 WHERE seq = $1");
                update.bind(seq).bind(sealed).execute().await?;
                seq + 1
            }
            None => 1,
        };
        let sealed = seal(tx, next, self.fresh)?;
        // Another node may make the first one at the same time: then its key is the one.
        tx.query("INSERT INTO audit_keys (seq, sealed_key, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(next)
            .bind(sealed)
            .bind(self.now)
            .execute()
            .await?;
        let query = tx.query("SELECT sealed_key FROM audit_keys WHERE seq = $1").bind(next);
        let (sealed,): (Vec<u8>,) = query.one().await?;
        open(tx, next, &sealed)
    }
}

/// The public halves, oldest first.
pub(super) async fn public_keys(on: &mut impl Connection) -> Result<Vec<PublicKey>, Error> {
    let rows: Vec<(i64, Vec<u8>)> = on.query("SELECT seq, sealed_key FROM audit_keys ORDER BY seq").all().await?;
    rows.iter().map(|(seq, sealed)| Ok(open(on, *seq, sealed)?.public_key().clone())).collect()
}

/// Seals the keys again; how many.
pub(in crate::store) async fn reseal(tx: &mut Tx, which: Which) -> Result<u64, Error> {
    let sealer = tx.sealer().clone();
    let rows: Vec<(i64, Vec<u8>)> =
        tx.query("SELECT seq, sealed_key FROM audit_keys ORDER BY seq").for_update().all().await?;
    let mut count = 0;
    for (seq, value) in rows {
        let row = seq.to_be_bytes();
        let Some(sealed) = which.reseal(&sealer, place(&row), &value)? else { continue };
        let update = tx.query("UPDATE audit_keys SET sealed_key = $2 WHERE seq = $1");
        count += update.bind(seq).bind(sealed).execute().await?;
    }
    Ok(count)
}

const fn place(row: &[u8]) -> Place<'_> {
    Place::new("audit_keys", "sealed_key", row)
}

fn seal(on: &impl Connection, seq: i64, key: &PrivateKey) -> Result<Vec<u8>, Error> {
    let row = seq.to_be_bytes();
    Ok(on.sealer().seal(place(&row), key.to_pem().expose_secret().as_bytes())?)
}

fn open(on: &impl Connection, seq: i64, sealed: &[u8]) -> Result<PrivateKey, Error> {
    let row = seq.to_be_bytes();
    let opened = on.sealer().open_any(place(&row), sealed)?;
    let pem = std::str::from_utf8(opened.expose_secret()).map_err(|error| unreadable(&error))?;
    PrivateKey::parse(pem).map_err(|error| unreadable(&error))
}
