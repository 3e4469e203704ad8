//! A node whose log nobody reads: `customerd serve 2>&1 | head`.

use crate::process::{Place, in_processes};

in_processes![a_node_whose_log_nobody_reads_serves_and_ends];

async fn a_node_whose_log_nobody_reads_serves_and_ends(place: Place) {
    let service = place.serve_unread();
    // Both log what was called.
    let partner = place.partner().await;
    partner.customer("u-1").await;
    partner.post("/v1/customers", &serde_json::json!({})).await.is(400);
    assert_eq!(service.stop(), Some(0), "it says that it ends, and ends all the same");

    let worker = place.work_unread();
    assert_eq!(worker.stop(), Some(0));
    // A command that fails has nobody to tell, and its code says so.
    let mut command = place.customerd();
    command.args(["operator", "revoke", "nobody"]).stderr(closed());
    assert_eq!(command.status().unwrap().code(), Some(1));
}

/// A pipe whose reader is gone.
fn closed() -> std::process::Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}
