//! Gives events their positions on PostgreSQL even where nobody reads them, so that the first reader finds no backlog.

use std::time::Duration;

use super::Engine;
use crate::store::events;

/// How often; readers who cannot wait do it themselves.
const EVERY: Duration = Duration::from_secs(2);

/// Places events now and then, until the engine stops.
pub(super) async fn run(engine: &Engine) {
    while engine.pause(EVERY).await {
        if let Err(error) = events::place(engine.store()).await {
            tracing::warn!(%error, "cannot place events");
        }
    }
}
