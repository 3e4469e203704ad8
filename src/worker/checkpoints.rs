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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::clock::Clock;
    use crate::domain::Timestamp;
    use crate::domain::checkpoint::Checkpoint;
    use crate::domain::customer::{Customer, Status};
    use crate::domain::event::{Chain, Origin};
    use crate::lifecycle::Recorder;
    use crate::store::customers::Held;
    use crate::store::programmes::{self, NewProgramme};
    use crate::store::{Store, StoreOptions};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn open_a_customer(store: &Store, clock: &Clock) {
        let now = clock.now();
        let programme = crate::domain::programme::Programme { id: clock.id(), name: "Wallet".into(), sandbox: true };
        let new = NewProgramme { programme: &programme, api_key: clock.id(), api_secret_hash: "-", at: now };
        let customer = Customer {
            id: clock.id(),
            programme_id: programme.id,
            external_id: "u-1".to_owned(),
            chain_id: format!("eip155:1:0x{:040x}", 1),
            status: Status::Initiating,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let mut held = Held::new(customer, Chain::default(), None);
        let mut tx = store.begin().await.unwrap();
        programmes::insert(&mut tx, &new).await.unwrap();
        let origin = Origin::internal("story");
        Recorder { origin: &origin, clock }.open(&mut tx, &mut held).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_copy_of_each_checkpoint_is_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 1);
        let engine = Engine::new(store.clone(), clock.clone(), std::future::pending());
        let (log, mut seen) = (Log::default(), 0);
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).json().flatten_event(true).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        turn(&engine, &mut seen).await.unwrap();
        assert_eq!(String::from_utf8(log.0.lock().unwrap().clone()).unwrap(), "", "nothing was committed");
        open_a_customer(&store, &clock).await;
        turn(&engine, &mut seen).await.unwrap();
        turn(&engine, &mut seen).await.unwrap();
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        let copy = Checkpoint::parse(lines[0]["checkpoint"].as_str().unwrap()).unwrap();
        let made = checkpoints::last(&mut store.reader().await.unwrap()).await.unwrap().unwrap();
        assert_eq!(copy, made);
    }
}
