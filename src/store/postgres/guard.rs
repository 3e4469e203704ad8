//! How long anything may wait for PostgreSQL, as seen from here.

use std::io;
use std::time::Duration;

use tokio::sync::watch;

use crate::store::change::pause;

/// How long after a cut its statements in flight may still be answered.
const CUT_GRACE: Duration = Duration::from_secs(2);

/// The end of a statement that is not answered.
pub(super) struct Guard<'a> {
    /// Of the connection.
    pub(super) generation: u64,
    /// The first generation that is not cut.
    pub(super) cut: &'a mut watch::Receiver<u64>,
    pub(super) limit: Duration,
}

impl Guard<'_> {
    pub(super) async fn watch<T>(self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let Self { generation, cut, limit } = self;
        let cut = async {
            if cut.wait_for(|until| *until > generation).await.is_err() {
                std::future::pending::<()>().await;
            }
            pause(CUT_GRACE).await;
        };
        tokio::select! {
            biased;
            result = work => result,
            () = pause(limit) => {
                let text = format!("the database did not answer within {} ms", limit.as_millis());
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
            () = cut => {
                let text = "the connection to the database was cut";
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionAborted, text)))
            }
        }
    }
}

pub(super) async fn deadline<T>(
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(limit, work).await
}
