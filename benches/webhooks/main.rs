//! Webhooks and the event stream against floors measured in the same run.
//!
//! `cargo bench --bench webhooks` prints the table; names after `--` choose figures: `rate`, `fair`, `stream`; `sqlite` or
//! `postgres` one database. `profile` only delivers, for a profiler to look at. PostgreSQL, where it is installed, is a throw-away cluster that syncs to disk as production does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a bench asks the machine for the time, prints its table and may panic; what it shares with tests is pub"
)]

mod bare;
mod fair;
mod full;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod rate;
mod receiver;
mod scene;
mod stream;
#[path = "../service/table.rs"]
mod table;

use postgres::{Cluster, Durability};
use table::Table;

/// A fresh database.
pub(crate) enum Place<'a> {
    Sqlite(tempfile::TempDir),
    Postgres(&'a Cluster),
}

impl Place<'_> {
    /// Its URL, a new one every time.
    pub(crate) async fn url(&self, name: &str) -> String {
        match self {
            Self::Sqlite(directory) => format!("sqlite://{}/{name}.db", directory.path().display()),
            Self::Postgres(cluster) => cluster.database().await,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let (databases, figures): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|name| ["sqlite", "postgres"].contains(&name.as_str()));
        let asked = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        let mut table = Table::default();
        let cluster = if asked(&databases, "postgres") { Cluster::start(Durability::Durable) } else { None };
        let mut places = Vec::new();
        if asked(&databases, "sqlite") {
            places.push(Place::Sqlite(tempfile::tempdir().unwrap()));
        }
        places.extend(cluster.as_ref().map(Place::Postgres));
        for place in &places {
            if figures.iter().any(|one| one == "profile") {
                rate::deliver_many(place).await;
            }
            if asked(&figures, "rate") {
                rate::measure(&mut table, place).await;
            }
            if asked(&figures, "fair") {
                fair::measure(&mut table, place).await;
            }
            if asked(&figures, "stream") {
                stream::measure(&mut table, place).await;
            }
        }
        table.print();
    });
}
