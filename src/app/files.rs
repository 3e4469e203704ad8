//! How many files the process may have open: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections to the listeners: databases, logs, connections to providers and receivers.
const BESIDES: u64 = 256;

/// Raises the soft limit, which is low by custom (1,024, for `select`), to the hard one, and says so where even that is too
/// little for so many connections.
pub(super) fn raise(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current;
    if current != limit.maximum {
        match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
            Ok(()) => current = limit.maximum,
            Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
        }
    }
    if let Some(limit) = shortage(current, connections) {
        tracing::warn!(
            "the limit of open files is {limit}, and {connections} connections may come: raise the hard limit (ulimit -Hn, \
             LimitNOFILE=) to {}, or lower --max-connections",
            connections + BESIDES
        );
    }
}

/// The limit, if it is less than what is needed. `None` is without limit.
fn shortage(limit: Option<u64>, connections: u64) -> Option<u64> {
    limit.filter(|limit| *limit < connections + BESIDES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_not_all() {
        assert_eq!(shortage(None, 8192), None);
        assert_eq!(shortage(Some(8448), 8192), None);
        assert_eq!(shortage(Some(8447), 8192), Some(8447));
    }
}
