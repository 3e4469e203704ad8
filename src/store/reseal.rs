//! Seals what is kept in the clear, and seals everything again under another key: in small transactions, so that it goes on
//! where a crash stopped it and never holds up others for long. A column that holds secrets belongs in here.

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::keyring::{self, Purpose, ServiceKey};
use super::{Change, Connection as _, Error, Store, Tx, audit, clear, customers, idempotency, webhooks};
use crate::clock::Clock;
use crate::sealing::{CLEAR, Place, Sealer};

/// Rows of one transaction.
const BATCH: i64 = 256;

/// Which values are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are kept in the clear.
    Clear,
    /// Those too that are sealed under another key than the first.
    Outdated,
}

impl Which {
    /// The value sealed under the first key; `None` where it stays as it is.
    pub(super) fn reseal(self, sealer: &Sealer, place: Place<'_>, value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let outdated = match self {
            Self::Clear => value.first() == Some(&CLEAR),
            Self::Outdated => !value.starts_with(&sealer.keyring().prefix()),
        };
        if !outdated {
            return Ok(None);
        }
        let opened = sealer.open_any(place, value)?;
        Ok(Some(sealer.seal(place, opened.expose_secret())?))
    }
}

/// Moves the keys of the version before into the keyring.
pub async fn adopt(store: &Store, clock: &Clock) -> Result<(), Error> {
    if keyring::has_unsealed(&mut store.reader().await?).await? {
        for purpose in Purpose::ALL {
            let fresh = ServiceKey::fresh(purpose, clock)?;
            store.transact(&Adopt(fresh)).await?;
        }
    }
    Ok(())
}

/// Seals everything that is kept in the clear, with other keys in the place of those that sign, and removes the traces.
/// `false` when the traces could not be removed: the next start tries again. [`clear::forbid`] comes first, or more may be
/// written in the clear behind its back.
pub async fn seal_clear(store: &Store, clock: &Clock) -> Result<bool, Error> {
    for purpose in Purpose::ALL {
        let fresh = ServiceKey::fresh(purpose, clock)?;
        store.transact(&ReplaceClear(fresh)).await?;
    }
    audit::keys::replace_clear(store, clock).await?;
    // The keyring first: it tells which key the rest needs.
    reseal_keyring(store, Which::Clear).await?;
    reseal_rest(store, Which::Clear).await?;
    match store.remove_traces().await {
        Ok(()) => {
            clear::gone(store).await?;
            Ok(true)
        }
        Err(error) => {
            tracing::warn!(%error, "traces of what was kept in the clear are still in the database's files: the next start tries again");
            Ok(false)
        }
    }
}

/// Seals everything under the first key of the keyring; how many values.
pub async fn reseal(store: &Store) -> Result<u64, Error> {
    // The keyring last: while it needs an earlier key, no node starts without that one.
    let rest = reseal_rest(store, Which::Outdated).await?;
    Ok(rest + reseal_keyring(store, Which::Outdated).await?)
}

async fn reseal_rest(store: &Store, which: Which) -> Result<u64, Error> {
    let mut sealed = 0;
    let mut after = Some(Uuid::nil());
    while let Some(from) = after {
        let batch = store.transact(&Webhooks { which, after: from }).await?;
        (sealed, after) = (sealed + batch.sealed, batch.last);
    }
    let mut after = Some(Uuid::nil());
    while let Some(from) = after {
        let batch = store.transact(&Customers { which, after: from }).await?;
        (sealed, after) = (sealed + batch.sealed, batch.last);
    }
    sealed += store.transact(&AuditKeys(which)).await?;
    let mut after = Some((Uuid::nil(), Uuid::nil()));
    while let Some(from) = after {
        let batch = store.transact(&Replies { which, after: from }).await?;
        (sealed, after) = (sealed + batch.sealed, batch.last);
    }
    Ok(sealed)
}

async fn reseal_keyring(store: &Store, which: Which) -> Result<u64, Error> {
    store.transact(&Keys(which)).await
}

/// What one transaction did.
pub(super) struct Batch<K> {
    /// Values sealed.
    pub(super) sealed: u64,
    /// The last row read; `None` after the last of all.
    pub(super) last: Option<K>,
}

struct Adopt(ServiceKey);

impl Change for Adopt {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        keyring::adopt(tx, &self.0).await
    }
}

struct ReplaceClear(ServiceKey);

impl Change for ReplaceClear {
    type Out = bool;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, Error> {
        keyring::replace_clear(tx, &self.0).await
    }
}

struct Webhooks {
    which: Which,
    after: Uuid,
}

impl Change for Webhooks {
    type Out = Batch<Uuid>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Batch<Uuid>, Error> {
        webhooks::reseal(tx, self.which, (self.after, BATCH)).await
    }
}

struct Customers {
    which: Which,
    after: Uuid,
}

impl Change for Customers {
    type Out = Batch<Uuid>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Batch<Uuid>, Error> {
        customers::reseal(tx, self.which, (self.after, BATCH)).await
    }
}

struct AuditKeys(Which);

impl Change for AuditKeys {
    type Out = u64;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<u64, Error> {
        audit::keys::reseal(tx, self.0).await
    }
}

struct Replies {
    which: Which,
    after: (Uuid, Uuid),
}

impl Change for Replies {
    type Out = Batch<(Uuid, Uuid)>;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<Batch<(Uuid, Uuid)>, Error> {
        idempotency::reseal(tx, self.which, (self.after, BATCH)).await
    }
}

struct Keys(Which);

impl Change for Keys {
    type Out = u64;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<u64, Error> {
        let sealer = tx.sealer().clone();
        let rows: Vec<(String, Vec<u8>)> =
            tx.query("SELECT kid, secret FROM service_keyring ORDER BY kid").for_update().all().await?;
        let mut count = 0;
        for (kid, secret) in rows {
            let Some(sealed) = self.0.reseal(&sealer, keyring::place(&kid), &secret)? else { continue };
            let update = tx.query("UPDATE service_keyring SET secret = $2 WHERE kid = $1");
            count += update.bind(kid.as_str()).bind(sealed).execute().await?;
        }
        Ok(count)
    }
}
