//! What the operator may set: every flag, its environment variable, its default.
//!
//! The structs are clap's argument groups, so that the help text, the parser and the documentation are one thing.
//! Environment variables are named `CUSTOMERD_` and the flag in upper case.

mod clients;
mod database;
mod key_file;
mod limits;
mod listen;
mod log;
mod providers;
mod secret;
mod serve;
mod units;
mod work;

pub use clients::ClientArgs;
pub use database::{Database, Pooler};
pub use key_file::KeyFile;
pub use limits::LimitArgs;
pub use listen::{Health, Listen};
pub use log::{Log, LogFormat};
pub use providers::{Kyc, Screening, Sumsub};
pub use serve::{Only, Serve, Tls, Upstream};
pub use units::{ByteSize, RateLimit, Share, Span};
pub use work::{Work, WorkAlone};

use std::path::PathBuf;

/// What every subcommand knows.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Where the database, the sockets, the logs are.
    #[command(flatten)]
    pub database: Database,
    /// The addresses.
    #[command(flatten)]
    pub listen: Listen,
    /// The logs.
    #[command(flatten)]
    pub log: Log,
}

/// A certificate chain and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key (PKCS #8, SEC 1 or PKCS #1).
    pub key: PathBuf,
}

impl CertFiles {
    /// Both or none: clap has refused one without the other.
    fn both(cert: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<Self> {
        Some(Self { cert: cert?.clone(), key: key?.clone() })
    }
}

#[cfg(test)]
mod tests;
