//! Where the data is.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Span;

/// The database and how it is used.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// Directory for what the service keeps on disk: the SQLite file, unless --database-url says otherwise
    #[arg(long, global = true, env = "CUSTOMERD_DATA_DIR", value_name = "DIR", default_value = "data")]
    pub data_dir: PathBuf,

    /// sqlite://path/to/file.db or postgres://user:password@host/name [default: sqlite://DATA_DIR/customerd.db]
    #[arg(long, global = true, env = "CUSTOMERD_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<SecretString>,

    /// File with the key that seals secrets in the database; `customerd keygen --encryption` makes one. Every node and command
    /// needs the same. Several keys, one a line: the first seals, all of them open [default on SQLite: DATA_DIR/encryption.key,
    /// which `serve` makes when nothing is sealed yet]
    #[arg(long, global = true, env = "CUSTOMERD_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub encryption_key_file: Option<PathBuf>,
    /// Whether the database was named, by either of these or its environment variable.
    #[arg(skip)]
    named: bool,

    /// Most connections kept to the database
    #[arg(long, global = true, env = "CUSTOMERD_DATABASE_POOL_SIZE", value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_pool_size: u32,

    /// The URL leads to a pooler, such as PgBouncer, that gives each transaction another session of PostgreSQL, or each connection.
    /// Every statement is then part of a transaction that says its own limits, and nothing is left in a session; each call takes more
    /// round trips [default: none, the URL leads to PostgreSQL itself]
    #[arg(long, global = true, env = "CUSTOMERD_DATABASE_POOLER", value_name = "MODE", value_enum)]
    pub database_pooler: Option<Pooler>,

    /// Longest that one statement may run (PostgreSQL), or wait for the lock (SQLite)
    #[arg(long, global = true, env = "CUSTOMERD_STATEMENT_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub statement_timeout: Span,
}

/// What a pooler may do between transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Pooler {
    /// Give the next transaction another session.
    Transaction,
}

impl Database {
    /// Says that the database was named.
    pub(crate) fn name(&mut self) {
        self.named = true;
    }

    /// Whether somebody said where the database is. Where nobody did, only `serve` makes one: another command may have been
    /// typed in a wrong directory. `worker` makes none at all.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// The URL to open; it may hold a password.
    pub fn url(&self) -> SecretString {
        self.database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("customerd.db").display()).into())
    }

    /// The URL as it may be logged: without password and parameters.
    pub fn shown(&self) -> String {
        let url = self.url();
        let text = url.expose_secret();
        let text = text.split_once('?').map_or(text, |(address, _)| address);
        match Url::parse(text) {
            Ok(mut parsed) if parsed.password().is_some() => {
                // Only URLs that cannot have a password refuse; this one has.
                let _ = parsed.set_password(None);
                parsed.into()
            }
            Err(_) if text.contains('@') => "(a URL that cannot be read)".to_owned(),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(url: Option<&str>) -> Database {
        let database_url = url.map(SecretString::from);
        let statement_timeout = Span(std::time::Duration::from_secs(1));
        let encryption_key_file = None;
        Database {
            data_dir: "data".into(),
            database_url,
            named: false,
            encryption_key_file,
            database_pool_size: 1,
            database_pooler: None,
            statement_timeout,
        }
    }

    #[test]
    fn default_and_redaction() {
        assert_eq!(database(None).url().expose_secret(), "sqlite://data/customerd.db");
        for (url, shown) in [
            (None, "sqlite://data/customerd.db"),
            (Some("sqlite://data/x.db?mode=rwc"), "sqlite://data/x.db"),
            (Some("postgres://me:hunter2@db:5432/c?sslkey=hunter2"), "postgres://me@db:5432/c"),
            (Some("postgres://me:hunter2@db:notaport/c"), "(a URL that cannot be read)"),
        ] {
            assert_eq!(database(url).shown(), shown);
        }
        assert!(!format!("{:?}", database(Some("postgres://me:hunter2@db/c"))).contains("hunter2"));
    }
}
