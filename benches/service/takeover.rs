//! How long what a killed node had in flight waits for another node, or for its own next start.

use std::path::Path;
use std::time::Instant;

use customerd::app::Profile;

use super::client::Partner;
use super::postgres::Cluster;
use super::receiver::Receiver;
use super::server::Server;
use super::table::{Bar, Row, Table, median};

const ROUNDS: usize = 3;
/// Deliveries of one subscription that are in flight at once.
const IN_FLIGHT: usize = 16;

/// The node is started again at once.
pub async fn on_sqlite(table: &mut Table) {
    let what = "takeover on SQLite: from SIGKILL and an immediate start to the last of 16 attempts that were in flight";
    measure(table, what, || async { None }).await;
}

/// Another node is there already.
pub async fn on_postgres(table: &mut Table, cluster: &Cluster) {
    let what = "the same on PostgreSQL, from SIGKILL of one of two nodes";
    measure(table, what, || async { Some(cluster.database().await) }).await;
}

async fn measure<F: Future<Output = Option<String>>>(table: &mut Table, what: &'static str, database: impl Fn() -> F) {
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        seconds.push(round(directory.path(), database().await).await);
    }
    let figure = median(seconds);
    let (measured, floor) = (format!("{figure:.1} s"), "none".to_owned());
    table.add(Row { what, measured, floor, figure, unit: " s", bar: Bar::AtMost(10.0) });
}

/// Two nodes where they share a PostgreSQL, one after the other on SQLite.
async fn round(directory: &Path, database: Option<String>) -> f64 {
    let mut flags = vec!["--allow-private-callbacks", "--data-dir", directory.to_str().unwrap()];
    flags.extend(database.iter().flat_map(|url| ["--database-url", url]));
    let node = Server::start(&flags);
    let profile = Profile::read(&directory.join("sandbox.json")).unwrap();
    let partner = Partner::sign_in(&profile).await;
    let receiver = Receiver::start().await;
    partner.subscribe(&receiver.url("/hang")).await;
    for number in 0..IN_FLIGHT as u64 {
        partner.create(number).await;
    }
    receiver.reached(IN_FLIGHT).await;
    // It owns the subscription: the other one comes when that is leased.
    let mut other = database.is_some().then(|| Server::start(&flags));
    let killed = Instant::now();
    drop(node);
    other.get_or_insert_with(|| Server::start(&flags));
    receiver.reached(2 * IN_FLIGHT).await;
    killed.elapsed().as_secs_f64()
}
