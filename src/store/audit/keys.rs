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

/// The key that signs checkpoints, made when it is first asked for: the same on every node of a database.
///
/// # Errors
///
/// Those of the store.
pub async fn signing_key(store: &Store, clock: &Clock) -> Result<PrivateKey, Error> {
    let mut reader = store.reader().await?;
    if let Some((seq, sealed)) = newest(&mut reader).await? {
        return open(&reader, seq, &sealed);
    }
    drop(reader);
    store.transact(&Add::fresh(1, clock)?).await
}

/// Has another key sign where the newest one lies in the clear, because it may be known to others. The sweep that follows
/// seals that one, which verifies what it signed.
///
/// # Errors
///
/// Those of the store.
pub(in crate::store) async fn replace_clear(store: &Store, clock: &Clock) -> Result<(), Error> {
    let newest = newest(&mut store.reader().await?).await?;
    let Some((seq, _)) = newest.filter(|(_, sealed)| sealed.first() == Some(&CLEAR)) else { return Ok(()) };
    store.transact(&Add::fresh(seq + 1, clock)?).await?;
    Ok(())
}

/// The newest key, as it is kept.
async fn newest(on: &mut impl Connection) -> Result<Option<(i64, Vec<u8>)>, Error> {
    on.query("SELECT seq, sealed_key FROM audit_keys ORDER BY seq DESC LIMIT 1").optional().await
}

/// Adds a key. Another node may add one at the same time: then its key is the one.
struct Add {
    seq: i64,
    key: PrivateKey,
    now: Timestamp,
}

impl Add {
    fn fresh(seq: i64, clock: &Clock) -> Result<Self, Error> {
        let key = PrivateKey::generate(Algorithm::Ed25519).map_err(|error| unreadable(&error))?;
        Ok(Self { seq, key, now: clock.now() })
    }
}

impl Change for Add {
    type Out = PrivateKey;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<PrivateKey, Error> {
        let row = self.seq.to_be_bytes();
        let sealed = tx.seal(place(&row), self.key.to_pem().expose_secret().as_bytes()).await?;
        tx.query("INSERT INTO audit_keys (seq, sealed_key, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(self.seq)
            .bind(sealed)
            .bind(self.now)
            .execute()
            .await?;
        let query = tx.query("SELECT sealed_key FROM audit_keys WHERE seq = $1").bind(self.seq);
        let (sealed,): (Vec<u8>,) = query.one().await?;
        open(tx, self.seq, &sealed)
    }
}

/// The public halves, oldest first; the reason for one that does not open. A key in the clear does not where there is an
/// encryption key: anybody who writes to the database could have put it there.
pub(super) async fn public_keys(on: &mut impl Connection) -> Result<Vec<Result<PublicKey, Error>>, Error> {
    let rows: Vec<(i64, Vec<u8>)> = on.query("SELECT seq, sealed_key FROM audit_keys ORDER BY seq").all().await?;
    Ok(rows.iter().map(|(seq, sealed)| Ok(open(on, *seq, sealed)?.public_key().clone())).collect())
}

/// Seals the keys again; how many.
pub(in crate::store) async fn reseal(tx: &mut Tx, which: Which) -> Result<u64, Error> {
    let sealer = tx.sealer().clone();
    let rows: Vec<(i64, Vec<u8>)> =
        tx.query("SELECT seq, sealed_key FROM audit_keys ORDER BY seq").for_update().all().await?;
    let (mut count, mut behind_sealed) = (0, false);
    for (seq, value) in rows {
        let clear = value.first() == Some(&CLEAR);
        if clear && behind_sealed {
            // Nothing of ours is in the clear behind what is sealed.
            tracing::error!(
                seq,
                "a key in the clear is in audit_keys behind a sealed one: somebody put it there; it is not trusted"
            );
            continue;
        }
        behind_sealed |= !clear;
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

fn open(on: &impl Connection, seq: i64, sealed: &[u8]) -> Result<PrivateKey, Error> {
    let row = seq.to_be_bytes();
    let opened = on.sealer().open(place(&row), sealed)?;
    let pem = std::str::from_utf8(opened.expose_secret()).map_err(|error| unreadable(&error))?;
    PrivateKey::parse(pem).map_err(|error| unreadable(&error))
}
