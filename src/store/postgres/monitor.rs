//! Asks once a second, on a connection of its own, whether the database takes writes.
//!
//! This is what readiness reports, what notices a standby before a write does, and what tells a cut from a slow statement: where
//! the monitor's connection is silent and a new one is answered, all connections that were made before are dead. TCP would say
//! so after minutes at best: sqlx sets neither keepalive nor a user timeout, and does not hand out its sockets.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use super::guard::deadline;
use super::pool::Shared;
use crate::store::change::pause;

/// How often it asks, unless something else has failed.
const PERIOD: Duration = Duration::from_secs(1);
/// The shortest time between two probes: during an outage every call gives cause for one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the answer may take; longer behind a pooler.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);

/// What a probe found.
enum Found {
    Writable,
    ReadOnly,
    Unreachable(sqlx::Error),
}

/// Runs until the pool is closed, or this is dropped. Begins with a connection that was used to open the store.
pub(super) async fn run(shared: Arc<Shared>, connection: PgConnection) {
    let mut connection = Some(connection);
    loop {
        tokio::select! {
            () = pause(PERIOD) => {}
            () = shared.suspicion.notified() => {}
        }
        if shared.is_closed() {
            return;
        }
        probe(&shared, &mut connection).await;
        shared.prune();
        pause(PAUSE).await;
    }
}

async fn probe(shared: &Arc<Shared>, connection: &mut Option<PgConnection>) {
    let mut silent = false;
    let mut found = None;
    if let Some(open) = connection {
        match is_read_only(shared, open).await {
            Ok(Ok(read_only)) => found = Some(if read_only { Found::ReadOnly } else { Found::Writable }),
            Ok(Err(_)) => shared.end_generation(),
            Err(_) => silent = true,
        }
    }
    let found = match found {
        Some(found) => found,
        None => {
            *connection = None;
            connect(shared, connection).await
        }
    };
    if silent {
        shared.cut();
    }
    match found {
        Found::Writable => {
            // What was made meanwhile may lead to a standby.
            if shared.outage.end() {
                shared.end_generation();
            }
        }
        Found::ReadOnly => {
            // The next probe may be led elsewhere.
            *connection = None;
            shared.end_generation();
            let text = "it takes no writes: it is a standby, or default_transaction_read_only is on";
            shared.outage.found(text.to_owned());
        }
        Found::Unreachable(error) => {
            *connection = None;
            shared.end_generation();
            shared.outage.found(format!("it cannot be reached: {error}"));
        }
    }
}

async fn connect(shared: &Arc<Shared>, connection: &mut Option<PgConnection>) -> Found {
    let mut fresh = match shared.servers.connect().await {
        Ok(fresh) => fresh,
        Err(error) => return Found::Unreachable(error),
    };
    match is_read_only(shared, &mut fresh).await {
        Ok(Ok(read_only)) => {
            *connection = Some(fresh);
            if read_only { Found::ReadOnly } else { Found::Writable }
        }
        Ok(Err(error)) => Found::Unreachable(error),
        Err(_) => Found::Unreachable(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

async fn is_read_only(
    shared: &Shared,
    connection: &mut PgConnection,
) -> Result<Result<bool, sqlx::Error>, tokio::time::error::Elapsed> {
    deadline(PROBE_DEADLINE + shared.servers.session().queue(), shared.servers.is_read_only(connection)).await
}
