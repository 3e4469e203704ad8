//! The service's own figures: the release binary, run as a process of its own, against floors measured in the same run.
//!
//! `cargo bench --bench service` prints the table; names after `--` choose figures: `signed`, `creates`, `pages`, `idle`, `bystanders`, `takeover`.
//! PostgreSQL, where it is installed, is a throw-away cluster that syncs to disk as production does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a bench asks the machine for the time, prints its table and may panic; what it shares with tests is pub"
)]

mod bare_server;
mod bystanders;
mod client;
mod creates;
mod distance;
mod idle;
mod pages;
mod pgbench;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "only the bench of webhooks notes arrivals")]
#[path = "../webhooks/receiver.rs"]
mod receiver;
mod server;
mod signed_get;
mod table;
mod takeover;

use postgres::{Cluster, Durability};
use table::Table;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        if wanted.first().is_some_and(|first| first == bare_server::ARGUMENT) {
            return bare_server::serve().await;
        }
        let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
        let mut table = Table::default();
        if asked("idle") {
            idle::measure(&mut table).await;
        }
        if asked("signed") {
            signed_get::measure(&mut table).await;
        }
        if asked("bystanders") {
            bystanders::measure(&mut table).await;
        }
        let needs_cluster = ["creates", "pages", "takeover"].into_iter().any(asked);
        let cluster = if needs_cluster { Cluster::start(Durability::Durable) } else { None };
        if asked("creates") {
            creates::on_sqlite(&mut table).await;
            if let Some(cluster) = &cluster {
                creates::on_postgres(&mut table, cluster).await;
                creates::on_distant_postgres(&mut table, cluster).await;
            }
        }
        if asked("pages") {
            pages::on_sqlite(&mut table).await;
            if let Some(cluster) = &cluster {
                pages::on_postgres(&mut table, cluster).await;
            }
        }
        if asked("takeover") {
            takeover::on_sqlite(&mut table).await;
            if let Some(cluster) = &cluster {
                takeover::on_postgres(&mut table, cluster).await;
            }
        }
        table.print();
    });
}
