//! Processor time of the server for a signed `GET /v1/customers/{id}`, against the bare verification of such a signature.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use customerd::signature::{Algorithm, PrivateKey};
use futures::future::join_all;
use http::Method;

use super::client::Partner;
use super::server::{Server, cpu};
use super::table::{Bar, Row, Table, median};

const CONNECTIONS: u64 = 8;
const REQUESTS: u32 = 1_000;
const VERIFICATIONS: u32 = 5_000;
const ROUNDS: usize = 5;
/// As long as the base of the requests below: method, target, bearer, parameters.
const BASE: usize = 460;

pub async fn measure(table: &mut Table) {
    let server = Server::start(&[]);
    let mut partner = Partner::sign_in(&server.profile()).await;
    let mut targets = Vec::new();
    for number in 1..=CONNECTIONS {
        targets.push(format!("/v1/customers/{}", partner.create(number).await));
    }
    let idle = idle(&server).await;
    let what = "server CPU of a signed GET, P-384, against one bare verification";
    algorithm(table, (&server, idle), (&partner, &targets), (what, 1.35)).await;
    partner.take_key(Algorithm::Ed25519).await;
    let what = "server CPU of a signed GET, Ed25519, against one bare verification";
    algorithm(table, (&server, idle), (&partner, &targets), (what, 3.0)).await;
}

async fn algorithm(
    table: &mut Table,
    (server, idle): (&Server, f64),
    (partner, targets): (&Partner, &[String]),
    (what, bar): (&'static str, f64),
) {
    let mut connections = Vec::new();
    for target in targets {
        connections.push((partner.connect().await, target));
    }
    let (mut floors, mut costs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let floor = verification(&partner.key);
        let (before, begun) = (server.cpu(), Instant::now());
        let calls = connections.iter_mut().map(|(connection, target)| async move {
            // Without a nonce a signature may be sent again: the client's own cost stays small.
            let request = partner.signed(Method::GET, target, b"");
            for _ in 0..REQUESTS {
                let (status, _) = connection.send(request.clone()).await;
                assert_eq!(status, 200);
            }
        });
        join_all(calls).await;
        let used = server.cpu() - before - idle * begun.elapsed().as_secs_f64();
        let cost = used / (f64::from(REQUESTS) * targets.len() as f64);
        // The first round fills caches.
        if round > 0 {
            floors.push(floor * 1e6);
            costs.push(cost * 1e6);
            ratios.push(cost / floor);
        }
    }
    table.add(Row {
        what,
        measured: format!("{:.0} µs", median(costs)),
        floor: format!("{:.0} µs", median(floors)),
        figure: median(ratios),
        unit: "",
        bar: Bar::AtMost(bar),
    });
}

/// Processor seconds that the server uses a second when nobody calls.
async fn idle(server: &Server) -> f64 {
    let (before, begun) = (server.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    (server.cpu() - before) / begun.elapsed().as_secs_f64()
}

/// Processor seconds of one verification by aws-lc-rs alone, with a key that is parsed already.
fn verification(key: &PrivateKey) -> f64 {
    let message = [b'm'; BASE];
    let signature = key.sign(&message).unwrap();
    let spki = key.public_key().spki_der();
    let (algorithm, length): (&'static dyn VerificationAlgorithm, _) = match key.algorithm() {
        Algorithm::Ed25519 => (&ED25519, 32),
        _ => (&ECDSA_P384_SHA384_FIXED, 97),
    };
    let parsed = ParsedPublicKey::new(algorithm, &spki[spki.len() - length..]).unwrap();
    let before = cpu("self");
    for _ in 0..VERIFICATIONS {
        parsed.verify_sig(black_box(&message), black_box(&signature)).unwrap();
    }
    (cpu("self") - before) / f64::from(VERIFICATIONS)
}
