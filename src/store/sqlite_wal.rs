//! Keeps SQLite's write-ahead log short.
//!
//! SQLite copies the log into the database as it grows, but begins it again only at a moment when nobody reads. Beside readers
//! that follow on one another there is none, and the log grows for good. So a log that has grown is emptied in a moment made for
//! it: this store's readers wait, then its writers do.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::change::pause;
use super::error::Error;
use super::sqlite_file::DatabaseFile;
use super::sqlite_readers::Gate;
use super::writer::Writer;

/// How often the size is asked for.
const POLL: Duration = Duration::from_millis(250);
/// A log of so many bytes is emptied, and one that SQLite begins again is cut to them. It has four times as much room until it
/// is as long as is promised.
pub(super) const SHORT: u64 = 8 * 1024 * 1024;
/// Above this it is warned of.
const LONG: u64 = 64 * 1024 * 1024;
/// How long to wait for this store's readers to end, and for a turn of its writers.
const TURN: Duration = Duration::from_millis(500);
/// How long both wait for the readers of another process, and how long they are left alone after that was in vain.
const FOREIGN: Duration = Duration::from_millis(20);
const REST: Duration = Duration::from_secs(1);

/// Watches the log until the store is closed or gone.
pub(super) fn watch(writer: &Arc<Writer>, gate: Gate, file: Arc<DatabaseFile>, options: SqliteConnectOptions) {
    let (writer, options) = (Arc::downgrade(writer), options.busy_timeout(FOREIGN));
    tokio::spawn(async move {
        let mut warned = false;
        loop {
            pause(POLL).await;
            let Some(writer) = writer.upgrade().filter(|writer| !writer.is_closed()) else { return };
            let bytes = file.wal_bytes();
            if bytes <= SHORT || file.check().is_err() {
                continue;
            }
            // A long statement of this store ends within its limit.
            let Some(quiet) = gate.close(TURN).await else { continue };
            let emptied = empty(&writer, &options).await;
            drop(quiet);
            match emptied {
                Ok(true) if warned => {
                    warned = false;
                    tracing::info!("the write-ahead log was emptied");
                }
                Ok(true) => {}
                Ok(false) => {
                    if bytes > LONG && !warned {
                        warned = true;
                        tracing::warn!(
                            mebibytes = bytes / 1024 / 1024,
                            "the write-ahead log grows: another process has been reading the database, which keeps it from being \
                             emptied; it is when that ends"
                        );
                    }
                    pause(REST).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the write-ahead log could not be emptied");
                    pause(REST).await;
                }
            }
        }
    });
}

/// Whether it could be: not while somebody reads what is in it.
async fn empty(writer: &Arc<Writer>, options: &SqliteConnectOptions) -> Result<bool, Error> {
    let turn = tokio::time::timeout(TURN, writer.turn()).await;
    let turn = turn.map_err(|_| Error::Unavailable("too many wait to write".to_owned()))??;
    let mut connection = options.connect().await?;
    let (busy, ..): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
    connection.close().await?;
    drop(turn);
    Ok(busy == 0)
}
