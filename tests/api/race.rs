//! A hundred processes, one idempotency key.

use std::process::Stdio;

use serde_json::Value;

use crate::process::{Place, in_processes, stdout};
use crate::support::account;

in_processes![a_hundred_processes_make_one_customer];

const KEY: &str = "9b3c2d1e-0000-4000-8000-00000000000a";

async fn a_hundred_processes_make_one_customer(place: Place) {
    // However slow the machine: deadlines are not what is tested.
    let _server = place.serve(&["--request-deadline", "1h", "--statement-timeout", "1h"]);
    let partner = place.partner().await;
    let body = format!("{{\"chainId\": \"{}\", \"externalId\": \"u-1\"}}", account("u-1"));
    let call = ["call", "POST", "/v1/customers", "--idempotency-key", KEY, "-d", &body];
    // With a token at hand they come to the key together, and do not wait for one another's password hashes.
    let start = |_| {
        place
            .customerd()
            .args(call)
            .env("CUSTOMERD_TOKEN", &partner.token)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..100).map(start).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();

    let (made, refused): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.code() == Some(0));
    assert!(!made.is_empty(), "{:?}", outputs[0]);
    let first: Value = serde_json::from_str(&stdout(made[0])).unwrap();
    assert_eq!(first["externalId"], "u-1");
    assert!(made.iter().all(|output| output.stdout == made[0].stdout));
    for output in refused {
        let problem: Value =
            serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(problem["code"], "IDEMPOTENCY_CONCURRENCY_CONFLICT", "{problem}");
    }
    let listed = partner.get("/v1/customers").await.is(200).json();
    assert_eq!(listed["customers"].as_array().unwrap().len(), 1);
    assert_eq!(listed["customers"][0]["id"], first["id"]);
}
