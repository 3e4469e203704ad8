//! The sandbox programme of a first start, and the profile that a newcomer calls with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::profile::{Profile, create_programme, local};
use super::start::Start;
use crate::config::Common;
use crate::signature::Origins;
use crate::store::{Store, programmes};

/// Where the profile of a data directory is.
pub(super) fn path(common: &Common) -> PathBuf {
    common.database.data_dir.join("sandbox.json")
}

impl Start<'_> {
    /// Makes the sandbox programme on a database that has no programme yet, and writes its profile. On any other database,
    /// keeps the profile's addresses true. Gives the profile's path if one can call with it.
    pub(super) async fn sandbox(
        &self,
        store: &Store,
        http: &Origins,
        grpc: SocketAddr,
    ) -> anyhow::Result<Option<PathBuf>> {
        if self.serve.no_sandbox {
            return Ok(None);
        }
        let path = path(self.common);
        let addresses = (format!("{}/v1", http.primary()), local(grpc).to_string());
        if programmes::any(&mut store.reader().await?).await? {
            let usable = path.exists() && refresh(store, &path, addresses).await;
            return Ok(usable.then_some(path));
        }
        let dir = &self.common.database.data_dir;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        if path.exists() {
            // Another database's: what it holds is nowhere else.
            let kept = path.with_extension("json.old");
            std::fs::rename(&path, &kept).with_context(|| format!("cannot rename {}", path.display()))?;
            tracing::warn!(kept = %kept.display(), "there was a sandbox profile already, of another database");
        }
        let profile = create_programme(store, &self.clock, ("Sandbox", true), addresses).await?;
        profile.write(&path)?;
        tracing::info!(programme = %profile.programme_id, profile = %path.display(), "made a sandbox programme");
        Ok(Some(path))
    }
}

/// Whether one can call with the profile; its addresses are this node's afterwards. What is wrong with it is no reason not
/// to serve.
async fn refresh(store: &Store, path: &Path, (base_url, grpc_addr): (String, String)) -> bool {
    let ours = async {
        let mut profile = Profile::read(path)?;
        let programme = programmes::get(&mut store.reader().await?, profile.programme_id).await?;
        anyhow::ensure!(programme.is_some(), "{} is of another database, or of a disabled programme", path.display());
        if (&profile.base_url, &profile.grpc_addr) != (&base_url, &grpc_addr) {
            (profile.base_url, profile.grpc_addr) = (base_url, grpc_addr);
            profile.write(path)?;
            tracing::info!(profile = %path.display(), "the sandbox profile names this node's addresses now");
        }
        Ok(())
    };
    match ours.await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "{error:#}: `customerd call` cannot use it; `customerd programme create --sandbox` makes another programme"
            );
            false
        }
    }
}
