//! The encryption key of this installation: where it is, that it is the right one, and what is sealed under it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Clock;
use crate::config::{Common, KeyFile};
use crate::sealing::{EncryptionKey, KeyId};
use crate::service::Api;
use crate::store::{Dialect, Store, keyring, programmes, reseal};

/// How often the key file and the keyring are read again.
const EVERY: Duration = Duration::from_secs(1);
/// By then every node that reads the key file has read it again.
const PROPAGATION: Duration = Duration::from_secs(3);

/// Whether a key may be made where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewKey {
    /// On SQLite, whose data directory nobody else has.
    WhereNothingIsSealed,
    /// Another would make a second one.
    Never,
}

/// Where the key file is, if it has a place: on PostgreSQL nodes share a database and no directory, so that it must be named.
pub(crate) fn path(common: &Common, dialect: Dialect) -> Option<PathBuf> {
    let default = || (dialect == Dialect::Sqlite).then(|| common.database.data_dir.join("encryption.key"));
    common.database.encryption_key_file.clone().or_else(default)
}

/// Reads the key file and gives the store its keys.
///
/// # Errors
///
/// The file that the flag names is missing or is not a key file, or what is sealed needs another key.
pub(super) async fn unlock(store: &Store, common: &Common) -> anyhow::Result<()> {
    let path = path(common, store.dialect());
    let file = path.as_deref().map(KeyFile::read).transpose()?.flatten();
    if let (Some(path), None) = (&common.database.encryption_key_file, &file) {
        anyhow::bail!(
            "there is no encryption key file {}: `customerd keygen --encryption --out {0}` makes one, for a database in \
             which nothing is sealed yet",
            path.display()
        );
    }
    let file = file.unwrap_or_default();
    let needed = keyring::encryption_keys(&mut store.reader().await?).await?;
    let known = file.keyring();
    let missing = |id: &KeyId| known.keys().iter().all(|key| key.id() != *id);
    if let Some(id) = needed.into_iter().flatten().find(missing) {
        let place = path.as_ref().map_or_else(
            || "and no key file is given: name it with --encryption-key-file".to_owned(),
            |path| match known.keys() {
                [] => format!(
                    "and {} does not exist: put the key file there, or name it with --encryption-key-file",
                    path.display()
                ),
                _ => format!(
                    "which is not in {}: put it there, or name the right file with --encryption-key-file",
                    path.display()
                ),
            },
        );
        anyhow::bail!("secrets in the database are sealed under the encryption key {id}, {place}");
    }
    store.sealer().use_keys(known);
    Ok(())
}

/// Sees to it that what must be sealed is: makes a key where it may, seals what was kept in the clear.
///
/// # Errors
///
/// The key file cannot be written, or the database cannot.
pub(super) async fn seal(store: &Store, common: &Common, clock: &Clock, new: NewKey) -> anyhow::Result<()> {
    let path = path(common, store.dialect());
    let made = !store.sealer().has_key() && new == NewKey::WhereNothingIsSealed && store.dialect() == Dialect::Sqlite;
    if made && let Some(path) = &path {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        // Durable before anything is sealed under it. Never predictable, whatever clock the rest goes by.
        KeyFile::of(EncryptionKey::new(Clock::system().random())).create(path)?;
        unlock(store, common).await?;
        tracing::info!(file = %path.display(), "made an encryption key: keep a copy, it is not in the database or its backups");
    }
    if let Some(path) = path.as_ref().filter(|path| KeyFile::is_open_to_others(path)) {
        tracing::warn!(file = %path.display(), "others than its owner may read the encryption key: chmod 600");
    }
    reseal::adopt(store, clock).await?;
    if !store.sealer().has_key() {
        let live = programmes::list(&mut store.reader().await?).await?.iter().any(|programme| !programme.sandbox);
        tracing::warn!(
            live,
            "secrets are kept in the clear: `customerd keygen --encryption` makes a key, --encryption-key-file names its file"
        );
    } else if reseal::may_be_clear(&mut store.reader().await?).await? {
        tracing::info!("sealing the secrets that were kept in the clear; the keys that signed are rotated");
        if reseal::seal_clear(store, clock).await? {
            tracing::info!("every secret is sealed");
        }
    }
    Ok(())
}

/// Reads the key file again whenever it may have changed, so that a new key is known before a value needs it. Runs until
/// dropped.
pub(super) async fn follow(store: Store, common: Common, clock: Clock) {
    let Some(path) = path(&common, store.dialect()) else { return };
    loop {
        clock.sleep(EVERY).await;
        match KeyFile::read(&path) {
            Ok(Some(file)) if file.keyring().ids() != store.sealer().keyring().ids() => {
                let keyring = file.keyring();
                tracing::info!(keys = ?keyring.ids(), "the encryption keys have changed");
                store.sealer().use_keys(keyring);
            }
            Ok(_) => {}
            Err(error) => tracing::error!("{error:#}: going on with the keys as they were"),
        }
    }
}

/// Reads the service's own keys again, once a second. Runs until dropped.
pub(super) async fn refresh(api: Api, clock: Clock) {
    loop {
        clock.sleep(EVERY).await;
        if let Err(error) = api.refresh_keys().await {
            tracing::warn!(%error, "cannot read the service's keys again: going on with those there are");
        }
    }
}

/// What a rotation of the encryption key did.
pub(crate) struct Rotated {
    /// The key that seals now.
    pub(crate) key: KeyId,
    /// Keys that open nothing any more.
    pub(crate) unused: Vec<KeyId>,
    /// Values sealed again.
    pub(crate) sealed: u64,
}

/// Seals everything under a new key. One that was stopped half-way goes on with its key: whatever is sealed opens at any
/// moment, as the file keeps every key that it had.
///
/// # Errors
///
/// There is no key file, it cannot be written, or the database cannot.
pub(crate) async fn rotate(store: &Store, common: &Common, clock: &Clock) -> anyhow::Result<Rotated> {
    let path = path(common, store.dialect()).context("name the key file with --encryption-key-file")?;
    let file = KeyFile::read(&path)?.with_context(|| format!("there is no encryption key file {}", path.display()))?;
    let first = file.keys.first().map(EncryptionKey::id);
    let needed = keyring::encryption_keys(&mut store.reader().await?).await?;
    if needed.iter().all(|id| *id == first) {
        let next = file.next.clone().unwrap_or_else(|| EncryptionKey::new(clock.random()));
        KeyFile { next: Some(next.clone()), ..file.clone() }.replace(&path)?;
        clock.sleep(PROPAGATION).await;
        let keys = [next].into_iter().chain(file.keys).collect();
        KeyFile { keys, next: None }.replace(&path)?;
    }
    // Whether the file was changed now or by a run that was stopped right after: from here on no node seals under the old key.
    clock.sleep(PROPAGATION).await;
    unlock(store, common).await?;
    let mut sealed = 0;
    // What a slow node sealed under the old key meanwhile is found by the next round.
    loop {
        match reseal::reseal(store).await? {
            0 => break,
            count => sealed += count,
        }
    }
    let ids = store.sealer().keyring().ids();
    let (key, unused) = ids.split_first().context("the key file is empty")?;
    Ok(Rotated { key: *key, unused: unused.to_vec(), sealed })
}
