//! What sleeping with a customer costs, against bare loops of the same statements in the same run; how long it holds up
//! others; and listing the cards of one account among many.
//!
//! `cargo bench --bench cascade` prints the table; names after `--` choose figures: `sleep`, `others`, `listing`. The
//! service is the release binary, run as a process of its own and called over gRPC. PostgreSQL, where it is installed, is a
//! throw-away cluster that syncs to disk as production does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a bench asks the machine for the time, prints its table and may panic; what it shares with tests is pub"
)]
#![allow(dead_code, reason = "what it shares with the bench of the service has more to it than is needed here")]

#[path = "../service/client.rs"]
mod client;
mod family;
mod listing;
mod others;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[path = "../service/server.rs"]
mod server;
mod sleep;
mod statements;
#[path = "../service/table.rs"]
mod table;

use client::Partner;
use customerd::store::{Migrations, Store, StoreOptions};
use postgres::{Cluster, Durability};
use server::Server;
use sqlx::{Connection as _, Executor as _, PgConnection};
use table::Table;
use uuid::Uuid;

/// A service, its partner, and its database as the bench fills it.
struct Place {
    database: &'static str,
    server: Server,
    partner: Partner,
    programme_id: Uuid,
    url: String,
    store: Store,
}

impl Place {
    async fn sqlite() -> Self {
        let server = Server::start(&[]);
        let url = server.sqlite();
        Self::on("SQLite", server, &url).await
    }

    async fn postgres(cluster: &Cluster) -> Self {
        let url = cluster.database().await;
        Self::on("PostgreSQL", Server::start(&["--database-url", &url]), &url).await
    }

    async fn on(database: &'static str, server: Server, url: &str) -> Self {
        let profile = server.profile();
        let options = StoreOptions { migrations: Migrations::Check, ..StoreOptions::default() };
        let store = Store::open(url, options).await.unwrap();
        let partner = Partner::sign_in(&profile).await;
        Self { database, server, partner, programme_id: profile.programme_id, url: url.to_owned(), store }
    }

    /// What autovacuum would have done by the time that there are so many rows.
    async fn analyze(&self) {
        if self.database == "PostgreSQL" {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            connection.execute("VACUUM ANALYZE").await.unwrap();
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
        let mut table = Table::default();
        let cluster = Cluster::start(Durability::Durable);
        let directory = tempfile::tempdir().unwrap();
        if asked("sleep") {
            let bare = format!("sqlite://{}/bare.db", directory.path().display());
            sleep::measure(&mut table, Place::sqlite().await, &bare).await;
            if let Some(cluster) = &cluster {
                let bare = cluster.database().await;
                sleep::measure(&mut table, Place::postgres(cluster).await, &bare).await;
            }
        }
        if asked("others") {
            others::measure(&mut table, Place::sqlite().await).await;
            if let Some(cluster) = &cluster {
                others::measure(&mut table, Place::postgres(cluster).await).await;
            }
        }
        if asked("listing") {
            listing::measure(&mut table, Place::sqlite().await, Place::sqlite().await).await;
            if let Some(cluster) = &cluster {
                listing::measure(&mut table, Place::postgres(cluster).await, Place::postgres(cluster).await).await;
            }
        }
        table.print();
    });
}
