//! Whether values may be kept in the clear. The row in `sealing` is true to the tables because every transaction that writes
//! a value without an encryption key says so there, and is refused once a node has had a key.

use super::{Change, Connection, Error, Store, Tx, keyring};
use crate::sealing::{self, Place};

/// Whether values may be kept in the clear, or may have left traces.
pub async fn may_be_clear(on: &mut impl Connection) -> Result<bool, Error> {
    let (clear,): (bool,) = on.query("SELECT clear FROM sealing WHERE id = 1").one().await?;
    Ok(clear || keyring::is_clear(on).await?)
}

/// Whether nothing may be written in the clear any more.
pub async fn is_sealed_only(on: &mut impl Connection) -> Result<bool, Error> {
    let (sealed_only,): (bool,) = on.query("SELECT sealed_only FROM sealing WHERE id = 1").one().await?;
    Ok(sealed_only)
}

/// Lets nothing be written in the clear from here on. Waits for the transactions that do.
pub async fn forbid(store: &Store) -> Result<(), Error> {
    store.transact(&Forbid).await
}

/// The same, with what else the transaction does.
pub async fn forbid_in(tx: &mut Tx) -> Result<(), Error> {
    let update = tx.query("UPDATE sealing SET sealed_only = $1 WHERE id = 1 AND NOT sealed_only");
    update.bind(true).execute().await?;
    Ok(())
}

/// Nothing is in the clear, and nothing is left of what was.
pub(super) async fn gone(store: &Store) -> Result<(), Error> {
    store.transact(&Gone).await
}

/// Lets this transaction write values in the clear, unless a node has an encryption key: holds off the first one that comes
/// with one until the transaction has ended, so that it finds what was written.
pub(super) async fn admit(tx: &mut Tx, place: Place<'_>) -> Result<(), Error> {
    let query = tx.query("SELECT clear, sealed_only FROM sealing WHERE id = 1").for_share();
    let (clear, sealed_only): (bool, bool) = query.one().await?;
    if sealed_only {
        return Err(sealing::Error::MustBeSealed(place.to_string()).into());
    }
    if !clear {
        tx.query("UPDATE sealing SET clear = $1 WHERE id = 1").bind(true).execute().await?;
    }
    Ok(())
}

struct Forbid;

impl Change for Forbid {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        forbid_in(tx).await
    }
}

struct Gone;

impl Change for Gone {
    type Out = ();
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), Error> {
        tx.query("UPDATE sealing SET clear = $1 WHERE id = 1").bind(false).execute().await?;
        Ok(())
    }
}
