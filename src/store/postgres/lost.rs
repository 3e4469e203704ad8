//! Which errors say that a connection is of no more use, or that the database is elsewhere now.

use std::io;

/// Why a connection is closed and not pooled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// This session alone was ended: it was idle for too long, in a transaction or not.
    Session,
    /// The server, or the way to it, is gone.
    Server,
    /// There was no answer in time. What was asked may still be done.
    Silence,
    /// The server takes no writes, or cannot reach its disk: it is a standby, was a primary, or is failing.
    Unfit,
}

impl Loss {
    /// Whether the other connections that were made before are suspect as well.
    pub(super) fn ends_generation(self) -> bool {
        self != Self::Session
    }

    /// Whether a new connection may do better right away: a server that is unfit, or silent, needs longer.
    pub(super) const fn may_rerun(self) -> bool {
        matches!(self, Self::Session | Self::Server)
    }
}

/// What an error says about the connection that it came from; nothing where the server refused the statement only.
///
/// Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn loss(error: &sqlx::Error) -> Option<Loss> {
    match error {
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => Some(Loss::Silence),
        // HAProxy without a server accepts and closes, which is no answer in the protocol.
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Some(Loss::Server)
        }
        sqlx::Error::Database(error) => match error.code()?.as_ref() {
            // Idle in a transaction, the transaction's limit, idle.
            "25P03" | "25P04" | "57P05" => Some(Loss::Session),
            // A write on a standby.
            "25006" => Some(Loss::Unfit),
            // A prepared statement that is unknown: the session is not the one that prepared it.
            "26000" => Some(Loss::Server),
            code if code.starts_with("57P") || code.starts_with("08") => Some(Loss::Server),
            code if code.starts_with("58") => Some(Loss::Unfit),
            _ => None,
        },
        _ => None,
    }
}
