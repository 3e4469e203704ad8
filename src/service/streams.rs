//! How many event streams are open: a programme's share of this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::domain::{Code, Error};

/// When a refused caller may try again: a stream has no end that could be foretold.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Whose streams are counted together: a programme's own, or those of operators that name it, so that a partner cannot keep
/// internal services from following.
type Follower = (Uuid, bool);

/// Counts open streams.
pub(crate) struct Streams {
    limit: usize,
    open: Mutex<HashMap<Follower, usize>>,
}

/// An open stream: counted until this is dropped.
pub(crate) struct OpenStream {
    streams: Arc<Streams>,
    follower: Follower,
}

impl Streams {
    /// At most `limit` for each follower.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// Counts one more.
    ///
    /// # Errors
    /// There are as many as may be.
    pub(crate) fn open(self: &Arc<Self>, programme_id: Uuid, operator: bool) -> Result<OpenStream, Error> {
        let follower = (programme_id, operator);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(follower).or_default();
        if *count >= self.limit {
            let detail = format!("The programme follows {} event streams already: close one, or share it.", self.limit);
            return Err(Error::new(Code::RateLimited, detail).retry_after(RETRY_AFTER));
        }
        *count += 1;
        Ok(OpenStream { streams: Arc::clone(self), follower })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.follower) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.follower);
            }
        }
    }
}
