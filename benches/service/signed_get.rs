//! Processor time of the server for a signed `GET /v1/customers/{id}`, against the bare verification of such a
//! signature, and against a bare server that makes it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use customerd::signature::{Algorithm, PrivateKey};
use futures::future::join_all;
use http::Method;

use super::bare_server::BareServer;
use super::client::{Connection, Partner};
use super::server::{Server, cpu};
use super::table::{Bar, Row, Table, median};

const CONNECTIONS: u64 = 8;
const REQUESTS: u32 = 1_000;
const VERIFICATIONS: u32 = 5_000;
const ROUNDS: usize = 5;
/// What is verified: as long as the base of the requests below, which has method, target, bearer and parameters.
pub const MESSAGE: [u8; 460] = [b'm'; 460];

pub async fn measure(table: &mut Table) {
    let server = Server::start(&[]);
    let mut partner = Partner::sign_in(&server.profile()).await;
    let mut targets = Vec::new();
    for number in 1..=CONNECTIONS {
        targets.push(format!("/v1/customers/{}", partner.create(number).await));
    }
    let idle = idle(&server).await;
    let rows = [
        ("server CPU of a signed GET, P-384, against one bare verification", 1.35),
        ("the same, against a bare hyper server that verifies as much and answers the same bytes", 1.25),
    ];
    algorithm(table, (&server, idle), (&partner, &targets), rows).await;
    partner.take_key(Algorithm::Ed25519).await;
    let rows = [
        ("server CPU of a signed GET, Ed25519, against one bare verification", 3.0),
        ("the same, against a bare hyper server that verifies as much and answers the same bytes", 2.0),
    ];
    algorithm(table, (&server, idle), (&partner, &targets), rows).await;
}

async fn algorithm(
    table: &mut Table,
    (server, idle): (&Server, f64),
    (partner, targets): (&Partner, &[String]),
    rows: [(&'static str, f64); 2],
) {
    let request = partner.signed(Method::GET, &targets[0], b"");
    let (head, body) = partner.connect().await.exchange(request).await.into_parts();
    let bare = BareServer::start(&partner.key, (&head.headers, &body));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for target in targets {
        ours.push((partner.connect().await, target));
        theirs.push((Connection::to(bare.address).await, target));
    }
    let (mut costs, mut floors) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..=ROUNDS {
        let verification = verification(&partner.key);
        let before = bare.cpu();
        call(partner, &mut theirs).await;
        let floor = bare.cpu() - before;
        let (before, begun) = (server.cpu(), Instant::now());
        call(partner, &mut ours).await;
        let cost = server.cpu() - before - idle * begun.elapsed().as_secs_f64();
        let requests = f64::from(REQUESTS) * targets.len() as f64;
        // The first round fills caches.
        if round > 0 {
            costs.push(cost / requests * 1e6);
            floors[0].push(verification * 1e6);
            floors[1].push(floor / requests * 1e6);
        }
    }
    for ((what, bar), floors) in rows.into_iter().zip(floors) {
        let ratios = costs.iter().zip(&floors).map(|(cost, floor)| cost / floor).collect();
        table.add(Row {
            what,
            measured: format!("{:.0} µs", median(costs.clone())),
            floor: format!("{:.0} µs", median(floors)),
            figure: median(ratios),
            unit: "",
            bar: Bar::AtMost(bar),
        });
    }
}

/// Sends the same requests on all of these connections.
async fn call(partner: &Partner, connections: &mut [(Connection, &String)]) {
    let calls = connections.iter_mut().map(|(connection, target)| async move {
        // Without a nonce a signature may be sent again: the client's own cost stays small.
        let request = partner.signed(Method::GET, target, b"");
        for _ in 0..REQUESTS {
            let (status, _) = connection.send(request.clone()).await;
            assert_eq!(status, 200);
        }
    });
    join_all(calls).await;
}

/// Processor seconds that the server uses a second when nobody calls.
async fn idle(server: &Server) -> f64 {
    let (before, begun) = (server.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    (server.cpu() - before) / begun.elapsed().as_secs_f64()
}

/// A public key, ready to verify.
pub fn parsed(spki: &[u8], is_ed25519: bool) -> ParsedPublicKey {
    let (algorithm, length): (&'static dyn VerificationAlgorithm, _) =
        if is_ed25519 { (&ED25519, 32) } else { (&ECDSA_P384_SHA384_FIXED, 97) };
    ParsedPublicKey::new(algorithm, &spki[spki.len() - length..]).unwrap()
}

/// Processor seconds of one verification by aws-lc-rs alone, with a key that is parsed already.
fn verification(key: &PrivateKey) -> f64 {
    let signature = key.sign(&MESSAGE).unwrap();
    let parsed = parsed(key.public_key().spki_der(), key.algorithm() == Algorithm::Ed25519);
    let before = cpu("self");
    for _ in 0..VERIFICATIONS {
        parsed.verify_sig(black_box(&MESSAGE), black_box(&signature)).unwrap();
    }
    (cpu("self") - before) / f64::from(VERIFICATIONS)
}
