//! Forgets what has expired.

use std::time::Duration;

use super::Engine;
use crate::domain::Timestamp;
use crate::store::{Change, Error, Tx, idempotency, signing_keys, webhooks};

/// Time between two sweeps.
const EVERY: Duration = Duration::from_secs(60);
/// Rows in one transaction: small, so that nobody waits long for it.
const BATCH: i64 = 500;

/// Sweeps now and then, until the engine stops.
pub(super) async fn run(engine: &Engine) {
    while engine.pause(EVERY).await {
        for what in [What::IdempotencyKeys, What::Nonces, What::Webhooks] {
            if let Err(error) = sweep(engine, what).await {
                tracing::warn!(?what, %error, "cannot sweep");
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum What {
    IdempotencyKeys,
    Nonces,
    /// Deliveries of deleted subscriptions.
    Webhooks,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::IdempotencyKeys => "idempotency_keys",
            Self::Nonces => "signature_nonces",
            Self::Webhooks => "deliveries",
        }
    }
}

async fn sweep(engine: &Engine, what: What) -> Result<(), Error> {
    let batch = Batch { what, now: engine.clock().bounds().earliest };
    let mut all = 0;
    loop {
        let gone = engine.store().transact(&batch).await?;
        all += gone;
        if gone < BATCH.unsigned_abs() {
            break;
        }
    }
    metrics::counter!("worker_swept_rows_total", "what" => what.name()).increment(all);
    Ok(())
}

struct Batch {
    what: What,
    now: Timestamp,
}

impl Change for Batch {
    type Out = u64;
    type Error = Error;

    async fn apply(&self, tx: &mut Tx) -> Result<u64, Error> {
        match self.what {
            What::IdempotencyKeys => idempotency::sweep(tx, self.now, BATCH).await,
            What::Nonces => signing_keys::sweep_nonces(tx, self.now, BATCH).await,
            What::Webhooks => webhooks::sweep(tx, BATCH).await,
        }
    }
}
