//! What receivers that hang or fail do to the others.

use std::time::Duration;

use super::Place;
use super::rate::{commit, lateness, percentile};
use super::receiver::Receiver;
use super::scene::Scene;
use super::table::{Bar, Row, Table};

/// Receivers that answer.
const GOOD: usize = 8;
/// Events a second, each for every receiver.
const RATE: f64 = 50.0;

pub(crate) async fn measure(table: &mut Table, place: &Place<'_>) {
    let (alone, beside) = (p99(place, ["/8", "/9"]).await, p99(place, ["/hang", "/fail"]).await);
    table.add(Row {
        what: match place {
            Place::Sqlite(_) => {
                "commit to first attempt on SQLite, p99 of the others while one of ten receivers hangs and one fails"
            }
            Place::Postgres(_) => "the same on PostgreSQL",
        },
        measured: format!("{beside:.1} ms"),
        floor: format!("{alone:.1} ms"),
        figure: beside / alone,
        unit: "",
        bar: Bar::AtMost(2.0),
    });
}

/// Of the receivers that answer, beside two others.
async fn p99(place: &Place<'_>, others: [&str; 2]) -> f64 {
    let receiver = Receiver::start().await;
    let scene = Scene::open(&place.url(&format!("fair{}", others[0].replace('/', "-"))).await).await;
    for path in (0..GOOD).map(|number| format!("/{number}")).chain(others.map(str::to_owned)) {
        scene.subscribe(&receiver.url(&path)).await;
    }
    let delivering = scene.deliver();
    receiver.note();
    let committed = commit(&scene, RATE).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let good = |path: &str| path.len() == 2 && path < "/8";
    let late = lateness(&committed, &receiver.arrivals(), good);
    assert_eq!(late.len(), committed.len() * GOOD, "others were held up");
    // What hangs would take its deadline to stop.
    drop(delivering);
    percentile(late, 99)
}
