//! Makes checkpoints of the audit trail, and logs each, so that a copy of it is kept where the logs are.

use std::time::Duration;

use super::Engine;
use crate::store::Error;
use crate::store::audit::{checkpoints, keys};

/// How often a node asks for one. A node that sees that another one has made some since it asked last leaves the turn to it:
/// so two checkpoints are at most a minute apart while events come, and many nodes do not make many.
const EVERY: Duration = Duration::from_secs(30);

/// Makes checkpoints now and then, until the engine stops.
pub(super) async fn run(engine: &Engine) {
    let mut seen = newest(engine).await.unwrap_or_default();
    while engine.pause(EVERY).await {
        if let Err(error) = turn(engine, &mut seen).await {
            tracing::warn!(%error, "cannot make a checkpoint of the audit trail");
        }
    }
}

async fn turn(engine: &Engine, seen: &mut i64) -> Result<(), Error> {
    let newest = newest(engine).await?;
    if std::mem::replace(seen, newest) < newest || !checkpoints::is_due(engine.store()).await? {
        return Ok(());
    }
    let key = keys::signing_key(engine.store(), engine.clock()).await?;
    for checkpoint in checkpoints::make(engine.store(), &key, engine.clock()).await? {
        *seen = checkpoint.seq;
        tracing::info!(checkpoint = checkpoint.json(), "checkpoint of the audit trail");
    }
    Ok(())
}

/// The number of the newest checkpoint; 0 without any.
async fn newest(engine: &Engine) -> Result<i64, Error> {
    Ok(checkpoints::last(&mut engine.store().reader().await?).await?.map_or(0, |last| last.seq))
}
