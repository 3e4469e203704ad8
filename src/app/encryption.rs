//! The encryption key of this installation: where it is, that it is the right one, and what is sealed under it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Clock;
use crate::config::{Common, KeyFile};
use crate::sealing::{EncryptionKey, KeyId, Keyring};
use crate::store::{self, Dialect, Store, clear, keyring, programmes, reseal};

/// What a command says that has an encryption key for a database in the clear.
pub(super) const CLEAR: &str = "keys in this database are kept in the clear, though there is an encryption key: start `customerd \
    serve` or `customerd worker` with this key first, or run `customerd migrate` with it: they replace the keys and seal everything";
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
    let known = file.unwrap_or_default().keyring();
    if let Some(lacking) = check(store, &known, path.as_deref()).await? {
        return Err(lacking);
    }
    store.sealer().use_keys(known);
    Ok(())
}

/// What to do about a key that the database needs and that is not among the known ones.
///
/// # Errors
///
/// Those of the store.
pub(super) async fn check(
    store: &Store,
    known: &Keyring,
    path: Option<&Path>,
) -> Result<Option<anyhow::Error>, store::Error> {
    let mut reader = store.reader().await?;
    let needed = keyring::encryption_keys(&mut reader).await?;
    let needed = needed.into_iter().flatten().find(|id| !known.ids().contains(id));
    let what = match needed {
        Some(id) => format!("secrets in the database are sealed under the encryption key {id}"),
        None if known.keys().is_empty() && clear::is_sealed_only(&mut reader).await? => {
            "secrets in this database must be sealed".to_owned()
        }
        None => return Ok(None),
    };
    let place = path.map_or_else(
        || "and no key file is given: name it with --encryption-key-file".to_owned(),
        |path| match known.keys() {
            [] => {
                format!(
                    "and {} does not exist: put the key file there, or name it with --encryption-key-file",
                    path.display()
                )
            }
            _ => {
                format!(
                    "which is not in {}: put it there, or name the right file with --encryption-key-file",
                    path.display()
                )
            }
        },
    );
    Ok(Some(anyhow::anyhow!("{what}, {place}")))
}

/// Keeps a command that has an encryption key from a database that is in the clear: it would seal some of it and leave keys in
/// use that others may know. Sealing the whole is up to those that migrate.
///
/// # Errors
///
/// The database is in the clear.
pub(super) async fn refuse_clear(store: &Store) -> anyhow::Result<()> {
    let clear = store.sealer().has_key() && keyring::is_clear(&mut store.reader().await?).await?;
    anyhow::ensure!(!clear, CLEAR);
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
    if !store.sealer().has_key() {
        reseal::adopt(store, clock).await?;
        let live = programmes::list(&mut store.reader().await?).await?.iter().any(|programme| !programme.sandbox);
        tracing::warn!(
            "secrets are kept in the clear{}: `customerd keygen --encryption --out FILE` makes a key, --encryption-key-file \
             FILE gives it to every node and command",
            if live { ", those of live programmes too" } else { "" }
        );
        return Ok(());
    }
    clear::forbid(store).await?;
    reseal::adopt(store, clock).await?;
    if clear::may_be_clear(&mut store.reader().await?).await? {
        tracing::info!("sealing the secrets that were kept in the clear; the keys that signed are rotated");
        if reseal::seal_clear(store, clock).await? {
            tracing::info!("every secret is sealed");
        }
    }
    Ok(())
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
/// There is no key file, it cannot be written, somebody else rotates it, or the database cannot.
pub(crate) async fn rotate(store: &Store, common: &Common, clock: &Clock) -> anyhow::Result<Rotated> {
    let path = path(common, store.dialect()).context("name the key file with --encryption-key-file")?;
    let alone = KeyFile::lock(&path)?;
    anyhow::ensure!(
        alone.is_some(),
        "another `customerd keys rotate encryption` is at work on {}: wait until it has ended",
        path.display()
    );
    let read = || KeyFile::read(&path)?.with_context(|| format!("there is no encryption key file {}", path.display()));
    let file = read()?;
    let first = file.keys.first().map(EncryptionKey::id);
    let needed = keyring::encryption_keys(&mut store.reader().await?).await?;
    if needed.iter().all(|id| *id == first) {
        let next = file.next.clone().unwrap_or_else(|| EncryptionKey::new(clock.random()));
        KeyFile { next: Some(next.clone()), ..file }.replace(&path)?;
        clock.sleep(PROPAGATION).await;
        // Somebody may have edited it meanwhile.
        let file = read()?;
        anyhow::ensure!(
            file.next.as_ref().map(EncryptionKey::id) == Some(next.id()),
            "{} was changed by somebody else meanwhile, and nothing is sealed under another key yet: run the command again",
            path.display()
        );
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
