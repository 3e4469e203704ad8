//! The sandbox programme of a first start, and the profile that a newcomer calls with.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio_util::task::AbortOnDropHandle;

use super::profile::{Credentials, NewPartner, Profile, enrol, local};
use super::start::Start;
use crate::clock::Clock;
use crate::config::{Common, Serve};
use crate::signature::Origins;
use crate::store::{Store, programmes};

/// Where the profile of a data directory is.
pub(super) fn path(common: &Common) -> PathBuf {
    common.database.data_dir.join("sandbox.json")
}

/// The right to write the data directory's sandbox profile, until this is dropped or the process ends: the first node's.
pub(super) struct ProfileOwner(#[expect(dead_code, reason = "holds the lock")] Option<File>);

impl ProfileOwner {
    /// Takes it, if no other node has it. A directory that is not there yet is nobody's.
    fn take(dir: &Path) -> anyhow::Result<Option<Self>> {
        // The directory itself is locked, so that no file has to be left behind.
        let file = File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                // Some network file systems have no locks.
                tracing::debug!(%error, "cannot lock the data directory: this node takes it for its own");
                Ok(Some(Self(None)))
            }
        }
    }
}

/// The profile that one can call with, if there is one, and the right to write it.
pub(super) type Sandbox = (Option<PathBuf>, Option<ProfileOwner>);

/// Credentials that are made while the database is opened.
pub(super) type PreparedCredentials = AbortOnDropHandle<anyhow::Result<Credentials>>;

/// Starts to make the sandbox's credentials if there is no SQLite file yet: hashing the secret is most of a first start.
pub(super) fn prepare(common: &Common, serve: &Serve, clock: &Clock) -> Option<PreparedCredentials> {
    let url = common.database.url();
    let file = url.expose_secret().strip_prefix("sqlite://")?;
    if serve.no_sandbox || Path::new(file).exists() {
        return None;
    }
    Some(AbortOnDropHandle::new(tokio::spawn(Credentials::make(clock, true))))
}

impl Start<'_> {
    /// Makes the sandbox programme on a database that has no programme yet, and writes its profile. On any other database,
    /// keeps the profile's addresses true: the first node's on this data directory.
    pub(super) async fn sandbox(
        &self,
        store: &Store,
        (http, grpc): (&Origins, SocketAddr),
        prepared: Option<PreparedCredentials>,
    ) -> anyhow::Result<Sandbox> {
        if self.serve.no_sandbox {
            return Ok((None, None));
        }
        let (dir, path) = (&self.common.database.data_dir, path(self.common));
        let addresses = (format!("{}/v1", http.primary()), local(grpc).to_string());
        let none = !programmes::any(&mut store.reader().await?).await?;
        if none {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let owner = if dir.exists() { ProfileOwner::take(dir)? } else { None };
        if none && let Some(profile) = self.make(store, addresses.clone(), prepared).await? {
            if path.exists() {
                // Another database's: what it holds is nowhere else.
                let kept = path.with_extension("json.old");
                std::fs::rename(&path, &kept).with_context(|| format!("cannot rename {}", path.display()))?;
                tracing::warn!(kept = %kept.display(), "there was a sandbox profile already, of another database");
            }
            profile.write(&path)?;
            tracing::info!(programme = %profile.programme_id, profile = %path.display(), "made a sandbox programme");
            return Ok((Some(path), owner));
        }
        let usable = path.exists() && refresh(store, &path, (addresses, owner.is_some())).await;
        Ok((usable.then_some(path), owner))
    }

    /// The sandbox programme; `None` when another node that starts at the same time was quicker to take the name.
    async fn make(
        &self,
        store: &Store,
        addresses: (String, String),
        prepared: Option<PreparedCredentials>,
    ) -> anyhow::Result<Option<Profile>> {
        let credentials = match prepared {
            Some(prepared) => Some(prepared.await??),
            None => None,
        };
        let (name, sandbox, allow_duplicate_name) = ("Sandbox", true, false);
        let new = NewPartner { name, sandbox, public_key: None, credentials, allow_duplicate_name, act: None };
        let made = enrol(store, &self.clock, new, addresses).await?;
        if made.is_none() {
            tracing::info!("another node has made the sandbox programme: its profile is in that node's data directory");
        }
        Ok(made)
    }
}

/// Whether one can call with the profile; its addresses are this node's afterwards, if the profile is. What is wrong with it
/// is no reason not to serve.
async fn refresh(store: &Store, path: &Path, ((base_url, grpc_addr), ours): ((String, String), bool)) -> bool {
    let refreshed = async {
        let mut profile = Profile::read(path)?;
        let programme = programmes::get(&mut store.reader().await?, profile.programme_id).await?;
        anyhow::ensure!(programme.is_some(), "{} is of another database, or of a disabled programme", path.display());
        if ours && (&profile.base_url, &profile.grpc_addr) != (&base_url, &grpc_addr) {
            (profile.base_url, profile.grpc_addr) = (base_url, grpc_addr);
            profile.write(path)?;
            tracing::info!(profile = %path.display(), "the sandbox profile names this node's addresses now");
        }
        Ok(())
    };
    match refreshed.await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "{error:#}: `customerd call` cannot use it; `customerd programme create --sandbox` makes another programme"
            );
            false
        }
    }
}
