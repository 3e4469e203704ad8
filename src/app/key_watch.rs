//! Follows the encryption keys while a node runs: takes what is new in the key file, and ends a node that lacks a key which the
//! database needs by now.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;

use super::encryption;
use crate::clock::Clock;
use crate::config::{Common, KeyFile};
use crate::sealing::KeyId;
use crate::serve::Shutdown;
use crate::service::Api;
use crate::store::{Store, keyring};

/// How often the key file and the keyring are read again.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Watches until the shutdown starts. Starts it, and says why to `failed`, when the node lacks a key: it could neither read
/// what others seal nor write what they can read.
pub(super) async fn run(
    store: Store,
    common: Common,
    (clock, shutdown): (Clock, Shutdown),
    failed: oneshot::Sender<anyhow::Error>,
) {
    tokio::select! {
        () = shutdown.started() => {}
        error = lacking(&store, &common, &clock) => {
            tracing::error!("this node stops: {error:#}");
            // Nobody waits for it when the node is being dropped.
            let _ = failed.send(error);
            shutdown.start();
        }
    }
}

/// Reads the key file again whenever it may have changed, so that a new key is known before a value needs it. Ends when a key
/// is needed that it does not have.
async fn lacking(store: &Store, common: &Common, clock: &Clock) -> anyhow::Error {
    let path = encryption::path(common, store.dialect());
    let mut told = None;
    loop {
        clock.sleep(EVERY).await;
        let mut lacking = None;
        // Once more before it gives up: the file may have changed after it was read.
        for _ in 0..2 {
            if let Some(path) = &path {
                let problem = follow(store, path).await.err().map(|error| format!("{error:#}"));
                if let Some(problem) = problem.as_ref().filter(|it| told.as_ref() != Some(*it)) {
                    tracing::error!("{problem}: going on with the encryption keys as they were");
                }
                told = problem;
            }
            lacking =
                encryption::check(store, &store.sealer().keyring(), path.as_deref()).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot read which encryption keys the database needs");
                    None
                });
            if lacking.is_none() {
                break;
            }
        }
        if let Some(lacking) = lacking {
            return lacking;
        }
    }
}

/// Takes the keys of the file, unless one that is in use is not among them: what is sealed under it could not be opened any more.
async fn follow(store: &Store, path: &Path) -> anyhow::Result<()> {
    let now = store.sealer().keyring();
    let Some(file) = KeyFile::read(path)? else {
        anyhow::ensure!(now.keys().is_empty(), "the encryption key file {} is gone", path.display());
        return Ok(());
    };
    let (keyring, ids) = (file.keyring(), file.keyring().ids());
    if ids == now.ids() {
        return Ok(());
    }
    let needed = keyring::encryption_keys(&mut store.reader().await?).await?;
    let mut needed = needed.into_iter().flatten().chain(now.sealing().map(crate::sealing::EncryptionKey::id));
    if let Some(id) = needed.find(|id: &KeyId| !ids.contains(id)) {
        anyhow::bail!("the encryption key {id} is in use and no longer in {}: put it back", path.display());
    }
    tracing::info!(keys = ?ids, "the encryption keys have changed");
    store.sealer().use_keys(keyring);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::EncryptionKey;
    use crate::store::StoreOptions;

    #[tokio::test]
    async fn a_file_without_a_key_that_is_in_use_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("encryption.key");
        let url = format!("sqlite://{}", directory.path().join("customerd.db").display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let [one, two, three] = [1, 2, 3].map(|byte| EncryptionKey::new([byte; 32]));
        let put = |keys: &[&EncryptionKey]| {
            let keys = keys.iter().map(|key| (*key).clone()).collect();
            KeyFile { keys, next: None }.replace(&path).unwrap();
        };
        let ids = || store.sealer().keyring().ids();
        // No file, no key: a worker beside which nobody has made one yet.
        follow(&store, &path).await.unwrap();
        put(&[&one]);
        follow(&store, &path).await.unwrap();
        assert_eq!(ids(), [one.id()]);
        keyring::ensure(&store, &Clock::system()).await.unwrap();
        // Another valid key alone.
        put(&[&two]);
        let error = follow(&store, &path).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{} is in use and no longer in", one.id())), "{error}");
        assert_eq!(ids(), [one.id()]);
        std::fs::remove_file(&path).unwrap();
        assert!(follow(&store, &path).await.unwrap_err().to_string().ends_with("is gone"));
        // Another takes over while the earlier one opens: it may not go while the keyring needs it.
        put(&[&two, &one]);
        follow(&store, &path).await.unwrap();
        put(&[&two]);
        assert!(follow(&store, &path).await.is_err());
        put(&[&two, &one, &three]);
        follow(&store, &path).await.unwrap();
        crate::store::reseal::reseal(&store).await.unwrap();
        put(&[&two]);
        follow(&store, &path).await.unwrap();
        assert_eq!(ids(), [two.id()]);
        store.close().await.unwrap();
    }
}
