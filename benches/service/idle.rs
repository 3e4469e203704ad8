//! Idle memory, and how long a start takes.

use std::time::Duration;

use super::server::Server;
use super::table::{Bar, Row, Table, median};

const STARTS: usize = 9;

pub async fn measure(table: &mut Table) {
    let mut starts = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        let server = Server::start(&[]);
        starts.push(server.ready_after.as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(500)).await;
        resident.push(server.resident());
    }
    let (resident, start) = (median(resident), median(starts));
    let floor = || "none".to_owned();
    table.add(Row {
        what: "idle memory (VmRSS), on SQLite",
        measured: format!("{resident:.1} MiB"),
        floor: floor(),
        figure: resident,
        unit: " MiB",
        bar: Bar::AtMost(25.0),
    });
    table.add(Row {
        what: "start to ready, on an empty SQLite: migrations and sandbox programme included",
        measured: format!("{start:.0} ms"),
        floor: floor(),
        figure: start,
        unit: " ms",
        bar: Bar::AtMost(100.0),
    });
}
